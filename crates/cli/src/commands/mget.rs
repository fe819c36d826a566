//! `mget`: values of many keys, in one round trip.

use kv_client::{BatchReply, ErrorCode};

use crate::app::App;
use crate::args::KeysArgs;
use crate::error::{CliError, Code, Exit};
use crate::output::{Entries, Entry, Separator, Shape, Show};

/// How many keys go in one message, so that the answer is unlikely to be too large for one.
const AT_ONCE: usize = 128;

/// Prints all of them in their order; those that are missing, too.
pub(super) async fn run(app: &mut App, args: &KeysArgs) -> Result<Exit, CliError> {
    let keys = app.output.key_format.keys(&args.keys)?;
    let client = app.client().await?;
    let mut entries = Entries::new(Shape::Many, Show::Values, Separator::Line);
    for keys in keys.chunks(AT_ONCE) {
        let batch = keys
            .iter()
            .fold(client.batch(), |batch, key| batch.get(key));
        for (key, reply) in keys.iter().zip(batch.await?) {
            let found = match reply {
                Ok(BatchReply::Entry(found)) => found,
                // Together they are more than one message holds; each alone is not.
                Err(error) if error.code() == Some(ErrorCode::TooLarge) => {
                    client.get_entry(key).await?
                }
                Err(error) => return Err(error.into()),
                Ok(_) => {
                    return Err(CliError::new(
                        Code::UNUSABLE,
                        "the server answered something else than was asked",
                    ));
                }
            };
            let entry = match found {
                Some(found) => super::get::entry(&app.output, key.clone(), found, false)?,
                None => Entry {
                    key: key.clone(),
                    ..Entry::default()
                },
            };
            entries.entry(&mut app.output, &entry)?;
        }
    }
    entries.end(&mut app.output)?;
    Ok(Exit::Ok)
}
