//! Asking the router whether it has a table.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use kennel_core::RouterStatus;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::{DeployError, Host};

/// The router's unit.
const UNIT: &str = "kennel-router.service";

/// How long the router may take to load a table.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the router load the table and waits until it has this generation or a later one.
///
/// A finished reload alone is no proof: one that meets a starting router is merged into the start.
/// A router that does not run reads the table when it starts, which counts.
pub(crate) async fn load(host: &Host, generation: u64) -> Result<(), DeployError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if host.manager.state(UNIT).await?.is_over() {
            return Ok(());
        }
        if let Err(error) = host.manager.reload(UNIT).await {
            warn!("{error}, ignoring: its status tells whether it has the table");
        }
        match status(host).await {
            Ok(status) if status.generation >= Some(generation) => return Ok(()),
            Ok(RouterStatus { refused: Some(reason), .. }) => {
                return Err(DeployError::RouterRefused { generation, reason });
            }
            Ok(_) => {}
            Err(error) => warn!("asking the router: {error}, ignoring: asked again"),
        }
        if Instant::now() >= deadline {
            return Err(DeployError::RouterLate { generation });
        }
        sleep(Duration::from_millis(50)).await;
    }
}

async fn status(host: &Host) -> Result<RouterStatus, Box<dyn std::error::Error>> {
    let path = host.layout.router_socket();
    let answer = async {
        let stream = UnixStream::connect(&path).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::get("/status")
            .header("Host", "router")
            .header("Connection", "close")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let body = response.into_body().collect().await?.to_bytes();
        connection.abort();
        Ok(serde_json::from_slice(&body)?)
    };
    timeout(PATIENCE, answer).await?
}
