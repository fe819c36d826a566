//! The facts in certificates, as text.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::error::{CliError, Code};
use crate::output::hex;

/// What people want to know about a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CertificateFacts {
    pub(crate) subject: String,
    pub(crate) issuer: String,
    pub(crate) self_signed: bool,
    pub(crate) is_ca: bool,
    /// Subject alternative names, as `DNS:localhost`.
    pub(crate) names: Vec<String>,
    /// What it may be used for.
    pub(crate) purposes: Vec<&'static str>,
    pub(crate) not_before: i64,
    pub(crate) not_after: i64,
    /// SHA-256 of the certificate, in hex.
    pub(crate) sha256: String,
}

impl CertificateFacts {
    /// Whether the clock of this machine is within its time.
    pub(crate) fn in_force(&self) -> bool {
        (self.not_before..=self.not_after).contains(&now())
    }

    /// Whole days that are left; negative behind its end.
    pub(crate) fn days_left(&self) -> i64 {
        self.not_after
            .saturating_sub(now())
            .div_euclid(24 * 60 * 60)
    }
}

fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(now.unwrap_or_default().as_secs()).unwrap_or(i64::MAX)
}

/// The facts of every certificate in a PEM file.
pub(crate) fn read_file(path: &Path) -> Result<Vec<CertificateFacts>, CliError> {
    let wrong = |cause: String| {
        CliError::new(
            Code::CERTIFICATE,
            format!("cannot read certificates from {}", path.display()),
        )
        .cause(cause)
    };
    let bytes = std::fs::read(path).map_err(|error| CliError::file("read", path, &error))?;
    let mut facts = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        facts.push(of_der(&certificate).map_err(wrong)?);
    }
    if facts.is_empty() {
        return Err(wrong("there is no certificate in it".to_owned())
            .hint("a PEM file begins with -----BEGIN CERTIFICATE-----"));
    }
    Ok(facts)
}

/// The facts of one certificate, or why it is none.
pub(crate) fn of_der(der: &[u8]) -> Result<CertificateFacts, String> {
    let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let names = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .map(|names| names.value.general_names.iter().filter_map(name).collect())
        .unwrap_or_default();
    let digest: [u8; 32] = Sha256::digest(der).into();
    Ok(CertificateFacts {
        subject: certificate.subject().to_string(),
        issuer: certificate.issuer().to_string(),
        self_signed: certificate.subject() == certificate.issuer(),
        is_ca: certificate.is_ca(),
        names,
        purposes: purposes(&certificate),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        sha256: hex(&digest),
    })
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        GeneralName::RFC822Name(mail) => Some(format!("email:{mail}")),
        GeneralName::IPAddress(bytes) => address(bytes).map(|text| format!("IP:{text}")),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|b| Ipv4Addr::from(b).to_string());
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|b| Ipv6Addr::from(b).to_string()))
        .ok()
}

fn purposes(certificate: &X509Certificate<'_>) -> Vec<&'static str> {
    let mut purposes = Vec::new();
    if let Ok(Some(usage)) = certificate.key_usage()
        && usage.value.key_cert_sign()
    {
        purposes.push("certificate signing");
    }
    if let Ok(Some(usage)) = certificate.extended_key_usage() {
        for (purpose, name) in [
            (usage.value.server_auth, "server authentication"),
            (usage.value.client_auth, "client authentication"),
            (usage.value.any, "any purpose"),
        ] {
            if purpose {
                purposes.push(name);
            }
        }
    }
    purposes
}
