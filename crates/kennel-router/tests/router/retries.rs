//! A connection that a service closed never costs a request that could be sent again, and nothing
//! is ever done twice.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::client::{Client, read_head};
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
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.ask(post).text(), "connection 0");
    assert_eq!(client.ask(post).status, 502);
    assert_eq!(read.load(Ordering::SeqCst), 2);
    assert_eq!(client.ask(post).text(), "connection 1");
}

#[test]
fn a_put_with_a_body_is_not() {
    let (dying, read) = dying();
    let router = Router::serving(&service(7, dying.address));
    let mut client = router.client();
    let put = "PUT / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.ask(put).text(), "connection 0");
    assert_eq!(client.ask(put).status, 502);
    assert_eq!(read.load(Ordering::SeqCst), 2);
}

/// A request without a body that is no idempotent one, over connections that others use too.
#[test]
fn a_post_without_a_body_is_not_either() {
    let (dying, read) = dying();
    let router = Router::serving(&service(7, dying.address));
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "connection 0");
    let post = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(client.ask(post).status, 502);
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

/// A service that can be killed: it answers after a moment, with its number.
struct Mortal {
    listener: TcpListener,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Mortal {
    fn new(number: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = Arc::new(Mutex::new(Vec::new()));
        let (accepting, known) = (listener.try_clone().unwrap(), Arc::clone(&open));
        thread::spawn(move || {
            while let Ok((mut stream, _)) = accepting.accept() {
                known.lock().unwrap().push(stream.try_clone().unwrap());
                thread::spawn(move || {
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while read_head(&mut reader).is_some() {
                        thread::sleep(Duration::from_millis(1));
                        if stream.write_all(&ok(&number.to_string())).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { listener, open }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// What the kernel does for a process that is killed.
    fn kill(self) {
        rustix::net::shutdown(&self.listener, rustix::net::Shutdown::Both).unwrap();
        drop(self.listener);
        for stream in self.open.lock().unwrap().drain(..) {
            let _closed = stream.shutdown(std::net::Shutdown::Both);
        }
    }
}

#[test]
fn twenty_killed_services_fail_no_get_while_the_next_one_takes_over() {
    let mut router = Router::boot();
    let mut living = Mortal::new(0);
    router.publish(&[("a.example", &service(100, living.address()))]);
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|which| {
            let done = Arc::clone(&done);
            let address = router.address;
            thread::spawn(move || {
                let mut client = Client::connect(address);
                let mut requests = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    if which % 2 == 0 {
                        client = Client::connect(address);
                    }
                    let answer = client.get("/");
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    requests += 1;
                }
                requests
            })
        })
        .collect();
    for n in 1..=20 {
        let next = Mortal::new(n);
        router.publish(&[("a.example", &service(100 + n as u64, next.address()))]);
        // With whatever it is just answering.
        std::mem::replace(&mut living, next).kill();
        let before = router.status().requests;
        router.until(|status| status.requests > before + 20);
    }
    done.store(true, Ordering::Relaxed);
    let requests: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(requests > 400, "only {requests} requests");
}

#[test]
fn one_that_was_never_sent_goes_to_the_next_one_whatever_it_is() {
    let hello = Service::saying("hello");
    let mut router = Router::boot();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    rustix::net::listen(&gone, 0).unwrap();
    router.publish(&[("a.example", &service(7, address))]);
    // The queue of a service that hangs is full; who waits for a place in it is led elsewhere.
    let _queued = TcpStream::connect(address).unwrap();
    let mut client = router.client();
    client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi");
    router.until(|status| status.requests == 1);
    router.publish(&[("a.example", &service(8, hello.address))]);
    assert_eq!(client.answer().text(), "hello");
}
