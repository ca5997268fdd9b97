//! Is it healthy: `GET http://127.0.0.1:<port><path>` answers 200, in the protocol that the service
//! speaks.

use std::time::Duration;

use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kennel_core::config::ServiceManifest;
use kennel_core::{Port, Protocol, error_chain};
use kennel_systemd::call_service;
use tokio::net::TcpStream;
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
pub(crate) async fn look(port: Port, fork: bool, manifest: &ServiceManifest) -> Health {
    match timeout(LOOK, ask(port, fork, manifest)).await {
        Ok(health) => health,
        Err(_) => Health::Not(format!("it did not answer within {} s", LOOK.as_secs())),
    }
}

async fn ask(port: Port, fork: bool, manifest: &ServiceManifest) -> Health {
    let Ok(stream) = call_service(port, fork).await else {
        return Health::Refused;
    };
    let path = manifest.health_check.as_str();
    let (answer, version) = match manifest.protocol {
        Protocol::Http1 => (ask_http1(stream, port, path).await, "HTTP"),
        Protocol::H2c => {
            let answer = if path == Protocol::GRPC_CHECK {
                ask_grpc(stream, port).await
            } else {
                ask_h2c(stream, port, path).await
            };
            (answer, "HTTP/2 (`protocol = \"h2c\"`)")
        }
    };
    answer.unwrap_or_else(|error| {
        Health::Not(format!("it did not answer in {version}: {}", error_chain(&error)))
    })
}

type Answer = Result<Health, hyper::Error>;

fn judge(status: StatusCode) -> Health {
    if status == StatusCode::OK {
        Health::Healthy
    } else {
        Health::Not(format!("it answered {status} instead of 200"))
    }
}

/// No [`ServiceManifest`] brings it about.
fn unaskable() -> Health {
    Health::Not("its path cannot be asked for".to_owned())
}

async fn ask_http1(stream: TcpStream, port: Port, path: &str) -> Answer {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header("Host", format!("127.0.0.1:{port}"))
        .header("User-Agent", "kennel-deploy")
        .header("Connection", "close")
        .body(Empty::<Bytes>::new());
    let Ok(request) = request else { return Ok(unaskable()) };
    let response = sender.send_request(request);
    tokio::pin!(response, connection);
    tokio::select! {
        response = &mut response => response.map(|response| judge(response.status())),
        ended = &mut connection => {
            ended?;
            response.await.map(|response| judge(response.status()))
        }
    }
}

async fn ask_h2c(stream: TcpStream, port: Port, path: &str) -> Answer {
    let request = Request::get(format!("http://127.0.0.1:{port}{path}"))
        .header("User-Agent", "kennel-deploy")
        .body(Full::default());
    let Ok(request) = request else { return Ok(unaskable()) };
    send_h2c(stream, request).await.map(|response| judge(response.status()))
}

async fn ask_grpc(stream: TcpStream, port: Port) -> Answer {
    let path = Protocol::GRPC_CHECK;
    let request = Request::post(format!("http://127.0.0.1:{port}{path}"))
        .header("User-Agent", "kennel-deploy")
        .header("Content-Type", "application/grpc")
        .header("TE", "trailers")
        .body(Full::new(Bytes::from_static(&Protocol::GRPC_QUESTION)));
    let Ok(request) = request else { return Ok(unaskable()) };
    let (head, body) = send_h2c(stream, request).await?.into_parts();
    let body = Limited::new(body, 64 << 10).collect().await;
    let Ok(body) = body else {
        return Ok(Health::Not("it broke off its answer".to_owned()));
    };
    let trailers = body.trailers().cloned().unwrap_or(head.headers);
    let status = trailers.get("grpc-status").and_then(|status| status.to_str().ok());
    Ok(match (head.status, status) {
        (StatusCode::OK, Some("0")) if *body.to_bytes() == Protocol::GRPC_SERVING => {
            Health::Healthy
        }
        (StatusCode::OK, Some("0")) => Health::Not("it says that it is not serving".to_owned()),
        (StatusCode::OK, Some("12")) => Health::Not(format!("it has no {path}")),
        (StatusCode::OK, Some(code)) => Health::Not(format!(
            "it answered with the gRPC status {} instead of 0",
            code.escape_debug()
        )),
        (status, _) => Health::Not(format!("it answered {status}, and no gRPC status")),
    })
}

async fn send_h2c(
    stream: TcpStream,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, hyper::Error> {
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    // Ends when the sender is gone and the answer's body read.
    tokio::spawn(connection);
    sender.send_request(request).await
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use bytes::Bytes;
    use hyper::Response;
    use kennel_core::config::Manifest;

    use super::*;

    fn manifest(text: &str) -> ServiceManifest {
        let manifest = Manifest::parse(&format!("[services.api]\n{text}"), "kennel.toml").unwrap();
        manifest.services.into_values().next().unwrap()
    }

    async fn looked(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Port::try_from(listener.local_addr().unwrap().port()).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let health = look(port, false, &manifest("")).await;
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

    /// A service of HTTP/2 that answers 200 to `GET /up`, says of itself in gRPC what it is to, and
    /// 404 to everything else.
    async fn speaking_h2c(listener: tokio::net::TcpListener, serving: &'static [u8]) {
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(asked) = connection.accept().await {
            let (request, mut answer) = asked.unwrap();
            let is_grpc = request.uri().path() == Protocol::GRPC_CHECK;
            let status = if is_grpc || request.uri().path() == "/up" { 200 } else { 404 };
            let head = Response::builder().status(status).body(()).unwrap();
            let mut body = answer.send_response(head, false).unwrap();
            if !is_grpc {
                body.send_data(Bytes::from_static(b"up"), true).unwrap();
                continue;
            }
            assert_eq!(request.method(), "POST");
            assert_eq!(request.headers()["content-type"], "application/grpc");
            assert_eq!(request.headers()["te"], "trailers");
            if !serving.is_empty() {
                body.send_data(Bytes::from_static(serving), false).unwrap();
            }
            let status = if serving.is_empty() { "12" } else { "0" };
            let trailers = [("grpc-status".parse().unwrap(), status.parse().unwrap())];
            body.send_trailers(trailers.into_iter().collect()).unwrap();
        }
    }

    #[tokio::test]
    async fn a_service_of_http_2_is_asked_in_it() {
        for (path, serving, words) in [
            ("/up", &[][..], "it answered 200"),
            ("/x", &[], "it answered 404 Not Found instead of 200"),
            (Protocol::GRPC_CHECK, &Protocol::GRPC_SERVING, "it answered 200"),
            (Protocol::GRPC_CHECK, &[0, 0, 0, 0, 2, 8, 2], "it says that it is not serving"),
            (Protocol::GRPC_CHECK, &[], "it has no /grpc.health.v1.Health/Check"),
        ] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let port = Port::try_from(listener.local_addr().unwrap().port()).unwrap();
            let served = tokio::spawn(speaking_h2c(listener, serving));
            let manifest = manifest(&format!("protocol = \"h2c\"\nhealth_check = \"{path}\""));
            assert_eq!(look(port, false, &manifest).await.in_words(), words);
            served.await.unwrap();
        }
    }

    #[tokio::test]
    async fn one_that_speaks_another_than_it_says_is_not_healthy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Port::try_from(listener.local_addr().unwrap().port()).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1024]).unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        let health = look(port, false, &manifest("protocol = \"h2c\"")).await.in_words();
        server.join().unwrap();
        let begins = "it did not answer in HTTP/2 (`protocol = \"h2c\"`): ";
        assert!(health.starts_with(begins), "{health}");
    }

    #[test]
    fn first_looks_come_quickly() {
        let first_second: Duration = waits().take(8).sum();
        assert_eq!(first_second, Duration::from_secs(1));
        assert_eq!(waits().nth(12), Some(Duration::from_secs(15)));
    }
}
