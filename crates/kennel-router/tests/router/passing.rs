//! Requests and answers pass through a service's route unchanged but for what must change.

use std::io::Write;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::Duration;

use crate::client::Client;
use crate::host::{PATIENCE, Router, service, short};
use crate::service::{Service, nobody, ok};

#[test]
fn a_service_sees_the_request_and_who_asked() {
    let echo = Service::echoing_heads();
    let router = Router::serving(&service(7, echo.address));
    let answer = router.client().ask(
        "GET /a%20b?x=1 HTTP/1.1\r\nHost: A.Example.:80\r\nX-Forwarded-For: 6.6.6.6\r\n\
         X_Forwarded_For: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\nX-Real-IP: 6.6.6.6\r\n\
         X-Forwarded-Proto: https\r\nConnection: X-Secret, close\r\nX-Secret: 1\r\nTE: trailers\r\n\
         Proxy-Authorization: x\r\nKeep-Alive: timeout=5\r\nCookie: a=b\r\n\r\n",
    );
    let mut lines: Vec<&str> = answer.text().lines().collect();
    lines[1..].sort_unstable();
    let port = router.address.port().to_string();
    insta::assert_snapshot!(lines.join("\n").replace(&port, "<port>"), @r#"
    GET /a%20b?x=1 HTTP/1.1
    cookie: a=b
    forwarded: for=127.0.0.1;host="A.Example.:80";proto=http
    host: A.Example.:80
    x-forwarded-for: 127.0.0.1
    x-forwarded-host: A.Example.:80
    x-forwarded-port: <port>
    x-forwarded-proto: http
    x-real-ip: 127.0.0.1
    "#);
    assert_eq!(answer.field("connection"), Some("close"));
}

#[test]
fn fields_of_the_services_connection_stay_there() {
    let odd = Service::replying(|_| {
        b"HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=9\r\n\
          Proxy-Authenticate: Basic\r\nTrailer: X-Sum\r\nUpgrade: h2c\r\nX-Kept: 1\r\n\
          Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok"
            .to_vec()
    });
    let router = Router::serving(&service(7, odd.address));
    let answer = router.client().get("/");
    let mut head = answer.head;
    head.retain(|line| !line.starts_with("date: "));
    insta::assert_snapshot!(head.join("\n"), @"
    HTTP/1.1 200 OK
    set-cookie: a=1
    set-cookie: b=2
    content-length: 2
    x-kept: 1
    ");
}

#[test]
fn connections_are_kept_on_both_sides() {
    let hello = Service::saying("hello");
    let router = Router::serving(&service(7, hello.address));
    let mut client = router.client();
    for _ in 0..20 {
        assert_eq!(client.get("/").text(), "hello");
    }
    assert_eq!(hello.connections(), 1);
    assert_eq!(router.metric("upstream_reuses_total"), 19);
}

#[test]
fn bodies_stream_both_ways_at_once() {
    // Each piece is sent only after the one before has come back.
    let echo = Service::new(|mut conn| {
        conn.head().unwrap();
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for piece in ["one", "two"] {
            let framed = format!("3\r\n{piece}\r\n");
            assert_eq!(conn.bytes(framed.len()), framed.as_bytes());
            conn.send(framed);
        }
        assert_eq!(conn.bytes(5), b"0\r\n\r\n");
        conn.send("0\r\n\r\n");
        assert!(conn.request().is_none());
    });
    let router = Router::serving(&service(7, echo.address));
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send("3\r\none\r\n");
    assert_eq!(client.head().status, 200);
    assert_eq!(client.bytes(8), b"3\r\none\r\n");
    client.send("3\r\ntwo\r\n");
    assert_eq!(client.bytes(8), b"3\r\ntwo\r\n");
    client.send("0\r\n\r\n");
    assert_eq!(client.bytes(5), b"0\r\n\r\n");
}

#[test]
fn a_slow_reader_holds_the_service_back() {
    let (told, written) = channel();
    let told = Mutex::new(told);
    let flood = Service::new(move |mut conn| {
        conn.head().unwrap();
        let total: usize = 256 << 20;
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n"));
        let mut raw = conn.raw();
        raw.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let piece = vec![0; 64 << 10];
        let mut sent = 0;
        // Until the router takes no more for half a second.
        while sent < total {
            match raw.write(&piece) {
                Ok(len) => sent += len,
                Err(_) => break,
            }
        }
        told.lock().unwrap().send(sent).unwrap();
    });
    let router = Router::serving(&service(7, flood.address));
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let sent = written.recv_timeout(PATIENCE).unwrap();
    // Four socket buffers of at most 6 MiB, and what hyper holds.
    assert!(sent < 64 << 20, "the router took {sent} bytes from the service");
    drop(client);
}

#[test]
fn a_slow_service_holds_the_client_back() {
    let sink = Service::new(|mut conn| {
        conn.head().unwrap();
        std::thread::park();
    });
    let router = Router::serving(&service(7, sink.address));
    let client = router.client();
    let mut raw = client.raw();
    raw.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let total: usize = 256 << 20;
    write!(raw, "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {total}\r\n\r\n").unwrap();
    let piece = vec![0; 64 << 10];
    let mut sent = 0;
    while let Ok(len) = raw.write(&piece) {
        sent += len;
        assert!(sent < 64 << 20, "the router took {sent} bytes from the client");
    }
}

#[test]
fn a_large_body_arrives_whole() {
    let sum = Service::replying(|seen| {
        ok(&format!("{} {}", seen.body.len(), seen.body.iter().map(|&b| u64::from(b)).sum::<u64>()))
    });
    let router = Router::serving(&service(7, sum.address));
    let body: Vec<u8> = (0..5_000_000_u32).map(|n| (n % 251) as u8).collect();
    let expected = format!("{} {}", body.len(), body.iter().map(|&b| u64::from(b)).sum::<u64>());
    let mut client = router.client();
    client.send(format!(
        "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n",
        body.len()
    ));
    client.send(&body);
    assert_eq!(client.answer().text(), expected);
    let mut chunked =
        b"PUT / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(100_000) {
        chunked.extend(format!("{:x};ext=1\r\n", piece.len()).bytes());
        chunked.extend(piece);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\nX-Trailer: dropped\r\n\r\n");
    assert_eq!(client.ask(chunked).text(), expected);
}

#[test]
fn a_get_may_have_a_body_of_unknown_length() {
    let echo = Service::replying(|seen| ok(std::str::from_utf8(&seen.body).unwrap()));
    let router = Router::serving(&service(7, echo.address));
    let answer = router.client().ask(
        "GET / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    );
    assert_eq!(answer.text(), "abc");
}

#[test]
fn head_204_and_304_have_no_body() {
    let odd = Service::replying(|seen| {
        let head = match seen.line().split(' ').nth(1).unwrap() {
            "/length" => "200 OK\r\nContent-Length: 1000",
            "/chunked" => "200 OK\r\nTransfer-Encoding: chunked",
            "/204" => "204 No Content",
            "/304" => "304 Not Modified\r\nContent-Length: 1000\r\nETag: \"x\"",
            path => panic!("{path}"),
        };
        format!("HTTP/1.1 {head}\r\n\r\n").into_bytes()
    });
    let router = Router::serving(&service(7, odd.address));
    let mut client = router.client();
    let mut head = |path: &str| {
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: a.example\r\n\r\n"));
        client.head()
    };
    assert_eq!(head("/length").field("content-length"), Some("1000"));
    // No length that GET would not have.
    assert_eq!(head("/chunked").field("content-length"), None);
    assert_eq!(client.get("/204").status, 204);
    let unchanged = client.get("/304");
    assert_eq!((unchanged.status, unchanged.field("etag")), (304, Some("\"x\"")));
    assert_eq!(client.get("/204").field("content-length"), None);
    assert_eq!(odd.connections(), 1);
}

#[test]
fn clients_of_http_1_0() {
    let chunks = Service::replying(|seen| {
        assert!(seen.line().ends_with("HTTP/1.1"));
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".to_vec()
    });
    let router = Router::serving(&service(7, chunks.address));
    let answer = router.client().ask("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n");
    assert_eq!(answer.field("transfer-encoding"), None);
    assert_eq!(answer.text(), "hello");
}

#[test]
fn services_of_http_1_0() {
    let old = Service::new(|mut conn| {
        conn.request().unwrap();
        conn.send("HTTP/1.0 200 OK\r\n\r\nuntil the end");
    });
    let router = Router::serving(&service(7, old.address));
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "until the end");
    assert_eq!(client.get("/").text(), "until the end");
}

#[test]
fn a_body_is_sent_only_when_the_service_wants_it() {
    let careful = Service::new(|mut conn| {
        let head = conn.head().unwrap();
        assert!(head.iter().any(|line| line.eq_ignore_ascii_case("expect: 100-continue")));
        conn.send("HTTP/1.1 100 Continue\r\n\r\n");
        assert_eq!(conn.body(&head).unwrap(), b"hello");
        conn.send(ok("got it"));
        assert!(conn.request().is_none());
    });
    let router = Router::serving(&service(7, careful.address));
    let mut client = router.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    assert_eq!(client.head().status, 100);
    client.send("hello");
    assert_eq!(client.answer().text(), "got it");
}

#[test]
fn a_body_that_is_not_wanted_is_not_asked_for() {
    let refusing = Service::new(|mut conn| {
        conn.head().unwrap();
        conn.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nno\n");
        assert!(conn.is_closed());
    });
    let router = Router::serving(&service(7, refusing.address));
    let mut client = router.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (413, "no\n"));
    assert!(client.is_at_end());
}

#[test]
fn a_service_that_knows_no_expectations_gets_the_body_anyway() {
    let echo = Service::replying(|seen| ok(std::str::from_utf8(&seen.body).unwrap()));
    let mut limits = short();
    limits.expect = Duration::from_millis(1);
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(7, echo.address))]);
    let mut client = router.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a.example\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
    );
    assert_eq!(client.head().status, 100);
    client.send("hello");
    assert_eq!(client.answer().text(), "hello");
}

#[test]
fn an_early_answer_reaches_a_client_that_still_sends() {
    let hasty = Service::new(|mut conn| {
        conn.head().unwrap();
        conn.send(
            "HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno",
        );
        // Closing with unread bytes would reset the connection to the router.
        conn.raw().shutdown(std::net::Shutdown::Write).unwrap();
        while !conn.bytes_or_end() {}
    });
    let router = Router::serving(&service(7, hasty.address));
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 1000000\r\n\r\n");
    client.send(vec![0; 500_000]);
    let answer = client.answer();
    assert_eq!((answer.status, answer.text()), (413, "no"));
}

#[test]
fn a_client_that_leaves_ends_the_services_work() {
    let (told, closed) = channel();
    let told = Mutex::new(told);
    let slow = Service::new(move |mut conn| {
        conn.head().unwrap();
        told.lock().unwrap().send(false).unwrap();
        told.lock().unwrap().send(conn.is_closed()).unwrap();
    });
    let router = Router::serving(&service(7, slow.address));
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(!closed.recv_timeout(PATIENCE).unwrap());
    drop(client);
    assert!(closed.recv_timeout(PATIENCE).unwrap());
}

#[test]
fn half_an_answer_never_looks_whole() {
    for framing in ["Content-Length: 20", "Transfer-Encoding: chunked"] {
        let breaking = Service::new(move |mut conn| {
            conn.head().unwrap();
            conn.send(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n5\r\nhello\r\n"));
        });
        let router = Router::serving(&service(7, breaking.address));
        let mut client = router.client();
        client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
        let answer = client.head();
        assert!(client.body(&answer.head).is_err(), "{framing}");
    }
}

#[test]
fn absent_broken_and_late_are_told_apart() {
    let broken = Service::replying(|_| b"SSH-2.0-OpenSSH_9.2\r\n\r\n".to_vec());
    let closing = Service::new(|mut conn| drop(conn.request()));
    let silent = Service::new(|mut conn| {
        conn.request();
        std::thread::park();
    });
    let mut limits = short();
    // Longer than a busy machine needs for those that do answer.
    limits.first_byte = Duration::from_secs(1);
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[
        ("absent.example", &service(1, nobody())),
        ("broken.example", &service(2, broken.address)),
        ("closing.example", &service(3, closing.address)),
        ("silent.example", &service(4, silent.address)),
        ("socket.example", r#"{"kind":"socket","path":"/nonexistent/x.sock"}"#),
    ]);
    let ask = |host: &str| {
        let answer = router.client().ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        (answer.status, answer.field("retry-after").map(str::to_owned))
    };
    assert_eq!(ask("absent.example"), (503, Some("2".into())));
    assert_eq!(ask("socket.example"), (503, Some("2".into())));
    assert_eq!(ask("broken.example"), (502, None));
    assert_eq!(ask("closing.example"), (502, None));
    assert_eq!(ask("silent.example"), (504, None));
}

#[test]
fn kennels_own_programs_answer_on_unix_sockets() {
    let mut router = Router::boot();
    let path = router.dir().join("hook.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut reader = std::io::BufReader::new(stream.try_clone().unwrap());
        while let Some(head) = crate::client::read_head(&mut reader) {
            stream.write_all(&ok(&head[0])).unwrap();
        }
    });
    router.publish(&[]);
    router.publish_text(&format!(
        r#"{{"version":1,"generation":9,"hosts":{{"kennel.example":[{{"prefix":"/webhook/","target":{{"kind":"socket","path":"{}"}}}}]}}}}"#,
        path.display()
    ));
    router.until(|status| status.generation == Some(9));
    let mut client: Client = router.client();
    let mut ask =
        |path: &str| client.ask(format!("GET {path} HTTP/1.1\r\nHost: kennel.example\r\n\r\n"));
    assert_eq!(ask("/webhook/site").text(), "GET /webhook/site HTTP/1.1");
    assert_eq!(ask("/webhook/site").text(), "GET /webhook/site HTTP/1.1");
    assert_eq!(ask("/other").status, 404);
}
