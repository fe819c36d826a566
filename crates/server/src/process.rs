//! The process as the system sees it: descriptors, memory, pages, time.
//!
//! Reads `/proc` and the control group, where they exist; what cannot be read is absent, and whoever
//! asks has an answer for that. Invariant: nothing here fails.

use std::fs;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use kv_service::ProcessSample;

/// Ticks per second of `/proc/self/stat`: 100 on every Linux there is.
const TICKS_PER_SECOND: f64 = 100.0;

/// The limit when neither the machine nor the control group says how much memory there is.
const MEMORY_FALLBACK: NonZeroUsize = NonZeroUsize::MIN.saturating_add((1 << 30) - 1);

/// So much in the store is worth huge pages: below it they would be most of the process.
pub(crate) const HUGE_PAGES_FROM: u64 = 8 << 20;

/// This process keeps its memory in small pages, for now.
static SMALL_PAGES: AtomicBool = AtomicBool::new(false);

/// Keeps the memory of this process in small pages until there is enough in the store. Call it first
/// of all: what has been touched before stays as it is. `docs/design/0006-pages-of-memory.md` has the
/// figures.
pub fn begin_with_small_pages() {
    #[cfg(target_os = "linux")]
    {
        use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};
        // Where they are off already, that is somebody's decision and stays.
        if transparent_huge_pages_are_disabled() == Ok(false) {
            let disabled = disable_transparent_huge_pages(true).is_ok();
            SMALL_PAGES.store(disabled, Ordering::Relaxed);
        }
    }
}

/// Lets the system back memory with huge pages from now on, if it did not for our sake.
pub(crate) fn allow_huge_pages() {
    if SMALL_PAGES.swap(false, Ordering::Relaxed) {
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::thread::disable_transparent_huge_pages(false) {
            tracing::debug!(%error, "memory stays in small pages");
        }
    }
}

/// How many file descriptors the process may open.
#[must_use]
pub(crate) fn descriptor_limit() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

/// Half of the memory the process may use: of the machine's, or of the control group's when that is
/// less.
#[must_use]
pub(crate) fn default_memory_limit() -> NonZeroUsize {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total_memory(&text));
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let group = group.and_then(|text| text.trim().parse::<usize>().ok());
    let least = machine.into_iter().chain(group).min();
    least
        .and_then(|bytes| NonZeroUsize::new(bytes / 2))
        .unwrap_or(MEMORY_FALLBACK)
}

fn total_memory(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Figures for the metrics.
#[must_use]
pub(crate) fn sample() -> ProcessSample {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let descriptors = fs::read_dir("/proc/self/fd").ok().map(Iterator::count);
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    ProcessSample {
        cpu_seconds: stat.as_deref().and_then(cpu_seconds),
        resident_bytes: resident_bytes(),
        // Less the one that reads the directory.
        open_descriptors: descriptors.map(|n| count(n.saturating_sub(1))),
        max_descriptors: descriptor_limit().map(count),
    }
}

/// User and system time of `/proc/self/stat`. The name of the process may hold spaces and brackets.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS_PER_SECOND)
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_process_name() {
        let stat = "1 (a ) b) S 1 1 1 0 -1 4194560 1 0 0 0 250 50 0 0 20 0 1 0 1 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("nonsense"), None);
    }

    #[test]
    fn memory_is_read_in_kibibytes() {
        assert_eq!(
            total_memory("MemTotal:       16 kB\nMemFree: 1 kB\n"),
            Some(16_384)
        );
        assert_eq!(total_memory("nothing"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn huge_pages_wait_for_the_store_and_stay_off_where_they_were_off() {
        use rustix::thread::{disable_transparent_huge_pages, transparent_huge_pages_are_disabled};
        let off = || transparent_huge_pages_are_disabled().unwrap();
        disable_transparent_huge_pages(false).unwrap();
        begin_with_small_pages();
        assert!(off());
        allow_huge_pages();
        assert!(!off());
        disable_transparent_huge_pages(true).unwrap();
        begin_with_small_pages();
        allow_huge_pages();
        assert!(off());
        disable_transparent_huge_pages(false).unwrap();
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_figures() {
        let sample = sample();
        assert!(sample.resident_bytes.unwrap() > 1 << 16);
        assert!(sample.open_descriptors.unwrap() >= 3);
        assert!(sample.open_descriptors <= sample.max_descriptors);
        assert!(sample.cpu_seconds.is_some());
        assert!(default_memory_limit().get() > 1 << 20);
    }
}
