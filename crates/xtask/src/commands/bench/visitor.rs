//! A visitor who asks as fast as is fair: one thread in the host's network, plain sockets.
//!
//! Not `xtask::http`, which starts a runtime for each request: while somebody waits for an answer
//! on a machine of two processors, whoever asks must take next to none of them.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use xtask::netns::Netns;

/// Between two looks: short beside what is measured, long beside the look itself.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// When to give up.
const LIMIT: Duration = Duration::from_secs(60);

/// When a push was sent, was answered, and served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// Until the webhook was answered.
    pub(crate) answered: Duration,
    /// Until the first 200 of the new version.
    pub(crate) served: Duration,
}

/// Sends `request` to port 80 and asks `host` for its version until it is the new one.
pub(crate) fn push(netns: &Netns, request: Vec<u8>, host: &str, version: &str) -> Result<Seen> {
    let look = format!("GET /version HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let wanted = format!("sample-version: {version}\r\n");
    inside(netns, move || {
        let sent = Instant::now();
        let answer = exchange(&request).context("the webhook")?;
        let answered = sent.elapsed();
        if !answer.starts_with("HTTP/1.1 2") {
            bail!("the webhook was answered {}", answer.lines().next().unwrap_or_default());
        }
        loop {
            let last = match exchange(look.as_bytes()) {
                Ok(page) if page.starts_with("HTTP/1.1 200") && page.contains(&wanted) => {
                    return Ok(Seen { answered, served: sent.elapsed() });
                }
                Ok(page) => page.lines().next().unwrap_or_default().to_owned(),
                Err(err) => err.to_string(),
            };
            if sent.elapsed() > LIMIT {
                bail!("{wanted:?} did not come within {LIMIT:?}; last: {last}");
            }
            thread::sleep(LOOK_AGAIN);
        }
    })
}

/// How long one request over a socket of the host takes, from its connection to the end of its
/// answer.
pub(crate) fn ask_socket(socket: &Path, request: &[u8]) -> Result<(Duration, String)> {
    let sent = Instant::now();
    let stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let answer = converse(stream, request)?;
    Ok((sent.elapsed(), answer))
}

fn inside<T: Send + 'static>(
    netns: &Netns,
    act: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let netns = netns.clone();
    thread::spawn(move || {
        netns.enter().context("cannot enter the host's network")?;
        act()
    })
    .join()
    .map_err(|_| anyhow!("the visitor panicked"))?
}

fn exchange(request: &[u8]) -> io::Result<String> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 80))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(LIMIT))?;
    converse(stream, request)
}

/// One request over one connection, which its answer closes. Headers come in any case.
fn converse(mut stream: impl Read + Write, request: &[u8]) -> io::Result<String> {
    stream.write_all(request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).to_lowercase().replacen("http", "HTTP", 1))
}
