//! fjall's journals, read before fjall does.
//!
//! Batches are whole or not there. Every batch of ours carries its running number, so a batch
//! missing between two others is seen; fjall would cut the journal there and go on. A sealed
//! journal was synced and must be whole. The last one was synced up to the last finished round
//! and may be torn behind it in any way, also one at which fjall refuses to open: it is cut behind
//! its last whole batch. Whether that is behind the last finished round is for the engine to say,
//! which keeps that position elsewhere too.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;
use xxhash_rust::xxh3::Xxh3Default;

use super::META_TREE;
use crate::BaseError;
use crate::keys::STATE;
use crate::state::State;

const DOING: &str = "read a journal of the base";

/// fjall seals a journal once it is longer than this.
const SEALED_BYTES_MIN: u64 = 64_000_000;

/// A batch's sequence number is the next free one when the batch was built, or a little more:
/// fjall's workers take a few for themselves meanwhile.
const SEQUENCE_SLACK: u64 = 4_096;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const TRAILER: [u8; 4] = *b"FJL\x03";

/// What stands in the journals.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JournalReport {
    /// Whole batches, all of which fjall will replay.
    pub(crate) batches: u64,
    /// Bytes cut off the last journal that were not the zeros of its unused room.
    pub(crate) cut_bytes: u64,
}

/// Number and sequence number of a batch.
#[derive(Clone, Copy)]
struct Batch {
    number: u64,
    sequence: u64,
}

/// Checks every journal in `dir` and cuts the last one behind its last whole batch.
pub(super) fn inspect(dir: &Path) -> Result<JournalReport, BaseError> {
    let mut report = JournalReport::default();
    let mut last = None;
    let journals = list(dir)?;
    let active = journals.last().map(|(id, _)| *id);
    for (id, path) in journals {
        let damaged = |what: &str| BaseError::corrupt(format!("journal {id}: {what}"));
        let mut reader = Reader::open(&path)?;
        let mut whole = 0;
        while let Some(batch) = reader.batch()? {
            if let Some(Batch { number, sequence }) = last {
                if batch.number != number + 1 {
                    return Err(damaged("batches are missing in the middle"));
                }
                if batch.sequence <= sequence {
                    return Err(damaged("sequence numbers go back"));
                }
            }
            last = Some(batch);
            whole = reader.at;
            report.batches += 1;
        }
        let torn = Reader::open_at(&path, whole)?.count_until_zeros()?;
        if Some(id) != active {
            if torn > 0 || whole <= SEALED_BYTES_MIN {
                return Err(damaged("is sealed and not whole"));
            }
        } else if torn > 0 {
            report.cut_bytes = torn;
            cut(&path, whole)?;
        }
    }
    Ok(report)
}

fn cut(path: &Path, whole: u64) -> Result<(), BaseError> {
    let cut = |file: File| file.set_len(whole).and_then(|()| file.sync_all());
    OpenOptions::new()
        .write(true)
        .open(path)
        .and_then(cut)
        .map_err(|error| BaseError::from_io(error, "cut the torn end of a journal"))
}

/// The journals in their order.
fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, BaseError> {
    let io = |error| BaseError::from_io(error, DOING);
    let mut journals = Vec::new();
    for entry in fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            let id = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok())
                .ok_or_else(|| BaseError::corrupt("a journal has no number"))?;
            journals.push((id, path));
        }
    }
    journals.sort_unstable();
    Ok(journals)
}

/// Reads one journal, with no more memory than its longest item.
struct Reader {
    file: BufReader<File>,
    at: u64,
    len: u64,
    buffer: Vec<u8>,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, BaseError> {
        Self::open_at(path, 0)
    }

    fn open_at(path: &Path, at: u64) -> Result<Self, BaseError> {
        let open = || {
            let mut file = BufReader::with_capacity(256 * 1024, File::open(path)?);
            let len = file.get_ref().metadata()?.len();
            file.seek(io::SeekFrom::Start(at))?;
            Ok(Self {
                file,
                at,
                len,
                buffer: Vec::new(),
            })
        };
        open().map_err(|error| BaseError::from_io(error, DOING))
    }

    /// The next `count` bytes, when there are so many.
    fn take(&mut self, count: usize) -> Result<Option<&[u8]>, BaseError> {
        let Some(at) = self
            .at
            .checked_add(count as u64)
            .filter(|at| *at <= self.len)
        else {
            return Ok(None);
        };
        self.buffer.resize(count, 0);
        self.file
            .read_exact(&mut self.buffer)
            .map_err(|error| BaseError::from_io(error, DOING))?;
        self.at = at;
        Ok(Some(&self.buffer))
    }

    fn array<const N: usize>(&mut self) -> Result<Option<[u8; N]>, BaseError> {
        Ok(self.take(N)?.and_then(|bytes| bytes.first_chunk().copied()))
    }

    /// The next batch; `None` where no whole batch begins.
    #[expect(clippy::little_endian_bytes, reason = "fjall's files are")]
    fn batch(&mut self) -> Result<Option<Batch>, BaseError> {
        let Some([START, c0, c1, c2, c3, sequence @ ..]) = self.array::<13>()? else {
            return Ok(None);
        };
        let mut hash = Xxh3Default::new();
        let mut state = None;
        for _ in 0..u32::from_le_bytes([c0, c1, c2, c3]) {
            let Some(is_state) = self.item(&mut hash)? else {
                return Ok(None);
            };
            state = is_state.or(state);
        }
        let Some([END, h0, h1, h2, h3, h4, h5, h6, h7, trailer @ ..]) = self.array::<13>()? else {
            return Ok(None);
        };
        let expected = u64::from_le_bytes([h0, h1, h2, h3, h4, h5, h6, h7]);
        let sequence = u64::from_le_bytes(sequence);
        Ok(state
            .filter(|_| trailer == TRAILER && hash.digest() == expected)
            .filter(|state: &State| {
                sequence
                    .checked_sub(state.sequence_floor)
                    .is_some_and(|above| above <= SEQUENCE_SLACK)
            })
            .map(|state| Batch {
                number: state.batch,
                sequence,
            }))
    }

    /// Reads one item into `hash`. Outer `None`: no whole item. Inner: the state, if this is it.
    #[expect(clippy::little_endian_bytes, reason = "fjall's files are")]
    #[expect(clippy::option_option, reason = "two questions, two answers")]
    fn item(&mut self, hash: &mut Xxh3Default) -> Result<Option<Option<State>>, BaseError> {
        let Some(head) = self.array::<21>()? else {
            return Ok(None);
        };
        let [ITEM, kind @ 0..=1, 0, rest @ ..] = head else {
            return Ok(None);
        };
        let Some((tree, lengths)) = rest.split_first_chunk() else {
            return Ok(None);
        };
        let tree = u64::from_le_bytes(*tree);
        let &[k0, k1, v0, v1, v2, v3, d0, d1, d2, d3] = lengths else {
            return Ok(None);
        };
        let key_bytes = usize::from(u16::from_le_bytes([k0, k1]));
        let value_bytes = u32::from_le_bytes([v0, v1, v2, v3]);
        let on_disk = u32::from_le_bytes([d0, d1, d2, d3]);
        if !(1..=META_TREE).contains(&tree) || key_bytes == 0 || value_bytes != on_disk {
            return Ok(None);
        }
        hash.update(&head);
        let Some(bytes) = self.take(key_bytes + value_bytes as usize)? else {
            return Ok(None);
        };
        hash.update(bytes);
        let state = bytes
            .split_at_checked(key_bytes)
            .filter(|(key, _)| tree == META_TREE && kind == 0 && *key == STATE)
            .and_then(|(_, value)| State::decode(value));
        Ok(Some(state))
    }

    /// Bytes from here to the last one that is not zero. Most of an active journal is a hole, and
    /// holes are skipped where the file system tells them.
    fn count_until_zeros(self) -> Result<u64, BaseError> {
        let from = self.at;
        let mut last = from;
        let mut at = from;
        let mut part = vec![0; 64 * 1024];
        let file = self.file.into_inner();
        let io = |error| BaseError::from_io(error, DOING);
        while at < self.len {
            at = match seek(&file, SeekFrom::Data(at)) {
                Ok(data) => data,
                // No data behind this.
                Err(Errno::NXIO) => break,
                Err(Errno::INVAL | Errno::OPNOTSUPP) => at,
                Err(error) => return Err(io(error.into())),
            };
            let read = file.read_at(&mut part, at).map_err(io)?;
            let bytes = part.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                break;
            }
            if let Some(offset) = bytes.iter().rposition(|byte| *byte != 0) {
                last = at + offset as u64 + 1;
            }
            at += read as u64;
        }
        Ok(last - from)
    }
}
