//! Heads as clients may send them, and clients that do not go on.

use std::time::Duration;

use crate::host::{Router, service, short};
use crate::service::{Service, ok};

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
