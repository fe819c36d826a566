//! What standard output and standard error can show: terminal or not, colours, width.

use std::ffi::OsString;
use std::io::{self, IsTerminal};

/// What the streams of this process are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about streams, each asked for alone"
)]
pub(crate) struct Terminal {
    /// Standard input is a terminal: questions may be asked.
    pub(crate) stdin_is_terminal: bool,
    /// Standard output is a terminal.
    pub(crate) stdout_is_terminal: bool,
    /// Standard output takes colours.
    pub(crate) stdout_colour: bool,
    /// Standard error takes colours.
    pub(crate) stderr_colour: bool,
    /// Columns of the terminal.
    pub(crate) width: Option<u16>,
}

impl Terminal {
    /// Looks at the process.
    pub(crate) fn of_process() -> Self {
        let stdout_is_terminal = io::stdout().is_terminal();
        let colour = |is_terminal| {
            colours(
                is_terminal,
                std::env::var_os("NO_COLOR"),
                std::env::var_os("CLICOLOR_FORCE"),
                std::env::var_os("TERM"),
            )
        };
        Self {
            stdin_is_terminal: io::stdin().is_terminal(),
            stdout_is_terminal,
            stdout_colour: colour(stdout_is_terminal),
            stderr_colour: colour(io::stderr().is_terminal()),
            width: stdout_is_terminal
                .then(terminal_size::terminal_size)
                .flatten()
                .map(|(width, _)| width.0),
        }
    }

    /// No terminal anywhere.
    #[cfg(test)]
    pub(crate) const fn none() -> Self {
        Self {
            stdin_is_terminal: false,
            stdout_is_terminal: false,
            stdout_colour: false,
            stderr_colour: false,
            width: None,
        }
    }
}

/// `NO_COLOR` (not empty) turns colours off, else `CLICOLOR_FORCE` (neither empty nor 0) turns them
/// on, else a terminal that is not dumb has them.
fn colours(
    is_terminal: bool,
    no_color: Option<OsString>,
    force: Option<OsString>,
    term: Option<OsString>,
) -> bool {
    if no_color.is_some_and(|value| !value.is_empty()) {
        return false;
    }
    if force.is_some_and(|value| !value.is_empty() && value != "0") {
        return true;
    }
    is_terminal && term.is_none_or(|term| term != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_two_variables_and_then_the_terminal() {
        let some = |text: &str| Some(OsString::from(text));
        assert!(colours(true, None, None, some("xterm")));
        assert!(!colours(false, None, None, some("xterm")));
        assert!(!colours(true, None, None, some("dumb")));
        assert!(!colours(true, some("1"), None, None));
        assert!(colours(true, some(""), None, None));
        assert!(colours(false, None, some("1"), None));
        assert!(!colours(false, None, some("0"), None));
        assert!(!colours(true, some("1"), some("1"), None));
    }
}
