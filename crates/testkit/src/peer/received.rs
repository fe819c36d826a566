//! What a scripted server receives: whole messages, however many frames they came in.

use std::collections::HashMap;
use std::io;

use kv_proto::{
    Assembler, Assembly, Extensions, Flags, Fragment, Frame, Opcode, OpcodeByte, decompress,
};

/// A whole message from the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// Its command.
    pub opcode: OpcodeByte,
    /// Its request id.
    pub id: u32,
    /// Its flags, without MORE.
    pub flags: Flags,
    /// Its extension block.
    pub ext: Vec<u8>,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// In how many frames it came.
    pub frames: usize,
}

impl Received {
    /// Whether it is this command.
    #[must_use]
    pub fn is(&self, opcode: Opcode) -> bool {
        self.opcode == OpcodeByte::from(opcode)
    }

    /// Its extensions; a block that is malformed is a bug of the client.
    ///
    /// # Panics
    /// If the command is unknown or the block is malformed.
    #[must_use]
    #[expect(clippy::unwrap_used, reason = "a test wants to hear of it")]
    pub fn extensions(&self) -> Extensions<'_> {
        let opcode = Opcode::try_from(self.opcode).unwrap();
        Extensions::decode(&self.ext, opcode.info().ext).unwrap()
    }

    pub(super) fn of_frame(frame: &Frame<'_>) -> Self {
        Self {
            opcode: frame.opcode(),
            id: frame.request_id(),
            flags: Flags(frame.flags().0 & !Flags::ENCRYPTED.0),
            ext: frame.ext().to_vec(),
            key: frame.key().to_vec(),
            value: frame.value().to_vec(),
            frames: 1,
        }
    }
}

pub(super) fn assemble(
    assembler: &mut Assembler,
    counted: &mut HashMap<u32, usize>,
    frame: &Frame<'_>,
) -> io::Result<Option<Received>> {
    let id = frame.request_id();
    if frame.opcode() == OpcodeByte::from(Opcode::Cancel) {
        return Ok(Some(Received::of_frame(frame)));
    }
    let opcode = Opcode::try_from(frame.opcode()).map_err(io::Error::other)?;
    let ext = Extensions::decode(frame.ext(), opcode.info().ext).map_err(io::Error::other)?;
    let fragment = Fragment {
        request_id: id,
        opcode: frame.opcode(),
        flags: Flags(frame.flags().0 & !(Flags::MORE.0 | Flags::ENCRYPTED.0)),
        more: frame.flags().contains(Flags::MORE),
        total_len: ext.total_len,
        ext: frame.ext(),
        key: frame.key(),
        value: frame.value(),
    };
    let frames = counted.entry(id).or_default();
    *frames = frames.saturating_add(1);
    match assembler.accept(0, &fragment).map_err(io::Error::other)? {
        Assembly::Complete(whole) => Ok(Some(Received {
            opcode: whole.opcode,
            id,
            flags: whole.flags,
            ext: whole.ext.to_vec(),
            key: whole.key.to_vec(),
            value: whole.value.to_vec(),
            frames: counted.remove(&id).unwrap_or_default(),
        })),
        Assembly::Pending | Assembly::Swallowed => Ok(None),
    }
}

pub(super) fn inflate(mut received: Received) -> io::Result<Received> {
    if received.flags.contains(Flags::COMPRESSED) {
        received.value = decompress(&received.value, usize::MAX >> 1).map_err(io::Error::other)?;
    }
    Ok(received)
}
