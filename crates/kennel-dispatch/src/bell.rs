//! The listening side of the bell.

use std::io;
use std::os::unix::net::UnixDatagram;

/// The bell's socket.
#[derive(Debug)]
pub struct Bell {
    socket: UnixDatagram,
}

impl Bell {
    /// Takes the bell over from systemd, or none if this program was started by hand or by the
    /// timer, which pass no socket.
    ///
    /// # Errors
    /// If the descriptor that systemd passed is no datagram socket.
    pub fn from_systemd() -> io::Result<Option<Self>> {
        let Some(socket) = listenfd::ListenFd::from_env().take_unix_datagram(0)? else {
            return Ok(None);
        };
        socket.set_nonblocking(true)?;
        Ok(Some(Self { socket }))
    }

    /// Reads every ring there is, and says whether there was one.
    ///
    /// The program's first act: a bell that still holds a ring when the program exits starts it
    /// again at once, and a program that fails before this does so hundreds of times a second.
    #[must_use]
    pub fn drain(&self) -> bool {
        let mut rung = false;
        let mut byte = [0; 1];
        // Any error means that nothing more can be read now.
        while self.socket.recv(&mut byte).is_ok() {
            rung = true;
        }
        rung
    }

    /// The socket, to wait on.
    ///
    /// # Errors
    /// If the runtime cannot watch it.
    pub fn watched(&self) -> io::Result<tokio::net::UnixDatagram> {
        tokio::net::UnixDatagram::from_std(self.socket.try_clone()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drains_every_ring() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bell");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let bell = Bell { socket };
        assert!(!bell.drain());
        for _ in 0..5 {
            kennel_systemd::ring(&path).unwrap();
        }
        assert!(bell.drain());
        assert!(!bell.drain());
    }
}
