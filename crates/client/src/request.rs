//! What a request is: its frame, and what its answer means. The commands implement it, and
//! [`Call`](crate::Call) runs it.

use kv_proto::limits::KEY_BYTES_MAX;
use kv_proto::{Extensions, Opcode};

use crate::error::Error;
use crate::reply::Reply;

pub(crate) mod sealed {
    use super::{Error, Extensions, Opcode};

    /// The part of [`Request`](super::Request) that is this crate's alone.
    pub trait Wire {
        /// What the call gives.
        type Reply;

        fn opcode(&self) -> Opcode;

        /// `None` without any, which saves encoding an empty block.
        fn ext(&self) -> Option<Extensions<'_>> {
            None
        }

        fn key(&self) -> &[u8] {
            &[]
        }

        fn value(&self) -> &[u8] {
            &[]
        }

        /// What is wrong with the arguments; asked once, before anything is sent.
        fn check(&self) -> Result<(), Error> {
            Ok(())
        }

        fn decode(&mut self, reply: Answer) -> Result<Self::Reply, Error>;
    }

    /// An answer that is not an error: OK or NOTFOUND.
    #[derive(Debug)]
    pub struct Answer(pub(crate) Option<(bytes::Bytes, crate::reply::Meta)>);
}

/// A command that a [`Call`](crate::Call) can run. Sealed: the commands are this crate's.
pub trait Request: sealed::Wire {}

impl<Q: sealed::Wire> Request for Q {}

/// Keys are 1 to 65,535 bytes.
pub(crate) fn check_key(key: &[u8]) -> Result<(), Error> {
    if key.is_empty() {
        return Err(Error::invalid("an empty key"));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(Error::invalid("a key of more than 65,535 bytes"));
    }
    Ok(())
}

/// Splits an answer from the errors a server or this side made of it.
pub(crate) fn answer(reply: Reply) -> Result<sealed::Answer, Error> {
    match reply {
        Reply::Ok(value, meta) => Ok(sealed::Answer(Some((value, meta)))),
        Reply::NotFound => Ok(sealed::Answer(None)),
        Reply::Err(error) => Err(error),
        // Only a cancelled request ends this way, and its caller is gone.
        Reply::End => Err(Error::unusable("the request was cancelled")),
    }
}
