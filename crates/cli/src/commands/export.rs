//! `export`: entries as lines of JSON.

use std::path::Path;

use super::bulk::progress::{Progress, entries};
use super::import::line_of;
use crate::app::App;
use crate::args::ExportArgs;
use crate::error::{CliError, Exit};
use crate::files::Target;
use crate::output::Report;

/// Writes every entry as its page comes.
pub(super) async fn run(app: &mut App, args: &ExportArgs) -> Result<Exit, CliError> {
    let keys = app.output.key_format;
    let prefix = args.prefix.as_deref().map(|prefix| keys.prefix(prefix));
    let prefix = prefix.transpose()?.unwrap_or_default();
    let client = app.lasting_client().await?;
    let mut target = Target::open(&args.file)?;
    let mut progress = Progress::new("exported", None);
    let mut scan = client.scan(&prefix);
    let mut count: u64 = 0;
    while let Some(item) = scan.next().await {
        let item = item?;
        let ttl_ms = item.ttl.map(super::millis);
        let line = line_of(
            &item.key,
            &item.value,
            item.version,
            ttl_ms,
            item.content_type,
        );
        target.write(line.as_bytes())?;
        count += 1;
        progress.at(count);
    }
    target.finish()?;
    drop(progress);
    done(app, &args.file, "exported", count)?;
    Ok(Exit::Ok)
}

/// Says how many there were: beside the data, never in it.
pub(super) fn done(app: &mut App, file: &Path, doing: &str, count: u64) -> Result<(), CliError> {
    let human = format!("{doing} {}", entries(count));
    if file == Path::new("-") {
        app.output.message(&human);
        return Ok(());
    }
    let report = Report::new(human, count.to_string()).with("entries", count);
    app.output.report(&report)
}
