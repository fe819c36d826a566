//! Socket options, all through socket2.
//!
//! Linux gives an accepted socket the options of the one that listens, so they are set once, there,
//! and not with six system calls per connection. Elsewhere they are set on each.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::TcpListener;

use crate::config::Limits;

/// Binds and listens.
///
/// # Errors
/// What the system says, usually that the address is in use.
pub(crate) fn bind(address: SocketAddr, backlog: usize) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for connections of the last run to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

/// Whether accepted sockets have the options of the one that listens.
pub(super) const INHERITED: bool = cfg!(target_os = "linux");

/// Options of a connection, on its own socket or, where they are inherited, on the one that listens.
pub(super) fn configure<'s, S>(socket: &'s S, limits: &Limits) -> io::Result<()>
where
    SockRef<'s>: From<&'s S>,
{
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(limits.tcp_keep_alive_idle)
        .with_interval(limits.tcp_keep_alive_interval)
        .with_retries(u32::try_from(limits.tcp_keep_alive_probes.get()).unwrap_or(u32::MAX));
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(limits.tcp_user_timeout))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn an_accepted_connection_has_the_options_of_the_listener() {
        let listener = bind(([127, 0, 0, 1], 0).into(), 8).unwrap();
        let limits = crate::config::parse("kv.toml".as_ref(), "")
            .unwrap()
            .config
            .limits;
        configure(&listener, &limits).unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, _) = accepted.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(
            (
                socket.tcp_keepalive_time().unwrap(),
                socket.tcp_keepalive_interval().unwrap(),
                socket.tcp_user_timeout().unwrap(),
            ),
            (
                limits.tcp_keep_alive_idle,
                limits.tcp_keep_alive_interval,
                Some(limits.tcp_user_timeout),
            )
        );
        let retries = usize::try_from(socket.tcp_keepalive_retries().unwrap()).unwrap();
        assert_eq!(retries, limits.tcp_keep_alive_probes.get());
        // The other side did not inherit anything: it is what is compared with.
        assert!(!SockRef::from(&client.unwrap()).keepalive().unwrap());
    }
}
