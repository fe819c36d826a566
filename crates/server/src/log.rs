//! Logs: human lines on a terminal, JSON lines elsewhere, on standard error.
//!
//! Owns format and filter. Does not own what is logged. Invariant: keys and values of entries are
//! never logged, nor are secrets.

use std::io::{self, IsTerminal};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::{Log, LogFormat};

/// What is known about where lines go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// A terminal that shows colour.
    Colour,
    /// A terminal of somebody who wants none.
    Plain,
    /// A file, a pipe, a journal.
    Other,
}

impl Output {
    fn of_stderr() -> Self {
        // The convention: any non-empty value means no colour.
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        match (io::stderr().is_terminal(), no_colour) {
            (true, false) => Self::Colour,
            (true, true) => Self::Plain,
            (false, _) => Self::Other,
        }
    }
}

/// Why logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LogError {
    /// The filter is none; the configuration check refuses it earlier.
    #[error("log.level: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody set logs up before.
    #[error(transparent)]
    Twice(#[from] tracing::subscriber::SetGlobalDefaultError),
}

/// Starts logging for the whole process. Call it once.
///
/// # Errors
/// [`LogError`] when the filter is bad or logging was started before.
pub(crate) fn init(log: &Log) -> Result<(), LogError> {
    let subscriber = subscriber(log, Output::of_stderr(), io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)?;
    Ok(())
}

fn subscriber<W>(
    log: &Log,
    output: Output,
    writer: W,
) -> Result<Box<dyn Subscriber + Send + Sync>, LogError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_new(&log.level)?)
        // A line that cannot be written would be reported on stderr, which panics when it is closed:
        // whoever read the log has gone, and the server must not go with it.
        .log_internal_errors(false)
        .with_writer(writer);
    let human = match log.format {
        LogFormat::Human => true,
        LogFormat::Json => false,
        LogFormat::Auto => output != Output::Other,
    };
    Ok(if human {
        Box::new(builder.with_ansi(output == Output::Colour).finish())
    } else {
        // Flat: a field of an event stands where a reader of `jq .conn_id` looks for it.
        Box::new(
            builder
                .json()
                .flatten_event(true)
                .with_span_list(false)
                .finish(),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use std::sync::Arc;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, level: &str, output: Output) -> String {
        let log = Log {
            format,
            level: level.to_owned(),
        };
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = subscriber(&log, output, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(target: "kv_server", conn_id = 7, peer = "a\nb\u{1b}[31m", "hello");
            tracing::debug!("hidden");
        });
        String::from_utf8(lines.0.lock().clone()).unwrap()
    }

    #[test]
    fn lines_are_json_when_nobody_looks() {
        let text = logged(LogFormat::Auto, "info", Output::Other);
        assert_eq!(text.lines().count(), 1, "{text}");
        for part in [
            "\"level\":\"INFO\"",
            "\"message\":\"hello\"",
            "\"conn_id\":7",
            "\"target\":\"kv_server\"",
            "\"peer\":\"a\\nb\\u001b[31m\"",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let (_, rest) = text.split_once("\"timestamp\":\"").unwrap();
        let (timestamp, _) = rest.split_once('"').unwrap();
        assert_eq!(
            (timestamp.len(), timestamp.ends_with('Z')),
            (27, true),
            "{timestamp}"
        );
    }

    #[test]
    fn a_terminal_gets_colour_unless_it_is_unwanted() {
        assert!(logged(LogFormat::Auto, "info", Output::Colour).contains("\u{1b}[32m"));
        let plain = logged(LogFormat::Auto, "info", Output::Plain);
        assert!(
            plain.contains("hello") && !plain.contains("\u{1b}[32m"),
            "{plain}"
        );
        assert!(!logged(LogFormat::Human, "info", Output::Other).starts_with('{'));
        assert!(logged(LogFormat::Json, "info", Output::Colour).starts_with('{'));
    }

    #[test]
    fn what_peers_send_cannot_forge_lines() {
        let plain = logged(LogFormat::Human, "info", Output::Plain);
        assert_eq!(plain.lines().count(), 1, "{plain:?}");
        assert!(!plain.contains('\u{1b}'), "{plain:?}");
    }

    #[test]
    fn the_level_decides() {
        assert!(logged(LogFormat::Json, "debug", Output::Other).contains("hidden"));
        assert_eq!(logged(LogFormat::Json, "error", Output::Other), "");
    }
}
