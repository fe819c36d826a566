//! The files of `[tls]`: read together, hashed, and turned into a rustls configuration.
//!
//! Invariant: what comes out of [`Files::build`] can serve: the key belongs to the certificate, and
//! the certificate is valid at the time given.

use std::path::Path;
use std::sync::Arc;

use kv_service::CertificateTimes;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};
use x509_parser::parse_x509_certificate;
use zeroize::Zeroizing;

use super::{ALPN, TlsError};
use crate::config::{ClientAuth, Tls};

/// The contents of the files at one moment.
pub(super) struct Files {
    cert: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
    client_ca: Option<Vec<u8>>,
}

/// What a set of files makes.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) config: Arc<ServerConfig>,
    pub(super) times: CertificateTimes,
}

impl Files {
    pub(super) fn read(tls: &Tls) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::Unreadable {
                path: path.to_owned(),
                source,
            })
        };
        let client_ca = match &tls.client_auth {
            ClientAuth::Off => None,
            ClientAuth::Optional { ca_file } | ClientAuth::Required { ca_file } => {
                Some(read(ca_file)?)
            }
        };
        Ok(Self {
            cert: read(&tls.cert_file)?,
            key: Zeroizing::new(read(&tls.key_file)?),
            client_ca,
        })
    }

    /// Tells contents apart. Lengths are hashed too, so that bytes cannot move between files.
    pub(super) fn hash(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for part in [Some(&self.cert), Some(&*self.key), self.client_ca.as_ref()] {
            let part = part.map(Vec::as_slice);
            hash.update([u8::from(part.is_some())]);
            let part = part.unwrap_or_default();
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        }
        hash.finalize().into()
    }

    /// Makes the configuration that serves these files. `now` is in seconds since 1970.
    pub(super) fn build(&self, tls: &Tls, now: i64) -> Result<Built, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.cert, &tls.cert_file)?;
        let server = self.validity(&chain, tls, now)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| TlsError::NoPem {
            path: tls.key_file.clone(),
            what: "private key",
        })?;
        let pair =
            CertifiedKey::from_der(chain, key, &provider).map_err(|source| TlsError::Pair {
                cert: tls.cert_file.clone(),
                key: tls.key_file.clone(),
                source,
            })?;

        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(TlsError::Setup)?;
        let (builder, client_ca) = match &tls.client_auth {
            ClientAuth::Off => (builder.with_no_client_auth(), None),
            ClientAuth::Optional { ca_file } => {
                let (roots, ends) = self.authorities(ca_file)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider)
                    .allow_unauthenticated()
                    .build();
                (
                    builder.with_client_cert_verifier(verified(verifier, ca_file)?),
                    ends,
                )
            }
            ClientAuth::Required { ca_file } => {
                let (roots, ends) = self.authorities(ca_file)?;
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                (
                    builder.with_client_cert_verifier(verified(verifier, ca_file)?),
                    ends,
                )
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.max_early_data_size = 0;
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let times = CertificateTimes {
            server: Some(server),
            client_ca,
        };
        Ok(Built {
            config: Arc::new(config),
            times,
        })
    }

    /// When the server's certificate ends; an error when it is not valid now.
    fn validity(&self, chain: &[CertificateDer<'_>], tls: &Tls, now: i64) -> Result<i64, TlsError> {
        let path = || tls.cert_file.clone();
        let leaf = chain.first().ok_or(TlsError::NoPem {
            path: path(),
            what: "certificate",
        })?;
        let (begins, ends) = times(leaf).ok_or_else(|| TlsError::Damaged { path: path() })?;
        if !tls.allow_expired && !(begins..=ends).contains(&now) {
            return Err(TlsError::OutOfDate {
                path: path(),
                expired: now > ends,
            });
        }
        Ok(ends)
    }

    /// The authorities for client certificates, and when the first of them ends.
    fn authorities(&self, path: &Path) -> Result<(Arc<RootCertStore>, Option<i64>), TlsError> {
        let pem = self.client_ca.as_deref().unwrap_or_default();
        let mut roots = RootCertStore::empty();
        let mut first_end = None;
        for certificate in certificates(pem, path)? {
            if let Some((_, ends)) = times(&certificate) {
                first_end = Some(first_end.map_or(ends, |first: i64| first.min(ends)));
            }
            roots
                .add(certificate)
                .map_err(|source| TlsError::Authorities {
                    path: path.to_owned(),
                    source,
                })?;
        }
        Ok((Arc::new(roots), first_end))
    }
}

fn verified<T>(
    verifier: Result<T, rustls::server::VerifierBuilderError>,
    ca_file: &Path,
) -> Result<T, TlsError> {
    verifier.map_err(|error| TlsError::Authorities {
        path: ca_file.to_owned(),
        source: rustls::Error::General(error.to_string()),
    })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let no_pem = || TlsError::NoPem {
        path: path.to_owned(),
        what: "certificate",
    };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) | Err(_) => Err(no_pem()),
    }
}

/// From when to when a certificate is valid, in seconds since 1970.
fn times(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    let validity = certificate.validity();
    Some((
        validity.not_before.timestamp(),
        validity.not_after.timestamp(),
    ))
}

/// The time of day as certificates count it.
pub(super) fn unix_seconds() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
