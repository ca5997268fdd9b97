//! The head of a service's answer, and what it says of the body (RFC 9112 §6.3).
//!
//! Pure functions over what came. What two readers could read differently is no answer.

use std::mem::MaybeUninit;

use bytes::BytesMut;
use hyper::header::{CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING};
use hyper::{HeaderMap, StatusCode};

use crate::hop;
use crate::limits::HEAD_BYTES;

/// As many as hyper allows.
const FIELDS: usize = 100;

/// A final answer's head, but for its fields.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) length: Length,
    /// Whether the connection may be used again after it.
    pub(crate) keeps: bool,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// There is none.
    None,
    /// After so many bytes.
    Bytes(u64),
    /// After its last chunk.
    Chunks,
    /// Where the connection does.
    Connection,
}

/// What the bytes are so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not a whole head.
    Part,
    /// An answer that comes before the answer.
    Interim,
    /// The answer's.
    Final(Head),
}

/// Takes a head from the front of the bytes, if all of it is there, and puts its fields into an empty
/// map. `known` of the bytes were looked at before.
pub(super) fn parse(
    buffer: &mut BytesMut,
    known: usize,
    is_head_request: bool,
    fields: &mut HeaderMap,
) -> Result<Heard, &'static str> {
    if buffer.is_empty() || (known > 0 && !may_end(buffer, known)) {
        return Ok(Heard::Part);
    }
    let mut found = [const { MaybeUninit::uninit() }; FIELDS];
    let mut answer = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut answer,
        buffer,
        &mut found,
    );
    let len = match parsed {
        // What was read at once may be more than there may be.
        Ok(httparse::Status::Complete(len)) if len > HEAD_BYTES => {
            return Err("its head is too long");
        }
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(Heard::Part),
        Err(_) => return Err("it is no HTTP"),
    };
    let status = answer.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or("its status is none")?;
    let is_http_11 = answer.version == Some(1);
    // Where names and values lie, which no longer borrows what is split.
    let start = buffer.as_ptr().addr();
    let mut spans = [(0, 0, 0, 0); FIELDS];
    let mut count = 0;
    for (field, span) in answer.headers.iter().zip(&mut spans) {
        let (name, value) = (field.name.as_ptr().addr(), field.value.as_ptr().addr());
        *span = (name - start, field.name.len(), value - start, field.value.len());
        count += 1;
    }
    let head = buffer.split_to(len).freeze();
    if status.is_informational() {
        return if status == StatusCode::SWITCHING_PROTOCOLS {
            Err("it changed to a protocol that was not asked for")
        } else {
            Ok(Heard::Interim)
        };
    }
    for (name, name_len, value, value_len) in spans.into_iter().take(count) {
        let name = head.get(name..name + name_len).unwrap_or_default();
        let name = HeaderName::from_bytes(name).map_err(|_| "a field's name is none")?;
        let value = HeaderValue::from_maybe_shared(head.slice(value..value + value_len));
        let value = value.map_err(|_| "a field's value is none")?;
        fields.append(name, value);
    }
    let length = length(status, is_http_11, is_head_request, fields)?;
    let keeps = is_http_11 && length != Length::Connection && !hop::closes(fields);
    Ok(Heard::Final(Head { status, length, keeps }))
}

/// Whether a head may end in what came after the first `known` bytes.
fn may_end(bytes: &[u8], known: usize) -> bool {
    // An empty line may have begun before.
    let new = bytes.get(known.saturating_sub(3)..).unwrap_or_default();
    new.windows(2).any(|pair| pair == b"\n\n") || new.windows(3).any(|three| three == b"\n\r\n")
}

fn length(
    status: StatusCode,
    is_http_11: bool,
    is_head_request: bool,
    fields: &mut HeaderMap,
) -> Result<Length, &'static str> {
    let mut codings = fields.get_all(TRANSFER_ENCODING).iter();
    let (coding, another) = (codings.next(), codings.next());
    let mut said: Option<u64> = None;
    let mut lengths = 0;
    for value in fields.get_all(CONTENT_LENGTH) {
        // To some, one with a zero before it is octal.
        let is_number = match value.as_bytes() {
            [b'0'] => true,
            [b'1'..=b'9', rest @ ..] => rest.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        let number = value.to_str().ok().and_then(|text| text.parse().ok());
        let number: u64 = number.filter(|_| is_number).ok_or("its length is none")?;
        if said.is_some_and(|said| said != number) {
            return Err("it has two lengths");
        }
        said = Some(number);
        lengths += 1;
    }
    let has_none =
        is_head_request || status == StatusCode::NO_CONTENT || status == StatusCode::NOT_MODIFIED;
    if let Some(coding) = coding {
        if !is_http_11 {
            return Err("HTTP/1.0 has no transfer codings");
        }
        if another.is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err("its transfer coding is not `chunked` alone");
        }
        if said.is_some() {
            return Err("it has two lengths");
        }
        // RFC 9112 §6.1.
        if status == StatusCode::NO_CONTENT {
            return Err("it has a transfer coding and no body");
        }
    }
    let length = match coding {
        _ if has_none => Length::None,
        Some(_) => Length::Chunks,
        None => said.map_or(Length::Connection, Length::Bytes),
    };
    if lengths > 1
        && let Some(first) = fields.get(CONTENT_LENGTH).cloned()
    {
        fields.insert(CONTENT_LENGTH, first);
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(text: &str) -> Result<Heard, &'static str> {
        parse(&mut BytesMut::from(text), 0, false, &mut HeaderMap::new())
    }

    fn length_of(fields: &str) -> Result<(Length, bool), &'static str> {
        match heard(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))? {
            Heard::Final(head) => Ok((head.length, head.keeps)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn where_a_body_ends() {
        assert_eq!(length_of("Content-Length: 3\r\n"), Ok((Length::Bytes(3), true)));
        assert_eq!(length_of("content-length:0\r\n"), Ok((Length::Bytes(0), true)));
        assert_eq!(length_of("Transfer-Encoding: Chunked\r\n"), Ok((Length::Chunks, true)));
        assert_eq!(length_of("Connection: keep-alive\r\n"), Ok((Length::Connection, false)));
        let closing = "Content-Length: 3\r\nConnection: x, Close\r\n";
        assert_eq!(length_of(closing), Ok((Length::Bytes(3), false)));
        let twice = "Content-Length: 3\r\nContent-Length: 3\r\n";
        assert_eq!(length_of(twice), Ok((Length::Bytes(3), true)));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_no_answer() {
        for fields in [
            "Content-Length: 3\r\nContent-Length: 4\r\n",
            "Content-Length: 3, 3\r\n",
            "Content-Length: +3\r\n",
            "Content-Length: -3\r\n",
            "Content-Length: 0x3\r\n",
            "Content-Length: 03\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding:\r\n",
            "X: a\r\n b\r\n",
            "X : a\r\n",
            ": a\r\n",
            "X: a\0b\r\n",
            "X: a\rb\r\n",
        ] {
            length_of(fields).expect_err(fields);
        }
        heard("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap_err();
        heard("HTTP/1.1 099 OK\r\n\r\n").unwrap_err();
        heard("HTTP/1.1 101 Switching Protocols\r\n\r\n").unwrap_err();
        heard("HTTP/2.0 200 OK\r\n\r\n").unwrap_err();
        heard("SSH-2.0-OpenSSH_9.2\r\n\r\n").unwrap_err();
    }

    #[test]
    fn some_answers_have_no_body_whatever_they_say() {
        for status in [204, 304] {
            let head = heard(&format!("HTTP/1.1 {status} x\r\nContent-Length: 9\r\n\r\n")).unwrap();
            assert!(matches!(head, Heard::Final(Head { length: Length::None, keeps: true, .. })));
        }
        let mut bytes = BytesMut::from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let head = parse(&mut bytes, 0, true, &mut HeaderMap::new()).unwrap();
        assert!(matches!(head, Heard::Final(Head { length: Length::None, .. })));
    }

    #[test]
    fn interim_answers_and_halves_are_told_apart() {
        assert_eq!(heard("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), Ok(Heard::Interim));
        let whole = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
        for end in 0..whole.len() {
            let mut bytes = BytesMut::from(&whole[..end]);
            let part = parse(&mut bytes, 0, false, &mut HeaderMap::new());
            assert_eq!(part, Ok(Heard::Part), "{end}");
            // As when the rest comes later.
            bytes.extend_from_slice(&whole.as_bytes()[end..]);
            let rest = parse(&mut bytes, end, false, &mut HeaderMap::new()).unwrap();
            assert!(matches!(rest, Heard::Final(_)), "{end}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8.., 0..300)) {
            let mut buffer = BytesMut::from(&b"HTTP/1.1 200 OK\r\n"[..]);
            buffer.extend_from_slice(&bytes);
            let _any = parse(&mut buffer, 0, false, &mut HeaderMap::new());
        }
    }
}
