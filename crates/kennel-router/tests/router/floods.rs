//! Clients that send what costs them nothing, without end: none of it keeps others from being served.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::host::{PATIENCE, Router, service, short};
use crate::http2::{BEGIN, GOAWAY, HEADERS, RST_STREAM, frame, literals};
use crate::service::{Service, ok};

const DATA: u8 = 0;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// The head of a request of HTTP/2.
const ASKED: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")];

fn begun(router: &Router) -> TcpStream {
    let mut stream = TcpStream::connect(router.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(BEGIN).unwrap();
    stream
}

/// Questions that have to be answered, from somebody who takes no answer. What is not taken is not
/// written, and nothing more is read until it is.
#[test]
fn questions_without_end() {
    let hello = Service::saying("hello");
    let mut limits = short();
    limits.stalled = Duration::from_millis(300);
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[("a.example", &service(7, hello.address))]);
    for question in [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[0, 4, 0, 1, 0, 0])] {
        let mut stream = begun(&router);
        let many = question.repeat(10_000);
        // 100 MB or more; it is cut off once the answers have filled what holds them.
        let taken = (0..1000).take_while(|_| stream.write_all(&many).is_ok()).count();
        assert!(taken < 1000, "all of it was taken");
        assert_eq!(router.client().get("/").text(), "hello");
    }
}

/// One field, told a thousand times by one byte each (RFC 7541 §6.1): 16 KiB that would be 15 MiB.
#[test]
fn a_head_that_grows_when_it_is_unpacked() {
    let hello = Service::saying("hello");
    let router = Router::serving(&service(7, hello.address));
    let mut stream = begun(&router);
    let mut block = literals(&ASKED);
    // With its place in the table, 62: the first that is not known to everybody.
    block.extend(b"\x40\x01x\x7f");
    // 3000 is 127 and 2873 more, seven bits at a time.
    block.extend([0xb9, 0x16]);
    block.extend([b'a'; 3000]);
    block.extend([0x80 | 62; 5000]);
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &block)).unwrap();
    let mut kind = 0xff;
    while !matches!(kind, HEADERS | RST_STREAM | GOAWAY) {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        kind = head[3];
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut rest = Vec::new();
        (&stream).take(length.into()).read_to_end(&mut rest).unwrap();
        // `:status: 200` is the eighth entry of the table that everybody knows.
        assert!(kind != HEADERS || rest.first() != Some(&0x88), "{rest:?}");
    }
    assert_eq!(hello.connections(), 0);
    assert_eq!(router.client().get("/").text(), "hello");
}

/// A piece of a body that is empty is not its end, which it would be in chunks.
#[test]
fn pieces_of_nothing() {
    let counting = Service::replying(|seen| ok(&String::from_utf8_lossy(&seen.body)));
    let router = Router::serving(&service(7, counting.address));
    let mut stream = begun(&router);
    stream.write_all(&frame(HEADERS, END_HEADERS, 1, &literals(&ASKED))).unwrap();
    let nothing = frame(DATA, 0, 1, b"");
    stream.write_all(&frame(DATA, 0, 1, b"hel")).unwrap();
    stream.write_all(&nothing.repeat(1000)).unwrap();
    stream.write_all(&frame(DATA, END_STREAM, 1, b"lo")).unwrap();
    let mut body = Vec::new();
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut rest = Vec::new();
        (&stream).take(length.into()).read_to_end(&mut rest).unwrap();
        match head[3] {
            DATA => body.extend(rest),
            // So many of them may be too much, and are no half a request then.
            RST_STREAM | GOAWAY => return assert_eq!(router.client().get("/").status, 200),
            _ => continue,
        }
        if head[4] & END_STREAM != 0 {
            break;
        }
    }
    assert_eq!(body, b"hello");
}
