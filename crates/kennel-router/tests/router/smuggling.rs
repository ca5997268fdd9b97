//! Requests that two readers could understand differently, and answers too: bytes in, and what comes
//! out on the other side, read by a parser that forgives nothing.
//!
//! Each shape is either refused, and the connection closed, or passed on as exactly one request that
//! nobody can misread. A request that was hidden in another never arrives.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kennel_router::Limits;

use crate::host::{PATIENCE, Router, service, short};
use crate::http2::{BEGIN, GOAWAY, HEADERS, RST_STREAM, frame, literals};
use crate::service::{Service, ok};

/// How many shapes are tried at a time.
const AT_ONCE: usize = 8;
/// After the first answer, how long is waited for another one that must not come.
const SILENCE: Duration = Duration::from_millis(200);

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
enum Fate {
    /// It is answered with this, the connection ends, and the service hears nothing.
    Refused(u16),
    /// It is answered or not, but the connection ends and the service never has the whole of it.
    Cut,
    /// The service gets this request line and this body, and nothing after them.
    Passed(&'static str, &'static str),
}

use Fate::{Cut, Passed, Refused};

/// A service that keeps every byte, and reads no request that is not beyond doubt.
struct Witness {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Witness {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || witness(stream.unwrap(), &shared));
            }
        });
        Self { address, seen }
    }

    /// All that came in, as far as it is whole requests; and whether anything else came.
    fn testimony(&self) -> Result<(Vec<Strict>, bool), String> {
        let mut requests = Vec::new();
        let mut is_torn = false;
        for bytes in self.seen.lock().unwrap().iter() {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let Some((request, length)) = strict(rest)? else {
                    is_torn = true;
                    break;
                };
                requests.push(request);
                rest = &rest[length..];
            }
        }
        Ok((requests, is_torn))
    }
}

fn witness(mut stream: TcpStream, seen: &Mutex<Vec<Vec<u8>>>) {
    let number = {
        let mut seen = seen.lock().unwrap();
        seen.push(Vec::new());
        seen.len() - 1
    };
    let mut answered = 0;
    let mut piece = [0; 65536];
    while let Ok(count @ 1..) = stream.read(&mut piece) {
        let mut seen = seen.lock().unwrap();
        let bytes = &mut seen[number];
        bytes.extend_from_slice(&piece[..count]);
        while let Ok(Some((_, length))) = strict(&bytes[answered..]) {
            answered += length;
            let _closed = stream.write_all(&ok("witnessed"));
        }
    }
}

/// A request as RFC 9112 spells it, without anything that it allows to forgive.
#[derive(Debug)]
struct Strict {
    line: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

/// The first request in these bytes and its length, nothing if it is not complete.
fn strict(bytes: &[u8]) -> Result<Option<(Strict, usize)>, String> {
    let Some((lines, head)) = strict_head(bytes)? else { return Ok(None) };
    let (line, fields) = lines.split_first().ok_or("no line")?;
    let [method, target, "HTTP/1.1"] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("the line {line:?}"));
    };
    if method.is_empty() || !method.bytes().all(is_token) {
        return Err(format!("the method {method:?}"));
    }
    let is_target = target.starts_with('/') || target == "*";
    if !is_target || !target.bytes().all(|b| (b.is_ascii_graphic() && b != b'#') || b >= 0x80) {
        return Err(format!("the target {target:?}"));
    }
    let fields = strict_fields(fields)?;
    for name in ["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"] {
        if fields.iter().any(|(known, _)| known == name) {
            return Err(format!("the connection's field {name}"));
        }
    }
    if fields.iter().filter(|(name, _)| name == "host").count() != 1 {
        return Err(format!("not one host: {fields:?}"));
    }
    let Some((body, length)) = strict_body(&fields, &bytes[head..])? else { return Ok(None) };
    Ok(Some((Strict { line: line.clone(), fields, body }, head + length)))
}

/// The lines of the first head, without their ends, and its length.
fn strict_head(bytes: &[u8]) -> Result<Option<(Vec<String>, usize)>, String> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes[..end]);
    let lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    match lines.iter().find(|line| line.chars().any(|c| c.is_control() && c != '\t')) {
        Some(line) => Err(format!("a control character in {line:?}")),
        None => Ok(Some((lines, end + 4))),
    }
}

fn strict_fields(lines: &[String]) -> Result<Vec<(String, String)>, String> {
    let parse = |line: &String| {
        let (name, value) = line.split_once(':').ok_or(format!("the field {line:?}"))?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(format!("the name {name:?}"));
        }
        Ok((name.to_ascii_lowercase(), value.trim_matches([' ', '\t']).to_owned()))
    };
    lines.iter().map(parse).collect()
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The body at the start of these bytes, and its length there.
fn strict_body(
    fields: &[(String, String)],
    bytes: &[u8],
) -> Result<Option<(Vec<u8>, usize)>, String> {
    let of = |wanted| {
        let found = fields.iter().filter(move |(name, _)| name == wanted);
        found.map(|(_, value)| value.as_str()).collect::<Vec<_>>()
    };
    match (&of("content-length")[..], &of("transfer-encoding")[..]) {
        ([], []) => Ok(Some((Vec::new(), 0))),
        ([length], []) => {
            let number: usize = length.parse().map_err(|_| format!("the length {length:?}"))?;
            if number.to_string() != *length {
                return Err(format!("the length {length:?}"));
            }
            Ok(bytes.get(..number).map(|body| (body.to_vec(), number)))
        }
        ([], ["chunked"]) => strict_chunks(bytes),
        both => Err(format!("the lengths {both:?}")),
    }
}

fn strict_chunks(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(line) = bytes[at..].windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        let size = String::from_utf8_lossy(&bytes[at..at + line]);
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(format!("the chunk {size:?}"));
        }
        let size = usize::from_str_radix(&size, 16).map_err(|error| error.to_string())?;
        at += line + 2;
        let Some(chunk) = bytes.get(at..at + size + 2) else { return Ok(None) };
        if !chunk.ends_with(b"\r\n") {
            return Err("a chunk without end, or trailers".to_owned());
        }
        body.extend_from_slice(&chunk[..size]);
        at += size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

/// Bounds that end what is incomplete soon, and what is complete a little later.
fn hasty() -> Limits {
    let soon = Duration::from_millis(300);
    Limits { head: soon, stalled: soon, idle: Duration::from_secs(2), ..short() }
}

/// Sends the bytes, and returns all that came back: until the end, or until nothing more comes.
fn exchange(address: SocketAddr, bytes: &[u8], to_the_end: bool) -> Result<Vec<u8>, String> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may be refused before all of it is sent.
    let _refused = stream.write_all(bytes);
    let mut back = Vec::new();
    let mut piece = [0; 65536];
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(back),
            Ok(count) => back.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(back),
            Err(error) if error.kind() == ErrorKind::WouldBlock && !to_the_end => return Ok(back),
            Err(error) => {
                return Err(format!("{error} after {:.100?}", String::from_utf8_lossy(&back)));
            }
        }
        if !to_the_end {
            stream.set_read_timeout(Some(SILENCE)).unwrap();
        }
    }
}

/// What is wrong with what became of this request, if anything is.
fn judged(bytes: &[u8], fate: Fate) -> Result<(), String> {
    let witness = Witness::new();
    let mut router = Router::boot_with(hasty(), |_| ());
    router.publish(&[("a.example", &service(7, witness.address))]);
    let back = exchange(router.address, bytes, !matches!(fate, Passed(..)))?;
    let back = String::from_utf8_lossy(&back);
    // Chunks of pages have no such line.
    let statuses = back.lines().filter_map(|line| line.strip_prefix("HTTP/1.")?.get(2..5));
    let statuses: Vec<&str> = statuses.filter(|status| *status != "100").collect();
    let (requests, is_torn) = witness.testimony()?;
    let heard = requests.iter().map(|it| it.line.as_str()).collect::<Vec<_>>();
    match fate {
        Refused(status) => {
            if statuses != [status.to_string()] {
                return Err(format!("answered {statuses:?}"));
            }
            if !heard.is_empty() || is_torn {
                return Err(format!("the service heard {heard:?}"));
            }
        }
        Cut => {
            if !heard.is_empty() || statuses.len() > 1 {
                return Err(format!("answered {statuses:?}, the service heard {heard:?}"));
            }
        }
        Passed(line, body) => {
            let [request] = &requests[..] else { return Err(format!("it heard {heard:?}")) };
            if request.line != line || request.body != body.as_bytes() || is_torn {
                return Err(format!("it heard {request:?}"));
            }
            if statuses.first() != Some(&"200") {
                return Err(format!("answered {statuses:?}"));
            }
        }
    }
    Ok(())
}

/// Tries all of them, and says what is wrong with which.
fn judge(shapes: &[(Vec<u8>, Fate)]) {
    let size = shapes.len().div_ceil(AT_ONCE).max(1);
    let wrong: Vec<String> = thread::scope(|scope| {
        let parts: Vec<_> = shapes
            .chunks(size)
            .map(|part| {
                scope.spawn(move || {
                    let judged = part.iter().filter_map(|(bytes, fate)| {
                        let why = judged(bytes, *fate).err()?;
                        let shape: String = bytes.escape_ascii().to_string();
                        Some(format!("{shape:.400}\n  {fate:?}, but {why}"))
                    });
                    judged.collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// What hides behind a request that somebody might take to have ended.
const HIDDEN: &str = "GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n";

#[test]
fn lengths() {
    // Between the head's first lines and the blank one; then what follows.
    let shapes = [
        // Both.
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\ncontent-length:5", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\nContent-Length: x", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\nContent-Length:", "0\r\n\r\n", Refused(400)),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked", "0\r\n\r\n", Refused(400)),
        ("Content-Length: 5\r\nTransfer-Encoding: xchunked", "0\r\n\r\n", Refused(400)),
        ("Content-Length: 5\r\nTransfer-Encoding: identity", "hello", Refused(400)),
        ("Content-Length: 5\r\nTransfer-Encoding:", "hello", Refused(400)),
        // Two of one kind.
        ("Content-Length: 5\r\nContent-Length: 6", "hello", Refused(400)),
        ("Content-Length: 6\r\nContent-Length: 5", "hello!", Refused(400)),
        ("Content-Length: 5\r\nContent-Length: 5", "hello", Passed("POST / HTTP/1.1", "hello")),
        ("Content-Length: 0\r\nContent-Length: 44", HIDDEN, Refused(400)),
        ("Content-Length: 5, 5", "hello", Refused(400)),
        ("Content-Length: 5,6", "hello", Refused(400)),
        ("Content-Length: 5,", "hello", Refused(400)),
        // No number.
        ("Content-Length:", "", Refused(400)),
        ("Content-Length: ", "hello", Refused(400)),
        ("Content-Length: +5", "hello", Refused(400)),
        ("Content-Length: -5", "hello", Refused(400)),
        ("Content-Length: -0", "", Refused(400)),
        ("Content-Length: 0x5", "hello", Refused(400)),
        ("Content-Length: 5.0", "hello", Refused(400)),
        ("Content-Length: 5e0", "hello", Refused(400)),
        ("Content-Length: 1_0", "hello", Refused(400)),
        ("Content-Length: 5 5", "hello", Refused(400)),
        ("Content-Length: \"5\"", "hello", Refused(400)),
        ("Content-Length: five", "hello", Refused(400)),
        ("Content-Length: \u{ff15}", "hello", Refused(400)),
        ("Content-Length: \x0b5", "hello", Refused(400)),
        ("Content-Length: 18446744073709551615", "hello", Refused(431)),
        ("Content-Length: 18446744073709551621", "hello", Refused(400)),
        ("Content-Length: 99999999999999999999999", "hello", Refused(400)),
        // A number for some, and octal for others.
        ("Content-Length: 010", "hello678", Refused(400)),
        ("Content-Length: 00", HIDDEN, Refused(400)),
        // A number, with what may stand around it.
        ("Content-Length:5", "hello", Passed("POST / HTTP/1.1", "hello")),
        ("Content-Length:   5", "hello", Passed("POST / HTTP/1.1", "hello")),
        ("Content-Length: \t5 \t", "hello", Passed("POST / HTTP/1.1", "hello")),
        ("CONTENT-LENGTH: 5", "hello", Passed("POST / HTTP/1.1", "hello")),
        // More than there is.
        ("Content-Length: 9223372036854775807", "hello", Cut),
        ("Content-Length: 6", "hello", Cut),
        // Codings.
        (
            "Transfer-Encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n",
            Passed("POST / HTTP/1.1", "hello"),
        ),
        (
            "Transfer-Encoding: CHUNKED",
            "5\r\nhello\r\n0\r\n\r\n",
            Passed("POST / HTTP/1.1", "hello"),
        ),
        (
            "Transfer-Encoding:\tchunked\t",
            "5\r\nhello\r\n0\r\n\r\n",
            Passed("POST / HTTP/1.1", "hello"),
        ),
        ("Transfer-Encoding: xchunked", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunkedx", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunk", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: \x0bchunked", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: \x0cchunked", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\x0b", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: \"chunked\"", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: 'chunked'", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: [chunked]", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked;q=1", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chu nked", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: \u{a0}chunked", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: \u{17f}chunked", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding:", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: identity", HIDDEN, Refused(400)),
        ("Transfer-Encoding: cow", HIDDEN, Refused(400)),
        ("Transfer-Encoding: chunked, identity", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked, gzip", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked, cow", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: gzip, chunked", "0\r\n\r\n", Refused(501)),
        ("Transfer-Encoding: identity, chunked", "0\r\n\r\n", Refused(501)),
        ("Transfer-Encoding: chunked, chunked", "0\r\n\r\n", Refused(501)),
        ("Transfer-Encoding: , chunked", "0\r\n\r\n", Refused(501)),
        ("Transfer-Encoding: chunked,", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", Refused(501)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked", "0\r\n\r\n", Refused(501)),
        ("Transfer-Encoding: cow\r\ntransfer-encoding: chunked", "0\r\n\r\n", Refused(501)),
        ("Transfer-Encoding:\r\nTransfer-Encoding: chunked", "0\r\n\r\n", Refused(501)),
        // Names that are others', or none.
        ("Transfer-Encoding : chunked", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding\t: chunked", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding\x0b: chunked", "0\r\n\r\n", Refused(400)),
        ("Content-Length : 5", "hello", Refused(400)),
        (" Transfer-Encoding: chunked", "0\r\n\r\n", Refused(400)),
        ("\tContent-Length: 5", "hello", Refused(400)),
        ("X: y\r\n Transfer-Encoding: chunked", "0\r\n\r\n", Refused(400)),
        ("Content-Length:\r\n 5", "hello", Refused(400)),
        ("Transfer-Encoding:\r\n chunked", "0\r\n\r\n", Refused(400)),
        ("Transfer-Encoding:\r\n\tchunked", "0\r\n\r\n", Refused(400)),
        ("Content\u{2d}Length\0: 5", "hello", Refused(400)),
        ("Content\rLength: 5", "hello", Refused(400)),
        ("X: y\rTransfer-Encoding: chunked", "0\r\n\r\n", Refused(400)),
        ("X: y\r\r\nTransfer-Encoding: chunked", "0\r\n\r\n", Refused(400)),
        ("X: y\nTransfer-Encoding: chunked", "0\r\n\r\n", Refused(400)),
        ("X: y\nContent-Length: 5", "hello", Refused(400)),
        ("X: y\n\nGET /smuggled HTTP/1.1", "", Refused(400)),
        ("X: y\n\r\nGET /smuggled HTTP/1.1", "", Refused(400)),
        // Folded into those above by what reads fields as CGI does: they go.
        ("Content_Length: 5", "", Passed("POST / HTTP/1.1", "")),
        ("Transfer_Encoding: chunked", "", Passed("POST / HTTP/1.1", "")),
        ("Content_Length: 0\r\nContent-Length: 5", "hello", Passed("POST / HTTP/1.1", "hello")),
        // Taken away by the connection, the length would be gone and the body the next request.
        (
            "Connection: content-length\r\nContent-Length: 5",
            "hello",
            Passed("POST / HTTP/1.1", "hello"),
        ),
        (
            "Connection: close, Transfer-Encoding\r\nTransfer-Encoding: chunked",
            "5\r\nhello\r\n0\r\n\r\n",
            Passed("POST / HTTP/1.1", "hello"),
        ),
        (
            "Expect: 100-continue\r\nConnection: expect\r\nContent-Length: 5",
            "hello",
            Passed("POST / HTTP/1.1", "hello"),
        ),
        ("Expect: 100-continue\r\nContent-Length: 5\r\nContent-Length: 6", "hello", Refused(400)),
    ];
    judge(&shapes.map(|(fields, rest, fate)| {
        let head = format!("POST / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n\r\n{rest}");
        (head.into_bytes(), fate)
    }));
}

#[test]
fn chunks() {
    let whole = Passed("POST / HTTP/1.1", "hello");
    let shapes = [
        ("5\r\nhello\r\n0\r\n\r\n", whole),
        ("005\r\nhello\r\n000\r\n\r\n", whole),
        ("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", whole),
        // Extensions end with the chunk's line, and go no further.
        ("5;a=b\r\nhello\r\n0\r\n\r\n", whole),
        ("5;a=\"b\"\r\nhello\r\n0;last\r\n\r\n", whole),
        ("5 ;a\r\nhello\r\n0\r\n\r\n", whole),
        ("5;a\nhello\r\n0\r\n\r\n", Cut),
        ("5;\n\r\nhello\r\n0\r\n\r\n", Cut),
        ("5;a=\"\r\nhello\r\n0\r\n\r\n", whole),
        ("5;a\rb\r\nhello\r\n0\r\n\r\n", Cut),
        // Sizes that are none.
        ("\r\nhello\r\n0\r\n\r\n", Cut),
        (" 5\r\nhello\r\n0\r\n\r\n", Cut),
        ("+5\r\nhello\r\n0\r\n\r\n", Cut),
        ("-5\r\nhello\r\n0\r\n\r\n", Cut),
        ("0x5\r\nhello\r\n0\r\n\r\n", Cut),
        ("5h\r\nhello\r\n0\r\n\r\n", Cut),
        ("5_0\r\nhello\r\n0\r\n\r\n", Cut),
        ("x\r\n", Cut),
        ("5,5\r\nhello\r\n0\r\n\r\n", Cut),
        ("5 5\r\nhello\r\n0\r\n\r\n", Cut),
        ("\"5\"\r\nhello\r\n0\r\n\r\n", Cut),
        ("5\0\r\nhello\r\n0\r\n\r\n", Cut),
        ("10000000000000005\r\nhello\r\n0\r\n\r\n", Cut),
        ("fffffffffffffffff\r\n", Cut),
        ("ffffffffffffffff\r\nhello\r\n0\r\n\r\n", Cut),
        // Ends that are none.
        ("5\nhello\r\n0\r\n\r\n", Cut),
        ("5\rhello\r\n0\r\n\r\n", Cut),
        ("5\r\nhello\n0\r\n\r\n", Cut),
        ("5\r\nhello0\r\n\r\n", Cut),
        ("5\r\nhelloX\r\n0\r\n\r\n", Cut),
        ("5\r\nhelloXX0\r\n\r\n", Cut),
        ("5\r\nhello\r\r\n0\r\n\r\n", Cut),
        ("5\r\nhello\r\n0\n\r\n", Cut),
        ("5\r\nhello\r\n", Cut),
        ("5\r\nhello\r\n0\r\n", Cut),
        // Trailers say nothing about the request.
        ("5\r\nhello\r\n0\r\nX: y\r\n\r\n", whole),
        ("5\r\nhello\r\n0\r\nContent-Length: 50\r\nHost: b.example\r\n\r\n", whole),
        ("5\r\nhello\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n", whole),
        ("5\r\nhello\r\n0\r\nX-Forwarded-For: 1.1.1.1\r\n\r\n", whole),
        ("5\r\nhello\r\n0\r\nX y\r\n\r\n", Cut),
        ("5\r\nhello\r\n0\r\n folded: y\r\n\r\n", Cut),
    ];
    let shapes = shapes.map(|(chunks, fate)| {
        let head = "POST / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n";
        // What comes after something broken is not read as another request.
        let hidden = if matches!(fate, Cut) && chunks.ends_with("0\r\n\r\n") { HIDDEN } else { "" };
        ([head, chunks, hidden].concat().into_bytes(), fate)
    });
    judge(&shapes);
}

#[test]
fn heads() {
    let long = format!("GET /{} HTTP/1.1\r\nHost: a.example\r\n\r\n", "a".repeat(9000));
    let fields: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n");
    let large = format!("GET / HTTP/1.1\r\nHost: a.example\r\nX: {}\r\n\r\n", "a".repeat(70_000));
    let root = Passed("GET / HTTP/1.1", "");
    let shapes = [
        // Lines.
        ("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", root),
        ("\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n", root),
        ("GET / HTTP/1.1\nHost: a.example\n\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\n\n", Refused(400)),
        ("\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n", root),
        ("GET / HTTP/1.1\rHost: a.example\r\r", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX: a\rb\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX: a\0b\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX: a\x7fb\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX: a\x1bb\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\n folded: x\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\n Host: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\n: x\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX y: z\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX : z\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX\t: z\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX\0: z\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\n(X): z\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX\u{e9}: z\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nX:\r\n\r\n", root),
        // The request line.
        ("GET /\r\n\r\n", Refused(400)),
        ("GET / \r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET  / HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET /  HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET\t/ HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET /\tHTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        (" GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1 \r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1 x\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET /a b HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET /a\0b HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET /a\rb HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET /a\x0bb HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET /a\x7fb HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a.example\r\n\r\n", Passed("GET /\u{e9} HTTP/1.1", "")),
        // A fragment is no part of a target, and goes.
        ("GET /a#b HTTP/1.1\r\nHost: a.example\r\n\r\n", Passed("GET /a HTTP/1.1", "")),
        ("GET #b HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.2\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/2.0\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/0.9\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.10\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/01.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / http/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTPS/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / ICY/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("G(T / HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("G\0T / HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET: / HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("get / HTTP/1.1\r\nHost: a.example\r\n\r\n", Passed("get / HTTP/1.1", "")),
        // Targets.
        ("GET a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET * HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", Passed("OPTIONS * HTTP/1.1", "")),
        ("GET ftp://a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET file:///etc/passwd HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET http:///x HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET http://u@a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET http://u:p@a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET http://a.example:80:80/ HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET http://a.example\\@b/ HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET http://a.example/ HTTP/1.1\r\n\r\n", Refused(400)),
        ("GET http://a.example/ HTTP/1.1\r\nHost: b\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET http://a.example/ HTTP/1.1\r\nHost: a b\r\n\r\n", Refused(400)),
        // RFC 9112 §3.2.2: the target's host replaces the field.
        (
            "GET http://a.example/x HTTP/1.1\r\nHost: b.example\r\n\r\n",
            Passed("GET /x HTTP/1.1", ""),
        ),
        (
            "GET //a.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Passed("GET //a.example/ HTTP/1.1", ""),
        ),
        ("GET http://a.example HTTP/1.1\r\nHost: a.example\r\n\r\n", root),
        ("GET http://a.example?x HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("CONNECT a.example:443 HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("CONNECT / HTTP/1.1\r\nHost: a.example\r\n\r\n", Refused(400)),
        (
            "CONNECT a.example:80 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 44\r\n\r\n",
            Refused(400),
        ),
        // Hosts.
        ("GET / HTTP/1.1\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: \r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nhost: b.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example, b.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example b.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example/x\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example?x\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example#x\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: http://a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example:80x\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example:-1\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example:123456\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example%00\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\u{e9}\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost : a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost\0: a.example\r\n\r\n", Refused(400)),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: host\r\n\r\n", root),
        ("GET / HTTP/1.1\r\nHost: A.Example.:8080\r\n\r\n", root),
        // HTTP/1.0 knows no coding.
        (
            "POST / HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "POST / HTTP/1.0\r\nHost: a.example\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "POST / HTTP/1.0\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello",
            Passed("POST / HTTP/1.1", "hello"),
        ),
        // Bodies where none is expected.
        ("GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n", root),
        (
            "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello",
            Passed("GET / HTTP/1.1", "hello"),
        ),
        (
            "DELETE / HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            Passed("DELETE / HTTP/1.1", "hello"),
        ),
        (
            "GET / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 43\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n",
            Passed("GET / HTTP/1.1", HIDDEN),
        ),
        // Asking for another protocol.
        (
            "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n",
            root,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: h2c, websocket\r\n\r\n",
            root,
        ),
        ("GET / HTTP/1.1\r\nHost: a.example\r\nUpgrade: h2c\r\n\r\n", root),
        (
            "POST / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Content-Length: 5\r\n\r\nhello",
            Passed("POST / HTTP/1.1", "hello"),
        ),
        // Too much.
        (&long, Refused(414)),
        (&many, Refused(431)),
        (&large, Refused(431)),
    ];
    judge(&shapes.map(|(head, fate)| {
        // Whoever took the refused one for something else would find a request behind it.
        let hidden = match fate {
            Refused(400) if head.ends_with("\n\r\n") => HIDDEN,
            _ => "",
        };
        ([head, hidden].concat().into_bytes(), fate)
    }));
}

/// What `Connection` names is dropped before the router says who asked, and never afterwards.
#[test]
fn what_the_router_says_cannot_be_taken_away() {
    let echo = Service::echoing_heads();
    let router = Router::serving(&service(7, echo.address));
    let answer = router.client().ask(
        "GET / HTTP/1.1\r\nHost: a.example\r\nCookie: a=1\r\nX-Own: 1\r\nX-Forwarded-For: 6.6.6.6\r\n\
         X_Forwarded_Proto: https\r\nConnection: x-forwarded-for, forwarded, host, x-real-ip\r\n\
         Connection: x-forwarded-proto, x-own\r\n\r\n",
    );
    let text = answer.text();
    assert!(text.contains("\nx-forwarded-for: 127.0.0.1"), "{text}");
    assert!(text.contains("\nx-real-ip: 127.0.0.1"), "{text}");
    assert!(text.contains("\nx-forwarded-proto: http"), "{text}");
    assert!(text.contains("\nforwarded: for=127.0.0.1"), "{text}");
    assert!(text.contains("\nhost: a.example"), "{text}");
    assert!(text.contains("\ncookie: a=1"), "{text}");
    assert!(!text.contains("6.6.6.6") && !text.contains("x-own") && !text.contains('_'), "{text}");
}

/// What came in with the request before it is judged without its head as it was written; then the
/// connection ends where the readings could part (RFC 9112 §6.1).
#[test]
fn behind_another_request() {
    for (second, line, body) in [
        (
            "POST /2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: 20\r\n\
             Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            Some("POST /2 HTTP/1.1"),
            "hi",
        ),
        ("GET /2 HTTP/1.1\r\nHost: a.example\r\nHost: a.example\r\n\r\n", None, ""),
        ("GET /2 HTTP/1.1\r\nHost: a.example\r\nContent-Length: +5\r\n\r\n", None, ""),
        ("GET /2 HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding : chunked\r\n\r\n", None, ""),
        ("GET /2 HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: cow\r\n\r\n", None, ""),
        ("GET /2 HTTP/2.0\r\nHost: a.example\r\n\r\n", None, ""),
        ("\0\r\n\r\n", None, ""),
    ] {
        let witness = Witness::new();
        let mut router = Router::boot_with(hasty(), |_| ());
        router.publish(&[("a.example", &service(7, witness.address))]);
        let first = "GET /1 HTTP/1.1\r\nHost: a.example\r\n\r\n";
        let back =
            exchange(router.address, [first, second, HIDDEN].concat().as_bytes(), true).unwrap();
        let (requests, is_torn) = witness.testimony().unwrap();
        let heard: Vec<_> = requests.iter().map(|it| it.line.as_str()).collect();
        let wanted: Vec<_> = ["GET /1 HTTP/1.1"].into_iter().chain(line).collect();
        assert_eq!((heard, is_torn), (wanted, false), "{second:?}");
        assert!(line.is_none() || requests[1].body == body.as_bytes(), "{second:?}");
        let back = String::from_utf8_lossy(&back);
        let last = if line.is_some() { "HTTP/1.1 200" } else { "HTTP/1.1 400" };
        assert!(
            back.matches("HTTP/1.1 ").count() == 2 && back.contains(last),
            "{second:?}: {back}"
        );
    }
}

/// Asks over HTTP/2 with these fields and this body, and returns what the service heard.
fn downgraded(fields: &[(&str, &str)], body: Option<&str>) -> (Vec<Strict>, bool) {
    let witness = Witness::new();
    let mut router = Router::boot_with(hasty(), |_| ());
    router.publish(&[("a.example", &service(7, witness.address))]);
    let mut stream = TcpStream::connect(router.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let end = if body.is_none() { 0x1 } else { 0 };
    let mut bytes = [BEGIN, &frame(HEADERS, 0x4 | end, 1, &literals(fields))].concat();
    if let Some(body) = body {
        bytes.extend(frame(0, 0x1, 1, body.as_bytes()));
    }
    stream.write_all(&bytes).unwrap();
    let start = Instant::now();
    loop {
        let mut head = [0; 9];
        if stream.read_exact(&mut head).is_err() {
            break;
        }
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        std::io::copy(&mut (&stream).take(length.into()), &mut std::io::sink()).unwrap();
        if matches!(head[3], HEADERS | RST_STREAM | GOAWAY) {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "no answer to {fields:?}");
    }
    witness.testimony().unwrap_or_else(|why| panic!("{fields:?}: {why}"))
}

#[test]
fn from_http_2_to_http_1() {
    // The pseudo-fields, others, the body; and the line that the service gets, if it gets one.
    let plain = ["GET", "http", "/", "a.example"];
    let with = |at: usize, value: &'static str| {
        let mut pseudo = plain;
        pseudo[at] = value;
        pseudo
    };
    let post = with(0, "POST");
    type Shape =
        ([&'static str; 4], &'static [(&'static str, &'static str)], Option<&'static str>, bool);
    let shapes: &[Shape] = &[
        (plain, &[], None, true),
        // H2.CL and H2.TE.
        (post, &[("content-length", "0")], Some(HIDDEN), false),
        (post, &[("content-length", "4")], Some("hello"), false),
        (post, &[("content-length", "6")], Some("hello"), false),
        (post, &[("content-length", "+5")], Some("hello"), false),
        (post, &[("content-length", "5"), ("content-length", "5")], Some("hello"), false),
        (post, &[("content-length", "05")], Some("hello"), false),
        (post, &[("content-length", "5, 5")], Some("hello"), false),
        (post, &[("transfer-encoding", "chunked")], Some("0\r\n\r\n"), false),
        (post, &[("transfer-encoding", "identity")], Some("hello"), false),
        (post, &[("Transfer-Encoding", "chunked")], Some("0\r\n\r\n"), false),
        (post, &[("content_length", "0")], Some("hello"), true),
        (post, &[("content-length", "5")], Some("hello"), true),
        (post, &[], Some("0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"), true),
        // Fields of a connection.
        (plain, &[("connection", "close")], None, false),
        (plain, &[("connection", "x-forwarded-for")], None, false),
        (plain, &[("upgrade", "h2c")], None, false),
        (plain, &[("keep-alive", "timeout=5")], None, false),
        (plain, &[("proxy-connection", "keep-alive")], None, false),
        (plain, &[("te", "chunked")], None, false),
        (plain, &[("te", "trailers")], None, true),
        // Line ends and others in values and names.
        (plain, &[("x", "a\r\nx-hidden: b")], None, false),
        (plain, &[("x", "a\nx-hidden: b")], None, false),
        (plain, &[("x", "a\rb")], None, false),
        (plain, &[("x", "a\0b")], None, false),
        (
            plain,
            &[("x", "a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n")],
            None,
            false,
        ),
        (plain, &[("x\r\ny", "a")], None, false),
        (plain, &[("x: y\r\nz", "a")], None, false),
        (plain, &[("x y", "a")], None, false),
        (plain, &[("x:y", "a")], None, false),
        (plain, &[("X-Upper", "a")], None, false),
        (plain, &[("", "a")], None, false),
        (plain, &[("cookie", "a=1\r\nx-hidden: b")], None, false),
        // Pseudo-fields that are no line of a request.
        (with(0, "GET / HTTP/1.1\r\nX-Hidden: b"), &[], None, false),
        (with(0, "GET /smuggled"), &[], None, false),
        (with(0, ""), &[], None, false),
        (with(0, "CONNECT"), &[], None, false),
        (with(1, "http://a.example/smuggled?"), &[], None, false),
        (with(1, "ftp"), &[], None, false),
        (with(1, ""), &[], None, false),
        (with(2, "/ HTTP/1.1\r\nx-hidden: b"), &[], None, false),
        (with(2, "/a b"), &[], None, false),
        (with(2, "/ HTTP/1.1"), &[], None, false),
        (with(2, "/a\tb"), &[], None, false),
        (with(2, "/a\nb"), &[], None, false),
        (with(2, "/a\0b"), &[], None, false),
        (with(2, ""), &[], None, false),
        (with(2, "a"), &[], None, false),
        (with(2, "*"), &[], None, false),
        (with(2, "http://b.example/"), &[], None, false),
        (with(3, "a.example\r\nx-hidden: b"), &[], None, false),
        (with(3, "a.example b"), &[], None, false),
        (with(3, "u@a.example"), &[], None, false),
        (with(3, "a.example/smuggled"), &[], None, false),
        (with(3, "a.example:80:80"), &[], None, false),
        (with(3, ""), &[], None, false),
        (plain, &[(":path", "/smuggled")], None, false),
        (plain, &[(":method", "POST")], None, false),
        (plain, &[(":authority", "b.example")], None, false),
        (plain, &[(":status", "200")], None, false),
        (plain, &[(":unknown", "1")], None, false),
        (plain, &[("x", "a"), (":path", "/smuggled")], None, false),
        (plain, &[(":protocol", "websocket")], None, false),
        // Two hosts.
        (plain, &[("host", "a.example")], None, true),
        (plain, &[("host", "b.example")], None, false),
        (plain, &[("host", "a.example"), ("host", "a.example")], None, false),
        (plain, &[("host", "a.example\r\nx-hidden: b")], None, false),
    ];
    let mut wrong = Vec::new();
    for (pseudo, fields, body, is_passed) in shapes {
        let names = [":method", ":scheme", ":path", ":authority"];
        let all: Vec<_> = names.into_iter().zip(*pseudo).chain(fields.iter().copied()).collect();
        let (requests, is_torn) = downgraded(&all, *body);
        let heard: Vec<_> = requests.iter().map(|it| it.line.as_str()).collect();
        let wanted = match (is_passed, pseudo[0]) {
            (false, _) => Vec::new(),
            (true, "POST") => vec!["POST / HTTP/1.1"],
            (true, _) => vec!["GET / HTTP/1.1"],
        };
        let is_hidden = |(name, _): &(String, String)| name == "te" || name.contains('_');
        let is_right = requests.iter().all(|it| {
            it.body == body.unwrap_or_default().as_bytes() && !it.fields.iter().any(is_hidden)
        });
        // What is begun and given up was right in its head, and its body was not.
        if heard != wanted || !is_right || (is_torn && *is_passed) {
            wrong.push(format!("{all:?}\n  {wanted:?}, but it heard {requests:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// What becomes of an answer.
#[derive(Debug, Clone, Copy)]
enum Comes {
    /// As `502`: nobody can say what it is.
    Broken,
    /// With this status and body.
    Whole(u16, &'static str),
    /// Begun or not, and broken off, so that nobody takes it for whole.
    Half,
}

use Comes::{Broken, Half, Whole};

/// The first answer to GET in these bytes: its status, its body, and whether it is whole.
fn strict_answer(bytes: &[u8]) -> Result<(u16, Vec<u8>, bool), String> {
    let (lines, head) = strict_head(bytes)?.ok_or("no answer")?;
    let status = lines[0].strip_prefix("HTTP/1.1 ").ok_or("no status")?[..3].parse().unwrap();
    let fields = strict_fields(&lines[1..])?;
    if matches!(status, 204 | 304) {
        let framing = |(name, _): &(String, String)| {
            name == "transfer-encoding" || (status == 204 && name == "content-length")
        };
        assert!(!fields.iter().any(framing), "{lines:?}");
        return Ok((status, Vec::new(), bytes.len() == head));
    }
    let is_framed =
        fields.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding");
    assert!(is_framed, "{lines:?}");
    Ok(match strict_body(&fields, &bytes[head..])? {
        Some((body, length)) => (status, body, bytes.len() == head + length),
        None => (status, bytes[head..].to_vec(), false),
    })
}

#[test]
fn answers_of_services() {
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{many}Content-Length: 5\r\n\r\nhello");
    let large =
        format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 5\r\n\r\nhello", "a".repeat(70_000));
    let hints = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".repeat(1000);
    let hints = format!("{hints}HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    // What would answer somebody else's request.
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let hello = "Content-Length: 5\r\n\r\nhello";
    let shapes: Vec<(String, Comes)> = [
        (format!("HTTP/1.1 200 OK\r\n{hello}"), Whole(200, "hello")),
        (format!("HTTP/1.0 200 OK\r\n{hello}"), Whole(200, "hello")),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end".into(), Whole(200, "until the end")),
        (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{hello}"), Broken),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(), Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: 50\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(), Broken),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(), Whole(200, "hello")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(), Broken),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(), Broken),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(), Broken),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".into(), Broken),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n{hello}"), Broken),
        (format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n{hello}"), Whole(200, "hello")),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: 05\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\n X: folded\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 200 OK\r\nX y: z\r\n\r\nhello".into(), Broken),
        ("HTTP/1.1 20 OK\r\n\r\n".into(), Broken),
        ("HTTP/1.1 2000 OK\r\n\r\n".into(), Broken),
        ("HTTP/1.1 099 No\r\n\r\n".into(), Broken),
        ("HTTP/2.0 200 OK\r\n\r\n".into(), Broken),
        ("hello".into(), Broken),
        ("\r\n\r\n".into(), Broken),
        // Cut off.
        ("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello".into(), Half),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n".into(), Half),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n".into(), Half),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n".into(), Half),
        ("HTTP/1.1 200 OK\r\nContent-".into(), Broken),
        // More than there may be: nobody else gets it.
        (format!("HTTP/1.1 200 OK\r\n{hello}{poison}"), Whole(200, "hello")),
        (format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n{poison}"), Whole(200, "hello")),
        (format!("HTTP/1.1 204 No Content\r\n\r\n{poison}"), Whole(204, "")),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello".into(), Whole(204, "")),
        (format!("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{poison}"), Broken),
        (format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n{poison}"), Whole(304, "")),
        (format!("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n{poison}"), Whole(304, "")),
        ("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n".into(), Broken),
        ("HTTP/1.1 101 Switching Protocols\r\n\r\n".into(), Broken),
        // What comes before it.
        (format!("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n{hello}"), Whole(200, "hello")),
        (format!("HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\n{hello}"), Whole(200, "hello")),
        (hints, Whole(200, "hello")),
        (many, Broken),
        (large, Broken),
    ]
    .into();
    let wrong: Vec<String> = thread::scope(|scope| {
        let size = shapes.len().div_ceil(AT_ONCE);
        let parts: Vec<_> = shapes
            .chunks(size)
            .map(|part| {
                scope.spawn(move || {
                    let answered = part.iter().filter_map(|(bytes, comes)| {
                        let why = passed_back(bytes, *comes).err()?;
                        Some(format!("{bytes:.300?}\n  {comes:?}, but {why}"))
                    });
                    answered.collect::<Vec<_>>()
                })
            })
            .collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// What is wrong with what a client gets of this answer, if anything is; and whether the next one,
/// over the same connection to the service if that is kept, is the next request's.
fn passed_back(bytes: &str, comes: Comes) -> Result<(), String> {
    let first = bytes.to_owned();
    let behind = Service::new(move |mut conn| {
        while let Some(seen) = conn.request() {
            if seen.line().starts_with("GET /first ") {
                conn.send(&first);
                // What has no length ends with the connection.
                let has_end =
                    first.contains("ontent-Length: 5\r\n\r\nhello") || first.contains(" 204 ");
                if !has_end {
                    return;
                }
            } else {
                conn.send(ok("next"));
            }
        }
    });
    let mut router = Router::boot_with(hasty(), |_| ());
    router.publish(&[("a.example", &service(7, behind.address))]);
    let ask = |path| format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
    let back = exchange(router.address, ask("/first").as_bytes(), true)?;
    if !(matches!(comes, Half) && back.is_empty()) {
        let (status, body, is_whole) = strict_answer(&back)?;
        let text = String::from_utf8_lossy(&body);
        let is_right = match comes {
            Broken => status == 502 && is_whole,
            Whole(wanted, body) => (status, &*text, is_whole) == (wanted, body, true),
            Half => status == 200 && !is_whole,
        };
        if !is_right {
            return Err(format!("{status}, whole: {is_whole}, {text:.200?}"));
        }
    }
    for _ in 0..3 {
        let back = exchange(router.address, ask("/next").as_bytes(), true)?;
        let (status, body, _) = strict_answer(&back)?;
        if (status, &body[..]) != (200, b"next") {
            return Err(format!("the next one got {status}: {:?}", String::from_utf8_lossy(&body)));
        }
    }
    Ok(())
}
