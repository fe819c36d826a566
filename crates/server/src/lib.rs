//! The kv server: listeners, TLS, connections, configuration, admin HTTP, graceful shutdown.
#![forbid(unsafe_code)]

pub mod config;
pub mod devkey;
pub mod keys;
pub mod tls;
