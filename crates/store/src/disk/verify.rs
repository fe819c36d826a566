//! Looks at a data directory that nobody has open, and changes nothing.

use super::config::OpenError;
use super::open::{base_error, io_error, log_error, state_error};
use super::record::records;
use kv_base::BaseConfig;
use kv_log::{DirLock, Group, LockError, Log, StateFile};
use std::path::Path;

/// Bytes the base may use for blocks while it is read.
const CACHE_BYTES: u64 = 32 << 20;

/// What a look at a data directory found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Entries in the base whose checksum holds.
    pub entries: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Groups behind what the base has.
    pub groups: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes at the end of the log that were never durable.
    pub torn_bytes: u64,
    /// The last position there is.
    pub last: u64,
    /// The last position that was acknowledged when the state file was written.
    pub acknowledged: u64,
    /// Whether the store was closed in an orderly way.
    pub clean: bool,
    /// What is wrong, each in one line; empty when nothing is.
    pub problems: Vec<String>,
}

/// Reads everything in `dir`; `progress` is told how many entries were read so far.
///
/// # Errors
///
/// [`OpenError`] when the directory is in use, has no store, or cannot be read far enough to say
/// more.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(u64)) -> Result<VerifyReport, OpenError> {
    if !dir.is_dir() {
        let error = std::io::Error::from(std::io::ErrorKind::NotFound);
        return Err(io_error("read", dir, error));
    }
    let _lock = match DirLock::acquire(dir) {
        Ok(lock) => lock,
        Err(LockError::Taken { .. }) => {
            return Err(OpenError::Locked {
                dir: dir.to_owned(),
            });
        }
        Err(LockError::Io { path, source }) => return Err(io_error("lock", &path, source)),
        Err(other) => {
            return Err(OpenError::Corrupt {
                what: other.to_string(),
            });
        }
    };
    let Some(state) = StateFile::load(dir).map_err(state_error)? else {
        let what = format!("{}: there is no `state` file, so no store", dir.display());
        return Err(OpenError::Corrupt { what });
    };
    let mut report = VerifyReport {
        acknowledged: state.acknowledged,
        clean: state.clean,
        ..VerifyReport::default()
    };
    let base_dir = dir.join("base");
    let config = BaseConfig {
        cache_bytes: CACHE_BYTES,
        store_id: state.store_id,
    };
    let base = kv_base::check(&base_dir, &config, progress)
        .map_err(|error| base_error(error, &base_dir))?;
    report.entries = base.entries;
    report.problems.extend(base.problems);
    if base.position < state.carried {
        report.problems.push(format!(
            "the base reaches position {}, and {} was carried there: a part of it is missing",
            base.position, state.carried
        ));
    }
    check_log(dir, &mut report, state.store_id, base.position)?;
    if report.last < state.acknowledged {
        report.problems.push(format!(
            "the store ends at position {}, and writes up to {} were acknowledged",
            report.last, state.acknowledged
        ));
    }
    Ok(report)
}

fn check_log(
    dir: &Path,
    report: &mut VerifyReport,
    store_id: [u8; 16],
    after: u64,
) -> Result<(), OpenError> {
    let log_dir = dir.join("log");
    report.last = after;
    if !log_dir.exists() {
        return Ok(());
    }
    let mut count = 0;
    let mut malformed = None;
    let mut visit = |group: Group<'_>| {
        for record in records(group.payload) {
            match record {
                Ok(_) => count += 1,
                Err(error) => {
                    malformed.get_or_insert_with(|| {
                        format!("the group with position {}: {error}", group.first)
                    });
                }
            }
        }
        Ok(())
    };
    match Log::check(&log_dir, &store_id, after, &mut visit) {
        Ok(found) => {
            report.segments = found.segments;
            report.groups = found.recovery.groups;
            report.torn_bytes = found.recovery.torn.map_or(0, |torn| torn.bytes);
            report.last = report.last.max(found.recovery.last);
        }
        Err(error) => report.problems.push(log_error(error, dir).to_string()),
    }
    report.records = count;
    report.problems.extend(malformed);
    Ok(())
}
