//! Arguments of the commands that move many entries: to files, from files.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `import`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Each line is one JSON object:
  {\"key\", \"key_encoding\", \"value\", \"encoding\", \"ttl_ms\", \"content_type\"}
`key` and `value` are all that is needed; `encoding` is utf8, base64 or json.

Examples:
  kv-cli export > entries.jsonl && kv-cli --url kv://other import entries.jsonl
  zcat entries.jsonl.gz | kv-cli import - --if-absent
  kv-cli import entries.jsonl --resume entries.progress   goes on where it was ended
  kv-cli import entries.jsonl --on-error skip 2> bad-lines")]
pub(crate) struct ImportArgs {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Leave entries alone that exist
    #[arg(long)]
    pub(crate) if_absent: bool,
    /// What to do about a line that cannot be used
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    pub(crate) on_error: OnError,
    /// Begin with this line; the first is 1
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "resume",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) from_line: u64,
    /// How it is done.
    #[command(flatten)]
    pub(crate) pace: Pace,
}

/// What to do about input that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OnError {
    /// End at the first one
    Stop,
    /// Name each, and go on
    Skip,
}

/// How many entries are sent at once, and where it is kept how far it got.
#[derive(Args, Clone, Debug)]
pub(crate) struct Pace {
    /// Keep in this file how far it got, and go on from there
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,
    /// At most so many entries wait for their answers
    #[arg(long, value_name = "N", default_value_t = 256,
        value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) window: u32,
}

/// Arguments of `export`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Entries are read page by page while the server goes on: each is as it was when its page was read.
`kv-cli backup` takes all of them at one moment.

Examples:
  kv-cli export > entries.jsonl
  kv-cli export user: users.jsonl")]
pub(crate) struct ExportArgs {
    /// Only keys that begin with this
    #[arg(value_name = "PREFIX")]
    pub(crate) prefix: Option<OsString>,
    /// The file, which is put in place when it is whole; `-` is standard output
    #[arg(value_name = "FILE", default_value = "-")]
    pub(crate) file: PathBuf,
}

/// Arguments of `backup`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Needs the permission `admin`. The server goes on serving; all entries are of one moment.

Examples:
  kv-cli backup store.kvb
  kv-cli backup - | ssh backup@example.org 'cat > store.kvb'")]
pub(crate) struct BackupArgs {
    /// The file, which is put in place when it is whole; `-` is standard output
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

/// Arguments of `restore`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
A file is checked from its beginning to its end before anything is written. Entries get new
versions; they expire when they would have expired.

Examples:
  kv-cli restore store.kvb                into an empty server
  kv-cli restore store.kvb --merge        only what is not there
  kv-cli restore store.kvb --check        only checks the file")]
pub(crate) struct RestoreArgs {
    /// The file; `-` is standard input
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The server may have entries: those of the backup replace them
    #[arg(long, conflicts_with = "merge")]
    pub(crate) overwrite: bool,
    /// The server may have entries: they stay as they are
    #[arg(long)]
    pub(crate) merge: bool,
    /// Check the file, and write nothing
    #[arg(long, conflicts_with_all = ["overwrite", "merge", "resume"])]
    pub(crate) check: bool,
    /// How it is done.
    #[command(flatten)]
    pub(crate) pace: Pace,
}
