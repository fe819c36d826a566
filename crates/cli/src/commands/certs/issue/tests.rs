//! What was made is used for real TLS handshakes, in memory.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};

use super::*;

fn request(hosts: &[&str]) -> Request {
    Request {
        hosts: hosts.iter().map(ToString::to_string).collect(),
        client: "app1".to_owned(),
        days: 30,
    }
}

fn certificate(pair: &Pair) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pair.certificate_pem.as_bytes()).unwrap()
}

fn key(pair: &Pair) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_slice(pair.key_pem.as_bytes()).unwrap()
}

fn roots(pair: &Pair) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate(pair)).unwrap();
    Arc::new(roots)
}

/// A handshake in memory: the server asks for a client certificate of `client_ca`.
fn handshake(
    trusted: &Issued,
    server: &Pair,
    client: &Pair,
    name: &str,
) -> Result<(), rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(&trusted.ca), Arc::clone(&provider))
            .build()
            .unwrap();
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate(server)], key(server))?;
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots(&trusted.ca))
        .with_client_auth_cert(vec![certificate(client)], key(client))?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name)?;
    let mut server = ServerConnection::new(Arc::new(server))?;
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn rustls_accepts_the_certificates_for_each_of_their_names() {
    let issued = issue(&request(&[
        "localhost",
        "127.0.0.1",
        "::1",
        "*.example.org",
    ]))
    .unwrap();
    for name in ["localhost", "127.0.0.1", "::1", "db.example.org"] {
        handshake(&issued, &issued.server, &issued.client, name).unwrap();
    }
}

#[test]
fn rustls_refuses_them_for_what_they_are_not_for() {
    let issued = issue(&request(&["localhost"])).unwrap();
    let other = issue(&request(&["localhost"])).unwrap();
    for (server, client, name) in [
        (&issued.server, &issued.client, "example.org"),
        (&other.server, &issued.client, "localhost"),
        (&issued.server, &other.client, "localhost"),
        (&issued.client, &issued.client, "localhost"),
        (&issued.server, &issued.server, "localhost"),
        (&issued.ca, &issued.client, "localhost"),
    ] {
        assert!(handshake(&issued, server, client, name).is_err());
    }
}

#[test]
fn names_that_no_certificate_can_carry_are_wrong_usage() {
    let args = |host: &str, client: &str| CertsInitArgs {
        dir: "unused".into(),
        hosts: vec![host.to_owned()],
        client: client.to_owned(),
        days: 1,
        force: false,
    };
    assert!(Request::new(&args("db.example.org", "app1")).is_ok());
    for (host, client) in [
        ("a host", "app1"),
        ("", "app1"),
        ("h:7777", "app1"),
        ("h", ""),
        ("h", "a b"),
        ("h", &"x".repeat(65)),
    ] {
        assert!(
            Request::new(&args(host, client)).is_err(),
            "{host} {client}"
        );
    }
}
