//! What a process has used, from `/proc`, and where this one runs.
//!
//! Does not know what the process is. Invariant: a figure that cannot be read is absent, never 0.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// A running process on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    /// The process with this id.
    #[must_use]
    pub(crate) const fn new(pid: u32) -> Self {
        Self(pid)
    }

    /// Its id.
    #[must_use]
    pub(crate) const fn id(self) -> u32 {
        self.0
    }

    /// This process.
    #[must_use]
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// CPU time of all its threads so far, user and system.
    ///
    /// # Errors
    /// When there is no such process.
    pub(crate) fn cpu(self) -> Result<Duration> {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.0))
            .with_context(|| format!("process {}", self.0))?;
        let ticks = cpu_ticks(&text).context("/proc/PID/stat has no CPU times")?;
        Ok(in_time(ticks))
    }

    /// Its resident memory in bytes.
    ///
    /// # Errors
    /// When there is no such process.
    pub(crate) fn rss_bytes(self) -> Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.0))
            .with_context(|| format!("process {}", self.0))?;
        rss_kib(&text)
            .map(|kib| kib * 1024)
            .context("/proc/PID/status has no VmRSS")
    }
}

/// utime + stime of `/proc/PID/stat`: fields 14 and 15, counted behind the name, which may contain
/// anything.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    user.checked_add(system)
}

fn rss_kib(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// CPU time of everything on this machine so far.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn machine_cpu() -> Result<Duration> {
    let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    let ticks = busy_ticks(&text).context("/proc/stat has no CPU times")?;
    Ok(in_time(ticks))
}

/// The first line of `/proc/stat` without idle and iowait (fields 4 and 5) and without guests, whose
/// time is in user time already.
fn busy_ticks(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u64> = fields
        .split_ascii_whitespace()
        .map_while(|field| field.parse().ok())
        .collect();
    let [user, nice, system, _, _, irq, soft_irq, ..] = *fields.as_slice() else {
        return None;
    };
    Some(user + nice + system + irq + soft_irq)
}

fn in_time(ticks: u64) -> Duration {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    Duration::from_secs_f64(ticks as f64 / per_second as f64)
}

/// The processors this thread may use, in order.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn processors() -> Result<Vec<usize>> {
    let set = sched_getaffinity(None).context("sched_getaffinity")?;
    Ok((0..CpuSet::MAX_CPU)
        .filter(|&cpu| set.is_set(cpu))
        .collect())
}

/// Lets this thread, and what it starts from now on, run on these processors only.
///
/// # Errors
/// When the system refuses.
pub(crate) fn pin_to(processors: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for &cpu in processors {
        set.set(cpu);
    }
    sched_setaffinity(None, &set).with_context(|| format!("pinning to {processors:?}"))
}

/// Allows as many open files as the system lets this process have.
///
/// # Errors
/// When the system refuses.
pub(crate) fn raise_file_limit() -> Result<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("raising the limit of open files")?;
    Ok(limit.maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_times_are_found_behind_the_strangest_name() {
        let stat = "42 (a) b (c d) 7) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n";
        assert_eq!(cpu_ticks(stat), Some(11 + 12));
        assert_eq!(cpu_ticks("42 (x) S 1 2"), None);
        assert_eq!(cpu_ticks(""), None);
    }

    #[test]
    fn idle_time_is_not_busy_time() {
        let stat = "cpu  1 2 4 100 200 8 16 32 64 0\ncpu0 1 2 3\n";
        assert_eq!(busy_ticks(stat), Some(1 + 2 + 4 + 8 + 16));
        assert_eq!(busy_ticks("cpu  1 2 3\n"), None);
        assert!(machine_cpu().unwrap() >= Process::own().cpu().unwrap());
    }

    #[test]
    fn resident_memory_is_read_from_its_line() {
        assert_eq!(
            rss_kib("Name:\tx\nVmHWM:\t 9 kB\nVmRSS:\t    1234 kB\n"),
            Some(1234)
        );
        assert_eq!(rss_kib("Name:\tx\n"), None);
    }

    #[test]
    fn a_process_that_works_uses_time_and_one_that_is_not_there_is_an_error() {
        let own = Process::own();
        let before = own.cpu().unwrap();
        let mut sum = 0_u64;
        while own.cpu().unwrap() < before + Duration::from_millis(30) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(own.rss_bytes().unwrap() > 100_000);
        // Beyond the greatest pid Linux gives.
        assert!(Process::new(1 << 23).cpu().is_err());
        assert!(Process::new(1 << 23).rss_bytes().is_err());
    }

    #[test]
    fn a_pinned_thread_stays_on_its_processor() {
        let all = processors().unwrap();
        let last = *all.last().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                pin_to(&[last]).unwrap();
                assert_eq!(processors().unwrap(), [last]);
            });
        });
        assert_eq!(processors().unwrap(), all);
    }
}
