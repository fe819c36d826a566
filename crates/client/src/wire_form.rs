//! A request as it goes on the wire of one link: extensions encoded, compressed where that was agreed
//! on, cut into pieces where it is large. All of it happens outside of the link's lock.

use std::time::Duration;

use kv_proto::{CutLimits, ExtBuf, ExtSet, Extensions, Flags, Fragmenter, FrameHead, Idempotency};

use crate::error::Error;
use crate::link::Link;
use crate::link::outbox::{Body, Large};
use crate::request::sealed::Wire;

/// Below this a key and a value fit every frame limit and are not worth compressing.
const SMALL_BYTES: usize = 512;

#[derive(Default)]
pub(crate) struct WireForm {
    ext: Option<ExtBuf>,
    pub(crate) flags: Flags,
    pub(crate) large: Option<Large>,
    packed: Option<Vec<u8>>,
}

impl WireForm {
    #[inline]
    pub(crate) fn new<Q: Wire>(
        request: &Q,
        link: &Link,
        deadline: Option<Duration>,
        operation: Option<Idempotency>,
    ) -> Result<Self, Error> {
        let (key, value) = (request.key().len(), request.value().len());
        if deadline.is_none() && key < SMALL_BYTES && value < SMALL_BYTES {
            let ext = match operation {
                None => request.ext(),
                Some(_) => Some(Extensions {
                    idempotency: operation,
                    ..request.ext().unwrap_or_default()
                }),
            };
            let ext = ext.map(|ext| ext.encode());
            return Ok(Self {
                ext,
                ..Self::default()
            });
        }
        Self::any(request, link, deadline, operation)
    }

    fn any<Q: Wire>(
        request: &Q,
        link: &Link,
        deadline: Option<Duration>,
        operation: Option<Idempotency>,
    ) -> Result<Self, Error> {
        let opcode = request.opcode();
        let mut ext = request.ext().unwrap_or_default();
        ext.idempotency = operation;
        ext.deadline_ms = deadline
            .filter(|_| opcode.info().ext.contains(ExtSet::DEADLINE_MS))
            .map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        let packed = link.unpacker().pack(opcode, request.value());
        let flags = if packed.is_some() {
            Flags::COMPRESSED
        } else {
            Flags::NONE
        };
        let value = packed.as_deref().unwrap_or_else(|| request.value());
        let front = ext
            .encode()
            .as_bytes()
            .len()
            .saturating_add(request.key().len());
        let limits = CutLimits::of_session(&link.session.limits);
        let pieces = Fragmenter::new(front, value.len(), &limits)
            .map_err(|_| Error::invalid("a key or value larger than the server takes"))?;
        let Some(total) = pieces.total_len() else {
            let ext = (ext != Extensions::default()).then(|| ext.encode());
            return Ok(Self {
                ext,
                flags,
                large: None,
                packed,
            });
        };
        if !opcode.info().continued {
            return Err(Error::invalid("an argument larger than the server takes"));
        }
        ext.total_len = Some(total);
        let ext = ext.encode();
        let body = Body {
            ext: ext.as_bytes(),
            key: request.key(),
            value,
        };
        let head = FrameHead {
            flags,
            ..FrameHead::new(opcode, 0)
        };
        let large = Some(Large::new(head, body, pieces));
        Ok(Self {
            ext: None,
            flags,
            large,
            packed,
        })
    }

    #[inline]
    pub(crate) fn body<'a, Q: Wire>(&'a self, request: &'a Q) -> Body<'a> {
        Body {
            ext: self.ext.as_ref().map(ExtBuf::as_bytes).unwrap_or_default(),
            key: request.key(),
            value: self.packed.as_deref().unwrap_or_else(|| request.value()),
        }
    }
}
