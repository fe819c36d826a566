//! Certificates made at test time: an authority, and leaves it signs.
//!
//! Nothing here is written to the repository: keys live as long as the test. Invariant: leaves are
//! what rustls accepts (end entity, subject alternative names, key usages), but for what a test asks
//! to be wrong.
#![expect(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test helper: what fails here is a failed test"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// A certificate and its key, as PEM.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// The certificate.
    pub cert_pem: String,
    /// Its private key.
    pub key_pem: String,
}

impl Leaf {
    /// Writes `NAME.crt` and `NAME.key`, and gives their paths.
    #[must_use]
    pub fn write(&self, directory: &Path, name: &str) -> (PathBuf, PathBuf) {
        let cert = directory.join(format!("{name}.crt"));
        let key = directory.join(format!("{name}.key"));
        std::fs::write(&cert, &self.cert_pem).expect("the test directory is writable");
        std::fs::write(&key, &self.key_pem).expect("the test directory is writable");
        (cert, key)
    }
}

/// What a leaf is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Server,
    Client,
}

/// A certificate authority.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    /// Makes one. Two of the same name are still two authorities.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key is made");
        let certificate = params.self_signed(&key).expect("a certificate is made");
        Self {
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
        }
    }

    /// Its certificate, which others trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Writes its certificate to `NAME.crt` and gives the path.
    #[must_use]
    pub fn write(&self, directory: &Path, name: &str) -> PathBuf {
        let path = directory.join(format!("{name}.crt"));
        std::fs::write(&path, &self.pem).expect("the test directory is writable");
        path
    }

    /// A server's certificate for localhost and 127.0.0.1.
    #[must_use]
    pub fn server(&self) -> Leaf {
        self.sign(Self::server_params(), Use::Server)
    }

    /// A server's certificate that ended in 2001.
    #[must_use]
    pub fn expired_server(&self) -> Leaf {
        self.sign(expired(Self::server_params()), Use::Server)
    }

    /// A client's certificate with this common name and, if given, this URI.
    #[must_use]
    pub fn client(&self, common_name: &str, uri: Option<&str>) -> Leaf {
        self.sign(client_params(common_name, uri), Use::Client)
    }

    /// A client's certificate that ended in 2001.
    #[must_use]
    pub fn expired_client(&self, common_name: &str) -> Leaf {
        self.sign(expired(client_params(common_name, None)), Use::Client)
    }

    fn server_params() -> CertificateParams {
        let names = [
            "localhost".to_owned(),
            "127.0.0.1".to_owned(),
            "::1".to_owned(),
        ];
        let mut params = CertificateParams::new(names).expect("the names are valid");
        params
            .distinguished_name
            .push(DnType::CommonName, "kv test server");
        params
    }

    fn sign(&self, mut params: CertificateParams, purpose: Use) -> Leaf {
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match purpose {
            Use::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Use::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        let key = KeyPair::generate().expect("a key is made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate is signed");
        Leaf {
            cert_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        }
    }
}

fn client_params(common_name: &str, uri: Option<&str>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.subject_alt_names = uri
        .map(|uri| SanType::URI(uri.try_into().expect("the URI is ASCII")))
        .into_iter()
        .collect();
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2001, 1, 1);
    params
}

/// A client's side of TLS 1.3 that trusts one authority, shows a certificate if it has one, and asks
/// for these application protocols.
#[must_use]
pub fn client_config(
    authority: &Authority,
    leaf: Option<&Leaf>,
    alpn: &[&[u8]],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let trusted = CertificateDer::from_pem_slice(authority.pem().as_bytes());
    roots
        .add(trusted.expect("the authority is PEM"))
        .expect("the authority is trusted");
    let builder =
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("ring knows TLS 1.3")
            .with_root_certificates(roots);
    let mut config = match leaf {
        None => builder.with_no_client_auth(),
        Some(leaf) => {
            let cert = CertificateDer::from_pem_slice(leaf.cert_pem.as_bytes());
            let key = PrivateKeyDer::from_pem_slice(leaf.key_pem.as_bytes());
            builder
                .with_client_auth_cert(
                    vec![cert.expect("the leaf is PEM")],
                    key.expect("the key is PEM"),
                )
                .expect("certificate and key belong together")
        }
    };
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}
