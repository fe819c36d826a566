//! The help text: commands in groups, examples, exit codes; and the version line.

use std::fmt::Write as _;

use clap::{CommandFactory, builder::StyledStr};

use super::Cli;
use crate::error::Exit;

/// Groups of commands, in the order of the help text. A test compares them with the real commands.
const GROUPS: [(&str, &[&str]); 4] = [
    (
        "Entries",
        &[
            "get", "set", "del", "exists", "ttl", "touch", "incr", "mget", "mset", "scan",
            "import", "export",
        ],
    ),
    (
        "Server",
        &[
            "ping", "info", "clients", "backup", "restore", "doctor", "bench",
        ],
    ),
    ("Set-up", &["keygen", "certs", "context", "completions"]),
    ("Prompt", &["repl"]),
];

const EXAMPLES: &str = "\
Examples:
  kv-cli set greeting hello
  kv-cli get greeting
  kv-cli -o jsonl scan user: --values
  kv-cli --url kvs://app1@db.example.org --key-file app1.key --ca ca.crt ping
  kv-cli doctor                           what is wrong, and the fix
  kv-cli                                  the prompt, on a terminal";

const TEMPLATE: &str = "\
{about-with-newline}
{usage-heading} {usage}

{before-help}{all-args}{after-help}";

/// The command table: what can be said, for completion and the prompt.
pub(crate) fn table() -> clap::Command {
    Cli::command()
}

/// The whole command line, with its help in groups.
pub(crate) fn command() -> clap::Command {
    let command = table();
    let short = groups_short();
    let long = groups_long(&command);
    // The groups list them; the parser's own list, in one piece, would only repeat them.
    command
        .mut_subcommands(|subcommand| subcommand.hide(true))
        .override_usage("kv-cli [OPTIONS] [COMMAND]")
        .help_template(TEMPLATE)
        .before_help(short)
        .before_long_help(long)
        .after_help(
            "kv-cli COMMAND --help says more; kv-cli --help lists all options and the exit codes.",
        )
        .after_long_help(format!("{EXAMPLES}\n\n{}", exit_codes()))
        .version(version())
        .long_version(version())
}

/// `0.1.0 (commit abc, features tls, target x86_64-...)`.
pub(crate) fn version() -> &'static str {
    concat!(
        env!("CARGO_PKG_VERSION"),
        " (commit ",
        env!("KV_BUILD_COMMIT"),
        ", features tls, target ",
        env!("KV_BUILD_TARGET"),
        ")"
    )
}

fn groups_short() -> StyledStr {
    let mut text = String::from("Commands:\n");
    for (group, names) in GROUPS {
        let _ = writeln!(text, "  {group:<8} {}", names.join(" "));
    }
    text.pop();
    text.into()
}

fn groups_long(command: &clap::Command) -> StyledStr {
    let mut text = String::new();
    for (group, names) in GROUPS {
        let _ = writeln!(text, "{group}:");
        for name in names {
            let about = command
                .find_subcommand(name)
                .and_then(clap::Command::get_about)
                .map(ToString::to_string)
                .unwrap_or_default();
            let _ = writeln!(text, "  {name:<13}{about}");
        }
        text.push('\n');
    }
    text.pop();
    text.pop();
    text.into()
}

fn exit_codes() -> String {
    let mut text = String::from("Exit codes:\n");
    for (exit, meaning) in Exit::TABLE {
        let _ = writeln!(text, "  {}  {meaning}", exit.number());
    }
    text.pop();
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn every_command_stands_in_exactly_one_group_of_the_help() {
        let grouped: Vec<&str> = GROUPS
            .iter()
            .flat_map(|(_, names)| *names)
            .copied()
            .collect();
        let command = command();
        let real: BTreeSet<&str> = command
            .get_subcommands()
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(grouped.iter().copied().collect::<BTreeSet<_>>(), real);
        assert_eq!(grouped.len(), real.len());
    }

    #[test]
    fn the_short_help_fits_a_small_terminal() {
        let help = command().render_help().to_string();
        assert!(help.lines().count() <= 24, "{help}");
    }

    #[test]
    fn the_long_help_documents_every_exit_code() {
        let help = command().render_long_help().to_string();
        for (exit, meaning) in Exit::TABLE {
            assert!(help.contains(&format!("  {}  {meaning}", exit.number())));
        }
    }
}
