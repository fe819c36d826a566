//! What `certs init` prints: the settings of the server, and how to connect.

use std::path::Path;

use serde_json::Value;

use super::issue::{Request, client_uri};
use crate::error::CliError;
use crate::output::{Output, Report};

/// Data: the snippet for the server's configuration. Message: the command to connect with.
pub(super) fn write(output: &mut Output, dir: &Path, request: &Request) -> Result<(), CliError> {
    let file = |name: &str| dir.join(name).display().to_string();
    let host = request.hosts.first().map_or("localhost", String::as_str);
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    };
    let text = format!(
        "[listeners.native]
tls = true

[tls]
cert_file = {}
key_file = {}
client_ca_file = {}     # clients show a certificate of this authority
client_auth = \"required\"  # off | optional | required
identity_from = \"cn\"      # the client is who its certificate names: {}

[[auth.certificates]]
identity = {}
roles = [\"writer\"]",
        quoted(&file("server.crt")),
        quoted(&file("server.key")),
        quoted(&file("ca.crt")),
        request.client,
        quoted(&request.client),
    );
    let connect = format!(
        "kv-cli --url kvs://{host} --ca {} --cert {} --cert-key {} ping",
        shell_quoted(&file("ca.crt")),
        shell_quoted(&file("client.crt")),
        shell_quoted(&file("client.key")),
    );
    let report = Report::new(text.clone(), text.clone())
        .with("dir", dir.display().to_string())
        .with("hosts", request.hosts.clone())
        .with("client", request.client.as_str())
        .with("client_uri", client_uri(&request.client))
        .with("server_config", text)
        .with("connect", connect.as_str());
    output.message(&format!(
        "made {}: authority (ca), server for {}, client `{}`\nkeep {} offline; for the server's configuration:\n",
        dir.display(),
        request.hosts.join(", "),
        request.client,
        file("ca.key"),
    ));
    output.report(&report)?;
    output.message(&format!("\nthen, with the server running:\n  {connect}"));
    Ok(())
}

/// A TOML basic string; JSON's strings are a subset of them.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A word of a POSIX shell.
fn shell_quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_toml_and_the_shell() {
        assert_eq!(quoted("/a \"b\""), "\"/a \\\"b\\\"\"");
        assert_eq!(shell_quoted("/a/b.crt"), "/a/b.crt");
        assert_eq!(shell_quoted("/a b/it's"), r"'/a b/it'\''s'");
    }
}
