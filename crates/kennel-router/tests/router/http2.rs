//! HTTP/2 as clients see it: many requests on one connection, and what one of them cannot do to the
//! others.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream, SendStream};
use hyper::header::HeaderValue;
use hyper::{HeaderMap, Method, Request};
use kennel_router::Limits;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::guards::{ONE, asking, knows, publish};
use crate::host::{PATIENCE, Router, service, short, site};
use crate::service::{Service, ok};
use crate::tls::{Authority, router};

/// An HTTP/2 connection to the router.
pub(crate) struct Streams {
    pub(crate) send: SendRequest<Bytes>,
    /// How the connection ended.
    ended: JoinHandle<Result<(), h2::Error>>,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

impl Streams {
    /// Begins without asking.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap()).await
    }

    /// Begins because TLS has agreed on it.
    pub(crate) async fn connect_tls(
        router: &Router,
        authority: &Authority,
        name: &'static str,
    ) -> Self {
        let mut config = authority.client();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let stream = TcpStream::connect(router.secure).await.unwrap();
        let name = ServerName::try_from(name).unwrap();
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        Self::over(stream).await
    }

    async fn over<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S) -> Self {
        let (send, connection) = h2::client::handshake(stream).await.unwrap();
        Self { send, ended: tokio::spawn(connection) }
    }

    /// Sends a request's head.
    pub(crate) async fn begin(
        &mut self,
        request: Request<()>,
        is_all: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        poll_fn(|cx| self.send.poll_ready(cx)).await?;
        self.send.send_request(request, is_all)
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn ask(&mut self, request: Request<()>) -> Result<Answer, h2::Error> {
        let (answer, _) = self.begin(request, true).await?;
        whole(answer).await
    }

    pub(crate) async fn get(&mut self, url: &str) -> Result<Answer, h2::Error> {
        self.ask(Request::get(url).body(()).unwrap()).await
    }

    /// Sends a request with a body.
    pub(crate) async fn post(
        &mut self,
        request: Request<()>,
        body: &[u8],
    ) -> Result<Answer, h2::Error> {
        let (answer, mut stream) = self.begin(request, false).await?;
        let mut rest = Bytes::copy_from_slice(body);
        while !rest.is_empty() {
            stream.reserve_capacity(rest.len());
            let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await else { break };
            stream.send_data(rest.split_to(room?.min(rest.len())), false)?;
        }
        stream.send_data(Bytes::new(), true)?;
        whole(answer).await
    }

    /// Waits until the router has ended the connection.
    async fn ended(self) -> Result<(), h2::Error> {
        drop(self.send);
        timeout(PATIENCE, self.ended).await.unwrap().unwrap()
    }
}

pub(crate) async fn whole(answer: ResponseFuture) -> Result<Answer, h2::Error> {
    let response = timeout(PATIENCE, answer).await.unwrap()?;
    let (parts, mut stream) = response.into_parts();
    let body = timeout(PATIENCE, drain(&mut stream)).await.unwrap()?;
    let trailers = stream.trailers().await?;
    Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body, trailers })
}

pub(crate) async fn drain(stream: &mut RecvStream) -> Result<Vec<u8>, h2::Error> {
    let mut body = Vec::new();
    while let Some(piece) = stream.data().await {
        let piece = piece?;
        stream.flow_control().release_capacity(piece.len())?;
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

pub(crate) fn request(method: Method, url: &str) -> Request<()> {
    Request::builder().method(method).uri(url).body(()).unwrap()
}

#[test]
fn a_request_is_the_same_to_a_service_whichever_way_it_came() {
    let authority = Authority::new();
    let mut router = router(&[("a.pem", &authority.issue(&["a.example"]))]);
    let behind = Service::echoing_heads();
    router.publish(&[("a.example", &service(7, behind.address))]);
    runtime().block_on(async {
        let mut streams = Streams::connect_tls(&router, &authority, "a.example").await;
        let asked = Request::get("https://A.example/x?y")
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("te", "trailers")
            .header("x-forwarded-for", "6.6.6.6")
            .body(())
            .unwrap();
        let answer = streams.ask(asked).await.unwrap();
        assert_eq!(answer.status, 200);
        let port = router.secure.port();
        let text = answer.text().replace(&port.to_string(), "PORT");
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        GET /x?y HTTP/1.1
        cookie: a=1; b=2
        forwarded: for=127.0.0.1;host="A.example";proto=https
        host: A.example
        x-forwarded-for: 127.0.0.1
        x-forwarded-host: A.example
        x-forwarded-port: PORT
        x-forwarded-proto: https
        x-real-ip: 127.0.0.1
        "#);
        assert_eq!(answer.headers.get("connection"), None);
    });
}

#[test]
fn a_visitor_of_a_preview_logs_in_and_shows_the_cookie_among_others() {
    let authority = Authority::new();
    let mut router = router(&[("a.pem", &authority.issue(&["a.example"]))]);
    let behind = Service::echoing_heads();
    knows(&router, &[(ONE, "a", "secret")]);
    publish(&mut router, 1, &asking(ONE), &service(7, behind.address));
    runtime().block_on(async {
        let mut streams = Streams::connect_tls(&router, &authority, "a.example").await;
        assert_eq!(streams.get("https://a.example/").await.unwrap().status, 401);
        let form = request(Method::POST, "https://a.example/.kennel/login");
        let answer = streams.post(form, b"password=secret&to=/x").await.unwrap();
        assert_eq!(answer.status, 303);
        assert_eq!(answer.headers["location"], "/x");
        let set = answer.headers["set-cookie"].to_str().unwrap();
        let asked = Request::get("https://a.example/x")
            .header("cookie", "a=1")
            .header("cookie", set.split(';').next().unwrap())
            .header("cookie", "b=2")
            .body(())
            .unwrap();
        let answer = streams.ask(asked).await.unwrap();
        assert_eq!(answer.status, 200);
        assert!(answer.text().contains("cookie: a=1; b=2"), "{}", answer.text());
        assert!(!answer.text().contains("kennel-preview"), "{}", answer.text());
    });
}

#[test]
fn both_versions_share_a_port_and_are_told_apart_by_their_first_bytes() {
    let behind = Service::saying("served");
    let router = Router::serving(&service(7, behind.address));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        assert_eq!(streams.get("http://a.example/").await.unwrap().text(), "served");
        assert_eq!(streams.get("http://x.example/").await.unwrap().status, 404);
    });
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "served");
    // Nobody gets there by asking for it: what is in the tunnel would be seen by no check.
    let upgrade = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\n\
                   Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    assert_eq!(client.ask(upgrade).status, 200);
    assert_eq!(client.ask("PRIZE / HTTP/1.1\r\nHost: a.example\r\n\r\n").text(), "served");
}

#[test]
fn requests_run_side_by_side_on_one_connection() {
    let (arrived, arrivals) = channel();
    let arrivals = std::sync::Mutex::new(arrivals);
    let arrived = std::sync::Mutex::new(arrived);
    let behind = Service::new(move |mut conn| {
        while let Some(seen) = conn.request() {
            if seen.line().starts_with("GET /first ") {
                // Answered when the second one is here, and not before.
                arrivals.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            } else {
                arrived.lock().unwrap().send(()).unwrap();
            }
            conn.send(ok(seen.line()));
        }
    });
    let router = Router::serving(&service(7, behind.address));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let first = request(Method::GET, "http://a.example/first");
        let (first, _) = streams.begin(first, true).await.unwrap();
        let second = streams.get("http://a.example/second").await.unwrap();
        assert_eq!(second.text(), "GET /second HTTP/1.1");
        assert_eq!(whole(first).await.unwrap().text(), "GET /first HTTP/1.1");
    });
    assert_eq!(router.metric("connections_total"), 1);
    assert_eq!(router.metric("requests_total"), 2);
}

#[test]
fn bodies_go_both_ways_whole_with_and_without_a_length() {
    let behind = Service::replying(|seen| {
        let framing: Vec<_> = seen
            .head
            .iter()
            .filter(|line| line.starts_with("content-length") || line.starts_with("transfer-enc"))
            .map(String::as_str)
            .collect();
        let head = format!(
            "HTTP/1.1 200 OK\r\nX-Framing: {}\r\nContent-Length: {}\r\n\r\n",
            framing.join(","),
            seen.body.len()
        );
        [head.as_bytes(), &seen.body].concat()
    });
    let router = Router::serving(&service(7, behind.address));
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        for method in [Method::POST, Method::GET] {
            let asked = request(method, "http://a.example/");
            let answer = streams.post(asked, &body).await.unwrap();
            assert_eq!(answer.headers["x-framing"], "transfer-encoding: chunked");
            assert!(answer.body == body);
        }
        let mut asked = request(Method::PUT, "http://a.example/");
        asked.headers_mut().insert("content-length", body.len().into());
        let answer = streams.post(asked, &body).await.unwrap();
        assert_eq!(answer.headers["x-framing"], "content-length: 3000000");
        assert!(answer.body == body);
        // One that is shorter than it says reaches nobody whole.
        let mut asked = request(Method::PUT, "http://a.example/");
        asked.headers_mut().insert("content-length", 10.into());
        let error = streams.post(asked, b"123").await.unwrap_err();
        assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR));
        assert_eq!(streams.get("http://a.example/").await.unwrap().status, 200);
    });
}

#[test]
fn a_service_that_takes_nothing_holds_its_client_back() {
    let (taken, may_take) = channel::<()>();
    let may_take = std::sync::Mutex::new(may_take);
    let behind = Service::new(move |mut conn| {
        let Some(head) = conn.head() else { return };
        let _sender_gone = may_take.lock().unwrap().recv();
        let body = conn.body(&head).unwrap();
        conn.send(ok(&body.len().to_string()));
    });
    let router = Router::serving(&service(7, behind.address));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let asked = request(Method::POST, "http://a.example/");
        let (answer, mut stream) = streams.begin(asked, false).await.unwrap();
        let piece = Bytes::from(vec![0; 1 << 20]);
        let mut sent = 0;
        // A second without room is the end of it: 64 MiB would be through long before.
        let room = Duration::from_secs(1);
        while sent < 64 << 20 {
            stream.reserve_capacity(piece.len());
            let Ok(more) = timeout(room, poll_fn(|cx| stream.poll_capacity(cx))).await else {
                break;
            };
            let more = more.unwrap().unwrap();
            stream.send_data(piece.slice(..more), false).unwrap();
            sent += more;
        }
        // What the sockets between router and service hold, and one window.
        assert!(sent < 16 << 20, "{sent} bytes are somewhere");
        drop(taken);
        stream.send_data(Bytes::new(), true).unwrap();
        assert_eq!(whole(answer).await.unwrap().text(), sent.to_string());
    });
}

#[test]
fn trailers_come_through() {
    let behind = Service::replying(|_| {
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-sum, connection\r\n\r\n\
          5\r\nhello\r\n0\r\nx-sum: 7\r\nconnection: close\r\n\r\n"
            .to_vec()
    });
    let router = Router::serving(&service(7, behind.address));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        for _ in 0..3 {
            let answer = streams.get("http://a.example/").await.unwrap();
            assert_eq!(answer.text(), "hello");
            let trailers = answer.trailers.unwrap();
            assert_eq!(trailers["x-sum"], "7");
            assert_eq!(trailers.len(), 1, "{trailers:?}");
        }
    });
    assert_eq!(behind.connections(), 1, "a connection is used again after them");
}

#[test]
fn answers_to_head_have_no_body() {
    let behind = Service::replying(|_| b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_vec());
    let mut router = Router::boot();
    std::fs::write(router.store_path("web").join("index.html"), "a page").unwrap();
    let site = site("web", false);
    router.publish(&[("a.example", &service(7, behind.address)), ("s.example", &site)]);
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        for (host, length) in [("a.example", "7"), ("s.example", "6")] {
            let asked = request(Method::HEAD, &format!("http://{host}/"));
            let answer = streams.ask(asked).await.unwrap();
            assert_eq!((answer.status, answer.text()), (200, ""), "{host}");
            assert_eq!(answer.headers["content-length"], length, "{host}");
        }
        let answer = streams.ask(request(Method::HEAD, "http://x.example/")).await.unwrap();
        assert_eq!((answer.status, answer.text()), (404, ""));
        let answer = streams.get("http://s.example/").await.unwrap();
        assert_eq!(answer.text(), "a page");
    });
}

#[test]
fn a_connection_serves_the_names_of_its_certificate() {
    let authority = Authority::new();
    let mut router = router(&[
        ("both.pem", &authority.issue(&["a.example", "b.example"])),
        ("c.pem", &authority.issue(&["c.example"])),
    ]);
    let behind = Service::saying("served");
    let target = service(7, behind.address);
    router.publish(&[("a.example", &target), ("b.example", &target), ("c.example", &target)]);
    runtime().block_on(async {
        let mut streams = Streams::connect_tls(&router, &authority, "a.example").await;
        for (host, status) in [("a.example", 200), ("b.example", 200), ("c.example", 421)] {
            let answer = streams.get(&format!("https://{host}/")).await.unwrap();
            assert_eq!(answer.status, status, "{host}");
        }
        let mut plain = Streams::connect(router.address).await;
        let answer = plain.get("http://a.example/x").await.unwrap();
        assert_eq!(answer.status, 308);
        assert_eq!(answer.headers["location"], "https://a.example/x");
    });
}

#[test]
fn what_says_two_things_is_refused() {
    let behind = Service::saying("served");
    let router = Router::serving(&service(7, behind.address));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let with = |name: &'static str, value: &'static str| {
            Request::get("http://a.example/").header(name, value).body(()).unwrap()
        };
        assert_eq!(streams.ask(with("host", "b.example")).await.unwrap().status, 400);
        assert_eq!(streams.ask(with("host", "A.example")).await.unwrap().status, 200);
        assert_eq!(
            streams.ask(request(Method::CONNECT, "a.example:80")).await.unwrap().status,
            400
        );
        let long = "x".repeat(40 << 10);
        let bomb = Request::get("http://a.example/").header("x-bomb", long).body(()).unwrap();
        assert_eq!(streams.ask(bomb).await.unwrap().status, 431);
        assert_eq!(streams.ask(with("x-small", "1")).await.unwrap().status, 200);
    });
}

#[test]
fn one_that_waits_in_vain_ends_without_the_others() {
    let behind = Service::new(|mut conn| {
        while let Some(head) = conn.head() {
            if head[0].starts_with("GET /late ") {
                let _closed = conn.is_closed();
                return;
            }
            match conn.body(&head) {
                Ok(_) => conn.send(ok("served")),
                Err(_) => return,
            }
        }
    });
    let limits = Limits {
        stalled: Duration::from_millis(300),
        first_byte: Duration::from_millis(300),
        ..short()
    };
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(7, behind.address))]);
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let late = request(Method::GET, "http://a.example/late");
        let (late, _) = streams.begin(late, true).await.unwrap();
        let stalled = request(Method::POST, "http://a.example/stalled");
        let (stalled, _sender) = streams.begin(stalled, false).await.unwrap();
        assert_eq!(whole(late).await.unwrap().status, 504);
        assert_eq!(whole(stalled).await.unwrap_err().reason(), Some(Reason::CANCEL));
        assert_eq!(streams.get("http://a.example/").await.unwrap().text(), "served");
    });
    assert_eq!(router.metric("connections_total"), 1);
}

#[test]
fn an_answer_that_nobody_takes_ends_without_the_others() {
    let behind = Service::replying(|seen| match seen.line() {
        "GET /long HTTP/1.1" => ok(&"x".repeat(8 << 20)),
        line => ok(line),
    });
    let limits = Limits { paused: Duration::from_millis(300), ..short() };
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(7, behind.address))]);
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let long = request(Method::GET, "http://a.example/long");
        let (long, _) = streams.begin(long, true).await.unwrap();
        let mut long = long.await.unwrap().into_body();
        // Its window is used up, and the other's is its own. (The connection's is for both.)
        let first = long.data().await.unwrap().unwrap();
        let error = loop {
            match timeout(PATIENCE, long.data()).await.unwrap() {
                Some(Ok(_held)) => {}
                Some(Err(error)) => break error,
                None => panic!("all of it came: {}", first.len()),
            }
        };
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        let _released = long.flow_control().release_capacity(first.len());
        let next = streams.get("http://a.example/next").await.unwrap();
        assert_eq!(next.text(), "GET /next HTTP/1.1");
    });
}

#[test]
fn what_belongs_to_an_http_1_connection_is_no_request() {
    let behind = Service::saying("served");
    let router = Router::serving(&service(7, behind.address));
    let good =
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")];
    assert_eq!(first_word(&router, &good), HEADERS);
    for more in [
        // RFC 9113 §8.2.2, where requests are smuggled past who makes HTTP/1.1 of them.
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("keep-alive", "1"),
        ("proxy-connection", "close"),
        ("te", "gzip"),
        ("content-length", "3"),
        ("content-length", "0, 0"),
        // §8.2.1.
        ("x-two", "a\r\nx-three: b"),
        ("X-Upper", "a"),
        ("x two", "a"),
        ("x:two", "a"),
        ("", "a"),
        // §8.3.
        (":path", "/other"),
        (":status", "200"),
    ] {
        let fields: Vec<_> = good.into_iter().chain([more]).collect();
        let word = first_word(&router, &fields);
        assert!(matches!(word, RST_STREAM | GOAWAY), "{more:?}: {word}");
    }
    for missing in 0..good.len() {
        let mut fields = good.to_vec();
        let (name, _) = fields.remove(missing);
        let word = first_word(&router, &fields);
        // One without authority is one, and is answered that it needs it.
        let wanted = if name == ":authority" { HEADERS } else { RST_STREAM };
        assert_eq!(word, wanted, "without {name}");
    }
    assert_eq!(behind.connections(), 1);
}

pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;

/// What no client has to send before its first request (RFC 9113 §3.4): preface and SETTINGS.
pub(crate) const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub(crate) fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags, 0, 0, 0, stream];
    [&head, payload].concat()
}

/// Fields as literals that are not indexed (RFC 7541 §6.2.2).
pub(crate) fn literals(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}

/// The kind of the first frame that answers a request with these fields.
fn first_word(router: &Router, fields: &[(&str, &str)]) -> u8 {
    let mut stream = std::net::TcpStream::connect(router.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // The end of the head, and of the request.
    let head = frame(HEADERS, 0x4 | 0x1, 1, &literals(fields));
    stream.write_all(&[BEGIN, &head].concat()).unwrap();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        std::io::copy(&mut (&stream).take(length.into()), &mut std::io::sink()).unwrap();
        if matches!(head[3], HEADERS | RST_STREAM | GOAWAY) {
            return head[3];
        }
    }
}

#[test]
fn a_head_without_end_ends_the_connection() {
    let behind = Service::saying("served");
    let router = Router::serving(&service(7, behind.address));
    let mut stream = std::net::TcpStream::connect(router.address).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(BEGIN).unwrap();
    stream.write_all(&frame(HEADERS, 0x1, 1, &literals(&[(":method", "GET")]))).unwrap();
    let more = frame(CONTINUATION, 0, 1, &literals(&[("x-more", &"x".repeat(100))]));
    // 100 MiB, were they taken; CVE-2024-27316.
    let refused = (0..1_000_000).any(|_| stream.write_all(&more).is_err());
    assert!(refused);
    assert_eq!(router.client().get("/").text(), "served");
}

#[test]
fn resetting_streams_without_end_ends_the_connection() {
    let behind = Service::new(|mut conn| {
        while conn.head().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nbegun");
        }
    });
    let mut router = Router::boot_with(short(), |_| ());
    let quick = Service::saying("served");
    router.publish(&[
        ("a.example", &service(7, behind.address)),
        ("b.example", &service(8, quick.address)),
    ]);
    runtime().block_on(async {
        // Those that the router has begun to answer.
        let mut streams = Streams::connect(router.address).await;
        let mut begun = 0;
        loop {
            let asked = request(Method::GET, "http://a.example/");
            let Ok((answer, _)) = streams.begin(asked, true).await else { break };
            // Dropped, it is reset.
            let Ok(_answer) = answer.await else { break };
            begun += 1;
            assert!(begun < 1000, "the router takes it without end");
        }
        assert!(begun >= 200, "{begun} is what a visitor in a hurry does");
        let _however = streams.ended().await;

        // And those that it has not looked at.
        let mut streams = Streams::connect(router.address).await;
        for _ in 0..1000 {
            let asked = request(Method::GET, "http://a.example/");
            if streams.begin(asked, true).await.is_err() {
                break;
            }
        }
        let _however = streams.ended().await;

        let mut other = Streams::connect(router.address).await;
        assert_eq!(other.get("http://b.example/").await.unwrap().text(), "served");
    });
}

#[test]
fn a_crowd_shares_the_connections_to_a_service() {
    let behind = Service::saying("served");
    let router = Router::serving(&service(7, behind.address));
    runtime().block_on(async {
        let mut answers = Vec::new();
        for _ in 0..20 {
            let mut streams = Streams::connect(router.address).await;
            for _ in 0..100 {
                let asked = request(Method::GET, "http://a.example/");
                answers.push(streams.begin(asked, true).await.unwrap().0);
            }
        }
        for answer in answers {
            assert_eq!(whole(answer).await.unwrap().status, 200);
        }
    });
    let made = behind.connections();
    assert!(made < 2000, "{made} connections, one for each request");
}

#[test]
fn one_client_does_not_use_up_what_there_is() {
    let behind = Service::new(|mut conn| {
        let _head = conn.head();
        let _closed = conn.is_closed();
    });
    let quick = Service::saying("served");
    // Six for each of the two workers, of which a service has three.
    let limits = Limits { connections: 12, connect: Duration::from_millis(200), ..short() };
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[
        ("a.example", &service(7, behind.address)),
        ("b.example", &service(8, quick.address)),
    ]);
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        // It is kept, and its place is for who needs it.
        assert_eq!(streams.get("http://b.example/").await.unwrap().text(), "served");
        let mut waiting = Vec::new();
        for _ in 0..3 {
            let asked = request(Method::GET, "http://a.example/");
            waiting.push(streams.begin(asked, true).await.unwrap());
        }
        while behind.connections() < 3 {
            tokio::task::yield_now().await;
        }
        let answer = streams.get("http://a.example/").await.unwrap();
        assert_eq!(answer.status, 503);
        assert!(answer.text().contains("<h1>Busy</h1>"), "{}", answer.text());
        assert_eq!(answer.headers["retry-after"], "2");
        // Others have nothing to do with it.
        assert_eq!(streams.get("http://b.example/").await.unwrap().text(), "served");
    });
}

/// A WebSocket's begin.
fn websocket(protocol: &'static str) -> Request<()> {
    let mut asked = request(Method::CONNECT, "http://a.example/ws?x");
    asked.headers_mut().insert("sec-websocket-version", HeaderValue::from_static("13"));
    asked.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static("chat"));
    asked.extensions_mut().insert(Protocol::from_static(protocol));
    asked
}

/// A service that agrees, says hello and sends back what it gets.
fn echo() -> Service {
    Service::new(|mut conn| {
        while let Some(head) = conn.head() {
            if head[0] != "GET /ws?x HTTP/1.1" {
                conn.send(ok("plain"));
                continue;
            }
            let value = |name: &str| {
                let line = head.iter().find_map(|line| line.strip_prefix(name));
                line.unwrap_or_else(|| panic!("no {name} in {head:?}")).to_owned()
            };
            assert_eq!(value("host: "), "a.example");
            assert_eq!(value("connection: "), "upgrade");
            assert_eq!(value("upgrade: "), "websocket");
            assert_eq!(value("sec-websocket-version: "), "13");
            assert_eq!(value("sec-websocket-protocol: "), "chat");
            assert_eq!(value("sec-websocket-key: ").len(), 24);
            conn.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: y\r\nSec-WebSocket-Protocol: chat\r\n\r\nhello",
            );
            while let Some(piece) = conn.piece() {
                conn.send(piece);
            }
            return;
        }
    })
}

/// As many bytes of an answer.
pub(crate) async fn bytes(stream: &mut RecvStream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while bytes.len() < count {
        let piece = timeout(PATIENCE, stream.data()).await.unwrap().unwrap().unwrap();
        stream.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
    }
    bytes
}

#[test]
fn a_websocket_is_a_stream_among_others() {
    let behind = echo();
    let limits = Limits { idle: Duration::from_millis(100), ..short() };
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(7, behind.address))]);
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        // Only then is it known what the router can do.
        assert_eq!(streams.get("http://a.example/").await.unwrap().text(), "plain");
        assert!(streams.send.is_extended_connect_protocol_enabled());
        let (answer, mut to) = streams.begin(websocket("websocket"), false).await.unwrap();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
        for name in ["sec-websocket-accept", "connection", "upgrade"] {
            assert_eq!(answer.headers().get(name), None, "{name}");
        }
        let mut from = answer.into_body();
        assert_eq!(bytes(&mut from, 5).await, b"hello");
        assert_eq!(router.metric("tunnels_open"), 1);
        // Far longer than a connection without requests may be idle.
        for n in 0..20 {
            tokio::time::sleep(Duration::from_millis(20)).await;
            to.send_data(Bytes::from(vec![n; 1000]), false).unwrap();
            assert_eq!(bytes(&mut from, 1000).await, vec![n; 1000]);
        }
        assert_eq!(streams.get("http://a.example/").await.unwrap().text(), "plain");
        to.send_data(Bytes::new(), true).unwrap();
        let end = timeout(PATIENCE, drain(&mut from)).await.unwrap();
        assert!(matches!(end.as_deref(), Ok([])), "{end:?}");
        router.until(|_| router.metric("tunnels_open") == 0);
    });
    assert_eq!(router.metric("connections_total"), 1);
}

#[test]
fn a_websocket_may_be_declined_and_nothing_else_is_connected() {
    let behind = Service::saying("no tunnels here");
    let router = Router::serving(&service(7, behind.address));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        assert_eq!(streams.get("http://a.example/").await.unwrap().status, 200);
        // RFC 8441 §5 leaves open what a success that is no agreement means: it would be taken for one.
        let (answer, _to) = streams.begin(websocket("websocket"), false).await.unwrap();
        assert_eq!(whole(answer).await.unwrap().status, 502);
        let (answer, _to) = streams.begin(websocket("connect-udp"), false).await.unwrap();
        assert_eq!(whole(answer).await.unwrap().status, 400);
        let unknown = Request::connect("http://x.example/ws")
            .extension(Protocol::from_static("websocket"))
            .body(())
            .unwrap();
        let (answer, _to) = streams.begin(unknown, false).await.unwrap();
        assert_eq!(whole(answer).await.unwrap().status, 404);
    });
}

#[test]
fn nobody_waits_for_a_websocket_on_the_way_out() {
    let behind = echo();
    let router = Router::serving(&service(7, behind.address));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        assert_eq!(streams.get("http://a.example/").await.unwrap().text(), "plain");
        let (answer, _to) = streams.begin(websocket("websocket"), false).await.unwrap();
        let mut from = answer.await.unwrap().into_body();
        assert_eq!(bytes(&mut from, 5).await, b"hello");
        router.stop();
        let begun = std::time::Instant::now();
        while let Some(Ok(_)) = timeout(PATIENCE, from.data()).await.unwrap() {}
        streams.ended().await.unwrap();
        // After the linger of a second, and not the ten that all may take.
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    });
    router.join().unwrap();
}

#[test]
fn on_the_way_out_streams_end_and_nothing_new_is_begun() {
    let (asked, asks) = channel();
    let (answer, may_answer) = channel::<()>();
    let may_answer = std::sync::Mutex::new(may_answer);
    let asked = std::sync::Mutex::new(asked);
    let behind = Service::new(move |mut conn| {
        let _seen = conn.request();
        asked.lock().unwrap().send(()).unwrap();
        let _answered = may_answer.lock().unwrap().recv();
        conn.send(ok("to the end"));
    });
    let router = Router::serving(&service(7, behind.address));
    runtime().block_on(async {
        let mut idle = Streams::connect(router.address).await;
        assert_eq!(idle.get("http://x.example/").await.unwrap().status, 404);
        let mut streams = Streams::connect(router.address).await;
        let first = request(Method::GET, "http://a.example/");
        let (first, _) = streams.begin(first, true).await.unwrap();
        tokio::task::spawn_blocking(move || asks.recv_timeout(PATIENCE).unwrap()).await.unwrap();
        router.stop();
        // Said goodbye to at once, and by what the protocol says.
        idle.ended().await.unwrap();
        let refused = loop {
            match streams.get("http://x.example/").await {
                Ok(answer) => assert_eq!(answer.status, 404),
                Err(error) => break error,
            }
        };
        assert!(refused.is_go_away() || refused.reason().is_none(), "{refused:?}");
        drop(answer);
        assert_eq!(whole(first).await.unwrap().text(), "to the end");
        streams.ended().await.unwrap();
    });
    router.join().unwrap();
}

#[test]
fn whoever_says_nothing_is_let_go() {
    let behind = Service::saying("served");
    let limits = Limits { idle: Duration::from_millis(200), ..short() };
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(7, behind.address))]);
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        assert_eq!(streams.get("http://a.example/").await.unwrap().text(), "served");
        timeout(PATIENCE, streams.ended).await.unwrap().unwrap().unwrap();
        // And one that does not even answer to that.
        let silent = TcpStream::connect(router.address).await.unwrap();
        silent.writable().await.unwrap();
        silent.try_write(BEGIN).unwrap();
        let mut bytes = [0; 4096];
        timeout(PATIENCE, async {
            loop {
                silent.readable().await.unwrap();
                match silent.try_read(&mut bytes) {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_reset) => break,
                }
            }
        })
        .await
        .unwrap();
    });
}

#[test]
fn a_body_that_is_too_long_ends_its_own_stream_alone() {
    let behind = Service::replying(|seen| ok(seen.line()));
    let mut router = Router::boot_with(short(), |_| ());
    let target = service(7, behind.address);
    let route = format!(r#"{{"prefix":"/","limits":{{"max_body":10}},"target":{target}}}"#);
    router.publish_with("", &format!(r#""a.example":[{route}]"#));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let post = || request(Method::POST, "http://a.example/");
        // Said before.
        let mut said = post();
        said.headers_mut().insert("content-length", HeaderValue::from_static("11"));
        let (answer, _sending) = streams.begin(said, false).await.unwrap();
        assert_eq!(whole(answer).await.unwrap().status, 413);
        // Seen on the way.
        let (answer, mut sending) = streams.begin(post(), false).await.unwrap();
        sending.send_data(Bytes::from_static(b"0123456789"), false).unwrap();
        sending.send_data(Bytes::from_static(b"x"), true).unwrap();
        assert_eq!(whole(answer).await.unwrap().status, 413);
        assert_eq!(streams.post(post(), b"0123456789").await.unwrap().status, 200);
    });
}
