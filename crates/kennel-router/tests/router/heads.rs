//! Heads that two readers could understand differently never reach a service.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::host::{Router, service, short};
use crate::service::{Service, ok};

/// A router before a service that counts its requests.
fn counted() -> (Router, Arc<AtomicUsize>) {
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    let counting = Service::replying(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        ok("passed")
    });
    (Router::serving(&service(7, counting.address)), requests)
}

#[test]
fn what_could_be_smuggled_is_refused() {
    let (router, requests) = counted();
    let long = format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n", "a".repeat(9000));
    let fields: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
    let large = format!("GET / HTTP/1.1\r\nHost: a.example\r\nX: {}\r\n\r\n", "a".repeat(70_000));
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a.example\r\n folded: x\r\n\r\n", 400),
        ("GET http://a.example/ HTTP/1.1\r\n\r\n", 400),
        ("GET ftp://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 400),
        ("GET a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a.example\r\n\r\n", 400),
        ("GET / HTTP/1.2\r\nHost: a.example\r\n\r\n", 400),
        ("GET /\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX: a\0b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX: a\rb\r\n\r\n", 400),
        ("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
            400,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            501,
        ),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: identity\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
            400,
        ),
        ("POST / HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (
            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            400,
        ),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5, 5\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: +5\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0x5\r\n\r\nhello", 400),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: -1\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 99999999999999999999\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: \r\n\r\n", 400),
        (long.as_str(), 414),
        (many.as_str(), 431),
        (large.as_str(), 431),
    ] {
        let mut client = router.client();
        let answer = client.ask(request);
        assert_eq!(answer.status, status, "{request:.200}");
        assert!(client.is_at_end(), "the connection stayed open after {request:.200}");
    }
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

#[test]
fn two_lengths_in_a_pipelined_request_are_read_as_chunks_and_end_the_connection() {
    // Its head came in with the one before, and hyper has dropped the length already: RFC 9112
    // §6.1 allows that, if the connection ends.
    let echo = Service::replying(|seen| {
        ok(&format!("{}\n{}", seen.head.join("\n"), String::from_utf8_lossy(&seen.body)))
    });
    let router = Router::serving(&service(7, echo.address));
    let mut client = router.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n\
         POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 20\r\n\
         Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n",
    );
    assert_eq!(client.answer().status, 200);
    let second = client.answer();
    assert!(!second.text().contains("content-length") && second.text().ends_with("\nhi"));
    assert!(client.is_at_end());
}

#[test]
fn malformed_chunks_are_no_body() {
    for chunks in [
        "x\r\n",
        "5;\n\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n",
        "-1\r\n",
        "fffffffffffffffff\r\n",
    ] {
        let reading = Service::new(|mut conn| {
            let head = conn.head().unwrap();
            // The end of the body must not come.
            assert!(conn.body(&head).is_err());
        });
        let router = Router::serving(&service(7, reading.address));
        let mut client = router.client();
        client.send(format!(
            "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
        ));
        client.shutdown_write();
        let mut rest = Vec::new();
        // An answer or none, and then the end; never a second answer.
        let _reset = std::io::Read::read_to_end(&mut client.raw(), &mut rest);
        let text = String::from_utf8_lossy(&rest);
        assert!(text.matches("HTTP/1.1 ").count() <= 1, "{chunks:?}: {text}");
        assert!(!text.contains("200 OK"), "{chunks:?}: {text}");
    }
}

#[test]
fn the_targets_authority_replaces_the_host() {
    let echo = Service::echoing_heads();
    let router = Router::serving(&service(7, echo.address));
    let answer = router.client().ask(
        "GET http://A.example/x?y HTTP/1.1\r\nHost: other.example\r\nConnection: close\r\n\r\n",
    );
    assert!(answer.text().starts_with("GET /x?y HTTP/1.1\n"));
    assert!(answer.text().contains("\nhost: A.example\n"), "{}", answer.text());
    assert!(!answer.text().contains("other.example"));
}

#[test]
fn a_target_of_one_star() {
    let echo = Service::echoing_heads();
    let router = Router::serving(&service(7, echo.address));
    let answer = router.client().ask("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert!(answer.text().starts_with("OPTIONS * HTTP/1.1\n"));
}

#[test]
fn pipelined_requests_are_answered_in_turn() {
    let echo = Service::replying(|seen| ok(seen.line()));
    let router = Router::serving(&service(7, echo.address));
    let mut client = router.client();
    client.send("GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: a.example\r\n\r\n");
    assert_eq!(client.answer().text(), "GET /1 HTTP/1.1");
    assert_eq!(client.answer().text(), "POST /2 HTTP/1.1");
    assert_eq!(client.answer().text(), "GET /3 HTTP/1.1");
}

#[test]
fn unknown_hosts_get_a_page_that_repeats_nothing() {
    let router = Router::boot();
    let answer = router.client().ask("GET /?script HTTP/1.1\r\nHost: nothing.example\r\n\r\n");
    assert_eq!(answer.status, 404);
    assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
    assert!(!answer.text().contains("nothing.example") && !answer.text().contains("script"));
    let answer = router.client().ask("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(answer.status, 404);
}

#[test]
fn a_head_that_never_ends_is_given_up() {
    let mut limits = short();
    // Longer than a busy machine needs between a connection and the head that is sent over it.
    limits.head = Duration::from_millis(500);
    let mut router = Router::boot_with(limits, |_| ());
    let hello = Service::saying("hello");
    router.publish(&[("a.example", &service(7, hello.address))]);
    let mut never = router.client();
    assert!(never.is_at_end());
    let mut slow = router.client();
    slow.send("GET / HTTP/1.1\r\n");
    assert!(slow.is_at_end());
    let mut second = router.client();
    assert_eq!(second.get("/").text(), "hello");
    second.send("GET / HT");
    assert!(second.is_at_end());
}

#[test]
fn idle_connections_are_closed_at_last() {
    let mut limits = short();
    limits.idle = Duration::from_millis(50);
    let router = Router::boot_with(limits, |_| ());
    let mut client = router.client();
    assert_eq!(client.get("/").status, 404);
    assert!(client.is_at_end());
}

#[test]
fn a_body_that_stalls_is_given_up() {
    let mut limits = short();
    limits.stalled = Duration::from_millis(50);
    let mut router = Router::boot_with(limits, |_| ());
    let waiting = Service::new(|mut conn| drop(conn.request()));
    router.publish(&[("a.example", &service(7, waiting.address))]);
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhe");
    assert!(client.is_at_end());
}

/// Whoever holds all connections and says nothing keeps nobody out.
#[test]
fn who_says_nothing_makes_room_for_who_does() {
    let mut limits = short();
    limits.connections = 16;
    // Nothing but the others' need ends them.
    (limits.head, limits.idle) = (Duration::from_secs(3600), Duration::from_secs(3600));
    let mut router = Router::boot_with(limits, |_| ());
    let hello = Service::saying("hello");
    router.publish(&[("a.example", &service(7, hello.address))]);
    let mut silent: Vec<_> = (0..64).map(|_| router.client()).collect();
    for client in silent.iter_mut().step_by(2) {
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\n");
    }
    for _ in 0..20 {
        assert_eq!(router.client().get("/").text(), "hello");
    }
    assert!(silent[0].is_at_end());
}
