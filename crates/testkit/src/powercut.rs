//! Disks that lose their power, and disks that are full: file systems made for one test.
//!
//! Owns a mounted file system ([`Volume`]) and the moment at which it stops taking anything
//! ([`Volume::arm`]). An ext4 image is mounted through a loop device; its shutdown call makes the
//! file system forget what it did not write, as a power cut does, and what was mounted again is what
//! a machine would find when it starts. Needs root and loop devices, and python3 for the one system call that
//! safe Rust has no name for; [`available`] says what is missing.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a test tool: what fails here is a failed test"
)]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use tempfile::TempDir;

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`, once a line comes: everything is ready
/// by then, so that the call is all that is left to do.
const SHUTDOWN: &str = "
import fcntl, os, struct, sys
volume = os.open(sys.argv[1], os.O_RDONLY)
print('ready', flush=True)
sys.stdin.readline()
fcntl.ioctl(volume, 0x8004587D, struct.pack('=I', 2))
print('cut', flush=True)
";

/// A file system that is mounted as long as the value lives.
#[derive(Debug)]
pub struct Volume {
    directory: TempDir,
    is_mounted: bool,
}

/// Whether such volumes can be made here.
///
/// # Errors
/// What is missing, in words.
pub fn available() -> Result<(), String> {
    let volume = Volume::ext4(8).map_err(|error| format!("no loop mounts here: {error}"))?;
    let armed = volume.arm()?;
    armed.cut();
    let file = volume.path().join("after");
    if fs::write(&file, b"x").and_then(|()| sync(&file)).is_ok() {
        return Err("the shutdown call of ext4 has no effect here".to_owned());
    }
    Ok(())
}

fn sync(file: &Path) -> std::io::Result<()> {
    fs::File::open(file)?.sync_all()
}

impl Volume {
    /// An empty ext4 file system of that many MiB.
    ///
    /// # Errors
    /// What the program that failed said.
    pub fn ext4(mebibytes: u64) -> Result<Self, String> {
        let mut volume = Self::unmounted()?;
        let image = volume.image();
        let file = fs::File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(mebibytes << 20)
            .map_err(|error| error.to_string())?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-F", "-O", "^resize_inode", "-m", "0"])
            .arg(&image))?;
        volume.mount()?;
        Ok(volume)
    }

    /// An empty file system in memory, of that many MiB.
    ///
    /// # Errors
    /// What the program that failed said.
    pub fn tmpfs(mebibytes: u64) -> Result<Self, String> {
        let mut volume = Self::unmounted()?;
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(volume.path()))?;
        volume.is_mounted = true;
        Ok(volume)
    }

    fn unmounted() -> Result<Self, String> {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let volume = Self {
            directory,
            is_mounted: false,
        };
        fs::create_dir(volume.path()).map_err(|error| error.to_string())?;
        Ok(volume)
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("volume")
    }

    fn mount(&mut self) -> Result<(), String> {
        run(Command::new("mount")
            .args(["-t", "ext4", "-o", "loop"])
            .arg(self.image())
            .arg(self.path()))?;
        self.is_mounted = true;
        Ok(())
    }

    /// Gets ready to cut the power; the volume cannot be mounted again before that was done.
    ///
    /// # Errors
    /// When the program that makes the call does not start.
    pub fn arm(&self) -> Result<Armed, String> {
        let mut child = Command::new("python3")
            .args(["-I", "-c", SHUTDOWN])
            .arg(self.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("python3 does not start: {error}"))?;
        let mut armed = Armed {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        };
        match armed.line().as_str() {
            "ready" => Ok(armed),
            other => Err(format!("python3 is not ready for the cut: {other:?}")),
        }
    }

    /// Mounts it again after a cut, when no process has a file of it open any more. The journal of
    /// the file system is replayed, as when a machine starts.
    ///
    /// # Errors
    /// What the program that failed said.
    pub fn mount_again(&mut self) -> Result<(), String> {
        run(Command::new("umount").arg(self.path()))?;
        self.is_mounted = false;
        self.mount()
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.is_mounted {
            // Lazily: a failed test may have left a file open.
            let _ = run(Command::new("umount").arg("--lazy").arg(self.path()));
        }
    }
}

/// A cut that is about to come.
#[derive(Debug)]
pub struct Armed {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Armed {
    /// Cuts the power. Whatever the volume did not write by now is lost; every later write fails.
    pub fn cut(mut self) {
        let mut stdin = self.stdin.take().unwrap();
        stdin.write_all(b"cut\n").unwrap();
        assert_eq!(self.line(), "cut", "the shutdown call failed");
        assert!(self.child.wait().unwrap().success());
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        // Without its line it waits for ever, with a file of the volume open.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("{name}: {}: {}", output.status, said.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faults::say;

    #[test]
    fn a_cut_drops_what_was_not_synced_and_keeps_what_was() {
        if let Err(missing) = available() {
            say(&format!("not checked: {missing}"));
            return;
        }
        let mut volume = Volume::ext4(16).unwrap();
        let (kept, lost) = (volume.path().join("kept"), volume.path().join("lost"));
        fs::write(&kept, b"kept").unwrap();
        sync(&kept).unwrap();
        sync(&volume.path()).unwrap();
        let armed = volume.arm().unwrap();
        fs::write(&lost, b"lost").unwrap();
        armed.cut();
        assert!(fs::write(volume.path().join("late"), b"late").is_err());
        volume.mount_again().unwrap();
        assert_eq!(fs::read(&kept).unwrap(), b"kept");
        assert!(!lost.exists());
        fs::write(&lost, b"works again").unwrap();
    }
}
