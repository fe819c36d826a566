//! Complaints of the argument parser, in the form of all other failures.

use super::CliError;

impl CliError {
    /// The complaint; `program` is what usage lines begin with, nothing at the prompt.
    pub(crate) fn of_parser(error: &clap::Error, program: &str) -> Self {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        let mut paragraphs = text.split("\n\n");
        let first = paragraphs.next().unwrap_or_default();
        let sentence: Vec<&str> = first.lines().map(str::trim).collect();
        let mut hints: Vec<String> = paragraphs
            .flat_map(str::lines)
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with("For more information"))
            // The whole program's usage says nothing of what was wrong.
            .filter(|line| !line.ends_with("[OPTIONS] [COMMAND]"))
            .map(|line| line.strip_prefix("tip: ").unwrap_or(line).to_owned())
            .collect();
        for hint in &mut hints {
            *hint = hint.replace("kv-cli ", program).replace("Usage:", "usage:");
        }
        if hints.is_empty() {
            hints.push(if program.is_empty() {
                "\\help lists the commands".to_owned()
            } else {
                format!("{program}--help")
            });
        }
        Self::usage(sentence.join(" ").trim_end()).hint(hints.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::table;

    fn complaint(words: &[&str]) -> CliError {
        let all = std::iter::once(&"kv-cli").chain(words);
        let error = table().try_get_matches_from(all).unwrap_err();
        CliError::of_parser(&error, "kv-cli ")
    }

    #[test]
    fn the_sentence_says_what_and_the_hint_says_how() {
        let error = complaint(&["ttl"]);
        assert_eq!(
            error.message(),
            "the following required arguments were not provided: <KEY>..."
        );
        assert_eq!(error.hint_text(), Some("usage: kv-cli ttl <KEY>..."));
        let error = complaint(&["gett", "a"]);
        assert_eq!(error.message(), "unrecognized subcommand 'gett'");
        assert!(error.hint_text().unwrap().contains("'get'"));
        let error = complaint(&["set", "a", "b", "--ttl", "5"]);
        assert!(error.message().contains("a duration has a unit"));
        assert_eq!(error.hint_text(), Some("kv-cli --help"));
    }
}
