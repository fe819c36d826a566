//! From settings to a connected client.

use std::path::Path;

use kv_client::{ClientBuilder, MultiplexedClient, Secret, Tls};

use crate::args::Suite;
use crate::error::{CliError, Code};
use crate::files;
use crate::keyfile;
use crate::settings::{Scheme, Settings};

/// The id of the key that a server makes at its first start, and of a key that has no other.
pub(crate) const KEY_ID: &str = "dev";

/// Connects, once: a lost connection is a failure of the command that needed it.
pub(crate) async fn connect(settings: &Settings) -> Result<MultiplexedClient, CliError> {
    let client = builder(settings)?.no_reconnect().connect(address(settings));
    Ok(Box::pin(client).await?)
}

/// Connects, and again whenever the connection was lost: for commands of many calls.
pub(crate) async fn connect_lasting(settings: &Settings) -> Result<MultiplexedClient, CliError> {
    let client = builder(settings)?.connect(address(settings));
    Ok(Box::pin(client).await?)
}

/// All settings but the address.
fn builder(settings: &Settings) -> Result<ClientBuilder, CliError> {
    let mut builder = MultiplexedClient::builder()
        .software(concat!("kv-cli/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(settings.timeout)
        .request_timeout(settings.timeout)
        .close_timeout(settings.timeout);
    if let Some(file) = &settings.key_file {
        let key = keyfile::read(file)?;
        let id = settings.key_id.as_deref().unwrap_or(KEY_ID);
        builder = builder.key(id, Secret::new(&key));
    } else if let (Some(id), None) = (&settings.key_id, &settings.cert) {
        // The library would look there, too, and has less to say when there is nothing.
        let file = files::state_dir()?.join(format!("{id}.key"));
        if settings.suite != Some(Suite::Checksum) && !file.exists() {
            let sentence = format!("there is no key `{}`", id.escape_debug());
            return Err(CliError::new(Code::KEY_FILE, sentence)
                .cause(format!("{} does not exist", file.display()))
                .hint("--key-file FILE says where it is"));
        }
    }
    match settings.suite {
        None => {}
        // A client that holds a key refuses to go without authentication: hold none.
        Some(Suite::Checksum) => {
            builder = builder.anonymous().suites(&[kv_client::Suite::Checksum]);
        }
        Some(Suite::Hmac) => builder = builder.suites(&[kv_client::Suite::Hmac]),
        Some(Suite::Encrypted) => builder = builder.suites(&[kv_client::Suite::Encrypted]),
    }
    if settings.url.scheme == Scheme::Tls {
        builder = builder.tls(tls(settings)?).require_tls();
    }
    Ok(builder)
}

/// The address as the client library reads it; the key id in it tells which key to look for.
fn address(settings: &Settings) -> String {
    let place = settings.url.authority();
    match &settings.key_id {
        Some(id) if settings.key_file.is_none() => format!("{id}@{place}"),
        _ => place,
    }
}

fn tls(settings: &Settings) -> Result<Tls, CliError> {
    let ca = settings.ca.as_ref().ok_or_else(|| {
        CliError::usage("TLS needs the certificate authority to trust: --ca FILE")
            .hint("it is the ca.crt of the server; `kv-cli certs init DIR` makes one")
    })?;
    let mut tls = Tls::new().ca_pem(&read(ca)?);
    if let (Some(cert), Some(key)) = (&settings.cert, &settings.cert_key) {
        tls = tls.client_certificate_pem(&read(cert)?, &read(key)?);
    }
    if let Some(name) = &settings.server_name {
        tls = tls.server_name(name);
    }
    Ok(tls)
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|error| {
        CliError::new(Code::CERTIFICATE, format!("cannot read {}", path.display()))
            .cause(error.to_string())
    })
}
