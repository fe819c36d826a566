//! The command line.
//!
//! Owns flags and help. Every flag that changes behaviour sets a key of the configuration, so that
//! `--print-config --sources` shows it. Invariant: the short help fits a terminal of 24 rows.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args as ClapArgs, CommandFactory, Parser, Subcommand};

use crate::config::{FlagSetting, PrintSources, Sources};
use crate::exit::Exit;
use crate::verify::ReportFormat;
use crate::version::{COMMIT, FEATURES, RUSTC, TARGET, VERSION};

const EXAMPLES: &str = "\
Examples:
  kv-server                                    loopback, port 7777, key made at first start
  kv-server -c /etc/kv/server.toml             with a file
  kv-server --address 127.0.0.1:9000 -v        another port, more log
  kv-server --engine memory                    a cache: nothing outlives the process
  KVCFG__LIMITS__MAX_CONNECTIONS=100 kv-server every key can be set in the environment
  kv-server --print-default-config > kv.toml   a file to start from
  kv-server --check-config -c kv.toml          all its mistakes at once";

/// A key-value server that speaks its own multiplexed, authenticated protocol.
#[derive(Debug, Parser)]
#[command(
    name = "kv-server",
    version = VERSION,
    max_term_width = 100,
    disable_help_subcommand = true
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,

    /// Configuration file (TOML).
    #[arg(
        short,
        long,
        value_name = "FILE",
        env = "KV_CONFIG",
        hide_env = true,
        global = true
    )]
    config: Option<PathBuf>,
    /// Listen here instead.
    #[arg(long, value_name = "IP:PORT", global = true)]
    address: Option<String>,
    /// Keep entries in this directory.
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<String>,
    /// disk or memory.
    #[arg(long, value_name = "ENGINE")]
    engine: Option<String>,
    /// Set any key, e.g. limits.max_connections=100; lists with commas.
    #[arg(long = "set", value_name = "KEY=VALUE", global = true)]
    settings: Vec<String>,

    /// Open a data directory that has lost acknowledged writes, without them.
    #[arg(long, hide_short_help = true)]
    accept_data_loss: bool,

    #[command(flatten)]
    log: LogArgs,
    #[command(flatten)]
    inspect: InspectArgs,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Log")]
struct LogArgs {
    /// More log, -q for less; twice for everything.
    #[arg(short, long, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Less log; twice for errors only.
    #[arg(short, long, action = ArgAction::Count, hide_short_help = true)]
    quiet: u8,
    /// auto, human or json.
    #[arg(long, value_name = "FORMAT", hide_short_help = true)]
    log_format: Option<String>,
    /// off, error, warn, info, debug, trace or a filter.
    #[arg(
        long,
        value_name = "LEVEL",
        conflicts_with_all = ["verbose", "quiet"],
        hide_short_help = true
    )]
    log_level: Option<String>,
}

#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Configuration")]
struct InspectArgs {
    /// Check the configuration and exit.
    #[arg(long, group = "inspect")]
    check_config: bool,
    /// Print the configuration in force and exit.
    #[arg(long, group = "inspect")]
    print_config: bool,
    /// With --print-config: where each value comes from.
    #[arg(long, requires = "print_config", hide_short_help = true)]
    sources: bool,
    /// Print the commented default file and exit.
    #[arg(long, group = "inspect")]
    print_default_config: bool,
    /// Print the tables of docs/configuration.md and exit.
    #[arg(long, group = "inspect", hide = true)]
    print_config_reference: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask a running server whether it is ready: exit code 0 or 1.
    Healthcheck {
        /// How long to wait for the answer, in milliseconds.
        #[arg(long, value_name = "MS", default_value_t = 2000, value_parser = clap::value_parser!(u64).range(1..=60_000))]
        timeout_ms: u64,
    },
    /// Check the data directory of a server that is stopped: exit code 0 or 5.
    Verify {
        /// How the report looks.
        #[arg(long, value_name = "FORMAT", default_value = "human")]
        format: ReportFormat,
    },
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Serve.
    Serve,
    /// Check the configuration.
    CheckConfig,
    /// Print the configuration in force.
    PrintConfig(PrintSources),
    /// Print the sample file.
    PrintDefaultConfig,
    /// Print the reference page's tables.
    PrintConfigReference,
    /// Ask a running server whether it is ready.
    Healthcheck {
        /// How long to wait.
        timeout: Duration,
    },
    /// Check a data directory.
    Verify(ReportFormat),
}

/// What the command line asks for.
#[derive(Debug)]
pub struct Invocation {
    /// What to do.
    pub action: Action,
    /// Where the configuration comes from.
    pub sources: Sources,
}

impl Invocation {
    /// Reads the command line of the process. Wrong usage, `--help` and `--version` end the process
    /// with the code and the text they should have.
    #[must_use]
    pub fn from_process() -> Self {
        let command = command();
        let result = command.try_get_matches_from(std::env::args_os());
        let parsed = result.and_then(|matches| {
            let args = <Args as clap::FromArgMatches>::from_arg_matches(&matches)?;
            args.invocation(std::env::vars_os().collect())
        });
        parsed.unwrap_or_else(|error| error.exit())
    }

    /// Reads a command line; `environment` is the layer between file and flags.
    ///
    /// # Errors
    /// What clap says, which is also how it gives the texts of `--help` and `--version`.
    pub fn parse<I, T>(
        arguments: I,
        environment: Vec<(OsString, OsString)>,
    ) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let matches = command().try_get_matches_from(arguments)?;
        <Args as clap::FromArgMatches>::from_arg_matches(&matches)?.invocation(environment)
    }
}

/// The command with the texts that are put together from constants.
fn command() -> clap::Command {
    let mut after = String::from("Exit codes:\n");
    for (exit, words) in Exit::ALL {
        after.push_str(&format!("  {}  {words}\n", exit.code()));
    }
    after.push('\n');
    after.push_str(EXAMPLES);
    let version = format!(
        "{VERSION}\ncommit: {COMMIT}\ntarget: {TARGET}\nrustc: {RUSTC}\nfeatures: {FEATURES}"
    );
    Args::command().after_long_help(after).long_version(version)
}

impl Args {
    fn invocation(self, environment: Vec<(OsString, OsString)>) -> Result<Invocation, clap::Error> {
        let action = match &self.command {
            Some(Command::Healthcheck { timeout_ms }) => Action::Healthcheck {
                timeout: Duration::from_millis(*timeout_ms),
            },
            Some(Command::Verify { format }) => Action::Verify(*format),
            None => self.inspect.action(),
        };
        let flags = self.flags()?;
        Ok(Invocation {
            action,
            sources: Sources {
                file: self.config,
                environment,
                flags,
            },
        })
    }

    fn flags(&self) -> Result<Vec<FlagSetting>, clap::Error> {
        let mut flags = Vec::new();
        for setting in &self.settings {
            let (key, value) = setting.split_once('=').ok_or_else(|| {
                let message = format!("--set {setting}: write KEY=VALUE");
                command().error(clap::error::ErrorKind::ValueValidation, message)
            })?;
            flags.push(FlagSetting {
                flag: format!("--set {key}"),
                key: key.trim().to_owned(),
                value: value.to_owned(),
            });
        }
        let mut set = |flag: &str, key: &str, value: Option<&str>| {
            flags.extend(value.map(|value| FlagSetting {
                flag: flag.to_owned(),
                key: key.to_owned(),
                value: value.to_owned(),
            }));
        };
        set(
            "--address",
            "listeners.native.address",
            self.address.as_deref(),
        );
        set("--data-dir", "storage.data_dir", self.data_dir.as_deref());
        set("--engine", "storage.engine", self.engine.as_deref());
        set(
            "--accept-data-loss",
            "storage.accept_data_loss",
            self.accept_data_loss.then_some("true"),
        );
        set("--log-format", "log.format", self.log.log_format.as_deref());
        set("--log-level", "log.level", self.log.log_level.as_deref());
        set(
            "-v",
            "log.level",
            ["debug", "trace"].get(step(self.log.verbose)).copied(),
        );
        set(
            "-q",
            "log.level",
            ["warn", "error"].get(step(self.log.quiet)).copied(),
        );
        Ok(flags)
    }
}

/// The place in a list of two of a flag that was given so many times; beyond it when not at all.
fn step(times: u8) -> usize {
    match times {
        0 => usize::MAX,
        1 => 0,
        _ => 1,
    }
}

impl InspectArgs {
    const fn action(&self) -> Action {
        if self.check_config {
            Action::CheckConfig
        } else if self.print_config {
            Action::PrintConfig(if self.sources {
                PrintSources::Shown
            } else {
                PrintSources::Hidden
            })
        } else if self.print_default_config {
            Action::PrintDefaultConfig
        } else if self.print_config_reference {
            Action::PrintConfigReference
        } else {
            Action::Serve
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Invocation, clap::Error> {
        let arguments = std::iter::once("kv-server").chain(arguments.iter().copied());
        Invocation::parse(arguments, Vec::new())
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn nothing_means_serve_with_the_defaults() {
        let invocation = parsed(&[]).unwrap();
        assert_eq!(invocation.action, Action::Serve);
        assert!(invocation.sources.flags.is_empty());
    }

    #[test]
    fn flags_become_settings_with_their_names() {
        let invocation = parsed(&[
            "--address",
            "127.0.0.1:1",
            "-vv",
            "--set",
            "limits.max_fragments=7",
            "--engine",
            "disk",
            "--accept-data-loss",
            "-c",
            "f",
        ])
        .unwrap();
        let flags: Vec<_> = invocation
            .sources
            .flags
            .iter()
            .map(|f| (f.flag.as_str(), f.key.as_str(), f.value.as_str()))
            .collect();
        assert_eq!(
            flags,
            [
                ("--set limits.max_fragments", "limits.max_fragments", "7"),
                ("--address", "listeners.native.address", "127.0.0.1:1"),
                ("--engine", "storage.engine", "disk"),
                ("--accept-data-loss", "storage.accept_data_loss", "true"),
                ("-v", "log.level", "trace"),
            ]
        );
        assert_eq!(invocation.sources.file, Some("f".into()));
        for (flag, level) in [("-v", "debug"), ("-q", "warn"), ("-qqq", "error")] {
            assert_eq!(parsed(&[flag]).unwrap().sources.flags[0].value, level);
        }
    }

    #[test]
    fn actions_exclude_each_other() {
        let action = |arguments: &[&str]| parsed(arguments).map(|i| i.action);
        assert_eq!(action(&["--check-config"]).unwrap(), Action::CheckConfig);
        let shown = Action::PrintConfig(PrintSources::Shown);
        assert_eq!(action(&["--print-config", "--sources"]).unwrap(), shown);
        let timeout = Duration::from_millis(5);
        let healthcheck = action(&["healthcheck", "--timeout-ms", "5"]).unwrap();
        assert_eq!(healthcheck, Action::Healthcheck { timeout });
        let verify = action(&["verify", "--format", "json", "--data-dir", "d"]).unwrap();
        assert_eq!(verify, Action::Verify(ReportFormat::Json));
        for wrong in [
            &["--sources"][..],
            &["--check-config", "--print-config"],
            &["-v", "-q"],
            &["--nonsense"],
            &["--set", "no-equals"],
            &["healthcheck", "--timeout-ms", "0"],
            &["verify", "--format", "xml"],
        ] {
            let error = action(wrong).unwrap_err();
            assert_eq!(
                error.exit_code(),
                i32::from(Exit::Usage.code()),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn the_short_help_fits_a_small_terminal() {
        let help = parsed(&["-h"]).unwrap_err().to_string();
        assert!(
            help.lines().count() <= 24,
            "{} rows\n{help}",
            help.lines().count()
        );
        for flag in [
            "--config",
            "--address",
            "--data-dir",
            "--engine",
            "--set",
            "--verbose",
            "--check-config",
        ] {
            assert!(help.contains(flag), "{flag}\n{help}");
        }
    }

    #[test]
    fn the_long_help_has_exit_codes_and_examples() {
        let help = parsed(&["--help"]).unwrap_err().to_string();
        for (exit, words) in Exit::ALL {
            assert!(help.contains(&format!("  {}  {words}", exit.code())));
        }
        assert!(help.contains("Examples:"));
        let version = parsed(&["--version"]).unwrap_err().to_string();
        assert!(
            version.contains("commit:") && version.contains("target:"),
            "{version}"
        );
    }
}
