//! What the router says of itself.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use kennel_core::RouterStatus;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::{http, say};

/// The router answers from memory.
const PATIENCE: Duration = Duration::from_secs(2);

/// The router's state. The fields are the keys of its JSON.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Router {
    /// Whether it told its status; none if it was not asked.
    reachable: Option<bool>,
    /// The route table in force.
    generation: Option<u64>,
    /// The route table on disk.
    published_generation: Option<u64>,
    /// Why it refused the newest table.
    refused: Option<String>,
    #[serde(skip)]
    trouble: Option<String>,
}

impl Router {
    /// Asks on its status socket.
    pub(crate) async fn ask(socket: &Path) -> Self {
        let asked = timeout(PATIENCE, status(socket)).await;
        match asked.unwrap_or_else(|_| Err("it did not answer in time".to_owned())) {
            Ok(status) => Self {
                reachable: Some(true),
                generation: status.generation,
                refused: status.refused,
                ..Self::default()
            },
            Err(why) => Self { reachable: Some(false), trouble: Some(why), ..Self::default() },
        }
    }

    /// With the generation that is published.
    pub(crate) fn beside(self, published_generation: Option<u64>) -> Self {
        Self { published_generation, ..self }
    }

    /// What is wrong with it, as far as people have to know.
    pub(crate) fn warning(&self) -> Option<String> {
        if let Some(why) = &self.trouble {
            return Some(say::router_silent(why));
        }
        if let Some(reason) = &self.refused {
            return Some(say::router_refused(reason));
        }
        let published = self.published_generation?;
        let behind = self.reachable? && self.generation < Some(published);
        behind.then(|| say::router_behind(self.generation, published))
    }
}

/// What it answers to `GET /status`, or why it does not; without a time limit.
pub(crate) async fn status(socket: &Path) -> Result<RouterStatus, String> {
    get(socket, "/status").await
}

/// What it answers to `GET` on a path, or why it does not; without a time limit.
pub(crate) async fn get<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, String> {
    let stream = UnixStream::connect(socket).await.map_err(|error| match error.kind() {
        ErrorKind::PermissionDenied => say::router_not_permitted(),
        _ => format!("{}: {error}", socket.display()),
    })?;
    let (status, body) =
        http::get(stream, "router", path, true).await.map_err(|error| error.to_string())?;
    if status.as_u16() != 200 {
        return Err(format!("it answered {status}"));
    }
    serde_json::from_slice(&body).map_err(|error| format!("its answer cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn asked(answer: &'static str) -> Router {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("router.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let read = stream.read(&mut [0; 1024]).unwrap();
            assert_ne!(read, 0);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let router = runtime.block_on(Router::ask(&socket));
        server.join().unwrap();
        router
    }

    #[test]
    fn only_what_is_wrong_is_told() {
        let good = asked(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"generation\":7,\"loaded_at\":1,\"hosts\":2,\
             \"refused\":null,\"connections\":0,\"requests\":0}",
        );
        let good = good.beside(Some(7));
        assert_eq!(good.warning(), None);
        insta::assert_snapshot!(good.beside(Some(8)).warning().unwrap(), @"The router serves route table 7, and 8 is published; try `systemctl reload kennel-router`.");
        let refused = asked(
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{\"generation\":null,\"loaded_at\":null,\"hosts\":0,\
             \"refused\":\"it is cut off\",\"connections\":0,\"requests\":0}",
        );
        insta::assert_snapshot!(refused.beside(Some(8)).warning().unwrap(), @"The router refused the newest route table and serves the one before: it is cut off");
        let broken = asked("HTTP/1.1 500 Oops\r\nconnection: close\r\n\r\n");
        insta::assert_snapshot!(broken.beside(Some(8)).warning().unwrap(), @"The router does not tell its status (it answered 500 Internal Server Error); see `systemctl status kennel-router`.");
    }

    #[test]
    fn a_router_that_is_not_there() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let router = runtime.block_on(Router::ask(Path::new("/nonexistent/router.sock")));
        insta::assert_snapshot!(router.beside(None).warning().unwrap(), @"The router does not tell its status (/nonexistent/router.sock: No such file or directory (os error 2)); see `systemctl status kennel-router`.");
    }

    #[test]
    fn one_that_was_not_asked_is_not_complained_about() {
        assert_eq!(Router::default().beside(Some(1)).warning(), None);
    }
}
