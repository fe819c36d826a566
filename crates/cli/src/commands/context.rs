//! `context`: settings under names.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::app::App;
use crate::args::{ContextAddArgs, ContextNameArgs, Global};
use crate::contexts::{Context, Contexts};
use crate::error::{CliError, Code, Exit};
use crate::output::{Report, Reports};
use crate::settings::ServerUrl;

/// Stores the options of this command line.
pub(super) fn add(app: &mut App, args: ContextAddArgs) -> Result<Exit, CliError> {
    let (path, mut contexts) = load()?;
    check_name(&args.name)?;
    if contexts.contexts.contains_key(&args.name) && !args.force {
        return Err(
            CliError::new(Code::CONTEXT, format!("there is a context `{}`", args.name))
                .hint("--force replaces it"),
        );
    }
    let context = from_options(&app.global)?;
    contexts.contexts.insert(args.name.clone(), context);
    if contexts.contexts.len() == 1 {
        contexts.current = Some(args.name.clone());
    }
    contexts.save(&path)?;
    let use_it = if contexts.current.as_ref() == Some(&args.name) {
        "in use".to_owned()
    } else {
        format!("`kv-cli context use {}` to use it", args.name)
    };
    app.output
        .message(&format!("stored `{}`; {use_it}", args.name));
    Ok(Exit::Ok)
}

/// Lists all contexts.
pub(super) fn list(app: &mut App) -> Result<Exit, CliError> {
    let (_, contexts) = load()?;
    if contexts.contexts.is_empty() {
        app.output
            .message("no contexts; `kv-cli context add NAME --url URL` makes one");
    }
    let width = contexts.contexts.keys().map(String::len).max();
    let width = width.unwrap_or_default();
    let mut reports = Reports::of_a_list();
    for (name, context) in &contexts.contexts {
        let current = contexts.current.as_ref() == Some(name);
        let url = context.url.clone().unwrap_or_default();
        let mark = if current { '*' } else { ' ' };
        let human = format!("{mark} {name:<width$}  {url}");
        let report = Report::new(human.trim_end(), name.as_str())
            .with("name", name.as_str())
            .with("current", current)
            .with("url", url);
        reports.push(report.with("key_file", shown(context.key_file.as_deref())));
    }
    reports.write(&mut app.output)?;
    Ok(Exit::Ok)
}

/// Makes a context the current one.
pub(super) fn select(app: &mut App, args: &ContextNameArgs) -> Result<Exit, CliError> {
    let (path, mut contexts) = load()?;
    contexts.named(&args.name)?;
    contexts.current = Some(args.name.clone());
    contexts.save(&path)?;
    app.output.message(&format!("using `{}`", args.name));
    Ok(Exit::Ok)
}

/// Removes a context.
pub(super) fn remove(app: &mut App, args: &ContextNameArgs) -> Result<Exit, CliError> {
    let (path, mut contexts) = load()?;
    if contexts.contexts.remove(&args.name).is_none() {
        return Err(contexts.unknown(&args.name));
    }
    if contexts.current.as_ref() == Some(&args.name) {
        contexts.current = None;
    }
    contexts.save(&path)?;
    app.output.message(&format!("removed `{}`", args.name));
    Ok(Exit::Ok)
}

fn load() -> Result<(PathBuf, Contexts), CliError> {
    let path = Contexts::path()?;
    let contexts = Contexts::load(&path)?;
    Ok((path, contexts))
}

fn check_name(name: &str) -> Result<(), CliError> {
    let fine = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if name.is_empty() || !name.chars().all(fine) {
        return Err(CliError::usage(format!(
            "`{}` is no name for a context: letters, digits, `-`, `_` and `.` only",
            name.escape_debug()
        )));
    }
    Ok(())
}

fn from_options(global: &Global) -> Result<Context, CliError> {
    let (server, identity) = (&global.server, &global.identity);
    if let Some(url) = &server.url {
        url.parse::<ServerUrl>()?;
    } else {
        return Err(CliError::usage("a context has the address of a server")
            .hint("kv-cli context add NAME --url kv://host:7777"));
    }
    let absolute = |path: &Option<PathBuf>| path.as_deref().map(absolute).transpose();
    Ok(Context {
        url: server.url.clone(),
        key_file: absolute(&identity.key_file)?,
        key_id: identity.key_id.clone(),
        ca: absolute(&server.ca)?,
        cert: absolute(&identity.cert)?,
        cert_key: absolute(&identity.cert_key)?,
        server_name: server.server_name.clone(),
        suite: server
            .suite
            .and_then(|suite| suite.to_possible_value())
            .map(|value| value.get_name().to_owned()),
        timeout: server.timeout.map(|timeout| timeout.to_string()),
    })
}

fn absolute(path: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(path).map_err(|error| CliError::file("find", path, &error))
}

fn shown(path: Option<&Path>) -> Option<String> {
    path.map(|path| path.display().to_string())
}
