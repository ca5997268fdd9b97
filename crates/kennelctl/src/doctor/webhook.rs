//! The way of a webhook, from port 80 through the router to the receiver: a delivery for a project
//! that nobody has, which the receiver refuses.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Empty;
use hyper::{Request, StatusCode};
use tokio::net::TcpStream;

use super::facts::Facts;
use super::finding::Finding;
use super::say;
use crate::http;

/// The receiver may have to start first.
const LIMIT: Duration = Duration::from_secs(6);

/// Upper case: no project can be called so.
const PATH: &str = "/webhook/DOCTOR";

pub(super) async fn check(facts: Arc<Facts>) -> Vec<Finding> {
    let Some(config) = &facts.config else { return vec![say::webhook_without_configuration()] };
    if facts.units.is_ok() && !facts.is_started() {
        return vec![say::webhook_not_started()];
    }
    let ports = facts.units.as_ref().map(|units| units.ports("kennel-router.socket"));
    let port = ports.ok().and_then(|ports| ports.first().copied()).unwrap_or(80);
    let control = config.control_host.as_str();
    let answer = match tokio::time::timeout(LIMIT, deliver(port, control)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("there was no answer within {} s", LIMIT.as_secs())),
    };
    vec![judge(port, control, answer)]
}

/// A delivery with a signature that is right for no secret.
async fn deliver(port: u16, control: &str) -> Result<StatusCode, String> {
    let stream =
        TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
    let request = Request::post(PATH)
        .header("content-type", "application/json")
        .header("content-length", 0)
        .header("x-forgejo-delivery", "kennelctl-doctor")
        .header("x-forgejo-event", "push")
        .header("x-forgejo-signature", "0".repeat(64))
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let answer = http::send(stream, control, request, false).await;
    answer.map(|(status, _)| status).map_err(|trouble| trouble.to_string())
}

fn judge(port: u16, control: &str, answer: Result<StatusCode, String>) -> Finding {
    match answer {
        Ok(StatusCode::UNAUTHORIZED) => say::webhook_good(control),
        Ok(StatusCode::NOT_FOUND) => say::webhook_unrouted(control),
        Ok(status) => say::webhook_broken(control, &format!("{status}")),
        Err(why) => say::webhook_unreachable(port, &why),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn every_answer() {
        let look = |answer| judge(80, "kennel.a.test", answer);
        insta::assert_snapshot!(said(&[
            look(Ok(StatusCode::UNAUTHORIZED)),
            look(Ok(StatusCode::NOT_FOUND)),
            look(Ok(StatusCode::BAD_GATEWAY)),
            look(Err("Connection refused (os error 111)".into())),
            say::webhook_without_configuration(),
            say::webhook_not_started(),
        ]));
    }
}
