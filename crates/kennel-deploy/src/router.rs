//! Asking the router whether it has a table.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use kennel_core::{DeploymentId, InUse, LastUse, RouterStatus};
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use crate::{DeployError, Host};

/// The router's unit.
const UNIT: &str = "kennel-router.service";

/// Who takes its place while it is restarted.
const RELIEF: &str = "kennel-router-relief.service";

/// How long the router may take to load a table.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks at what it does.
const LOOK: Duration = Duration::from_millis(50);

/// A router that leaves hears nothing any more, and looks at the table by itself five times as often.
const LEAVING: Duration = Duration::from_millis(100);

/// Makes whoever answers visitors load the table, and waits until all have this generation or a later
/// one.
pub(crate) async fn load(host: &Host, generation: u64) -> Result<(), DeployError> {
    load_router(host, generation).await?;
    load_relief(host, generation).await
}

/// Whether there are two routers at the moment, or one that relieves the other.
pub(crate) async fn is_relieved(host: &Host) -> Result<bool, DeployError> {
    Ok(!host.manager.state(RELIEF).await?.is_over())
}

/// It cannot be asked what it has. A reload that it begins after this look reads what was there before;
/// one that meets its start, or another reload, may be merged into that.
async fn load_relief(host: &Host, generation: u64) -> Result<(), DeployError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = host.manager.state(RELIEF).await?;
        match state.active.as_str() {
            "active" => match host.manager.reload(RELIEF).await {
                Ok(()) => return Ok(()),
                Err(error) => warn!("{error}, ignoring: it may be leaving"),
            },
            "deactivating" => {
                sleep(LEAVING).await;
                return Ok(());
            }
            _ if state.is_over() => return Ok(()),
            _ => {}
        }
        if Instant::now() >= deadline {
            return Err(DeployError::RouterLate { generation });
        }
        sleep(LOOK).await;
    }
}

/// A finished reload alone is no proof: one that meets a starting router is merged into the start.
/// A router that does not run reads the table when it starts, which counts.
async fn load_router(host: &Host, generation: u64) -> Result<(), DeployError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let state = host.manager.state(UNIT).await?;
        if state.is_over() {
            return Ok(());
        }
        if state.active == "deactivating" {
            sleep(LEAVING).await;
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
        sleep(LOOK).await;
    }
}

/// How many requests to a deployment have not ended. None, if the router cannot be asked: then there
/// are none any more, or nobody counts them.
pub(crate) async fn requests_to(host: &Host, deployment: DeploymentId) -> u64 {
    match ask::<InUse>(host, "/in-use").await {
        Ok(in_use) => in_use.deployments.get(&deployment).map_or(0, |it| it.requests),
        Err(error) => {
            warn!("asking the router: {error}, ignoring: nobody is waited for");
            0
        }
    }
}

/// What is under way to deployments that are counted, and when all were used last.
pub(crate) async fn use_of_all(
    host: &Host,
) -> Result<(InUse, LastUse), Box<dyn std::error::Error>> {
    // In this order: who comes in between is known at least as having used it.
    let in_use = ask(host, "/in-use").await?;
    Ok((in_use, ask(host, "/last-use").await?))
}

/// Lets whoever asks for the deployment wait for a moment, unless somebody uses it. Says whether it is
/// so.
pub(crate) async fn rest(
    host: &Host,
    deployment: DeploymentId,
) -> Result<bool, Box<dyn std::error::Error>> {
    let (status, _) = call(host, Method::POST, &format!("/rest/{deployment}")).await?;
    Ok(status == StatusCode::OK)
}

/// Ends that.
pub(crate) async fn end_rest(
    host: &Host,
    deployment: DeploymentId,
) -> Result<(), Box<dyn std::error::Error>> {
    call(host, Method::POST, &format!("/rest/{deployment}/end")).await.map(drop)
}

async fn status(host: &Host) -> Result<RouterStatus, Box<dyn std::error::Error>> {
    ask(host, "/status").await
}

async fn ask<T: DeserializeOwned>(
    host: &Host,
    what: &str,
) -> Result<T, Box<dyn std::error::Error>> {
    let (_, body) = call(host, Method::GET, what).await?;
    Ok(serde_json::from_slice(&body)?)
}

async fn call(
    host: &Host,
    method: Method,
    what: &str,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error>> {
    let path = host.layout.router_socket();
    let answer = async {
        let stream = UnixStream::connect(&path).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(what)
            .header("Host", "router")
            .header("Connection", "close")
            .body(Empty::<Bytes>::new())?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        connection.abort();
        Ok((status, body))
    };
    timeout(PATIENCE, answer).await?
}
