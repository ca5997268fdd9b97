//! A service gives way to its next version: whoever comes meanwhile waits, and is then answered.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use kennel_core::{DeploymentId, InUse, Use};
use kennel_router::Limits;

use crate::client::Client;
use crate::host::{PATIENCE, Router, service};
use crate::service::{Service, nobody, ok};

fn counted(deployment: u64, address: SocketAddr) -> String {
    service(deployment, address).replace('}', r#","counted":true}"#)
}

fn held(deployment: u64) -> String {
    service(deployment, nobody()).replace('}', r#","held":true,"counted":true}"#)
}

/// The same service, which may sleep: where to ring for it.
fn sleepy(deployment: u64, address: SocketAddr, bell: &Path) -> String {
    let wake = format!(r#","counted":true,"wake":"{}"}}"#, bell.display());
    service(deployment, address).replace('}', &wake)
}

/// Waits until what is under way to a deployment is as wanted.
fn until(router: &Router, deployment: i64, wanted: impl Fn(&Use) -> bool) {
    let start = Instant::now();
    loop {
        let in_use: InUse = serde_json::from_str(&router.ask("/in-use")).unwrap();
        let found = in_use.deployments.get(&DeploymentId::from_row(deployment));
        if found.is_some_and(&wanted) {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "it stayed {found:?}");
        std::thread::yield_now();
    }
}

#[test]
fn whoever_comes_waits_and_is_then_answered() {
    let (old, new) = (Service::saying("old"), Service::echoing_bodies());
    let mut router = Router::serving(&counted(7, old.address));
    let mut kept = router.client();
    assert_eq!(kept.get("/").text(), "old");
    router.publish(&[("a.example", &held(7))]);
    // Over a kept connection, over new ones, and with a body, all of it sent or not.
    kept.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nkept");
    let mut waiting: Vec<Client> = (0..30).map(|_| router.client()).collect();
    for client in &mut waiting {
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nno");
    }
    until(&router, 7, |it| *it == Use { waiting: 31, ..Use::default() });
    // Another table, in which it still gives way.
    router.publish(&[("a.example", &held(7)), ("b.example", &service(9, nobody()))]);
    until(&router, 7, |it| it.waiting == 31);
    router.publish(&[("a.example", &counted(8, new.address))]);
    assert_eq!(kept.answer().text(), "kept");
    for client in &mut waiting {
        client.send("w!");
        assert_eq!(client.answer().text(), "now!");
    }
    assert_eq!(old.connections(), 1);
}

#[test]
fn it_may_come_back_itself() {
    let only = Service::saying("it");
    let mut router = Router::serving(&counted(7, only.address));
    router.publish(&[("a.example", &held(7))]);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    until(&router, 7, |it| it.waiting == 1);
    router.publish(&[("a.example", &counted(7, only.address))]);
    assert_eq!(client.answer().text(), "it");
}

#[test]
fn nobody_waits_for_ever() {
    let limits = Limits { held: Duration::from_millis(50), ..Limits::default() };
    let mut router = Router::boot_with(limits, |_| ());
    // The first table that it knows: a router that comes back makes visitors wait as well.
    router.publish(&[("a.example", &held(7))]);
    let answer = router.client().get("/");
    assert_eq!(answer.status, 503);
    assert_eq!(answer.field("retry-after"), Some("2"));
    until(&router, 7, |it| *it == Use::default());
}

#[test]
fn who_leaves_knows_when_it_comes() {
    let only = Service::saying("it");
    let mut router = Router::boot();
    router.publish(&[("a.example", &held(7))]);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    until(&router, 7, |it| it.waiting == 1);
    router.stop();
    router.publish(&[("a.example", &counted(7, only.address))]);
    let answer = client.answer();
    assert_eq!((answer.text(), answer.field("connection")), ("it", Some("close")));
    router.join().unwrap();
}

#[test]
fn who_leaves_says_so_before_it_is_gone() {
    let limits = Limits { stop: Duration::from_secs(1), ..Limits::default() };
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &held(7))]);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    until(&router, 7, |it| it.waiting == 1);
    router.stop();
    let answer = client.answer();
    assert_eq!((answer.status, answer.field("connection")), (503, Some("close")));
    router.join().unwrap();
}

#[test]
fn what_is_under_way_is_counted_to_its_end() {
    let slow = Service::new(|mut conn| {
        while let Some(seen) = conn.request() {
            if seen.line().starts_with("GET /slow") {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun");
                let _more = conn.request();
                return;
            }
            conn.send(ok("quick"));
        }
    });
    let mut router = Router::serving(&counted(7, slow.address));
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "quick");
    until(&router, 7, |it| *it == Use::default());
    client.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    until(&router, 7, |it| it.requests == 1);
    // It is still known when the version after it is waited for.
    router.publish(&[("a.example", &held(7))]);
    until(&router, 7, |it| it.requests == 1);
    drop(client);
    until(&router, 7, |it| *it == Use::default());
}

#[test]
fn a_sleeping_service_is_woken_by_all_who_come_at_once() {
    let address = nobody();
    let mut router = Router::boot();
    let path = router.dir().join("bell");
    let bell = UnixDatagram::bind(&path).unwrap();
    bell.set_read_timeout(Some(PATIENCE)).unwrap();
    router.publish(&[("a.example", &sleepy(7, address, &path))]);
    let mut clients: Vec<Client> = (0..50).map(|_| router.client()).collect();
    for client in &mut clients {
        client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi");
    }
    // As systemd: somebody rings, and it is started.
    assert_eq!(bell.recv(&mut [0; 8]).unwrap(), 1);
    until(&router, 7, |it| it.requests == 50 && it.waiting == 50);
    let woken = Service::at(address, |seen| ok(std::str::from_utf8(&seen.body).unwrap()));
    for client in &mut clients {
        assert_eq!(client.answer().text(), "hi");
    }
    until(&router, 7, |it| *it == Use::default());
    drop(woken);
}

#[test]
fn one_that_does_not_wake_is_told_of() {
    let limits = Limits { held: Duration::from_millis(50), ..Limits::default() };
    let mut router = Router::boot_with(limits, |_| ());
    let path = router.dir().join("bell");
    // Nor is there a bell.
    router.publish(&[("a.example", &sleepy(7, nobody(), &path))]);
    let answer = router.client().get("/");
    assert_eq!((answer.status, answer.field("retry-after")), (503, Some("2")));
}

#[test]
fn it_rests_while_nobody_uses_it_and_whoever_comes_waits() {
    let only = Service::new(|mut conn| {
        while let Some(seen) = conn.request() {
            if seen.line().starts_with("GET /slow") {
                conn.send("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun");
                let _more = conn.request();
                return;
            }
            conn.send(ok("it"));
        }
    });
    let mut router = Router::boot();
    let path = router.dir().join("bell");
    router.publish(&[("a.example", &sleepy(7, only.address, &path))]);
    assert_eq!(router.call("POST", "/rest/9"), "it is not counted\n");
    let mut slow = router.client();
    slow.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    until(&router, 7, |it| it.requests == 1);
    assert_eq!(router.call("POST", "/rest/7"), "it is in use\n");
    drop(slow);
    until(&router, 7, |it| *it == Use::default());
    assert_eq!(router.call("POST", "/rest/7"), "it rests\n");
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    until(&router, 7, |it| it.waiting == 1);
    assert_eq!(router.call("POST", "/rest/7/end"), "it is asked again\n");
    assert_eq!(client.answer().text(), "it");
}
