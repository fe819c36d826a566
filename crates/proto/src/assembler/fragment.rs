//! What goes into the assembler and what comes out.

use bytes::Bytes;

use crate::header::Flags;
use crate::opcode::OpcodeByte;

/// One frame of a continued message, verified and decrypted, as borrowed views.
#[derive(Clone, Copy, Debug)]
pub struct Fragment<'a> {
    /// Which message it belongs to.
    pub request_id: u32,
    /// Must be the same in every fragment of a message.
    pub opcode: OpcodeByte,
    /// The flags that describe the message, without MORE; must be the same in every fragment.
    pub flags: Flags,
    /// Whether further fragments follow.
    pub more: bool,
    /// TOTAL_LEN of the extension block: in the first fragment, and only there.
    pub total_len: Option<u32>,
    /// Extension block as on the wire: first fragment only.
    pub ext: &'a [u8],
    /// Key: first fragment only.
    pub key: &'a [u8],
    /// This piece of the value.
    pub value: &'a [u8],
}

impl Fragment<'_> {
    pub(super) fn head_len(&self) -> usize {
        self.ext.len().saturating_add(self.key.len())
    }
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// Which message it is.
    pub request_id: u32,
    /// Its opcode.
    pub opcode: OpcodeByte,
    /// Its flags, without MORE.
    pub flags: Flags,
    /// The extension block of its first fragment, TOTAL_LEN included.
    pub ext: Bytes,
    /// Its key.
    pub key: Bytes,
    /// Its value, exactly as long as declared.
    pub value: Bytes,
}

/// What became of a fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Assembly {
    /// Kept, or swallowed; more is to come.
    Pending,
    /// It was the last one: here is the message, no longer counted by the assembler.
    Complete(Assembled),
    /// It was the last one of a message that was refused earlier. Nothing to do.
    Swallowed,
}
