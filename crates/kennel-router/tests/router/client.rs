//! A client that sends exact bytes and reads answers as the protocol frames them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use rustix::net::{AddressFamily, SocketType, bind, connect, socket};

use crate::host::PATIENCE;

/// One connection to the router.
pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and fields, each line without its end.
    pub(crate) head: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }
}

/// A field's value, by its name in any case.
pub(crate) fn field<'a>(head: &'a [String], name: &str) -> Option<&'a str> {
    head.iter().skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Reads a head; nothing if the connection ended before it.
pub(crate) fn read_head(stream: &mut impl BufRead) -> Option<Vec<String>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        match stream.read_line(&mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("reading a head after {head:?}: {error}"),
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Some(head);
        }
        head.push(line.to_owned());
    }
}

/// Reads a body as its head frames it. `Err` holds what came before it broke off.
pub(crate) fn read_body(
    stream: &mut impl BufRead,
    head: &[String],
    to_the_end: bool,
) -> Result<Vec<u8>, Vec<u8>> {
    let mut body = Vec::new();
    if field(head, "transfer-encoding").is_some() {
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return Err(body);
            }
            let size = u64::from_str_radix(line.trim().split(';').next().unwrap(), 16).unwrap();
            if stream.take(size).read_to_end(&mut body).is_err() {
                return Err(body);
            }
            if stream.read_line(&mut line).unwrap_or(0) == 0 {
                return Err(body);
            }
            if size == 0 {
                return Ok(body);
            }
        }
    }
    if let Some(len) = field(head, "content-length") {
        let len: usize = len.parse().unwrap();
        let _broken = stream.take(len as u64).read_to_end(&mut body);
        return if body.len() == len { Ok(body) } else { Err(body) };
    }
    if to_the_end {
        stream.read_to_end(&mut body).unwrap();
    }
    Ok(body)
}

/// A connection from this address of the loopback interface.
pub(crate) fn connect_from(from: &str, address: SocketAddr) -> TcpStream {
    let from = SocketAddr::new(from.parse().unwrap(), 0);
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    bind(&socket, &from).unwrap();
    connect(&socket, &address).unwrap();
    TcpStream::from(socket)
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    /// Connects from this address of the loopback interface.
    pub(crate) fn connect_from(from: &str, address: SocketAddr) -> Self {
        Self::over(connect_from(from, address))
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
    }

    /// `GET` for a.example over this connection.
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.get_with(path, "")
    }

    /// The same with more fields, each with its line's end.
    pub(crate) fn get_with(&mut self, path: &str, fields: &str) -> Answer {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: a.example\r\n{fields}\r\n"));
        self.answer()
    }

    /// Sends exact bytes and reads the answer.
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes);
        self.answer()
    }

    /// The next answer, with its body.
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let bodiless = matches!(answer.status, 100..=199 | 204 | 304);
        if !bodiless {
            answer.body = read_body(&mut self.stream, &answer.head, true).unwrap();
        }
        answer
    }

    /// The next answer's head; its body is still to come, or never will.
    pub(crate) fn head(&mut self) -> Answer {
        let head = read_head(&mut self.stream).expect("the connection ended before the answer");
        let status = head[0].split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: Vec::new() }
    }

    /// The rest of a body whose head was read.
    pub(crate) fn body(&mut self, head: &[String]) -> Result<Vec<u8>, Vec<u8>> {
        read_body(&mut self.stream, head, true)
    }

    /// Exactly this many bytes.
    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Whether the router has closed the connection without another byte.
    pub(crate) fn is_at_end(&mut self) -> bool {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => rest.is_empty(),
            Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }

    pub(crate) fn shutdown_write(&self) {
        self.stream.get_ref().shutdown(Shutdown::Write).unwrap();
    }

    /// Without Linux's read-ahead: how much the router could write into the void is bounded.
    pub(crate) fn raw(&self) -> &TcpStream {
        self.stream.get_ref()
    }
}
