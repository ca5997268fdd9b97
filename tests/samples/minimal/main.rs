//! The least that a socket-activated program can do: it says that it is ready and answers 202 to
//! whoever asks. What `cargo xtask bench idle` compares the webhook receiver's first answer with.
//!
//! One file and nothing but the standard library, as `../service/main.rs`.

use std::env;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

fn main() -> io::Result<()> {
    // SAFETY: systemd passes the socket of minimal.socket as descriptor 3, and nothing else here
    // uses it.
    let listener = unsafe { UnixListener::from_raw_fd(3) };
    if let Some(systemd) = env::var_os("NOTIFY_SOCKET") {
        UnixDatagram::unbound()?.send_to(b"READY=1", systemd)?;
    }
    for stream in listener.incoming() {
        let _ = answer(&stream?);
    }
    Ok(())
}

fn answer(stream: &UnixStream) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or_default();
        }
    }
    io::copy(&mut reader.take(length), &mut io::sink())?;
    let mut stream = stream;
    stream.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}
