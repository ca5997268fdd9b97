//! One webhook, all the way.

use super::RESTORE;
use crate::doctor::finding::Finding;

const WEBHOOK: &str = "router.webhook";

pub(in crate::doctor) fn webhook_good(control: &str) -> Finding {
    Finding::ok(WEBHOOK, format!("the receiver answers behind {control}"))
}

pub(in crate::doctor) fn webhook_without_configuration() -> Finding {
    Finding::skipped(WEBHOOK, "there is no usable config.toml that names the control host")
}

pub(in crate::doctor) fn webhook_not_started() -> Finding {
    Finding::skipped(WEBHOOK, "kennel.target is not started")
}

pub(in crate::doctor) fn webhook_unrouted(control: &str) -> Finding {
    Finding::failure(WEBHOOK, format!("the router knows no webhooks for {control} (404)"))
        .run(RESTORE)
}

pub(in crate::doctor) fn webhook_broken(control: &str, status: &str) -> Finding {
    Finding::failure(
        WEBHOOK,
        format!("a webhook for {control} is answered {status} instead of 401"),
    )
    .run("journalctl --unit kennel-webhook --unit kennel-router --lines 30 --no-pager")
}

pub(in crate::doctor) fn webhook_unreachable(port: u16, why: &str) -> Finding {
    Finding::failure(WEBHOOK, format!("no webhook gets through port {port}: {why}"))
        .run("systemctl restart kennel-router.socket")
}
