//! Completion, hints and colours of the prompt, all from the command table.

use std::borrow::Cow;

use clap::Command;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{CompletionType, Config, Context, Editor, Helper};

use super::{meta, words};
use crate::args::table;

/// The editor of the prompt's lines.
pub(super) type LineEditor = Editor<Assistant, FileHistory>;

/// An editor with the assistant at its side.
pub(super) fn editor(colour: bool) -> rustyline::Result<LineEditor> {
    let config = Config::builder()
        .auto_add_history(false)
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor = Editor::with_config(config)?;
    editor.set_helper(Some(Assistant::new(colour)));
    Ok(editor)
}

/// Assists with the line that is being typed.
pub(super) struct Assistant {
    commands: Command,
    colour: bool,
}

impl Assistant {
    /// Over the command table.
    fn new(colour: bool) -> Self {
        let mut commands = table();
        commands.build();
        Self { commands, colour }
    }

    /// The command whose arguments are being typed, and what was typed of its words; sub-commands count.
    fn at<'a>(&'a self, typed: &[&str]) -> Option<(&'a Command, usize)> {
        let (first, rest) = typed.split_first()?;
        let command = self.commands.find_subcommand(first)?;
        let deeper = rest.first().and_then(|name| command.find_subcommand(name));
        Some(deeper.map_or((command, 1), |command| (command, 2)))
    }

    /// All words that may stand where `typed` ends.
    fn candidates(&self, typed: &[&str], partial: &str) -> Vec<String> {
        if partial.starts_with('\\') && typed.is_empty() {
            return meta::TABLE
                .iter()
                .map(|(name, _, _)| (*name).to_owned())
                .collect();
        }
        match typed {
            [] => names(&self.commands),
            ["\\format"] => ["human", "json", "jsonl", "raw", "table"]
                .map(str::to_owned)
                .to_vec(),
            ["\\timing"] => ["on", "off"].map(str::to_owned).to_vec(),
            ["\\help" | "help"] => names(&self.commands),
            _ => match self.at(typed) {
                None => Vec::new(),
                Some((command, _)) if partial.starts_with('-') => options(command),
                Some((command, depth)) if typed.len() == depth => names(command),
                Some(_) => Vec::new(),
            },
        }
    }
}

fn names(command: &Command) -> Vec<String> {
    command
        .get_subcommands()
        .map(|command| command.get_name().to_owned())
        .filter(|name| !matches!(name.as_str(), "help" | "repl"))
        .collect()
}

fn options(command: &Command) -> Vec<String> {
    command
        .get_arguments()
        .filter(|argument| !argument.is_global_set() || argument.get_id() == "format")
        .filter_map(|argument| argument.get_long())
        .map(|name| format!("--{name}"))
        .collect()
}

/// The words of a line that are complete, and the one that is being typed.
fn parts(line: &str) -> (Vec<&str>, &str) {
    let partial = line.rsplit(char::is_whitespace).next().unwrap_or_default();
    let complete = line.strip_suffix(partial).unwrap_or_default();
    (complete.split_whitespace().collect(), partial)
}

/// What may follow a command: its arguments and own options, as `KEY VALUE [--ttl DURATION]`.
fn usage(command: &Command) -> String {
    let mut parts: Vec<String> = Vec::new();
    for argument in command.get_positionals() {
        let names = argument.get_value_names().unwrap_or_default();
        let name = names.join(" ");
        let many = argument
            .get_num_args()
            .is_some_and(|range| range.max_values() > names.len().max(1));
        let name = if many { format!("{name}...") } else { name };
        parts.push(if argument.is_required_set() {
            name
        } else {
            format!("[{name}]")
        });
    }
    let mut subcommands = names(command);
    if !subcommands.is_empty() {
        subcommands.sort_unstable();
        parts.push(subcommands.join("|"));
    }
    for argument in command.get_arguments() {
        let (Some(long), false) = (argument.get_long(), argument.is_global_set()) else {
            continue;
        };
        if matches!(long, "help" | "version") {
            continue;
        }
        let takes_value = argument.get_action().takes_values();
        let value = argument.get_value_names().and_then(|names| names.first());
        match value.filter(|_| takes_value) {
            Some(value) => parts.push(format!("[--{long} {value}]")),
            None => parts.push(format!("[--{long}]")),
        }
    }
    parts.join(" ")
}

impl Completer for Assistant {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _context: &Context<'_>,
    ) -> Result<(usize, Vec<Pair>), ReadlineError> {
        let line = line.get(..position).unwrap_or(line);
        let (typed, partial) = parts(line);
        let fitting = self
            .candidates(&typed, partial)
            .into_iter()
            .filter(|candidate| candidate.starts_with(partial))
            .map(|candidate| Pair {
                replacement: format!("{candidate} "),
                display: candidate,
            })
            .collect();
        Ok((line.len() - partial.len(), fitting))
    }
}

impl Hinter for Assistant {
    type Hint = String;

    fn hint(&self, line: &str, position: usize, _context: &Context<'_>) -> Option<String> {
        if position < line.len() || line.is_empty() {
            return None;
        }
        let (typed, partial) = parts(line);
        if typed.is_empty() {
            let candidates = self.candidates(&typed, partial);
            let mut fitting = candidates
                .iter()
                .filter_map(|name| name.strip_prefix(partial));
            return match (fitting.next(), fitting.next()) {
                (Some(rest), None) if !rest.is_empty() => Some(rest.to_owned()),
                _ => None,
            };
        }
        if let [name] = typed.as_slice()
            && let Some((_, arguments, _)) = meta::TABLE.iter().find(|(own, _, _)| own == name)
        {
            return partial.is_empty().then(|| (*arguments).to_owned());
        }
        let (command, depth) = self.at(&typed)?;
        (typed.len() == depth && partial.is_empty()).then(|| usage(command))
    }
}

impl Highlighter for Assistant {
    fn highlight_hint<'h>(&self, hint: &'h str) -> Cow<'h, str> {
        if self.colour {
            Cow::Owned(format!("\x1b[2m{hint}\x1b[0m"))
        } else {
            Cow::Borrowed(hint)
        }
    }

    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(
        &'s self,
        prompt: &'p str,
        _default: bool,
    ) -> Cow<'b, str> {
        if self.colour {
            Cow::Owned(format!("\x1b[1;32m{prompt}\x1b[0m"))
        } else {
            Cow::Borrowed(prompt)
        }
    }
}

impl Validator for Assistant {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        let line = context.input();
        if !line.trim_start().starts_with(['\\', '#']) && words::is_open(line) {
            Ok(ValidationResult::Incomplete)
        } else {
            Ok(ValidationResult::Valid(None))
        }
    }
}

impl Helper for Assistant {}

#[cfg(test)]
mod tests {
    use super::*;
    use rustyline::history::DefaultHistory;

    fn completed(line: &str) -> Vec<String> {
        let history = DefaultHistory::new();
        let assistant = Assistant::new(false);
        let (_, pairs) = assistant
            .complete(line, line.len(), &Context::new(&history))
            .unwrap();
        pairs.into_iter().map(|pair| pair.display).collect()
    }

    fn hinted(line: &str) -> Option<String> {
        let history = DefaultHistory::new();
        Assistant::new(false).hint(line, line.len(), &Context::new(&history))
    }

    #[test]
    fn commands_sub_commands_and_options_are_completed() {
        assert_eq!(completed("sc"), ["scan"]);
        assert_eq!(completed("\\t"), ["\\timing"]);
        assert_eq!(completed("\\format j"), ["json", "jsonl"]);
        assert_eq!(completed("context r"), ["rm"]);
        assert_eq!(completed("set k v --if-p"), ["--if-present"]);
        assert_eq!(completed("get k"), Vec::<String>::new());
        assert!(!completed("").contains(&"repl".to_owned()));
    }

    #[test]
    fn the_hint_says_what_comes_next() {
        assert_eq!(hinted("inf").as_deref(), Some("o"));
        assert_eq!(hinted("s"), None);
        let hint = hinted("set ").unwrap();
        assert!(
            hint.starts_with("KEY [VALUE] [--file FILE] [--ttl DURATION]"),
            "{hint}"
        );
        assert_eq!(hinted("get ").unwrap(), "KEY... [--json]");
        assert_eq!(hinted("\\timing ").as_deref(), Some("[on|off]"));
        assert_eq!(hinted("set k"), None);
    }
}
