//! `backup`: all entries of one moment, into a file.

use kv_client::BackupItem;

use super::bulk::progress::Progress;
use crate::app::App;
use crate::args::BackupArgs;
use crate::backup_file::{Closing, Opening, Writer};
use crate::error::{CliError, Code, Exit};
use crate::files::Target;

/// Writes the file; it is put in its place when it is whole.
pub(super) async fn run(app: &mut App, args: &BackupArgs) -> Result<Exit, CliError> {
    let client = app.client().await?;
    let mut backup = client.backup();
    let opening = match backup.next().await.transpose()? {
        Some(BackupItem::Opening {
            taken_at_ms,
            position,
            entries_hint,
            ..
        }) => Opening {
            taken_at_ms,
            position,
            entries_hint,
        },
        _ => return Err(unusable()),
    };
    let mut target = Target::open(&args.file)?;
    let mut progress = Progress::new("backed up", None);
    progress.expect(opening.entries_hint);
    let mut writer = Writer::new(opening);
    let mut count: u64 = 0;
    let closing = loop {
        match backup.next().await.transpose()? {
            Some(BackupItem::Entry(entry)) => {
                writer.entry(&entry);
                if let Some(bytes) = writer.take() {
                    target.write(&bytes)?;
                }
                count += 1;
                progress.at(count);
            }
            Some(BackupItem::Closing {
                entries, checksum, ..
            }) => break Closing { entries, checksum },
            _ => return Err(unusable()),
        }
    };
    target.write(&writer.finish(&closing))?;
    target.finish()?;
    drop(progress);
    super::export::done(app, &args.file, "backed up", count)?;
    Ok(Exit::Ok)
}

/// The library gives items in their order.
fn unusable() -> CliError {
    CliError::new(Code::UNUSABLE, "the server's backup cannot be used")
}
