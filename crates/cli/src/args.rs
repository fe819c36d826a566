//! The command line: global options and the table of commands.
//!
//! Owns names, help texts and which options exclude each other. Does not own what a command does
//! (`commands`), nor where a setting comes from when no option is given (`settings`). The prompt
//! parses its lines with the same table.

mod admin;
mod bench;
mod bulk;
mod data;
#[cfg(test)]
mod documented;
mod global;
mod help;
mod setup;
mod value;

use clap::{Parser, Subcommand};

pub(crate) use admin::{ClientsArgs, ClientsCommand, DoctorArgs, InfoArgs, PingArgs};
pub(crate) use bench::BenchArgs;
pub(crate) use bulk::{BackupArgs, ExportArgs, ImportArgs, OnError, RestoreArgs};
pub(crate) use data::{
    Condition, DelArgs, GetArgs, IncrArgs, KeysArgs, MsetArgs, ScanArgs, SetArgs, TouchArgs,
};
pub(crate) use global::{Global, Suite};
pub(crate) use help::{command, table};
pub(crate) use setup::{
    CertsCommand, CertsInitArgs, CertsShowArgs, CompletionsArgs, ContextAddArgs, ContextCommand,
    ContextNameArgs, KeygenArgs,
};
pub(crate) use value::{Duration, os_bytes, os_string};

/// Talk to a kv server.
#[derive(Debug, Parser)]
#[command(
    name = "kv-cli",
    subcommand_required = false,
    disable_help_subcommand = true
)]
pub(crate) struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do; absent on a terminal: the prompt.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// One command with its arguments.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print the values of keys
    Get(GetArgs),
    /// Store a value under a key
    Set(SetArgs),
    /// Delete keys, or everything below a prefix
    Del(DelArgs),
    /// Say whether keys exist
    Exists(KeysArgs),
    /// Print how long keys live on
    Ttl(KeysArgs),
    /// Change how long a key lives on
    Touch(TouchArgs),
    /// Add to a counter, and print its new value
    Incr(IncrArgs),
    /// Print the values of many keys in one round trip
    Mget(KeysArgs),
    /// Store many keys in one round trip
    Mset(MsetArgs),
    /// List keys in order
    Scan(ScanArgs),
    /// Store entries from lines of JSON
    Import(ImportArgs),
    /// Write entries as lines of JSON
    Export(ExportArgs),
    /// Measure the round trip to the server
    Ping(PingArgs),
    /// Print what the server says about itself
    Info(InfoArgs),
    /// List the connections of the server, or end one
    Clients(ClientsArgs),
    /// Copy the whole store, as it is at one moment, into a file
    Backup(BackupArgs),
    /// Store the entries of a backup
    Restore(RestoreArgs),
    /// Find out why there is no connection, and how to get one
    Doctor(DoctorArgs),
    /// Put load on a server of this machine, and measure it
    Bench(BenchArgs),
    /// Make a pre-shared key, or print a key's fingerprint
    Keygen(KeygenArgs),
    /// Make certificates for TLS, or show what is in one
    #[command(subcommand)]
    Certs(CertsCommand),
    /// Keep the settings of several servers under names
    #[command(subcommand)]
    Context(ContextCommand),
    /// Print the completion script of a shell
    Completions(CompletionsArgs),
    /// Start the interactive prompt
    Repl,
}
