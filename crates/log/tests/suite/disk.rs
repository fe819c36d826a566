//! A disk that may lose what was not synced: any part of it, sector by sector, in any order.
//!
//! The files are real; what is durable of them is followed beside them. It takes the log at its
//! word for *which* calls sync; `docs/storage/FORMAT.md` lists them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;

use crate::support::Dice;

const SECTOR: usize = 512;
const PAGE: usize = 4096;

type Files = BTreeMap<String, Vec<u8>>;

/// A directory, and what a power cut leaves of it for certain.
pub(crate) struct Disk {
    dir: TempDir,
    durable: Files,
}

impl Disk {
    /// An empty one, or what is left on one after a power cut.
    pub(crate) fn new(dir: TempDir) -> Self {
        let durable = read(dir.path());
        Self { dir, durable }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Everything is durable as it stands.
    pub(crate) fn synced(&mut self) {
        self.durable = read(self.path());
    }

    /// Files were renamed, removed or made whole, durably; what the others hold is as durable as
    /// it was.
    pub(crate) fn kept_house(&mut self) {
        let now = read(self.path());
        self.durable.retain(|name, _| now.contains_key(name));
        for (name, bytes) in now {
            self.durable.entry(name).or_insert(bytes);
        }
    }

    /// A group was appended: nothing of it is durable, but a rotation before it is.
    pub(crate) fn appended(&mut self) {
        let now = read(self.path());
        let is_new = |name: &&String| !self.durable.contains_key(*name);
        let Some(new) = now.keys().find(is_new).cloned() else {
            return;
        };
        let spare = self.durable.keys().find(|name| !now.contains_key(*name));
        let spare = spare.and_then(|name| self.durable.get(name)).cloned();
        // The rotation has synced the segment before, and the header of this one.
        let mut begun = now[&new][..PAGE].to_vec();
        begun.extend(spare.iter().flat_map(|bytes| &bytes[PAGE..]));
        self.durable = now;
        self.durable.insert(new, begun);
    }

    /// What a power cut may leave: of what was not synced, each sector or not.
    pub(crate) fn cut(&self, dice: &mut Dice) -> TempDir {
        let kept = [0, 10, 50, 90, 100][dice.roll(5) as usize];
        let left = tempfile::tempdir().unwrap();
        let now = read(self.path());
        for (name, durable) in &self.durable {
            let image = image(durable, &now[name], kept, dice);
            fs::write(left.path().join(name), image).unwrap();
        }
        if dice.percent(20) {
            // A spare in the making and a fresh segment without its name.
            fs::write(left.path().join("prepared.tmp"), [0; 700]).unwrap();
            fs::write(left.path().join("fresh.tmp"), b"kv-log").unwrap();
        }
        left
    }
}

fn image(durable: &[u8], now: &[u8], kept: u64, dice: &mut Dice) -> Vec<u8> {
    assert!(durable.len() <= now.len());
    let grown = (now.len() - durable.len()) as u64;
    let length = durable.len() + dice.roll(grown + 1) as usize;
    let length = if dice.percent(50) { now.len() } else { length };
    let mut image = durable.to_vec();
    image.resize(length, 0);
    for (image, now) in image.chunks_mut(SECTOR).zip(now.chunks(SECTOR)) {
        if dice.percent(kept) {
            let length = image.len().min(now.len());
            image[..length].copy_from_slice(&now[..length]);
        }
    }
    image
}

fn read(dir: &Path) -> Files {
    let entries = fs::read_dir(dir).unwrap().map(|entry| {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    entries.collect()
}
