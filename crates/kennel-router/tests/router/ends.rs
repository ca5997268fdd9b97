//! How what has no end by itself comes to one: at the end of a drain, when the service goes, and on the
//! router's own way out.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use h2::ext::Protocol;
use hyper::Method;
use tokio::time::timeout;

use crate::client::Client;
use crate::host::{PATIENCE, Router, service, short};
use crate::http2::{Streams, bytes, drain, request, runtime, whole};
use crate::service::{Conn, Service, ok};

const ASK: &str = "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade\r\n\
                   Upgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                     Upgrade: websocket\r\nSec-WebSocket-Accept: y\r\n\r\n";
/// The router's last word to a client: a close frame with 1001 (RFC 6455 §7.4.1).
const GOING_AWAY: &[u8] = &[0x88, 2, 0x03, 0xe9];
/// A close frame of a client's, with a mask of zeros.
const CLOSE: &[u8] = &[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];

/// What takes a deployment's place, and for how long it lets go on what that has begun.
fn successor(deployment: u64, by: &Service, drain_secs: u64) -> String {
    service(deployment, by.address).replace("}", &format!(r#","drain_secs":{drain_secs}}}"#))
}

/// A text frame of a service's.
fn text(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len()).unwrap();
    [&[0x81, length], text.as_bytes()].concat()
}

/// A service that agrees to a WebSocket, and then does as it is told.
struct Talker {
    service: Service,
    say: Sender<Option<Vec<u8>>>,
    heard: Receiver<Vec<u8>>,
}

impl Talker {
    fn new() -> Self {
        let (say, says) = channel::<Option<Vec<u8>>>();
        let (hears, heard) = channel();
        let (says, hears) = (Mutex::new(says), Mutex::new(hears));
        let service = Service::new(move |mut conn| {
            let Some(head) = conn.head() else { return };
            if !head[0].starts_with("GET /ws ") {
                return conn.send(ok("plain"));
            }
            conn.send(AGREE);
            let says = says.lock().unwrap();
            let mut writer = conn.raw().try_clone().unwrap();
            let hears = hears.lock().unwrap().clone();
            let reading = std::thread::spawn(move || {
                while let Some(piece) = conn.piece() {
                    let _gone = hears.send(piece);
                }
            });
            while let Ok(Some(bytes)) = says.recv() {
                std::io::Write::write_all(&mut writer, &bytes).unwrap();
            }
            let _closed = writer.shutdown(std::net::Shutdown::Both);
            reading.join().unwrap();
        });
        Self { service, say, heard }
    }

    fn say(&self, bytes: &[u8]) {
        self.say.send(Some(bytes.to_vec())).unwrap();
    }

    /// It dies, and the kernel closes what it had open.
    fn die(&self) {
        self.say.send(None).unwrap();
    }

    fn hears(&self, count: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend_from_slice(&self.heard.recv_timeout(PATIENCE).unwrap());
        }
        all
    }

    /// What the router said to it last: a close frame with 1001, masked.
    fn hears_going_away(&self) {
        let word = self.hears(8);
        assert_eq!(word[..2], [0x88, 0x82], "{word:?}");
        assert_eq!([word[6] ^ word[2], word[7] ^ word[3]], [0x03, 0xe9], "{word:?}");
    }
}

fn websocket(router: &Router) -> Client {
    let mut client = router.client();
    client.send(ASK);
    assert_eq!(client.head().status, 101);
    client
}

#[test]
fn a_websocket_lives_until_the_drain_ends_and_is_then_told_so() {
    let old = Talker::new();
    let new = Service::saying("new");
    let mut router = Router::serving(&service(1, old.service.address));
    let mut client = websocket(&router);
    router.publish(&[("a.example", &successor(2, &new, 4))]);
    assert_eq!(router.client().get("/").text(), "new");
    // It goes on as before.
    old.say(&text("still here"));
    assert_eq!(client.bytes(12), text("still here"));
    client.send([0x81, 0x82, 0, 0, 0, 0, b'm', b'e']);
    assert_eq!(old.hears(8)[6..], *b"me");

    assert_eq!(client.bytes(4), GOING_AWAY);
    old.hears_going_away();
    client.send(CLOSE);
    old.die();
    assert!(client.is_at_end());
    router.until(|_| router.metric("tunnels_open") == 0);
}

#[test]
fn the_last_word_stands_between_frames() {
    let old = Talker::new();
    let new = Service::saying("new");
    let mut limits = short();
    // Enough for the rest of a frame on a busy machine.
    limits.linger = PATIENCE;
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(1, old.service.address))]);
    let mut client = websocket(&router);
    let long = text(&"x".repeat(100));
    old.say(&long[..50]);
    assert_eq!(client.bytes(50), long[..50]);
    client.send([0x81, 0x84, 0, 0, 0, 0, b'h', b'a']);
    assert_eq!(old.hears(8).len(), 8);
    router.publish(&[("a.example", &successor(2, &new, 0))]);
    // Both are within a frame, and get its rest before the word, though the time has come. That it
    // has is seen by nobody until then.
    std::thread::sleep(Duration::from_millis(300));
    old.say(&long[50..]);
    assert_eq!(client.bytes(52), long[50..]);
    assert_eq!(client.bytes(4), GOING_AWAY);
    client.send(b"lf");
    let heard = old.hears(10);
    assert_eq!((&heard[..2], &heard[2..4]), (&b"lf"[..], &[0x88, 0x82][..]));
    client.send(CLOSE);
    old.die();
    assert!(client.is_at_end());
}

#[test]
fn a_websocket_over_http_2_is_told_so_too() {
    let old = Talker::new();
    let new = Service::saying("new");
    let mut router = Router::serving(&service(1, old.service.address));
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let missing = streams.get("http://x.example/").await.unwrap();
        assert_eq!(missing.status, 404);
        let mut asked = request(Method::CONNECT, "http://a.example/ws");
        asked.extensions_mut().insert(Protocol::from_static("websocket"));
        let (answer, mut to) = streams.begin(asked, false).await.unwrap();
        let mut from = timeout(PATIENCE, answer).await.unwrap().unwrap().into_body();
        old.say(&text("hello"));
        assert_eq!(bytes(&mut from, 7).await, text("hello"));
        router.publish(&[("a.example", &successor(2, &new, 0))]);
        assert_eq!(bytes(&mut from, 4).await, GOING_AWAY);
        old.hears_going_away();
        to.send_data(Bytes::from_static(CLOSE), true).unwrap();
        old.die();
        let end = timeout(PATIENCE, drain(&mut from)).await.unwrap();
        assert!(matches!(end.as_deref(), Ok([])), "{end:?}");
        // The connection is another matter.
        assert_eq!(streams.get("http://a.example/").await.unwrap().text(), "new");
    });
}

/// A service whose answer to `/events` has no end, and whose answer to `/long` has one when it is
/// told.
fn streaming(finish: Receiver<()>) -> Service {
    let finish = Mutex::new(finish);
    Service::new(move |mut conn: Conn| {
        while let Some(seen) = conn.request() {
            if seen.line().starts_with("GET /events ") {
                conn.send(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
                           Transfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n",
                );
                conn.is_closed();
                return;
            }
            conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n");
            finish.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            conn.send("3\r\ntwo\r\n0\r\n\r\n");
        }
    })
}

#[test]
fn events_break_off_at_the_end_of_the_drain_and_what_has_an_end_may_come_to_it() {
    let (finish, may_finish) = channel();
    let old = streaming(may_finish);
    let new = Service::saying("new");
    let mut router = Router::serving(&service(1, old.address));
    let mut events = router.client();
    events.send("GET /events HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let events_head = events.head();
    assert_eq!(events.bytes(13), b"8\r\ndata: 1\n\r\n");
    let mut long = router.client();
    long.send("GET /long HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let long_head = long.head();
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let asked = request(Method::GET, "http://a.example/events");
        let (answer, _) = streams.begin(asked, true).await.unwrap();
        let mut from = timeout(PATIENCE, answer).await.unwrap().unwrap().into_body();
        assert_eq!(bytes(&mut from, 8).await, b"data: 1\n");
        let asked = request(Method::GET, "http://a.example/long");
        let (long, _) = streams.begin(asked, true).await.unwrap();
        let mut long = timeout(PATIENCE, long).await.unwrap().unwrap().into_body();

        router.publish(&[("a.example", &successor(2, &new, 1))]);
        // An end that no client takes for the end of the whole.
        assert_eq!(events.body(&events_head.head), Err(Vec::new()));
        let error = timeout(PATIENCE, drain(&mut from)).await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(h2::Reason::CANCEL));
        finish.send(()).unwrap();
        finish.send(()).unwrap();
        assert_eq!(timeout(PATIENCE, drain(&mut long)).await.unwrap().unwrap(), b"onetwo");
    });
    assert_eq!(long.body(&long_head.head), Ok(b"onetwo".to_vec()));
}

#[test]
fn what_comes_back_is_not_ended() {
    let old = Talker::new();
    let new = Service::saying("new");
    let mut router = Router::serving(&service(1, old.service.address));
    let mut client = websocket(&router);
    router.publish(&[("a.example", &successor(2, &new, 1))]);
    // The new one has failed after all.
    router.publish(&[("a.example", &service(1, old.service.address))]);
    // Longer than the drain: nothing else would show that nothing happens.
    std::thread::sleep(Duration::from_millis(1500));
    old.say(&text("hello"));
    assert_eq!(client.bytes(7), text("hello"));
}

#[test]
fn a_service_that_was_taken_away_has_its_word_said_for_it() {
    let old = Talker::new();
    let mut router = Router::serving(&service(1, old.service.address));
    let mut client = websocket(&router);
    router.publish(&[]);
    old.say(&text("bye"));
    old.die();
    assert_eq!(client.bytes(5), text("bye"));
    assert_eq!(client.bytes(4), GOING_AWAY);
    client.send(CLOSE);
    client.shutdown_write();
    assert!(client.is_at_end());
}

#[test]
fn nobody_says_anything_for_one_that_crashed_or_has_said_it() {
    let old = Talker::new();
    let router = Router::serving(&service(1, old.service.address));
    let mut client = websocket(&router);
    old.say(&text("bye"));
    old.die();
    assert_eq!(client.bytes(5), text("bye"));
    client.shutdown_write();
    assert!(client.is_at_end());

    let old = Talker::new();
    let mut router = Router::serving(&service(1, old.service.address));
    let mut client = websocket(&router);
    router.publish(&[]);
    // 1012, its own.
    old.say(&[0x88, 2, 0x03, 0xf4]);
    old.die();
    assert_eq!(client.bytes(4), [0x88, 2, 0x03, 0xf4]);
    client.shutdown_write();
    assert!(client.is_at_end());
}

#[test]
fn on_the_routers_way_out_both_sides_are_told() {
    let behind = Talker::new();
    let mut limits = short();
    limits.linger = Duration::from_millis(300);
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(1, behind.service.address))]);
    let mut client = websocket(&router);
    behind.say(&text("hello"));
    assert_eq!(client.bytes(7), text("hello"));
    router.stop();
    assert_eq!(client.bytes(4), GOING_AWAY);
    behind.hears_going_away();
    // Whoever does not answer is not waited for.
    assert!(client.is_at_end());
    router.join().unwrap();
}

#[test]
fn a_hundred_changes_of_other_routes_are_nobody_elses_business() {
    let (finish, may_finish) = channel();
    let streaming = streaming(may_finish);
    let talker = Talker::new();
    let big = Service::replying(|_| ok(&"0123456789abcdef".repeat(2 << 20)));
    let other = Service::saying("other");
    let mut router = Router::boot();
    let (ws, sse, download) = (
        service(1, talker.service.address),
        service(2, streaming.address),
        service(3, big.address),
    );
    let publish = |router: &mut Router, deployment: u64| {
        let changing = successor(deployment, &other, 0);
        let mut hosts =
            vec![("a.example", &*ws), ("sse.example", &*sse), ("big.example", &*download)];
        if !deployment.is_multiple_of(3) {
            hosts.push(("other.example", &*changing));
        }
        router.publish(&hosts);
    };
    publish(&mut router, 10);
    let mut client = websocket(&router);
    let mut events = router.client();
    events.send("GET /events HTTP/1.1\r\nHost: sse.example\r\n\r\n");
    let events_head = events.head();
    assert_eq!(events_head.field("content-type"), Some("text/event-stream"));
    let mut slow = router.client();
    slow.send("GET / HTTP/1.1\r\nHost: big.example\r\n\r\n");
    let slow_head = slow.head();
    runtime().block_on(async {
        let mut streams = Streams::connect(router.address).await;
        let asked = request(Method::GET, "http://sse.example/long");
        let (long, _) = streams.begin(asked, true).await.unwrap();
        let (answer, _) =
            streams.begin(request(Method::GET, "http://sse.example/events"), true).await.unwrap();
        let mut from = timeout(PATIENCE, answer).await.unwrap().unwrap().into_body();
        assert_eq!(bytes(&mut from, 8).await, b"data: 1\n");
        for n in 0..100 {
            publish(&mut router, 11 + n);
            talker.say(&text("tick"));
            assert_eq!(client.bytes(6), text("tick"), "after {n} changes");
        }
        finish.send(()).unwrap();
        assert_eq!(whole(long).await.unwrap().text(), "onetwo");
        assert!(timeout(Duration::from_millis(50), from.data()).await.is_err(), "events ended");
    });
    let body = slow.body(&slow_head.head).unwrap();
    assert_eq!(body.len(), 32 << 20);
    assert_eq!(events.bytes(13), b"8\r\ndata: 1\n\r\n");
    // One each for those four, and the table's own.
    assert_eq!(router.metric("tunnels_open"), 1);
}
