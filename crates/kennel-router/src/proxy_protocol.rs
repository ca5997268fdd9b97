//! The PROXY protocol, versions 1 and 2: what a proxy says before the client's first byte.
//!
//! By HAProxy's document "The PROXY protocol" (proxy-protocol.txt), sections 2.1 and 2.2. Read only
//! where the operator expects it, and then nothing else is taken: a header that anybody may leave
//! out could be made up by anybody too. Reads no byte of what comes behind it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// The most bytes of a header: what the document says a receiver shall be able to take.
const MOST: usize = 536;
/// The most bytes of a header of version 1, with its end of line.
const MOST_V1: usize = 107;
/// What one of version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// The connection is for another's: from the first address to the second.
    For(SocketAddr, SocketAddr),
    /// It is the proxy's own (a check of health), or of a kind that has no addresses.
    Own,
}

/// How far the beginning of a connection is understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// It may become a header.
    Incomplete,
    /// It is one, of so many bytes.
    Whole(Said, usize),
    /// It is none.
    Invalid,
}

/// Takes the header off a connection; none if there is no valid one. Whoever calls it bounds the time.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Option<Said>> {
    let mut header = [0; MOST];
    let mut taken = 0;
    loop {
        let Some(room) = header.get_mut(taken..).filter(|room| !room.is_empty()) else {
            return Ok(None);
        };
        let peeked = stream.peek(room).await?;
        let known = taken + peeked;
        let (said, used) = match parse(header.get(..known).unwrap_or_default()) {
            Read::Invalid => return Ok(None),
            Read::Incomplete if peeked == 0 => return Ok(None),
            Read::Incomplete => (None, known),
            Read::Whole(said, used) => (Some(said), used),
        };
        // All of it belongs to the header, and has come.
        let own = header.get_mut(taken..used).unwrap_or_default();
        stream.read_exact(own).await?;
        taken = used;
        if let Some(said) = said {
            return Ok(Some(said));
        }
    }
}

fn parse(bytes: &[u8]) -> Read {
    if is_beginning(bytes, SIGNATURE) {
        parse_v2(bytes)
    } else if is_beginning(bytes, b"PROXY ") {
        parse_v1(bytes)
    } else {
        Read::Invalid
    }
}

/// The length of the header at the start of these bytes, if that is one.
#[cfg(any(test, fuzzing))]
pub(crate) fn length(bytes: &[u8]) -> Option<usize> {
    match parse(bytes) {
        Read::Whole(_, length) => Some(length),
        Read::Incomplete | Read::Invalid => None,
    }
}

/// Whether one of the two begins with the other.
fn is_beginning(bytes: &[u8], whole: &[u8]) -> bool {
    bytes.iter().zip(whole).all(|(a, b)| a == b)
}

fn parse_v1(bytes: &[u8]) -> Read {
    let within = bytes.get(..MOST_V1).unwrap_or(bytes);
    let Some(end) = within.windows(2).position(|pair| pair == b"\r\n") else {
        return if within.len() < MOST_V1 { Read::Incomplete } else { Read::Invalid };
    };
    let line = within.get(..end).and_then(|line| std::str::from_utf8(line).ok());
    match line.and_then(said_v1) {
        Some(said) => Read::Whole(said, end + 2),
        None => Read::Invalid,
    }
}

fn said_v1(line: &str) -> Option<Said> {
    let mut words = line.split(' ').skip(1);
    let is_v4 = match words.next()? {
        // Whatever follows is to be ignored.
        "UNKNOWN" => return Some(Said::Own),
        "TCP4" => true,
        "TCP6" => false,
        _ => return None,
    };
    let address = |word: &str| word.parse::<IpAddr>().ok().filter(|it| it.is_ipv4() == is_v4);
    let port = |word: &str| {
        let is_number = word.bytes().all(|b| b.is_ascii_digit());
        word.parse::<u16>().ok().filter(|_| is_number)
    };
    let (from, to) = (address(words.next()?)?, address(words.next()?)?);
    let (from_port, to_port) = (port(words.next()?)?, port(words.next()?)?);
    let said = Said::For(SocketAddr::new(from, from_port), SocketAddr::new(to, to_port));
    words.next().is_none().then_some(said)
}

fn parse_v2(bytes: &[u8]) -> Read {
    let Some((head, rest)) = bytes.split_at_checked(16) else { return Read::Incomplete };
    let &[.., version_and_command, family, high, low] = head else { return Read::Invalid };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if version_and_command >> 4 != 2 || 16 + length > MOST {
        return Read::Invalid;
    }
    let Some(body) = rest.get(..length) else { return Read::Incomplete };
    let said = match (version_and_command & 0xf, family) {
        (0, _) => Some(Said::Own),
        (1, 0x11) => addresses(body, |bytes: [u8; 4]| Ipv4Addr::from(bytes).into()),
        (1, 0x21) => addresses(body, |bytes: [u8; 16]| Ipv6Addr::from(bytes).into()),
        // Unspecified, datagrams, Unix sockets: no addresses that a connection like this could have.
        (1, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => Some(Said::Own),
        _ => None,
    };
    match said {
        Some(said) => Read::Whole(said, 16 + length),
        None => Read::Invalid,
    }
}

/// Both addresses, then both ports. What follows is of no interest here.
fn addresses<const N: usize>(body: &[u8], address: fn([u8; N]) -> IpAddr) -> Option<Said> {
    let (from, rest) = body.split_first_chunk()?;
    let (to, rest) = rest.split_first_chunk()?;
    let (from_port, rest) = rest.split_first_chunk()?;
    let (to_port, _) = rest.split_first_chunk()?;
    let socket =
        |ip: &[u8; N], port: &[u8; 2]| SocketAddr::new(address(*ip), u16::from_be_bytes(*port));
    Some(Said::For(socket(from, from_port), socket(to, to_port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, body].concat()
    }

    fn for_v4() -> Said {
        Said::For("192.0.2.7:4711".parse().unwrap(), "198.51.100.1:443".parse().unwrap())
    }

    const V4: [u8; 12] = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x67, 0x01, 0xbb];

    #[test]
    fn version_1() {
        let whole = |line: &str| parse(format!("{line}\r\nGET / HTTP/1.1\r\n").as_bytes());
        let line = "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443";
        assert_eq!(whole(line), Read::Whole(for_v4(), line.len() + 2));
        let line = "PROXY TCP6 2001:db8::7 2001:db8::1 4711 443";
        let said =
            Said::For("[2001:db8::7]:4711".parse().unwrap(), "[2001:db8::1]:443".parse().unwrap());
        assert_eq!(whole(line), Read::Whole(said, line.len() + 2));
        assert_eq!(whole("PROXY UNKNOWN"), Read::Whole(Said::Own, 15));
        assert_eq!(whole("PROXY UNKNOWN ::1 ::1 1 2"), Read::Whole(Said::Own, 27));
        for odd in [
            "PROXY ",
            "PROXY TCP4",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 443 1",
            "PROXY TCP4 192.0.2.7  198.51.100.1 4711 443",
            "PROXY TCP4 192.0.2.7 198.51.100.1 +4711 443",
            "PROXY TCP4 192.0.2.7 198.51.100.1 4711 65536",
            "PROXY TCP4 ::1 ::1 4711 443",
            "PROXY TCP6 192.0.2.7 198.51.100.1 4711 443",
            "PROXY TCP4 192.0.2.007 198.51.100.1 4711 443",
            "PROXY UDP4 192.0.2.7 198.51.100.1 4711 443",
            "proxy TCP4 192.0.2.7 198.51.100.1 4711 443",
            "GET / HTTP/1.1",
            "",
        ] {
            assert_eq!(whole(odd), Read::Invalid, "{odd}");
        }
        // An end that does not come.
        let long = format!("PROXY UNKNOWN {}", "x".repeat(200));
        assert_eq!(parse(&long.as_bytes()[..106]), Read::Incomplete);
        assert_eq!(parse(&long.as_bytes()[..107]), Read::Invalid);
    }

    #[test]
    fn version_2() {
        assert_eq!(parse(&v2(0x21, 0x11, &V4)), Read::Whole(for_v4(), 28));
        let v6 = [&[0x20, 1, 0xd, 0xb8][..], &[0; 11], &[7], &[0; 15], &[1], &[0, 80, 0, 81]];
        let said = Said::For("[2001:db8::7]:80".parse().unwrap(), "[::1]:81".parse().unwrap());
        assert_eq!(parse(&v2(0x21, 0x21, &v6.concat())), Read::Whole(said, 52));
        // Whatever stands behind the addresses belongs to the header.
        let more = [&V4[..], &[0x04, 0, 200], &[0; 200]].concat();
        assert_eq!(parse(&v2(0x21, 0x11, &more)), Read::Whole(for_v4(), 16 + more.len()));
        assert_eq!(parse(&v2(0x20, 0x11, &V4)), Read::Whole(Said::Own, 28));
        assert_eq!(parse(&v2(0x20, 0x00, &[])), Read::Whole(Said::Own, 16));
        assert_eq!(parse(&v2(0x21, 0x00, &[])), Read::Whole(Said::Own, 16));
        assert_eq!(parse(&v2(0x21, 0x31, &[0; 216])), Read::Whole(Said::Own, 232));
        for odd in [
            v2(0x11, 0x11, &V4),
            v2(0x22, 0x11, &V4),
            v2(0x21, 0x13, &V4),
            v2(0x21, 0x11, &V4[..11]),
            v2(0x21, 0x21, &V4),
            v2(0x21, 0x11, &[0; 521]),
        ] {
            assert_eq!(parse(&odd), Read::Invalid, "{odd:?}");
        }
    }

    #[test]
    fn a_beginning_may_become_whole() {
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n".to_vec();
        for whole in [line, v2(0x21, 0x11, &V4)] {
            for end in 0..whole.len() {
                assert_eq!(parse(&whole[..end]), Read::Incomplete, "{end}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic_or_take_what_is_not_there(
            kind in 0..3_u8,
            bytes in proptest::collection::vec(any::<u8>(), 0..700),
        ) {
            let start: &[u8] = match kind {
                0 => SIGNATURE,
                1 => b"PROXY TCP4 ",
                _ => b"",
            };
            let bytes = [start, &bytes].concat();
            if let Read::Whole(_, used) = parse(&bytes) {
                prop_assert!(used <= bytes.len() && used <= MOST);
            }
        }
    }
}
