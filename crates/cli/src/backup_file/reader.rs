//! Reading the file of a backup: each block is checked before anything in it is looked at.

use std::fmt;
use std::io::{self, Read};

use bytes::{Buf as _, Bytes};
use kv_client::BackupEntry;
use sha2::{Digest as _, Sha256};

use super::{
    BLOCK_HEAD_BYTES, Closing, ENTRY_BYTES, FORMAT, HEADER_BYTES, MAGIC, Opening, TRAILER_BYTES,
};

/// Why a file is of no use.
#[derive(Debug)]
pub(crate) enum Damage {
    /// It does not begin like a backup.
    NoBackup,
    /// A form of a later release.
    Format(u32),
    /// It ends here, in the middle.
    Truncated(u64),
    /// What begins here is not what was written.
    Changed(u64),
    /// It goes on behind its end, which is here.
    Longer(u64),
    /// Its entries are not those the server read.
    Entries,
    /// It cannot be read.
    Io(io::Error),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoBackup => f.write_str("it does not begin like a backup of kv"),
            Self::Format(format) => write!(f, "its form {format} is of a later release"),
            Self::Truncated(at) => write!(f, "it was cut off: it ends at byte {at}"),
            Self::Changed(at) => write!(f, "it is damaged behind byte {at}"),
            Self::Longer(at) => write!(f, "it goes on behind its end at byte {at}"),
            Self::Entries => f.write_str("its entries are not those the server read"),
            Self::Io(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

/// Reads a file from its beginning to its end.
pub(crate) struct Reader<R> {
    input: R,
    /// Where `input` is.
    at: u64,
    opening: Opening,
    block: Bytes,
    /// Where the block begins, and how many entries are still to come from it.
    block_at: u64,
    in_block: u32,
    blocks: u64,
    entries: u64,
    digest: Sha256,
    closing: Option<Closing>,
}

impl<R: Read> Reader<R> {
    /// Reads what stands in front of the entries.
    pub(crate) fn open(mut input: R) -> Result<Self, Damage> {
        let mut header = [0; HEADER_BYTES];
        let mut at = 0;
        fill(&mut input, &mut header, &mut at).map_err(|damage| match damage {
            Damage::Truncated(n) if n < 8 => Damage::NoBackup,
            other => other,
        })?;
        let mut fields = &header[..];
        if fields.copy_to_bytes(8)[..] != MAGIC {
            return Err(Damage::NoBackup);
        }
        let format = fields.get_u32();
        let opening = Opening {
            taken_at_ms: fields.get_u64(),
            position: fields.get_u64(),
            entries_hint: fields.get_u64(),
        };
        let covered = header.split_last_chunk::<4>().map(|(front, _)| front);
        if crc32fast::hash(covered.unwrap_or_default()) != fields.get_u32() {
            return Err(Damage::Changed(0));
        }
        if format != FORMAT {
            return Err(Damage::Format(format));
        }
        Ok(Self {
            input,
            at,
            opening,
            block: Bytes::new(),
            block_at: at,
            in_block: 0,
            blocks: 0,
            entries: 0,
            digest: Sha256::new(),
            closing: None,
        })
    }

    /// What stands in front of the entries.
    pub(crate) const fn opening(&self) -> Opening {
        self.opening
    }

    /// What stands behind them; `None` before the last one was read.
    pub(crate) const fn closing(&self) -> Option<Closing> {
        self.closing
    }

    /// The next entry; `None` at the end of a file that is whole.
    pub(crate) fn next(&mut self) -> Result<Option<BackupEntry>, Damage> {
        while self.in_block == 0 {
            if self.closing.is_some() {
                return Ok(None);
            }
            self.read_block()?;
        }
        let damage = Damage::Changed(self.block_at);
        let entry = take_entry(&mut self.block).ok_or(damage)?;
        self.in_block -= 1;
        if self.in_block == 0 && !self.block.is_empty() {
            return Err(Damage::Changed(self.block_at));
        }
        entry.cover(&mut |bytes| self.digest.update(bytes));
        self.entries += 1;
        Ok(Some(entry))
    }

    fn read_block(&mut self) -> Result<(), Damage> {
        self.block_at = self.at;
        let mut len = [0; 4];
        fill(&mut self.input, &mut len, &mut self.at)?;
        if len == [0; 4] {
            return self.read_trailer();
        }
        let mut head = [0; BLOCK_HEAD_BYTES - 4];
        fill(&mut self.input, &mut head, &mut self.at)?;
        let wanted = u64::from(u32::from_be_bytes(len));
        // Grows with what is there, not with what is said.
        let mut block = Vec::new();
        let read = Read::by_ref(&mut self.input)
            .take(wanted)
            .read_to_end(&mut block);
        let read = u64::try_from(read.map_err(Damage::Io)?).unwrap_or(u64::MAX);
        self.at = self.at.saturating_add(read);
        if read < wanted {
            return Err(Damage::Truncated(self.at));
        }
        let mut fields = &head[..];
        let count = fields.get_u32();
        let mut crc = crc32fast::Hasher::new();
        for part in [&len[..], &count.to_be_bytes(), &block] {
            crc.update(part);
        }
        if crc.finalize() != fields.get_u32() || count == 0 {
            return Err(Damage::Changed(self.block_at));
        }
        self.block = block.into();
        self.in_block = count;
        self.blocks += 1;
        Ok(())
    }

    fn read_trailer(&mut self) -> Result<(), Damage> {
        let mut trailer = [0; TRAILER_BYTES];
        fill(&mut self.input, &mut trailer, &mut self.at)?;
        let mut crc = crc32fast::Hasher::new();
        crc.update(&[0; 4]);
        let covered = trailer.split_last_chunk::<4>().map(|(front, _)| front);
        crc.update(covered.unwrap_or_default());
        let mut fields = &trailer[..];
        let (entries, blocks) = (fields.get_u64(), fields.get_u64());
        let mut checksum = [0; 32];
        fields.copy_to_slice(&mut checksum);
        if crc.finalize() != fields.get_u32() {
            return Err(Damage::Changed(self.block_at));
        }
        let computed: [u8; 32] = self.digest.finalize_reset().into();
        if (entries, blocks, checksum) != (self.entries, self.blocks, computed) {
            return Err(Damage::Entries);
        }
        let mut more = [0; 1];
        if self.input.read(&mut more).map_err(Damage::Io)? != 0 {
            return Err(Damage::Longer(self.at));
        }
        self.closing = Some(Closing { entries, checksum });
        Ok(())
    }
}

/// Fills the buffer, or says where the file ends.
fn fill(input: &mut impl Read, mut buffer: &mut [u8], at: &mut u64) -> Result<(), Damage> {
    while !buffer.is_empty() {
        let read = match input.read(buffer) {
            Ok(0) => return Err(Damage::Truncated(*at)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Damage::Io(error)),
        };
        *at = at.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        buffer = buffer.get_mut(read..).unwrap_or_default();
    }
    Ok(())
}

/// Takes the first entry of a block; `None`: it does not lie whole in it.
fn take_entry(block: &mut Bytes) -> Option<BackupEntry> {
    if block.len() < ENTRY_BYTES {
        return None;
    }
    let key_len = usize::from(block.get_u16());
    let value_len = usize::try_from(block.get_u32()).ok()?;
    let version = block.get_u64();
    let expires_at_ms = Some(block.get_u64()).filter(|&at| at > 0);
    let content_type = block.get_u8().into();
    if key_len == 0 || block.len() < key_len.checked_add(value_len)? {
        return None;
    }
    Some(BackupEntry {
        key: block.split_to(key_len),
        value: block.split_to(value_len),
        version,
        expires_at_ms,
        content_type,
    })
}
