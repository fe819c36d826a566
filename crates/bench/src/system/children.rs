//! Children end with this process, however it ends.
//!
//! A guard ends its child when it is dropped. A signal drops nothing, so the children are also on a
//! list, and a thread that waits for signals ends those on it. Only a SIGKILL leaves them behind.

use std::path::PathBuf;
use std::process::Child;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tokio::signal::unix::{SignalKind, signal};

/// What is to be done away with: a process and the directory it was given.
static CHILDREN: Mutex<Vec<(Pid, PathBuf)>> = Mutex::new(Vec::new());

/// A child process that ends with this value.
pub(super) struct Guard(Child);

impl Guard {
    /// Takes charge of a child.
    pub(super) fn new(child: Child, directory: PathBuf) -> Self {
        if let Some(pid) = pid_of(&child) {
            let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
            children.push((pid, directory));
        }
        Self(child)
    }

    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

fn pid_of(child: &Child) -> Option<Pid> {
    Pid::from_raw(i32::try_from(child.id()).ok()?)
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Off the list before the wait: after it, the id may be another process's.
        let own = pid_of(&self.0);
        let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain(|&(pid, _)| Some(pid) != own);
        // It may have ended by itself; then there is nothing to kill, and the wait returns at once.
        let killed = self.0.kill();
        let waited = self.0.wait();
        debug_assert!(killed.is_ok() && waited.is_ok());
    }
}

/// Ends all children that have a guard, and removes their directories.
fn end_all() {
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    for (pid, directory) in children.drain(..) {
        // They may be gone already, and nobody is left to tell.
        let _ = kill_process(pid, Signal::KILL);
        let _ = waitpid(Some(pid), WaitOptions::empty());
        let _ = std::fs::remove_dir_all(directory);
    }
}

/// From now on SIGINT, SIGTERM and SIGHUP end the children, and then this process.
///
/// # Errors
/// When signals cannot be waited for.
pub(crate) fn end_on_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("waiting for signals")?;
    let (mut interrupt, mut terminate, mut hang_up) = {
        let _inside = runtime.enter();
        let on = |kind| signal(kind).context("waiting for signals");
        (
            on(SignalKind::interrupt())?,
            on(SignalKind::terminate())?,
            on(SignalKind::hangup())?,
        )
    };
    std::thread::spawn(move || {
        let code = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => 130,
                _ = terminate.recv() => 143,
                _ = hang_up.recv() => 129,
            }
        });
        end_all();
        std::process::exit(code);
    });
    Ok(())
}
