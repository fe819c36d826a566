//! The commands: each says what its frame carries and what its answer means.

use std::time::Duration;

use bytes::Bytes;
use kv_proto::typed::Value;
use kv_proto::{Extensions, IF_ABSENT, IF_PRESENT, Opcode, returns};

use crate::call::Call;
use crate::driver::millis;
use crate::error::Error;
use crate::reply::{ContentType, Meta};
use crate::request::check_key;
use crate::request::sealed::{Answer, Wire};

mod batch;
mod keyspace;
mod options;
mod server;

pub use batch::{Batch, BatchReply};
pub use keyspace::{
    Delete, Entry, Exists, Get, GetEntry, GetMetadata, Incr, Metadata, Set, SetReply, Touch,
};
pub use options::{Conditional, Write, WriteOptions};
pub use server::{Clients, Echo, Info, Kill, Ping};

/// An i64 that an answer carries.
fn be_i64(bytes: &[u8]) -> Result<i64, Error> {
    bytes
        .try_into()
        .map(i64::from_be_bytes)
        .map_err(|_| Error::unusable("it is not a number of 8 bytes"))
}

/// An answer that has to be OK.
fn required(answer: Answer) -> Result<(Bytes, Meta), Error> {
    answer
        .0
        .ok_or_else(|| Error::unusable("NOTFOUND where there is nothing to find"))
}
