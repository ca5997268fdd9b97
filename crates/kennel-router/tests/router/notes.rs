//! What is told of a request: its id, how long it took, and what the journal gets.

use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;

use crate::client::Client;
use crate::host::{PATIENCE, Router, service, short};
use crate::service::{Service, nobody, ok};

/// A router with a journal, these keys of `[router]`, and what answers under `a.example`.
fn noting(keys: &str, target: &str) -> (Router, UnixDatagram) {
    let mut journal = None;
    let mut router = Router::boot_with(short(), |dir| {
        let listener = UnixDatagram::bind(dir.join("journal")).unwrap();
        listener.set_read_timeout(Some(PATIENCE)).unwrap();
        journal = Some(listener);
    });
    let output = r#""output":{"project":"shop","branch":"main","service":"api"},"#;
    router.publish_with(
        &format!(r#""router":{{"trusted_proxies":["127.0.0.9"],{keys}}},"#),
        &format!(r#""a.example":[{{"prefix":"/",{output}"target":{target}}}]"#),
    );
    (router, journal.unwrap())
}

fn entry(journal: &UnixDatagram) -> BTreeMap<String, String> {
    let mut bytes = [0; 8192];
    let len = journal.recv(&mut bytes).unwrap();
    let text = std::str::from_utf8(&bytes[..len]).unwrap();
    let field = |line: &str| {
        let (name, value) = line.split_once('=').unwrap();
        (name.to_owned(), value.to_owned())
    };
    text.lines().map(field).collect()
}

#[test]
fn every_request_is_an_entry() {
    let echo = Service::replying(|seen| ok(seen.head.last().unwrap()));
    let (router, journal) = noting(r#""access_log":"all""#, &service(7, echo.address));
    let mut proxied = Client::connect_from("127.0.0.9", router.address);
    let answer = proxied.get_with("/a/b?token=secret", "X-Forwarded-For: 203.0.113.5\r\n");
    assert_eq!(answer.status, 200);
    let mut seen = entry(&journal);
    for name in ["DURATION_USEC", "SERVICE_USEC"] {
        assert!(seen.remove(name).unwrap().parse::<u64>().unwrap() < 60_000_000, "{name}");
    }
    assert_eq!(seen.remove("REQUEST_ID").unwrap().len(), 16);
    assert_eq!(seen.remove("HTTP_BYTES").unwrap(), answer.body.len().to_string());
    assert!(seen.remove("MESSAGE").unwrap().starts_with("GET a.example/a/b 200 "));
    let lines: Vec<String> = seen.iter().map(|(name, value)| format!("{name}={value}")).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    CLIENT=203.0.113.5
    HTTP_HOST=a.example
    HTTP_METHOD=GET
    HTTP_PATH=/a/b
    HTTP_STATUS=200
    KENNEL_BRANCH=main
    KENNEL_DEPLOYMENT=7
    KENNEL_PROJECT=shop
    KENNEL_SERVICE=api
    MESSAGE_ID=8c3f4b0d6f5e4c0b9d0a7b61c2a4e97f
    PRIORITY=6
    PROTOCOL=HTTP/1.1
    SCHEME=http
    SYSLOG_IDENTIFIER=kennel-router
    ");
    // What nothing answers for is one, too.
    let unknown = router.client().ask("GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n");
    assert_eq!(unknown.status, 404);
    let seen = entry(&journal);
    assert_eq!((&*seen["HTTP_STATUS"], &*seen["HTTP_HOST"]), ("404", "nobody.example"));
    assert!(!seen.contains_key("KENNEL_PROJECT"));
    let refused = router.client().ask("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n");
    assert_eq!(refused.status, 400);
    assert_eq!(entry(&journal)["HTTP_STATUS"], "400");
    // HEAD has nothing to break off.
    let mut client = router.client();
    client.send("HEAD / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    assert_eq!(client.head().status, 200);
    assert!(!entry(&journal).contains_key("HTTP_ABORTED"));
    assert_eq!(router.metric("access_log_dropped_total"), 0);
}

#[test]
fn errors_are_what_this_side_did_wrong() {
    let breaking = Service::new(|mut conn| {
        conn.head().unwrap();
        conn.send("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhello");
    });
    let (mut router, journal) = noting(r#""access_log":"errors""#, &service(7, breaking.address));
    let mut client = router.client();
    client.send("GET /broken HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let head = client.head().head;
    assert!(client.body(&head).is_err());
    let seen = entry(&journal);
    assert_eq!((&*seen["HTTP_PATH"], &*seen["HTTP_ABORTED"]), ("/broken", "service"));
    let absent = service(8, nobody());
    router.publish_with(
        r#""router":{"access_log":"errors"},"#,
        &format!(r#""a.example":[{{"prefix":"/","target":{absent}}}]"#),
    );
    // Not among them.
    assert_eq!(router.client().ask("GET / HTTP/1.1\r\nHost: nobody\r\n\r\n").status, 404);
    assert_eq!(router.client().get("/absent").status, 503);
    let seen = entry(&journal);
    assert_eq!((&*seen["HTTP_PATH"], &*seen["HTTP_STATUS"]), ("/absent", "503"));
    assert_eq!(seen["PRIORITY"], "4");
}

#[test]
fn ids_and_times_are_told_to_both_sides() {
    let echo = Service::echoing_heads();
    let (router, journal) =
        noting(r#""request_id":true,"server_timing":true"#, &service(7, echo.address));
    let told = |answer: &crate::client::Answer| {
        let line = answer.text().lines().find_map(|line| line.strip_prefix("x-request-id: "));
        assert_eq!(line, answer.field("x-request-id"));
        line.unwrap().to_owned()
    };
    let answer = router.client().get_with("/", "X-Request-Id: mine\r\n");
    assert_eq!(told(&answer).len(), 16);
    let timing = answer.field("server-timing").unwrap();
    assert!(timing.starts_with("service;dur=") && timing.contains(", router;dur="), "{timing}");
    let mut proxied = Client::connect_from("127.0.0.9", router.address);
    assert_eq!(told(&proxied.get_with("/", "X-Request-Id: theirs\r\n")), "theirs");
    assert_ne!(told(&proxied.get_with("/", "X-Request-Id: no id\r\n")), "no id");
    // A page of the router's own has both as well.
    let unknown = router.client().ask("GET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n");
    assert_eq!(unknown.field("x-request-id").unwrap().len(), 16);
    assert!(unknown.field("server-timing").unwrap().starts_with("router;dur="));
    journal.set_nonblocking(true).unwrap();
    assert!(journal.recv(&mut [0; 16]).is_err(), "nothing is logged");
}

#[test]
fn without_the_keys_a_request_passes_as_it_is() {
    let echo = Service::echoing_heads();
    let router = Router::serving(&service(7, echo.address));
    let answer = router.client().get_with("/", "X-Request-Id: mine\r\n");
    assert!(answer.text().contains("x-request-id: mine"));
    assert_eq!(answer.field("x-request-id"), None);
    assert_eq!(answer.field("server-timing"), None);
}
