//! The store as operators see it: what outlives the process, who may open it, what is said.

use std::net::SocketAddr;

use kv_client::{MultiplexedClient, Secret};
use kv_testkit::wait::within;
use rustix::process::Signal;

use crate::program::{Ended, KEY, Program};

async fn client(address: SocketAddr) -> MultiplexedClient {
    let builder = MultiplexedClient::builder().key("app", Secret::new(&KEY));
    within(builder.connect(address.to_string())).await.unwrap()
}

fn stopped(program: Program) -> Ended {
    program.signal(Signal::TERM);
    let ended = program.wait();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    ended
}

/// A cache makes room by itself; a store that may lose nothing says that it is full.
#[tokio::test]
async fn a_full_memory_engine_evicts_or_refuses_as_it_is_told() {
    for (eviction, evicts) in [("lru", true), ("none", false)] {
        let storage = format!(
            "[storage]\nengine = \"memory\"\nmemory_limit_bytes = \"16MiB\"\neviction = \"{eviction}\""
        );
        let (program, address) = Program::start(&storage);
        let kv = client(address).await;
        let mut refused = 0;
        for n in 0..300 {
            let key = format!("key.{n}");
            let written = within(async { kv.set(key, vec![7; 64 << 10]).await }).await;
            refused += u32::from(written.is_err());
        }
        let last = within(async { kv.get("key.299").await }).await.unwrap();
        assert_eq!(
            (refused == 0, last.is_some()),
            (evicts, evicts),
            "{refused}"
        );
        drop(kv);
        stopped(program);
    }
}
