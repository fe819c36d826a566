//! Many operations in one message.

use kv_proto::{Batch as Items, BatchItem, BatchWriteError, BatchWriter, ExtSet, OpcodeByte};

use super::keyspace::{Entry, SetReply, entry, set_reply};
use super::{
    Answer, Bytes, Call, Duration, Error, Extensions, Meta, Opcode, Wire, WriteOptions, be_i64,
    check_key, required,
};
use crate::reply::server_error;

/// What one operation of a batch came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BatchReply {
    /// GET: the entry, if there is one.
    Entry(Option<Entry>),
    /// SET.
    Set(SetReply),
    /// DEL: whether there was an entry.
    Deleted(bool),
    /// INCR: the sum.
    Counter(i64),
    /// TOUCH: whether there is an entry.
    Touched(bool),
}

/// Many operations in one message: one tag, one round trip, in order.
///
/// Each has its own result, and one that fails does not stop the others, unless the batch is
/// [`atomic`](Call::atomic). The values of one answer share one allocation.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    items: Vec<u8>,
    opcodes: Vec<Opcode>,
    atomic: bool,
    mistake: Option<Error>,
}

impl Batch {
    fn add(&mut self, opcode: Opcode, ext: Option<Extensions<'_>>, key: &[u8], value: &[u8]) {
        let encoded = ext.map(|ext| ext.encode());
        let ext = encoded
            .as_ref()
            .map(kv_proto::ExtBuf::as_bytes)
            .unwrap_or_default();
        let added = check_key(key).and_then(|()| {
            if self.opcodes.len() >= kv_proto::limits::BATCH_ITEMS_MAX {
                return Err(Error::invalid("more than 4,096 operations in a batch"));
            }
            BatchWriter::requests(&mut self.items)
                .item(opcode, ext, key, value)
                .map_err(|_: BatchWriteError| Error::invalid("a value of more than 4 GiB"))
        });
        match added {
            Ok(()) => self.opcodes.push(opcode),
            Err(error) => {
                self.mistake.get_or_insert(error);
            }
        }
    }
}

impl Wire for Batch {
    type Reply = Vec<Result<BatchReply, Error>>;

    fn opcode(&self) -> Opcode {
        Opcode::Batch
    }

    fn ext(&self) -> Option<Extensions<'_>> {
        self.atomic.then(|| Extensions {
            atomic: true,
            ..Extensions::default()
        })
    }

    fn value(&self) -> &[u8] {
        &self.items
    }

    fn check(&self) -> Result<(), Error> {
        self.mistake.clone().map_or(Ok(()), Err)
    }

    fn decode(&mut self, answer: Answer) -> Result<Self::Reply, Error> {
        let (value, _) = required(answer)?;
        let malformed = || Error::unusable("it is not a list of answers");
        let replies = Items::replies(&value).map_err(|_| malformed())?;
        if replies.len() != self.opcodes.len() {
            return Err(malformed());
        }
        let pairs = self.opcodes.iter().zip(&replies);
        Ok(pairs
            .map(|(opcode, item)| one(*opcode, &item, &value))
            .collect())
    }
}

/// The answer to one operation; its value stays part of the whole answer's allocation.
fn one(opcode: Opcode, item: &BatchItem<'_>, whole: &Bytes) -> Result<BatchReply, Error> {
    let meta = |allowed: ExtSet| {
        Meta::decode(item.ext, allowed).map_err(|_| Error::unusable("malformed extensions"))
    };
    let answer = if item.opcode == OpcodeByte::from(Opcode::Ok) {
        Answer(Some((
            whole.slice_ref(item.value),
            meta(Opcode::Ok.info().ext)?,
        )))
    } else if item.opcode == OpcodeByte::from(Opcode::NotFound) {
        Answer(None)
    } else if item.opcode == OpcodeByte::from(Opcode::Err) {
        return Err(server_error(item.ext, item.key, item.value).unwrap_or_else(Error::protocol));
    } else {
        return Err(Error::unusable("an answer of no known kind in a batch"));
    };
    Ok(match opcode {
        Opcode::Get => BatchReply::Entry(answer.0.map(|(value, meta)| entry(value, &meta))),
        Opcode::Set => {
            let (value, meta) = required(answer)?;
            BatchReply::Set(set_reply(value, &meta))
        }
        Opcode::Incr => BatchReply::Counter(be_i64(&required(answer)?.0)?),
        Opcode::Del => BatchReply::Deleted(answer.0.is_some()),
        _ => BatchReply::Touched(answer.0.is_some()),
    })
}

impl Call<'_, Batch> {
    /// Reads an entry.
    pub fn get(mut self, key: impl AsRef<[u8]>) -> Self {
        self.request.add(Opcode::Get, None, key.as_ref(), &[]);
        self
    }

    /// Writes an entry.
    pub fn set(self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.set_with(key, value, WriteOptions::new())
    }

    /// Writes an entry, with options.
    pub fn set_with(
        mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        options: WriteOptions,
    ) -> Self {
        let ext = options.ext(Opcode::Set);
        self.request
            .add(Opcode::Set, ext, key.as_ref(), value.as_ref());
        self
    }

    /// Removes an entry.
    pub fn delete(self, key: impl AsRef<[u8]>) -> Self {
        self.delete_with(key, WriteOptions::new())
    }

    /// Removes an entry, with a condition.
    pub fn delete_with(mut self, key: impl AsRef<[u8]>, options: WriteOptions) -> Self {
        self.request
            .add(Opcode::Del, options.ext(Opcode::Del), key.as_ref(), &[]);
        self
    }

    /// Adds to a number.
    pub fn incr(self, key: impl AsRef<[u8]>, delta: i64) -> Self {
        self.incr_with(key, delta, WriteOptions::new())
    }

    /// Adds to a number, with options.
    pub fn incr_with(mut self, key: impl AsRef<[u8]>, delta: i64, options: WriteOptions) -> Self {
        let ext = options.ext(Opcode::Incr);
        self.request
            .add(Opcode::Incr, ext, key.as_ref(), &delta.to_be_bytes());
        self
    }

    /// Changes when an entry expires; `None`: never.
    pub fn touch(mut self, key: impl AsRef<[u8]>, ttl: Option<Duration>) -> Self {
        let ext = WriteOptions::expiring(ttl).ext(Opcode::Touch);
        self.request.add(Opcode::Touch, ext, key.as_ref(), &[]);
        self
    }

    /// Applies all operations at one moment, or none: if one fails, the whole call fails with its
    /// error, which names the operation.
    pub fn atomic(mut self) -> Self {
        self.request.atomic = true;
        self
    }
}
