//! From a verified client certificate to an identity.
//!
//! Invariant: a [`PeerIdentity`] is only made here, of a certificate that rustls has verified.

use kv_service::{Identity, InvalidName};
use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::config::IdentityFrom;

/// The identity a verified client certificate names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity(Identity);

impl PeerIdentity {
    /// Who it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.0
    }
}

/// Why a certificate names nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be read.
    #[error("the client certificate cannot be read")]
    Damaged,
    /// What the configuration asks for is not in it.
    #[error("the client certificate has no {0}")]
    Absent(&'static str),
    /// There are several, so that none is the right one.
    #[error("the client certificate has more than one {0}")]
    Ambiguous(&'static str),
    /// What is in it is no name.
    #[error("the name in the client certificate is unusable: {0}")]
    Name(InvalidName),
}

/// Reads the identity; `None` when the configuration takes none from certificates.
pub(super) fn of_certificate(
    der: &CertificateDer<'_>,
    from: IdentityFrom,
) -> Result<Option<PeerIdentity>, IdentityError> {
    if from == IdentityFrom::Off {
        return Ok(None);
    }
    let (_, certificate) = parse_x509_certificate(der).map_err(|_| IdentityError::Damaged)?;
    let name = match from {
        IdentityFrom::Off => return Ok(None),
        IdentityFrom::CommonName => {
            let names = certificate.subject().iter_common_name();
            only(names, "common name")?
                .as_str()
                .map_err(|_| IdentityError::Damaged)?
        }
        IdentityFrom::SanUri => {
            let extension = certificate.subject_alternative_name();
            let names = extension.map_err(|_| IdentityError::Damaged)?;
            let names = names.map(|extension| extension.value.general_names.as_slice());
            let uris = names
                .unwrap_or_default()
                .iter()
                .filter_map(|name| match name {
                    GeneralName::URI(uri) => Some(*uri),
                    _ => None,
                });
            only(uris, "URI among its alternative names")?
        }
    };
    Identity::new(name)
        .map(|identity| Some(PeerIdentity(identity)))
        .map_err(IdentityError::Name)
}

/// The one item there is: with two, whoever issues certificates and whoever reads them could mean
/// different ones.
fn only<T>(mut items: impl Iterator<Item = T>, what: &'static str) -> Result<T, IdentityError> {
    let first = items.next().ok_or(IdentityError::Absent(what))?;
    if items.next().is_some() {
        Err(IdentityError::Ambiguous(what))
    } else {
        Ok(first)
    }
}
