//! The fuzz target `log_recovery`: whatever segments hold, a log is opened or refused, in the same
//! way each time, and goes on behind what it showed.
//!
//! The input is a program that writes segments with good checksums and bad meaning, so that the
//! fuzzer need not find checksums.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use kv_log::{Group, Log, LogConfig, LogError};

const STORE: [u8; 16] = *b"store of a fuzz.";
const SEGMENTS_MAX: u64 = 4;

/// A group that was shown: first, last, time, payload.
type Shown = (u64, u64, u64, Vec<u8>);

/// Checks one input; panics when something does not hold. Returns how many groups were recovered.
pub(crate) fn run(data: &[u8]) -> usize {
    let mut program = Program { data, last: 0 };
    let dir = tempfile::tempdir().unwrap();
    let after = u64::from(program.byte() % 8);
    program.write_segments(dir.path());
    let before = contents(dir.path());

    let mut checked = Vec::new();
    let check = Log::check(dir.path(), &STORE, after, &mut |group| {
        checked.push(shown(group));
        Ok(())
    });
    assert_eq!(contents(dir.path()), before, "a check changes nothing");
    let (opened, groups) = open(dir.path(), after);
    assert_eq!(groups, checked, "checking and opening show the same");
    let (mut log, last) = match (opened, check) {
        (Ok(opened), Ok(report)) => (opened, report.recovery.last),
        (Err(opened), Err(checked)) => {
            assert_eq!(opened.to_string(), checked.to_string());
            assert_eq!(contents(dir.path()), before, "a refusal changes nothing");
            return 0;
        }
        (opened, check) => panic!("opened {opened:?}, checked {check:?}"),
    };
    assert_eq!(log.last(), last);
    let mut expected = after;
    for (first, last, ..) in &groups {
        assert!(first <= last && *last > after);
        assert!(*first == expected + 1 || expected == after && *first <= after);
        expected = *last;
    }
    assert_eq!(last, expected.max(after));

    // It goes on, and what it showed is still there.
    let next = log.last() + 1;
    let more = (next, next, 9, vec![7; 300]);
    let group = Group {
        first: next,
        last: next,
        time_ms: 9,
        payload: &more.3,
    };
    let appended = log.append(group).and_then(|()| log.sync());
    // Only the very last position has no room behind it.
    assert_eq!(appended.is_ok(), next < u64::MAX, "{appended:?}");
    drop(log);
    let recovered = groups.len();
    let mut all = groups;
    all.extend(appended.is_ok().then_some(more));
    let (opened, again) = open(dir.path(), after);
    assert!(opened.is_ok(), "{opened:?}");
    assert_eq!(again, all);
    recovered
}

fn shown(group: Group<'_>) -> Shown {
    (
        group.first,
        group.last,
        group.time_ms,
        group.payload.to_vec(),
    )
}

fn open(dir: &Path, after: u64) -> (Result<Log, LogError>, Vec<Shown>) {
    let mut groups = Vec::new();
    let config = LogConfig {
        segment_bytes: 8 << 10,
        store_id: STORE,
    };
    let opened = Log::open(dir, config, after, &mut |group| {
        groups.push(shown(group));
        Ok(())
    });
    (opened.map(|(log, _)| log), groups)
}

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    entries.collect()
}

/// The rest of the input, and the position its groups have reached.
struct Program<'d> {
    data: &'d [u8],
    last: u64,
}

impl Program<'_> {
    /// The next byte; zeros behind the end.
    fn byte(&mut self) -> u8 {
        let (byte, rest) = self.data.split_first().unwrap_or((&0, &[]));
        self.data = rest;
        *byte
    }

    fn bytes(&mut self, count: u8) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    fn write_segments(&mut self, dir: &Path) {
        for number in 1..=SEGMENTS_MAX {
            let mut bytes = self.header(number);
            let is_last = self.body(number, &mut bytes);
            fs::write(dir.join(format!("{number:020}.log")), bytes).unwrap();
            if is_last {
                break;
            }
        }
    }

    fn header(&mut self, number: u64) -> Vec<u8> {
        // Most headers fit, so that bodies are reached.
        let bent = self.byte();
        let first = self.last + 1 + u64::from(bent == 255);
        let number = number + u64::from(bent == 254);
        let mut page = b"kv-log\r\n".to_vec();
        page.extend_from_slice(&[0, 0, 0, if bent == 253 { 2 } else { 1 }]);
        page.extend_from_slice(&[0, 0, 0, bent & 1]);
        page.extend_from_slice(&STORE);
        page.extend_from_slice(&number.to_be_bytes());
        page.extend_from_slice(&first.to_be_bytes());
        page.extend_from_slice(&crc32fast::hash(&page).to_be_bytes());
        page.resize(4096, 0);
        page
    }

    /// Fills a segment and tells whether it is the last one.
    fn body(&mut self, number: u64, bytes: &mut Vec<u8>) -> bool {
        while !self.data.is_empty() {
            match self.byte() {
                0..160 => self.follow(number, bytes),
                160..176 => self.bend(number, bytes),
                176..192 => {
                    let count = self.byte();
                    bytes.extend(self.bytes(count));
                }
                192..208 => bytes.resize(bytes.len() + usize::from(self.byte()) * 8, 0),
                208..224 => {
                    let back = usize::from(self.byte());
                    bytes.truncate(bytes.len().saturating_sub(back));
                }
                224..240 => {
                    let back = usize::from(self.byte());
                    let at = bytes.len().saturating_sub(back + 1);
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte ^= 1 << (back % 8);
                    }
                }
                240.. => return false,
            }
        }
        true
    }

    /// A group that follows the one before, as the log writes it.
    fn follow(&mut self, number: u64, bytes: &mut Vec<u8>) {
        let shape = self.byte();
        let first = self.last + 1;
        let last = self.last + 1 + u64::from(shape % 3);
        let synced = self.last.saturating_sub(u64::from(shape / 64));
        let payload = self.bytes(shape % 64);
        let length = u32::from(shape % 64);
        put(number, bytes, length, [first, last, synced], &payload);
        self.last = last;
    }

    /// A group with a good checksum and fields that may be any.
    fn bend(&mut self, number: u64, bytes: &mut Vec<u8>) {
        let length = u32::from(self.byte()) << (self.byte() % 25);
        let near = self.last;
        let mut field = || match self.byte() {
            0 => u64::MAX,
            1 => u64::MAX - 1,
            distance => (near + u64::from(distance)).saturating_sub(8),
        };
        let positions = [field(), field(), field()];
        let payload = self.bytes(16);
        put(number, bytes, length, positions, &payload);
    }
}

/// Appends a group with checksums that hold.
fn put(number: u64, bytes: &mut Vec<u8>, length: u32, positions: [u64; 3], payload: &[u8]) {
    let [first, last, synced] = positions;
    let mut padded = payload.to_vec();
    padded.resize(payload.len().next_multiple_of(8), 0);
    let mut header = length.to_be_bytes().to_vec();
    header.extend_from_slice(&crc32fast::hash(&padded).to_be_bytes());
    for field in [first, last, 5, synced] {
        header.extend_from_slice(&field.to_be_bytes());
    }
    header.extend_from_slice(&[0; 4]);
    let crc = crc32fast::hash(&[STORE.as_slice(), &number.to_be_bytes(), &header].concat());
    header.extend_from_slice(&crc.to_be_bytes());
    bytes.extend(header);
    bytes.extend(padded);
}
