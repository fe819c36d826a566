//! Typed values (content type 2): a compact self-describing form, byte for byte MessagePack.
//!
//! The subset: nil, booleans, integers, 64-bit floats (32-bit ones are read), strings, byte strings,
//! arrays and maps. MessagePack's extension types are refused. Integers are written in their
//! shortest form and read in any.
//!
//! [`Reader`] pulls events out of borrowed bytes and allocates nothing; [`Writer`] appends to a
//! buffer; [`Value`] is the owned tree for those who want one. None of them recurses: nesting is at
//! most [`DEPTH_MAX`], and an announced count is compared with the bytes that remain before anything
//! is done about it.

mod reader;
mod value;
mod writer;

#[cfg(test)]
mod tests;

pub use self::reader::{Event, Reader};
pub use self::value::Value;
pub use self::writer::{WriteError, Writer};

/// How deep arrays and maps may nest. Wire-fixed: a reader may keep a stack of this size.
pub const DEPTH_MAX: usize = 32;

/// How many values one tree ([`Value::decode`]) may have: a one-byte nil becomes 32 bytes in
/// memory, so a tree takes at most 32 MiB beside its strings. [`Reader`] has no such bound.
pub const TREE_VALUES_MAX: usize = 1024 * 1024;
