//! The kv server: listeners, TLS, connections, configuration, admin HTTP, graceful shutdown.
#![forbid(unsafe_code)]

pub mod config;
pub mod devkey;
pub mod keys;
pub mod tls;

mod admin;
mod args;
mod banner;
mod connection;
mod control;
mod convert;
mod ending;
mod engine;
mod exit;
mod health;
mod health_check;
mod info;
mod labels;
mod listener;
mod log;
mod process;
mod program;
mod registry;
mod reload;
mod server;
mod shared;
mod verify;
mod version;
mod workers;

pub use args::{Action, Invocation};
pub use control::{Command, Control};
pub use ending::Stopped;
pub use engine::{EngineError, Opened};
pub use exit::Exit;
pub use process::begin_with_small_pages;
pub use program::program;
pub use reload::Reloader;
pub use server::{Server, StartError};
pub use verify::ReportFormat;
pub use version::{COMMIT, VERSION};
