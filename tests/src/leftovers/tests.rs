use super::*;
use crate::rows::{Build, Database, Domain, Name};

fn deployment(id: i64, service: &str, state: &str) -> Deployment {
    Deployment {
        id,
        build: 4,
        project: "site".into(),
        git_ref: "refs/heads/main".into(),
        service: service.into(),
        kind: if service == "web" { "site" } else { "service" }.to_owned(),
        slug: "main".into(),
        user: format!("kennel-site-main-{service}"),
        label: format!("{service}-main"),
        store_path: format!("/nix/store/{id}-{service}"),
        state: state.into(),
        cleaned: state == "failed",
        port: (state == "active" && service != "web").then_some(18_000),
        ..Deployment::default()
    }
}

fn build(id: i64, project: &str) -> Build {
    Build { id, project: project.into(), ..Build::default() }
}

/// A service that serves after another version failed, and a site.
fn world() -> (Found, Rows) {
    let name = |kind: &str, name: &str| Name {
        kind: kind.into(),
        name: name.into(),
        project: "site".into(),
        git_ref: "refs/heads/main".into(),
        ..Name::default()
    };
    let rows = Rows {
        deployments: vec![
            deployment(1, "api", "retired"),
            deployment(2, "api", "active"),
            deployment(3, "web", "active"),
            deployment(4, "api", "failed"),
        ],
        names: vec![
            name("slug", "main"),
            name("user", "kennel-site-main-api"),
            name("user", "kennel-site-main-web"),
            name("label", "api-main"),
            name("label", "web-main"),
        ],
        domains: Vec::new(),
        databases: Vec::new(),
        builds: vec![build(4, "site"), build(5, "other")],
    };
    let active = |unit: &str| (unit.to_owned(), "active".to_owned());
    let found = Found {
        units: vec![
            active("kennel-router.service"),
            active("kennel-site.slice"),
            active("kennel-site-main.slice"),
            active("kennel-site-main-api.slice"),
            active("kennel-site-main-api@2.service"),
        ],
        unit_files: [
            "kennel-site-main-api@2.service",
            "kennel-site.slice",
            "kennel-site-main.slice",
            "kennel-site2.slice",
            "dbus.service",
        ]
        .map(String::from)
        .to_vec(),
        env_files: vec!["site-main-api@2.env".into()],
        credentials: vec!["site-main-api@2.credentials".into()],
        listeners: vec![
            (80, "/system.slice/kennel-router.socket".into()),
            (18_000, "/kennel.slice/kennel-site.slice/kennel-site-main-api@2.service".into()),
        ],
        sites: ["site/", "site/main/", "site/main/web -> /nix/store/3-web", "other/"]
            .map(String::from)
            .to_vec(),
        roots: [("1", "1-api"), ("2", "2-api"), ("3", "3-web")]
            .map(|(id, name)| (id.to_owned(), format!("/nix/store/{name}")))
            .to_vec(),
        build_roots: vec!["5".into(), "5/api".into()],
        work: Vec::new(),
        state_directories: vec![
            "/var/lib/kennel/data/kennel-site-main-api".into(),
            "/var/lib/private/kennel/data/kennel-site-main-api".into(),
        ],
        stamps: Vec::new(),
        users: vec!["kennel-site-main-api".into(), "kennel-other-main-api".into()],
        routes: vec!["2".into(), "3".into()],
    };
    (found, rows)
}

#[test]
fn a_host_that_is_as_its_rows_say() {
    let (found, rows) = world();
    assert_eq!(differences("site", &found, &rows), Vec::<String>::new());
}

/// What one run of a timer makes may be there or not; the timer and its files must be.
#[test]
fn a_timer_between_two_runs_and_in_one() {
    let (mut found, mut rows) = world();
    let resting =
        Deployment { kind: "timer".into(), port: None, ..deployment(9, "tidy", "active") };
    rows.names.extend(
        [("user", resting.user.clone()), ("label", resting.label.clone())]
            .map(|(kind, name)| Name { kind: kind.into(), name, ..rows.names[0].clone() }),
    );
    found.units.push((resting.timer(), "active".into()));
    found.unit_files.extend([resting.unit(), resting.timer()]);
    found.env_files.push("site-main-tidy@9.env".into());
    found.roots.push(("9".into(), resting.store_path.clone()));
    found.stamps.push(format!("stamp-{}", resting.timer()));
    rows.deployments.push(resting.clone());
    assert_eq!(differences("site", &found, &rows), Vec::<String>::new());
    found.units.push((resting.unit(), "activating".into()));
    found.units.push(("kennel-site-main-tidy.slice".into(), "active".into()));
    found.users.push(resting.user);
    assert_eq!(differences("site", &found, &rows), Vec::<String>::new());
    found.units.retain(|(unit, _)| !unit.ends_with(".timer"));
    let missing = differences("site", &found, &rows);
    assert_eq!(missing, ["units: kennel-site-main-tidy@9.timer active is missing"]);
}

/// One difference each, so that no check of the list is one that cannot fail.
#[test]
fn everything_that_is_left_over_or_missing_is_seen() {
    type Change = fn(&mut Found, &mut Rows);
    let changes: [(Change, &str); 29] = [
        (|_, rows| rows.deployments[0].state = "draining".into(), "rows: 1 of api is draining"),
        (|_, rows| rows.deployments[3].cleaned = false, "rows: 4 of api is failed"),
        (|_, rows| rows.deployments[0].port = Some(18_001), "ports: 18001 of 1 is left"),
        (
            |found, _| found.units.push(("kennel-site-main-api@4.service".into(), "failed".into())),
            "units: kennel-site-main-api@4.service failed is left",
        ),
        (
            |found, _| found.units[4].1 = "activating".into(),
            "units: kennel-site-main-api@2.service active is missing",
        ),
        (
            |found, _| found.units.push(("kennel-teardown@1.timer".into(), "active".into())),
            "jobs: kennel-teardown@1.timer is left",
        ),
        (
            |found, _| found.units.push(("kennel-build@4.service".into(), "failed".into())),
            "jobs: kennel-build@4.service is left",
        ),
        (
            |found, _| found.units.push(("kennel-site-x_y.slice".into(), "active".into())),
            "slices: kennel-site-x_y.slice is left",
        ),
        (
            |found, _| found.unit_files.push("kennel-site-main-api@1.service".into()),
            "unit files: kennel-site-main-api@1.service is left",
        ),
        (
            |found, _| found.stamps.push("stamp-kennel-site-main-api@2.timer".into()),
            "timers' stamps: stamp-kennel-site-main-api@2.timer is left",
        ),
        (|found, _| found.unit_files.clear(), "unit files: kennel-site-main-api@2.service is miss"),
        (|found, _| found.unit_files.clear(), "files of slices: kennel-site.slice is missing"),
        (
            |found, _| found.unit_files.push("kennel-site-old.slice".into()),
            "files of slices: kennel-site-old.slice is left",
        ),
        (
            |found, _| found.env_files.push("site-main-api@4.env".into()),
            "env files: site-main-api@4.env is left",
        ),
        (|found, _| found.env_files.push(".new".into()), "env files: .new is left"),
        (
            |found, _| found.credentials.push("site-main-api@1.credentials".into()),
            "credentials: site-main-api@1.credentials is left",
        ),
        (
            |found, _| found.listeners[1].0 = 18_004,
            "listeners: kennel-site-main-api@2.service on 18004 is left",
        ),
        (|found, _| found.sites.push("site/x/".into()), "sites: site/x/ is left"),
        (|found, _| found.routes.push("4".into()), "routes: 4 is left"),
        (
            |found, _| found.roots.push(("4".into(), "/nix/store/4-api".into())),
            "GC roots: 4 -> /nix/store/4-api is left",
        ),
        (|found, _| drop(found.roots.remove(0)), "GC roots: 1 -> /nix/store/1-api is missing"),
        (|found, _| found.build_roots.push("4/api".into()), "GC roots of builds: 4/api is left"),
        (|found, _| found.work.push("4".into()), "work of builds: 4 is left"),
        (|found, _| drop(found.users.remove(0)), "users: kennel-site-main-api is missing"),
        (
            |_, rows| rows.deployments[1].state = "torn_down".into(),
            "users: kennel-site-main-api is left",
        ),
        (
            |_, rows| rows.deployments.truncate(0),
            "unit files: kennel-site-main-api@2.service is left",
        ),
        (
            |_, rows| rows.deployments[2].state = "torn_down".into(),
            "names: label web-main of refs/heads/main is left",
        ),
        (
            |_, rows| {
                let domain =
                    Domain { host: "a.org".into(), project: "site".into(), ..Domain::default() };
                rows.domains.push(domain);
            },
            "domains: a.org is left",
        ),
        (
            |_, rows| {
                rows.databases.push(Database {
                    server: "valkey".into(),
                    name: "3".into(),
                    project: "site".into(),
                    git_ref: "refs/heads/x".into(),
                });
            },
            "preview databases: 3 on valkey of refs/heads/x is left",
        ),
    ];
    for (change, expected) in changes {
        let (mut found, mut rows) = world();
        change(&mut found, &mut rows);
        let differences = differences("site", &found, &rows);
        assert!(
            differences.iter().any(|it| it.starts_with(expected)),
            "{expected}: {differences:?}"
        );
    }
}

#[test]
fn state_directories_belong_to_the_last_holder_of_the_name() {
    let (found, mut rows) = world();
    for row in &mut rows.deployments {
        row.state = "torn_down".into();
    }
    let left = |rows: &Rows| {
        differences("site", &found, rows).iter().any(|it| it.starts_with("state directories"))
    };
    assert!(left(&rows));
    let other = Deployment { project: "other".into(), ..deployment(9, "api", "active") };
    rows.deployments.push(other);
    assert!(!left(&rows));
}
