//! Is it healthy: `GET http://127.0.0.1:<port><path>` answers 200.

use std::time::Duration;

use http_body_util::Empty;
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kennel_core::Port;
use kennel_core::config::HealthPath;
use kennel_systemd::call_service;
use tokio::time::timeout;

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// 200.
    Healthy,
    /// Nothing listens yet.
    Refused,
    /// Anything else, in words.
    Not(String),
}

impl Health {
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Healthy => "it answered 200".to_owned(),
            Self::Refused => "nothing listened on the port given in $PORT".to_owned(),
            Self::Not(words) => words.clone(),
        }
    }
}

/// The waits between looks: at once, then quickly within the first second, then 1, 2, 4, 8, 15 s
/// and 15 s for ever.
pub(crate) fn waits() -> impl Iterator<Item = Duration> {
    let quick = [10, 20, 40, 80, 150, 200, 250, 250].map(Duration::from_millis);
    let slow = [1, 2, 4, 8, 15].map(Duration::from_secs);
    quick.into_iter().chain(slow).chain(std::iter::repeat(Duration::from_secs(15)))
}

/// The longest that one look takes.
const LOOK: Duration = Duration::from_secs(5);

/// Looks once.
pub(crate) async fn look(port: Port, fork: bool, path: &HealthPath) -> Health {
    match timeout(LOOK, ask(port, fork, path)).await {
        Ok(health) => health,
        Err(_) => Health::Not(format!("it did not answer within {} s", LOOK.as_secs())),
    }
}

async fn ask(port: Port, fork: bool, path: &HealthPath) -> Health {
    let Ok(stream) = call_service(port, fork).await else {
        return Health::Refused;
    };
    let answer = async {
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let request = Request::get(path.as_str())
            .header("Host", format!("127.0.0.1:{port}"))
            .header("User-Agent", "kennel-deploy")
            .header("Connection", "close")
            .body(Empty::<Bytes>::new());
        // A HealthPath is always a valid request target.
        let Ok(request) = request else { return Ok(None) };
        let response = sender.send_request(request);
        tokio::pin!(response, connection);
        tokio::select! {
            response = &mut response => response.map(|response| Some(response.status())),
            ended = &mut connection => {
                ended?;
                response.await.map(|response| Some(response.status()))
            }
        }
    };
    match answer.await {
        Ok(Some(status)) if status.as_u16() == 200 => Health::Healthy,
        Ok(Some(status)) => Health::Not(format!("it answered {status} instead of 200")),
        Ok(None) => Health::Not("its path cannot be asked for".to_owned()),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            Health::Not(format!("it did not answer in HTTP: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    async fn looked(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Port::try_from(listener.local_addr().unwrap().port()).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let health = look(port, false, &"/health".parse().unwrap()).await;
        server.join().unwrap();
        health.in_words()
    }

    #[tokio::test]
    async fn only_200_is_healthy() {
        assert_eq!(looked("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await, "it answered 200");
        insta::assert_snapshot!(looked("HTTP/1.1 204 No Content\r\n\r\n").await, @"it answered 204 No Content instead of 200");
        insta::assert_snapshot!(looked("HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n").await, @"it answered 302 Found instead of 200");
        assert!(looked("hello\n").await.starts_with("it did not answer in HTTP"));
    }

    #[test]
    fn first_looks_come_quickly() {
        let first_second: Duration = waits().take(8).sum();
        assert_eq!(first_second, Duration::from_secs(1));
        assert_eq!(waits().nth(12), Some(Duration::from_secs(15)));
    }
}
