//! TLS: certificates in force, what a handshake must have agreed on, and who the peer is.
//!
//! Owns the rustls configuration and its replacement. Does not own sockets nor deadlines. Invariants:
//! TLS 1.3 and the application protocol `kv/2` or nothing; the provider is passed explicitly; bad
//! files never replace good ones. Early data is off, because it can be replayed. Session tickets are
//! off, because connections live long and a resumed session would skip the check of the client's
//! certificate against the authorities of today.

mod files;
mod identity;
mod store;

use std::io;
use std::path::PathBuf;

use kv_service::TlsResult;
use rustls::server::ServerConnection;
use zeroize::Zeroizing;

use crate::config::IdentityFrom;
pub use identity::{IdentityError, PeerIdentity};
pub use store::{CertStore, Reload};

/// The application protocol every client must name.
pub const ALPN: &[u8] = b"kv/2";

/// RFC 9266: the label of the exporter that binds a session to its TLS connection.
const EXPORTER_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no PEM, or holds nothing of what it should.
    #[error("{} holds no {what} (PEM)", path.display())]
    NoPem {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// A certificate that cannot be read.
    #[error("{}: the certificate is damaged", path.display())]
    Damaged {
        /// In which file.
        path: PathBuf,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("{} and {} do not go together: {source}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// The server's certificate is not valid today.
    #[error("{}: the certificate is {}", path.display(), if *expired { "expired" } else { "not valid yet" })]
    OutOfDate {
        /// In which file.
        path: PathBuf,
        /// Whether it is too late (or too early).
        expired: bool,
    },
    /// The authorities for client certificates cannot be used.
    #[error("{}: the authorities for client certificates cannot be used: {source}", path.display())]
    Authorities {
        /// Which file.
        path: PathBuf,
        /// What rustls says.
        source: rustls::Error,
    },
    /// What rustls refuses for any other reason.
    #[error("TLS cannot be set up: {0}")]
    Setup(rustls::Error),
}

/// What a completed handshake gives the session.
#[derive(Debug)]
pub struct TlsSession {
    /// Binds the session to this connection (RFC 9266).
    pub exporter: Zeroizing<[u8; 32]>,
    /// Who the client's certificate says it is; `None` without a certificate, and when the
    /// configuration takes no identity from certificates.
    pub peer: Option<PeerIdentity>,
}

/// Why a completed handshake is still no session.
#[derive(Debug, thiserror::Error)]
pub enum TlsRefused {
    /// The client named no application protocol, so it may be speaking another one.
    #[error("the client did not agree on the application protocol kv/2")]
    Alpn,
    /// The certificate names nobody.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The exporter failed.
    #[error("no channel binding: {0}")]
    Exporter(rustls::Error),
}

impl TlsRefused {
    /// How to count it.
    #[must_use]
    pub const fn result(&self) -> TlsResult {
        match self {
            Self::Alpn => TlsResult::Alpn,
            Self::Identity(_) => TlsResult::Certificate,
            Self::Exporter(_) => TlsResult::Error,
        }
    }
}

/// Looks at a completed handshake. Call it once, before anything is read.
///
/// # Errors
/// [`TlsRefused`]; the connection must then be closed.
pub fn session(
    connection: &ServerConnection,
    identity_from: IdentityFrom,
) -> Result<TlsSession, TlsRefused> {
    if connection.alpn_protocol() != Some(ALPN) {
        return Err(TlsRefused::Alpn);
    }
    // rustls has verified the chain by now; the first certificate is the client's own.
    let certificate = connection.peer_certificates().and_then(<[_]>::first);
    let peer = match certificate {
        Some(certificate) => identity::of_certificate(certificate, identity_from)?,
        None => None,
    };
    let exporter = connection
        .export_keying_material([0; 32], EXPORTER_LABEL, None)
        .map_err(TlsRefused::Exporter)?;
    Ok(TlsSession {
        exporter: Zeroizing::new(exporter),
        peer,
    })
}

/// How to count a handshake that failed.
#[must_use]
pub fn failed_result(error: &io::Error) -> TlsResult {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
            TlsResult::Certificate
        }
        Some(rustls::Error::NoApplicationProtocol) => TlsResult::Alpn,
        _ if error.kind() == io::ErrorKind::TimedOut => TlsResult::Timeout,
        _ => TlsResult::Error,
    }
}

#[cfg(test)]
mod tests;
