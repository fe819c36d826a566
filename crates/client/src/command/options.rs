//! What a write may ask for beside its key and value.

use super::{
    Batch, Call, ContentType, Delete, Duration, Extensions, IF_ABSENT, IF_PRESENT, Incr, Opcode,
    Set, Touch, millis, returns,
};
use crate::request::Request;

/// Options of a write, for [`Batch`]; a single call has them as its own methods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct WriteOptions {
    if_version: Option<u64>,
    ttl: Option<Duration>,
    content_type: ContentType,
    returns_previous: bool,
}

impl WriteOptions {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn expiring(ttl: Option<Duration>) -> Self {
        Self {
            ttl,
            ..Self::default()
        }
    }

    /// Lets the entry expire after this time, in whole milliseconds, at least one.
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Says what the value is.
    pub const fn content_type(mut self, content_type: ContentType) -> Self {
        self.content_type = content_type;
        self
    }

    /// Asks for the value before.
    pub const fn return_previous(mut self) -> Self {
        self.returns_previous = true;
        self
    }

    /// Applies it only if the entry has this version.
    pub const fn if_version(mut self, version: u64) -> Self {
        self.if_version = Some(version);
        self
    }

    /// Applies it only if there is no entry.
    pub const fn if_absent(self) -> Self {
        self.if_version(IF_ABSENT)
    }

    /// Applies it only if there is an entry.
    pub const fn if_present(self) -> Self {
        self.if_version(IF_PRESENT)
    }

    /// As extensions of `opcode`, without those that it does not have. `None` when nothing is left,
    /// which saves an extension block.
    pub(super) fn ext(&self, opcode: Opcode) -> Option<Extensions<'static>> {
        let is_set = opcode == Opcode::Set;
        let ext = Extensions {
            ttl_ms: self
                .ttl
                .map(|ttl| millis(ttl).max(1))
                .filter(|_| opcode != Opcode::Del),
            content_type: Some(self.content_type.number()).filter(|&n| n != 0 && is_set),
            if_version: self.if_version,
            returns: (self.returns_previous && is_set).then_some(returns::PREVIOUS),
            ..Extensions::default()
        };
        (ext != Extensions::default()).then_some(ext)
    }
}

/// A command that changes entries. Sealed.
pub trait Write: Request {}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> Write for Set<K, V> {}
impl<K: AsRef<[u8]>> Write for Delete<K> {}
impl<K: AsRef<[u8]>> Write for Incr<K> {}
impl<K: AsRef<[u8]>> Write for Touch<K> {}
impl Write for Batch {}

pub trait HasOptions {
    fn options(&mut self) -> &mut WriteOptions;
}

/// A write that can be made to depend on the entry it finds. Sealed.
pub trait Conditional: HasOptions {}

impl<Q: HasOptions> Conditional for Q {}

impl<Q: Conditional + Request> Call<'_, Q> {
    /// Applies it only if the entry has this version; otherwise the call fails with CONFLICT, which
    /// names the version that is there.
    pub fn if_version(mut self, version: u64) -> Self {
        let options = self.request.options();
        *options = options.if_version(version);
        self
    }

    /// Applies it only if there is no entry; otherwise the call fails with CONFLICT.
    pub fn if_absent(self) -> Self {
        self.if_version(IF_ABSENT)
    }

    /// Applies it only if there is an entry; otherwise the call fails with CONFLICT.
    pub fn if_present(self) -> Self {
        self.if_version(IF_PRESENT)
    }
}
