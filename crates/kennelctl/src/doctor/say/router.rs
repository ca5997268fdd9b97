//! The router and its table.

use super::RESTORE;
use crate::doctor::finding::Finding;

const ROUTER: &str = "router.status";
const TABLE: &str = "router.table";

pub(in crate::doctor) fn router_answers(connections: u64) -> Finding {
    Finding::ok(ROUTER, format!("answers, with {connections} connections open"))
}

pub(in crate::doctor) fn router_silent(why: &str) -> Finding {
    Finding::failure(ROUTER, format!("the router does not tell its status: {why}"))
        .run("systemctl restart kennel-router-status.socket")
}

pub(in crate::doctor) fn router_unseen() -> Finding {
    Finding::skipped(ROUTER, "its status socket may not be opened").run("sudo kennelctl doctor")
}

pub(in crate::doctor) fn router_not_started() -> Finding {
    Finding::skipped(ROUTER, "kennel.target is not started")
}

pub(in crate::doctor) fn router_current(generation: u64, hosts: usize) -> Finding {
    Finding::ok(TABLE, format!("serves the newest route table, {generation}, with {hosts} hosts"))
}

pub(in crate::doctor) fn router_without_table() -> Finding {
    Finding::ok(TABLE, "none is published yet")
}

pub(in crate::doctor) fn router_behind(loaded: Option<u64>, published: u64) -> Finding {
    let loaded = loaded.map_or("no route table".to_owned(), |n| format!("route table {n}"));
    Finding::failure(TABLE, format!("the router serves {loaded}, and {published} is published"))
        .run("systemctl reload kennel-router")
}

pub(in crate::doctor) fn router_refused(reason: &str) -> Finding {
    Finding::failure(TABLE, format!("the router refuses the newest route table: {reason}"))
        .run(RESTORE)
}
