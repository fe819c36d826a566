//! The state file and the lock.

use std::fs;

use kv_log::{DirLock, LockError, STATE_FORMAT, State, StateError, StateFile};

const STATE: State = State {
    format: STATE_FORMAT,
    store_id: *b"0123456789abcdef",
    carried: 17,
    acknowledged: 0x0102_0304_0506_0708,
    clock_ms: 1_700_000_000_000,
    clean: true,
};

#[test]
fn a_new_directory_has_no_state_and_the_last_one_stored_is_read() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(StateFile::load(dir.path()).unwrap(), None);
    let file = StateFile::new(dir.path()).unwrap();
    for carried in 0..20 {
        let clean = carried % 2 == 0;
        let state = State {
            carried,
            clean,
            ..STATE
        };
        file.store(&state).unwrap();
        assert_eq!(StateFile::load(dir.path()).unwrap(), Some(state));
    }
    // A write that was interrupted leaves the old state.
    fs::write(dir.path().join("state.tmp"), b"kv-state").unwrap();
    let state = StateFile::load(dir.path()).unwrap().unwrap();
    assert_eq!(state.carried, 19);
    file.store(&STATE).unwrap();
    assert_eq!(StateFile::load(dir.path()).unwrap(), Some(STATE));
}

#[test]
fn a_state_with_any_bit_flipped_or_byte_missing_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    StateFile::new(dir.path()).unwrap().store(&STATE).unwrap();
    let path = dir.path().join("state");
    let whole = fs::read(&path).unwrap();
    let flipped = (0..whole.len() * 8).map(|bit| {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let cut = (0..whole.len()).map(|length| whole[..length].to_vec());
    let longer = [whole.clone(), vec![0]].concat();
    for bytes in flipped.chain(cut).chain([longer]) {
        fs::write(&path, &bytes).unwrap();
        let error = StateFile::load(dir.path()).unwrap_err();
        assert!(
            matches!(error, StateError::Corrupt { .. }),
            "{error}: {bytes:?}"
        );
        assert!(error.to_string().contains("restore a backup"), "{error}");
    }
}

#[test]
fn a_state_of_a_newer_format_is_told_from_a_damaged_one() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let file = StateFile::new(dir.path()).unwrap();
    let format = STATE_FORMAT + 1;
    file.store(&State { format, ..STATE }).unwrap();
    let same_size = fs::read(&path).unwrap();
    // A later version may say more, and use flags this one does not know.
    let mut longer = same_size[..same_size.len() - 4].to_vec();
    longer[15] = 0xff;
    longer.extend_from_slice(b"more");
    longer.extend_from_slice(&crc32fast::hash(&longer).to_be_bytes());
    for bytes in [same_size, longer] {
        fs::write(&path, bytes).unwrap();
        let error = StateFile::load(dir.path()).unwrap_err();
        assert!(
            matches!(error, StateError::NewerFormat { found, .. } if found == format),
            "{error}"
        );
    }
}

#[test]
fn a_directory_is_locked_once_and_free_again_when_the_lock_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let lock = DirLock::acquire(dir.path()).unwrap();
        let error = DirLock::acquire(dir.path()).map(drop).unwrap_err();
        assert!(matches!(error, LockError::Taken { .. }), "{error}");
        assert!(error.to_string().contains("another process"), "{error}");
        drop(lock);
    }
    let absent = dir.path().join("absent");
    let error = DirLock::acquire(&absent).map(drop).unwrap_err();
    assert!(matches!(error, LockError::Io { .. }), "{error}");
}
