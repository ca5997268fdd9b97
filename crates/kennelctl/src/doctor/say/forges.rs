//! Whether projects' forges answer.

use std::io;

use kennel_core::ProjectName;

use crate::doctor::finding::Finding;

const FORGES: &str = "network.forges";

pub(in crate::doctor) fn forges_answer(answered: usize, all: usize) -> Finding {
    let sentence = match (answered, all) {
        (_, 0) => "no project has a forge yet".to_owned(),
        (answered, all) if answered == all => "every project is there at its forge".to_owned(),
        (answered, all) => {
            format!("{answered} of {all} projects were looked for at their forges, and were there")
        }
    };
    Finding::ok(FORGES, sentence)
}

pub(in crate::doctor) fn forge_troubled(project: &ProjectName, trouble: &str) -> Finding {
    Finding::warning(FORGES, format!("{project}: {trouble}")).by_hand(
        "mend it; kennel-poll asks again by itself, and takes nothing for deleted till then",
    )
}

pub(in crate::doctor) fn forge_unknown(project: &ProjectName, error: &io::Error) -> Finding {
    Finding::warning(FORGES, format!("what kennel-poll knows of {project} cannot be read: {error}"))
        .run("systemd-tmpfiles --create kennel.conf")
}

pub(in crate::doctor) fn forges_unseen() -> Finding {
    Finding::skipped(FORGES, "what kennel-poll knows of forges is for root").by_hand("ask as root")
}
