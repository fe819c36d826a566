//! TLS below the session, against a server whose certificates are made here.

use std::sync::Arc;

use kv_client::{ClientBuilder, Error, ErrorKind, MultiplexedClient, Tls};
use kv_proto::Transport;
use kv_testkit::certs::{Authority, Leaf};
use kv_testkit::peer::{Peer, PeerSettings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use crate::support::serve;

/// What the server does that a test wants to differ.
struct Server {
    leaf: Leaf,
    client_ca: Option<String>,
    alpn: &'static [u8],
}

impl Server {
    fn acceptor(&self) -> TlsAcceptor {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap();
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let mut roots = RootCertStore::empty();
                roots
                    .add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
                    .unwrap();
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().unwrap())
            }
        };
        let chain = vec![CertificateDer::from_pem_slice(self.leaf.cert_pem.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(self.leaf.key_pem.as_bytes()).unwrap();
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![self.alpn.to_vec()];
        TlsAcceptor::from(Arc::new(config))
    }

    /// Connects `builder` to it under the host name `host`.
    async fn meet(self, host: &str, builder: ClientBuilder) -> Result<MultiplexedClient, Error> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let acceptor = self.acceptor();
        let mut server = JoinSet::new();
        server.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let label = b"EXPORTER-Channel-Binding";
            let exporter = stream
                .get_ref()
                .1
                .export_keying_material([0; 32], label, None)
                .unwrap();
            let settings = PeerSettings {
                transport: Transport::Tls(exporter),
                ..PeerSettings::default()
            };
            let Ok(peer) = Peer::accept(stream, &settings).await else {
                return;
            };
            serve(peer).await;
        });
        let client = builder
            .anonymous()
            .connect(format!("{host}:{port}"))
            .await?;
        client.set("k", vec![7; 200_000]).await?;
        assert_eq!(client.get("k").await?.unwrap().len(), 200_000);
        client.close().await;
        server.join_next().await.unwrap().unwrap();
        Ok(client)
    }
}

fn server(authority: &Authority) -> Server {
    Server {
        leaf: authority.server(),
        client_ca: None,
        alpn: b"kv/2",
    }
}

fn trusting(authority: &Authority) -> Tls {
    Tls::new().ca_pem(authority.pem().as_bytes())
}

#[track_caller]
fn is_tls(result: Result<MultiplexedClient, Error>) {
    let error = result.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Tls(_)), "{error:?}");
    assert_eq!(error.retry(), kv_client::Retry::No);
}

#[tokio::test]
async fn a_session_under_tls_is_bound_to_it_and_carries_calls() {
    let authority = Authority::new("ca");
    for host in [
        "localhost",
        "127.0.0.1",
        "kv://localhost",
        "kvs://localhost",
    ] {
        let builder = MultiplexedClient::builder()
            .tls(trusting(&authority))
            .require_tls();
        server(&authority).meet(host, builder).await.unwrap();
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_it_is_asked_for() {
    let authority = Authority::new("ca");
    let clients = Authority::new("clients");
    let ask = |authority| Server {
        client_ca: Some(clients.pem().to_owned()),
        ..server(authority)
    };
    let leaf = clients.client("app", None);
    let tls = trusting(&authority)
        .client_certificate_pem(leaf.cert_pem.as_bytes(), leaf.key_pem.as_bytes());
    let builder = MultiplexedClient::builder().tls(tls);
    ask(&authority).meet("localhost", builder).await.unwrap();
    // In TLS 1.3 the server's refusal comes after the client's part of the handshake.
    let builder = MultiplexedClient::builder().tls(trusting(&authority));
    assert!(ask(&authority).meet("localhost", builder).await.is_err());
}

#[tokio::test]
async fn a_server_that_is_not_who_it_should_be_is_refused() {
    let authority = Authority::new("ca");
    let other = Authority::new("ca");
    let builder = MultiplexedClient::builder;
    is_tls(
        server(&other)
            .meet("localhost", builder().tls(trusting(&authority)))
            .await,
    );
    let named = trusting(&authority).server_name("db.example");
    is_tls(
        server(&authority)
            .meet("localhost", builder().tls(named))
            .await,
    );
    let expired = Server {
        leaf: authority.expired_server(),
        ..server(&authority)
    };
    is_tls(
        expired
            .meet("localhost", builder().tls(trusting(&authority)))
            .await,
    );
    let web = Server {
        alpn: b"http/1.1",
        ..server(&authority)
    };
    is_tls(
        web.meet("localhost", builder().tls(trusting(&authority)))
            .await,
    );
}

#[tokio::test]
async fn what_cannot_work_is_told_before_anyone_is_dialled() {
    let authority = Authority::new("ca");
    let builder = || MultiplexedClient::builder().anonymous();
    let address = "kvs://192.0.2.1:7777";
    for (builder, is_tls) in [
        (builder(), false),
        (builder().tls(Tls::new()), true),
        (
            builder().tls(Tls::new().ca_file("/nonexistent/ca.crt")),
            true,
        ),
        (builder().tls(Tls::new().ca_pem(b"no certificate")), true),
        (
            builder().tls(trusting(&authority).client_certificate_pem(b"", b"")),
            true,
        ),
        (
            builder().tls(trusting(&authority).server_name("not a name")),
            false,
        ),
    ] {
        let error = builder.connect(address).await.unwrap_err();
        assert_eq!(
            matches!(error.kind(), ErrorKind::Tls(_)),
            is_tls,
            "{error:?}"
        );
        assert_eq!(
            matches!(error.kind(), ErrorKind::InvalidArgument(_)),
            !is_tls,
            "{error:?}"
        );
    }
    let plain = builder()
        .require_tls()
        .connect("192.0.2.1:7777")
        .await
        .unwrap_err();
    assert!(matches!(plain.kind(), ErrorKind::InvalidArgument(_)));
}

#[tokio::test]
async fn pins_hold_whatever_the_server_agrees_to() {
    use kv_client::Suite;
    let settings = PeerSettings::default();
    for (builder, fits) in [
        (
            MultiplexedClient::builder()
                .suites(&[Suite::Hmac])
                .require_encryption(),
            false,
        ),
        (
            MultiplexedClient::builder()
                .suites(&[Suite::Encrypted])
                .require_encryption(),
            true,
        ),
        (
            MultiplexedClient::builder()
                .suites(&[Suite::Checksum])
                .require_authentication(),
            false,
        ),
        (
            MultiplexedClient::builder()
                .suites(&[Suite::Hmac])
                .require_authentication(),
            true,
        ),
        (MultiplexedClient::builder().require_tls(), false),
    ] {
        let (near, far) = tokio::io::duplex(4_096);
        let (client, _peer) = tokio::join!(
            builder.connect_with_stream(near),
            Peer::accept(far, &settings)
        );
        assert_eq!(client.is_ok(), fits);
    }
}
