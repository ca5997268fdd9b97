//! Whether what serves is well.

use kennel_core::OutputKind;

use crate::doctor::finding::Finding;
use crate::say::does;

const HEALTH: &str = "deployments.health";

pub(in crate::doctor) fn all_well(count: usize) -> Finding {
    Finding::ok(
        HEALTH,
        match count {
            0 => "nothing is deployed".to_owned(),
            1 => "the one that serves is well".to_owned(),
            n => format!("all {n} that serve are well"),
        },
    )
}

pub(in crate::doctor) fn health_without_rows() -> Finding {
    Finding::skipped(HEALTH, "what serves is in state.db, which cannot be read")
}

pub(in crate::doctor) fn unwell(key: &str, detail: &str, kind: OutputKind) -> Finding {
    let does = does(kind);
    let finding = Finding::failure(HEALTH, format!("{key} should {does}, but {detail}"));
    match kind {
        OutputKind::Service | OutputKind::Worker | OutputKind::Timer => {
            finding.run(format!("kennelctl logs {key}"))
        }
        OutputKind::Site => finding.by_hand("push it again"),
    }
}
