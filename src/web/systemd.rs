//! Listeners that systemd opened: the sockets of a `.socket` unit.

use std::io;

use listenfd::ListenFd;
use tokio::net::TcpListener;

/// Why the sockets that systemd passed cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There are none.
    #[error("systemd passed no sockets: start the exporter by its .socket unit")]
    None,
    /// One of them is not a listening TCP socket.
    #[error("file descriptor {0} that systemd passed is not a TCP socket that listens")]
    NotListening(usize),
    /// The system refuses to use one.
    #[error(transparent)]
    Unusable(#[from] io::Error),
}

/// The first file descriptor that systemd passes: sd_listen_fds(3).
const FIRST: usize = 3;

/// The listeners of all sockets that systemd passed to this process. Call it once: child processes do not
/// get them.
pub fn listeners() -> Result<Vec<TcpListener>, Error> {
    let mut passed = ListenFd::from_env();
    let listeners: Result<Vec<TcpListener>, Error> = (0..passed.len())
        .map(|index| {
            let not_listening = || Error::NotListening(FIRST + index);
            let socket =
                passed.take_tcp_listener(index).ok().flatten().ok_or_else(not_listening)?;
            // With Accept=yes systemd passes a connection.
            if !is_listening(&socket)? {
                return Err(not_listening());
            }
            socket.set_nonblocking(true)?;
            Ok(TcpListener::from_std(socket)?)
        })
        .collect();
    listeners
        .and_then(|listeners| if listeners.is_empty() { Err(Error::None) } else { Ok(listeners) })
}

#[cfg(target_os = "linux")]
fn is_listening(socket: &std::net::TcpListener) -> io::Result<bool> {
    Ok(rustix::net::sockopt::socket_acceptconn(socket)?)
}

/// There is no systemd.
#[cfg(not(target_os = "linux"))]
fn is_listening(_: &std::net::TcpListener) -> io::Result<bool> {
    Ok(false)
}
