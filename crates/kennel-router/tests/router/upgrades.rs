//! Upgraded connections become tunnels, and only those that both sides agreed on.

use crate::host::{Router, service};
use crate::service::{Service, ok};

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: keep-alive, Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                     Upgrade: WebSocket\r\nSec-WebSocket-Accept: y\r\n\r\n";

#[test]
fn bytes_go_both_ways_from_the_first_one() {
    let echo = Service::new(|mut conn| {
        let head = conn.head().unwrap();
        let has = |line: &str| head.iter().any(|found| found.eq_ignore_ascii_case(line));
        assert!(has("connection: upgrade") && has("upgrade: websocket"), "{head:?}");
        assert!(has("sec-websocket-key: x"));
        // With the agreement itself comes the first message.
        conn.send(format!("{AGREE}hello"));
        for _ in 0..3 {
            let bytes = conn.bytes(4);
            conn.send(bytes);
        }
        assert!(conn.is_closed());
    });
    let router = Router::serving(&service(7, echo.address));
    let mut client = router.client();
    // With the question itself, too.
    client.send(format!("{ASK}1111"));
    let answer = client.head();
    assert_eq!(answer.status, 101);
    assert_eq!(answer.field("connection"), Some("upgrade"));
    assert_eq!(answer.field("sec-websocket-accept"), Some("y"));
    assert_eq!(client.bytes(9), b"hello1111");
    for piece in ["2222", "3333"] {
        client.send(piece);
        assert_eq!(client.bytes(4), piece.as_bytes());
    }
    assert_eq!(router.metric("tunnels_open"), 1);
    drop(client);
    router.until(|status| status.connections == 0);
    assert_eq!(router.metric("tunnels_open"), 0);
}

#[test]
fn the_service_ends_a_tunnel_too() {
    let leaving = Service::new(|mut conn| {
        conn.head().unwrap();
        conn.send(format!("{AGREE}bye"));
    });
    let router = Router::serving(&service(7, leaving.address));
    let mut client = router.client();
    client.send(ASK);
    assert_eq!(client.head().status, 101);
    assert_eq!(client.bytes(3), b"bye");
    client.shutdown_write();
    assert!(client.is_at_end());
}

#[test]
fn a_service_may_decline() {
    let plain = Service::saying("no tunnels here");
    let router = Router::serving(&service(7, plain.address));
    let mut client = router.client();
    assert_eq!(client.ask(ASK).text(), "no tunnels here");
    assert_eq!(client.get("/").text(), "no tunnels here");
}

#[test]
fn nobody_is_upgraded_against_their_will() {
    let pushy = Service::new(|mut conn| {
        conn.head().unwrap();
        conn.send(AGREE);
        assert!(conn.is_closed());
    });
    let router = Router::serving(&service(7, pushy.address));
    assert_eq!(router.client().get("/").status, 502);
    let other = ASK.replace("websocket", "irc");
    assert_eq!(router.client().ask(other).status, 502);
}

#[test]
fn http_2_is_not_smuggled_through_a_tunnel() {
    let echo = Service::echoing_heads();
    let router = Router::serving(&service(7, echo.address));
    let answer = router.client().ask(
        "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\n\
         Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
    );
    let text = answer.text().to_ascii_lowercase();
    assert!(!text.contains("upgrade") && !text.contains("http2"), "{text}");
}

#[test]
fn tunnels_never_go_over_kept_connections_and_never_come_back() {
    let both = Service::new(|mut conn| {
        while let Some(head) = conn.head() {
            if head[0].starts_with("GET /ws ") {
                conn.send(AGREE);
                assert!(conn.is_closed());
                return;
            }
            conn.send(ok("plain"));
        }
    });
    let router = Router::serving(&service(7, both.address));
    let mut client = router.client();
    assert_eq!(client.get("/").text(), "plain");
    let mut tunnel = router.client();
    tunnel.send(ASK);
    assert_eq!(tunnel.head().status, 101);
    assert_eq!(client.get("/").text(), "plain");
    assert_eq!(both.connections(), 2);
}
