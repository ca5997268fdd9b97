//! A service: its port, its environment, its unit, its start, its health. Workers and timers have
//! some of it.

use std::time::Duration;

use kennel_core::config::{ProgramManifest, ServiceManifest};
use kennel_core::{Port, Settings, UnitName};
use kennel_store::Deployment;
use kennel_systemd::{ManagerError, Run, ServiceUnit, kill_point, status};
use tokio::time::{self, Instant};

use crate::databases::{self, Urls};
use crate::env;
use crate::health::{self, Health};
use crate::listener::{self, Listener};
use crate::secrets::{self, Granted, Opener};
use crate::{
    DeployError, Host, file, log_tail, program, recreate, release, routes, sleep, slices, timer,
};

/// How often a unit's state is looked at while it is to come up.
pub(crate) const WATCH: Duration = Duration::from_millis(100);

/// Starts the deployment's unit and waits until it is healthy.
pub(crate) async fn start(
    host: &mut Host,
    deployment: &Deployment,
    manifest: &ServiceManifest,
) -> Result<(), DeployError> {
    let port = reserve_port(host, deployment)?;
    kill_point!(PortReserved, &deployment.key.project);
    let deployment = begin(host, deployment, &manifest.program, Some(port)).await?;
    wait_until_healthy(host, &deployment, port, manifest).await?;
    kill_point!(Healthy, &deployment.key.project);
    Ok(())
}

/// Starts the deployment's unit, with everything that it needs. Returns its row as it is then.
pub(crate) async fn begin(
    host: &mut Host,
    deployment: &Deployment,
    manifest: &ProgramManifest,
    port: Option<Port>,
) -> Result<Deployment, DeployError> {
    let deployment = lay_out(host, deployment, manifest, port).await?;
    recreate::make_way(host, &deployment).await?;
    release::run(host, &deployment, manifest).await?;

    let unit = deployment.unit();
    status(&format!("starting {unit}"));
    let turn = recreate::turn(host, &deployment)?;
    sleep::hang_bell(host, &deployment).await?;
    let lock = slices::hold(host, &deployment).await?;
    let started = host.manager.start(unit.as_str()).await;
    drop((lock, turn));
    match started {
        Ok(()) => {}
        Err(ManagerError::Job { .. }) => {
            let how = host.manager.service(unit.as_str()).await?.ended;
            return Err(DeployError::NotStarted { tail: log_tail::tail(&unit).await, unit, how });
        }
        Err(error) => return Err(error.into()),
    }
    kill_point!(UnitStarted, &deployment.key.project);
    Ok(deployment)
}

/// Everything that the deployment's program needs but its start. Returns its row as it is then.
pub(crate) async fn lay_out(
    host: &mut Host,
    deployment: &Deployment,
    manifest: &ProgramManifest,
    port: Option<Port>,
) -> Result<Deployment, DeployError> {
    let secrets = secrets::grant(&host.layout, &mut Opener::default(), deployment, manifest)?;
    let databases = databases::give(host, deployment, manifest).await?;
    let deployment = host.deployment(deployment.id)?;
    write_environment(host, &deployment, manifest, &secrets, &databases, port)?;
    write_unit(host, &deployment, manifest).await?;
    kill_point!(UnitWritten, &deployment.key.project);
    Ok(deployment)
}

/// Writes what a deployment gets at its start, with its port, if it has one. The environment file
/// comes last: where it is, all is.
pub(crate) fn write_environment(
    host: &Host,
    deployment: &Deployment,
    manifest: &ProgramManifest,
    secrets: &Granted,
    databases: &Urls,
    port: Option<Port>,
) -> Result<(), DeployError> {
    let unit = deployment.unit();
    let url = routes::url(host, deployment)?;
    let address = port.map(|port| (port, url.as_str()));
    secrets.write_credentials(&host.layout.credentials(&unit))?;
    let text = env::render(deployment, manifest, &secrets.variables, databases, address);
    file::replace(&host.layout.env_file(&unit), &text, 0o400)?;
    kill_point!(EnvWritten, &deployment.key.project);
    Ok(())
}

/// Writes the unit file, and a timer's or a bell's beside it.
pub(crate) async fn write_unit(
    host: &Host,
    deployment: &Deployment,
    manifest: &ProgramManifest,
) -> Result<(), DeployError> {
    let text = unit_text(host, deployment, manifest)?;
    file::replace_other(&host.unit_file(&deployment.unit()), &text, 0o644)?;
    timer::write_unit(host, deployment)?;
    sleep::write_unit(host, deployment).await
}

/// The text of the deployment's unit file.
pub(crate) fn unit_text(
    host: &Host,
    deployment: &Deployment,
    manifest: &ProgramManifest,
) -> Result<String, DeployError> {
    let (path, name) = (&deployment.store_path, &deployment.key.service);
    let (command, run) = match &deployment.settings {
        Settings::Timer(timer) => (timer.command.as_ref(), Run::Timer { timeout: timer.timeout }),
        Settings::Service(_) | Settings::Worker(_) | Settings::Site(_) => (None, Run::Service),
    };
    let program = match command {
        Some(command) => {
            program::ensure(&host.layout, path, command.file_name())?;
            command.file_name().to_owned()
        }
        None => program::find(&host.layout, path, name, manifest.release.as_ref())?,
    };
    unit_text_of(host, deployment, manifest, &program, run)
}

/// The text of a unit file that runs this program of the deployment, so.
pub(crate) fn unit_text_of(
    host: &Host,
    deployment: &Deployment,
    manifest: &ProgramManifest,
    program: &str,
    run: Run,
) -> Result<String, DeployError> {
    let credentials = if deployment.fork { &[][..] } else { &manifest.credentials };
    let text = ServiceUnit {
        deployment: deployment.id,
        key: &deployment.key,
        slug: &deployment.names.slug,
        user: &deployment.names.user,
        store_path: &deployment.store_path,
        program,
        run,
        env_file: &host.layout.env_file(&deployment.unit()),
        credentials: (&host.layout.credentials(&deployment.unit()), credentials),
        sleeps: run == Run::Service && sleep::after(host, deployment).is_some(),
        resources: &manifest.resources.within(host.config.limits_of(deployment.fork)),
        untrusted: deployment.fork.then_some(&*host.config.forks.allow_addresses),
    }
    .render()?;
    Ok(text)
}

fn reserve_port(host: &mut Host, deployment: &Deployment) -> Result<Port, DeployError> {
    let range = &host.config.port_range;
    Ok(host.state.reserve_port(deployment.id, range.first, range.last, is_free)?)
}

/// Another port than the one that the deployment has.
pub(crate) fn another_port(host: &mut Host, deployment: &Deployment) -> Result<Port, DeployError> {
    let range = &host.config.port_range;
    Ok(host.state.replace_port(deployment.id, range.first, range.last, is_free)?)
}

fn is_free(port: Port) -> bool {
    std::net::TcpListener::bind(("127.0.0.1", port.get())).is_ok()
}

/// Waits for the deployment's own program to answer that it is healthy.
pub(crate) async fn wait_until_healthy(
    host: &Host,
    deployment: &Deployment,
    port: Port,
    manifest: &ServiceManifest,
) -> Result<(), DeployError> {
    let unit = &deployment.unit();
    let url = format!("http://127.0.0.1:{port}{}", manifest.health_check);
    status(&format!("waiting for {url}"));
    let deadline = Instant::now() + manifest.health_check_timeout;
    let mut waits = health::waits();
    let mut last = Health::Refused;
    loop {
        // Whose port it is comes first: what a stranger answers says nothing about the service.
        match ensure_own_listener(host, unit, port).await? {
            Listener::Own => {
                // The look itself must not outlast the time that the service has.
                let look = health::look(port, deployment.fork, manifest);
                if let Ok(found) = time::timeout_at(deadline, look).await {
                    last = found;
                }
            }
            Listener::None | Listener::Foreign(_) => last = Health::Refused,
        }
        ensure_alive(host, unit).await?;
        if last == Health::Healthy {
            return Ok(());
        }
        let wake = Instant::now() + waits.next().unwrap_or(WATCH);
        while Instant::now() < wake.min(deadline) {
            time::sleep(WATCH.min(wake.min(deadline) - Instant::now())).await;
            ensure_alive(host, unit).await?;
        }
        if Instant::now() >= deadline {
            let seconds = manifest.health_check_timeout.as_secs();
            let tail = log_tail::tail(unit).await;
            return Err(DeployError::Unhealthy { url, seconds, last: last.in_words(), tail });
        }
    }
}

/// A program that ended, or that systemd is about to start again, fails the deployment now.
pub(crate) async fn ensure_alive(host: &Host, unit: &UnitName) -> Result<(), DeployError> {
    if host.manager.state(unit.as_str()).await?.is_running() {
        let service = host.manager.service(unit.as_str()).await?;
        if service.restarts == 0 {
            return Ok(());
        }
    }
    let service = host.manager.service(unit.as_str()).await?;
    let tail = log_tail::tail(unit).await;
    // On a busy host it may run again by now.
    let how = match log_tail::result(unit).await {
        Some(result) if service.is_forgotten() => service.ended_before(&result),
        Some(_) | None => service.ended,
    };
    Err(DeployError::Exited { unit: unit.clone(), how, tail })
}

async fn ensure_own_listener(
    host: &Host,
    unit: &UnitName,
    port: Port,
) -> Result<Listener, DeployError> {
    let service = host.manager.service(unit.as_str()).await?;
    let listener = listener::on(port, &service.control_group)
        .map_err(|source| DeployError::Listener { port, source })?;
    if let Listener::Foreign(owner) = listener {
        let tail = log_tail::tail(unit).await;
        return Err(DeployError::ForeignListener { port, owner, unit: unit.clone(), tail });
    }
    Ok(listener)
}
