//! A service that reads what is uploaded and forgets it. nginx would answer before it has read.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};

const BUFFER: usize = 256 << 10;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A listening one; each connection has a thread.
pub(super) struct Sink {
    bytes: Arc<AtomicU64>,
    listener: Arc<TcpListener>,
}

impl Sink {
    pub(super) fn start(port: u16) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port));
        let listener = Arc::new(listener.with_context(|| format!("port {port} is taken"))?);
        let bytes = Arc::new(AtomicU64::new(0));
        let (accepting, counter) = (Arc::clone(&listener), Arc::clone(&bytes));
        thread::spawn(move || {
            for stream in accepting.incoming() {
                let Ok(stream) = stream else { return };
                let counter = Arc::clone(&counter);
                // Whoever uploads sees what became of it.
                thread::spawn(move || drop(serve(&stream, &counter)));
            }
        });
        Ok(Self { bytes, listener })
    }

    /// Bytes of bodies so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Ends the accept, and with it the thread that holds the other half.
        let _ended = rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both);
    }
}

fn serve(stream: &TcpStream, counter: &AtomicU64) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(BUFFER, stream);
    loop {
        let mut left = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(length) = line.strip_prefix("content-length:") {
                left = length.trim().parse().map_err(std::io::Error::other)?;
            }
        }
        let mut body = (&mut reader).take(left);
        loop {
            let count = body.fill_buf()?.len();
            if count == 0 {
                break;
            }
            body.consume(count);
            counter.fetch_add(count as u64, Ordering::Relaxed);
        }
        (&mut &*stream).write_all(ANSWER)?;
    }
}
