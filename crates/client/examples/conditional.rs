//! A read, a change and a write that applies only if nobody wrote in between; several at once in an
//! atomic batch.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::time::Duration;

use kv_client::{ErrorCode, MultiplexedClient, WriteOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::var("KV_ADDRESS").unwrap_or_else(|_| "127.0.0.1:7777".to_owned());
    let client = MultiplexedClient::builder()
        .request_timeout(Duration::from_secs(2))
        .connect(address)
        .await?;

    client.set("account", "100").await?;
    let version = loop {
        let Some(entry) = client.get_entry("account").await? else {
            return Err("someone has removed the account".into());
        };
        let balance: i64 = std::str::from_utf8(&entry.value)?.parse()?;
        let next = (balance - 30).to_string();
        match client.set("account", next).if_version(entry.version).await {
            Ok(reply) => break reply.version,
            Err(error) if error.code() == Some(ErrorCode::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    };
    println!("the account is at version {version}");

    let unchanged = WriteOptions::new().if_version(version);
    let replies = client
        .batch()
        .set_with("account", "0", unchanged)
        .incr("withdrawals", 1)
        .atomic()
        .await?;
    println!("{} operations were applied at one moment", replies.len());
    client.close().await;
    Ok(())
}
