//! The wire protocol of kv: codec, session cryptography and command table.
//!
//! Pure by construction: bytes, time and randomness are passed in, bytes and events come out. Nothing
//! here opens a socket, reads a clock, starts a task or draws a random number, so that every state can
//! be reached by a test and the same code serves the server, the client, the fuzzers and `wasm32`.
//! The format is specified in `docs/protocol.md`.
//!
//! Bytes become trusted in one order: length bound, tag, header meaning, decryption, decompression,
//! body, state. [`Opener`] hands out [`Frame`]s that have passed the first four.
#![forbid(unsafe_code)]

mod assembler;
mod batch;
#[cfg(feature = "codec")]
mod codec;
mod compress;
mod error;
mod ext;
mod fragmenter;
mod handshake;
mod header;
mod keys;
pub mod limits;
mod mac;
mod message;
mod opcode;
mod open;
mod protection;
mod seal;
mod suite;
pub mod typed;

pub use assembler::{
    Assembled, Assembler, AssemblerError, AssemblerLimits, Assembly, AssemblyScope, Fragment,
    Overdue,
};
pub use batch::{Batch, BatchError, BatchItem, BatchItems, BatchWriteError, BatchWriter};
#[cfg(feature = "codec")]
pub use codec::{CodecError, KvCodec};
pub use compress::{DecompressError, compress, decompress};
pub use error::{
    AuthFailed, CloseReason, DecodeError, DecodeKind, ErrorBody, ErrorCode, Limit,
    ProtocolViolation, Retry,
};
pub use ext::{
    EXT_BYTES_MAX, ExtBuf, ExtError, ExtSet, Extensions, IF_ABSENT, IF_PRESENT, Idempotency,
    returns, tag as ext_tag,
};
pub use fragmenter::{CutError, CutLimits, Fragmenter, Piece, TOTAL_LEN_EXT_BYTES, TakeTurns};
pub use handshake::{
    ClientHandshake, ClientHello, ClientRandom, ClientSettings, ClientStep, Established, KeyLookup,
    ServerHandshake, ServerRandom, ServerSettings, ServerStep, refusal,
};
pub use header::{BodyLen, Flags, HEADER_LEN, Header, MAGIC, PREFIX_LEN, VERSION_1, VERSION_2};
pub use keys::{DirectionKeys, Key, Schedule, Transport, transcript_hash};
pub use mac::{MacKey, MacStream, TAG_LEN, Tag, checksum};
pub use message::{KvMessage, MessageError};
pub use opcode::{
    Answer, BodyBound, Direction, Needs, Opcode, OpcodeByte, OpcodeInfo, Repeat, UnknownOpcode,
};
pub use open::{Frame, Opener};
pub use seal::{FrameHead, Sealer, write_frame, write_frame_front};
pub use suite::{Capabilities, Secret, Suite, SuiteList};
