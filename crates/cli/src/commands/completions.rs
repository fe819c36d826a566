//! `completions`: the completion script of a shell.

use crate::args::{CompletionsArgs, table};
use crate::error::{CliError, Exit};
use crate::output::Output;

/// Writes the script to standard output.
pub(super) fn run(output: &mut Output, args: &CompletionsArgs) -> Result<Exit, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut table(), "kv-cli", &mut script);
    output.bytes(&script)?;
    Ok(Exit::Ok)
}
