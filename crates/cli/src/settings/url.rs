//! `kv://[keyid@]host[:port]` and `kvs://`, its twin over TLS.

use std::fmt;
use std::str::FromStr;

use crate::error::CliError;

/// The native listener's port.
const PORT: u16 = 7777;

/// What carries the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    /// `kv://`
    Plain,
    /// `kvs://`
    Tls,
}

/// Where the server is. Never holds a secret: a URL ends up in histories and process lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerUrl {
    pub(crate) scheme: Scheme,
    pub(crate) key_id: Option<String>,
    /// Name or address; IPv6 without its brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Default for ServerUrl {
    fn default() -> Self {
        Self {
            scheme: Scheme::Plain,
            key_id: None,
            host: "127.0.0.1".to_owned(),
            port: PORT,
        }
    }
}

impl ServerUrl {
    /// Whether it is this machine.
    pub(crate) fn is_local(&self) -> bool {
        let address = self.host.parse::<std::net::IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// `host:port`, IPv6 in brackets.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Plain => "kv",
            Scheme::Tls => "kvs",
        };
        write!(f, "{scheme}://{}", self.authority())
    }
}

impl FromStr for ServerUrl {
    type Err = CliError;

    fn from_str(text: &str) -> Result<Self, CliError> {
        let wrong = |why: &str| {
            CliError::usage(format!(
                "`{}` is no address of a server",
                without_secret(text)
            ))
            .cause(why)
            .hint("kv://host:7777, or kvs://keyid@host:7777 over TLS")
        };
        let (scheme, rest) = match text.split_once("://") {
            Some(("kv", rest)) => (Scheme::Plain, rest),
            Some(("kvs", rest)) => (Scheme::Tls, rest),
            Some(_) => return Err(wrong("the scheme is kv or kvs")),
            None => (Scheme::Plain, text),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('/') {
            return Err(wrong("nothing may follow the port"));
        }
        let (key_id, place) = match rest.rsplit_once('@') {
            Some((id, _)) if id.contains(':') => {
                return Err(wrong("secrets do not belong into URLs: use --key-file"));
            }
            Some(("", _)) => return Err(wrong("the key id is empty")),
            Some((id, place)) => (Some(id.to_owned()), place),
            None => (None, rest),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest
                    .split_once(']')
                    .ok_or_else(|| wrong("`]` is missing"))?;
                (
                    host,
                    port.strip_prefix(':').or(port.is_empty().then_some("")),
                )
            }
            None => match place.split_once(':') {
                Some((_, port)) if port.contains(':') => {
                    return Err(wrong("an IPv6 address stands in brackets: kv://[::1]:7777"));
                }
                Some((host, port)) => (host, Some(port)),
                None => (place, Some("")),
            },
        };
        let port = match port {
            Some("") => PORT,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| wrong("the port is a number from 1 to 65535"))?,
            None => return Err(wrong("after `]` comes `:` and the port")),
        };
        if host.is_empty() || host.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(wrong("the host is missing"));
        }
        Ok(Self {
            scheme,
            key_id,
            host: host.to_owned(),
            port,
        })
    }
}

/// The text with what stands between `:` and `@` masked: somebody may have put a secret there.
fn without_secret(text: &str) -> String {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    match rest.rsplit_once('@') {
        Some((user, place)) if user.contains(':') => {
            let user = user.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}:***@{place}")
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_with_their_defaults() {
        for (text, shown, key_id) in [
            ("kv://db", "kv://db:7777", None),
            ("kvs://app1@db:1", "kvs://db:1", Some("app1")),
            ("kv://[::1]", "kv://[::1]:7777", None),
            ("kv://[::1]:80/", "kv://[::1]:80", None),
            ("kv://a@b@host", "kv://host:7777", Some("a@b")),
            ("localhost:7778", "kv://localhost:7778", None),
        ] {
            let url: ServerUrl = text.parse().unwrap();
            assert_eq!(url.to_string(), shown, "{text}");
            assert_eq!(url.key_id.as_deref(), key_id);
        }
        assert_eq!(
            "127.0.0.1".parse::<ServerUrl>().unwrap(),
            ServerUrl::default()
        );
    }

    #[test]
    fn what_is_no_url_is_refused_and_a_secret_in_it_is_not_repeated() {
        for text in [
            "http://db",
            "kv://",
            "kv://:7777",
            "kv://db:0",
            "kv://db:99999",
            "kv://db:x",
            "kv://::1",
            "kv://[::1",
            "kv://[::1]7",
            "kv://db/name",
            "kv://@db",
            "kv://user:hunter2@db",
        ] {
            let error = text.parse::<ServerUrl>().unwrap_err();
            assert!(!error.message().contains("hunter2"), "{text}");
        }
    }
}
