//! `ttl`: how long entries live on.

use crate::app::App;
use crate::args::KeysArgs;
use crate::error::{CliError, Exit};
use crate::output::{KeyText, Report, Reports, duration_text};

/// What stands for "never" where only numbers can stand.
const NEVER: &str = "-1";

/// Prints what remains, in milliseconds for programs.
pub(super) async fn run(app: &mut App, args: &KeysArgs) -> Result<Exit, CliError> {
    let keys = app.output.key_format.keys(&args.keys)?;
    let client = app.client().await?;
    let mut reports = Reports::default();
    let mut exit = Exit::Ok;
    let alone = keys.len() == 1;
    let mut found = false;
    for key in &keys {
        let Some(metadata) = client.metadata(key).await? else {
            exit = exit.and(super::get::missing(&mut app.output, key));
            continue;
        };
        found = true;
        let ttl_ms = metadata.ttl.map(super::millis);
        let words = ttl_ms.map_or_else(|| "never expires".to_owned(), duration_text);
        let text = KeyText {
            key,
            format: app.output.key_format,
        };
        let human = if alone {
            words
        } else {
            format!("{}: {words}", text.for_people())
        };
        let raw = ttl_ms.map_or_else(|| NEVER.to_owned(), |ms| ms.to_string());
        let mut report = Report::new(human, raw);
        text.put(&mut report.json);
        reports.push(
            report
                .with("ttl_ms", ttl_ms)
                .with("version", metadata.version),
        );
    }
    if found {
        reports.write(&mut app.output)?;
    }
    Ok(exit)
}
