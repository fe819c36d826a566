//! Counts through a proxy that cuts the connection every thousand increments, with operation numbers
//! and without: `cargo run --release -p kv-server --example retries [OPERATIONS]`, a million by
//! default. Ends with a failure when the numbered count is wrong, or the other one is right.
#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

#[path = "../tests/it/retries/harness.rs"]
mod harness;

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use harness::{Failure, Plan, Repeats, run};
use kv_client::{MultiplexedClient, Suite};
use kv_server::Server;

/// A server for this process alone: no keys, and nothing on disk.
const CONFIG: &str = "\
    [listeners.native]\naddress = \"127.0.0.1:0\"\n\
    [listeners.admin]\nenabled = false\n\
    [protocol]\nsuites = [\"checksum\"]\n\
    [auth]\nanonymous = [\"read\", \"write\"]\n\
    [storage]\nengine = \"memory\"\n";

fn main() -> Result<ExitCode, Failure> {
    let operations = match std::env::args().nth(1) {
        Some(word) => word.parse()?,
        None => 1_000_000,
    };
    let runtime = tokio::runtime::Runtime::new()?;
    let numbered = runtime.block_on(count(operations, Repeats::Named))?;
    let blind = runtime.block_on(count(operations, Repeats::Blind))?;
    let wanted = i64::try_from(operations)?;
    Ok(if numbered == wanted && blind > wanted {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// What the counter of a fresh server holds in the end.
async fn count(operations: u64, repeats: Repeats) -> Result<i64, Failure> {
    let config = kv_server::config::parse(Path::new("retries.toml"), CONFIG)?.config;
    // A server without keys makes one at its start, which nobody uses here.
    let state = tempfile::tempdir()?;
    let place = |name: &str| (name == "XDG_STATE_HOME").then(|| state.path().into());
    let keys = kv_server::keys::load(&config.auth, place)?;
    let server = Server::bind(config, keys)?;
    let address = server.native_address()?;
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn(server.run());
    let builder = MultiplexedClient::builder()
        .anonymous()
        .suites(&[Suite::Checksum]);
    let plan = Plan {
        operations,
        tasks: 256,
        operations_per_cut: 1_000,
        repeats,
    };
    let began = Instant::now();
    let sum = run(address, builder, plan).await?;
    println!(
        "{repeats:?}: {operations} increments came to {}; {} cuts, {} of unknown outcome, {:.1?}",
        sum.counter,
        sum.cuts,
        sum.unknown,
        began.elapsed()
    );
    Ok(sum.counter)
}
