//! One question to one name server, and its answer (RFC 1035 §4.2).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::DnsError;

/// How long an answer may take, and how often a datagram is sent.
const PATIENCE: Duration = Duration::from_secs(3);
const ATTEMPTS: u32 = 2;

/// The answer to a question, without recursion: the server's own knowledge.
pub(super) async fn ask(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
) -> Result<Message, DnsError> {
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Query;
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(name.clone(), kind));
    let id = message.id;
    let bytes = encode(server, &message)?;
    let mut last = None;
    for _ in 0..ATTEMPTS {
        match over_udp(server, &bytes, id).await {
            Ok(answer) if answer.truncation => {
                return parse(server, &over_tcp(server, &bytes).await?);
            }
            Ok(answer) => return Ok(answer),
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| io::ErrorKind::TimedOut.into());
    Err(DnsError::Silent { server: server.to_string(), source })
}

/// Sends a message over TCP, whose answer nobody else can give. Returns the answer as it came.
pub(super) async fn over_tcp(server: SocketAddr, bytes: &[u8]) -> Result<Vec<u8>, DnsError> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let length = u16::try_from(bytes.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
        let mut answer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    let done =
        timeout(PATIENCE, exchange).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    done.map_err(|source| DnsError::Silent { server: server.to_string(), source })
}

pub(super) fn encode(server: SocketAddr, message: &Message) -> Result<Vec<u8>, DnsError> {
    message.to_vec().map_err(|error| DnsError::Unreadable {
        server: server.to_string(),
        why: error.to_string(),
    })
}

pub(super) fn parse(server: SocketAddr, bytes: &[u8]) -> Result<Message, DnsError> {
    Message::from_vec(bytes).map_err(|error| DnsError::Unreadable {
        server: server.to_string(),
        why: error.to_string(),
    })
}

/// The values of TXT records of a name.
pub(super) fn texts(answer: &Message, name: &Name) -> Vec<String> {
    let records = answer.answers.iter().filter(|record| record.name == *name);
    let texts = records.filter_map(|record| match &record.data {
        RData::TXT(text) => Some(String::from_utf8_lossy(&text.txt_data.concat()).into_owned()),
        _ => None,
    });
    texts.collect()
}

async fn over_udp(server: SocketAddr, bytes: &[u8], id: u16) -> io::Result<Message> {
    let from: SocketAddr = match server {
        SocketAddr::V4(_) => (std::net::Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (std::net::Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from).await?;
    // From then on only this server's datagrams arrive.
    socket.connect(server).await?;
    socket.send(bytes).await?;
    let answer = async {
        let mut buffer = vec![0; 4096];
        loop {
            let length = socket.recv(&mut buffer).await?;
            let answer = Message::from_vec(buffer.get(..length).unwrap_or_default());
            // Something else is a late answer to an earlier question, or a forgery.
            if let Some(answer) = answer.ok().filter(|answer| answer.id == id) {
                return Ok(answer);
            }
        }
    };
    timeout(PATIENCE, answer).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
