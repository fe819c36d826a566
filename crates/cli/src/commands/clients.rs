//! `clients`: the server's connections.

use crate::app::App;
use crate::args::{ClientsArgs, ClientsCommand};
use crate::error::{CliError, Code, Exit};
use crate::output::{Report, Tree, typed_to_json};

/// Lists them, or ends one.
pub(super) async fn run(app: &mut App, args: &ClientsArgs) -> Result<Exit, CliError> {
    let client = app.client().await?;
    let Some(ClientsCommand::Kill { id }) = args.command else {
        let clients = client.clients().await?;
        app.output.tree(&Tree(typed_to_json(&clients)))?;
        return Ok(Exit::Ok);
    };
    if !client.kill(id).await? {
        return Err(
            CliError::new(Code::NOT_FOUND, format!("there is no connection {id}"))
                .hint("`kv-cli clients` lists them"),
        );
    }
    let report = Report::new(format!("ended connection {id}"), id.to_string());
    app.output.report(&report.with("id", id))?;
    Ok(Exit::Ok)
}
