//! A kept connection of this program's own, for what wrk and h2load do not measure.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::ground::HOST;
use super::proxies::Proxy;

/// For one answer.
const LIMIT: Duration = Duration::from_secs(10);

/// A connection to a proxy, for one request for 1 KiB after the other.
pub(super) struct Asking {
    stream: TcpStream,
    request: Vec<u8>,
}

impl Asking {
    pub(super) fn connect(proxy: &Proxy) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", proxy.port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let request = format!("GET /1k HTTP/1.1\r\nHost: {HOST}\r\n\r\n").into_bytes();
        Ok(Self { stream, request })
    }

    /// One request and its whole answer.
    pub(super) fn ask(&mut self) -> Result<()> {
        self.stream.write_all(&self.request)?;
        let mut received = [0; 4096];
        let mut len = 0;
        loop {
            let room = received.get_mut(len..).unwrap_or_default();
            let count = self.stream.read(room).context("no answer")?;
            ensure!(count > 0, "the connection ended in an answer");
            len += count;
            let so_far = received.get(..len).unwrap_or_default();
            let end = so_far.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            let Some(end) = end else { continue };
            if len >= end + 4 + 1024 {
                ensure!(so_far.starts_with(b"HTTP/1.1 200"), "an answer was not 200");
                return Ok(());
            }
        }
    }
}
