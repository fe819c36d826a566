//! Writing the file of a backup, block by block.

use kv_client::BackupEntry;

use super::{Closing, FORMAT, MAGIC, Opening};

/// A block is closed when it has this much; one entry may be larger.
const BLOCK_BYTES: usize = 256 * 1024;

/// Makes the bytes of a file; where they go is the caller's.
pub(crate) struct Writer {
    /// What can be written out.
    ready: Vec<u8>,
    block: Vec<u8>,
    in_block: u32,
    blocks: u64,
}

impl Writer {
    /// Begins a file.
    pub(crate) fn new(opening: Opening) -> Self {
        let mut ready = Vec::with_capacity(BLOCK_BYTES);
        ready.extend_from_slice(&MAGIC);
        ready.extend_from_slice(&FORMAT.to_be_bytes());
        for number in [opening.taken_at_ms, opening.position, opening.entries_hint] {
            ready.extend_from_slice(&number.to_be_bytes());
        }
        let crc = crc32fast::hash(&ready);
        ready.extend_from_slice(&crc.to_be_bytes());
        Self {
            ready,
            block: Vec::with_capacity(BLOCK_BYTES),
            in_block: 0,
            blocks: 0,
        }
    }

    /// Adds an entry.
    pub(crate) fn entry(&mut self, entry: &BackupEntry) {
        entry.cover(&mut |bytes| self.block.extend_from_slice(bytes));
        self.in_block += 1;
        if self.block.len() >= BLOCK_BYTES {
            self.close_block();
        }
    }

    /// Takes the bytes that are ready, once there are many.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        (self.ready.len() >= BLOCK_BYTES).then(|| std::mem::take(&mut self.ready))
    }

    /// Ends the file and gives its last bytes.
    pub(crate) fn finish(mut self, closing: &Closing) -> Vec<u8> {
        self.close_block();
        let begin = self.ready.len();
        self.ready.extend_from_slice(&0u32.to_be_bytes());
        self.ready.extend_from_slice(&closing.entries.to_be_bytes());
        self.ready.extend_from_slice(&self.blocks.to_be_bytes());
        self.ready.extend_from_slice(&closing.checksum);
        let crc = crc32fast::hash(self.ready.get(begin..).unwrap_or_default());
        self.ready.extend_from_slice(&crc.to_be_bytes());
        self.ready
    }

    fn close_block(&mut self) {
        if self.in_block == 0 {
            return;
        }
        // One entry is less than 4 GiB: the protocol's bound on a message is far below.
        let len = u32::try_from(self.block.len()).unwrap_or(u32::MAX);
        let mut crc = crc32fast::Hasher::new();
        for part in [
            &len.to_be_bytes()[..],
            &self.in_block.to_be_bytes(),
            &self.block,
        ] {
            crc.update(part);
        }
        self.ready.extend_from_slice(&len.to_be_bytes());
        self.ready.extend_from_slice(&self.in_block.to_be_bytes());
        self.ready.extend_from_slice(&crc.finalize().to_be_bytes());
        self.ready.append(&mut self.block);
        self.in_block = 0;
        self.blocks += 1;
    }
}
