//! The fuzz target `config`: any text is a configuration, or a list of mistakes that can be shown.
//! A configuration that is printed and read again is the same one.

use std::path::Path;

use kv_server::config::{PrintSources, parse};

/// Checks one input; panics when something does not hold.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let path = Path::new("server.toml");
    match parse(path, text) {
        Ok(loaded) => {
            let printed = loaded.print(PrintSources::Hidden);
            let again = parse(path, &printed).map(|again| again.print(PrintSources::Hidden));
            assert!(
                again.as_ref().is_ok_and(|again| *again == printed),
                "printed:\n{printed}\nread again:\n{again:?}"
            );
            assert!(!loaded.print(PrintSources::Shown).is_empty());
        }
        Err(mistakes) => {
            assert!(!mistakes.all().is_empty(), "refused without a reason");
            assert!(mistakes.to_string().contains("error"));
        }
    }
}
