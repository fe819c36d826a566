//! Options that every command takes: which server, as whom, and how output looks.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::value::Duration;
use crate::output::{Format, KeyFormat};

/// Options that every command takes.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// Which server, and over what.
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    /// As whom.
    #[command(flatten)]
    pub(crate) identity: IdentityArgs,
    /// How output looks.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Which server, and over what.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Server")]
pub(crate) struct ServerArgs {
    /// Where the server is.
    // As a doc comment, the brackets would be links.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help = "The server: kv://[keyid@]host[:port], kvs:// for TLS [env: KV_URL]"
    )]
    pub(crate) url: Option<String>,
    /// Use the settings stored under this name
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// Give up after this long [default: 5s]
    #[arg(long, global = true, value_name = "DURATION")]
    pub(crate) timeout: Option<Duration>,
    /// Trust the certificate authorities in this PEM file
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) ca: Option<PathBuf>,
    /// Expect the server's certificate to carry this name
    #[arg(long, global = true, value_name = "NAME", hide_short_help = true)]
    pub(crate) server_name: Option<String>,
    /// How frames are protected: hmac-sha256, x25519-aes256ctr-hmac-sha256 (or `encrypted`), checksum
    #[arg(
        long,
        hide_possible_values = true,
        global = true,
        value_name = "SUITE",
        hide_short_help = true
    )]
    pub(crate) suite: Option<Suite>,
}

/// As whom.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Identity")]
pub(crate) struct IdentityArgs {
    /// Read the pre-shared key (hex, one line) from this file [env: KV_AUTH_KEY_FILE]
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) key_file: Option<PathBuf>,
    /// Name of the pre-shared key [env: KV_AUTH_KEY_ID]
    #[arg(long, global = true, value_name = "ID", hide_short_help = true)]
    pub(crate) key_id: Option<String>,
    /// Show this client certificate (PEM) to the server
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) cert: Option<PathBuf>,
    /// Private key of the client certificate (PEM)
    #[arg(long, global = true, value_name = "FILE", hide_short_help = true)]
    pub(crate) cert_key: Option<PathBuf>,
}

/// How output looks.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Form of the output: human, json, jsonl, raw or table [default: human on a terminal, else raw]
    #[arg(
        short = 'o',
        long = "output",
        global = true,
        value_name = "FORMAT",
        hide_possible_values = true
    )]
    pub(crate) format: Option<Format>,
    /// How keys are written, in arguments and in output: utf8, hex or base64 [default: utf8]
    #[arg(
        long,
        hide_possible_values = true,
        global = true,
        value_name = "FORMAT",
        hide_short_help = true
    )]
    pub(crate) key_format: Option<KeyFormat>,
}

/// How frames are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// A checksum only: no authentication. Where the server allows it
    Checksum,
    /// Every frame is authenticated (the default)
    #[value(name = "hmac-sha256", alias = "hmac")]
    Hmac,
    /// Every frame is authenticated and encrypted
    #[value(name = "x25519-aes256ctr-hmac-sha256", alias = "encrypted")]
    Encrypted,
}

impl Global {
    /// Whether any option says which server, or as whom.
    pub(crate) fn names_a_server(&self) -> bool {
        let (server, identity) = (&self.server, &self.identity);
        server.url.is_some()
            || server.context.is_some()
            || server.timeout.is_some()
            || server.ca.is_some()
            || server.server_name.is_some()
            || server.suite.is_some()
            || identity.key_file.is_some()
            || identity.key_id.is_some()
            || identity.cert.is_some()
            || identity.cert_key.is_some()
    }
}
