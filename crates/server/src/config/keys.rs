//! The table of configuration keys: the one place that knows their names, kinds, defaults and words.
//!
//! Read by the loader, by `--print-config`, by the generator of `config/server.toml` and by the one
//! of `docs/configuration.md`. Does not own the checks between keys. Invariant: a key stands below
//! the section it belongs to, and its default is valid.

mod limits;
mod sections;
mod storage;

/// What a key takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A bare number.
    Count {
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
    },
    /// A size with its unit.
    Size {
        /// The least allowed, in bytes.
        min: u64,
        /// The most allowed, in bytes.
        max: u64,
    },
    /// A duration with its unit.
    Time {
        /// The least allowed, in milliseconds.
        min_ms: u64,
        /// The most allowed, in milliseconds.
        max_ms: u64,
    },
    /// Events per time.
    Rate,
    /// An IP address with a port.
    Address,
    /// The path of a file or directory.
    Path,
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any number of these words.
    Words(&'static [&'static str]),
    /// Any number of texts.
    Texts,
}

impl Kind {
    /// What to call it in a message.
    pub(super) const fn expected(self) -> &'static str {
        match self {
            Self::Bool => "true or false",
            Self::Count { .. } => "a whole number",
            Self::Size { .. } => "a size with its unit",
            Self::Time { .. } => "a duration with its unit",
            Self::Rate => "a rate: events per s, m or h",
            Self::Address => "an IP address with a port",
            Self::Path => "a path in quotes",
            Self::Text | Self::Word(_) => "a text in quotes",
            Self::Words(_) | Self::Texts => "a list of texts",
        }
    }

    /// How one is written.
    pub(super) fn example(self) -> String {
        match self {
            Self::Bool => "true".to_owned(),
            Self::Count { .. } => "64".to_owned(),
            Self::Size { .. } => "\"64KiB\", \"1MiB\" or \"2GiB\"".to_owned(),
            Self::Time { .. } => "\"250ms\", \"5s\" or \"1h\"".to_owned(),
            Self::Rate => "\"1000/s\" or \"600/m\"".to_owned(),
            Self::Address => "\"127.0.0.1:7777\" or \"[::1]:7777\"".to_owned(),
            Self::Path => "\"/etc/kv/file\"".to_owned(),
            Self::Text => "\"text\"".to_owned(),
            Self::Word(words) => words
                .first()
                .map_or_else(String::new, |word| format!("\"{word}\"")),
            Self::Words(words) => words
                .first()
                .map_or_else(String::new, |word| format!("[\"{word}\"]")),
            Self::Texts => "[\"one\", \"two\"]".to_owned(),
        }
    }
}

/// What holds when nobody sets a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Default {
    Bool(bool),
    Count(u64),
    /// A size, a duration, a word, a path.
    Text(&'static str),
    /// A list of words.
    Words(&'static [&'static str]),
    /// The key is absent, and the text (TOML) shows how it would be written.
    Absent(&'static str),
}

impl Default {
    /// As TOML; for an absent key the example.
    pub(super) fn toml(self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Count(value) => value.to_string(),
            Self::Text(value) => format!("\"{value}\""),
            Self::Words(words) => format!("{words:?}"),
            Self::Absent(example) => example.to_owned(),
        }
    }

    /// Whether the key has no value unless somebody gives it one.
    pub(super) const fn is_absent(self) -> bool {
        matches!(self, Self::Absent(_))
    }
}

/// One key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    /// Its last part.
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Default,
    /// What it does, for the reader of the sample file.
    pub(super) doc: &'static str,
}

const fn key(name: &'static str, kind: Kind, default: Default, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default,
        doc,
    }
}

/// A table of the file, or (when `repeated`) a list of tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    /// Its full name: `listeners.native`.
    pub(super) name: &'static str,
    /// Whether it is written `[[name]]`, any number of times.
    pub(super) repeated: bool,
    /// What it is about.
    pub(super) doc: &'static str,
    pub(super) keys: &'static [Key],
}

/// Every section, in the order of the sample file.
pub(super) const SECTIONS: &[Section] = &[
    sections::NATIVE,
    sections::ADMIN_LISTENER,
    sections::ADMIN,
    sections::PROTOCOL,
    sections::TLS,
    sections::AUTH,
    sections::AUTH_KEYS,
    sections::AUTH_CERTIFICATES,
    limits::LIMITS,
    sections::RATE_LIMITS,
    storage::STORAGE,
    sections::SHUTDOWN,
    sections::LOG,
    sections::RUNTIME,
    sections::METRICS,
];

/// The section and key of a path such as `limits.max_frame_bytes` or `auth.keys.0.id`.
pub(super) fn find(path: &str) -> Option<(&'static Section, &'static Key)> {
    let (table, name) = path.rsplit_once('.')?;
    let section = find_section(table)?;
    section
        .keys
        .iter()
        .find(|key| key.name == name)
        .map(|key| (section, key))
}

/// The section of a table path such as `limits` or `auth.keys.0`.
pub(super) fn find_section(table: &str) -> Option<&'static Section> {
    let repeated = table
        .rsplit_once('.')
        .filter(|(_, last)| last.parse::<u16>().is_ok());
    SECTIONS.iter().find(|section| match repeated {
        Some((name, _)) => section.repeated && section.name == name,
        None => !section.repeated && section.name == table,
    })
}

/// Whether a table of this path may stand in the file, also as the parent of a section.
pub(super) fn is_table(path: &str) -> bool {
    find_section(path).is_some()
        || SECTIONS.iter().any(|section| {
            section
                .name
                .strip_prefix(path)
                .is_some_and(|rest| rest.starts_with('.'))
        })
}

/// The words that may follow `table` (empty for the top), for suggestions.
pub(super) fn children(table: &str) -> Vec<&'static str> {
    let mut words: Vec<&'static str> = find_section(table)
        .map(|s| s.keys.iter().map(|k| k.name).collect())
        .unwrap_or_default();
    for section in SECTIONS {
        let below = if table.is_empty() {
            Some(section.name)
        } else {
            section
                .name
                .strip_prefix(table)
                .and_then(|rest| rest.strip_prefix('.'))
        };
        words.extend(below.and_then(|below| below.split('.').next()));
    }
    words.sort_unstable();
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_snake_case() {
        let mut seen = std::collections::HashSet::new();
        for section in SECTIONS {
            for key in section.keys {
                assert!(
                    seen.insert((section.name, key.name)),
                    "{}.{}",
                    section.name,
                    key.name
                );
                assert!(
                    key.name
                        .chars()
                        .all(|c| c.is_ascii_lowercase() || c == '_' || c.is_ascii_digit())
                );
                assert!(
                    !key.doc.is_empty() && key.doc.ends_with('.'),
                    "{}",
                    key.name
                );
            }
        }
    }

    #[test]
    fn paths_find_their_keys_also_in_lists() {
        assert_eq!(
            find("limits.max_frame_bytes").unwrap().1.name,
            "max_frame_bytes"
        );
        assert_eq!(find("auth.keys.3.id").unwrap().0.name, "auth.keys");
        for path in [
            "auth.keys.id",
            "limits.0.max_frame_bytes",
            "limits",
            "x.y",
            "auth.keys.a.id",
        ] {
            assert!(find(path).is_none(), "{path}");
        }
        assert!(is_table("listeners") && is_table("auth") && !is_table("listen"));
        assert!(children("").contains(&"listeners"));
        assert_eq!(children("listeners"), ["admin", "native"]);
    }
}
