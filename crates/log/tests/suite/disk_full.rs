//! A disk that is full, on a file system of its own. Where none can be mounted, it says so.

use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

use kv_log::Log;

use crate::support::{Owned, open};

const SEGMENT: u64 = 64 << 10;

/// A small file system, until it is dropped.
struct Mount(tempfile::TempDir);

impl Mount {
    fn of(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let size = format!("size={size}");
        let mount = ["-t", "tmpfs", "-o", &size, "none"];
        let output = Command::new("mount").args(mount).arg(dir.path()).output();
        let mounted = output.is_ok_and(|output| output.status.success());
        if !mounted {
            println!("skipped: mounting a tmpfs is not possible here; it needs root");
        }
        mounted.then(|| Self(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // What stays mounted is a few KiB of memory.
        Command::new("umount").arg(self.path()).status().ok();
    }
}

/// Appends until the disk is full; returns what counts as appended.
fn fill(log: &mut Log, bytes: usize) -> Vec<Owned> {
    let mut written = Vec::new();
    loop {
        let group = Owned::behind(log.last(), 1, bytes);
        match log.append(group.group()) {
            Ok(()) => {
                log.sync().unwrap();
                written.push(group);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
                return written;
            }
        }
    }
}

#[test]
fn a_full_disk_refuses_groups_and_takes_them_again_when_there_is_room() {
    let Some(mount) = Mount::of("256k") else {
        return;
    };
    // Sizes that let the room end in a group, and at a rotation.
    for (round, bytes) in [5_000, 100, 15_000, 1_000, 60_000].into_iter().enumerate() {
        let dir = mount.path().join(round.to_string());
        let mut opened = open(&dir, SEGMENT, 0);
        let mut written = fill(&mut opened.log, bytes);
        assert!(!written.is_empty(), "round {round}");
        let refused = Owned::behind(opened.log.last(), 1, bytes);
        assert!(opened.log.append(refused.group()).is_err());
        // There is no room for a spare either, and trying harms nothing.
        assert!(opened.log.caretaker().prepare().is_err());
        let carried = opened.log.caretaker().sealed_through();
        opened.log.caretaker().release(carried).unwrap();
        written.retain(|group| group.last > carried);
        let more = fill(&mut opened.log, bytes);
        assert!(
            carried == 0 || !more.is_empty(),
            "round {round}: room was made"
        );
        written.extend(more);
        drop(opened);
        // The refused group left nothing, so opening needs no room.
        let opened = open(&dir, SEGMENT, carried);
        assert_eq!(opened.groups, written, "round {round}");
        assert_eq!(opened.recovery.torn, None);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
