//! `kv-server healthcheck`: asks the admin listener of a running server whether it is ready, for
//! container images that hold no other program.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::config::Config;
use crate::exit::Exit;

/// The longest answer that is read; `/readyz` has a few words.
const ANSWER_BYTES_MAX: u64 = 4 * 1024;

/// Asks, and says what came back.
pub(crate) fn ask(config: &Config, timeout: Duration) -> Exit {
    let Some(admin) = &config.admin else {
        tell("error: the admin listener is off; set listeners.admin.enabled = true");
        return Exit::Config;
    };
    match ready(reachable(admin.address), timeout) {
        Ok(Answer { status: 200, .. }) => Exit::Clean,
        Ok(Answer { status, body }) => {
            tell(&format!("not ready: {} answered {status}", admin.address));
            for line in body.lines() {
                tell(&format!("  {}", line.escape_debug()));
            }
            Exit::Failure
        }
        Err(error) => {
            tell(&format!(
                "not ready: {} does not answer: {error}",
                admin.address
            ));
            Exit::Failure
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the answer of a command for people and scripts"
)]
fn tell(text: &str) {
    eprintln!("{text}");
}

/// An address that listens everywhere is asked on this machine.
const fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// What `/readyz` said.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    status: u16,
    body: String,
}

fn ready(address: SocketAddr, timeout: Duration) -> io::Result<Answer> {
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    parsed(&answer).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parsed(answer: &[u8]) -> Option<Answer> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.split([' ', '\r']).next()?;
    Some(Answer {
        status: status.parse().ok()?,
        body: body.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_and_the_words_are_read_from_the_answer() {
        let answer = b"HTTP/1.1 503 Service Unavailable\r\nx: y\r\n\r\n[-] a: b\ndegraded\n";
        let expected = Answer {
            status: 503,
            body: "[-] a: b\ndegraded\n".to_owned(),
        };
        assert_eq!(parsed(answer), Some(expected));
        assert_eq!(parsed(b"SSH-2.0-x\r\n"), None);
        assert_eq!(parsed(b""), None);
    }

    #[test]
    fn an_address_for_everybody_is_asked_here() {
        let everywhere: SocketAddr = "[::]:8777".parse().unwrap();
        assert_eq!(reachable(everywhere).to_string(), "[::1]:8777");
        let here: SocketAddr = "127.0.0.1:1".parse().unwrap();
        assert_eq!(reachable(here), here);
    }
}
