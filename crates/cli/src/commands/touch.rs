//! `touch`: changes when an entry expires.

use crate::app::App;
use crate::args::TouchArgs;
use crate::error::{CliError, Exit};
use crate::output::{KeyText, Report, duration_text};

/// Sets the time to live, or takes it away.
pub(super) async fn run(app: &mut App, args: &TouchArgs) -> Result<Exit, CliError> {
    let key = app.output.key_format.key(&args.key)?;
    let client = app.client().await?;
    let ttl = args.ttl.map(|ttl| ttl.0);
    if !client.touch(&key, ttl).await? {
        return Err(super::get::not_found(&app.output, &key));
    }
    let ttl_ms = ttl.map(super::millis);
    let human = match ttl_ms {
        Some(ms) => format!("expires in {}", duration_text(ms)),
        None => "never expires".to_owned(),
    };
    let raw = ttl_ms.map_or_else(|| "-1".to_owned(), |ms| ms.to_string());
    let mut report = Report::new(human, raw);
    let format = app.output.key_format;
    KeyText { key: &key, format }.put(&mut report.json);
    app.output.report(&report.with("ttl_ms", ttl_ms))?;
    Ok(Exit::Ok)
}
