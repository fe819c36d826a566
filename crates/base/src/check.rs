//! The offline check: every byte of tables, every entry, the index and the numbers.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use fjall::{AbstractTree, Keyspace};
use xxhash_rust::xxh3::Xxh3Default;

use crate::entry::decode_header;
use crate::keys::{index_parts, unseal};
use crate::{Base, BaseConfig, BaseError, quiet};

const CHECKING: &str = "check the base";

/// Problems described in a report; those found after them are only counted.
const PROBLEMS_SHOWN: usize = 100;

/// How many items are read between two calls of `progress`.
const PROGRESS_EVERY: u64 = 1_024;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Entries read whose checksum holds.
    pub entries: u64,
    /// Of these, how many expire.
    pub expiring: u64,
    /// Items of the index by expiry that belong to no entry any more; they do no harm.
    pub stale_index_items: u64,
    /// Blobs whose checksum holds.
    pub blobs: u64,
    /// Tables whose every byte was compared with their checksum.
    pub tables: u64,
    /// Position of the last finished round.
    pub position: u64,
    /// Bytes cut off the torn end of the last journal.
    pub cut_bytes: u64,
    /// How many problems were found.
    pub problems_found: u64,
    /// The first of them.
    pub problems: Vec<String>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.problems_found == 0
    }

    fn problem(&mut self, what: String) {
        self.problems_found += 1;
        if self.problems.len() < PROBLEMS_SHOWN {
            self.problems.push(what);
        }
    }
}

/// Checks the base in `dir`, which must not be open: the checksum of each table, of each entry and
/// of each index item, that each expiring entry has its index item, and that the numbers of keys
/// are those kept. `progress` is told the number of items seen, now and then.
///
/// Opening the base for this cuts a torn end off its last journal, as any opening does.
///
/// # Errors
/// What opening gives, [`BaseError::Absent`], and [`BaseError::Io`]. Damage found behind that is
/// in the report.
pub fn check(
    dir: &Path,
    config: &BaseConfig,
    progress: &mut dyn FnMut(u64),
) -> Result<CheckReport, BaseError> {
    let base = Base::open_existing(dir, config)?;
    let mut report = CheckReport {
        position: base.position(),
        cut_bytes: base.stats().cut_bytes,
        ..CheckReport::default()
    };
    let (kv, exp) = base.trees();
    tables(kv, &mut report)?;
    tables(exp, &mut report)?;
    let mut seen = 0;
    let mut step = || {
        seen += 1;
        if seen % PROGRESS_EVERY == 0 {
            progress(seen);
        }
    };
    entries(kv, exp, &mut report, &mut step)?;
    let matched = index(kv, exp, &mut report, &mut step)?;
    if matched != report.expiring {
        let problem = format!(
            "{} entries expire, {matched} items of the index belong to them",
            report.expiring
        );
        report.problem(problem);
    }
    let kept = [
        ("keys", base.keys(), report.entries),
        ("expiring keys", base.keys_expiring(), report.expiring),
    ];
    for (what, kept, found) in kept {
        if kept != found {
            report.problem(format!(
                "{kept} {what} are kept in the state, {found} found"
            ));
        }
    }
    let mut blobs = 0;
    match base.blobs(&mut |_, _| blobs += 1) {
        Ok(()) => report.blobs = blobs,
        Err(error) => report.problem(error.to_string()),
    }
    Ok(report)
}

/// Compares each table of `tree` with its checksum.
fn tables(tree: &Keyspace, report: &mut CheckReport) -> Result<(), BaseError> {
    let version = quiet::caught(CHECKING, || Ok(tree.tree.current_version()))?;
    for table in version.iter_tables() {
        let sum = checksum(&table.path).map_err(|error| BaseError::from_io(error, CHECKING))?;
        if sum == table.checksum().into_u128() {
            report.tables += 1;
        } else {
            report.problem(format!("table {} does not carry its checksum", table.id()));
        }
    }
    Ok(())
}

fn checksum(path: &Path) -> io::Result<u128> {
    let mut file = File::open(path)?;
    let mut hash = Xxh3Default::new();
    let mut part = vec![0; 256 * 1024];
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hash.digest128()),
            read => hash.update(part.get(..read).unwrap_or_default()),
        }
    }
}

/// Reads every entry; each one that expires has an item in the index.
fn entries(
    kv: &Keyspace,
    exp: &Keyspace,
    report: &mut CheckReport,
    step: &mut dyn FnMut(),
) -> Result<(), BaseError> {
    walk(kv, report, |key, bytes, report| {
        step();
        match decode_header(key, bytes) {
            Err(error) => report.problem(error.to_string()),
            Ok(header) => {
                report.entries += 1;
                if let Some(index) = header.index(key) {
                    report.expiring += 1;
                    if !quiet::fjall(CHECKING, || exp.contains_key(index))? {
                        report.problem(format!(
                            "the key {} expires and is not in the index",
                            key.escape_ascii()
                        ));
                    }
                }
            }
        }
        Ok(())
    })
}

/// Reads every item of the index; gives the number of those that belong to an entry.
fn index(
    kv: &Keyspace,
    exp: &Keyspace,
    report: &mut CheckReport,
    step: &mut dyn FnMut(),
) -> Result<u64, BaseError> {
    let mut matched = 0;
    walk(exp, report, |index, sealed, report| {
        step();
        let (Some(due), Some(key)) = (index_parts(index), unseal(index, sealed)) else {
            report.problem("an item of the index does not carry its checksum".into());
            return Ok(());
        };
        let entry = quiet::fjall(CHECKING, || kv.get(key))?;
        match entry.map(|bytes| decode_header(key, &bytes)) {
            Some(Ok(header)) if header == due => matched += 1,
            // Damage was reported where the entries were read.
            Some(Err(_)) => {}
            _ => report.stale_index_items += 1,
        }
        Ok(())
    })?;
    Ok(matched)
}

/// Shows everything in `tree` to `visit`. What cannot be read ends the walk as a problem.
fn walk(
    tree: &Keyspace,
    report: &mut CheckReport,
    mut visit: impl FnMut(&[u8], &fjall::UserValue, &mut CheckReport) -> Result<(), BaseError>,
) -> Result<(), BaseError> {
    let mut items = quiet::caught(CHECKING, || Ok(tree.iter()))?;
    loop {
        let next = quiet::fjall(CHECKING, || {
            items.next().map(fjall::Guard::into_inner).transpose()
        });
        let visited = match next {
            Ok(None) => return Ok(()),
            Ok(Some((key, bytes))) => visit(&key, &bytes, report),
            Err(error) => Err(error),
        };
        match visited {
            Ok(()) => {}
            Err(error @ BaseError::Corrupt { .. }) => {
                report.problem(error.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}
