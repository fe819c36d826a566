//! A file that says how far a command got, so that it can go on from there after any end.
//!
//! Written whole or not at all. It counts what the server has acknowledged from the beginning of the
//! input without a gap, and carries a mark of the input, so that another input is not taken for it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{CliError, Code};
use crate::files::{self, Access};

/// Between two writes: so much is done again at most.
const EVERY: Duration = Duration::from_secs(1);

/// What the file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::commands) struct Position {
    /// How many of the input are done.
    pub(in crate::commands) done: u64,
    /// What marks the input: of the last line that is done, or of a backup.
    pub(in crate::commands) mark: u64,
}

/// Keeps the file, if there is to be one.
pub(in crate::commands) struct Checkpoint {
    file: Option<PathBuf>,
    written: Instant,
    last: Position,
}

impl Checkpoint {
    /// Reads the file, where there is one already.
    pub(in crate::commands) fn open(file: Option<&Path>) -> Result<Self, CliError> {
        let last = match file.map(|path| (path, std::fs::read(path))) {
            None => Position::default(),
            Some((_, Err(error))) if error.kind() == io::ErrorKind::NotFound => Position::default(),
            Some((path, Err(error))) => return Err(CliError::file("read", path, &error)),
            Some((path, Ok(text))) => serde_json::from_slice(&text).map_err(|error| {
                let sentence = format!("{} does not say how far it got", path.display());
                CliError::new(Code::FILE, sentence)
                    .cause(error.to_string())
                    .hint("--resume names a file of its own, which is made when there is none")
            })?,
        };
        Ok(Self {
            file: file.map(Path::to_owned),
            written: Instant::now(),
            last,
        })
    }

    /// How far an earlier run got.
    pub(in crate::commands) const fn position(&self) -> Position {
        self.last
    }

    /// The input is another one than that of the file.
    pub(in crate::commands) fn other_input(&self) -> CliError {
        let file = self.file.as_deref().unwrap_or(Path::new(""));
        let sentence = format!("{} is about another input", file.display());
        CliError::new(Code::INPUT, sentence).hint("remove it to begin from the start")
    }

    /// Writes, when it is time.
    pub(in crate::commands) fn at(&mut self, position: Position) -> Result<(), CliError> {
        if self.written.elapsed() >= EVERY {
            self.write(position)?;
        }
        Ok(())
    }

    /// Writes.
    pub(in crate::commands) fn write(&mut self, position: Position) -> Result<(), CliError> {
        self.written = Instant::now();
        let Some(file) = self.file.as_deref().filter(|_| self.last != position) else {
            return Ok(());
        };
        let text = serde_json::to_vec(&position).unwrap_or_default();
        files::replace(file, Access::Private, &text)
            .map_err(|error| CliError::file("write", file, &error))?;
        self.last = position;
        Ok(())
    }

    /// All of it is done: there is nothing to go on with.
    pub(in crate::commands) fn remove(self) -> Result<(), CliError> {
        match self.file.map(|file| (std::fs::remove_file(&file), file)) {
            Some((Err(error), file)) if error.kind() != io::ErrorKind::NotFound => {
                Err(CliError::file("remove", &file, &error))
            }
            _ => Ok(()),
        }
    }

    /// What to say to go on after a failure.
    pub(in crate::commands) fn hint(&self) -> Option<String> {
        let file = self.file.as_deref()?;
        Some(format!(
            "the same command goes on: {} says where",
            file.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_there_again_until_all_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("progress");
        let mut checkpoint = Checkpoint::open(Some(&path)).unwrap();
        assert_eq!(checkpoint.position(), Position::default());
        let position = Position { done: 7, mark: 9 };
        checkpoint.write(position).unwrap();
        let checkpoint = Checkpoint::open(Some(&path)).unwrap();
        assert_eq!(checkpoint.position(), position);
        checkpoint.remove().unwrap();
        assert!(!path.exists());
        std::fs::write(&path, "something else").unwrap();
        assert!(Checkpoint::open(Some(&path)).is_err());
    }
}
