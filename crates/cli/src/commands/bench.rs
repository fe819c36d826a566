//! `bench`: the load generator, `kv-bench`, as a command.
//!
//! Owns how the settings of this program reach it. Invariant: load is put on a running server only when
//! this very command line names it; a context in use or a variable is not enough, as measuring writes.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs as _};

use clap::{CommandFactory as _, FromArgMatches as _};
use kv_bench::{Arguments, Running};

use crate::app::App;
use crate::args::{BenchArgs, Suite};
use crate::error::{CliError, Code, Exit};
use crate::files;
use crate::settings::{Scheme, Settings};

const NAME: &str = "kv-cli bench";

/// Measures. Not inside of a runtime: what it measures with has its own.
pub(crate) fn run(app: &mut App, args: &BenchArgs) -> Result<Exit, CliError> {
    let words = std::iter::once(OsString::from(NAME)).chain(args.arguments.iter().cloned());
    let matches = Arguments::command()
        .name(NAME)
        .bin_name(NAME)
        .version(env!("CARGO_PKG_VERSION"))
        .try_get_matches_from(words);
    let parsed = matches.and_then(|matches| Arguments::from_arg_matches(&matches));
    let mut arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) if !error.use_stderr() => {
            // A closed pipe is the only way to fail, and is quiet.
            let _ = error.print();
            return Ok(Exit::Ok);
        }
        Err(error) => return Err(CliError::of_parser(&error, "kv-cli ")),
    };
    if app.global.server.url.is_some() || app.global.server.context.is_some() {
        let running = running(app.settings()?)?;
        if !arguments.measure_running(running) {
            return Err(
                CliError::usage("a server is named, and these arguments start their own")
                    .hint("`kv-cli --url URL bench run` measures a server that is running"),
            );
        }
    }
    match kv_bench::execute(&arguments) {
        Ok(()) => Ok(Exit::Ok),
        Err(error) => {
            let cause = error.chain().skip(1).map(ToString::to_string);
            let cause = cause.collect::<Vec<_>>().join(": ");
            let failed = CliError::new(Code::BENCH, error.to_string());
            Err(if cause.is_empty() {
                failed
            } else {
                failed.cause(cause)
            })
        }
    }
}

/// The server that the settings name, as the generator wants it.
fn running(settings: &Settings) -> Result<Running, CliError> {
    if settings.cert.is_some() || settings.server_name.is_some() {
        return Err(CliError::usage(
            "`bench` shows no client certificate, and takes no name but localhost",
        ));
    }
    let mut key_file = settings.key_file.clone();
    if let (None, Some(id)) = (&key_file, &settings.key_id) {
        key_file = Some(files::state_dir()?.join(format!("{id}.key")));
    }
    Ok(Running {
        address: address(settings)?,
        key_id: settings.key_id.clone(),
        key_file,
        ca: settings.ca.clone(),
        tls: settings.url.scheme == Scheme::Tls,
        suite: settings.suite.map(|suite| match suite {
            Suite::Checksum => 0,
            Suite::Hmac => 1,
            Suite::Encrypted => 2,
        }),
    })
}

/// The first address, one of this machine before others.
fn address(settings: &Settings) -> Result<SocketAddr, CliError> {
    let url = &settings.url;
    let found = (url.host.as_str(), url.port).to_socket_addrs();
    let found = found.map_err(|error| {
        CliError::new(Code::DNS, format!("there is no address for {}", url.host))
            .cause(error.to_string())
    })?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(|address| !address.ip().is_loopback());
    addresses
        .first()
        .copied()
        .ok_or_else(|| CliError::new(Code::DNS, format!("there is no address for {}", url.host)))
}
