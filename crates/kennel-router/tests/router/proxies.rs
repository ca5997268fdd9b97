//! Proxies in front of the router: who is believed, and what they say.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::client::{Client, connect_from};
use crate::host::{Router, service, short};
use crate::service::Service;
use crate::tls::{Authority, Secured, router};

/// Whom the router trusts here; all others of the loopback interface are anybody.
const PROXY: &str = "127.0.0.9";
const ANYBODY: &str = "127.0.0.1";

/// A router that serves heads under `a.example`, with these keys of `[router]`.
fn trusting(mut router: Router, keys: &str, echo: &Service) -> Router {
    publish(&mut router, keys, "", echo);
    router
}

fn publish(router: &mut Router, keys: &str, more: &str, echo: &Service) {
    let target = service(7, echo.address);
    router.publish_with(
        &format!(r#""router":{{"trusted_proxies":["{PROXY}"]{keys}}},{more}"#),
        &format!(r#""a.example":[{{"prefix":"/","target":{target}}}]"#),
    );
}

/// What the service was told of who asks.
fn told(client: &mut Client, fields: &str) -> String {
    let answer = client.get_with("/", fields);
    let is_told = |line: &&str| line.starts_with("x-forwarded") || line.starts_with("forwarded");
    let mut lines: Vec<&str> = answer.text().lines().filter(is_told).collect();
    lines.sort_unstable();
    lines.join("\n")
}

const CLAIMS: &str = "X-Forwarded-For: 6.6.6.6, 203.0.113.5\r\nX-Forwarded-Proto: https\r\n\
    X-Forwarded-Host: shop.example\r\nForwarded: for=6.6.6.6\r\n";

#[test]
fn a_trusted_proxy_says_for_whom_it_asks() {
    let echo = Service::echoing_heads();
    let router = trusting(Router::boot(), "", &echo);
    insta::assert_snapshot!(told(&mut Client::connect_from(PROXY, router.address), CLAIMS), @r#"
    forwarded: for=203.0.113.5;host="shop.example";proto=https
    x-forwarded-for: 203.0.113.5
    x-forwarded-host: shop.example
    x-forwarded-port: 443
    x-forwarded-proto: https
    "#);
    // Each request for itself.
    let mut kept = Client::connect_from(PROXY, router.address);
    for address in ["203.0.113.5", "2001:db8::7"] {
        let said = told(&mut kept, &format!("X-Forwarded-For: {address}\r\n"));
        assert!(said.contains(&format!("x-forwarded-for: {address}\n")), "{said}");
    }
    let port = router.address.port().to_string();
    let anybody = told(&mut Client::connect_from(ANYBODY, router.address), CLAIMS);
    insta::assert_snapshot!(anybody.replace(&port, "<port>"), @r#"
    forwarded: for=127.0.0.1;host="a.example";proto=http
    x-forwarded-for: 127.0.0.1
    x-forwarded-host: a.example
    x-forwarded-port: <port>
    x-forwarded-proto: http
    "#);
}

#[test]
fn who_came_to_the_proxy_over_https_is_secured() {
    let authority = Authority::new();
    let mut router = router(&[("a.pem", &authority.issue(&["a.example"]))]);
    let echo = Service::echoing_heads();
    publish(&mut router, "", r#""tls":{"redirect":true,"hsts_secs":60},"#, &echo);
    let seen = |from: &str, fields: &str| {
        let answer = Client::connect_from(from, router.address).get_with("/", fields);
        (answer.status, answer.field("strict-transport-security").map(str::to_owned))
    };
    let hsts = Some("max-age=60".to_owned());
    assert_eq!(seen(PROXY, "X-Forwarded-Proto: https\r\n"), (200, hsts));
    assert_eq!(seen(PROXY, "X-Forwarded-Proto: http\r\n"), (308, None));
    assert_eq!(seen(PROXY, ""), (308, None));
    assert_eq!(seen(ANYBODY, "X-Forwarded-Proto: https\r\n"), (308, None));

    // Who came to the proxy in the clear is sent on, however the proxy came.
    let config = Arc::new(authority.client());
    let over_tls = |fields: &str| {
        let stream = connect_from(PROXY, router.secure);
        let mut secured = Secured::over(stream, "a.example", &config).unwrap();
        secured.ask(&format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n")).status
    };
    assert_eq!(over_tls("X-Forwarded-Proto: http\r\n"), 308);
    assert_eq!(over_tls(""), 200);
}

const V1: &[u8] = b"PROXY TCP4 203.0.113.5 198.51.100.1 4711 8443\r\n";
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

#[test]
fn a_header_says_for_whom_a_connection_is() {
    let echo = Service::echoing_heads();
    let router = trusting(Router::boot(), r#","proxy_protocol":true"#, &echo);
    let begun = |from: &str, bytes: &[u8]| {
        let mut client = Client::connect_from(from, router.address);
        client.send(bytes);
        client
    };
    let client = |mut client: Client| {
        let said = told(&mut client, "X-Forwarded-For: 6.6.6.6\r\n");
        assert_eq!(said, told(&mut client, ""), "the next request of the connection");
        let line = said.lines().find_map(|line| line.strip_prefix("x-forwarded-for: "));
        line.unwrap().to_owned()
    };
    let v4 = [&[203, 0, 113, 6][..], &[198, 51, 100, 1], &[18, 103, 0, 80]].concat();
    let v2 = [V2_SIGNATURE, &[0x21, 0x11, 0, 12], &v4].concat();
    assert_eq!(client(begun(PROXY, V1)), "203.0.113.5");
    assert_eq!(client(begun(PROXY, &v2)), "203.0.113.6");
    // The proxy's own, as checks of health are.
    let own = [V2_SIGNATURE, &[0x20, 0, 0, 0]].concat();
    let mut own = begun(PROXY, &own);
    assert!(told(&mut own, "").contains("x-forwarded-for: 127.0.0.9"));

    // In two pieces, byte by byte and with the request behind it.
    let mut slow = Client::connect_from(PROXY, router.address);
    for byte in V1 {
        slow.send([*byte]);
    }
    assert_eq!(client(slow), "203.0.113.5");
    let request = b"GET /behind HTTP/1.1\r\nHost: a.example\r\n\r\n";
    let mut whole = begun(PROXY, &[V1, request].concat());
    assert!(whole.answer().text().starts_with("GET /behind HTTP/1.1\n"));
    // HTTP/2 begins behind it, too.
    let mut multiplexed =
        begun(PROXY, &[V1, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"].concat());
    assert_eq!(multiplexed.bytes(4)[3], 4, "settings");

    // From others nobody expects one, and to them it is a malformed request.
    assert_eq!(client(Client::connect_from(ANYBODY, router.address)), "127.0.0.1");
    assert_eq!(begun(ANYBODY, &[V1, request].concat()).answer().status, 400);
}

#[test]
fn without_the_header_a_proxy_gets_nothing() {
    let echo = Service::echoing_heads();
    let limits = kennel_router::Limits { proxy_header: Duration::from_millis(100), ..short() };
    let router = Router::boot_with(limits, |_| ());
    let router = trusting(router, r#","proxy_protocol":true"#, &echo);
    for begin in [
        &b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"[..],
        b"PROXY TCP4 nonsense\r\n",
        b"PROXY TCP4 203.0.113.5 198",
        b"",
    ] {
        let mut client = Client::connect_from(PROXY, router.address);
        client.send(begin);
        assert!(client.is_at_end());
    }
    assert_eq!(echo.connections(), 0);
}

#[test]
fn tls_begins_behind_the_header() {
    let authority = Authority::new();
    let mut router = router(&[("a.pem", &authority.issue(&["a.example"]))]);
    let echo = Service::echoing_heads();
    publish(&mut router, r#","proxy_protocol":true"#, "", &echo);
    let mut stream = connect_from(PROXY, router.secure);
    stream.write_all(V1).unwrap();
    let config = Arc::new(authority.client());
    let mut secured = Secured::over(stream, "a.example", &config).unwrap();
    let answer = secured.ask("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let text = answer.text();
    assert!(text.contains("x-forwarded-for: 203.0.113.5\n"), "{text}");
    assert!(text.contains("x-forwarded-proto: https\n"), "{text}");
    assert!(text.contains("x-forwarded-port: 8443\n"), "{text}");
}
