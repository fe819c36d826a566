use bytes::Bytes;
use kv_client::{BackupEntry, ContentType};
use sha2::{Digest as _, Sha256};

use super::*;

const OPENING: Opening = Opening {
    taken_at_ms: 1_000,
    position: 77,
    entries_hint: 3,
};

fn entries(large: usize) -> Vec<BackupEntry> {
    let all: Vec<u8> = (0..=255).collect();
    let entry = |key: &[u8], value: &[u8], expires_at_ms| BackupEntry {
        key: Bytes::copy_from_slice(key),
        value: Bytes::copy_from_slice(value),
        version: 9,
        expires_at_ms,
        content_type: ContentType::Text,
    };
    vec![
        entry(&all, &all, Some(5_000)),
        entry(b"empty", b"", None),
        entry(b"large", &vec![7; large], None),
        entry(b"last", b"1", Some(1)),
    ]
}

fn file(entries: &[BackupEntry]) -> Vec<u8> {
    let mut writer = Writer::new(OPENING);
    let mut digest = Sha256::new();
    let mut file = Vec::new();
    for entry in entries {
        entry.cover(&mut |bytes| digest.update(bytes));
        writer.entry(entry);
        file.extend(writer.take().unwrap_or_default());
    }
    let closing = Closing {
        entries: u64::try_from(entries.len()).unwrap(),
        checksum: digest.finalize().into(),
    };
    file.extend(writer.finish(&closing));
    file
}

fn read(file: &[u8]) -> Result<(Opening, Vec<BackupEntry>, Closing), Damage> {
    let mut reader = Reader::open(file)?;
    let mut entries = Vec::new();
    while let Some(entry) = reader.next()? {
        entries.push(entry);
    }
    Ok((reader.opening(), entries, reader.closing().unwrap()))
}

#[test]
fn what_is_written_is_read_back() {
    for entries in [entries(1_000_000), Vec::new()] {
        let (opening, found, closing) = read(&file(&entries)).unwrap();
        assert_eq!((opening, &found), (OPENING, &entries));
        assert_eq!(closing.entries, u64::try_from(entries.len()).unwrap());
    }
}

#[test]
fn every_cut_is_noticed_and_named() {
    let whole = file(&entries(100));
    for len in 0..whole.len() {
        match read(&whole[..len]).unwrap_err() {
            Damage::NoBackup => assert!(len < 8),
            Damage::Truncated(at) => assert_eq!(at, u64::try_from(len).unwrap()),
            other => panic!("{len}: {other}"),
        }
    }
    let mut longer = whole.clone();
    longer.push(0);
    assert!(matches!(read(&longer), Err(Damage::Longer(_))));
}

#[test]
fn every_changed_bit_is_noticed() {
    let whole = file(&entries(100));
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut changed = whole.clone();
            changed[at] ^= 1 << bit;
            assert!(read(&changed).is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn blocks_that_are_missing_doubled_or_of_another_file_are_noticed() {
    // Two entries of more than a block each: two blocks, and the trailer.
    let entries = entries(300_000);
    let one = file(&entries[2..3]);
    let two = file(&[entries[2].clone(), entries[2].clone()]);
    let trailer = 4 + TRAILER_BYTES;
    let block = one.len() - HEADER_BYTES - trailer;
    assert_eq!(two.len(), one.len() + block);
    // A block too few, one too many, and the trailer of another file.
    let few = [&two[..HEADER_BYTES + block], &two[two.len() - trailer..]].concat();
    let many = [&one[..one.len() - trailer], &one[HEADER_BYTES..]].concat();
    let other = [&one[..one.len() - trailer], &two[two.len() - trailer..]].concat();
    for file in [few, many, other] {
        assert!(matches!(read(&file), Err(Damage::Entries)));
    }
}

#[test]
fn a_later_form_is_told_from_damage() {
    let mut later = file(&[]);
    later[11] = 2;
    let crc = crc32fast::hash(&later[..HEADER_BYTES - 4]).to_be_bytes();
    later[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&crc);
    assert!(matches!(read(&later), Err(Damage::Format(2))));
    assert!(matches!(
        read(b"not a backup at all, but long enough for one"),
        Err(Damage::NoBackup)
    ));
}
