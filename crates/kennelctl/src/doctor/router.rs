//! The router: whether it runs, and serves what is published.

use std::sync::Arc;
use std::time::Duration;

use kennel_core::{RouteTable, RouterStatus};

use super::facts::Facts;
use super::finding::Finding;
use super::say;
use crate::status::router;

/// It answers from memory.
const LIMIT: Duration = Duration::from_secs(3);

pub(super) async fn check(facts: Arc<Facts>) -> Vec<Finding> {
    // To ask is to start it: its status socket is systemd's.
    if facts.units.is_ok() && !facts.is_started() {
        return vec![say::router_not_started()];
    }
    let layout = &facts.host.layout;
    let asked = tokio::time::timeout(LIMIT, router::status(&layout.router_socket())).await;
    let status = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs())));
    let table = std::fs::read_to_string(layout.route_table()).ok();
    let table = table.and_then(|text| serde_json::from_str::<RouteTable>(&text).ok());
    match status {
        Err(why) if !facts.is_root && why == crate::say::router_not_permitted() => {
            vec![say::router_unseen()]
        }
        Err(why) => vec![say::router_silent(&why)],
        Ok(status) => judge(&status, table.map(|table| table.generation)),
    }
}

/// A table that cannot be read is `deployments.routes`' finding.
fn judge(status: &RouterStatus, published: Option<u64>) -> Vec<Finding> {
    let table = match (&status.refused, published) {
        (Some(reason), _) => say::router_refused(reason),
        (None, Some(published)) if status.generation < Some(published) => {
            say::router_behind(status.generation, published)
        }
        (None, Some(published)) => say::router_current(published, status.hosts),
        (None, None) => say::router_without_table(),
    };
    vec![say::router_answers(status.connections), table]
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn tables_and_silence() {
        let status = |generation, refused: Option<&str>| RouterStatus {
            generation,
            loaded_at: None,
            hosts: 3,
            refused: refused.map(str::to_owned),
            connections: 12,
            requests: 0,
        };
        insta::assert_snapshot!(said(
            &[
                judge(&status(Some(7), None), Some(7)),
                judge(&status(Some(7), None), Some(8)),
                judge(&status(None, None), Some(8)),
                judge(&status(None, Some("it is cut off at line 3")), Some(8)),
                judge(&status(None, None), None),
                vec![
                    say::router_silent("no answer within 3 s"),
                    say::router_unseen(),
                    say::router_not_started()
                ],
            ]
            .concat()
        ));
    }
}
