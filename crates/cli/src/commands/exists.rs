//! `exists`: whether there are entries.

use crate::app::App;
use crate::args::KeysArgs;
use crate::error::{CliError, Exit};
use crate::output::{KeyText, Report, Reports};

/// Says so for each key; the exit code is 1 when one is missing.
pub(super) async fn run(app: &mut App, args: &KeysArgs) -> Result<Exit, CliError> {
    let keys = app.output.key_format.keys(&args.keys)?;
    let client = app.client().await?;
    let mut reports = Reports::default();
    let mut exit = Exit::Ok;
    let alone = keys.len() == 1;
    for key in &keys {
        let there = client.exists(key).await?;
        if !there {
            exit = Exit::NotFound;
        }
        let text = KeyText {
            key,
            format: app.output.key_format,
        };
        let word = if there { "yes" } else { "no" };
        let human = if alone {
            word.to_owned()
        } else {
            format!("{}: {word}", text.for_people())
        };
        let mut report = Report::new(human, u8::from(there).to_string());
        text.put(&mut report.json);
        reports.push(report.with("exists", there));
    }
    reports.write(&mut app.output)?;
    Ok(exit)
}
