//! What a measured protocol is to the driver: bytes out for requests, answers out of bytes.
//!
//! The driver is generic over [`Protocol`], so every system is measured by the same event loop, the
//! same clock readings and the same checks.

use anyhow::Result;

use crate::workload::{Data, Request};

mod echo;
mod memcached;
mod native;
mod resp;

pub(crate) use echo::Echo;
pub(crate) use memcached::Memcached;
pub(crate) use native::{Native, NativeKey, batch_answers};
pub(crate) use resp::Resp;

/// A request's place among those in flight on its connection.
pub(crate) type Slot = u16;

/// What came back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Answer<'a> {
    /// The value of a read, with its key where the protocol repeats it; of a batch, its replies.
    Value {
        /// The key, if it was repeated.
        key: Option<&'a [u8]>,
        /// The value, whole.
        value: &'a [u8],
    },
    /// A read found nothing.
    Missing,
    /// A write was done.
    Done,
    /// The protocol has compared the reply with the request itself: whether it is right.
    Compared(bool),
    /// The server refused the request.
    Refused,
}

/// One connection's codec.
pub(crate) trait Protocol {
    /// The application protocol to agree on under TLS, if there is one.
    const ALPN: Option<&'static [u8]>;

    /// Appends what opens a session. `exporter` is there under TLS.
    ///
    /// # Errors
    /// When this protocol cannot be spoken as asked.
    fn open(&mut self, exporter: Option<[u8; 32]>, out: &mut Vec<u8>) -> Result<()>;

    /// Reads the answers to [`Protocol::open`]; true when requests may follow.
    ///
    /// # Errors
    /// When the server refuses.
    fn opened(&mut self, input: &mut &mut [u8], out: &mut Vec<u8>) -> Result<bool>;

    /// Requests that may be in flight, as far as the protocol says so.
    fn in_flight_max(&self) -> u32 {
        u32::from(Slot::MAX)
    }

    /// Whether requests of more than one operation exist.
    const BATCHES: bool;

    /// Appends a request. `slot` is not in flight.
    ///
    /// # Errors
    /// When the request cannot be written in this protocol.
    fn request(
        &mut self,
        slot: Slot,
        request: &Request,
        data: &Data,
        out: &mut Vec<u8>,
    ) -> Result<()>;

    /// Takes every whole reply off the front of `input`. What has to be answered at once (a PING) is
    /// appended to `out`.
    ///
    /// # Errors
    /// When the bytes are not the protocol, a tag is wrong, or the server ends the session.
    fn replies(
        &mut self,
        input: &mut &mut [u8],
        out: &mut Vec<u8>,
        each: &mut impl FnMut(Slot, Answer<'_>),
    ) -> Result<()>;

    /// Appends what ends a session in good order.
    fn close(&mut self, out: &mut Vec<u8>);
}
