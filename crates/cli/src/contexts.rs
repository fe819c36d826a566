//! Named settings: `contexts.toml` in the configuration directory.
//!
//! Holds paths of keys, never keys. Invariant: the file is private to the user and replaced whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{CliError, Code};
use crate::files::{self, Access};

/// What a context says; whatever is absent has its usual default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Context {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cert_key: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) suite: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<String>,
}

/// All contexts of this user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// Name of the one that is used when none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// The contexts by name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, Context>,
}

impl Contexts {
    /// Where they are kept.
    pub(crate) fn path() -> Result<PathBuf, CliError> {
        Ok(files::config_dir()?.join("contexts.toml"))
    }

    /// Those of a file; none when there is no file.
    pub(crate) fn load(path: &Path) -> Result<Self, CliError> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(CliError::file("read", path, &error)),
        };
        toml::from_str(&text).map_err(|error| {
            CliError::new(
                Code::CONTEXT,
                format!("{} cannot be understood", path.display()),
            )
            .cause(error.to_string())
        })
    }

    /// Those of this user; none where there is no home directory to keep them in.
    pub(crate) fn of_user() -> Result<Self, CliError> {
        Self::path().map_or_else(|_| Ok(Self::default()), |path| Self::load(&path))
    }

    /// Writes them.
    pub(crate) fn save(&self, path: &Path) -> Result<(), CliError> {
        if let Some(parent) = path.parent() {
            files::create_private_dir(parent)?;
        }
        let text = toml::to_string(self).map_err(|error| {
            CliError::new(Code::CONTEXT, "the contexts cannot be written").cause(error.to_string())
        })?;
        files::replace(path, Access::Private, text.as_bytes())
            .map_err(|error| CliError::file("write", path, &error))
    }

    /// The context of this name.
    pub(crate) fn named(&self, name: &str) -> Result<&Context, CliError> {
        self.contexts.get(name).ok_or_else(|| self.unknown(name))
    }

    /// There is no context of this name; the hint lists those that are there.
    pub(crate) fn unknown(&self, name: &str) -> CliError {
        let names: Vec<&str> = self.contexts.keys().map(String::as_str).collect();
        let hint = if names.is_empty() {
            "there are none so far: `kv-cli context add NAME --url URL`".to_owned()
        } else {
            format!("there are: {}", names.join(", "))
        };
        CliError::new(Code::CONTEXT, format!("there is no context `{name}`")).hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_come_back_as_they_were_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kv/contexts.toml");
        assert_eq!(Contexts::load(&path).unwrap(), Contexts::default());
        let mut contexts = Contexts {
            current: Some("prod".to_owned()),
            ..Contexts::default()
        };
        let context = Context {
            url: Some("kvs://db".to_owned()),
            key_file: Some("/k".into()),
            ..Context::default()
        };
        contexts.contexts.insert("prod".to_owned(), context);
        contexts.save(&path).unwrap();
        contexts.save(&path).unwrap();
        assert_eq!(Contexts::load(&path).unwrap(), contexts);
        assert!(contexts.named("prod").is_ok());
        assert!(
            contexts
                .named("test")
                .unwrap_err()
                .hint_text()
                .unwrap()
                .contains("prod")
        );
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("contexts.toml");
        fs::write(&path, "[contexts.a]\nulr = \"kv://x\"\n").unwrap();
        let error = Contexts::load(&path).unwrap_err();
        assert_eq!(error.code(), Code::CONTEXT);
        assert!(error.cause_text().unwrap().contains("ulr"));
    }
}
