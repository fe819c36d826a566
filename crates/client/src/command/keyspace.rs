//! Commands on entries.

use super::options::HasOptions;
use super::{
    Answer, Bytes, Call, ContentType, Duration, Error, Extensions, Meta, Opcode, Wire,
    WriteOptions, be_i64, check_key, required, returns,
};

/// An entry as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// Grows with each change of the key; for [`Call::if_version`].
    pub version: u64,
    /// What remains of its time to live; `None`: it does not expire.
    pub ttl: Option<Duration>,
    /// What its writer said about the value.
    pub content_type: ContentType,
}

/// An entry without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Bytes of the value.
    pub value_len: u32,
    /// Grows with each change of the key.
    pub version: u64,
    /// What remains of its time to live; `None`: it does not expire.
    pub ttl: Option<Duration>,
    /// What its writer said about the value.
    pub content_type: ContentType,
}

/// What a SET came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetReply {
    /// The entry's new version.
    pub version: u64,
    /// With [`Call::return_previous`]: the value before, if there was one.
    pub previous: Option<Bytes>,
}

/// Reads a value.
#[derive(Clone, Copy, Debug)]
pub struct Get<K>(pub(crate) K);

impl<K: AsRef<[u8]>> Wire for Get<K> {
    type Reply = Option<Bytes>;

    fn opcode(&self) -> Opcode {
        Opcode::Get
    }

    fn key(&self) -> &[u8] {
        self.0.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        check_key(self.key())
    }

    fn decode(&mut self, answer: Answer) -> Result<Self::Reply, Error> {
        Ok(answer.0.map(|(value, _)| value))
    }
}

/// Reads an entry.
#[derive(Clone, Copy, Debug)]
pub struct GetEntry<K>(pub(crate) K);

impl<K: AsRef<[u8]>> Wire for GetEntry<K> {
    type Reply = Option<Entry>;

    fn opcode(&self) -> Opcode {
        Opcode::Get
    }

    fn key(&self) -> &[u8] {
        self.0.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        check_key(self.key())
    }

    fn decode(&mut self, answer: Answer) -> Result<Self::Reply, Error> {
        Ok(answer.0.map(|(value, meta)| entry(value, &meta)))
    }
}

pub(crate) fn entry(value: Bytes, meta: &Meta) -> Entry {
    Entry {
        value,
        version: meta.version,
        ttl: meta.ttl(),
        content_type: meta.content_type.into(),
    }
}

/// VALUE_LEN tells an empty value before from none.
pub(crate) fn set_reply(value: Bytes, meta: &Meta) -> SetReply {
    SetReply {
        version: meta.version,
        previous: meta.value_len.map(|_| value),
    }
}

/// Reads all of an entry but its value.
#[derive(Clone, Copy, Debug)]
pub struct GetMetadata<K>(pub(crate) K);

impl<K: AsRef<[u8]>> Wire for GetMetadata<K> {
    type Reply = Option<Metadata>;

    fn opcode(&self) -> Opcode {
        Opcode::Get
    }

    fn ext(&self) -> Option<Extensions<'_>> {
        Some(Extensions {
            returns: Some(returns::NO_VALUE),
            ..Extensions::default()
        })
    }

    fn key(&self) -> &[u8] {
        self.0.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        check_key(self.key())
    }

    fn decode(&mut self, answer: Answer) -> Result<Self::Reply, Error> {
        Ok(answer.0.map(|(_, meta)| Metadata {
            value_len: meta.value_len.unwrap_or_default(),
            version: meta.version,
            ttl: meta.ttl(),
            content_type: meta.content_type.into(),
        }))
    }
}

/// Asks whether there is an entry.
#[derive(Clone, Copy, Debug)]
pub struct Exists<K>(pub(crate) GetMetadata<K>);

impl<K: AsRef<[u8]>> Wire for Exists<K> {
    type Reply = bool;

    fn opcode(&self) -> Opcode {
        self.0.opcode()
    }

    fn ext(&self) -> Option<Extensions<'_>> {
        self.0.ext()
    }

    fn key(&self) -> &[u8] {
        self.0.key()
    }

    fn check(&self) -> Result<(), Error> {
        self.0.check()
    }

    fn decode(&mut self, answer: Answer) -> Result<bool, Error> {
        Ok(answer.0.is_some())
    }
}

/// Writes an entry.
#[derive(Clone, Copy, Debug)]
pub struct Set<K, V> {
    pub(crate) key: K,
    pub(crate) value: V,
    pub(crate) options: WriteOptions,
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> Wire for Set<K, V> {
    type Reply = SetReply;

    fn opcode(&self) -> Opcode {
        Opcode::Set
    }

    fn ext(&self) -> Option<Extensions<'_>> {
        self.options.ext(self.opcode())
    }

    fn key(&self) -> &[u8] {
        self.key.as_ref()
    }

    fn value(&self) -> &[u8] {
        self.value.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        check_key(self.key())
    }

    fn decode(&mut self, answer: Answer) -> Result<SetReply, Error> {
        let (value, meta) = required(answer)?;
        Ok(set_reply(value, &meta))
    }
}

impl<K, V> HasOptions for Set<K, V> {
    fn options(&mut self) -> &mut WriteOptions {
        &mut self.options
    }
}

impl<K: AsRef<[u8]>, V: AsRef<[u8]>> Call<'_, Set<K, V>> {
    /// Lets the entry expire after this time, rounded down to milliseconds, at least one.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.request.options = self.request.options.ttl(ttl);
        self
    }

    /// Says what the value is.
    pub fn content_type(mut self, content_type: ContentType) -> Self {
        self.request.options = self.request.options.content_type(content_type);
        self
    }

    /// Asks for the value before.
    pub fn return_previous(mut self) -> Self {
        self.request.options = self.request.options.return_previous();
        self
    }
}

/// Removes an entry.
#[derive(Clone, Copy, Debug)]
pub struct Delete<K> {
    pub(crate) key: K,
    pub(crate) options: WriteOptions,
}

impl<K: AsRef<[u8]>> Wire for Delete<K> {
    type Reply = bool;

    fn opcode(&self) -> Opcode {
        Opcode::Del
    }

    fn ext(&self) -> Option<Extensions<'_>> {
        self.options.ext(self.opcode())
    }

    fn key(&self) -> &[u8] {
        self.key.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        check_key(self.key())
    }

    fn decode(&mut self, answer: Answer) -> Result<bool, Error> {
        Ok(answer.0.is_some())
    }
}

impl<K> HasOptions for Delete<K> {
    fn options(&mut self) -> &mut WriteOptions {
        &mut self.options
    }
}

/// Adds to a number.
#[derive(Clone, Copy, Debug)]
pub struct Incr<K> {
    pub(crate) key: K,
    pub(crate) delta: [u8; 8],
    pub(crate) options: WriteOptions,
}

impl<K: AsRef<[u8]>> Wire for Incr<K> {
    type Reply = i64;

    fn opcode(&self) -> Opcode {
        Opcode::Incr
    }

    fn ext(&self) -> Option<Extensions<'_>> {
        self.options.ext(self.opcode())
    }

    fn key(&self) -> &[u8] {
        self.key.as_ref()
    }

    fn value(&self) -> &[u8] {
        &self.delta
    }

    fn check(&self) -> Result<(), Error> {
        check_key(self.key())
    }

    fn decode(&mut self, answer: Answer) -> Result<i64, Error> {
        be_i64(&required(answer)?.0)
    }
}

impl<K> HasOptions for Incr<K> {
    fn options(&mut self) -> &mut WriteOptions {
        &mut self.options
    }
}

impl<K: AsRef<[u8]>> Call<'_, Incr<K>> {
    /// Lets the number expire after this time; without it the expiry stays as it is.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.request.options = self.request.options.ttl(ttl);
        self
    }
}

/// Changes when an entry expires.
#[derive(Clone, Copy, Debug)]
pub struct Touch<K> {
    pub(crate) key: K,
    pub(crate) options: WriteOptions,
}

impl<K> Touch<K> {
    pub(crate) fn new(key: K, ttl: Option<Duration>) -> Self {
        Self {
            key,
            options: WriteOptions::expiring(ttl),
        }
    }
}

impl<K: AsRef<[u8]>> Wire for Touch<K> {
    type Reply = bool;

    fn opcode(&self) -> Opcode {
        Opcode::Touch
    }

    fn ext(&self) -> Option<Extensions<'_>> {
        self.options.ext(self.opcode())
    }

    fn key(&self) -> &[u8] {
        self.key.as_ref()
    }

    fn check(&self) -> Result<(), Error> {
        check_key(self.key())
    }

    fn decode(&mut self, answer: Answer) -> Result<bool, Error> {
        Ok(answer.0.is_some())
    }
}

impl<K> HasOptions for Touch<K> {
    fn options(&mut self) -> &mut WriteOptions {
        &mut self.options
    }
}
