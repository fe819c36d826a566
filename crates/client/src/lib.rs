//! The multiplexed client of kv: one connection, any number of tasks.
//!
//! # Example
//!
//! ```no_run
//! use kv_client::MultiplexedClient;
//!
//! # async fn example() -> Result<(), kv_client::Error> {
//! let client = MultiplexedClient::connect("127.0.0.1:7777").await?;
//! let (a, b, c) = tokio::join!(
//!     client.get("key-one"),
//!     client.set("key-two", b"value"),
//!     client.delete("key-three")
//! );
//! println!("{:?}, version {}, {}", a?, b?.version, c?);
//! let mut users = client.scan("user:").limit(100);
//! while let Some(item) = users.next().await {
//!     println!("{:?}", item?.key);
//! }
//! client.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! Without further settings the client proves the key that a server on this machine has made for
//! this account; [`ClientBuilder::key`] says where else keys are looked for.
//!
//! # Pipelining
//!
//! A [`MultiplexedClient`] is cheap to clone and is used through `&self`. Every call is a request of
//! its own on the one connection: a task that waits for an answer keeps nobody else from sending, and
//! answers come in any order. Requests that are made at about the same time leave with one write, so
//! throughput comes from making many calls at once (`join!`, a `JoinSet`, many tasks), and a
//! [`batch`](MultiplexedClient::batch) makes a hundred operations one message. Requests are sent in
//! the order in which their futures are polled first; operations on one key take effect in that
//! order. A value larger than 64 KiB goes in pieces that take turns with everything else, so it takes
//! effect when its last piece has arrived.
//!
//! Two bounds hold callers back, each first come, first served:
//! [`outbound_frames_max`](ClientBuilder::outbound_frames_max), what may wait to be written, and
//! [`in_flight_max`](ClientBuilder::in_flight_max), what may wait to be answered.
//!
//! # Cancel safety
//!
//! A call does nothing until it is polled. After that it may be dropped at any moment, also by
//! `select!` and `timeout`: its answer never reaches another call, its request id is not given away
//! again before the answer came, the server is told with CANCEL, and a place in a queue goes to the
//! next. A write that was sent may have been applied. A dropped [`Scan`] is cancelled in the same way.
//!
//! # Timeouts
//!
//! | what | default | set with |
//! |---|---|---|
//! | one attempt to connect | 5 s | [`ClientBuilder::connect_timeout`] |
//! | one call, waiting for room and for a connection included | 10 s | [`ClientBuilder::request_timeout`], [`Call::timeout`] |
//! | the next item of a scan, while someone waits for it | 10 s | [`ClientBuilder::request_timeout`] |
//! | answers that are due when the client is closed | 5 s | [`ClientBuilder::close_timeout`] |
//!
//! An idle connection is probed every 30 seconds, and is over after two probes without an answer. A
//! server that owes the answer to a dropped call for a minute has lost it; that ends the connection
//! as well.
//!
//! # Errors and retry
//!
//! [`Error::kind`] says what happened, [`Error::retry`] what may be done about it. When a connection is
//! lost, nothing hangs and nothing is guessed:
//!
//! | the request | changes nothing (`get`, `scan`, `ping` ...) | writes |
//! |---|---|---|
//! | had not left as a whole | sent again on the next connection | sent again on the next connection |
//! | had left, without an answer | sent again on the next connection | [`ErrorKind::OutcomeUnknown`] |
//!
//! With [`retry_writes`](ClientBuilder::retry_writes), or [`Call::idempotent`] for a single call, the
//! last case goes on as well: the write has an operation number, and a server that has applied it
//! answers a repeat with its first answer. What a server could not say (OUTCOME_UNKNOWN, INTERNAL) is
//! asked again in the same way. Only a call whose time ends meanwhile is of unknown outcome.
//!
//! Sending again takes place within the call's own timeout. Connections are made on demand, with
//! growing, random delays ([`Backoff`]); without [reconnection](ClientBuilder::no_reconnect) the first
//! three cases are [`ErrorKind::ConnectionLost`]. A server that drains (GOAWAY) finishes what it has,
//! while new calls go to a new connection. An end without the server's GOODBYE is a cut, never an end.
//!
//! # TLS
//!
//! [`ClientBuilder::tls`] puts TLS 1.3 below the session, which is bound to it, so that nobody in
//! between can carry the session over to another connection. There are no built-in authorities: name
//! the CA of the server. A client certificate may stand in for a key.
//!
//! ```no_run
//! # async fn example() -> Result<(), kv_client::Error> {
//! # #[cfg(feature = "tls")] {
//! let tls = kv_client::Tls::new()
//!     .ca_file("/etc/kv/ca.crt")
//!     .client_certificate_files("client.crt", "client.key");
//! let client = kv_client::MultiplexedClient::builder()
//!     .tls(tls)
//!     .require_tls()
//!     .connect("kvs://db.example:7777")
//!     .await?;
//! # }
//! # Ok(())
//! # }
//! ```
//!
//! Without TLS the default suite signs every frame and leaves it readable;
//! [`require_encryption`](ClientBuilder::require_encryption) with the suite
//! [`Encrypted`](Suite::Encrypted) hides it as well.
#![forbid(unsafe_code)]

mod address;
mod backoff;
mod backup;
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
mod once;
mod pins;
mod reply;
mod request;
mod route;
mod scan;
mod secure;
mod socket;
#[cfg(test)]
mod tests;
#[cfg(feature = "tls")]
mod tls;
mod unpack;
mod wire_form;

pub use backoff::Backoff;
pub use backup::{Backup, BackupEntry, BackupItem};
pub use builder::ClientBuilder;
pub use call::Call;
pub use client::{ClientStats, MultiplexedClient, SessionInfo};
pub use command::{
    Batch, BatchReply, Clients, Conditional, Delete, Echo, Entry, Exists, Get, GetEntry,
    GetMetadata, Incr, Info, Kill, Metadata, Ping, Set, SetReply, Touch, Write, WriteOptions,
};
pub use error::{Error, ErrorKind, Retry};
pub use kv_proto::typed::Value;
pub use kv_proto::{CloseReason, ErrorCode, Secret, Suite};
pub use reply::ContentType;
pub use request::Request;
pub use scan::{Scan, ScanItem};
#[cfg(feature = "tls")]
pub use tls::Tls;
