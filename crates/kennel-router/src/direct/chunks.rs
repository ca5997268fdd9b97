//! Chunked bodies of answers (RFC 9112 §7.1), strictly read.
//!
//! A pure function over what came. Extensions are nobody's; line ends are CR LF and nothing else.

use bytes::{Buf, Bytes, BytesMut};
use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};

/// The longest line that begins a chunk, with its extensions.
const LINE: usize = 4 << 10;
/// The most bytes of trailers.
const TRAILERS: usize = 16 << 10;
/// The most of them.
const FIELDS: usize = 32;

/// Where in a body one is.
#[derive(Debug, Default)]
pub(super) struct Chunks(State);

#[derive(Debug, Default)]
enum State {
    /// Before a chunk's size.
    #[default]
    Size,
    /// So many bytes of a chunk are to come, and then a line's end.
    Data(u64),
    /// Behind the last chunk.
    Trailers,
}

/// What came next.
#[derive(Debug)]
pub(super) enum Next {
    /// Too little to say.
    More,
    /// A piece of the body.
    Data(Bytes),
    /// Its end.
    End(Option<HeaderMap>),
}

impl Chunks {
    /// Takes what comes next from the front of the bytes.
    pub(super) fn next(&mut self, buffer: &mut BytesMut) -> Result<Next, &'static str> {
        loop {
            match &mut self.0 {
                State::Size => {
                    let line = buffer.iter().take(LINE).position(|&byte| byte == b'\n');
                    let Some(end) = line else {
                        return if buffer.len() < LINE {
                            Ok(Next::More)
                        } else {
                            Err("a chunk's line is too long")
                        };
                    };
                    let line = buffer.get(..end).and_then(|line| line.strip_suffix(b"\r"));
                    let size = line.and_then(size).ok_or("a chunk's size is none")?;
                    buffer.advance(end + 1);
                    self.0 = if size == 0 { State::Trailers } else { State::Data(size) };
                }
                State::Data(0) => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        self.0 = State::Size;
                    }
                    Some(_) => return Err("a chunk does not end where it should"),
                    None => return Ok(Next::More),
                },
                State::Data(left) => {
                    if buffer.is_empty() {
                        return Ok(Next::More);
                    }
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                    *left -= count as u64;
                    return Ok(Next::Data(buffer.split_to(count).freeze()));
                }
                State::Trailers => {
                    let mut found = [httparse::EMPTY_HEADER; FIELDS];
                    let (len, trailers) = match httparse::parse_headers(buffer, &mut found) {
                        Ok(httparse::Status::Complete((len, trailers))) => (len, trailers),
                        Ok(httparse::Status::Partial) if buffer.len() < TRAILERS => {
                            return Ok(Next::More);
                        }
                        Ok(httparse::Status::Partial) => return Err("its trailers are too long"),
                        Err(_) => return Err("its trailers are none"),
                    };
                    let mut fields = HeaderMap::new();
                    for trailer in trailers {
                        let name = HeaderName::from_bytes(trailer.name.as_bytes());
                        let value = HeaderValue::from_bytes(trailer.value);
                        let (Ok(name), Ok(value)) = (name, value) else {
                            return Err("its trailers are none");
                        };
                        fields.append(name, value);
                    }
                    buffer.advance(len);
                    return Ok(Next::End((!fields.is_empty()).then_some(fields)));
                }
            }
        }
    }
}

/// The number that a chunk's line begins with. What may follow is an extension.
fn size(line: &[u8]) -> Option<u64> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (number, rest) = line.split_at_checked(digits)?;
    let is_extension = matches!(rest.trim_ascii_start().first(), None | Some(b';'));
    // A CR alone is a line's end to some.
    if digits > 16 || !is_extension || rest.contains(&b'\r') {
        return None;
    }
    u64::from_str_radix(std::str::from_utf8(number).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of the body, its trailers, and what is left.
    fn read(text: &[u8], step: usize) -> Result<(Vec<u8>, usize, usize), &'static str> {
        let (mut chunks, mut buffer) = (Chunks::default(), BytesMut::new());
        let (mut body, mut input) = (Vec::new(), text.chunks(step));
        loop {
            match chunks.next(&mut buffer)? {
                Next::More => buffer.extend_from_slice(input.next().ok_or("cut off")?),
                Next::Data(piece) => body.extend_from_slice(&piece),
                Next::End(trailers) => {
                    let left = buffer.len() + input.map(<[u8]>::len).sum::<usize>();
                    return Ok((body, trailers.map_or(0, |it| it.len()), left));
                }
            }
        }
    }

    #[test]
    fn pieces_are_put_together_however_they_come() {
        let text = b"5\r\nhello\r\n00A ; x=\"y\"\r\n, world!!!\r\n0\r\nX-Sum: 7\r\n\r\nrest";
        for step in 1..text.len() {
            assert_eq!(read(text, step), Ok((b"hello, world!!!".to_vec(), 1, 4)), "{step}");
        }
        assert_eq!(read(b"0\r\n\r\n", 1), Ok((Vec::new(), 0, 0)));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for text in [
            &b"5\nhello\r\n0\r\n\r\n"[..],
            b"5\r\nhello\n0\r\n\r\n",
            b"5\r\nhello!\r\n0\r\n\r\n",
            b"5 5\r\nhello\r\n0\r\n\r\n",
            b"5\r;\r\nhello\r\n0\r\n\r\n",
            b"+5\r\nhello\r\n0\r\n\r\n",
            b"0x5\r\nhello\r\n0\r\n\r\n",
            b"-1\r\nhello\r\n0\r\n\r\n",
            b"\r\nhello\r\n0\r\n\r\n",
            b";x\r\nhello\r\n0\r\n\r\n",
            b"10000000000000000\r\nhello\r\n0\r\n\r\n",
            b"0\r\nno field\r\n\r\n",
        ] {
            for step in [1, 3, text.len()] {
                let refused = read(text, step).unwrap_err();
                assert_ne!(refused, "cut off", "{:?}", String::from_utf8_lossy(text));
            }
        }
        let long = [b"5;", &[b'x'; LINE][..], b"\r\nhello\r\n0\r\n\r\n"].concat();
        assert_eq!(read(&long, 100), Err("a chunk's line is too long"));
    }

    #[test]
    fn the_end_is_part_of_it() {
        for text in [&b"5\r\nhel"[..], b"5\r\nhello\r\n", b"5\r\nhello\r\n0\r\n", b"5"] {
            assert_eq!(read(text, 2), Err("cut off"));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(0_u8.., 0..200), step in 1_usize..50) {
            let _any = read(&bytes, step);
        }
    }
}
