//! The prompt's own commands, which begin with a backslash.

use std::ffi::OsString;

use clap::ValueEnum;

use super::State;
use super::line::Done;
use crate::app::App;
use crate::args::table;
use crate::error::{CliError, Exit};
use crate::output::Format;

/// All of them, with their arguments and what they do.
pub(super) const TABLE: [(&str, &str, &str); 4] = [
    (
        "\\help",
        "[COMMAND]",
        "list the commands, or say more about one",
    ),
    (
        "\\format",
        "[human|json|jsonl|raw|table]",
        "show or change the form of the output",
    ),
    ("\\timing", "[on|off]", "show how long each command takes"),
    ("\\quit", "", "end; so does Ctrl-D"),
];

/// One of the prompt's own commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Meta {
    Help(Option<String>),
    Format(Option<Format>),
    Timing(Option<bool>),
    Quit,
}

impl Meta {
    /// Reads what stands behind the backslash.
    pub(super) fn parse(text: &str) -> Result<Self, CliError> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let argument = words.next();
        if words.next().is_some() {
            return Err(CliError::usage(format!(
                "\\{name} takes one argument at most"
            )));
        }
        match (name, argument) {
            ("help" | "h" | "?", argument) => Ok(Self::Help(argument.map(str::to_owned))),
            ("quit" | "q", None) => Ok(Self::Quit),
            ("timing", None) => Ok(Self::Timing(None)),
            ("timing", Some("on")) => Ok(Self::Timing(Some(true))),
            ("timing", Some("off")) => Ok(Self::Timing(Some(false))),
            ("timing", Some(_)) => Err(CliError::usage("\\timing is `on` or `off`")),
            ("format", None) => Ok(Self::Format(None)),
            ("format", Some(name)) => match <Format as ValueEnum>::from_str(name, true) {
                Ok(format) => Ok(Self::Format(Some(format))),
                Err(_) => Err(CliError::usage(
                    "\\format is one of human, json, jsonl, raw and table",
                )),
            },
            _ => Err(
                CliError::usage(format!("there is no \\{}", name.escape_debug()))
                    .hint("\\help lists what there is"),
            ),
        }
    }

    /// `help` as people type it, too.
    pub(super) fn help(about: Option<&OsString>) -> Self {
        Self::Help(about.map(|about| about.to_string_lossy().into_owned()))
    }

    /// Does it.
    pub(super) fn run(self, app: &mut App, state: &mut State) -> Result<Done, CliError> {
        match self {
            Self::Quit => return Ok(Done::Quit),
            Self::Help(about) => help(app, about.as_deref())?,
            Self::Timing(wanted) => {
                state.timing = wanted.unwrap_or(!state.timing);
                let now = if state.timing { "on" } else { "off" };
                app.output.message(&format!("timing is {now}"));
            }
            Self::Format(wanted) => {
                if let Some(format) = wanted {
                    app.output.format = format;
                }
                let name = app.output.format.to_possible_value();
                let name = name.as_ref().map_or("", |value| value.get_name());
                app.output.message(&format!("format is {name}"));
            }
        }
        Ok(Done::With(Exit::Ok))
    }
}

fn help(app: &mut App, about: Option<&str>) -> Result<(), CliError> {
    let mut all = table();
    all.build();
    if let Some(name) = about {
        let name = name.trim_start_matches('\\');
        let command = all.find_subcommand_mut(name).ok_or_else(|| {
            CliError::usage(format!("there is no command `{}`", name.escape_debug()))
                .hint("\\help lists the commands")
        })?;
        let mut command = command.clone().mut_args(|argument| {
            let is_global = argument.is_global_set();
            argument.hide(is_global)
        });
        let text = command.render_long_help().to_string();
        return app.output.bytes(text.replace("kv-cli ", "").as_bytes());
    }
    let commands = all
        .get_subcommands()
        .filter(|command| !matches!(command.get_name(), "repl" | "help"))
        .map(|command| {
            let about = command.get_about().map(ToString::to_string);
            (command.get_name().to_owned(), about.unwrap_or_default())
        });
    let own = TABLE.map(|(name, arguments, about)| {
        (
            format!("{name} {arguments}").trim_end().to_owned(),
            about.to_owned(),
        )
    });
    for (name, about) in commands {
        app.output.line(&format!("  {name:<13}{about}"))?;
    }
    app.output.line("")?;
    for (name, about) in own {
        app.output.line(&format!("  {name:<38}{about}"))?;
    }
    app.output.line(
        "\nWords with spaces stand in quotes; \"\\xNN\" is a byte. A line that begins with a space is not remembered.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompts_own_commands_are_read() {
        assert_eq!(Meta::parse("quit").unwrap(), Meta::Quit);
        assert_eq!(Meta::parse("timing on").unwrap(), Meta::Timing(Some(true)));
        assert_eq!(
            Meta::parse("format json").unwrap(),
            Meta::Format(Some(Format::Json))
        );
        assert_eq!(
            Meta::parse("help set").unwrap(),
            Meta::Help(Some("set".to_owned()))
        );
        for text in [
            "",
            "nothing",
            "format xml",
            "timing maybe",
            "quit now",
            "help a b",
        ] {
            assert!(Meta::parse(text).is_err(), "{text}");
        }
        for (name, _, _) in TABLE {
            assert!(Meta::parse(name.trim_start_matches('\\')).is_ok(), "{name}");
        }
    }
}
