//! `mget`: values of many keys, in one round trip.

use kv_client::BatchReply;

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
            let entry = match reply? {
                BatchReply::Entry(Some(found)) => {
                    super::get::entry(&app.output, key.clone(), found, false)?
                }
                BatchReply::Entry(None) => Entry {
                    key: key.clone(),
                    ..Entry::default()
                },
                _ => {
                    return Err(CliError::new(
                        Code::WRONG_TYPE,
                        "the server answered something else than was asked",
                    ));
                }
            };
            entries.entry(&mut app.output, &entry)?;
        }
    }
    entries.end(&mut app.output)?;
    Ok(Exit::Ok)
}
