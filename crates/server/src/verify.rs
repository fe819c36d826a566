//! `kv-server verify`: reads a whole data directory and says whether it is sound.
//!
//! Owns the words. Does not own the check (the store's), and changes nothing. What was found goes to
//! stdout, progress and errors to stderr.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use kv_store::VerifyReport;

use crate::config::{self, Config};
use crate::engine::{self, EngineError};
use crate::exit::Exit;

/// How the report looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// Lines for people.
    #[default]
    Human,
    /// One object.
    Json,
}

/// Time between two lines of progress, on a terminal and elsewhere.
const PROGRESS: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];

/// Checks the data directory of the configuration. Whether the configuration uses it does not matter:
/// it is there to be looked at.
pub(crate) fn verify(config: &Config, format: ReportFormat) -> Exit {
    let Some(directory) = engine::data_dir(&config.storage, |name| std::env::var_os(name)) else {
        tell(&format!("error: {}", EngineError::NoPlace));
        return Exit::Config;
    };
    let mut progress = Progress::new();
    let result = kv_store::verify(&directory, &mut |entries| progress.show(entries));
    progress.end();
    match result {
        Ok(report) => {
            let printed = print(&match format {
                ReportFormat::Human => human(&directory, &report),
                ReportFormat::Json => json(&directory, &report),
            });
            if report.problems.is_empty() {
                printed
            } else {
                Exit::Data
            }
        }
        Err(error) => {
            tell(&format!("error: {}", crate::program::words(&error)));
            engine::exit_of(&error)
        }
    }
}

fn human(directory: &Path, report: &VerifyReport) -> String {
    let VerifyReport {
        entries,
        segments,
        groups,
        records,
        torn_bytes,
        last,
        acknowledged,
        clean,
        problems,
    } = report;
    let verdict = if problems.is_empty() {
        "is sound"
    } else {
        "is damaged"
    };
    let closed = if *clean { "yes" } else { "no" };
    let mut text = format!(
        "{} {verdict}\n\
         entries in the ordered files    {entries}\n\
         writes only in the log          {records}, in {groups} groups\n\
         segments of the log             {segments}\n\
         unfinished bytes at its end     {torn_bytes}\n\
         last position                   {last}\n\
         acknowledged when last noted    {acknowledged}\n\
         closed in order                 {closed}\n",
        directory.display()
    );
    for problem in problems {
        text.push_str(&format!("problem: {problem}\n"));
    }
    text
}

fn json(directory: &Path, report: &VerifyReport) -> String {
    let VerifyReport {
        entries,
        segments,
        groups,
        records,
        torn_bytes,
        last,
        acknowledged,
        clean,
        problems,
    } = report;
    let data_dir = config::quoted(&directory.to_string_lossy());
    let sound = problems.is_empty();
    let problems: Vec<String> = problems.iter().map(|text| config::quoted(text)).collect();
    let problems = problems.join(",");
    format!(
        "{{\"data_dir\":{data_dir},\"sound\":{sound},\"entries\":{entries},\"records\":{records},\
         \"groups\":{groups},\"segments\":{segments},\"torn_bytes\":{torn_bytes},\"last\":{last},\
         \"acknowledged\":{acknowledged},\"clean\":{clean},\"problems\":[{problems}]}}\n"
    )
}

/// Data on stdout. A closed pipe is the reader's choice.
fn print(text: &str) -> Exit {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => Exit::Clean,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Clean,
        Err(_) => Exit::Failure,
    }
}

#[expect(clippy::print_stderr, reason = "a command for people and scripts")]
fn tell(text: &str) {
    eprintln!("{text}");
}

/// How far the check is: one line that changes on a terminal, a line now and then elsewhere.
struct Progress {
    began: Instant,
    shown: Instant,
    terminal: bool,
    open_line: bool,
}

impl Progress {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            shown: now,
            terminal: io::stderr().is_terminal(),
            open_line: false,
        }
    }

    fn show(&mut self, entries: u64) {
        let [quick, slow] = PROGRESS;
        let pause = if self.terminal { quick } else { slow };
        let now = Instant::now();
        if now.duration_since(self.shown) < pause {
            return;
        }
        self.shown = now;
        let seconds = now.duration_since(self.began).as_secs();
        let mut stderr = io::stderr().lock();
        // What is said on the way may be lost; the result is not.
        let _ = if self.terminal {
            self.open_line = true;
            write!(stderr, "\rchecked {entries} entries in {seconds} s")
        } else {
            writeln!(stderr, "checked {entries} entries in {seconds} s")
        };
    }

    fn end(&mut self) {
        if self.open_line {
            let _ = writeln!(io::stderr());
        }
    }
}
