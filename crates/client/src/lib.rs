//! The multiplexed client of kv.
#![forbid(unsafe_code)]

mod address;
mod backoff;
mod builder;
mod call;
mod client;
mod command;
mod dial;
mod driver;
mod error;
mod fate;
mod handshake;
mod key;
mod launch;
mod link;
mod pins;
mod reply;
mod request;
mod route;
mod scan;
mod secure;
mod socket;
#[cfg(feature = "tls")]
mod tls;
mod unpack;
mod wire_form;

pub use backoff::Backoff;
pub use builder::ClientBuilder;
pub use call::Call;
pub use client::{ClientStats, MultiplexedClient, SessionInfo};
pub use command::{
    Batch, BatchReply, Clients, Conditional, Delete, Echo, Entry, Exists, Get, GetEntry,
    GetMetadata, Incr, Info, Kill, Metadata, Ping, Set, SetReply, Touch, WriteOptions,
};
pub use error::{Error, ErrorKind, Retry};
pub use kv_proto::typed::Value;
pub use kv_proto::{CloseReason, ErrorCode, Secret, Suite};
pub use reply::ContentType;
pub use request::Request;
pub use scan::{Scan, ScanItem};
#[cfg(feature = "tls")]
pub use tls::Tls;
