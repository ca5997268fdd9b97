//! Nothing of a project is on the host that its rows do not account for, and nothing is missing.
//!
//! Both directions: what serves has its unit, slice, files, link, root, port and listener; what
//! has ended has none of them.

mod found;

use std::collections::BTreeSet;

use found::Found;

use crate::rows::{Deployment, Rows};
use crate::{Kennel, LIMIT, Result, bail};

/// Waits until nothing of the project is pending, draining or being removed, and the host has
/// exactly what the rows say. Returns the rows: that they say the right thing is the test's to
/// check.
///
/// # Errors
/// What differs, one difference a line, when something still does after three minutes.
pub fn expect_no_leftovers(kennel: &Kennel, project: &str) -> Result<Rows> {
    kennel.wait_for(&format!("{project} without leftovers"), LIMIT, || {
        // The host first: whatever is found has its row by then, since rows are never removed.
        let found = Found::look(kennel.host())?;
        let rows = Rows::read(kennel)?;
        let differences = differences(project, &found, &rows);
        if differences.is_empty() {
            return Ok(Some(rows));
        }
        bail!("{}", differences.join("\n"))
    })
}

/// As [`expect_no_leftovers`], for a project of which nothing at all should be left.
///
/// # Errors
/// As [`expect_no_leftovers`], and when something serves or could come back.
pub fn expect_nothing_left(kennel: &Kennel, project: &str) -> Result<Rows> {
    let rows = expect_no_leftovers(kennel, project)?;
    let left: Vec<_> = rows.of(project).filter(|it| it.holds()).collect();
    if left.is_empty() { Ok(rows) } else { bail!("of {project} there is still {left:?}") }
}

fn differences(project: &str, found: &Found, rows: &Rows) -> Vec<String> {
    let own: Vec<&Deployment> = rows.of(project).collect();
    let holding = || own.iter().filter(|it| it.holds());
    let active = || own.iter().filter(|it| it.state == "active");
    // What may sleep has a bell, and sleeps or not.
    let has_bell = |it: &Deployment| found.unit_files.contains(&it.bell());
    let sleeps = |it: &Deployment| {
        let is = |unit: String, state: &str| found.units.contains(&(unit, state.to_owned()));
        is(it.bell(), "active") && is(it.unit(), "inactive")
    };
    let programs = || active().filter(|it| !it.is_site() && !it.is_timer());
    let awake = || programs().filter(|it| !sleeps(it));
    let asleep = || programs().filter(|it| sleeps(it));
    let bells = || programs().filter(|it| has_bell(it)).map(|it| it.bell());
    // Their programs run now and then: what a run makes may be there or not.
    let timers = || active().filter(|it| it.is_timer());
    // Deployment ids belong to one project for ever. One without a row is everybody's trouble.
    let is_own = |id: &str| {
        let id: Option<i64> = id.parse().ok();
        rows.deployments.iter().find(|it| Some(it.id) == id).is_none_or(|it| it.project == project)
    };
    let is_own_build = |id: &str| {
        let id: Option<i64> = id.parse().ok();
        rows.builds.iter().find(|it| Some(it.id) == id).is_none_or(|it| it.project == project)
    };
    let mut all = Differences::default();

    let unsettled = own.iter().filter(|it| !it.is_settled());
    all.none("rows", unsettled.map(|it| format!("{} of {} is {}", it.id, it.service, it.state)));
    let ended = own.iter().filter(|it| it.state != "active");
    all.none("ports", ended.filter_map(|it| it.port.map(|port| format!("{port} of {}", it.id))));

    all.compare(
        "units",
        awake()
            .map(|it| it.unit())
            .chain(timers().map(|it| it.timer()))
            .chain(bells())
            .map(|unit| format!("{unit} active"))
            .chain(asleep().map(|it| format!("{} inactive", it.unit()))),
        found
            .units
            .iter()
            .filter(|(unit, _)| instance(unit).is_some_and(is_own) && !is_job(unit))
            .filter(|(unit, _)| !timers().any(|it| it.unit() == *unit))
            .map(|(unit, state)| format!("{unit} {state}")),
    );
    all.none(
        "jobs",
        found.units.iter().map(|(unit, _)| unit.clone()).filter(|unit| {
            is_job(unit)
                && instance(unit).is_some_and(|id| match unit.starts_with("kennel-build@") {
                    true => is_own_build(id),
                    false => is_own(id),
                })
        }),
    );
    let slice = format!("kennel-{}", part(project));
    let slices = |it: &&Deployment| {
        let branch = format!("{slice}-{}", part(&it.slug));
        let service = format!("{branch}-{}", part(&it.service));
        [slice.clone(), branch, service].map(|name| name + ".slice")
    };
    all.compare_some(
        "slices",
        awake().flat_map(slices),
        timers().chain(asleep()).flat_map(slices),
        found.units.iter().filter(|(_, state)| state == "active").filter_map(|(unit, _)| {
            let below = unit.strip_suffix(".slice")?.strip_prefix(&slice)?;
            (below.is_empty() || below.starts_with('-')).then(|| unit.clone())
        }),
    );
    all.compare(
        "unit files",
        programs()
            .map(|it| it.unit())
            .chain(bells())
            .chain(timers().flat_map(|it| [it.unit(), it.timer()])),
        // Beside those of others, such as `user@0.service.d`, where Kennel's units are in /run.
        found
            .unit_files
            .iter()
            .filter(|file| file.starts_with("kennel-") && instance(file).is_some_and(is_own))
            .cloned(),
    );
    all.compare(
        "files of slices",
        programs().chain(timers()).flat_map(|it| {
            let branch = format!("{slice}-{}.slice", part(&it.slug));
            [format!("{slice}.slice"), branch]
        }),
        found
            .unit_files
            .iter()
            .filter(|file| {
                let below = file.strip_suffix(".slice").and_then(|it| it.strip_prefix(&slice));
                below.is_some_and(|below| below.is_empty() || below.starts_with('-'))
            })
            .cloned(),
    );
    all.compare(
        "env files",
        programs().chain(timers()).map(|it| env_file(it)),
        found.env_files.iter().filter(|file| instance(file).is_none_or(is_own)).cloned(),
    );
    // Only some services have any; their own tests know which.
    let serving: BTreeSet<String> = programs().chain(timers()).map(|it| credentials(it)).collect();
    all.none(
        "credentials",
        found
            .credentials
            .iter()
            .filter(|it| instance(it).is_none_or(is_own) && !serving.contains(*it))
            .cloned(),
    );
    all.compare(
        "timers' stamps",
        timers().map(|it| format!("stamp-{}", it.timer())),
        found.stamps.iter().filter(|it| instance(it).is_some_and(is_own)).cloned(),
    );
    let in_slice = format!("/{slice}.slice/");
    all.compare(
        "listeners",
        awake().filter_map(|it| Some(format!("{} on {}", it.unit(), it.port?))),
        found.listeners.iter().filter(|(_, cgroup)| cgroup.contains(&in_slice)).map(
            |(port, cgroup)| format!("{} on {port}", cgroup.rsplit('/').next().unwrap_or_default()),
        ),
    );
    let sites = || active().filter(|it| it.is_site());
    let below = format!("{project}/");
    all.compare(
        "sites",
        sites().flat_map(|it| {
            let branch = format!("{project}/{}/", it.slug);
            let link = format!("{branch}{} -> {}", it.service, it.store_path);
            [below.clone(), branch, link]
        }),
        found.sites.iter().filter(|path| path.starts_with(&below)).cloned(),
    );
    all.compare(
        "routes",
        active().filter(|it| !["worker", "timer"].contains(&&*it.kind)).map(|it| it.id.to_string()),
        found.routes.iter().filter(|id| is_own(id)).cloned(),
    );
    all.compare(
        "GC roots",
        holding().map(|it| format!("{} -> {}", it.id, it.store_path)),
        found.roots.iter().filter(|(id, _)| is_own(id)).map(|(id, to)| format!("{id} -> {to}")),
    );
    let of_builds = |paths: &[String]| -> Vec<String> {
        let id = |path: &String| path.split('/').next().is_some_and(is_own_build);
        paths.iter().filter(|path| id(path)).cloned().collect()
    };
    all.none("GC roots of builds", of_builds(&found.build_roots));
    all.none("work of builds", of_builds(&found.work));

    let user = |it: &&&Deployment| (!it.is_site()).then(|| it.user.clone());
    let users: BTreeSet<String> = own.iter().filter_map(|it| user(&it)).collect();
    // A name that this project has given back may be another's by now.
    let others = rows.deployments.iter().filter(|it| it.project != project && it.holds());
    let others: BTreeSet<&String> = others.map(|it| &it.user).collect();
    let directories =
        |user: String| found::STATE_DIRECTORIES.map(|directory| format!("{directory}/{user}"));
    all.compare_some(
        "state directories",
        holding().filter(|it| !it.is_timer()).filter_map(|it| user(&it)).flat_map(directories),
        holding().filter(|it| it.is_timer()).filter_map(|it| user(&it)).flat_map(directories),
        found
            .state_directories
            .iter()
            .filter(|path| {
                let user = path.rsplit('/').next().unwrap_or_default().to_owned();
                users.contains(&user) && !others.contains(&user)
            })
            .cloned(),
    );
    all.compare_some(
        "users",
        awake().map(|it| it.user.clone()),
        timers().chain(asleep()).map(|it| it.user.clone()),
        found.users.iter().filter(|it| users.contains(*it) && !others.contains(it)).cloned(),
    );
    all.compare(
        "names",
        holding().flat_map(|it| {
            let given = [("slug", &it.slug), ("user", &it.user), ("label", &it.label)];
            given.map(|(kind, name)| format!("{kind} {name} of {}", it.git_ref))
        }),
        rows.names
            .iter()
            .filter(|it| it.project == project)
            .map(|it| format!("{} {} of {}", it.kind, it.name, it.git_ref)),
    );
    all.none(
        "domains",
        rows.domains
            .iter()
            .filter(|domain| domain.project == project)
            .filter(|domain| {
                !holding()
                    .any(|it| (&it.git_ref, &it.service) == (&domain.git_ref, &domain.service))
            })
            .map(|domain| domain.host.clone()),
    );
    all.none(
        "preview databases",
        rows.databases
            .iter()
            .filter(|it| it.project == project)
            .filter(|it| !holding().any(|deployment| deployment.git_ref == it.git_ref))
            .map(|it| format!("{} on {} of {}", it.name, it.server, it.git_ref)),
    );
    all.0
}

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare(
        &mut self,
        what: &str,
        wanted: impl IntoIterator<Item = String>,
        found: impl IntoIterator<Item = String>,
    ) {
        self.compare_some(what, wanted, [], found);
    }

    /// As [`Self::compare`], with some that may be there.
    fn compare_some(
        &mut self,
        what: &str,
        wanted: impl IntoIterator<Item = String>,
        allowed: impl IntoIterator<Item = String>,
        found: impl IntoIterator<Item = String>,
    ) {
        let wanted: BTreeSet<String> = wanted.into_iter().collect();
        let found: BTreeSet<String> = found.into_iter().collect();
        let allowed: BTreeSet<String> = allowed.into_iter().chain(wanted.clone()).collect();
        self.0.extend(found.difference(&allowed).map(|it| format!("{what}: {it} is left over")));
        self.0.extend(wanted.difference(&found).map(|it| format!("{what}: {it} is missing")));
    }

    fn none(&mut self, what: &str, found: impl IntoIterator<Item = String>) {
        self.compare(what, [], found);
    }
}

/// `7` of `kennel-site-main-api@7.service` and of its env file.
fn instance(name: &str) -> Option<&str> {
    let (_, rest) = name.split_once('@')?;
    rest.split('.').next().filter(|id| !id.is_empty())
}

fn is_job(unit: &str) -> bool {
    ["build", "deploy", "teardown"].iter().any(|job| unit.starts_with(&format!("kennel-{job}@")))
}

/// A part of a slice's name: `-` would nest.
fn part(name: &str) -> String {
    name.replace('-', "_")
}

fn env_file(of: &Deployment) -> String {
    format!("{}.env", short(&of.unit()))
}

fn credentials(of: &Deployment) -> String {
    format!("{}.credentials", short(&of.unit()))
}

fn short(unit: &str) -> &str {
    unit.trim_start_matches("kennel-").trim_end_matches(".service")
}

#[cfg(test)]
mod tests;
