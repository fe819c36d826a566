//! Finding the key of someone who named none: the environment, then the key that a server on this
//! machine has made for this account.

use std::path::PathBuf;
use std::{env, fs};

use kv_proto::Secret;
use kv_proto::limits::KEY_ID_BYTES_MAX;

use crate::error::Error;

/// A key id and its secret.
pub(crate) type Key = (Box<str>, Secret);

const DEV_ID: &str = "dev";

/// What the search depends on, read once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    pub(crate) key_file: Option<PathBuf>,
    pub(crate) key_id: Option<String>,
    pub(crate) state_dir: Option<PathBuf>,
}

impl Surroundings {
    pub(crate) fn of_process() -> Self {
        let path = |name| {
            env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        Self {
            key_file: path("KV_AUTH_KEY_FILE"),
            key_id: env::var("KV_AUTH_KEY_ID").ok().filter(|id| !id.is_empty()),
            state_dir: path("XDG_STATE_HOME")
                .or_else(|| path("HOME").map(|home| home.join(".local/state"))),
        }
    }
}

/// The key to use when the builder was given none. `id` is the one that the address names. The key
/// of a local server is looked for only if `local` holds, and may be missing; a file that was named
/// may not.
pub(crate) fn discover(
    surroundings: &Surroundings,
    id: Option<&str>,
    local: bool,
) -> Result<Option<Key>, Error> {
    let id = id.or(surroundings.key_id.as_deref());
    if let Some(file) = &surroundings.key_file {
        return read(id.unwrap_or(DEV_ID), file.clone())?
            .ok_or_else(|| Error::invalid("the file of KV_AUTH_KEY_FILE does not exist"))
            .map(Some);
    }
    if !local && id.is_none() {
        return Ok(None);
    }
    let wanted = id.unwrap_or(DEV_ID);
    let is_file_name = wanted
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && !wanted.starts_with('.');
    let (Some(state), true) = (&surroundings.state_dir, is_file_name) else {
        return Ok(None);
    };
    let found = read(wanted, state.join("kv").join(format!("{wanted}.key")))?;
    if found.is_none() && id.is_some() {
        return Err(Error::invalid(
            "there is no file with the key that was named",
        ));
    }
    Ok(found)
}

/// Reads a key file: one line of hex. `None`: there is no such file.
pub(crate) fn read(id: &str, path: PathBuf) -> Result<Option<Key>, Error> {
    let text = match fs::read_to_string(path) {
        Ok(text) => zeroize::Zeroizing::new(text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::connect(error)),
    };
    let secret = Secret::from_hex(&text)
        .ok_or_else(|| Error::invalid("a key file holds one line of hex digits"))?;
    check(id, &secret)?;
    Ok(Some((id.into(), secret)))
}

/// Refuses what a server would refuse.
pub(crate) fn check(id: &str, secret: &Secret) -> Result<(), Error> {
    if id.is_empty() || id.len() > KEY_ID_BYTES_MAX {
        return Err(Error::invalid("a key id has 1 to 64 bytes"));
    }
    if !secret.is_strong() {
        return Err(Error::invalid("a key has 32 bytes or more"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
