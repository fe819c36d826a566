//! `info`: what the server says about itself.

use crate::app::App;
use crate::args::InfoArgs;
use crate::error::{CliError, Exit};
use crate::output::{Tree, typed_to_json};

/// Prints all sections, or one.
pub(super) async fn run(app: &mut App, args: &InfoArgs) -> Result<Exit, CliError> {
    let client = app.client().await?;
    let section = args.section.as_deref().unwrap_or_default();
    let info = client.info(section).await?;
    app.output.tree(&Tree(typed_to_json(&info)))?;
    Ok(Exit::Ok)
}
