//! Whether a deployment would change anything: what it would serve may be served already.
//!
//! Compared is what would be written: the unit, the environment, the credentials, the link. What
//! differs by nature (the port, the deployment's number, the commit in `$KENNEL_COMMIT`) is taken
//! from the one that serves.

use std::fs;

use kennel_core::config::{ProgramManifest, ServiceManifest};
use kennel_core::{CommitSha, Settings};
use kennel_store::Deployment;

use crate::health::{self, Health};
use crate::listener::{self, Listener};
use crate::secrets::{self, Opener};
use crate::{DeployError, Host, databases, env, file, routes, service, sleep, timer};

/// The deployment that serves, healthily, exactly what this one would; none if there is none.
pub(crate) async fn serving(
    host: &Host,
    deployment: &Deployment,
) -> Result<Option<Deployment>, DeployError> {
    let Some(active) = host.state.active(&deployment.key)? else { return Ok(None) };
    // Of the same build it is asked for by a person, who wants it started anew.
    let may_be_same = active.build != deployment.build
        && active.store_path == deployment.store_path
        && active.settings == deployment.settings
        && active.fork == deployment.fork;
    if !may_be_same {
        return Ok(None);
    }
    let same = match &deployment.settings {
        Settings::Site(_) => {
            let (key, slug) = (&deployment.key, &deployment.names.slug);
            let link = host.layout.site(&key.project, slug, &key.service);
            fs::read_link(link).is_ok_and(|target| target == deployment.store_path.as_path())
        }
        Settings::Service(manifest) => {
            is_written(host, deployment, &active, &manifest.program)?
                && (sleep::is_asleep(host, &active).await?
                    || is_healthy(host, &active, manifest).await?)
        }
        Settings::Worker(manifest) => {
            is_written(host, deployment, &active, manifest)? && is_running(host, &active).await?
        }
        Settings::Timer(manifest) => {
            is_written(host, deployment, &active, &manifest.program)?
                && !host.manager.state(active.timer_unit().as_str()).await?.is_over()
        }
    };
    Ok(same.then_some(active))
}

/// Whether all that would be written for the new one is there, as that of the active one.
fn is_written(
    host: &Host,
    deployment: &Deployment,
    active: &Deployment,
    manifest: &ProgramManifest,
) -> Result<bool, DeployError> {
    let unit = active.unit();
    // One that cannot be read is no reason to fail: the new one gets its own.
    let environment = fs::read_to_string(host.layout.env_file(&unit)).unwrap_or_default();
    let Some(sha) = commit_in(&environment) else { return Ok(false) };
    let instead = Deployment { id: active.id, sha, ..deployment.clone() };
    let text = service::unit_text(host, &instead, manifest)?;
    if !file::says(&host.unit_file(&active.unit()), &text) {
        return Ok(false);
    }
    if let Some(text) = timer::unit_text(&instead)
        && !file::says(&host.unit_file(&active.timer_unit()), &text)
    {
        return Ok(false);
    }
    if let Some(text) = sleep::unit_text(host, &instead)
        && !file::says(&host.unit_file(&active.wake_unit()), &text)
    {
        return Ok(false);
    }
    if !databases::has_all(host, deployment, manifest)? {
        return Ok(false);
    }
    let databases = databases::known(host, deployment, manifest)?;
    let mut opener = Opener::default();
    let granted = secrets::grant(&host.layout, &mut opener, deployment, manifest)?;
    let url = routes::url(host, deployment)?;
    let address = active.port.map(|port| (port, url.as_str()));
    let wanted = env::render(&instead, manifest, &granted.variables, &databases, address);
    let directory = host.layout.credentials(&unit);
    Ok(wanted == environment && granted.is_written(&host.layout, &mut opener, &directory)?)
}

/// The commit that a service was started with. The last such line is Kennel's own, whatever a
/// secret of several lines has in it: [`env::render`] puts Kennel's variables last.
fn commit_in(environment: &str) -> Option<CommitSha> {
    let value = environment.lines().rev().find_map(|line| line.strip_prefix("KENNEL_COMMIT="))?;
    value.trim_matches('"').parse().ok()
}

async fn is_running(host: &Host, active: &Deployment) -> Result<bool, DeployError> {
    Ok(host.manager.state(active.unit().as_str()).await?.is_running())
}

async fn is_healthy(
    host: &Host,
    active: &Deployment,
    manifest: &ServiceManifest,
) -> Result<bool, DeployError> {
    let unit = active.unit();
    let Some(port) = active.port else { return Ok(false) };
    if !is_running(host, active).await? {
        return Ok(false);
    }
    let service = host.manager.service(unit.as_str()).await?;
    let own = matches!(listener::on(port, &service.control_group), Ok(Listener::Own));
    Ok(own && health::look(port, active.fork, manifest).await == Health::Healthy)
}

#[cfg(test)]
mod tests {
    use kennel_systemd::env_file;

    use super::*;

    #[test]
    fn the_commit_is_read_from_behind() {
        let (told, own) = ("a".repeat(40), "b".repeat(40));
        let posing = format!("x\nKENNEL_COMMIT={told}\n");
        let text =
            env_file([("KEY", posing.as_str()), ("KENNEL_COMMIT", &own), ("KENNEL_URL", "u")]);
        assert_eq!(commit_in(&text).unwrap().as_str(), own);
        assert_eq!(commit_in(""), None);
    }
}
