//! The kv server: listeners, TLS, connections, configuration, admin HTTP, graceful shutdown.
#![forbid(unsafe_code)]

pub mod config;
pub mod devkey;
pub mod keys;
pub mod tls;

mod connection;
mod convert;
mod info;
mod labels;
mod listener;
mod process;
mod registry;
mod server;
mod shared;

pub use server::{Command, Control, Server, StartError, Stopped};

/// The version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, where the build told it.
pub const COMMIT: &str = match option_env!("KV_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
