//! Arguments of the commands that read and write entries.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::value::Duration;

/// One key or more.
#[derive(Args, Debug)]
pub(crate) struct KeysArgs {
    /// The keys
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<OsString>,
}

/// Arguments of `get`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  kv-cli get greeting
  kv-cli get photo > photo.jpg            exact bytes: no newline is added
  kv-cli -o json get greeting             with version and time to live
  kv-cli --key-format hex get 00ff10")]
pub(crate) struct GetArgs {
    /// The keys
    #[arg(required = true, value_name = "KEY")]
    pub(crate) keys: Vec<OsString>,
    /// The values are typed values: print them as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `set`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  kv-cli set greeting hello
  kv-cli set session:17 - --ttl 30m < token     the value from standard input
  kv-cli set photo --file photo.jpg
  kv-cli set lock me --if-absent                exit code 1 when it is taken
  kv-cli set stock 41 --if-version 7            exit code 7 when it has another version
  kv-cli set user:1 --json '{\"name\": \"Ada\"}'")]
pub(crate) struct SetArgs {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: OsString,
    /// The value; `-` reads it from standard input
    #[arg(
        value_name = "VALUE",
        required_unless_present = "file",
        conflicts_with = "file",
        allow_hyphen_values = true
    )]
    pub(crate) value: Option<OsString>,
    /// Read the value from this file
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// The entry expires after this long
    #[arg(long, value_name = "DURATION")]
    pub(crate) ttl: Option<Duration>,
    /// Print the value that was there before
    #[arg(long)]
    pub(crate) get: bool,
    /// The value is JSON: store it as a typed value
    #[arg(long)]
    pub(crate) json: bool,
    /// When to store it; last, as its heading is for all that follows.
    #[command(flatten)]
    pub(crate) condition: Condition,
}

/// When a write takes effect.
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = false)]
#[command(next_help_heading = "Condition")]
pub(crate) struct Condition {
    /// Only if there is no such entry
    #[arg(long)]
    pub(crate) if_absent: bool,
    /// Only if there is such an entry
    #[arg(long)]
    pub(crate) if_present: bool,
    /// Only if the entry has this version
    #[arg(long, value_name = "VERSION", value_parser = clap::value_parser!(u64).range(1..u64::MAX))]
    pub(crate) if_version: Option<u64>,
    /// Only if the entry has this value (one more round trip)
    #[arg(long, value_name = "VALUE", allow_hyphen_values = true)]
    pub(crate) if_value: Option<OsString>,
}

/// Arguments of `del`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  kv-cli del greeting                     exit code 1 when it did not exist
  kv-cli del --prefix session: --yes")]
pub(crate) struct DelArgs {
    /// The keys
    #[arg(
        value_name = "KEY",
        required_unless_present = "prefix",
        conflicts_with = "prefix"
    )]
    pub(crate) keys: Vec<OsString>,
    /// Delete every entry whose key begins with this
    #[arg(long, value_name = "PREFIX")]
    pub(crate) prefix: Option<OsString>,
    /// Do not ask (with --prefix)
    #[arg(long, short = 'y', requires = "prefix")]
    pub(crate) yes: bool,
    /// Only if the entry has this version
    #[arg(long, value_name = "VERSION", conflicts_with = "prefix",
        value_parser = clap::value_parser!(u64).range(1..u64::MAX))]
    pub(crate) if_version: Option<u64>,
}

/// Arguments of `touch`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  kv-cli touch session:17 --ttl 30m
  kv-cli touch session:17 --persist       never expires")]
pub(crate) struct TouchArgs {
    /// The key
    #[arg(value_name = "KEY")]
    pub(crate) key: OsString,
    /// The entry expires after this long
    #[arg(long, value_name = "DURATION", required_unless_present = "persist")]
    pub(crate) ttl: Option<Duration>,
    /// The entry never expires
    #[arg(long, conflicts_with = "ttl")]
    pub(crate) persist: bool,
}

/// Arguments of `incr`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  kv-cli incr visits
  kv-cli incr stock -5
  kv-cli incr attempts:ada --ttl 10m")]
pub(crate) struct IncrArgs {
    /// The key; an absent entry counts as 0
    #[arg(value_name = "KEY")]
    pub(crate) key: OsString,
    /// How much to add
    #[arg(
        value_name = "DELTA",
        default_value_t = 1,
        allow_negative_numbers = true
    )]
    pub(crate) delta: i64,
    /// The entry expires after this long
    #[arg(long, value_name = "DURATION")]
    pub(crate) ttl: Option<Duration>,
}

/// Arguments of `mset`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  kv-cli mset color red size 7
  kv-cli mset --atomic from:balance 10 to:balance 90")]
pub(crate) struct MsetArgs {
    /// Keys and their values in turn
    #[arg(required = true, num_args = 2.., value_names = ["KEY", "VALUE"], allow_negative_numbers = true)]
    pub(crate) pairs: Vec<OsString>,
    /// All of them or none
    #[arg(long)]
    pub(crate) atomic: bool,
}

/// Arguments of `scan`.
#[derive(Args, Debug)]
#[command(after_long_help = "\
Examples:
  kv-cli scan                             every key
  kv-cli scan user: --limit 20 --values
  kv-cli -o jsonl scan user: --values | jq .value
  kv-cli scan --null tmp: | xargs -0 kv-cli del")]
pub(crate) struct ScanArgs {
    /// Only keys that begin with this
    #[arg(value_name = "PREFIX")]
    pub(crate) prefix: Option<OsString>,
    /// At most this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) limit: Option<u32>,
    /// Print values, too
    #[arg(long)]
    pub(crate) values: bool,
    /// From the last key to the first
    #[arg(long)]
    pub(crate) reverse: bool,
    /// Go on behind this key
    #[arg(long, value_name = "KEY")]
    pub(crate) after: Option<OsString>,
    /// End each item with a zero byte, not a line (raw output)
    #[arg(long, short = '0')]
    pub(crate) null: bool,
}
