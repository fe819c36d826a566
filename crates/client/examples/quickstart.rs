//! Three calls at once, then a thousand, over one connection.
//!
//! `KV_ADDRESS` says where the server is (default `127.0.0.1:7777`); `KV_AUTH_KEY_FILE` and
//! `KV_AUTH_KEY_ID` name the key, where it is not that of a server on this machine.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use kv_client::MultiplexedClient;
use tokio::task::JoinSet;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::var("KV_ADDRESS").unwrap_or_else(|_| "127.0.0.1:7777".to_owned());
    let client = MultiplexedClient::connect(address).await?;

    let (a, b, c) = tokio::join!(
        client.get("key-one"),
        client.set("key-two", b"value"),
        client.delete("key-three")
    );
    println!("key-one: {:?}", a?);
    println!("key-two: version {}", b?.version);
    println!("key-three: removed {}", c?);

    let mut calls = JoinSet::new();
    for i in 0..1_000 {
        let c = client.clone();
        calls.spawn(async move { c.get(&format!("k{}", i)).await });
    }
    let mut found = 0;
    while let Some(value) = calls.join_next().await {
        found += usize::from(value??.is_some());
    }
    println!("{found} of 1000 keys found");

    let mut scan = client.scan("key-").limit(10);
    while let Some(item) = scan.next().await {
        let item = item?;
        println!(
            "{:?}: {} bytes, version {}",
            item.key, item.value_len, item.version
        );
    }
    client.close().await;
    Ok(())
}
