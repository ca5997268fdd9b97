//! A connection that a service closed never costs a request that could be sent again, and nothing
//! is ever done twice.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::host::{PATIENCE, Router, service, short};
use crate::service::{Service, ok};

/// A service whose first connection answers once and then dies on the second request, after having
/// read it. Others answer for ever. Counts the requests that it has read.
fn dying() -> (Service, Arc<AtomicUsize>) {
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let service = Service::new(move |mut conn| {
        while conn.request().is_some() {
            let nth = counter.fetch_add(1, Ordering::SeqCst);
            if conn.number == 0 && nth == 1 {
                return;
            }
            conn.send(ok(&format!("connection {}", conn.number)));
        }
    });
    (service, read)
}

#[test]
fn a_get_is_sent_again_when_a_kept_connection_dies() {
    let (dying, read) = dying();
    let router = Router::serving(&service(7, dying.address));
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "connection 0");
    assert_eq!(client.get("/").text(), "connection 1");
    assert_eq!(read.load(Ordering::SeqCst), 3);
    assert_eq!(router.metric("upstream_retries_total"), 1);
}

#[test]
fn a_post_is_not() {
    let (dying, read) = dying();
    let router = Router::serving(&service(7, dying.address));
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "connection 0");
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.ask(post).status, 502);
    assert_eq!(read.load(Ordering::SeqCst), 2);
    assert_eq!(client.ask(post).text(), "connection 1");
}

#[test]
fn a_put_with_a_body_is_not() {
    let (dying, read) = dying();
    let router = Router::serving(&service(7, dying.address));
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "connection 0");
    let put = "PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.ask(put).status, 502);
    assert_eq!(read.load(Ordering::SeqCst), 2);
}

#[test]
fn a_service_that_always_dies_is_asked_twice_at_most() {
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let dying = Service::new(move |mut conn| {
        while conn.request().is_some() {
            if counter.fetch_add(1, Ordering::SeqCst) > 0 {
                return;
            }
            conn.send(ok("once"));
        }
    });
    let router = Router::serving(&service(7, dying.address));
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "once");
    assert_eq!(client.get("/").status, 502);
    assert_eq!(read.load(Ordering::SeqCst), 3);
}

#[test]
fn nothing_is_sent_again_once_the_answer_has_begun() {
    let read = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&read);
    let breaking = Service::new(move |mut conn| {
        while conn.request().is_some() {
            if counter.fetch_add(1, Ordering::SeqCst) > 0 {
                return conn.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            }
            conn.send(ok("once"));
        }
    });
    let router = Router::serving(&service(7, breaking.address));
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "once");
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let answer = client.head();
    assert_eq!(client.body(&answer.head), Err(b"half".to_vec()));
    assert_eq!(read.load(Ordering::SeqCst), 2);
}

/// A service that closes each connection after one answer, without having said so, and tells when
/// it has.
fn closing(told: Sender<()>) -> Service {
    let told = Mutex::new(told);
    Service::new(move |mut conn| {
        if conn.request().is_some() {
            conn.send(ok("hello"));
            drop(conn);
            told.lock().unwrap().send(()).unwrap();
        }
    })
}

#[test]
fn connections_that_the_service_closed_cost_nothing() {
    let (told, closed) = channel();
    let closing = closing(told);
    let router = Router::serving(&service(7, closing.address));
    let mut client = router.client();
    for n in 0..200 {
        // Also for what cannot be sent twice: the close has arrived before the request.
        let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(client.ask(post).status, 200, "request {n}");
        closed.recv_timeout(PATIENCE).unwrap();
    }
    assert_eq!(closing.connections(), 200);
}

#[test]
fn what_cannot_be_repeated_goes_over_a_connection_used_just_now() {
    let hello = Service::saying("hello");
    let mut limits = short();
    limits.upstream_fresh = Duration::ZERO;
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(7, hello.address))]);
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "hello");
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.ask(post).text(), "hello");
    assert_eq!(hello.connections(), 2);
    assert_eq!(client.get("/").text(), "hello");
    assert_eq!(hello.connections(), 2);
}

#[test]
fn idle_connections_to_services_are_closed_before_they_close_them() {
    let (told, closed) = channel();
    let told = Mutex::new(told);
    let watching = Service::new(move |mut conn| {
        conn.request().unwrap();
        conn.send(ok("hello"));
        told.lock().unwrap().send(conn.is_closed()).unwrap();
    });
    let mut limits = short();
    limits.upstream_idle = Duration::from_millis(50);
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(7, watching.address))]);
    assert_eq!(router.client().get("/").text(), "hello");
    assert!(closed.recv_timeout(PATIENCE).unwrap());
}
