//! Arguments of the commands that set things up and need no server.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Arguments of `keygen`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  kv-cli keygen --out app1.key            mode 0600; never overwrites
  kv-cli keygen --fingerprint app1.key    compare it on both sides")]
pub(crate) struct KeygenArgs {
    /// Write the key to this new file, readable by you alone
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Print the fingerprint of the key in this file, and make none
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    pub(crate) fingerprint: Option<PathBuf>,
}

/// What to do with certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum CertsCommand {
    /// Make a certificate authority, a server and a client certificate
    Init(CertsInitArgs),
    /// Show what is in a certificate
    Show(CertsShowArgs),
}

/// Arguments of `certs init`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  kv-cli certs init certs
  kv-cli certs init certs --host db.example.org --host 10.0.0.7 --client app1

Three certificates, with ECDSA P-256 keys: ca.crt signs server.crt and client.crt. Keep ca.key
offline; whoever has it can name themselves anything.")]
pub(crate) struct CertsInitArgs {
    /// Directory to write to; made when it is missing
    #[arg(value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// Name or address of the server; may be repeated [default: localhost, 127.0.0.1, ::1]
    #[arg(long = "host", value_name = "NAME")]
    pub(crate) hosts: Vec<String>,
    /// Name of the client certificate: its common name, and the identity of `kv:NAME` as URI
    #[arg(long, value_name = "NAME", default_value = "client")]
    pub(crate) client: String,
    /// The certificates are good for this many days; the authority for ten times as many
    #[arg(long, value_name = "DAYS", default_value_t = 365,
        value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: u32,
    /// Overwrite what is there
    #[arg(long)]
    pub(crate) force: bool,
}

/// Arguments of `certs show`.
#[derive(Args, Debug)]
pub(crate) struct CertsShowArgs {
    /// A PEM file with one certificate or more
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub(crate) enum ContextCommand {
    /// Store the options of this command line under a name
    Add(ContextAddArgs),
    /// List the contexts
    Ls,
    /// Use this context when no other server is named
    Use(ContextNameArgs),
    /// Remove a context
    Rm(ContextNameArgs),
}

/// Arguments of `context add`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Example:
  kv-cli context add prod --url kvs://app1@db.example.org --key-file app1.key --ca ca.crt
  kv-cli context use prod

Paths are stored as absolute ones. Keys stay in their files and are never copied.")]
pub(crate) struct ContextAddArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Replace the context of this name
    #[arg(long)]
    pub(crate) force: bool,
}

/// The name of a context.
#[derive(Args, Debug)]
pub(crate) struct ContextNameArgs {
    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// Arguments of `completions`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  kv-cli completions bash > ~/.local/share/bash-completion/completions/kv-cli
  kv-cli completions zsh > ~/.zfunc/_kv-cli
  kv-cli completions fish > ~/.config/fish/completions/kv-cli.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}
