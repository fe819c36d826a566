//! TLS 1.3 below the session: who is trusted, and what the session is bound to.
//!
//! The provider is passed explicitly, never the process's default. There are no built-in roots: a
//! server of one's own has a CA of one's own.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::error::{Error, ErrorKind, Retry};

/// The protocol's name in ALPN.
const ALPN: &[u8] = b"kv/2";
/// RFC 9266.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// How TLS is spoken: which authorities are trusted, and who this client is.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    ca: Vec<CertificateDer<'static>>,
    identity: Option<Arc<Identity>>,
    server_name: Option<Box<str>>,
    mistake: Option<Error>,
}

struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(***)")
    }
}

impl Tls {
    /// Trusts nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Trusts the authorities in a PEM file. A file that cannot be read is told by `connect`.
    #[must_use]
    pub fn ca_file(self, path: impl AsRef<Path>) -> Self {
        match fs::read(path) {
            Ok(pem) => self.ca_pem(&pem),
            Err(error) => self.with_mistake(tls_error(&format!("the CA file: {error}"))),
        }
    }

    /// Trusts the authorities in PEM text.
    #[must_use]
    pub fn ca_pem(mut self, pem: &[u8]) -> Self {
        match CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>() {
            Ok(found) if !found.is_empty() => {
                self.ca.extend(found);
                self
            }
            Ok(_) => self.with_mistake(tls_error("no certificate in the CA's PEM")),
            Err(error) => self.with_mistake(tls_error(&format!("the CA's PEM: {error}"))),
        }
    }

    /// Shows this certificate chain to a server that asks, from PEM files.
    #[must_use]
    pub fn client_certificate_files(self, chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Self {
        match (fs::read(chain), fs::read(key).map(zeroize::Zeroizing::new)) {
            (Ok(chain), Ok(key)) => self.client_certificate_pem(&chain, &key),
            (Err(error), _) => self.with_mistake(tls_error(&format!("the certificate: {error}"))),
            (_, Err(error)) => {
                self.with_mistake(tls_error(&format!("the certificate's key: {error}")))
            }
        }
    }

    /// Shows this certificate chain to a server that asks, from PEM text.
    #[must_use]
    pub fn client_certificate_pem(mut self, chain: &[u8], key: &[u8]) -> Self {
        let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
        match (chain, PrivateKeyDer::from_pem_slice(key)) {
            (Ok(chain), Ok(key)) if !chain.is_empty() => {
                self.identity = Some(Arc::new(Identity { chain, key }));
                self
            }
            (Ok(_), Ok(_)) => self.with_mistake(tls_error("no certificate in the client's PEM")),
            (Err(error), _) => self.with_mistake(tls_error(&format!("the certificate: {error}"))),
            (_, Err(error)) => {
                self.with_mistake(tls_error(&format!("the certificate's key: {error}")))
            }
        }
    }

    /// The name that the server's certificate has to have, instead of the address's host.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        self.server_name = Some(name.into());
        self
    }

    pub(crate) const fn has_client_certificate(&self) -> bool {
        self.identity.is_some()
    }

    fn with_mistake(mut self, mistake: Error) -> Self {
        self.mistake.get_or_insert(mistake);
        self
    }

    /// Everything that can be wrong with it is said here, before anyone is dialled.
    pub(crate) fn connector(&self, host: &str) -> Result<Connector, Error> {
        if let Some(mistake) = &self.mistake {
            return Err(mistake.clone());
        }
        if self.ca.is_empty() {
            return Err(tls_error("no CA to trust: name one with ca_file"));
        }
        let mut roots = RootCertStore::empty();
        for certificate in &self.ca {
            roots
                .add(certificate.clone())
                .map_err(|error| tls_error(&error.to_string()))?;
        }
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .build()
                .map_err(|error| tls_error(&error.to_string()))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| tls_error(&error.to_string()))?
            .with_webpki_verifier(verifier);
        let mut config = match self.identity.as_deref() {
            None => builder.with_no_client_auth(),
            Some(Identity { chain, key }) => builder
                .with_client_auth_cert(chain.clone(), key.clone_key())
                .map_err(|error| tls_error(&error.to_string()))?,
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        let name = self.server_name.as_deref().unwrap_or(host).to_owned();
        let name = ServerName::try_from(name)
            .map_err(|_| Error::invalid("the server name is neither a DNS name nor an address"))?;
        Ok(Connector {
            tls: TlsConnector::from(Arc::new(config)),
            name,
        })
    }
}

/// A checked configuration for one server.
#[derive(Clone)]
pub(crate) struct Connector {
    tls: TlsConnector,
    name: ServerName<'static>,
}

impl Connector {
    /// Runs the TLS handshake; the stream, and the value that binds the session to it.
    pub(crate) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> Result<(TlsStream<S>, [u8; 32]), Error> {
        let stream = self
            .tls
            .connect(self.name.clone(), stream)
            .await
            .map_err(|error| tls_error(&error.to_string()))?;
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(ALPN) {
            return Err(tls_error("the server does not speak kv/2 on this port"));
        }
        let binding = session
            .export_keying_material([0; 32], EXPORTER_LABEL, None)
            .map_err(|error| tls_error(&error.to_string()))?;
        Ok((stream, binding))
    }
}

/// A certificate or a name that does not fit stays so until someone changes it.
fn tls_error(text: &str) -> Error {
    Error::new(ErrorKind::Tls(text.chars().take(400).collect()), Retry::No)
}
