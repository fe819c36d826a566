//! Where to connect to: `host:port`, `kv://[keyid@]host[:port]` or, with TLS, `kvs://...`.

use std::net::IpAddr;

use crate::error::Error;

/// The port of the native protocol.
const PORT_DEFAULT: u16 = 7777;

/// A parsed address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    pub(crate) key_id: Option<Box<str>>,
    /// Whether the scheme asks for TLS.
    pub(crate) tls: bool,
}

impl Address {
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let (tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("kv", rest)) => (false, rest),
            Some(("kvs", rest)) => (true, rest),
            Some(_) => return Err(Error::invalid("an address has the scheme kv:// or kvs://")),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (key_id, place) = match rest.rsplit_once('@') {
            Some((id, place)) => (Some(id), place),
            None => (None, rest),
        };
        if key_id.is_some_and(|id| id.is_empty() || id.contains(':')) {
            return Err(Error::invalid(
                "an address names a key id, and never a secret",
            ));
        }
        let (host, port) = split_port(place)?;
        if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
            return Err(Error::invalid("an address is host:port"));
        }
        Ok(Self {
            host: host.into(),
            port,
            key_id: key_id.map(Into::into),
            tls,
        })
    }

    /// Whether it is this machine, as far as its text says.
    pub(crate) fn is_loopback(&self) -> bool {
        &*self.host == "localhost"
            || self
                .host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }
}

/// `host:port`, `host`, `[v6]:port`, `[v6]` or a bare v6 address.
fn split_port(place: &str) -> Result<(&str, u16), Error> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest
            .split_once(']')
            .ok_or_else(|| Error::invalid("an address without its ]"))?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err(Error::invalid("an address is [host]:port")),
        }
    } else {
        match place.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => (place, None),
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        }
    };
    let port = match port {
        None => PORT_DEFAULT,
        Some(port) => port
            .parse()
            .ok()
            .filter(|&port| port != 0)
            .ok_or_else(|| Error::invalid("a port is a number from 1 to 65535"))?,
    };
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, u16, Option<String>, bool) {
        let address = Address::parse(text).unwrap();
        (
            address.host.into(),
            address.port,
            address.key_id.map(Into::into),
            address.tls,
        )
    }

    #[test]
    fn every_form_of_an_address_is_read() {
        let id = |id: &str| Some(id.to_owned());
        for (text, expected) in [
            (
                "127.0.0.1:7777",
                ("127.0.0.1".to_owned(), 7777, None, false),
            ),
            ("db.example", ("db.example".to_owned(), 7777, None, false)),
            ("[::1]:9", ("::1".to_owned(), 9, None, false)),
            ("::1", ("::1".to_owned(), 7777, None, false)),
            ("kv://h:1", ("h".to_owned(), 1, None, false)),
            ("kv://app@h:1/", ("h".to_owned(), 1, id("app"), false)),
            (
                "kvs://app@[fe80::1]",
                ("fe80::1".to_owned(), 7777, id("app"), true),
            ),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in [
            "",
            ":1",
            "h:0",
            "h:65536",
            "h:x",
            "http://h",
            "kv://",
            "kv://@h",
            "[::1",
            "[::1]9",
            "h/x",
            "kv://id:secret@h",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for (text, expected) in [
            ("127.0.0.9:1", true),
            ("localhost", true),
            ("[::1]:1", true),
            ("10.0.0.1", false),
            ("localhost.example", false),
        ] {
            assert_eq!(
                Address::parse(text).unwrap().is_loopback(),
                expected,
                "{text}"
            );
        }
    }
}
