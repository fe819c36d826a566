//! An entry in one allocation:
//!
//! ```text
//! value up to 16 KiB:  header 14 | expiry 8, if any | key | value
//! longer:              header 14 | 2 | Bytes 32 | expiry 8, if any | key
//! ```
//!
//! The size allocated is a function of the header alone ([`Shape`]), so that none is stored.

use super::word::{ADDRESS_END, ENTRY_ALIGN};
use crate::{Entry, INLINE_VALUE_BYTES_MAX, StoreError, Value};
use bytes::Bytes;
use std::alloc::{Layout, alloc, dealloc};
use std::num::NonZeroU64;
use std::ptr::{self, NonNull};
use std::slice;

/// What an entry holds beside its key.
#[derive(Clone, Copy)]
pub(crate) struct Contents<'a> {
    pub(crate) value: Value<'a>,
    pub(crate) version: u64,
    pub(crate) expires_at: Option<NonZeroU64>,
    pub(crate) content_type: u8,
}

/// The front of an entry; packed, so that the key begins right behind it.
#[derive(Clone, Copy)]
#[repr(C, packed(2))]
struct Header {
    version: u64,
    key_len: u16,
    /// Of an inline value; 0 when shared.
    value_len: u16,
    content_type: u8,
    flags: u8,
}

const HEADER_BYTES: usize = 14;
const SHARED_AT: usize = 16;
const EXPIRES: u8 = 1;
const SHARED: u8 = 2;
/// The flags that say where the parts lie; the others are [`Mark`]s.
const FORM: u8 = EXPIRES | SHARED;

/// What an engine notes about an entry. No part of its content: a mark stays when the content
/// changes in place, and a new entry has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mark {
    /// Looked up since the hand of the eviction clock came by.
    Referenced = 4,
    /// Not in the base as it is here.
    Dirty = 8,
    /// The key has no entry: a deletion, or a look-up that found none.
    Absent = 16,
    /// The base holds some entry of this key.
    Stored = 32,
    /// Nobody has looked whether the base holds an entry of this key.
    Unsure = 64,
    /// What the base holds of this key never expires.
    Plain = 128,
}

const _: () = assert!(size_of::<Header>() == HEADER_BYTES);
const _: () = assert!(SHARED_AT.is_multiple_of(align_of::<Bytes>()) && ENTRY_ALIGN >= SHARED_AT);
const _: () = assert!(INLINE_VALUE_BYTES_MAX <= u16::MAX as usize);

/// About what a `Bytes` allocates beside the bytes.
const SHARED_OVERHEAD_BYTES: usize = 40;

/// Where the parts of an entry lie.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Shape {
    key_len: u16,
    value_len: u16,
    flags: u8,
}

impl Shape {
    fn of(key_len: u16, contents: &Contents<'_>) -> Self {
        let mut flags = 0;
        if contents.expires_at.is_some() {
            flags |= EXPIRES;
        }
        let value_len = match u16::try_from(contents.value.len()) {
            Ok(len) if usize::from(len) <= INLINE_VALUE_BYTES_MAX => len,
            _ => {
                flags |= SHARED;
                0
            }
        };
        Self {
            key_len,
            value_len,
            flags,
        }
    }

    const fn form(self) -> u8 {
        self.flags & FORM
    }

    const fn expires(self) -> bool {
        self.flags & EXPIRES != 0
    }

    const fn shared(self) -> bool {
        self.flags & SHARED != 0
    }

    const fn expiry_at(self) -> usize {
        if self.shared() {
            SHARED_AT + size_of::<Bytes>()
        } else {
            HEADER_BYTES
        }
    }

    const fn key_at(self) -> usize {
        self.expiry_at() + if self.expires() { 8 } else { 0 }
    }

    const fn value_at(self) -> usize {
        self.key_at() + self.key_len as usize
    }

    /// What is allocated: rounded up to one of eight or more steps between powers of two, about
    /// as allocators do, so that a value of nearly the same length can take its place.
    const fn alloc_bytes(self) -> usize {
        let used = self.value_at() + self.value_len as usize;
        let coarse = used.next_power_of_two() / 16;
        let step = if coarse < ENTRY_ALIGN {
            ENTRY_ALIGN
        } else {
            coarse
        };
        used.next_multiple_of(step)
    }

    /// Never fails: an entry is at most some 82 KiB.
    fn layout(self) -> Result<Layout, StoreError> {
        Layout::from_size_align(self.alloc_bytes(), ENTRY_ALIGN)
            .map_err(|_| StoreError::OutOfMemory)
    }
}

/// Owns an entry.
///
/// Invariant: `at` is the start of a live allocation of `shape().layout()`, whose header, expiry
/// (if flagged), key and value (bytes or a `Bytes`) are initialised as the header says.
pub(crate) struct EntryBox {
    at: NonNull<u8>,
}

// SAFETY: the allocation is owned and holds plain bytes and possibly a `Bytes`, which is Send.
#[expect(unsafe_code, reason = "owns its allocation through a raw pointer")]
unsafe impl Send for EntryBox {}

#[expect(unsafe_code, reason = "an entry is one allocation of mixed content")]
impl EntryBox {
    /// Allocates an entry and copies the contents in.
    pub(crate) fn new(key: &[u8], contents: &Contents<'_>) -> Result<Self, StoreError> {
        let key_len = u16::try_from(key.len()).map_err(|_| StoreError::KeyLength)?;
        let shape = Shape::of(key_len, contents);
        let layout = shape.layout()?;
        // SAFETY: the layout is never of size 0, the header alone has 14 bytes.
        let at = NonNull::new(unsafe { alloc(layout) }).ok_or(StoreError::OutOfMemory)?;
        if at.addr().get() as u64 >= ADDRESS_END {
            // SAFETY: allocated above with this layout and not used since.
            unsafe { dealloc(at.as_ptr(), layout) };
            return Err(StoreError::OutOfMemory);
        }
        let header = Header {
            version: contents.version,
            key_len: shape.key_len,
            value_len: shape.value_len,
            content_type: contents.content_type,
            flags: shape.flags,
        };
        // SAFETY: the allocation is fresh, aligned to 16 and as large as the shape says: header,
        // key and (below) expiry and value lie inside it and do not overlap one another.
        unsafe {
            at.cast::<Header>().write(header);
            let key_to = at.add(shape.key_at());
            ptr::copy_nonoverlapping(key.as_ptr(), key_to.as_ptr(), key.len());
        }
        let mut entry = Self { at };
        entry.write_expiry(shape, contents.expires_at);
        if shape.shared() {
            let bytes = contents.value.to_bytes();
            // SAFETY: a shared shape has room for a `Bytes` here, aligned to 16; nothing is
            // overwritten that would have to be dropped.
            unsafe { entry.at.add(SHARED_AT).cast::<Bytes>().write(bytes) };
        } else {
            entry.write_inline(shape, contents.value.as_slice());
        }
        Ok(entry)
    }

    /// Puts other contents in the place of these, if they fit without moving.
    /// Says whether they did; if not, nothing has changed.
    pub(crate) fn overwrite(&mut self, contents: &Contents<'_>) -> bool {
        let old = self.shape();
        let new = Shape::of(old.key_len, contents);
        let fits =
            new.flags == old.form() && !new.shared() && new.alloc_bytes() == old.alloc_bytes();
        if !fits {
            return false;
        }
        self.header_mut().version = contents.version;
        self.header_mut().content_type = contents.content_type;
        self.header_mut().value_len = new.value_len;
        let shape = self.shape();
        self.write_expiry(shape, contents.expires_at);
        self.write_inline(shape, contents.value.as_slice());
        true
    }

    /// Whether the entry has the mark.
    #[inline]
    pub(crate) fn has(&self, mark: Mark) -> bool {
        self.header().flags & mark as u8 != 0
    }

    /// Sets a mark or takes it away.
    #[inline]
    pub(crate) fn set(&mut self, mark: Mark, to: bool) {
        if to {
            self.header_mut().flags |= mark as u8;
        } else {
            self.header_mut().flags &= !(mark as u8);
        }
    }

    /// Gives the entry another version and expiry, if that needs no other room. Says whether.
    pub(crate) fn touch(&mut self, version: u64, expires_at: Option<NonZeroU64>) -> bool {
        let shape = self.shape();
        if shape.expires() != expires_at.is_some() {
            return false;
        }
        self.header_mut().version = version;
        self.write_expiry(shape, expires_at);
        true
    }

    /// Bytes of the entry's own allocation.
    pub(crate) fn alloc_bytes(&self) -> usize {
        self.shape().alloc_bytes()
    }

    /// Bytes this entry takes from the allocator, a shared value's included.
    pub(crate) fn bytes(&self) -> usize {
        let shape = self.shape();
        let value = if shape.shared() {
            self.value().len() + SHARED_OVERHEAD_BYTES
        } else {
            0
        };
        shape.alloc_bytes() + value
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        let shape = self.shape();
        // SAFETY: `key_len` initialised bytes begin at `key_at`; they live and stay unchanged
        // as long as the borrow of `self`.
        unsafe {
            slice::from_raw_parts(
                self.at.add(shape.key_at()).as_ptr(),
                usize::from(shape.key_len),
            )
        }
    }

    #[inline]
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
            value: self.value(),
            version: self.header().version,
            expires_at: self.expires_at(),
            content_type: self.header().content_type,
        }
    }

    #[inline]
    pub(crate) fn expires_at(&self) -> Option<NonZeroU64> {
        let shape = self.shape();
        if !shape.expires() {
            return None;
        }
        // SAFETY: the shape says that 8 initialised bytes lie here, at any alignment.
        let expiry = unsafe {
            self.at
                .add(shape.expiry_at())
                .cast::<u64>()
                .read_unaligned()
        };
        NonZeroU64::new(expiry)
    }

    #[inline]
    fn value(&self) -> Value<'_> {
        let shape = self.shape();
        if shape.shared() {
            // SAFETY: the shape says that a `Bytes` lies here, aligned; it stays as long as the
            // borrow of `self`.
            Value::Shared(unsafe { self.at.add(SHARED_AT).cast::<Bytes>().as_ref() })
        } else {
            // SAFETY: `value_len` initialised bytes begin at `value_at`; they live and stay
            // unchanged as long as the borrow of `self`.
            Value::Inline(unsafe {
                let from = self.at.add(shape.value_at());
                slice::from_raw_parts(from.as_ptr(), usize::from(shape.value_len))
            })
        }
    }

    #[inline]
    fn header(&self) -> &Header {
        // SAFETY: each entry begins with an initialised header, aligned to 16.
        unsafe { self.at.cast::<Header>().as_ref() }
    }

    fn header_mut(&mut self) -> &mut Header {
        // SAFETY: as in `header`; `&mut self` makes the borrow the only one.
        unsafe { self.at.cast::<Header>().as_mut() }
    }

    #[inline]
    fn shape(&self) -> Shape {
        let header = self.header();
        Shape {
            key_len: header.key_len,
            value_len: header.value_len,
            flags: header.flags,
        }
    }

    /// `shape` is this entry's own.
    fn write_expiry(&mut self, shape: Shape, expires_at: Option<NonZeroU64>) {
        let Some(expires_at) = expires_at else { return };
        debug_assert!(shape == self.shape() && shape.expires());
        if shape.expires() {
            // SAFETY: a shape that expires has 8 bytes here, at any alignment.
            unsafe {
                let to = self.at.add(shape.expiry_at()).cast::<u64>();
                to.write_unaligned(expires_at.get());
            }
        }
    }

    /// `shape` is this entry's own and inline, `value` of its length.
    fn write_inline(&mut self, shape: Shape, value: &[u8]) {
        debug_assert!(shape == self.shape() && !shape.shared());
        let len = value.len().min(usize::from(shape.value_len));
        // SAFETY: the shape has `value_len` bytes at `value_at` inside the allocation, and the
        // length is cut to it; `value` cannot overlap them, `&mut self` is the only borrow.
        unsafe {
            let to = self.at.add(shape.value_at());
            ptr::copy_nonoverlapping(value.as_ptr(), to.as_ptr(), len);
        }
    }

    /// Gives the allocation up, as an address below [`ADDRESS_END`] and divisible by
    /// [`ENTRY_ALIGN`]. It leaks unless it comes back through [`EntryBox::from_address`].
    pub(crate) fn into_address(self) -> usize {
        let entry = std::mem::ManuallyDrop::new(self);
        entry.at.as_ptr().expose_provenance()
    }

    /// Takes an allocation back.
    ///
    /// # Safety
    ///
    /// `address` comes from [`EntryBox::into_address`], and the entry there is not owned by
    /// another `EntryBox` that is ever used or dropped while this one is in use.
    #[inline]
    pub(crate) unsafe fn from_address(address: usize) -> Self {
        // SAFETY: `into_address` gave it from a `NonNull`.
        let at = unsafe { NonNull::new_unchecked(ptr::with_exposed_provenance_mut(address)) };
        Self { at }
    }
}

#[expect(unsafe_code, reason = "an entry is one allocation of mixed content")]
impl Drop for EntryBox {
    fn drop(&mut self) {
        let shape = self.shape();
        let Ok(layout) = shape.layout() else { return };
        // SAFETY: the shape says whether a `Bytes` lies here; it is dropped once, here. The
        // allocation was made with this very layout, a function of the shape, which `overwrite`
        // changes only to one of the same layout.
        unsafe {
            if shape.shared() {
                self.at.add(SHARED_AT).cast::<Bytes>().drop_in_place();
            }
            dealloc(self.at.as_ptr(), layout);
        }
    }
}

#[cfg(test)]
mod tests;
