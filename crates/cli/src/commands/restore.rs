//! `restore`: the entries of a backup, into a server.

use std::fs::File;
use std::io::{BufReader, Read, Seek as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use kv_client::{BackupEntry, MultiplexedClient};

use super::bulk::checkpoint::{Checkpoint, Position};
use super::bulk::progress::{Progress, entries};
use super::bulk::{Ended, Existing, Fate, Record, Window};
use super::import::open;
use crate::app::App;
use crate::args::RestoreArgs;
use crate::backup_file::{Damage, Reader};
use crate::error::{CliError, Code, Exit};
use crate::output::{Report, utc_text};

/// How a restore stands.
struct Restore {
    window: Window,
    progress: Progress,
    checkpoint: Checkpoint,
    mark: u64,
    stored: u64,
    kept: u64,
    expired: u64,
}

/// Writes the entries, after a look at the whole file and at the server.
pub(super) async fn run(app: &mut App, args: &RestoreArgs) -> Result<Exit, CliError> {
    let is_stdin = args.file == Path::new("-");
    let mut input: Box<dyn Read> = if is_stdin {
        Box::new(open(&args.file, app.stdin)?)
    } else {
        let mut file = check(&args.file)?;
        file.rewind()
            .map_err(|error| CliError::file("read", &args.file, &error))?;
        Box::new(BufReader::with_capacity(1 << 18, file))
    };
    let mut reader = Reader::open(&mut input).map_err(|damage| damaged(&args.file, &damage))?;
    if args.check {
        return checked(app, args, &mut reader);
    }
    let checkpoint = Checkpoint::open(args.pace.resume.as_deref())?;
    let before = checkpoint.position();
    let opening = reader.opening();
    let mark = opening.taken_at_ms ^ opening.position.rotate_left(32);
    if before.done > 0 && before.mark != mark {
        return Err(checkpoint.other_input());
    }
    let client = app.lasting_client().await?;
    if !args.overwrite && !args.merge && before.done == 0 {
        refuse_unless_empty(&client).await?;
    }
    let existing = if args.merge {
        Existing::Keep
    } else {
        Existing::Replace
    };
    let mut progress = Progress::new("restored", None);
    progress.expect(opening.entries_hint);
    let mut restore = Restore {
        window: Window::new(client, existing, args.pace.window, before.done + 1),
        progress,
        checkpoint,
        mark,
        stored: 0,
        kept: 0,
        expired: 0,
    };
    let done = restore.entries(&mut reader, &args.file, before.done).await;
    let done = restore.rest().await.and(done);
    restore.end(app, done)
}

/// Reads the file from its beginning to its end.
fn check(path: &Path) -> Result<File, CliError> {
    let file = File::open(path).map_err(|error| CliError::file("read", path, &error))?;
    let mut reader = Reader::open(BufReader::with_capacity(1 << 18, &file))
        .map_err(|damage| damaged(path, &damage))?;
    while reader
        .next()
        .map_err(|damage| damaged(path, &damage))?
        .is_some()
    {}
    drop(reader);
    Ok(file)
}

/// Reads the rest, and says what is in it.
fn checked<R: Read>(
    app: &mut App,
    args: &RestoreArgs,
    reader: &mut Reader<R>,
) -> Result<Exit, CliError> {
    let mut count: u64 = 0;
    let damage = |damage| damaged(&args.file, &damage);
    while reader.next().map_err(damage)?.is_some() {
        count += 1;
    }
    let opening = reader.opening();
    let checksum = reader
        .closing()
        .map(|closing| crate::output::hex(&closing.checksum));
    let taken = utc_text(i64::try_from(opening.taken_at_ms / 1_000).unwrap_or(i64::MAX));
    let human = format!("a whole backup of {}, taken {taken}", entries(count));
    let report = Report::new(human, count.to_string())
        .with("entries", count)
        .with("taken_at_ms", opening.taken_at_ms)
        .with("position", opening.position)
        .with("sha256", checksum);
    app.output.report(&report)?;
    Ok(Exit::Ok)
}

async fn refuse_unless_empty(client: &MultiplexedClient) -> Result<(), CliError> {
    let mut scan = client.scan("").limit(1).keys_only();
    match scan.next().await.transpose()? {
        None => Ok(()),
        Some(_) => Err(
            CliError::new(Code::NOT_EMPTY, "the server has entries already").hint(
                "--merge leaves them as they are, --overwrite replaces those of the same keys",
            ),
        ),
    }
}

fn damaged(path: &Path, damage: &Damage) -> CliError {
    let sentence = format!("{} is not a whole backup", path.display());
    CliError::new(Code::DAMAGED, sentence).cause(damage.to_string())
}

impl Restore {
    async fn entries<R: Read>(
        &mut self,
        reader: &mut Reader<R>,
        path: &Path,
        skip: u64,
    ) -> Result<(), CliError> {
        let mut number: u64 = 0;
        while let Some(entry) = reader.next().map_err(|damage| damaged(path, &damage))? {
            number += 1;
            if number <= skip {
                continue;
            }
            match record(entry) {
                Some(record) => {
                    while self.window.blocks(&record) {
                        self.wait().await?;
                    }
                    self.window.send(record, self.mark);
                }
                None => {
                    self.expired += 1;
                    self.window.skip(self.mark);
                }
            }
            self.progress.at(number);
            let (done, mark) = self.window.done();
            self.checkpoint.at(Position { done, mark })?;
        }
        Ok(())
    }

    async fn wait(&mut self) -> Result<(), CliError> {
        match self.window.ended().await {
            None => {}
            Some(Ended { fate, .. }) => match fate {
                Fate::Stored => self.stored += 1,
                Fate::Kept => self.kept += 1,
                Fate::Unusable(error) | Fate::Failed(error) => return Err(error),
            },
        }
        Ok(())
    }

    async fn rest(&mut self) -> Result<(), CliError> {
        let mut failed = Ok(());
        while !self.window.is_empty() {
            let ended = self.wait().await;
            failed = failed.and(ended);
        }
        let (done, mark) = self.window.done();
        if done > self.checkpoint.position().done {
            self.checkpoint.write(Position { done, mark })?;
        }
        failed
    }

    fn end(mut self, app: &mut App, done: Result<(), CliError>) -> Result<Exit, CliError> {
        self.progress.clear();
        let mut human = format!("restored {} under new versions", entries(self.stored));
        if self.kept > 0 {
            human = format!("{human}, left {} as they were", entries(self.kept));
        }
        if self.expired > 0 {
            human = format!(
                "{human}, left out {} that have expired",
                entries(self.expired)
            );
        }
        if let Err(error) = done {
            app.output.message(&human);
            let hint = self.checkpoint.hint().unwrap_or_else(|| {
                "the same command with --overwrite (or --merge) completes it".to_owned()
            });
            return Err(error.hint(hint));
        }
        self.checkpoint.remove()?;
        let report = Report::new(human, self.stored.to_string())
            .with("stored", self.stored)
            .with("kept", self.kept)
            .with("expired", self.expired);
        app.output.report(&report)?;
        Ok(Exit::Ok)
    }
}

/// What is written for an entry; `None`: it has expired since.
fn record(entry: BackupEntry) -> Option<Record> {
    let ttl = match entry.expires_at_ms {
        None => None,
        Some(at) => {
            let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(at));
            match at.map(|at| at.duration_since(SystemTime::now())) {
                Some(Ok(left)) if left >= Duration::from_millis(1) => Some(left),
                Some(_) => return None,
                // Beyond what this machine can tell.
                None => None,
            }
        }
    };
    Some(Record {
        key: entry.key.to_vec(),
        value: entry.value.to_vec(),
        ttl,
        content_type: entry.content_type,
    })
}
