//! Whether what serves could be started once more: its secrets are still there, and systemd opens
//! sealed ones.
//!
//! Nothing is opened here, and no value is read.

use kennel_core::{DeploymentState, Layout};
use kennel_store::{Deployment, Secrets, SecretsError, load_project};

use super::facts::Facts;
use super::finding::{Finding, or_ok};
use super::say;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    match &facts.rows {
        Ok(rows) => judge(&facts.host.layout, &rows.deployments, facts.host.is_live),
        // A finding of the rows' own check.
        Err(_) => Vec::new(),
    }
}

fn judge(layout: &Layout, deployments: &[Deployment], is_live: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut found, mut any_sealed, mut unseen) = (0, false, false);
    for deployment in deployments.iter().filter(|it| it.state == DeploymentState::Active) {
        for (name, look) in of_deployment(layout, deployment) {
            let key = deployment.key.to_string();
            match look {
                Ok(Some(is_sealed)) => {
                    found += 1;
                    any_sealed |= is_sealed;
                }
                Ok(None) => {
                    findings.push(say::secret_missing(&key, &deployment.key.project, &name));
                }
                Err(error) if error.denied().is_some() => unseen = true,
                Err(error) => findings.push(say::secret_unusable(&key, &name, &error)),
            }
        }
    }
    if any_sealed && is_live && !layout.credentials_socket().exists() {
        findings.push(say::sealer_missing());
    }
    if unseen {
        findings.push(say::services_secrets_unseen());
    }
    or_ok(findings, || say::services_secrets_good(found))
}

type Look = (String, Result<Option<bool>, SecretsError>);

/// Each secret that the deployment has, and whether it is sealed; none if it is gone.
fn of_deployment(layout: &Layout, deployment: &Deployment) -> Vec<Look> {
    let Some(program) = deployment.settings.program() else { return Vec::new() };
    // What is wrong with a project's file is a finding of the configuration's.
    let Ok(project) = load_project(layout, &deployment.key.project) else {
        return Vec::new();
    };
    let secrets = Secrets::of(layout, &project);
    let scopes = project.secret_scopes(&deployment.key.git_ref, deployment.fork);
    let names = program.secrets.iter().chain(&program.credentials);
    let look = |name: &kennel_core::SecretName| {
        let found = secrets.find(name, scopes);
        (name.to_string(), found.map(|found| found.map(|it| it.is_sealed)))
    };
    names.map(look).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::tests::{deployment, said};
    use super::*;

    #[test]
    fn what_a_reboot_would_show() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let put = |path: &str, text: &str| {
            let path = layout.host_path(Path::new(path));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("/etc/kennel/projects.d/shop.toml", "repo_url = \"/srv/shop.git\"\n");
        put("/run/systemd/io.systemd.Credentials", "");
        let mut api = deployment("shop", "main", "api", DeploymentState::Active);
        let judged = |api: &Deployment| {
            let findings = judge(&layout, std::slice::from_ref(api), true);
            said(&findings).replace(root.path().to_str().unwrap(), "")
        };
        insta::assert_snapshot!(judged(&api), @"
        Deployments
          ok    secrets  nothing that serves needs a secret
        ");
        if let kennel_core::Settings::Service(service) = &mut api.settings {
            service.program.secrets = vec!["A".parse().unwrap()];
            service.program.credentials = vec!["B".parse().unwrap()];
        }
        put("/etc/kennel/secrets/shop/production/A.cred", "x");
        put("/etc/kennel/secrets/shop/preview/B.cred", "x");
        insta::assert_snapshot!(judged(&api), @"
        Deployments
          FAIL  secrets  shop/main/api runs with the secret B, which is gone: after a reboot it cannot be started
                         do: set it again with `kennelctl secret set shop B`, or deploy without it
        ");
        put("/etc/kennel/secrets/shop/B", "x");
        insta::assert_snapshot!(judged(&api), @"
        Deployments
          ok    secrets  all 2 secrets of what serves are there
        ");
        put("/etc/kennel/secrets/shop/B.cred", "x");
        fs::remove_file(layout.credentials_socket()).unwrap();
        insta::assert_snapshot!(judged(&api), @"
        Deployments
          FAIL  secrets  shop/main/api runs with the secret B, which cannot be handed over again: /etc/kennel/secrets/shop/B is there twice, plain and as /etc/kennel/secrets/shop/B.cred; remove one of them
                         run: kennelctl check
          FAIL  secrets  systemd does not open sealed secrets: /run/systemd/io.systemd.Credentials is missing
                         run: systemctl start systemd-creds.socket
        ");
        api.state = DeploymentState::Draining;
        assert!(judged(&api).contains("nothing that serves needs a secret"));
    }
}
