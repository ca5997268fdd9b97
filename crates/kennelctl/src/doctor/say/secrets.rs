//! Whether what serves could be started once more with its secrets.

use kennel_core::ProjectName;
use kennel_store::SecretsError;

use crate::doctor::finding::Finding;

const SERVICES_SECRETS: &str = "deployments.secrets";

pub(in crate::doctor) fn services_secrets_good(count: usize) -> Finding {
    Finding::ok(
        SERVICES_SECRETS,
        match count {
            0 => "nothing that serves needs a secret".to_owned(),
            1 => "the one secret of what serves is there".to_owned(),
            n => format!("all {n} secrets of what serves are there"),
        },
    )
}

pub(in crate::doctor) fn secret_missing(key: &str, project: &ProjectName, name: &str) -> Finding {
    let sentence = format!(
        "{key} runs with the secret {name}, which is gone: after a reboot it cannot be started"
    );
    Finding::failure(SERVICES_SECRETS, sentence).by_hand(format!(
        "set it again with `kennelctl secret set {project} {name}`, or deploy without it"
    ))
}

pub(in crate::doctor) fn secret_unusable(key: &str, name: &str, error: &SecretsError) -> Finding {
    let why = kennel_core::error_chain(error);
    let sentence =
        format!("{key} runs with the secret {name}, which cannot be handed over again: {why}");
    Finding::failure(SERVICES_SECRETS, sentence).run("kennelctl check")
}

pub(in crate::doctor) fn sealer_missing() -> Finding {
    Finding::failure(
        SERVICES_SECRETS,
        "systemd does not open sealed secrets: /run/systemd/io.systemd.Credentials is missing",
    )
    .run("systemctl start systemd-creds.socket")
}

pub(in crate::doctor) fn services_secrets_unseen() -> Finding {
    Finding::skipped(SERVICES_SECRETS, "the directories of secrets may not be looked into")
        .run("sudo kennelctl doctor")
}
