//! `mset`: stores many keys, in one round trip.

use crate::app::App;
use crate::args::{MsetArgs, os_bytes};
use crate::error::{CliError, Exit};
use crate::output::{Report, plural};

/// Stores keys and values in turn.
pub(super) async fn run(app: &mut App, args: &MsetArgs) -> Result<Exit, CliError> {
    let pairs = args.pairs.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(CliError::usage(
            "each key has a value: the last one has none",
        ));
    }
    let keys = app.output.key_format;
    let client = app.client().await?;
    let mut batch = client.batch();
    for pair in pairs {
        if let [key, value] = pair {
            batch = batch.set(keys.key(key)?, os_bytes(value));
        }
    }
    if args.atomic {
        batch = batch.atomic();
    }
    let mut stored: u64 = 0;
    let mut exit = Exit::Ok;
    for reply in batch.await? {
        match reply {
            Ok(_) => stored += 1,
            Err(error) => {
                let error = CliError::from(error);
                exit = exit.and(error.exit());
                app.output.error(&error);
            }
        }
    }
    let report = Report::new(
        format!("stored {}", plural(stored, "key")),
        stored.to_string(),
    );
    app.output.report(&report.with("stored", stored))?;
    Ok(exit)
}
