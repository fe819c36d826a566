//! Which `Host` a request may name.
//!
//! A browser that was led to this port by DNS rebinding sends the name of the attacker's site.
//! Loopback names, literal addresses and configured names are answered; nothing else. Invariant: the
//! check happens before any route.

use std::net::{Ipv4Addr, Ipv6Addr};

use axum::http::{HeaderMap, StatusCode, Uri, header};

/// Judges a request by its `Host` and, if it is there, by the host of its target. `allowed` is in
/// lower case.
pub(super) fn check(uri: &Uri, headers: &HeaderMap, allowed: &[String]) -> Result<(), StatusCode> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().ok_or(StatusCode::BAD_REQUEST)?;
    if hosts.next().is_some() {
        return Err(StatusCode::BAD_REQUEST);
    }
    let host = host.to_str().map_err(|_| StatusCode::BAD_REQUEST)?;
    let target = uri.authority().map(axum::http::uri::Authority::as_str);
    if is_allowed(host, allowed) && target.is_none_or(|target| is_allowed(target, allowed)) {
        Ok(())
    } else {
        Err(StatusCode::MISDIRECTED_REQUEST)
    }
}

fn is_allowed(host: &str, allowed: &[String]) -> bool {
    let Some(name) = without_port(host) else {
        return false;
    };
    if let Some(v6) = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        return v6.parse::<Ipv6Addr>().is_ok();
    }
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.parse::<Ipv4Addr>().is_ok() || allowed.contains(&name)
}

/// The host without its port; `None` when what follows the colon is no port.
fn without_port(host: &str) -> Option<&str> {
    let end = host.rfind(']').map_or(0, |bracket| bracket + 1);
    let (front, back) = host.split_at_checked(end)?;
    let (name, port) = match back.split_once(':') {
        None => return Some(host),
        Some((name, port)) => (name, port),
    };
    port.parse::<u16>().ok()?;
    host.get(..front.len() + name.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_loopback_names_literals_and_configured_names_pass() {
        let allowed = ["kv.example.org".to_owned()];
        for host in [
            "localhost",
            "localhost:8777",
            "LOCALHOST.",
            "localhost.:8777",
            "127.0.0.1",
            "127.0.0.1:8777",
            "10.0.0.5:8777",
            "[::1]",
            "[::1]:8777",
            "[2001:db8::1]:1",
            "kv.example.org",
            "KV.Example.ORG:8777",
            "kv.example.org.",
        ] {
            assert!(is_allowed(host, &allowed), "{host}");
        }
        for host in [
            "",
            ".",
            ":8777",
            "evil.example",
            "localhost.evil.example",
            "localhost..",
            "xlocalhost",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "localhost:",
            "localhost:x",
            "localhost:99999",
            "localhost:1:2",
            "evil@localhost",
            "localhost@evil",
            "::1",
            "[::1",
            "[evil]",
            "[::1]x",
            "[::1]evil:80",
            "[::1%25eth0]",
            "sub.kv.example.org",
            "kv.example.org/",
            " localhost",
        ] {
            assert!(!is_allowed(host, &allowed), "{host}");
        }
    }

    #[test]
    fn a_request_names_exactly_one_host() {
        let host = HeaderValue::from_static("localhost");
        let mut headers = HeaderMap::new();
        let uri = Uri::from_static("/livez");
        assert_eq!(check(&uri, &headers, &[]), Err(StatusCode::BAD_REQUEST));
        headers.append(header::HOST, host.clone());
        assert_eq!(check(&uri, &headers, &[]), Ok(()));
        let elsewhere = Uri::from_static("http://evil.example/livez");
        assert_eq!(
            check(&elsewhere, &headers, &[]),
            Err(StatusCode::MISDIRECTED_REQUEST)
        );
        headers.append(header::HOST, host);
        assert_eq!(check(&uri, &headers, &[]), Err(StatusCode::BAD_REQUEST));
    }
}
