//! The floor: an echo server on raw system calls. What the machine can do at all.
//!
//! Owns nothing but sockets, an epoll instance and two buffers: no runtime, no protocol, no memory of
//! what was said. Invariant: every byte that came goes back, in order, in one write per read.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, accept_with, bind, getsockname, listen, socket_with,
    sockopt,
};

/// The listening socket's mark among the events; connections have their index.
const LISTENER: u64 = u64::MAX;
const READ_BYTES: usize = 256 * 1024;
const BACKLOG: i32 = 1_024;
const EVENTS: usize = 1_024;

struct Connection {
    socket: OwnedFd,
    /// What the socket did not take yet.
    rest: Vec<u8>,
}

/// A listening socket.
pub(crate) struct Floor {
    listener: OwnedFd,
    address: SocketAddrV4,
}

/// Serves on this port of 127.0.0.1 (0: any; the address is printed) until the process is ended.
///
/// # Errors
/// When a socket cannot be made, or the system calls fail for another reason than a peer.
pub fn serve_floor(port: u16) -> Result<()> {
    let floor = Floor::bind(port)?;
    writeln!(std::io::stdout(), "listening on {}", floor.address)?;
    floor.serve()
}

impl Floor {
    /// Listens on this port of 127.0.0.1; 0 for any.
    ///
    /// # Errors
    /// When the port is taken.
    pub(crate) fn bind(port: u16) -> Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let listener = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
        sockopt::set_socket_reuseaddr(&listener, true)?;
        bind(&listener, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).context("bind")?;
        listen(&listener, BACKLOG)?;
        let address = SocketAddrV4::try_from(getsockname(&listener)?)?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[cfg(test)]
    pub(crate) const fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Echoes until the process is ended.
    ///
    /// # Errors
    /// When the system calls fail for another reason than a peer.
    pub(crate) fn serve(self) -> Result<()> {
        serve(&self.listener)
    }
}

fn serve(listener: &OwnedFd) -> Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mark = EventData::new_u64(LISTENER);
    epoll::add(&epoll, listener, mark, EventFlags::IN)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; READ_BYTES];
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("epoll_wait"),
        }
        for event in events.drain(..) {
            let epoll::Event { data, .. } = event;
            if data.u64() == LISTENER {
                accept(&epoll, listener, &mut connections)?;
                continue;
            }
            let index = usize::try_from(data.u64())?;
            if let Some(place) = connections.get_mut(index)
                && let Some(connection) = place
                && !echo(&epoll, index, connection, &mut buffer)?
            {
                *place = None;
            }
        }
    }
}

/// Takes every connection that waits.
fn accept(
    epoll: &OwnedFd,
    listener: &OwnedFd,
    connections: &mut Vec<Option<Connection>>,
) -> Result<()> {
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = match accept_with(listener, flags) {
            Ok(socket) => socket,
            Err(Errno::AGAIN) => return Ok(()),
            Err(Errno::INTR | Errno::CONNABORTED) => continue,
            Err(error) => return Err(error).context("accept"),
        };
        sockopt::set_tcp_nodelay(&socket, true)?;
        let free = connections.iter().position(Option::is_none);
        let index = free.unwrap_or(connections.len());
        epoll::add(
            epoll,
            &socket,
            EventData::new_u64(index as u64),
            EventFlags::IN,
        )?;
        let connection = Some(Connection {
            socket,
            rest: Vec::new(),
        });
        match connections.get_mut(index) {
            Some(place) => *place = connection,
            None => connections.push(connection),
        }
    }
}

/// Reads once and writes the same; false when the peer is gone. While the peer does not take what it
/// sent, nothing more is read from it.
fn echo(
    epoll: &OwnedFd,
    index: usize,
    connection: &mut Connection,
    buffer: &mut [u8],
) -> Result<bool> {
    let waited = !connection.rest.is_empty();
    if waited {
        let Some(sent) = write(&connection.socket, &connection.rest) else {
            return Ok(false);
        };
        connection.rest.drain(..sent);
    } else {
        let count = match rustix::io::read(&connection.socket, &mut *buffer) {
            Ok(0) | Err(Errno::CONNRESET) => return Ok(false),
            Ok(count) => count,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(true),
            Err(error) => return Err(error).context("read"),
        };
        let bytes = buffer.get(..count).unwrap_or_default();
        let Some(sent) = write(&connection.socket, bytes) else {
            return Ok(false);
        };
        connection
            .rest
            .extend_from_slice(bytes.get(sent..).unwrap_or_default());
    }
    let waits = !connection.rest.is_empty();
    if waits != waited {
        let flags = if waits {
            EventFlags::OUT
        } else {
            EventFlags::IN
        };
        epoll::modify(
            epoll,
            &connection.socket,
            EventData::new_u64(index as u64),
            flags,
        )?;
    }
    Ok(true)
}

/// Writes as much as goes; `None` when the peer is gone.
fn write(socket: &OwnedFd, bytes: &[u8]) -> Option<usize> {
    match rustix::io::write(socket, bytes) {
        Ok(count) => Some(count),
        Err(Errno::AGAIN | Errno::INTR) => Some(0),
        Err(_) => None,
    }
}
