//! `kennelctl status`: what serves what, and what is being built.

mod addresses;
mod expiry;
pub(crate) mod health;
mod line;
mod monitor;
mod report;
pub(crate) mod router;

use std::time::Duration;

use kennel_core::{DeploymentState, ProjectName};
use kennel_store::{Build, BuildFilter, Deployment, Place};

pub(crate) use self::addresses::Addresses;
use self::expiry::Ends;
use self::health::Healths;
use self::line::Line;
use self::monitor::Monitor;
pub(crate) use self::report::state_cell;
use self::report::{MaintenanceView, PinView, Report};
use self::router::Router;
use crate::args::StatusArgs;
use crate::build_view::BuildView;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::target::{Known, Target};
use crate::watch::{Frame, watch};
use crate::{clock, say};

/// Far more than a host can have waiting; a bound all the same.
const MOST_BUILDS: u32 = 1000;

/// Prints the report.
pub(crate) fn run(host: &Host, args: &StatusArgs) -> Result<Exit, Failure> {
    let asked = args.target.as_ref().map(ToString::to_string);
    if let Some(seconds) = args.watch {
        let title = ["kennelctl status", asked.as_deref().unwrap_or_default()].join(" ");
        let title = format!("{}, until Ctrl-C", title.trim_end());
        let every = Duration::from_secs(seconds.into());
        return watch(host, &title, every, &mut || {
            let mut report = look(host, args)?;
            let text = report.render(asked.as_deref(), clock::now(), host.terminal);
            report.forget_looks();
            let says = serde_json::to_string(&report).map_err(Failure::Json)?;
            Ok(Frame { text, says })
        });
    }
    let report = look(host, args)?;
    if args.json {
        host.terminal.json(&report)?;
    } else {
        host.terminal.print(&report.render(asked.as_deref(), clock::now(), host.terminal))?;
    }
    Ok(Exit::Done)
}

fn look(host: &Host, args: &StatusArgs) -> Result<Report, Failure> {
    let project = args.target.as_ref().map(|asked| &asked.project);
    let mut deployments = deployments(host, project)?;
    let mut builds = unfinished_builds(host, project)?;
    let target = target(host, args, &deployments, &builds)?;
    deployments.retain(|it| target.covers(&it.key.git_ref, Some(&it.key.service)));
    builds.retain(|build| target.covers(&build.git_ref, None));

    let (addresses, mut warnings) = match Addresses::read(&host.layout) {
        Ok(addresses) => (addresses, Vec::new()),
        // Before the first deployment there is none, and nobody misses it.
        Err(_) if deployments.is_empty() => (Addresses::default(), Vec::new()),
        Err(why) => (Addresses::default(), vec![say::no_route_table(&why)]),
    };
    let (healths, monitor, router) = ask(host, &deployments, !args.no_probe)?;
    let (pins, maintenance) = match host.state()? {
        Some(state) => (state.pins()?, state.maintenance()?),
        None => (Vec::new(), Vec::new()),
    };
    let ends = Ends::read(host)?;
    let lines: Vec<Line> = deployments
        .iter()
        .map(|it| {
            let seen = monitor.of(it.id);
            let now = healths.of(it.id);
            let verdict = seen.as_ref().map_or_else(|| now.cloned(), |seen| seen.beside(now));
            let urls = addresses.of(it.id);
            let mut line = Line::new(it, it.is_held(&pins), urls, verdict.as_ref());
            line.monitor = seen;
            line.expires_at = ends.of(&it.key);
            line
        })
        .collect();
    warnings.extend(lines.iter().filter_map(|line| line.warning(addresses.generation.is_some())));
    warnings.extend(healths.systemd_silent.as_deref().map(say::systemd_silent));
    let router = router.beside(addresses.generation);
    warnings.extend(router.warning());
    let builds = builds.into_iter().map(BuildView::from).collect();
    let pins = pins
        .iter()
        .filter(|pin| project.is_none_or(|project| *project == pin.scope.project))
        .filter(|pin| target.covers(&pin.scope.git_ref, pin.scope.service.as_ref()))
        .map(PinView::from)
        .collect();
    let is_asked_for = |place: &Place| match &place.git_ref {
        Some(git_ref) => target.covers(git_ref, place.service.as_ref()),
        // A whole project is under maintenance with each of its branches.
        None => true,
    };
    let maintenance = maintenance
        .iter()
        .filter(|it| project.is_none_or(|project| *project == it.place.project))
        .filter(|it| is_asked_for(&it.place))
        .map(MaintenanceView::from)
        .collect();
    Ok(Report { deployments: lines, builds, pins, maintenance, router, warnings })
}

/// What is or becomes or ends something on the host, and the newest of each service and site if it
/// failed; by project, branch and name, newest first.
fn deployments(host: &Host, project: Option<&ProjectName>) -> Result<Vec<Deployment>, Failure> {
    use DeploymentState::{Active, Draining, Failed, Pending, Starting, TearingDown};
    let Some(state) = host.state()? else { return Ok(Vec::new()) };
    let mut all = state.in_states(&[Pending, Starting, Active, Draining, TearingDown])?;
    let failed = state.newest(project)?.into_iter().filter(|it| it.state == Failed);
    all.extend(failed);
    all.retain(|it| project.is_none_or(|project| *project == it.key.project));
    all.sort_by(|a, b| a.key.cmp(&b.key).then(b.id.cmp(&a.id)));
    Ok(all)
}

fn unfinished_builds(host: &Host, project: Option<&ProjectName>) -> Result<Vec<Build>, Failure> {
    let Some(builds) = host.builds()? else { return Ok(Vec::new()) };
    let filter = BuildFilter { project: project.cloned(), ..BuildFilter::unfinished() };
    Ok(builds.list(&filter, MOST_BUILDS)?)
}

fn target(
    host: &Host,
    args: &StatusArgs,
    deployments: &[Deployment],
    builds: &[Build],
) -> Result<Target, Failure> {
    let Some(asked) = &args.target else { return Ok(Target::Project) };
    let known: Vec<Known> =
        deployments.iter().map(Known::from).chain(builds.iter().map(Known::from)).collect();
    host.ensure_project(&asked.project, !known.is_empty())?;
    asked.resolve(&known)
}

/// Asks systemd, the services and the router, all at once.
fn ask(
    host: &Host,
    deployments: &[Deployment],
    probe: bool,
) -> Result<(Healths, Monitor, Router), Failure> {
    if !host.is_live {
        return Ok((Healths::default(), Monitor::default(), Router::default()));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Runtime)?;
    let socket = host.layout.router_socket();
    Ok(runtime.block_on(async {
        tokio::join!(
            Healths::ask(&host.layout, deployments, probe),
            Monitor::ask(&socket),
            Router::ask(&socket)
        )
    }))
}
