//! The bell: a datagram socket on which systemd starts the dispatcher.
//!
//! A hint and never the truth. Whoever has something new commits it first and then rings.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

/// The bell cannot be rung. What was committed is not lost: a timer rings every minute.
#[derive(Debug, thiserror::Error)]
#[error("cannot ring {}; the dispatcher looks by itself within a minute", .path.display())]
pub struct RingError {
    path: PathBuf,
    source: io::Error,
}

/// Rings, without ever waiting. A bell whose queue is full has already been rung.
///
/// # Errors
/// [`RingError`] if nothing listens there or this program may not write to it.
pub fn ring(bell: &Path) -> Result<(), RingError> {
    let rung = UnixDatagram::unbound().and_then(|socket| {
        socket.set_nonblocking(true)?;
        socket.send_to(b"!", bell)
    });
    match rung {
        Ok(_) => Ok(()),
        // EAGAIN: the queue is full of rings that nobody has answered yet.
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(source) => Err(RingError { path: bell.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_bell_has_already_rung() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bell");
        let listener = UnixDatagram::bind(&path).unwrap();
        for _ in 0..10_000 {
            ring(&path).unwrap();
        }
        let mut byte = [0; 8];
        assert_eq!(listener.recv(&mut byte).unwrap(), 1);
    }

    #[test]
    fn a_missing_bell_is_an_error_that_names_it() {
        let error = ring(Path::new("/nonexistent/bell")).unwrap_err();
        insta::assert_snapshot!(error, @"cannot ring /nonexistent/bell; the dispatcher looks by itself within a minute");
    }
}
