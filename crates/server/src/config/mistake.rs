//! Mistakes in a configuration: what is wrong, where, and what to do about it.
//!
//! Owns the wording and the layout of messages. Does not own the checks. Invariant: every mistake
//! says its key and its place, and none shows the contents of a secret file.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kv_service::{InvalidName, KEYS_PER_IDENTITY_MAX};

use super::secret_file::SecretFileError;

/// A place in a configuration file, with the line for the reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The file.
    pub path: Arc<Path>,
    /// Counted from 1.
    pub line: usize,
    /// Counted from 1, in characters.
    pub column: usize,
    /// The whole line.
    text: String,
    /// How many characters are meant.
    width: usize,
}

impl Spot {
    /// The place of the bytes `span` in `source`, the text of the file `path`.
    pub(super) fn new(path: &Arc<Path>, source: &str, span: Range<usize>) -> Self {
        let start = span.start.min(source.len());
        let before = source.get(..start).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let rest = source.get(line_start..).unwrap_or_default();
        let text = rest.lines().next().unwrap_or_default();
        let chars = |range: Range<usize>| source.get(range).map_or(0, |part| part.chars().count());
        let end = span.end.min(line_start + text.len()).max(start);
        Self {
            path: Arc::clone(path),
            line: before.matches('\n').count() + 1,
            column: chars(line_start..start) + 1,
            text: text.to_owned(),
            width: chars(start..end).max(1),
        }
    }
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nobody set it.
    Default,
    /// A configuration file.
    File(Spot),
    /// An environment variable.
    Environment(String),
    /// A flag, as the user wrote it.
    Flag(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(spot) => {
                write!(f, "{}:{}:{}", spot.path.display(), spot.line, spot.column)
            }
            Self::Environment(name) => write!(f, "the environment variable {name}"),
            Self::Flag(name) => write!(f, "the flag {name}"),
        }
    }
}

/// One mistake.
#[derive(Debug)]
pub struct Mistake {
    /// The key as the user may write it: `limits.max_frame_bytes`.
    pub key: String,
    /// What is wrong with it.
    pub kind: MistakeKind,
    /// Where it was set.
    pub place: Place,
}

/// What may be wrong with a key.
#[derive(Debug, thiserror::Error)]
pub enum MistakeKind {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is no TOML.
    #[error("{message}")]
    Syntax {
        /// The parser's words.
        message: String,
    },
    /// No such key or table.
    #[error("unknown key `{word}`")]
    UnknownKey {
        /// The part that is not known.
        word: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// A value of another type.
    #[error("must be {expected}, found {found}")]
    WrongType {
        /// What the key takes.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
        /// How to write it.
        example: String,
    },
    /// The right type, and not readable as what it stands for.
    #[error("must be {expected}")]
    Malformed {
        /// What the key takes.
        expected: &'static str,
        /// How to write it.
        example: String,
    },
    /// Readable, and too small or too large.
    #[error("must be between {min} and {max}")]
    OutOfRange {
        /// The least allowed.
        min: String,
        /// The most allowed.
        max: String,
    },
    /// None of the words allowed here.
    #[error("cannot be `{found}`")]
    UnknownChoice {
        /// What stands there.
        found: String,
        /// What could.
        choices: &'static [&'static str],
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
    /// A value this version knows of and cannot serve.
    #[error("cannot be \"{value}\": that is not yet available in this version")]
    NotYet {
        /// The value.
        value: String,
        /// What to use instead.
        instead: &'static str,
    },
    /// Another key makes this one necessary.
    #[error("is missing: {because}")]
    Missing {
        /// What makes it necessary.
        because: &'static str,
    },
    /// Two keys that contradict each other.
    #[error("contradicts `{other}`: {rule}")]
    Contradiction {
        /// The other key.
        other: &'static str,
        /// What must hold.
        rule: &'static str,
    },
    /// An open door.
    #[error(
        "is not a loopback address, and nothing says who may connect: neither a key nor \
         TLS client certificates are configured"
    )]
    Exposed,
    /// Neither a name nor a key id.
    #[error("is no name: {0}")]
    Name(InvalidName),
    /// Two entries with the same name.
    #[error("names `{name}` a second time")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// An entry of a list whose predecessors do not exist.
    #[error("leaves a gap: the next entry of [[{section}]] is number {next}")]
    Gap {
        /// The list.
        section: &'static str,
        /// The number of the next entry.
        next: usize,
    },
    /// One identity has too many keys.
    #[error(
        "is one too many: the identity `{identity}` has more than {KEYS_PER_IDENTITY_MAX} keys"
    )]
    TooManyKeys {
        /// Which identity.
        identity: String,
    },
    /// A key that no section defines.
    #[error("names no key: no [[auth.keys]] entry has the id `{id}`")]
    NoSuchKey {
        /// The id.
        id: String,
    },
    /// A secret file that cannot be used.
    #[error("cannot be used: {0}")]
    Secret(SecretFileError),
}

impl MistakeKind {
    /// What to do about it.
    fn help(&self) -> Option<String> {
        Some(match self {
            Self::UnknownKey { suggestion, .. } => {
                format!("did you mean `{}`?", suggestion.as_ref()?)
            }
            Self::WrongType { example, .. } | Self::Malformed { example, .. } => {
                format!("write {example}")
            }
            Self::UnknownChoice {
                suggestion: Some(word),
                ..
            } => format!("did you mean `{word}`?"),
            Self::UnknownChoice { choices, .. } => format!("one of {}", choices.join(", ")),
            Self::NotYet { instead, .. } => format!("use {instead}"),
            Self::Exposed => "add an [[auth.keys]] entry, or set `tls.client_ca_file` with \
                              `tls.client_auth = \"required\"`, or use 127.0.0.1"
                .to_owned(),
            Self::Secret(error) => error.help()?.to_owned(),
            Self::NoSuchKey { .. } => "add it as an [[auth.keys]] entry".to_owned(),
            Self::Unreadable { .. }
            | Self::Syntax { .. }
            | Self::OutOfRange { .. }
            | Self::Missing { .. }
            | Self::Contradiction { .. }
            | Self::Name(_)
            | Self::Duplicate { .. }
            | Self::Gap { .. }
            | Self::TooManyKeys { .. } => return None,
        })
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match &self.kind {
            kind @ (MistakeKind::Unreadable { .. }
            | MistakeKind::Syntax { .. }
            | MistakeKind::UnknownKey { .. }) => kind.to_string(),
            kind => format!("`{}` {kind}", self.key),
        };
        render(f, "error", &what, &self.place, self.kind.help().as_deref())
    }
}

impl std::error::Error for Mistake {}

/// Writes one message with its place, its line and its help, as rustc would.
fn render(
    f: &mut fmt::Formatter<'_>,
    severity: &str,
    what: &str,
    place: &Place,
    help: Option<&str>,
) -> fmt::Result {
    match place {
        Place::Default => writeln!(f, "{severity}: {what}")?,
        Place::File(_) | Place::Environment(_) | Place::Flag(_) => {
            writeln!(f, "{severity}: {what} in {place}")?;
        }
    }
    let Place::File(spot) = place else {
        return help.map_or(Ok(()), |help| writeln!(f, "  = {help}"));
    };
    let number = spot.line.to_string();
    // Tabs stay tabs, so that the mark stands below what it means on every terminal.
    let indent: String = spot
        .text
        .chars()
        .take(spot.column - 1)
        .map(|c| if c == '\t' { c } else { ' ' })
        .collect();
    writeln!(f, "  {number} | {}", spot.text)?;
    let marks = "^".repeat(spot.width);
    writeln!(
        f,
        "  {:width$} | {indent}{marks} {}",
        "",
        help.unwrap_or(""),
        width = number.len()
    )
}

/// All mistakes of a configuration, in the order of its text.
#[derive(Debug, Default)]
pub struct Mistakes(pub(super) Vec<Mistake>);

impl Mistakes {
    /// Each mistake.
    #[must_use]
    pub fn all(&self) -> &[Mistake] {
        &self.0
    }

    /// Sorts by place: files by position, then environment, then flags.
    pub(super) fn sort(&mut self) {
        self.0.sort_by_key(|mistake| match &mistake.place {
            Place::File(spot) => (0, spot.line, spot.column, String::new()),
            Place::Environment(name) => (1, 0, 0, name.clone()),
            Place::Flag(name) => (2, 0, 0, name.clone()),
            Place::Default => (3, 0, 0, mistake.key.clone()),
        });
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for mistake in &self.0 {
            write!(f, "{mistake}")?;
        }
        match self.0.len() {
            1 => f.write_str("the configuration is not used: 1 mistake"),
            count => write!(f, "the configuration is not used: {count} mistakes"),
        }
    }
}

impl std::error::Error for Mistakes {}

/// Something that works and that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// Others can read a key file.
    #[error("the key file {} can be read by others than its owner (mode {mode:04o})", path.display())]
    LooseKeyFile {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Version 1 cannot stop a capture from being replayed on a new connection.
    #[error("protocol.v1 is on: version 1 frames can be replayed on a new connection")]
    Version1,
    /// Frames without authentication.
    #[error("protocol.suites offers `checksum`: such sessions are not authenticated")]
    ChecksumOffered,
    /// Requests travel readable.
    #[error("listeners.native.address is not a loopback address and listeners.native.tls is off")]
    PlainOnNetwork,
    /// Peers that prove nothing may do something.
    #[error("auth.anonymous lets peers without a key: {granted}")]
    Anonymous {
        /// What they may.
        granted: kv_service::Permissions,
    },
    /// Figures and health for everybody.
    #[error("listeners.admin.address is not a loopback address and has no authentication")]
    AdminOnNetwork,
    /// Certificates without a listener that shows them.
    #[error("[tls] is configured and listeners.native.tls is off: the certificates are not used")]
    UnusedTls,
    /// A key for an engine that is not there.
    #[error("{key} is set and storage.engine is `memory`, which has no use for it")]
    UnusedWithMemory {
        /// Which.
        key: &'static str,
    },
    /// A power cut loses acknowledged writes.
    #[error(
        "storage.durability is `interval`: a power cut or a crash of the system loses up to {} of \
         acknowledged writes",
        super::value::format_duration(*every)
    )]
    DurabilityInterval {
        /// How much time.
        every: std::time::Duration,
    },
    /// A power cut loses acknowledged writes.
    #[error(
        "storage.durability is `os`: a power cut or a crash of the system loses acknowledged writes, \
         often those of the last half minute"
    )]
    DurabilityOs,
    /// A store that has lost something is opened without a word otherwise.
    #[error(
        "storage.accept_data_loss is on: a data directory that has lost acknowledged writes will be \
         opened without them; take it out again after this start"
    )]
    AcceptsDataLoss,
}
