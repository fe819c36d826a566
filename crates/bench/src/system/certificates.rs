//! Certificates for one measuring session: an authority and a server on this machine.

use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;

/// An authority and what it issued to `localhost`.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    /// The authority, for clients.
    pub authority: CertificateDer<'static>,
    authority_pem: String,
    server_pem: String,
    server_key_pem: String,
}

impl Certificates {
    /// New ones, with ECDSA keys on P-256: the same for every measured server.
    ///
    /// # Errors
    /// When keys cannot be made.
    pub(crate) fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)
            .context("the authority's certificate")?;
        let key = KeyPair::generate()?;
        let server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?
            .signed_by(&key, &authority)
            .context("the server's certificate")?;
        Ok(Self {
            authority: authority.der().clone(),
            authority_pem: authority.pem(),
            server_pem: server.pem(),
            server_key_pem: key.serialize_pem(),
        })
    }

    /// Writes `ca.pem`, `server.pem` and `server.key` into a directory.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub(crate) fn write(&self, directory: &Path) -> Result<()> {
        for (name, text) in [
            ("ca.pem", &self.authority_pem),
            ("server.pem", &self.server_pem),
            ("server.key", &self.server_key_pem),
        ] {
            std::fs::write(directory.join(name), text)
                .with_context(|| format!("writing {name}"))?;
        }
        Ok(())
    }
}
