//! How deployments are: what systemd says of their units, and what they answer when asked.

use std::collections::BTreeMap;
use std::time::Duration;

use kennel_core::config::HealthPath;
use kennel_core::{DeploymentId, DeploymentState, Layout, Port, Settings};
use kennel_store::Deployment;
use kennel_systemd::{Manager, ManagerError, UnitState, call_service};
use serde::Serialize;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::http;

/// How long a service may take to answer: this is a look, not the router's own check.
const PROBE: Duration = Duration::from_secs(1);

/// How long systemd may take for all units together.
const SYSTEMD: Duration = Duration::from_secs(5);

/// One deployment's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Health {
    /// Its health check answered 200; a worker runs, a timer waits, a site's files are there.
    Healthy,
    /// It runs, and answers something else or nothing; a timer's last run failed.
    Unhealthy,
    /// Its unit does not run.
    Down,
    /// It is about to run.
    Starting,
    /// It was stopped because nobody used it, and is started by the next who does.
    Asleep,
    /// Neither systemd nor the service could be asked.
    Unknown,
}

/// A health and what tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) health: Health,
    /// In words; none for the good.
    pub(crate) detail: Option<String>,
}

/// What systemd says of a deployment.
#[derive(Debug)]
struct Unit {
    state: UnitState,
    /// How the last run of a timer's program ended, if it failed.
    failed_run: Option<String>,
    /// Whether it is down, and somebody who asks for it starts it.
    sleeps: bool,
}

/// What was found out.
#[derive(Debug, Default)]
pub(crate) struct Healths {
    of: BTreeMap<DeploymentId, Verdict>,
    /// Why systemd was not asked, if it was not.
    pub(crate) systemd_silent: Option<String>,
}

impl Verdict {
    fn new(health: Health, detail: impl Into<String>) -> Self {
        Self { health, detail: Some(detail.into()) }
    }

    fn healthy() -> Self {
        Self { health: Health::Healthy, detail: None }
    }
}

impl Healths {
    /// A deployment's health, if anybody asked.
    pub(crate) fn of(&self, deployment: DeploymentId) -> Option<&Verdict> {
        self.of.get(&deployment)
    }

    /// Asks about all deployments at once; without `probe` only systemd and the file system.
    pub(crate) async fn ask(layout: &Layout, deployments: &[Deployment], probe: bool) -> Self {
        let (units, systemd_silent) = match timeout(SYSTEMD, units(deployments)).await {
            Ok(Ok(units)) => (units, None),
            Ok(Err(why)) => (BTreeMap::new(), Some(why)),
            Err(_) => (BTreeMap::new(), Some("it did not answer in time".to_owned())),
        };
        let mut of = BTreeMap::new();
        let mut probes = JoinSet::new();
        for deployment in deployments {
            let (id, unit) = (deployment.id, units.get(&deployment.id));
            match &deployment.settings {
                Settings::Site(_) if deployment.state == DeploymentState::Active => {
                    let files = layout.store(&deployment.store_path);
                    of.insert(id, site(matches!(files.try_exists(), Ok(true))));
                }
                Settings::Site(_) => {}
                Settings::Worker(_) => {
                    let running =
                        (deployment.state == DeploymentState::Active).then(Verdict::healthy);
                    let verdict = unit.and_then(|unit| by_unit(&unit.state).or(running));
                    of.extend(verdict.map(|it| (id, it)));
                }
                // While one drains its timer rests.
                Settings::Timer(_) if deployment.state != DeploymentState::Active => {}
                Settings::Timer(_) => of.extend(unit.map(|unit| (id, timer(unit)))),
                Settings::Service(service) => {
                    if unit.is_some_and(|unit| unit.sleeps) {
                        of.insert(id, Verdict { health: Health::Asleep, detail: None });
                    } else if let Some(verdict) = unit.and_then(|unit| by_unit(&unit.state)) {
                        of.insert(id, verdict);
                    } else if probe
                        && deployment.state == DeploymentState::Active
                        && let Some(port) = deployment.port
                    {
                        let (path, fork) = (service.health_check.clone(), deployment.fork);
                        probes.spawn(async move { (id, look(port, fork, &path).await) });
                    }
                }
            }
        }
        while let Some(looked) = probes.join_next().await {
            // A task that panicked has said so; its service stays without a verdict.
            of.extend(looked.ok());
        }
        Self { of, systemd_silent }
    }
}

/// The states of all units that should run.
async fn units(deployments: &[Deployment]) -> Result<BTreeMap<DeploymentId, Unit>, String> {
    let wanted = deployments.iter().filter(|it| {
        it.settings.kind().has_unit()
            && matches!(
                it.state,
                DeploymentState::Starting | DeploymentState::Active | DeploymentState::Draining
            )
    });
    let wanted: Vec<_> = wanted.collect();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let manager = Manager::connect().await.map_err(|error| error.to_string())?;
    let mut states = BTreeMap::new();
    for deployment in wanted {
        let unit = ask(&manager, deployment).await.map_err(|error| error.to_string())?;
        states.insert(deployment.id, unit);
    }
    Ok(states)
}

async fn ask(manager: &Manager, deployment: &Deployment) -> Result<Unit, ManagerError> {
    let state = manager.state(deployment.lasting_unit().as_str()).await?;
    let failed_run = match deployment.settings {
        Settings::Timer(_) => {
            let run = manager.service(deployment.unit().as_str()).await?;
            (run.result != "success").then_some(run.ended)
        }
        Settings::Service(_) | Settings::Worker(_) | Settings::Site(_) => None,
    };
    let bell = deployment.wake_unit();
    let sleeps = matches!(deployment.settings, Settings::Service(_))
        && state.active == "inactive"
        && manager.state(bell.as_str()).await?.active == "active";
    Ok(Unit { state, failed_run, sleeps })
}

/// What a unit's state says by itself; none if the service has to be asked.
fn by_unit(unit: &UnitState) -> Option<Verdict> {
    let words = format!("its unit is {} ({})", unit.active, unit.sub);
    match unit.active.as_str() {
        "active" | "reloading" => None,
        "activating" if unit.sub == "auto-restart" => {
            Some(Verdict::new(Health::Down, "it ended, and systemd starts it again"))
        }
        "activating" => Some(Verdict::new(Health::Starting, words)),
        "failed" | "inactive" | "deactivating" => Some(Verdict::new(Health::Down, words)),
        _ => Some(Verdict::new(Health::Unknown, words)),
    }
}

fn timer(unit: &Unit) -> Verdict {
    match (by_unit(&unit.state), &unit.failed_run) {
        (Some(verdict), _) => verdict,
        (None, Some(how)) => Verdict::new(Health::Unhealthy, format!("its last run failed: {how}")),
        (None, None) => Verdict::healthy(),
    }
}

fn site(there: bool) -> Verdict {
    if there {
        Verdict::healthy()
    } else {
        Verdict::new(Health::Down, "its files are missing in the Nix store")
    }
}

async fn look(port: Port, fork: bool, path: &HealthPath) -> Verdict {
    let asked = async {
        let Ok(stream) = call_service(port, fork).await else {
            return Verdict::new(Health::Unhealthy, format!("nothing listens on port {port}"));
        };
        let host = format!("127.0.0.1:{port}");
        match http::get(stream, &host, path.as_str(), false).await {
            Ok((status, _)) if status.as_u16() == 200 => Verdict::healthy(),
            Ok((status, _)) => Verdict::new(Health::Unhealthy, format!("{path} answered {status}")),
            Err(trouble) => Verdict::new(Health::Unhealthy, trouble.to_string()),
        }
    };
    let late = |_| Verdict::new(Health::Unhealthy, "it did not answer within a second");
    timeout(PROBE, asked).await.unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    fn looked(answer: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Port::try_from(listener.local_addr().unwrap().port()).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            if answer.is_empty() {
                // Until the other side gives up.
                let _ = stream.read(&mut [0; 1]);
            }
            String::from_utf8_lossy(&request[..read]).into_owned()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let verdict = runtime.block_on(look(port, false, &"/up?x=1".parse().unwrap()));
        drop(runtime);
        assert!(server.join().unwrap().starts_with("GET /up?x=1 HTTP/1.1\r\nhost: 127.0.0.1:"));
        format!("{:?} {}", verdict.health, verdict.detail.unwrap_or_default())
    }

    #[test]
    fn only_200_is_healthy() {
        assert_eq!(looked("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), "Healthy ");
        insta::assert_snapshot!(looked("HTTP/1.1 503 Service Unavailable\r\n\r\n"), @"Unhealthy /up?x=1 answered 503 Service Unavailable");
        insta::assert_snapshot!(looked("hello\n"), @"Unhealthy it does not answer in HTTP");
        insta::assert_snapshot!(looked(""), @"Unhealthy it did not answer within a second");
    }

    #[test]
    fn a_port_where_nobody_listens() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = Port::try_from(listener.local_addr().unwrap().port()).unwrap();
        drop(listener);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let verdict = runtime.block_on(look(port, false, &HealthPath::default()));
        assert_eq!(verdict.detail, Some(format!("nothing listens on port {port}")));
    }

    #[test]
    fn a_timer_is_as_well_as_its_last_run() {
        let said = |active: &str, failed_run: Option<&str>| {
            let state = UnitState { active: active.into(), sub: "dead".into() };
            timer(&Unit { state, failed_run: failed_run.map(str::to_owned), sleeps: false })
        };
        assert_eq!(said("active", None), Verdict::healthy());
        let failed = said("active", Some("it exited with status 7"));
        assert_eq!(failed.health, Health::Unhealthy);
        insta::assert_snapshot!(failed.detail.unwrap(), @"its last run failed: it exited with status 7");
        assert_eq!(said("inactive", Some("it exited with status 7")).health, Health::Down);
    }

    #[test]
    fn what_a_unit_says_by_itself() {
        let said = |active: &str, sub: &str| {
            let unit = UnitState { active: active.into(), sub: sub.into() };
            by_unit(&unit).map(|verdict| {
                format!("{:?}: {}", verdict.health, verdict.detail.unwrap_or_default())
            })
        };
        assert_eq!(said("active", "running"), None);
        let all = [
            ("activating", "auto-restart"),
            ("activating", "start"),
            ("failed", "failed"),
            ("inactive", "dead"),
            ("maintenance", "x"),
        ];
        let all: Vec<_> = all.iter().filter_map(|(active, sub)| said(active, sub)).collect();
        insta::assert_snapshot!(all.join("\n"), @"
        Down: it ended, and systemd starts it again
        Starting: its unit is activating (start)
        Down: its unit is failed (failed)
        Down: its unit is inactive (dead)
        Unknown: its unit is maintenance (x)
        ");
    }
}
