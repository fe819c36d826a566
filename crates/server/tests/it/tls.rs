//! TLS: who gets in, as whom, and what a reload changes.

use std::path::Path;
use std::sync::Arc;

use kv_client::{Error, ErrorKind, MultiplexedClient, Tls};
use kv_proto::{Opcode, Secret, Suite, Transport};
use kv_server::Command;
use kv_testkit::certs::{Authority, Leaf, client_config};
use kv_testkit::raw::{self, RawClient};
use kv_testkit::wait::{until, within};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{KEY, Setup, TestServer, builder};

/// A server with TLS, and the authority that it and its clients trust.
struct Fixture {
    server: TestServer,
    authority: Authority,
}

async fn start(client_auth: &str, identity_from: &str) -> Fixture {
    start_with(client_auth, identity_from, "", "").await
}

/// With further keys of `[tls]` and of `[limits]`.
async fn start_with(client_auth: &str, identity_from: &str, tls: &str, limits: &str) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::new("kv test");
    let _ = authority.server().write(directory.path(), "server");
    let _ = authority.write(directory.path(), "ca");
    let clients = match client_auth {
        "off" => String::new(),
        other => format!(
            "client_ca_file = \"ca.crt\"\nclient_auth = \"{other}\"\nidentity_from = \"{identity_from}\"\n"
        ),
    };
    let setup = Setup::new().tls().limits(limits).toml(&format!(
        "[tls]\ncert_file = \"server.crt\"\nkey_file = \"server.key\"\n{clients}{tls}\n\
         [[auth.certificates]]\nidentity = \"*\"\nroles = [\"writer\"]\n"
    ));
    Fixture {
        server: setup.start_in(directory).await,
        authority,
    }
}

impl Fixture {
    fn tls(&self, leaf: Option<&Leaf>) -> Tls {
        tls(&self.authority, leaf)
    }

    /// Connects with the key `app`.
    async fn with_key(&self, leaf: Option<&Leaf>) -> Result<MultiplexedClient, Error> {
        let address = self.server.address.to_string();
        within(builder().tls(self.tls(leaf)).connect(address)).await
    }

    /// Connects with a certificate alone, or with nothing.
    async fn without_key(&self, leaf: Option<&Leaf>) -> Result<MultiplexedClient, Error> {
        let builder = MultiplexedClient::builder().anonymous().tls(self.tls(leaf));
        within(builder.connect(self.server.address.to_string())).await
    }

    /// The TLS handshake alone.
    async fn handshake(
        &self,
        leaf: Option<&Leaf>,
        alpn: &[&[u8]],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let config = client_config(&self.authority, leaf, alpn);
        let name = ServerName::try_from("localhost").unwrap();
        within(TlsConnector::from(config).connect(name, self.server.dial().await)).await
    }
}

fn tls(authority: &Authority, leaf: Option<&Leaf>) -> Tls {
    let tls = Tls::new()
        .ca_pem(authority.pem().as_bytes())
        .server_name("localhost");
    match leaf {
        None => tls,
        Some(leaf) => tls.client_certificate_pem(leaf.cert_pem.as_bytes(), leaf.key_pem.as_bytes()),
    }
}

fn identity(client: &MultiplexedClient) -> String {
    client.session().unwrap().identity
}

#[tokio::test]
async fn a_key_over_tls_opens_a_session_in_both_signed_suites() {
    let fixture = start("off", "off").await;
    for suite in [Suite::Hmac, Suite::Encrypted] {
        let builder = builder()
            .tls(fixture.tls(None))
            .suites(&[suite])
            .require_tls();
        let client = within(builder.connect(fixture.server.address.to_string()))
            .await
            .unwrap();
        client.set("k", vec![1; 300_000]).await.unwrap();
        assert!(client.get("k").await.unwrap().unwrap() == vec![1; 300_000]);
        assert_eq!(identity(&client), "app");
        let list = client.clients().await.unwrap();
        assert!(
            list.as_array()
                .unwrap()
                .iter()
                .all(|c| format!("{:?}", c.at("tls").unwrap()) == "Bool(true)")
        );
    }
    assert!(fixture.without_key(None).await.is_err());
    let stranger = builder().tls(tls(&Authority::new("other"), None));
    let error = within(stranger.connect(fixture.server.address.to_string()))
        .await
        .unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn plain_bytes_to_the_tls_port_and_tls_to_the_plain_port_open_nothing() {
    let fixture = start("off", "off").await;
    for bytes in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &raw::unsealed(Opcode::Hello, 0, &[], &[0; 100]),
    ] {
        let mut stream = fixture.server.dial().await;
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let _ = within(stream.read_to_end(&mut answer)).await;
        // At most an alert of TLS, never a frame.
        assert!(
            !answer.starts_with(&kv_proto::MAGIC) && answer.len() < 64,
            "{answer:?}"
        );
    }
    assert!(
        crate::support::raw_to(fixture.server.address, Suite::Hmac)
            .await
            .is_err()
    );
    let open = TestServer::start().await;
    let client = builder().tls(fixture.tls(None));
    assert!(
        within(client.connect(open.address.to_string()))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn another_application_protocol_or_none_is_refused() {
    let fixture = start("off", "off").await;
    assert!(fixture.handshake(None, &[b"http/1.1"]).await.is_err());
    assert!(
        fixture
            .handshake(None, &[b"h2", b"http/1.1"])
            .await
            .is_err()
    );
    let mut silent = fixture.handshake(None, &[]).await.unwrap();
    silent
        .write_all(&raw::unsealed(Opcode::Hello, 0, &[], &[]))
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = within(silent.read_to_end(&mut answer)).await;
    assert_eq!(answer, b"");
    // One among others is enough.
    let stream = fixture.handshake(None, &[b"h2", b"kv/2"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"kv/2"[..]));
}

#[tokio::test]
async fn a_required_certificate_must_be_there_valid_and_from_the_authority() {
    let fixture = start("required", "cn").await;
    let right = fixture
        .authority
        .client("billing", Some("spiffe://kv/billing"));
    let client = fixture.without_key(Some(&right)).await.unwrap();
    assert_eq!(identity(&client), "billing");
    client.set("k", b"v").await.unwrap();
    assert_eq!(
        client.kill(1).await.unwrap_err().code(),
        Some(kv_proto::ErrorCode::PermissionDenied)
    );

    let stranger = Authority::new("kv test").client("billing", None);
    let expired = fixture.authority.expired_client("billing");
    for leaf in [None, Some(&stranger), Some(&expired)] {
        assert!(fixture.without_key(leaf).await.is_err());
        assert!(
            fixture.with_key(leaf).await.is_err(),
            "a key does not stand in for a certificate"
        );
    }
    assert_eq!(client.get("k").await.unwrap().unwrap(), "v");
}

#[tokio::test]
async fn an_optional_certificate_names_who_shows_it_and_a_key_those_who_do_not() {
    let fixture = start("optional", "san_uri").await;
    let leaf = fixture
        .authority
        .client("ignored", Some("spiffe://kv/billing"));
    assert_eq!(
        identity(&fixture.without_key(Some(&leaf)).await.unwrap()),
        "spiffe://kv/billing"
    );
    assert_eq!(identity(&fixture.with_key(None).await.unwrap()), "app");
    assert!(fixture.without_key(None).await.is_err());
    let nameless = fixture.authority.client("only-cn", None);
    assert!(fixture.without_key(Some(&nameless)).await.is_err());
}

#[tokio::test]
async fn a_certificate_and_a_key_must_name_the_same() {
    let fixture = start("required", "cn").await;
    let same = fixture.authority.client("app", None);
    assert_eq!(
        identity(&fixture.with_key(Some(&same)).await.unwrap()),
        "app"
    );
    let other = fixture.authority.client("billing", None);
    assert!(fixture.with_key(Some(&other)).await.is_err());
}

#[tokio::test]
async fn a_session_is_bound_to_its_tls_connection() {
    let fixture = start("off", "off").await;
    let settings = || raw::settings(Some(("app", Secret::new(&KEY))), &[Suite::Hmac]);
    let stream = fixture.handshake(None, &[b"kv/2"]).await.unwrap();
    let exporter: [u8; 32] = stream
        .get_ref()
        .1
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", None)
        .unwrap();
    let opened = RawClient::connect_over(stream, settings(), Transport::Tls(exporter));
    let mut client = within(opened).await.unwrap();
    client.set(b"k", b"v").await.unwrap();
    // Somebody between two TLS connections has another exporter on each of them.
    for elsewhere in [Transport::Tls([7; 32]), Transport::Plain] {
        let stream = fixture.handshake(None, &[b"kv/2"]).await.unwrap();
        assert!(
            within(RawClient::connect_over(stream, settings(), elsewhere))
                .await
                .is_err()
        );
    }
}

/// Whether a client that trusts this authority gets in.
async fn is_trusted(server: &TestServer, authority: &Authority) -> bool {
    let client = builder().tls(tls(authority, None));
    within(client.connect(server.address.to_string()))
        .await
        .is_ok()
}

fn replace(directory: &Path, leaf: &Leaf) {
    let _ = leaf.write(directory, "server");
}

#[tokio::test]
async fn a_reload_puts_good_certificates_in_force_and_leaves_bad_ones_out() {
    let fixture = start("off", "off").await;
    let client = fixture.with_key(None).await.unwrap();
    let server = &fixture.server;
    let next = Authority::new("next");
    replace(server.directory(), &next.server());
    assert!(
        !is_trusted(server, &next).await,
        "nothing changes before the reload"
    );
    server.control.send(Command::Reload);
    until(async || is_trusted(server, &next).await.then_some(())).await;
    assert!(!is_trusted(server, &fixture.authority).await);
    client.set("k", b"old connections stay").await.unwrap();

    std::fs::write(server.file("server.crt"), "no certificate").unwrap();
    server.control.send(Command::Reload);
    // The command before this one is done when its own effect is seen.
    crate::support::write_key(server.directory(), "app", &[0x77; 32]);
    server.control.send(Command::Reload);
    let new_key = || {
        MultiplexedClient::builder()
            .key("app", Secret::new(&[0x77; 32]))
            .tls(tls(&next, None))
    };
    let address = server.address.to_string();
    until(async || {
        within(new_key().connect(&address))
            .await
            .is_ok()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn files_that_change_are_noticed_without_being_told() {
    let fixture = start_with("off", "off", "reload_interval = \"1s\"", "").await;
    let next = Authority::new("next");
    replace(fixture.server.directory(), &next.server());
    until(async || is_trusted(&fixture.server, &next).await.then_some(())).await;
}

#[tokio::test]
async fn a_peer_that_is_silent_before_or_after_the_tls_handshake_is_let_go() {
    let limits = "authentication_timeout_tls = \"300ms\"\nauthentication_timeout = \"50m\"";
    let fixture = start_with("off", "off", "", limits).await;
    let mut silent = fixture.server.dial().await;
    let mut started = fixture.server.dial().await;
    started
        .write_all(b"\x16\x03\x01\x02\x00\x01")
        .await
        .unwrap();
    let mut handshaken = fixture.handshake(None, &[b"kv/2"]).await.unwrap();
    let mut said = Vec::new();
    for stream in [&mut silent, &mut started] {
        let _ = within(stream.read_to_end(&mut said)).await;
    }
    let _ = within(handshaken.read_to_end(&mut said)).await;
    assert!(said.is_empty(), "{said:?}");
    fixture.with_key(None).await.unwrap();
}

#[tokio::test]
async fn many_tls_handshakes_at_once_all_get_their_turn() {
    let fixture = Arc::new(start("off", "off").await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let fixture = Arc::clone(&fixture);
        tasks.spawn(async move {
            fixture
                .with_key(None)
                .await
                .unwrap()
                .get("none")
                .await
                .unwrap()
        });
    }
    // One that begins and says nothing more holds a turn, not all of them.
    let silent = fixture.server.dial().await;
    for got in within(tasks.join_all()).await {
        assert_eq!(got, None);
    }
    drop(silent);
}
