//! The admin listener over real sockets.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use kv_service::{
    Accountant, CertificateTimes, DiskStats, Health as StoreHealth, Listener, ProcessSample,
    StoreSample, Thresholds,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::AdminListener;

/// A listener that is served, and what it is made of.
struct Fixture {
    address: SocketAddr,
    health: Arc<Health>,
    store: Arc<Mutex<StoreHealth>>,
    metrics: Arc<Metrics>,
    shutdown: CancellationToken,
    tasks: JoinSet<()>,
}

async fn fixture(change: impl FnOnce(&mut AdminListener)) -> Fixture {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut settings = AdminListener {
        address,
        allowed_hosts: vec!["kv.example.org".to_owned()],
        max_connections: NonZeroUsize::new(8).unwrap(),
        header_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(75),
    };
    change(&mut settings);
    let accountant = Arc::new(Accountant::new(1000, Thresholds::default()));
    let store = Arc::new(Mutex::new(StoreHealth::Good));
    let asked = Arc::clone(&store);
    let health = Arc::new(Health::new(accountant, Box::new(move || *asked.lock())));
    let metrics = Arc::new(Metrics::new(1, 50));
    let state = AdminState {
        health: Arc::clone(&health),
        metrics: Arc::clone(&metrics),
        scrape: Arc::new(|| Scrape {
            build: crate::version::BUILD,
            start_time_seconds: 1.0,
            process: ProcessSample::default(),
            store: StoreSample {
                keys: 5,
                ..StoreSample::default()
            },
            health: StoreHealth::Good,
            disk: Some(DiskStats {
                log_bytes: 77,
                ..DiskStats::default()
            }),
            certificates: CertificateTimes::default(),
        }),
        metrics_enabled: true,
    };
    let shutdown = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, settings, state, shutdown.clone()));
    Fixture {
        address,
        health,
        store,
        metrics,
        shutdown,
        tasks,
    }
}

impl Fixture {
    /// Sends one request with these header lines and reads all of the answer.
    async fn get(&self, path: &str, headers: &str) -> String {
        self.send(&format!(
            "GET {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"
        ))
        .await
    }

    async fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

const HOST: &str = "Host: localhost\r\n";

#[tokio::test]
async fn readiness_follows_the_health_and_names_what_fails() {
    let fixture = fixture(|_| {}).await;
    assert!(
        fixture
            .get("/livez", HOST)
            .await
            .starts_with("HTTP/1.1 200")
    );
    let early = fixture.get("/readyz", HOST).await;
    assert!(early.starts_with("HTTP/1.1 503"), "{early}");
    assert!(
        early.contains("[-] recovery: the store is not open yet\n"),
        "{early}"
    );

    fixture.health.set_started();
    let ready = fixture.get("/readyz", HOST).await;
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.ends_with("\r\n\r\nok\n"),
        "{ready}"
    );
    let verbose = fixture.get("/healthz?verbose", HOST).await;
    assert_eq!(verbose.matches("[+] ").count(), 5, "{verbose}");
    let json = format!("{HOST}Accept: application/json\r\n");
    let ready = fixture.get("/readyz", &json).await;
    assert!(
        ready.ends_with("{\"status\":\"ok\"}\n") && ready.contains("application/json"),
        "{ready}"
    );

    fixture.health.set_draining();
    let draining = fixture.get("/readyz", &json).await;
    let expected = "{\"status\":\"not ready\",\"checks\":[{\"name\":\"not_draining\",\"ok\":false,\
                    \"detail\":\"the server is going away\"}]}\n";
    assert!(
        draining.starts_with("HTTP/1.1 503") && draining.ends_with(expected),
        "{draining}"
    );
    assert!(
        fixture
            .get("/livez", HOST)
            .await
            .starts_with("HTTP/1.1 200"),
        "alive while draining"
    );
}

/// S14, S6: a slow disk says degraded, a full one what it still does.
#[tokio::test]
async fn the_store_decides_with_its_own_words() {
    let fixture = fixture(|_| {}).await;
    fixture.health.set_started();
    *fixture.store.lock() = StoreHealth::Degraded("a sync takes longer than 5 s");
    let slow = fixture.get("/readyz", HOST).await;
    assert!(slow.starts_with("HTTP/1.1 503"), "{slow}");
    let expected = "[-] storage_prompt: a sync takes longer than 5 s\ndegraded\n";
    assert!(slow.ends_with(expected), "{slow}");
    let json = format!("{HOST}Accept: application/json\r\n");
    let slow = fixture.get("/readyz", &json).await;
    assert!(slow.contains("{\"status\":\"degraded\","), "{slow}");
    assert!(
        fixture
            .get("/livez", HOST)
            .await
            .starts_with("HTTP/1.1 200")
    );

    *fixture.store.lock() = StoreHealth::Full("the disk is full");
    let full = fixture.get("/readyz?verbose", HOST).await;
    assert!(
        full.starts_with("HTTP/1.1 503") && full.ends_with("not ready\n"),
        "{full}"
    );
    assert!(
        full.contains("[-] storage_writable: the disk is full\n"),
        "{full}"
    );
    *fixture.store.lock() = StoreHealth::Good;
    assert!(
        fixture
            .get("/readyz", HOST)
            .await
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn metrics_come_in_both_formats() {
    let fixture = fixture(|_| {}).await;
    let text = fixture.get("/metrics", HOST).await;
    assert!(
        text.contains("content-type: text/plain; version=0.0.4"),
        "{text}"
    );
    assert!(text.contains("\nkv_keys 5\n"), "{text}");
    assert!(text.contains("\nkv_storage_log_bytes 77\n"), "{text}");
    let open = format!("{HOST}Accept: application/openmetrics-text\r\n");
    let open = fixture.get("/metrics", &open).await;
    assert!(
        open.contains("content-type: application/openmetrics-text"),
        "{open}"
    );
    assert!(open.ends_with("# EOF\n"), "{open}");
}

#[tokio::test]
async fn foreign_host_names_are_refused_before_any_route() {
    let fixture = fixture(|_| {}).await;
    for path in ["/metrics", "/livez", "/nothing"] {
        let answer = fixture.get(path, "Host: evil.example\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    }
    assert!(
        fixture
            .get("/livez", "Host: KV.example.org:1\r\n")
            .await
            .starts_with("HTTP/1.1 200")
    );
    assert!(fixture.get("/livez", "").await.starts_with("HTTP/1.1 400"));
    let twice = fixture
        .get("/livez", "Host: localhost\r\nHost: localhost\r\n")
        .await;
    assert!(twice.starts_with("HTTP/1.1 400"), "{twice}");
}

#[tokio::test]
async fn what_is_not_served_is_said() {
    let fixture = fixture(|_| {}).await;
    assert!(
        fixture
            .get("/nothing", HOST)
            .await
            .starts_with("HTTP/1.1 404")
    );
    assert!(fixture.get("/", HOST).await.contains("/readyz"));
    let request =
        format!("POST /livez HTTP/1.1\r\n{HOST}Content-Length: 0\r\nConnection: close\r\n\r\n");
    assert!(fixture.send(&request).await.starts_with("HTTP/1.1 405"));
    let huge = format!("X: {}\r\n", "y".repeat(20_000));
    let answer = fixture.get("/livez", &format!("{HOST}{huge}")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}

#[tokio::test]
async fn a_client_that_sends_half_a_header_is_closed() {
    let fixture = fixture(|settings| settings.header_timeout = Duration::from_millis(20)).await;
    let answer = fixture.send("GET /livez HTTP/1.1\r\nHost: loc").await;
    assert!(!answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let fixture = fixture(|settings| settings.idle_timeout = Duration::from_millis(20)).await;
    let request = format!("GET /livez HTTP/1.1\r\n{HOST}\r\n");
    let answer = fixture.send(&request).await;
    assert!(
        answer.starts_with("HTTP/1.1 200"),
        "answered first, then closed: {answer}"
    );
}

#[tokio::test]
async fn connections_beyond_the_bound_wait_for_a_place() {
    let fixture = fixture(|settings| settings.max_connections = NonZeroUsize::MIN).await;
    let mut first = TcpStream::connect(fixture.address).await.unwrap();
    let request = format!("GET /livez HTTP/1.1\r\n{HOST}\r\n");
    first.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    first.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");

    let mut second = TcpStream::connect(fixture.address).await.unwrap();
    second.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(fixture.metrics.open_connections(Listener::Admin), 1);
    drop(first);
    second.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
}

#[tokio::test]
async fn the_listener_ends_when_told_and_counts_what_it_closed() {
    let mut fixture = fixture(|_| {}).await;
    let mut idle = TcpStream::connect(fixture.address).await.unwrap();
    let request = format!("GET /livez HTTP/1.1\r\n{HOST}\r\n");
    idle.write_all(request.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    fixture.shutdown.cancel();
    fixture.tasks.join_next().await.unwrap().unwrap();
    assert_eq!(fixture.metrics.open_connections(Listener::Admin), 0);
    assert!(TcpStream::connect(fixture.address).await.is_err());
}
