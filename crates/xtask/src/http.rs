//! One HTTP/1.1 request over one connection, for whoever asks a host from outside.

use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{HeaderMap, Method, Request, Response, client::conn::http1};
use hyper_util::rt::TokioIo;

/// What is asked: a method, a virtual host and a path, headers, a body.
#[derive(Clone, Debug)]
pub struct Ask {
    method: Method,
    host: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Ask {
    /// A request without a body.
    #[must_use]
    pub fn new(method: Method, host: &str, path: &str) -> Self {
        Self {
            method,
            host: host.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    /// GET.
    #[must_use]
    pub fn get(host: &str, path: &str) -> Self {
        Self::new(Method::GET, host, path)
    }

    /// POST with a body of known length.
    #[must_use]
    pub fn post(host: &str, path: &str, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..Self::new(Method::POST, host, path) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The bytes of it, for whoever sends them over a socket of its own; the answer closes the
    /// connection.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.clone().header("connection", "close").kept_bytes()
    }

    /// The bytes of it, for a connection that is kept for more.
    #[must_use]
    pub fn kept_bytes(&self) -> Vec<u8> {
        let Self { method, host, path, headers, body } = self;
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        bytes
    }

    /// As hyper wants it.
    pub(crate) fn request(&self) -> Result<Request<Full<Bytes>>> {
        let mut request =
            Request::builder().method(&self.method).uri(&self.path).header("host", &self.host);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(self.body.clone())).context("not a request that HTTP can say")
    }
}

/// What was answered, whole.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers as they came.
    pub headers: HeaderMap,
    /// The body as it came.
    pub body: Bytes,
}

impl Answer {
    /// The body as text, with anything that is not UTF-8 replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value, when it is there once or more and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub(crate) async fn whole(response: Response<Incoming>) -> hyper::Result<Self> {
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Self { status: head.status.as_u16(), headers: head.headers, body })
    }
}

/// Asks over a connection and waits for the whole answer.
///
/// # Errors
/// When it does not come within `limit`, or breaks off.
pub fn send(stream: TcpStream, ask: &Ask, limit: Duration) -> Result<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::time::timeout(limit, exchange(stream, ask))
            .await
            .with_context(|| format!("no whole answer within {} s", limit.as_secs_f32()))?
    })
}

/// Asks port 80 of this thread's loopback interface for one thing after the other.
///
/// # Errors
/// As [`send`].
pub(crate) fn send_each(asks: &[&Ask], limit: Duration) -> Result<Vec<(Answer, Duration)>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let each = asks.iter().map(|ask| {
        let begun = Instant::now();
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, 80)).context("nobody listens")?;
        let answer = runtime.block_on(async {
            tokio::time::timeout(limit, exchange(stream, ask))
                .await
                .with_context(|| format!("no whole answer within {} s", limit.as_secs_f32()))?
        })?;
        Ok((answer, begun.elapsed()))
    });
    each.collect()
}

async fn exchange(stream: TcpStream, ask: &Ask) -> Result<Answer> {
    stream.set_nonblocking(true)?;
    let stream = tokio::net::TcpStream::from_std(stream)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // What ends the connection early also ends the answer, which is where it is reported.
    tokio::spawn(async { drop(connection.await) });
    Ok(Answer::whole(sender.send_request(ask.request()?).await?).await?)
}
