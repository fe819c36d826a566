//! `keygen`: pre-shared keys and their fingerprints.

use std::path::Path;

use crate::args::KeygenArgs;
use crate::error::{CliError, Code, Exit};
use crate::files::{self, Access};
use crate::keyfile;
use crate::output::{Output, Report, hex};

/// Makes a key, or shows the fingerprint of one.
pub(super) fn run(output: &mut Output, args: &KeygenArgs) -> Result<Exit, CliError> {
    if let Some(path) = &args.fingerprint {
        return fingerprint(output, path);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| {
        CliError::new(Code::IO, "the system gives no random bytes").cause(error.to_string())
    })?;
    let digits = hex(&key);
    let print = keyfile::fingerprint(&key);
    match &args.out {
        Some(path) => to_file(output, path, &digits, &print),
        None => {
            let report = Report::new(digits.clone(), digits.clone());
            let report = report.with("key", digits).with("fingerprint", print);
            output.report(&report)?;
            Ok(Exit::Ok)
        }
    }
}

fn to_file(output: &mut Output, path: &Path, digits: &str, print: &str) -> Result<Exit, CliError> {
    let content = format!("{digits}\n");
    files::create_new(path, Access::Private, content.as_bytes()).map_err(|error| {
        let failure = CliError::file("make", path, &error);
        if error.kind() == std::io::ErrorKind::AlreadyExists {
            failure.hint("a key is never overwritten: choose another name, or remove it first")
        } else {
            failure
        }
    })?;
    if output.format.is_json() {
        let report = Report::new("", "").with("file", path.display().to_string());
        output.report(&report.with("fingerprint", print))?;
    } else {
        output.message(&format!("wrote {}, fingerprint {print}", path.display()));
    }
    Ok(Exit::Ok)
}

fn fingerprint(output: &mut Output, path: &Path) -> Result<Exit, CliError> {
    let print = keyfile::fingerprint(&keyfile::read(path)?);
    let report = Report::new(print.clone(), print.clone()).with("fingerprint", print);
    output.report(&report.with("file", path.display().to_string()))?;
    if keyfile::others_may_read(path) {
        let path = path.display();
        output.message(&format!(
            "warning: others may read {path}; chmod 600 {path}"
        ));
    }
    Ok(Exit::Ok)
}
