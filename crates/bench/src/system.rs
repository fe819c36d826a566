//! The servers that are measured: how each is started, found and ended.
//!
//! Invariant: a server that was started here does not outlive its [`Server`]; it is ended by its own
//! process id.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;

use crate::driver::{Endpoint, tls_config};
use crate::measure::{self, Process};
use crate::protocol::NativeKey;
use crate::trial;

mod certificates;
mod children;
mod launch;
mod storage;

pub(crate) use certificates::Certificates;
use children::Guard;
use launch::Prepared;

pub(crate) use children::end_on_signals;
pub(crate) use launch::{Launch, find};
pub(crate) use storage::{Storage, ensure_on_disk};

pub(crate) use storage::Durability;

const START_TIMEOUT: Duration = Duration::from_secs(10);
/// A server that uses less than a twentieth of a processor for this long has nothing to do.
const CALM: Duration = Duration::from_millis(500);
/// Between two looks whether a server answers yet.
const LOOK_AGAIN: Duration = Duration::from_micros(200);

/// A system that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Kind {
    /// This project's server.
    Kv,
    /// Redis.
    Redis,
    /// Valkey.
    Valkey,
    /// memcached.
    Memcached,
    /// The echo server on raw system calls.
    Floor,
}

impl Kind {
    /// Whether it keeps what is written.
    #[must_use]
    pub(crate) const fn stores(self) -> bool {
        !matches!(self, Self::Floor)
    }

    /// Whether it can be told to keep what is written on disk.
    #[must_use]
    pub(crate) const fn persists(self) -> bool {
        matches!(self, Self::Kv | Self::Redis | Self::Valkey)
    }

    /// Whether the driver can ask it for many operations in one request.
    #[must_use]
    pub(crate) const fn batches(self) -> bool {
        matches!(self, Self::Kv | Self::Redis | Self::Valkey)
    }

    /// The name in results.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kv => "kv",
            Self::Redis => "redis",
            Self::Valkey => "valkey",
            Self::Memcached => "memcached",
            Self::Floor => "floor",
        }
    }
}

/// A server that is there to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// What it is.
    pub kind: Kind,
    /// Its name in results.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// The authority of its certificate.
    pub authority: Option<CertificateDer<'static>>,
    /// The key to sign with.
    pub key: Option<NativeKey>,
    /// What Redis wants to hear before anything else.
    pub password: Option<String>,
    /// Its process, if it is known and on this machine.
    pub process: Option<Process>,
}

impl Target {
    /// How to connect to it.
    ///
    /// # Errors
    /// When TLS is wanted and its authority is not known, or it is not on this machine.
    pub(crate) fn endpoint(&self, tls: bool, alpn: Option<&[u8]>) -> Result<Endpoint> {
        ensure!(
            self.address.ip().is_loopback(),
            "{} is not on this machine; load is put on loopback addresses only",
            self.address
        );
        let tls = if tls {
            let authority = self
                .authority
                .clone()
                .context("TLS needs the authority's certificate")?;
            Some(tls_config(authority, alpn)?)
        } else {
            None
        };
        Ok(Endpoint {
            address: self.address,
            tls,
        })
    }
}

/// A server that was started here. Dropping it ends it.
pub(crate) struct Server {
    child: Guard,
    directory: TempDir,
    /// How to reach it.
    pub target: Target,
    /// From the start of the process to the first session.
    pub started_in: Duration,
    /// Its version and arguments, for the record.
    pub description: String,
}

impl Server {
    /// Starts a server on a free port and waits until it opens a session.
    ///
    /// # Errors
    /// When it cannot be started, ends early, or does not answer in ten seconds; what it wrote is
    /// told.
    pub(crate) fn start(launch: &Launch) -> Result<Self> {
        let directory = match &launch.parent {
            Some(parent) => tempfile::tempdir_in(parent),
            None => tempfile::tempdir(),
        };
        let directory = directory.context("a directory for the server")?;
        Self::start_in(launch, directory)
    }

    /// Ends the server and starts it again in the same directory, for cold starts.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub(crate) fn restart(self, launch: &Launch) -> Result<Self> {
        let Self {
            child, directory, ..
        } = self;
        drop(child);
        Self::start_in(launch, directory)
    }

    fn start_in(launch: &Launch, directory: TempDir) -> Result<Self> {
        let address = free_address()?;
        let Prepared {
            mut command,
            mut target,
        } = launch.prepare(directory.path(), address)?;
        let log = directory.path().join("log");
        let output = std::fs::File::create(&log).context("the server's log")?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let begun = Instant::now();
        let child = pinned(launch.processor, || {
            command
                .spawn()
                .with_context(|| format!("cannot start {}", launch.program.display()))
        })?;
        target.process = Some(Process::new(child.id()));
        let mut server = Self {
            child: Guard::new(child, directory.path().to_owned()),
            directory,
            target,
            started_in: Duration::ZERO,
            description: launch.describe(),
        };
        server.wait_for_session(launch.tls, begun, &log)?;
        Ok(server)
    }

    fn wait_for_session(&mut self, tls: bool, begun: Instant, log: &Path) -> Result<()> {
        loop {
            let failure = match trial::touch(&self.target, tls) {
                Ok(()) => {
                    self.started_in = begun.elapsed();
                    return Ok(());
                }
                Err(failure) => failure,
            };
            if self.ends_within(LOOK_AGAIN)? {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                bail!("{} ended at once: {}", self.description, said.trim());
            }
            if begun.elapsed() > START_TIMEOUT {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                let context = format!("{} does not answer: {}", self.description, said.trim());
                return Err(failure.context(context));
            }
        }
    }

    /// Waits for the server to end, at most this long.
    fn ends_within(&self, time: Duration) -> Result<bool> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let process = pidfd_open(pid.context("the server's id")?, PidfdFlags::empty())?;
        let timeout = Timespec::try_from(time)?;
        match poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error).context("waiting for the server"),
        }
    }

    /// Leaves the server alone for a while.
    ///
    /// # Errors
    /// When it ends meanwhile.
    pub(crate) fn settle(&self, time: Duration) -> Result<()> {
        ensure!(!self.ends_within(time)?, "{} ended", self.description);
        Ok(())
    }

    /// Waits until the server has nothing to do any more, such as carrying entries to where they stay;
    /// at most `longest`. False when it is still at work then.
    ///
    /// # Errors
    /// When it ends meanwhile.
    pub(crate) fn calm(&self, longest: Duration) -> Result<bool> {
        let begun = Instant::now();
        let mut before = self.process().cpu()?;
        while begun.elapsed() < longest {
            self.settle(CALM)?;
            let now = self.process().cpu()?;
            if now.saturating_sub(before) < CALM / 20 {
                return Ok(true);
            }
            before = now;
        }
        Ok(false)
    }

    /// Its process.
    #[must_use]
    pub(crate) fn process(&self) -> Process {
        Process::new(self.child.id())
    }
}

/// A port that nobody uses now.
fn free_address() -> Result<SocketAddr> {
    let listener =
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?)
}

/// Does something while this thread, and so what it starts, may run on one processor only.
fn pinned<T>(processor: Option<usize>, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(processor) = processor else {
        return action();
    };
    let before = measure::processors()?;
    measure::pin_to(&[processor])?;
    let result = action();
    measure::pin_to(&before)?;
    result
}

#[cfg(test)]
mod tests;
