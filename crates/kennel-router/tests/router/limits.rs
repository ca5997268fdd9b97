//! How much one client gets, and how much one service takes.

use std::sync::Mutex;
use std::sync::mpsc::channel;

use crate::client::{Client, connect_from};
use crate::host::{PATIENCE, Router, service};
use crate::service::{Service, ok};

/// A host with one route: its target, and what else the route says, each with its comma.
fn host(name: &str, more: &str, target: &str) -> String {
    format!(r#""{name}":[{{"prefix":"/",{more}"target":{target}}}]"#)
}

fn output(service: &str) -> String {
    format!(r#""output":{{"project":"shop","branch":"main","service":"{service}"}},"#)
}

fn limited(limits: &str, target: &str) -> Router {
    let mut router = Router::boot();
    router.publish_with("", &host("a.example", &format!(r#""limits":{{{limits}}},"#), target));
    router
}

#[test]
fn a_body_that_is_too_long_is_refused() {
    let echo = Service::replying(|seen| ok(std::str::from_utf8(&seen.body).unwrap()));
    let router = limited(r#""max_body":10"#, &service(7, echo.address));
    let post = |fields: &str, body: &str| {
        let mut client = router.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n{body}"));
        let answer = client.answer();
        (answer.status, answer.text().to_owned())
    };
    // Said before: not a byte of it is waited for, nor asked for, and the service hears nothing.
    assert_eq!(post("Content-Length: 11", "").0, 413);
    assert_eq!(post("Content-Length: 11\r\nExpect: 100-continue", "").0, 413);
    assert_eq!(echo.connections(), 0);
    assert_eq!(post("Content-Length: 10", "0123456789"), (200, "0123456789".into()));
    assert_eq!(
        post("Transfer-Encoding: chunked", "a\r\n0123456789\r\n0\r\n\r\n"),
        (200, "0123456789".into())
    );
    // Seen on the way.
    let (status, text) =
        post("Transfer-Encoding: chunked", "a\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n");
    assert_eq!(status, 413);
    assert!(text.contains("larger than is taken"), "{text}");
    assert_eq!(router.client().get("/").status, 200);
}

#[test]
fn a_service_gets_no_more_requests_at_a_time_than_it_takes() {
    let (go, gone) = channel::<()>();
    let gone = Mutex::new(gone);
    let (come, came) = channel();
    let come = Mutex::new(come);
    let slow = Service::replying(move |_| {
        come.lock().unwrap().send(()).unwrap();
        gone.lock().unwrap().recv_timeout(PATIENCE).unwrap();
        ok("slow")
    });
    let quick = Service::saying("quick");
    let mut router = Router::boot();
    let publish = |router: &mut Router| {
        let few = r#""limits":{"max_requests":2},"#;
        router.publish_with(
            "",
            &[
                host("a.example", few, &service(7, slow.address)),
                host("www.a.example", few, &service(7, slow.address)),
                host("b.example", "", &service(8, quick.address)),
            ]
            .join(","),
        );
    };
    publish(&mut router);
    let ask = |host: &str| {
        let mut client = router.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client
    };
    // Whichever of its hosts they are for.
    let (mut one, mut two) = (ask("a.example"), ask("www.a.example"));
    for _ in 0..2 {
        came.recv_timeout(PATIENCE).unwrap();
    }
    for host in ["a.example", "www.a.example"] {
        let refused = ask(host).answer();
        assert_eq!((refused.status, refused.field("retry-after")), (503, Some("2")));
    }
    assert_eq!(ask("b.example").answer().text(), "quick", "others have nothing to do with it");
    // A new table changes nothing of what is under way.
    publish(&mut router);
    let ask = |host: &str| {
        let mut client = router.client();
        client.send(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        client
    };
    assert_eq!(ask("a.example").answer().status, 503);
    for _ in 0..3 {
        go.send(()).unwrap();
    }
    assert_eq!(one.answer().text(), "slow");
    assert_eq!(two.answer().text(), "slow");
    // The place is free when the answer has been handed over, which the client may see before.
    let answer = (0..1000).map(|_| ask("a.example").answer()).find(|it| it.status == 200);
    assert_eq!(answer.unwrap().text(), "slow");
}

#[test]
fn a_tunnel_is_no_request_that_others_wait_for() {
    let socket = Service::new(|mut conn| {
        while let Some(head) = conn.head() {
            if head.iter().any(|line| line.eq_ignore_ascii_case("upgrade: chat")) {
                conn.send("HTTP/1.1 101 OK\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n");
                let said = conn.bytes(2);
                conn.send(said);
                return assert!(conn.is_closed());
            }
            conn.send(ok("plain"));
        }
    });
    let router = limited(r#""max_requests":1"#, &service(7, socket.address));
    let mut tunnel = router.client();
    let upgraded = tunnel.get_with("/", "Connection: upgrade\r\nUpgrade: chat\r\n");
    assert_eq!(upgraded.status, 101);
    tunnel.send("hi");
    assert_eq!(tunnel.bytes(2), b"hi");
    assert_eq!(router.client().get("/").text(), "plain");
}

#[test]
fn who_asks_too_fast_is_told_when_to_come_again() {
    let hello = Service::saying("hello");
    let mut router = Router::boot();
    let rate = r#""limits":{"rate_limit":{"requests":3,"per":"1h"}},"#;
    let publish = |router: &mut Router, deployment| {
        let target = service(deployment, hello.address);
        let of_web = format!("{}{rate}", output("web"));
        let of_api = format!("{}{rate}", output("api"));
        router.publish_with(
            "",
            &[
                host("a.example", &of_web, &target),
                host("www.a.example", &of_web, &target),
                host("b.example", &of_api, &target),
                host("c.example", "", &target),
            ]
            .join(","),
        );
    };
    let ask = |router: &Router, from: &str, host: &str| {
        let mut client = Client::connect_from(from, router.address);
        let answer = client.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        let again = answer.field("retry-after").map(|secs| secs.parse::<u64>().unwrap());
        (answer.status, again)
    };
    publish(&mut router, 7);
    // On connections of their own, and so by any worker.
    for host in ["a.example", "www.a.example", "a.example"] {
        assert_eq!(ask(&router, "127.0.0.1", host), (200, None));
    }
    let (status, again) = ask(&router, "127.0.0.1", "a.example");
    assert_eq!(status, 429);
    assert!((1100..=1200).contains(&again.unwrap()), "{again:?}");
    assert_eq!(ask(&router, "127.0.0.1", "www.a.example").0, 429, "one allowance for all hosts");
    assert_eq!(ask(&router, "127.0.0.1", "b.example").0, 200, "another service");
    assert_eq!(ask(&router, "127.0.0.1", "c.example").0, 200, "without a limit");
    assert_eq!(ask(&router, "127.0.0.2", "a.example").0, 200, "another client");
    assert_eq!(router.metric("requests_limited_total"), 2);
    // The next deployment is the same service.
    publish(&mut router, 8);
    assert_eq!(ask(&router, "127.0.0.1", "a.example").0, 429);
    assert_eq!(ask(&router, "127.0.0.2", "a.example").0, 200);
}

#[test]
fn a_limit_of_the_host_counts_whatever_is_asked_for() {
    let hello = Service::saying("hello");
    let target = service(7, hello.address);
    let mut router = Router::boot();
    let path = router.dir().join("hook.sock");
    let hosts = [
        host("a.example", "", &target),
        host("b.example", "", &target),
        host("kennel.example", "", &format!(r#"{{"kind":"socket","path":"{}"}}"#, path.display())),
    ];
    let keys = r#""router":{"trusted_proxies":["127.0.0.9"],"rate_limit":{"requests":2,"per":"1h","burst":2}},"#;
    router.publish_with(keys, &hosts.join(","));
    let ask = |from: &str, host: &str, fields: &str| {
        let mut client = Client::connect_from(from, router.address);
        client.ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n")).status
    };
    assert_eq!(ask("127.0.0.1", "a.example", ""), 200);
    assert_eq!(ask("127.0.0.1", "nobody.example", ""), 404);
    assert_eq!(ask("127.0.0.1", "b.example", ""), 429);
    assert_eq!(ask("127.0.0.1", "nobody.example", ""), 429);
    // A forge does not ask again; here, nobody listens.
    assert_eq!(ask("127.0.0.1", "kennel.example", ""), 503);
    // Whom a proxy asks for is counted, and not the proxy.
    for client in ["203.0.113.5", "203.0.113.6", "2001:db8::1", "2001:db8:0:1::1"] {
        let fields = format!("X-Forwarded-For: {client}\r\n");
        let statuses = [(); 3].map(|()| ask("127.0.0.9", "a.example", &fields));
        assert_eq!(statuses, [200, 200, 429], "{client}");
    }
    let fields = "X-Forwarded-For: 2001:db8::2\r\n";
    assert_eq!(ask("127.0.0.9", "a.example", fields), 429, "of the same /64");
}

#[test]
fn a_client_has_its_own_connections_and_takes_nobody_elses() {
    let hello = Service::saying("hello");
    let mut router = Router::boot();
    let hosts = host("a.example", "", &service(7, hello.address));
    router.publish_with(
        r#""router":{"trusted_proxies":["127.0.0.9"],"connections_per_client":2},"#,
        &hosts,
    );
    let mut one = Client::connect_from("127.0.0.2", router.address);
    let mut two = Client::connect_from("127.0.0.2", router.address);
    assert_eq!((one.get("/").status, two.get("/").status), (200, 200));
    assert!(Client::connect_from("127.0.0.2", router.address).is_at_end());
    assert!(Client::connect_from("127.0.0.2", router.secure).is_at_end(), "TLS as well");
    assert_eq!(router.metric("connections_refused_total"), 2);
    assert_eq!(Client::connect_from("127.0.0.3", router.address).get("/").status, 200);
    let proxied: Vec<_> = (0..5).map(|_| connect_from("127.0.0.9", router.address)).collect();
    assert_eq!(Client::connect_from("127.0.0.9", router.address).get("/").status, 200);
    assert_eq!(one.get("/").status, 200);
    drop((one, proxied));
    router.until(|status| status.connections <= 2);
    assert_eq!(Client::connect_from("127.0.0.2", router.address).get("/").status, 200);

    // Without the key, what runs on this host has as many as it likes.
    router.publish_with("", &hosts);
    let many: Vec<_> = (0..300).map(|_| connect_from("127.0.0.2", router.address)).collect();
    assert_eq!(Client::connect_from("127.0.0.2", router.address).get("/").status, 200);
    drop(many);
}

#[test]
fn a_connection_counts_as_that_of_whom_it_is_for() {
    let hello = Service::saying("hello");
    let mut router = Router::boot();
    router.publish_with(
        r#""router":{"trusted_proxies":["127.0.0.9"],"proxy_protocol":true,"connections_per_client":1},"#,
        &host("a.example", "", &service(7, hello.address)),
    );
    let connect = |client: &str| {
        let mut connection = Client::connect_from("127.0.0.9", router.address);
        connection.send(format!("PROXY TCP4 {client} 198.51.100.1 4711 80\r\n"));
        connection
    };
    let mut first = connect("203.0.113.5");
    assert_eq!(first.get("/").status, 200);
    assert!(connect("203.0.113.5").is_at_end());
    assert_eq!(connect("203.0.113.6").get("/").status, 200);
}
