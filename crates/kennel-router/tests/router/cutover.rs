//! From one deployment to the next without a failed request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::host::{PATIENCE, Router, service};
use crate::service::{Service, ok};

#[test]
fn what_the_old_one_began_it_finishes() {
    let (asked, was_asked) = channel();
    let (go, may_go) = channel::<()>();
    let (asked, may_go) = (Mutex::new(asked), Mutex::new(may_go));
    let old = Service::new(move |mut conn| {
        while let Some(seen) = conn.request() {
            if seen.line().starts_with("GET /slow ") {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nol");
                asked.lock().unwrap().send(()).unwrap();
                may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
                conn.send("d one");
            }
            conn.send(ok("old"));
        }
    });
    let new = Service::saying("new");
    let mut router = Router::serving(&service(1, old.address));
    let mut kept = router.client();
    assert_eq!(kept.get("/").text(), "old");
    let mut slow = router.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    was_asked.recv_timeout(PATIENCE).unwrap();

    router.publish(&[("a.example", &service(2, new.address))]);
    // A kept connection follows with its next request, and new ones at once.
    assert_eq!(kept.get("/").text(), "new");
    assert_eq!(router.client().get("/").text(), "new");
    go.send(()).unwrap();
    let answer = slow.answer();
    assert_eq!(answer.text(), "old on");
    assert_eq!(slow.get("/").text(), "new");
}

#[test]
fn a_port_that_is_used_again_is_not_mistaken_for_its_last_owner() {
    // One listener plays two deployments that had the same port one after the other: connections
    // made for the first must not carry requests for the second.
    let both = Service::new(|mut conn| {
        while conn.request().is_some() {
            conn.send(ok(&format!("connection {}", conn.number)));
        }
    });
    let mut router = Router::serving(&service(1, both.address));
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "connection 0");
    router.publish(&[("a.example", &service(2, both.address))]);
    assert_eq!(client.get("/").text(), "connection 1");
}

#[test]
fn connections_to_what_is_no_longer_routed_are_closed() {
    let (told, closed) = channel();
    let told = Mutex::new(told);
    let old = Service::new(move |mut conn| {
        conn.request().unwrap();
        conn.send(ok("old"));
        told.lock().unwrap().send(conn.is_closed()).unwrap();
    });
    let mut router = Router::serving(&service(1, old.address));
    assert_eq!(router.client().get("/").text(), "old");
    router.publish(&[]);
    assert!(closed.recv_timeout(PATIENCE).unwrap());
}

#[test]
fn twenty_cutovers_under_load_fail_no_request() {
    let mut router = Router::boot();
    let services: Vec<Service> = (0..20)
        .map(|n| Service::replying(move |seen| ok(&format!("{n} {}", seen.body.len()))))
        .collect();
    router.publish(&[("a.example", &service(100, services[0].address))]);
    let done = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..8)
        .map(|which| {
            let done = Arc::clone(&done);
            let address = router.address;
            thread::spawn(move || {
                let mut client = crate::client::Client::connect(address);
                let mut requests = 0;
                let mut newest = 0;
                while !done.load(Ordering::Relaxed) {
                    if which % 2 == 0 {
                        client = crate::client::Client::connect(address);
                    }
                    let answer = if which % 4 < 2 {
                        client.get("/")
                    } else {
                        client.ask(
                            "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello",
                        )
                    };
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    // One client's requests come one after the other: never back to an older one.
                    let by: usize = answer.text().split(' ').next().unwrap().parse().unwrap();
                    assert!(by >= newest, "{by} answered after {newest}");
                    newest = by;
                    requests += 1;
                }
                requests
            })
        })
        .collect();
    for (n, new) in services.iter().enumerate().skip(1) {
        router.publish(&[("a.example", &service(100 + n as u64, new.address))]);
        let before = router.status().requests;
        router.until(|status| status.requests > before + 50);
    }
    done.store(true, Ordering::Relaxed);
    let requests: u64 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    assert!(requests > 1000, "only {requests} requests");
}
