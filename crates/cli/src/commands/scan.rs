//! `scan`: keys in order, with or without their values.

use crate::app::App;
use crate::args::ScanArgs;
use crate::error::{CliError, Exit};
use crate::output::{Entries, Entry, Separator, Shape, Show};

/// Prints what is there as it comes: nothing is gathered first.
pub(super) async fn run(app: &mut App, args: &ScanArgs) -> Result<Exit, CliError> {
    let keys = app.output.key_format;
    let prefix = args.prefix.as_deref().map(|prefix| keys.prefix(prefix));
    let after = args.after.as_deref().map(|key| keys.key(key)).transpose()?;
    let client = app.client().await?;
    let mut scan = client.scan(prefix.transpose()?.unwrap_or_default());
    if let Some(limit) = args.limit {
        scan = scan.limit(limit);
    }
    if args.reverse {
        scan = scan.reverse();
    }
    if let Some(key) = after {
        scan = scan.after(key);
    }
    if !args.values {
        scan = scan.keys_only();
    }
    let show = if args.values { Show::Both } else { Show::Keys };
    let separator = if args.null {
        Separator::Null
    } else {
        Separator::Line
    };
    let mut entries = Entries::new(Shape::Many, show, separator);
    while let Some(item) = scan.next().await {
        let item = item?;
        let found = kv_client::Entry {
            value: item.value,
            version: item.version,
            ttl: item.ttl,
            content_type: item.content_type,
        };
        let entry = if args.values {
            super::get::entry(&app.output, item.key.to_vec(), found, false)?
        } else {
            Entry {
                key: item.key.to_vec(),
                version: Some(found.version),
                ttl_ms: found.ttl.map(super::millis),
                ..Entry::default()
            }
        };
        entries.entry(&mut app.output, &entry)?;
    }
    entries.end(&mut app.output)?;
    Ok(Exit::Ok)
}
