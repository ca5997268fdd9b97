//! Services that speak HTTP/2: gRPC, many requests on one connection, and what a service may refuse.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::ext::Protocol;
use hyper::{Method, Request, Response};
use kennel_router::Limits;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use crate::host::{PATIENCE, Router, service, short};
use crate::http2::{Streams, bytes, request, runtime, whole};
use crate::service::{Service, nobody};
use crate::streams::{Stream, StreamService, send, trailers};
use crate::tls::{self, Authority};

/// A call of gRPC.
fn call(path: &str) -> Request<()> {
    Request::post(format!("http://a.example{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}

/// Answers with the head that it got.
async fn echo_head(stream: Stream) {
    let request = &stream.request;
    let mut lines = vec![format!("{} {}", request.method(), request.uri())];
    for (name, value) in request.headers() {
        lines.push(format!("{name}: {}", value.to_str().unwrap()));
    }
    lines.sort_unstable();
    let text = lines.join("\n");
    stream.says(&text).await;
}

#[test]
fn a_request_is_the_same_to_it_whichever_way_it_came() {
    let behind = StreamService::new(echo_head);
    let router = Router::serving(&behind.target(7));
    let port = router.address.port().to_string();
    let over_1 =
        router.client().get_with("/x?y", "Connection: x-one\r\nX-One: 1\r\nTE: trailers\r\n");
    let over_1 = over_1.text().replace(&port, "PORT");
    insta::assert_snapshot!(over_1, @r#"
    GET http://a.example/x?y
    forwarded: for=127.0.0.1;host="a.example";proto=http
    te: trailers
    x-forwarded-for: 127.0.0.1
    x-forwarded-host: a.example
    x-forwarded-port: PORT
    x-forwarded-proto: http
    x-real-ip: 127.0.0.1
    "#);
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let asked = Request::get("http://a.example/x?y").header("te", "trailers").body(()).unwrap();
        let over_2 = streams.ask(asked).await.unwrap();
        assert_eq!(over_2.text().replace(&port, "PORT"), over_1);
    });
    // No field asks for trailers that nobody takes.
    assert!(!router.client().get("/").text().contains("te: "));
    assert!(behind.connections() <= 2, "one per worker is enough");
}

#[test]
fn a_call_streams_both_ways_and_ends_with_trailers() {
    let behind = StreamService::new(|mut stream| async move {
        assert_eq!(stream.request.headers()["te"], "trailers");
        let mut to = stream.begin(&[("content-type", "application/grpc")]);
        while let Some(piece) = stream.piece().await {
            assert!(send(&mut to, &piece).await);
        }
        let sent = stream.request.body_mut().trailers().await.unwrap().unwrap();
        assert_eq!(sent["x-sum"], "3");
        to.send_trailers(trailers(&[("grpc-status", "0"), ("grpc-message", "done")])).unwrap();
    });
    let router = Router::serving(&behind.target(7));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let (answer, mut to) = streams.begin(call("/echo.Echo/Talk"), false).await.unwrap();
        let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        let mut from = answer.into_body();
        for message in [&b"one"[..], b"two", b"three"] {
            to.send_data(Bytes::copy_from_slice(message), false).unwrap();
            assert_eq!(bytes(&mut from, message.len()).await, message);
        }
        to.send_trailers(trailers(&[("x-sum", "3")])).unwrap();
        assert!(timeout(PATIENCE, from.data()).await.unwrap().is_none());
        let end = from.trailers().await.unwrap().unwrap();
        assert_eq!(
            (&end["grpc-status"], &end["grpc-message"]),
            (&"0".parse().unwrap(), &"done".parse().unwrap())
        );
    });
}

#[test]
fn a_call_over_tls_is_one_too() {
    let authority = Authority::new();
    let mut router = tls::router(&[("a.pem", &authority.issue(&["a.example"]))]);
    let behind = StreamService::new(|mut stream| async move {
        assert_eq!(stream.request.uri(), "http://a.example/echo.Echo/Say");
        assert_eq!(stream.request.headers()["x-forwarded-proto"], "https");
        let body = stream.body().await.unwrap();
        let mut to = stream.begin(&[("content-type", "application/grpc")]);
        assert!(send(&mut to, &body).await);
        to.send_trailers(trailers(&[("grpc-status", "0")])).unwrap();
    });
    router.publish(&[("a.example", &behind.target(7))]);
    runtime().block_on(async {
        let mut streams = Streams::connect_tls(&router, &authority, "a.example").await;
        let mut asked = call("/echo.Echo/Say");
        *asked.uri_mut() = "https://a.example/echo.Echo/Say".parse().unwrap();
        let answer = streams.post(asked, b"hello").await.unwrap();
        assert_eq!(answer.text(), "hello");
        assert_eq!(answer.trailers.unwrap()["grpc-status"], "0");
    });
}

#[test]
fn an_answer_of_trailers_alone_comes_through() {
    let behind = StreamService::new(|mut stream| async move {
        let head = Response::builder().header("grpc-status", "5").header("grpc-message", "no");
        stream.answer.send_response(head.body(()).unwrap(), true).unwrap();
    });
    let router = Router::serving(&behind.target(7));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let answer = streams.post(call("/x"), b"hello").await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, ""));
        assert_eq!(answer.headers["grpc-status"], "5");
    });
}

#[test]
fn a_call_may_be_silent_for_as_long_as_its_sides_like() {
    let behind = StreamService::new(|mut stream| async move {
        let first = stream.piece().await.unwrap();
        let second = stream.piece().await.unwrap();
        let text = format!("{}{}", first.len(), second.len());
        stream.says(&text).await;
    });
    let limit = Duration::from_millis(100);
    let limits = Limits { first_byte: limit, stalled: limit, ..short() };
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &behind.target(7))]);
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let (answer, mut to) = streams.begin(call("/x"), false).await.unwrap();
        to.send_data(Bytes::from_static(b"one"), false).unwrap();
        // Nothing is waited for here but the time that ends what may not last.
        tokio::time::sleep(limit * 5).await;
        to.send_data(Bytes::from_static(b"three"), true).unwrap();
        assert_eq!(whole(answer).await.unwrap().text(), "35");
        // And one that is no call may not.
        let post = request(Method::POST, "http://a.example/x");
        let (answer, mut to) = streams.begin(post, false).await.unwrap();
        to.send_data(Bytes::from_static(b"one"), false).unwrap();
        let ended = whole(answer).await;
        assert!(ended.as_ref().is_err() || ended.as_ref().unwrap().status == 504, "{ended:?}");
    });
}

#[test]
fn what_the_router_says_to_a_call_is_a_status_that_its_client_knows() {
    let mut router = Router::serving(&service(7, nobody()).replace("}", r#","protocol":"h2c"}"#));
    let check = |router: &Router, url: &str, code: &str| {
        runtime().block_on(async {
            let mut streams = Streams::connect(router.address).await;
            let mut asked = call("/x");
            *asked.uri_mut() = url.parse().unwrap();
            let answer = streams.post(asked, b"hello").await.unwrap();
            assert_eq!((answer.status, answer.text()), (200, ""), "{url}");
            assert_eq!(answer.headers["grpc-status"], code, "{url}");
            assert_eq!(answer.headers["content-type"], "application/grpc", "{url}");
        });
    };
    check(&router, "http://a.example/x", "14");
    check(&router, "http://x.example/x", "12");
    // Whoever is no client of gRPC gets a page.
    assert_eq!(router.client().get("/").status, 503);
    // And what a service says stands, whatever it is.
    let plain =
        Service::replying(|_| b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec());
    router.publish(&[("a.example", &service(8, plain.address))]);
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let answer = streams.post(call("/x"), b"hello").await.unwrap();
        assert_eq!((answer.status, answer.headers.get("grpc-status")), (404, None));
    });
}

#[test]
fn requests_share_as_few_connections_as_the_service_lets_them() {
    let gate = Arc::new(Semaphore::new(0));
    let arrived = Arc::new(AtomicUsize::new(0));
    let (waits, counts) = (Arc::clone(&gate), Arc::clone(&arrived));
    let behind = StreamService::with(
        |builder| {
            builder.max_concurrent_streams(10);
        },
        move |stream| {
            let (waits, counts) = (Arc::clone(&waits), Arc::clone(&counts));
            async move {
                counts.fetch_add(1, Ordering::SeqCst);
                let _may_answer = waits.acquire().await.unwrap();
                stream.says("served").await;
            }
        },
    );
    let router = Router::serving(&behind.target(7));
    runtime().block_on(async {
        // One connection of a client, so that one worker serves them all.
        let mut streams = Streams::connect(router.address).await;
        let mut answers = Vec::new();
        for _ in 0..35 {
            let asked = request(Method::GET, "http://a.example/");
            answers.push(streams.begin(asked, true).await.unwrap().0);
        }
        while arrived.load(Ordering::SeqCst) < 35 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        gate.add_permits(1);
        for answer in answers {
            assert_eq!(whole(answer).await.unwrap().text(), "served");
        }
        for _ in 0..50 {
            assert_eq!(streams.get("http://a.example/").await.unwrap().text(), "served");
        }
    });
    assert_eq!((behind.connections(), behind.most()), (4, 10));
    assert_eq!(router.metric("upstream_retries_total"), 0);
}

#[test]
fn bodies_go_both_ways_whole_from_both_kinds_of_clients() {
    let behind = StreamService::new(|mut stream| async move {
        let body = stream.body().await.unwrap();
        let mut to = stream.begin(&[]);
        assert!(send(&mut to, &body).await);
        to.send_data(Bytes::new(), true).unwrap();
    });
    let router = Router::serving(&behind.target(7));
    let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let mut client = router.client();
    for _ in 0..2 {
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
            body.len()
        ));
        client.send(&body);
        let answer = client.answer();
        assert!(answer.body == body);
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in body.chunks(100_000) {
            client.send(format!("{:x}\r\n", piece.len()));
            client.send(piece);
            client.send("\r\n");
        }
        client.send("0\r\n\r\n");
        assert!(client.answer().body == body);
    }
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        for _ in 0..2 {
            let asked = request(Method::POST, "http://a.example/");
            assert!(streams.post(asked, &body).await.unwrap().body == body);
        }
    });
}

#[test]
fn who_takes_nothing_holds_up_its_sender_and_nobody_else() {
    let (told, sent) = channel();
    let told = std::sync::Mutex::new(told);
    let behind = StreamService::new(move |mut stream| {
        let told = told.lock().unwrap().clone();
        async move {
            if stream.path() != "/long" {
                return stream.says("served").await;
            }
            let mut to = stream.begin(&[]);
            let piece = [0; 1 << 16];
            let mut count = 0;
            loop {
                let all = send(&mut to, &piece);
                match timeout(Duration::from_secs(1), all).await {
                    Ok(true) if count < 64 << 20 => count += piece.len(),
                    Ok(_) | Err(_) => break,
                }
            }
            told.send(count).unwrap();
        }
    });
    let router = Router::serving(&behind.target(7));
    runtime().block_on(async {
        let mut slow = Vec::new();
        // More than one window's worth of those that take nothing.
        for _ in 0..20 {
            let mut streams = Streams::connect(router.address).await;
            let asked = request(Method::GET, "http://a.example/long");
            let (answer, _) = streams.begin(asked, true).await.unwrap();
            slow.push((timeout(PATIENCE, answer).await.unwrap().unwrap(), streams));
        }
        let mut quick = Streams::connect(router.address).await;
        for _ in 0..20 {
            let answer = timeout(PATIENCE, quick.get("http://a.example/")).await.unwrap().unwrap();
            assert_eq!(answer.text(), "served");
        }
        for _ in 0..20 {
            let count = sent.recv_timeout(PATIENCE).unwrap();
            assert!(count < 2 << 20, "{count} bytes are somewhere");
        }
    });
    assert!(behind.connections() <= 2, "one per worker is enough: {}", behind.connections());
}

#[test]
fn what_a_service_refuses_unseen_is_sent_again_whatever_it_is() {
    let refused = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&refused);
    let behind = StreamService::new(move |mut stream| {
        let counter = Arc::clone(&counter);
        async move {
            if stream.connection == 0 && stream.path() == "/refused" {
                counter.fetch_add(1, Ordering::SeqCst);
                return stream.answer.send_reset(Reason::REFUSED_STREAM);
            }
            if stream.path() == "/broken" {
                counter.fetch_add(1, Ordering::SeqCst);
                return stream.answer.send_reset(Reason::INTERNAL_ERROR);
            }
            let body = stream.body().await.unwrap();
            stream.says(&format!("{} bytes", body.len())).await;
        }
    });
    let router = Router::serving(&behind.target(7));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let answer = streams.post(call("/refused"), b"hello").await.unwrap();
        assert_eq!(answer.text(), "5 bytes");
        assert_eq!(refused.load(Ordering::SeqCst), 1);
        assert_eq!(router.metric("upstream_retries_total"), 1);
        // What was looked at is not, though it may be repeated.
        let answer = streams.get("http://a.example/broken").await.unwrap();
        assert_eq!((answer.status, refused.load(Ordering::SeqCst)), (502, 2));
    });
}

#[test]
fn what_a_leaving_service_has_not_looked_at_is_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        // SETTINGS without any, and their acknowledgement.
        const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";
        // GOAWAY: no stream was looked at, and no error.
        const GOAWAY: &[u8] = b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let (mut first, _) = listener.accept().unwrap();
        first.set_read_timeout(Some(PATIENCE)).unwrap();
        first.write_all(SETTINGS).unwrap();
        let mut seen = Vec::new();
        let mut piece = [0; 4096];
        // HEADERS of stream 1, with END_HEADERS.
        while !seen.windows(6).any(|it| it[0] == 1 && it[1] & 4 != 0 && it[2..] == [0, 0, 0, 1]) {
            let count = first.read(&mut piece).unwrap();
            seen.extend_from_slice(&piece[..count]);
        }
        first.write_all(GOAWAY).unwrap();
        let (second, _) = listener.accept().unwrap();
        second.set_nonblocking(true).unwrap();
        runtime().block_on(async move {
            let stream = tokio::net::TcpStream::from_std(second).unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, answer))) = connection.accept().await {
                tokio::spawn(async move {
                    let mut stream = Stream { request, answer, connection: 1 };
                    let body = stream.body().await.unwrap();
                    stream.says(&format!("{} bytes", body.len())).await;
                });
            }
        });
        drop(first);
    });
    let router = Router::serving(&service(7, address).replace("}", r#","protocol":"h2c"}"#));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let answer = streams.post(call("/x"), b"hello").await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "5 bytes"));
    });
}

#[test]
fn a_service_that_speaks_another_than_it_says_is_a_bad_gateway() {
    let plain =
        Service::replying(|_| b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec());
    let target = service(7, plain.address).replace("}", r#","protocol":"h2c"}"#);
    let router = Router::serving(&target);
    assert_eq!(router.client().get("/").status, 502);
}

#[test]
fn a_client_that_leaves_ends_its_stream_and_no_other() {
    let (told, mut ended) = mpsc::unbounded_channel();
    let behind = StreamService::new(move |mut stream| {
        let told = told.clone();
        async move {
            if stream.path() != "/endless" {
                return stream.says("served").await;
            }
            let mut to = stream.begin(&[]);
            assert!(send(&mut to, b"begun").await);
            let reason = std::future::poll_fn(|cx| to.poll_reset(cx)).await;
            told.send(reason.unwrap()).unwrap();
        }
    });
    let router = Router::serving(&behind.target(7));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let asked = request(Method::GET, "http://a.example/endless");
        let (answer, _) = streams.begin(asked, true).await.unwrap();
        let mut body = timeout(PATIENCE, answer).await.unwrap().unwrap().into_body();
        assert_eq!(bytes(&mut body, 5).await, b"begun");
        drop(body);
        let reason = timeout(PATIENCE, ended.recv()).await.unwrap().unwrap();
        assert_eq!(reason, Reason::CANCEL);
        assert_eq!(streams.get("http://a.example/").await.unwrap().text(), "served");
    });
    assert_eq!(behind.connections(), 1);
}

/// A service that takes WebSockets as streams, says hello and sends back what it gets.
fn echo() -> StreamService {
    StreamService::with(
        |builder| {
            builder.enable_connect_protocol();
        },
        |mut stream| async move {
            let protocol = stream.request.extensions().get::<Protocol>();
            if protocol.is_none_or(|protocol| protocol.as_str() != "websocket") {
                return stream.says("plain").await;
            }
            assert_eq!(stream.request.method(), Method::CONNECT);
            assert_eq!(stream.request.uri(), "http://a.example/ws?x");
            for name in ["sec-websocket-key", "connection", "upgrade"] {
                assert_eq!(stream.request.headers().get(name), None, "{name}");
            }
            let mut to = stream.begin(&[("sec-websocket-protocol", "chat")]);
            assert!(send(&mut to, b"hello").await);
            while let Some(piece) = stream.piece().await {
                send(&mut to, &piece).await;
            }
            let _gone = to.send_data(Bytes::new(), true);
        },
    )
}

#[test]
fn a_websocket_is_a_stream_to_a_service_that_offers_it() {
    let behind = echo();
    let router = Router::serving(&behind.target(7));
    let mut client = router.client();
    client.send(
        "GET /ws?x HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let answer = client.head();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("upgrade"), Some("websocket"));
    assert_eq!(answer.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(answer.field("sec-websocket-protocol"), Some("chat"));
    assert_eq!(client.bytes(5), b"hello");
    client.send("1234");
    assert_eq!(client.bytes(4), b"1234");
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        assert_eq!(streams.get("http://a.example/").await.unwrap().text(), "plain");
        let mut asked = request(Method::CONNECT, "http://a.example/ws?x");
        asked.extensions_mut().insert(Protocol::from_static("websocket"));
        let (answer, mut to) = streams.begin(asked, false).await.unwrap();
        let answer = timeout(PATIENCE, answer).await.unwrap().unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["sec-websocket-protocol"], "chat");
        let mut from = answer.into_body();
        assert_eq!(bytes(&mut from, 5).await, b"hello");
        to.send_data(Bytes::from_static(b"5678"), false).unwrap();
        assert_eq!(bytes(&mut from, 4).await, b"5678");
    });
    drop(client);
    router.until(|_| router.metric("tunnels_open") == 0);
}

#[test]
fn a_service_without_websockets_is_said_to_have_none() {
    let behind = StreamService::saying("plain");
    let router = Router::serving(&behind.target(7));
    let answer = router.client().ask(
        "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    assert_eq!(answer.status, 501);
    assert!(answer.text().contains("offers no WebSockets"), "{}", answer.text());
    // Another protocol is not asked for at all.
    let other = "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: irc\r\n\r\n";
    assert_eq!(router.client().ask(other).text(), "plain");
}
