//! Cuts a stream of bytes into frames by the lengths in their headers.

use kv_proto::{HEADER_LEN, Header, PREFIX_LEN};

/// Bytes that arrived, and what of them is whole.
#[derive(Debug, Default)]
pub struct Frames {
    bytes: Vec<u8>,
    /// It was no frame once: nothing is looked at any more.
    opaque: bool,
}

impl Frames {
    /// Where bytes are added.
    pub const fn input(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The next whole frame; of bytes that are no frames, all there are.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        if self.opaque {
            return self.rest();
        }
        let raw = self.bytes.first_chunk::<HEADER_LEN>();
        let Some(raw) = raw else {
            self.opaque = !kv_proto::MAGIC.starts_with(self.bytes.get(..2).unwrap_or(&self.bytes));
            return if self.opaque { self.rest() } else { None };
        };
        let Ok(header) = Header::parse(raw) else {
            self.opaque = true;
            return self.rest();
        };
        let body = usize::try_from(header.body_len()).unwrap_or(usize::MAX);
        let len = PREFIX_LEN.saturating_add(body);
        if self.bytes.len() < len {
            return None;
        }
        let rest = self.bytes.split_off(len);
        Some(std::mem::replace(&mut self.bytes, rest))
    }

    /// What is left, whole or not; `None` if nothing.
    pub fn rest(&mut self) -> Option<Vec<u8>> {
        (!self.bytes.is_empty()).then(|| std::mem::take(&mut self.bytes))
    }
}
