//! Makes the certificates. No file is touched here.
//!
//! What rustls wants: the authority says CA:TRUE and may sign certificates, the others say CA:FALSE,
//! carry their names as subject alternative names, and say what they are for.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use sha2::{Digest, Sha256};

use crate::args::CertsInitArgs;
use crate::error::{CliError, Code};
use crate::output::hex;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Clocks differ: a certificate is good from a little before it was made.
const BACKDATED: Duration = Duration::from_secs(60 * 60);

/// How many times longer than the others the authority lives.
const AUTHORITY_FACTOR: u32 = 10;

/// The longest name that an identity may have.
const NAME_BYTES_MAX: usize = 64;

/// What to make.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// Names and addresses of the server; never empty.
    pub(super) hosts: Vec<String>,
    /// Name of the client.
    pub(super) client: String,
    days: u32,
}

impl Request {
    /// Checks the arguments.
    pub(super) fn new(args: &CertsInitArgs) -> Result<Self, CliError> {
        let mut hosts = args.hosts.clone();
        if hosts.is_empty() {
            hosts = ["localhost", "127.0.0.1", "::1"]
                .map(str::to_owned)
                .to_vec();
        }
        for host in &hosts {
            if san(host).is_none() {
                return Err(CliError::usage(format!(
                    "`{}` is neither a host name nor an address",
                    host.escape_debug()
                )));
            }
        }
        let name = &args.client;
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.chars().all(is_name_char) {
            return Err(CliError::usage(format!(
                "`{}` is no name for a client: 1 to {NAME_BYTES_MAX} letters, digits, `-`, `_`, `.`",
                name.escape_debug()
            )));
        }
        Ok(Self {
            hosts,
            client: name.clone(),
            days: args.days,
        })
    }
}

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-_.".contains(c)
}

/// A certificate and its private key.
pub(super) struct Pair {
    pub(super) certificate_pem: String,
    pub(super) key_pem: String,
}

/// All that was made.
pub(super) struct Issued {
    pub(super) ca: Pair,
    pub(super) server: Pair,
    pub(super) client: Pair,
}

/// Makes the three certificates.
pub(super) fn issue(request: &Request) -> Result<Issued, CliError> {
    generate(request).map_err(|error| {
        CliError::new(Code::CERTIFICATE, "cannot make certificates").cause(error.to_string())
    })
}

fn generate(request: &Request) -> Result<Issued, rcgen::Error> {
    let ca_key = KeyPair::generate()?;
    let ca_params = authority(request.days, &ca_key);
    let ca = ca_params.self_signed(&ca_key)?;
    let ca_pair = pair(&ca, &ca_key);
    let issuer = Issuer::new(ca_params, ca_key);

    let server_key = KeyPair::generate()?;
    let common_name = request.hosts.first().map_or("localhost", String::as_str);
    let mut server = leaf(
        common_name,
        request.days,
        ExtendedKeyUsagePurpose::ServerAuth,
    );
    server.subject_alt_names = request.hosts.iter().filter_map(|host| san(host)).collect();
    let server = server.signed_by(&server_key, &issuer)?;

    let client_key = KeyPair::generate()?;
    let mut client = leaf(
        &request.client,
        request.days,
        ExtendedKeyUsagePurpose::ClientAuth,
    );
    client.subject_alt_names = vec![SanType::URI(client_uri(&request.client).try_into()?)];
    let client = client.signed_by(&client_key, &issuer)?;

    Ok(Issued {
        ca: ca_pair,
        server: pair(&server, &server_key),
        client: pair(&client, &client_key),
    })
}

/// The URI that names a client.
pub(super) fn client_uri(name: &str) -> String {
    format!("kv:{name}")
}

fn san(host: &str) -> Option<SanType> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(SanType::IpAddress(address));
    }
    // What rustls takes for a server's name is what may stand in its certificate.
    rustls::pki_types::DnsName::try_from(host.strip_prefix("*.").unwrap_or(host)).ok()?;
    Some(SanType::DnsName(host.try_into().ok()?))
}

fn authority(days: u32, key: &KeyPair) -> CertificateParams {
    let mut params = lasting(days.saturating_mul(AUTHORITY_FACTOR));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Part of its key is in its name: with two authorities of one name, a certificate of the one
    // looks like a forgery to the other.
    let digest: [u8; 32] = Sha256::digest(key.public_key_raw()).into();
    let name = hex(digest.first_chunk::<4>().map_or(&[][..], |part| part));
    params
        .distinguished_name
        .push(DnType::CommonName, format!("kv authority {name}"));
    params
}

fn leaf(name: &str, days: u32, purpose: ExtendedKeyUsagePurpose) -> CertificateParams {
    let mut params = lasting(days);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn lasting(days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default();
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + now.saturating_sub(BACKDATED);
    params.not_after = epoch + now + DAY * days;
    params
}

fn pair(certificate: &Certificate, key: &KeyPair) -> Pair {
    Pair {
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    }
}

#[cfg(test)]
mod tests;
