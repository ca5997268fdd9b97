//! What polkit lets the dispatcher do.

use crate::doctor::finding::Finding;

const POLKIT: &str = "systemd.polkit";

pub(in crate::doctor) fn polkit_good() -> Finding {
    Finding::ok(POLKIT, "the dispatcher may start jobs and nothing else")
}

pub(in crate::doctor) fn polkit_refuses() -> Finding {
    Finding::failure(POLKIT, "polkit does not let the dispatcher start jobs").by_hand(
        "put 50-kennel.rules into /usr/share/polkit-1/rules.d (on NixOS security.polkit.enable), \
         then `systemctl restart polkit`",
    )
}

pub(in crate::doctor) fn polkit_too_open(unit: &str) -> Finding {
    Finding::warning(
        POLKIT,
        format!("polkit lets user kennel start {unit} too, and so probably any unit"),
    )
    .by_hand("look for a rule that is too wide in /etc/polkit-1/rules.d")
}

pub(in crate::doctor) fn polkit_broken(why: &str) -> Finding {
    Finding::failure(POLKIT, format!("polkit was asked and did not answer: {why}"))
        .run("systemctl restart polkit")
}

pub(in crate::doctor) fn polkit_nobody() -> Finding {
    Finding::skipped(POLKIT, "there is no user kennel to ask for")
}

pub(in crate::doctor) fn polkit_unseen() -> Finding {
    Finding::skipped(POLKIT, "polkit tells only root what others may").run("sudo kennelctl doctor")
}
