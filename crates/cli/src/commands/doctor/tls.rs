//! TLS by itself, to see the certificates also when they are no good.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::super::certs::{CertificateFacts, of_der, read_file};
use super::Finding;
use crate::error::{CliError, Code, tls_hint};
use crate::output::{plural, utc_text};
use crate::settings::Settings;

const ALPN: &[u8] = b"kv/2";

/// A certificate that ends so soon is worth a word.
const DAYS_LEFT: i64 = 14;

/// Makes one TLS handshake, and explains the certificates that came.
pub(super) async fn examine(
    settings: &Settings,
    address: SocketAddr,
) -> Result<((), Finding), CliError> {
    let seen = Arc::new(Seen::default());
    let config = Arc::new(config(settings, Arc::clone(&seen))?);
    let name = settings
        .server_name
        .as_deref()
        .unwrap_or(&settings.url.host)
        .to_owned();
    let server_name = ServerName::try_from(name.clone()).map_err(|_| {
        CliError::usage(format!(
            "`{name}` is no name that a certificate could carry"
        ))
        .hint("--server-name NAME says which name to expect")
    })?;
    let limit = settings.timeout;
    let done = tokio::task::spawn_blocking(move || handshake(config, server_name, address, limit));
    let done = done.await.map_err(|error| {
        CliError::new(Code::IO, "the handshake could not be tried").cause(error.to_string())
    })?;
    let chain = seen.chain();
    let explained = explain(&chain);
    match done {
        Ok(protocol) if protocol.as_deref() == Some(ALPN) => Ok(((), judged(&chain, explained))),
        Ok(_) => Err(
            CliError::new(Code::TLS, "the server does not speak kv/2 over TLS")
                .cause(explained)
                .hint("something else listens on this port"),
        ),
        Err(text) => {
            let hint = tls_hint(&text).unwrap_or("the server's log says more");
            let cause = if chain.is_empty() {
                text.clone()
            } else {
                format!("{text}\n{explained}")
            };
            Err(CliError::new(Code::TLS, "the handshake failed")
                .cause(cause)
                .hint(fix(&text, hint, &chain, settings)))
        }
    }
}

/// The general hint, with the names or authorities that are meant.
fn fix(text: &str, hint: &str, chain: &[CertificateFacts], settings: &Settings) -> String {
    let authorities = settings.ca.as_deref().and_then(|path| read_file(path).ok());
    match (chain.first(), authorities) {
        (Some(server), _) if text.contains("NotValidForName") => {
            format!("{hint}\nit is for {}", server.names.join(", "))
        }
        (Some(_), Some(ca)) if text.contains("UnknownIssuer") => {
            let names: Vec<String> = ca
                .iter()
                .map(|facts| format!("{} (sha256 {:.16}…)", facts.subject, facts.sha256))
                .collect();
            format!("{hint}\n--ca trusts {}", names.join(", "))
        }
        _ => hint.to_owned(),
    }
}

/// One line for each certificate, the server's first.
fn explain(chain: &[CertificateFacts]) -> String {
    let lines: Vec<String> = chain
        .iter()
        .map(|facts| {
            let names = if facts.names.is_empty() {
                String::new()
            } else {
                format!(", for {}", facts.names.join(", "))
            };
            let time = if facts.in_force() {
                "until"
            } else {
                "OUTSIDE OF ITS TIME, until"
            };
            format!(
                "{}{names}, {time} {}, issued by {}",
                facts.subject,
                utc_text(facts.not_after),
                if facts.self_signed {
                    "itself"
                } else {
                    &facts.issuer
                }
            )
        })
        .collect();
    lines.join("\n")
}

fn judged(chain: &[CertificateFacts], explained: String) -> Finding {
    let detail = format!("TLS 1.3, kv/2; the server's certificate is trusted\n{explained}");
    match chain.iter().map(CertificateFacts::days_left).min() {
        Some(left) if left < DAYS_LEFT => {
            let days = plural(u64::try_from(left).unwrap_or_default(), "day");
            Finding::Odd(detail, format!("renew the certificate: it ends in {days}"))
        }
        _ => Finding::Fine(detail),
    }
}

fn handshake(
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    address: SocketAddr,
    limit: Duration,
) -> Result<Option<Vec<u8>>, String> {
    let run = || -> std::io::Result<Option<Vec<u8>>> {
        let mut stream = std::net::TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.set_write_timeout(Some(limit))?;
        let mut tls = ClientConnection::new(config, name).map_err(std::io::Error::other)?;
        while tls.is_handshaking() {
            tls.complete_io(&mut stream)?;
        }
        let protocol = tls.alpn_protocol().map(<[u8]>::to_vec);
        tls.send_close_notify();
        // The server may be gone already: this was all that was wanted of it.
        let _ = tls.write_tls(&mut stream);
        Ok(protocol)
    };
    run().map_err(|error| error.to_string())
}

fn config(settings: &Settings, seen: Arc<Seen>) -> Result<ClientConfig, CliError> {
    let broken = |error: rustls::Error| {
        CliError::new(Code::CERTIFICATE, "the certificates here are of no use")
            .cause(error.to_string())
    };
    let ca = settings.ca.as_ref().ok_or_else(|| {
        CliError::usage("TLS needs the certificate authority to trust")
            .hint("--ca FILE: the ca.crt that belongs to the server")
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(broken)?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .build()
            .map_err(|error| broken(rustls::Error::General(error.to_string())))?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(broken)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Watching { verifier, seen }));
    let mut config = match (&settings.cert, &settings.cert_key) {
        (Some(cert), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                CliError::new(Code::CERTIFICATE, format!("cannot read {}", key.display()))
                    .cause(error.to_string())
            })?;
            builder
                .with_client_auth_cert(certificates(cert)?, key)
                .map_err(broken)?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, CliError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| {
            CliError::new(Code::CERTIFICATE, format!("cannot read {}", path.display()))
                .cause(error.to_string())
        })
}

/// The certificates that the server has shown.
#[derive(Debug, Default)]
struct Seen(Mutex<Vec<CertificateDer<'static>>>);

impl Seen {
    fn chain(&self) -> Vec<CertificateFacts> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().filter_map(|der| of_der(der).ok()).collect()
    }
}

/// Judges as the client library does, and remembers what it judged.
#[derive(Debug)]
struct Watching {
    verifier: Arc<WebPkiServerVerifier>,
    seen: Arc<Seen>,
}

impl ServerCertVerifier for Watching {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut seen = self.seen.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.push(end_entity.clone().into_owned());
        seen.extend(intermediates.iter().map(|der| der.clone().into_owned()));
        drop(seen);
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
