//! `incr`: adds to a counter.

use crate::app::App;
use crate::args::IncrArgs;
use crate::error::{CliError, Exit};
use crate::output::{KeyText, Report};

/// Adds, and prints the sum.
pub(super) async fn run(app: &mut App, args: &IncrArgs) -> Result<Exit, CliError> {
    let key = app.output.key_format.key(&args.key)?;
    let client = app.client().await?;
    let mut call = client.incr(&key, args.delta);
    if let Some(ttl) = args.ttl {
        call = call.ttl(ttl.0);
    }
    let sum = call.await?;
    let mut report = Report::new(sum.to_string(), sum.to_string());
    let format = app.output.key_format;
    KeyText { key: &key, format }.put(&mut report.json);
    app.output.report(&report.with("value", sum))?;
    Ok(Exit::Ok)
}
