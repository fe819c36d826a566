//! `del`: deletes keys, or all below a prefix.

use std::io::{BufRead, Write};

use kv_client::{BatchReply, MultiplexedClient};

use crate::app::App;
use crate::args::DelArgs;
use crate::error::{CliError, Exit};
use crate::output::{KeyText, Report, Reports, escaped, plural};

/// How many deletions go in one message.
const AT_ONCE: usize = 512;

/// How many keys are counted before asking.
const COUNTED: u32 = 1_000;

/// Deletes.
pub(super) async fn run(app: &mut App, args: &DelArgs) -> Result<Exit, CliError> {
    match &args.prefix {
        Some(prefix) => {
            let prefix = app.output.key_format.prefix(prefix)?;
            below(app, &prefix, args.yes).await
        }
        None => keys(app, args).await,
    }
}

async fn keys(app: &mut App, args: &DelArgs) -> Result<Exit, CliError> {
    let keys = app.output.key_format.keys(&args.keys)?;
    let client = app.client().await?;
    let mut reports = Reports::default();
    let mut exit = Exit::Ok;
    let alone = keys.len() == 1;
    for key in &keys {
        let call = client.delete(key);
        let deleted = match args.if_version {
            Some(version) => call.if_version(version).await?,
            None => call.await?,
        };
        if !deleted {
            exit = Exit::NotFound;
        }
        let text = KeyText {
            key,
            format: app.output.key_format,
        };
        let word = if deleted { "deleted" } else { "not found" };
        let human = if alone {
            word.to_owned()
        } else {
            format!("{}: {word}", text.for_people())
        };
        let mut report = Report::new(human, u8::from(deleted).to_string());
        text.put(&mut report.json);
        reports.push(report.with("deleted", deleted));
    }
    reports.write(&mut app.output)?;
    Ok(exit)
}

async fn below(app: &mut App, prefix: &[u8], yes: bool) -> Result<Exit, CliError> {
    let client = app.client().await?;
    if !yes && !confirmed(app, &client, prefix).await? {
        app.output.message("nothing was deleted");
        return Ok(Exit::Ok);
    }
    let mut scan = client.scan(prefix).keys_only();
    let mut keys = Vec::with_capacity(AT_ONCE);
    let mut deleted = 0;
    while let Some(item) = scan.next().await {
        keys.push(item?.key);
        if keys.len() == AT_ONCE {
            deleted += delete(&client, &keys).await?;
            keys.clear();
        }
    }
    deleted += delete(&client, &keys).await?;
    let human = format!("deleted {}", plural(deleted, "key"));
    let report = Report::new(human, deleted.to_string());
    app.output.report(&report.with("deleted", deleted))?;
    Ok(Exit::Ok)
}

async fn delete(client: &MultiplexedClient, keys: &[impl AsRef<[u8]>]) -> Result<u64, CliError> {
    if keys.is_empty() {
        return Ok(0);
    }
    let batch = keys
        .iter()
        .fold(client.batch(), |batch, key| batch.delete(key));
    let mut deleted = 0;
    for reply in batch.await? {
        deleted += u64::from(matches!(reply?, BatchReply::Deleted(true)));
    }
    Ok(deleted)
}

async fn confirmed(
    app: &mut App,
    client: &MultiplexedClient,
    prefix: &[u8],
) -> Result<bool, CliError> {
    if !app.output.terminal.stdin_is_terminal {
        return Err(
            CliError::usage("deleting everything below a prefix wants a yes").hint("--yes says it"),
        );
    }
    let mut count = 0;
    let mut scan = client.scan(prefix).keys_only().limit(COUNTED + 1);
    while let Some(item) = scan.next().await {
        item?;
        count += 1;
    }
    if count == 0 {
        return Ok(true);
    }
    let which = if prefix.is_empty() {
        "of the whole store".to_owned()
    } else {
        format!("below `{}`", escaped(prefix))
    };
    let how_many = if count > COUNTED {
        format!("all, more than {COUNTED} entries")
    } else if count == 1 {
        "1 entry".to_owned()
    } else {
        format!("{count} entries")
    };
    app.output.flush()?;
    let mut stderr = std::io::stderr().lock();
    write!(stderr, "delete {how_many} {which}? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
