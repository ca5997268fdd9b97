//! Start, reload, refusal and stop.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::client::Client;
use crate::host::{PATIENCE, Router, service, short};
use crate::service::{Service, ok};

#[test]
fn a_router_without_a_table_knows_no_host() {
    let router = Router::boot();
    let status = router.status();
    assert_eq!((status.generation, status.hosts, status.refused), (None, 0, None));
    assert_eq!(router.client().get("/").status, 404);
}

#[test]
fn a_bad_table_at_the_start_is_said() {
    let router =
        Router::boot_with(short(), |dir| std::fs::write(dir.join("routes.json"), "{").unwrap());
    let status = router.status();
    assert_eq!(status.generation, None);
    assert!(status.refused.unwrap().contains("is not a route table"));
    assert_eq!(router.client().get("/").status, 404);
}

#[test]
fn a_bad_table_is_refused_and_the_old_one_keeps_serving() {
    let hello = Service::saying("hello");
    let mut router = Router::serving(&service(7, hello.address));
    router.publish_text(r#"{"version":1,"generation":2,"hosts":{"a.example":[],}}"#);
    let status = router.until(|status| status.refused.is_some());
    assert_eq!((status.generation, status.hosts), (Some(1), 1));
    let refused = status.refused.unwrap();
    let dir = router.dir().display().to_string();
    insta::assert_snapshot!(refused.replace(&dir, "<dir>"), @"<dir>/routes.json is not a route table: trailing comma at line 1 column 53");
    assert_eq!(router.client().get("/").text(), "hello");
    // A good one afterwards clears it.
    router.publish(&[("a.example", &service(7, hello.address))]);
    let status = router.until(|status| status.refused.is_none());
    assert_eq!(status.generation, Some(2));
}

#[test]
fn a_table_that_vanished_is_refused_too() {
    let hello = Service::saying("hello");
    let router = Router::serving(&service(7, hello.address));
    router.withdraw();
    router.until(|status| status.refused.is_some());
    assert_eq!(router.client().get("/").text(), "hello");
}

#[test]
fn an_older_generation_is_followed() {
    let router = Router::boot();
    router.publish_text(r#"{"version":1,"generation":9,"hosts":{}}"#);
    router.until(|status| status.generation == Some(9));
    router.publish_text(r#"{"version":1,"generation":3,"hosts":{}}"#);
    router.until(|status| status.generation == Some(3));
}

#[test]
fn the_status_socket_speaks_http() {
    let router = Router::boot();
    assert_eq!(router.client().get("/").status, 404);
    let status = router.status();
    assert_eq!(status.requests, 1);
    assert!(router.ask("/metrics").contains("kennel_router_responses_total{class=\"4xx\"} 1\n"));
    assert_eq!(
        router.ask("/other"),
        "there are /status, /health, /last-use, /in-use, /traffic and /metrics\n"
    );
    router.until(|status| status.connections == 0);
}

#[test]
fn an_idle_router_ends_at_once() {
    let router = Router::boot();
    router.stop();
    router.join().unwrap();
}

#[test]
fn what_was_begun_is_finished_on_the_way_out() {
    let (asked, was_asked) = channel();
    let (go, may_go) = channel::<()>();
    let (asked, may_go) = (Mutex::new(asked), Mutex::new(may_go));
    let slow = Service::new(move |mut conn| {
        while let Some(seen) = conn.request() {
            if seen.line().starts_with("GET /slow ") {
                asked.lock().unwrap().send(()).unwrap();
                may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            }
            conn.send(ok("done"));
        }
    });
    let router = Router::serving(&service(7, slow.address));
    let mut kept = router.client();
    assert_eq!(kept.get("/").text(), "done");
    let mut idle = router.client();
    assert_eq!(idle.get("/").text(), "done");
    let mut busy = router.client();
    busy.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    was_asked.recv_timeout(PATIENCE).unwrap();

    router.stop();
    // A kept connection is still answered, once, with the announcement of its end.
    let answer = loop {
        let answer = kept.get("/");
        if answer.field("connection").is_some() {
            break answer;
        }
    };
    assert_eq!((answer.text(), answer.field("connection")), ("done", Some("close")));
    assert!(kept.is_at_end());
    // An idle one is closed a little later, without having been asked anything.
    assert!(idle.is_at_end());
    go.send(()).unwrap();
    let answer = busy.answer();
    assert_eq!((answer.text(), answer.field("connection")), ("done", Some("close")));
    router.join().unwrap();
}

#[test]
fn tunnels_do_not_hold_up_the_end() {
    let tunnel = Service::new(|mut conn| {
        conn.head().unwrap();
        conn.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
        assert!(conn.is_closed());
    });
    let mut limits = short();
    limits.linger = std::time::Duration::from_millis(50);
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(7, tunnel.address))]);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(client.head().status, 101);
    router.stop();
    assert!(client.is_at_end());
    router.join().unwrap();
}

#[test]
fn the_end_comes_even_if_a_service_never_answers() {
    let silent = Service::new(|mut conn| {
        conn.request();
        std::thread::park();
    });
    let mut limits = short();
    limits.linger = std::time::Duration::from_millis(10);
    limits.stop = std::time::Duration::from_millis(100);
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(7, silent.address))]);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    router.until(|status| status.requests == 1);
    router.stop();
    router.join().unwrap();
}

#[test]
fn new_connections_are_served_by_another_router_meanwhile() {
    let (asked, was_asked) = channel();
    let (go, may_go) = channel::<()>();
    let (asked, may_go) = (Mutex::new(asked), Mutex::new(may_go));
    let behind = Service::new(move |mut conn| {
        while let Some(seen) = conn.request() {
            if seen.line().starts_with("GET /slow ") {
                asked.lock().unwrap().send(()).unwrap();
                may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            }
            conn.send(ok("done"));
        }
    });
    let mut limits = short();
    limits.stay = std::time::Duration::from_millis(500);
    let (mut router, relief) = Router::boot_relieved(limits);
    let address = router.address;
    router.publish(&[("a.example", &service(7, behind.address))]);
    let mut busy = router.client();
    busy.send("GET /slow HTTP/1.1\r\nHost: a.example\r\n\r\n");
    was_asked.recv_timeout(PATIENCE).unwrap();

    router.stop();
    // Until somebody comes everything goes on, and nobody is told to go.
    let mut kept = router.client();
    assert_eq!(kept.get("/").field("connection"), None);
    let relief = relief.start();
    // Now it is told, because somebody has come.
    while kept.get("/").field("connection").is_none() {}
    assert!(kept.is_at_end());
    for _ in 0..20 {
        let answer = Client::connect(address).get("/");
        assert_eq!((answer.text(), answer.field("connection")), ("done", None));
    }
    go.send(()).unwrap();
    assert_eq!(busy.answer().text(), "done");
    router.join().unwrap();
    // The next one never comes, and this one leaves all the same.
    assert_eq!(Client::connect(address).get("/").text(), "done");
    relief.join().unwrap().unwrap();
}

#[test]
fn without_another_router_new_connections_are_served_till_idle_ones_are_closed() {
    let hello = Service::saying("hello");
    let mut limits = short();
    limits.linger = std::time::Duration::from_secs(3600);
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(7, hello.address))]);
    let mut kept = router.client();
    assert_eq!(kept.get("/").text(), "hello");
    router.stop();
    while router.client().get("/").field("connection").is_none() {}
    for _ in 0..20 {
        let mut client = router.client();
        let answer = client.get("/");
        assert_eq!((answer.text(), answer.field("connection")), ("hello", Some("close")));
        assert!(client.is_at_end());
    }
    assert_eq!(kept.get("/").field("connection"), Some("close"));
    // Nobody is left, and nobody is waited for.
    router.join().unwrap();
}
