//! kv's own server and client over loopback, the engine behind them slow for some keys.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use kv_client::{MultiplexedClient, Secret};
use kv_server::Server;
use tokio::task::JoinSet;

use super::delay::DelayEngine;
use super::{Latencies, key};

pub(super) struct Real {
    client: MultiplexedClient,
    _server: JoinSet<()>,
    _directory: tempfile::TempDir,
}

impl Real {
    pub(super) async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let secret = directory.path().join("app.key");
        std::fs::write(&secret, "5a".repeat(32)).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = "[listeners.native]\naddress = \"127.0.0.1:0\"\ntls = false\n\
                    [listeners.admin]\nenabled = false\n\
                    [[auth.keys]]\nid = \"app\"\nsecret_file = \"app.key\"\nroles = [\"admin\"]\n";
        let file = directory.path().join("server.toml");
        let config = kv_server::config::parse(&file, text)
            .unwrap_or_else(|mistakes| panic!("{mistakes}"))
            .config;
        let keys = kv_server::keys::load(&config.auth, |_| None).unwrap();
        let server = Server::bind_with_engine(config, keys, DelayEngine::new()).unwrap();
        let address = server.native_address().unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            server.run().await;
        });
        let client = MultiplexedClient::builder()
            .key("app", Secret::new(&[0x5a; 32]))
            .connect(address.to_string())
            .await
            .unwrap();
        Self {
            client,
            _server: tasks,
            _directory: directory,
        }
    }

    /// As many tasks share the client, each with one request under way.
    pub(super) async fn run(&mut self, requests: usize, tasks: usize, latencies: &mut Latencies) {
        let next = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for _ in 0..tasks {
            let (client, next) = (self.client.clone(), Arc::clone(&next));
            callers.spawn(async move {
                let mut latencies = Latencies::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    if index >= requests {
                        return latencies;
                    }
                    let key = key(index);
                    let since = Instant::now();
                    let value = client.get(&key).await.unwrap();
                    latencies.record(index, since.elapsed());
                    assert_eq!(value.unwrap().len(), 64);
                }
            });
        }
        while let Some(caller) = callers.join_next().await {
            latencies.add(&caller.unwrap());
        }
    }
}
