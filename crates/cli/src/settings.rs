//! Which server, as whom: from options, variables and contexts to one set of settings.
//!
//! Owns the order: an option wins; a context named by option wins over variables; variables win over
//! the current context; what nobody says has a default. Does not own connecting.

mod url;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration as StdDuration;

use clap::ValueEnum;

use crate::args::{Duration, Global, Suite};
use crate::contexts::{Context, Contexts};
use crate::error::{CliError, Code};

pub(crate) use url::{Scheme, ServerUrl};

/// How long a connection or a request may take when nobody says.
const TIMEOUT: StdDuration = StdDuration::from_secs(5);

/// Everything that is needed to connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) url: ServerUrl,
    pub(crate) timeout: StdDuration,
    /// `None`: the one that the server made at its first start, if there is one.
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) key_id: Option<String>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) cert_key: Option<PathBuf>,
    pub(crate) server_name: Option<String>,
    pub(crate) suite: Option<Suite>,
}

/// The variables that count.
#[derive(Clone, Debug, Default)]
pub(crate) struct Environment {
    pub(crate) url: Option<OsString>,
    pub(crate) key_file: Option<OsString>,
    pub(crate) key_id: Option<OsString>,
}

impl Environment {
    /// Those of the process; empty ones count as absent.
    pub(crate) fn of_process() -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            url: variable("KV_URL"),
            key_file: variable("KV_AUTH_KEY_FILE"),
            key_id: variable("KV_AUTH_KEY_ID"),
        }
    }
}

impl Settings {
    /// Settings of this process.
    pub(crate) fn of_process(global: &Global) -> Result<Self, CliError> {
        Self::resolve(global, &Environment::of_process(), &Contexts::of_user()?)
    }

    /// Puts the sources together.
    pub(crate) fn resolve(
        global: &Global,
        environment: &Environment,
        contexts: &Contexts,
    ) -> Result<Self, CliError> {
        let (server, identity) = (&global.server, &global.identity);
        let named = server.context.as_deref().map(|name| contexts.named(name));
        let named = named.transpose()?;
        // A server that was named in any other way has nothing to do with the current context.
        let elsewhere = server.url.is_some() || environment.url.is_some();
        let current = match (&contexts.current, named, elsewhere) {
            (Some(name), None, false) => Some(contexts.named(name)?),
            _ => None,
        };
        let none = Context::default();
        let (before, after) = (named.unwrap_or(&none), current.unwrap_or(&none));

        let url = match (&server.url, &before.url, &environment.url, &after.url) {
            (Some(url), ..) | (None, Some(url), ..) | (None, None, None, Some(url)) => {
                url.parse()?
            }
            (None, None, Some(url), _) => text("KV_URL", url)?.parse()?,
            (None, None, None, None) => ServerUrl::default(),
        };
        let variable = environment.key_id.as_ref();
        let variable = variable.map(|id| text("KV_AUTH_KEY_ID", id)).transpose()?;
        let key_id = [&identity.key_id, &url.key_id, &before.key_id]
            .into_iter()
            .find_map(Clone::clone);
        let key_id = key_id
            .or_else(|| variable.map(str::to_owned))
            .or_else(|| after.key_id.clone());
        let key_file = identity
            .key_file
            .clone()
            .or_else(|| before.key_file.clone());
        let key_file = key_file
            .or_else(|| environment.key_file.as_ref().map(PathBuf::from))
            .or_else(|| after.key_file.clone());
        // The variables say nothing of the rest.
        let context = named.or(current).unwrap_or(&none);
        let timeout = match (server.timeout, &context.timeout) {
            (Some(timeout), _) => timeout.0,
            (None, Some(text)) => text.parse::<Duration>().map_err(in_context("timeout"))?.0,
            (None, None) => TIMEOUT,
        };
        let suite = match (server.suite, &context.suite) {
            (None, Some(name)) => Some(Suite::from_str(name, true).map_err(in_context("suite"))?),
            (suite, _) => suite,
        };
        let path = |option: &Option<PathBuf>, context: &Option<PathBuf>| {
            option.clone().or_else(|| context.clone())
        };
        let settings = Self {
            timeout,
            key_file,
            key_id,
            ca: path(&server.ca, &context.ca),
            cert: path(&identity.cert, &context.cert),
            cert_key: path(&identity.cert_key, &context.cert_key),
            server_name: server
                .server_name
                .clone()
                .or_else(|| context.server_name.clone()),
            suite,
            url,
        };
        settings.check()?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), CliError> {
        if self.cert.is_some() != self.cert_key.is_some() {
            return Err(CliError::usage(
                "--cert and --cert-key belong together: a certificate and its private key",
            ));
        }
        if self.url.scheme == Scheme::Plain {
            let tls = [
                ("--ca", self.ca.is_some()),
                ("--cert", self.cert.is_some()),
                ("--server-name", self.server_name.is_some()),
            ];
            if let Some((option, _)) = tls.iter().find(|(_, given)| *given) {
                return Err(CliError::usage(format!(
                    "{option} is about TLS, and {} is without it",
                    self.url
                ))
                .hint(format!(
                    "kvs://{} is the same server over TLS",
                    self.url.authority()
                )));
            }
        }
        Ok(())
    }
}

fn text<'a>(name: &str, value: &'a OsString) -> Result<&'a str, CliError> {
    value
        .to_str()
        .ok_or_else(|| CliError::usage(format!("the value of {name} is not UTF-8")))
}

fn in_context<E: ToString>(name: &'static str) -> impl Fn(E) -> CliError {
    move |error| {
        CliError::new(Code::CONTEXT, format!("`{name}` of the context is wrong"))
            .cause(error.to_string())
    }
}

#[cfg(test)]
mod tests;
