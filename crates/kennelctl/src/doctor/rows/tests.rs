use std::os::unix::fs::symlink;

use kennel_core::{BuildId, EventId, PathRoute, Target};

use super::super::tests::{deployment, said};
use super::*;

/// A tree in which everything of one service and one site is where it belongs.
struct Tree {
    root: tempfile::TempDir,
    layout: Layout,
    rows: Rows,
    units: String,
}

const UNIT_DIR: &str = "/etc/systemd/system";

impl Tree {
    fn good() -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::under(root.path());
        let api = deployment("shop", "main", "api", DeploymentState::Active);
        let mut web = deployment("shop", "main", "web", DeploymentState::Active);
        web.id = DeploymentId::from_row(8);
        let put = |path: PathBuf, text: &str| {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        let unit_dir = layout.host_path(Path::new(UNIT_DIR));
        put(unit_dir.join(api.unit().as_str()), "[X-Kennel]\nDeployment=7\n");
        for slice in api.shared_slices() {
            put(unit_dir.join(slice.as_str()), "[Slice]\n\n[X-Kennel]\nSlice=yes\n");
        }
        put(unit_dir.join("kennel-mine.slice"), "[Slice]\n");
        put(unit_dir.join("kennel-mine.service"), "[Service]\nExecStart=/bin/true\n");
        put(layout.env_file(&api.unit()), "");
        let link = |link: PathBuf, target: &Path| {
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(target, link).unwrap();
        };
        let mut table = RouteTable::empty(3);
        for it in [&api, &web] {
            fs::create_dir_all(layout.store(&it.store_path)).unwrap();
            link(layout.deployment_root(it.id), it.store_path.as_path());
            let target = Target::Site {
                deployment: it.id,
                root: it.store_path.clone(),
                spa: false,
                drain_secs: 30,
            };
            let host = format!("{}-main.shop.a.test", it.key.service).parse().unwrap();
            table.hosts.insert(host, vec![PathRoute::new("/", target)]);
        }
        link(
            layout.site(&web.key.project, &web.names.slug, &web.key.service),
            web.store_path.as_path(),
        );
        put(layout.route_table(), &serde_json::to_string(&table).unwrap());
        let units = format!("Id={}\nActiveState=active\nSubState=running\n\n", api.unit());
        let rows = Rows { deployments: vec![api, web], ..Rows::default() };
        Self { root, layout, rows, units }
    }

    fn said(&self) -> String {
        let world = World::look(&self.layout, Path::new(UNIT_DIR));
        let units = Units::parse(&self.units);
        let findings = judge(&self.layout, &self.rows, &world, Some(&units), clock::now());
        said(&findings).replace(self.root.path().to_str().unwrap(), "")
    }

    fn unit_file(&self) -> PathBuf {
        let unit = self.rows.deployments[0].unit();
        self.layout.host_path(Path::new(UNIT_DIR)).join(unit.as_str())
    }
}

fn ago(seconds: i64) -> Timestamp {
    Timestamp::from_millis(clock::now().millis() - seconds * 1000)
}

fn build(id: i64, state: BuildState) -> Build {
    Build {
        id: BuildId::from_row(id),
        request: EventId::from_row(id),
        project: "shop".parse().unwrap(),
        git_ref: "refs/heads/main".parse().unwrap(),
        sha: "a".repeat(40).parse().unwrap(),
        by: None,
        received_at: ago(300),
        queued_at: ago(300),
        started_at: None,
        finished_at: None,
        state,
        fork: false,
        approved_by: None,
        losses: 0,
        cancel_requested: false,
        superseded_by: None,
        reason: None,
        manifest: None,
    }
}

#[test]
fn all_match() {
    insta::assert_snapshot!("good", Tree::good().said());
}

#[test]
fn a_host_that_has_served_nothing() {
    let root = tempfile::tempdir().unwrap();
    let layout = Layout::under(root.path());
    let world = World::look(&layout, Path::new(UNIT_DIR));
    let findings = judge(&layout, &Rows::default(), &world, None, clock::now());
    insta::assert_snapshot!("empty", said(&findings));
    insta::assert_snapshot!("unread", said(&[say::rows_unread("state.db may not be opened")]));
}

#[test]
fn a_site_that_is_being_replaced() {
    let mut tree = Tree::good();
    let web = &tree.rows.deployments[1];
    let mut next = Deployment { state: DeploymentState::Starting, ..web.clone() };
    next.store_path = format!("/nix/store/{}-web", "b".repeat(32)).parse().unwrap();
    let link = tree.layout.site(&web.key.project, &web.names.slug, &web.key.service);
    fs::remove_file(&link).unwrap();
    symlink(next.store_path.as_path(), link).unwrap();
    let wrong = say::site_link_wrong(&web.key.to_string()).sentence;
    assert!(tree.said().contains(&wrong));
    tree.rows.deployments.push(next);
    assert!(!tree.said().contains(&wrong));
}

#[test]
fn rows_without_their_things() {
    let mut tree = Tree::good();
    fs::remove_file(tree.unit_file()).unwrap();
    let unit_dir = tree.layout.host_path(Path::new(UNIT_DIR));
    let [project, branch] = tree.rows.deployments[0].shared_slices();
    fs::remove_file(unit_dir.join(project.as_str())).unwrap();
    fs::rename(unit_dir.join(branch.as_str()), unit_dir.join("kennel-shop-old.slice")).unwrap();
    fs::remove_dir_all(tree.layout.deployment_roots()).unwrap();
    fs::remove_dir_all(tree.layout.host_path(Path::new("/nix/store"))).unwrap();
    fs::remove_dir_all(tree.layout.host_path(Path::new("/var/lib/kennel/sites"))).unwrap();
    let env = tree.layout.env_file(&tree.rows.deployments[0].unit());
    fs::remove_file(env).unwrap();
    fs::remove_file(tree.layout.route_table()).unwrap();
    insta::assert_snapshot!("missing", tree.said());
    fs::write(tree.layout.route_table(), "{").unwrap();
    assert!(tree.said().contains("routes.json cannot be read: EOF"));
    let empty = serde_json::to_string(&RouteTable::empty(4)).unwrap();
    fs::write(tree.layout.route_table(), empty).unwrap();
    tree.rows.deployments.truncate(1);
    insta::assert_snapshot!("not_routed", tree.said());
}

#[test]
fn what_can_be_gone_back_to() {
    let mut tree = Tree::good();
    let web = tree.rows.deployments[1].clone();
    for (id, name, state) in [
        (5, "rooted", DeploymentState::Retired),
        (4, "unrooted", DeploymentState::Draining),
        (3, "collected", DeploymentState::Retired),
    ] {
        let store_path = format!("{}-{name}", web.store_path).parse().unwrap();
        let kept = Deployment { id: DeploymentId::from_row(id), store_path, state, ..web.clone() };
        if name != "collected" {
            fs::create_dir_all(tree.layout.store(&kept.store_path)).unwrap();
        }
        if name == "rooted" {
            symlink(kept.store_path.as_path(), tree.layout.deployment_root(kept.id)).unwrap();
        }
        tree.rows.deployments.push(kept);
    }
    insta::assert_snapshot!("kept", tree.said());
}

#[test]
fn units_in_other_states() {
    let mut tree = Tree::good();
    for (from, to) in [
        ("ActiveState=active", "ActiveState=inactive"),
        ("ActiveState=inactive", "ActiveState=failed"),
        ("ActiveState=failed\nSubState=running", "ActiveState=activating\nSubState=auto-restart"),
        ("activating\nSubState=auto-restart", "active\nSubState=running\nNeedDaemonReload=yes"),
    ] {
        tree.units = tree.units.replace(from, to);
        let said = tree.said();
        let lines: Vec<_> = said.lines().skip(1).take(2).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
    tree.units.clear();
    assert!(tree.said().contains("is inactive"));
}

#[test]
fn things_without_their_rows() {
    let mut tree = Tree::good();
    tree.rows.deployments.clear();
    fs::write(tree.layout.env_dir().join("what.env"), "").unwrap();
    let data = tree.layout.host_path(Path::new("/var/lib/kennel/data"));
    fs::create_dir_all(&data).unwrap();
    symlink("../../private/kennel/data/x", data.join("kennel-shop-old-api")).unwrap();
    tree.units.push_str("Id=kennel-teardown@7.timer\nActiveState=active\n");
    insta::assert_snapshot!("strangers", tree.said());
}

#[test]
fn jobs_and_queues_that_stand_still() {
    let mut tree = Tree::good();
    let mut row = |id, state| {
        let mut it = deployment("shop", "old", "api", state);
        (it.id, it.routed) = (DeploymentId::from_row(id), false);
        it.created_at = ago(300);
        it.drain_until = (state == DeploymentState::Draining).then(|| ago(200));
        tree.rows.deployments.push(it);
    };
    row(20, DeploymentState::Starting);
    row(21, DeploymentState::TearingDown);
    row(22, DeploymentState::Draining);
    row(23, DeploymentState::Pending);
    tree.rows.builds = vec![
        build(40, BuildState::Building),
        build(41, BuildState::Queued),
        build(42, BuildState::Queued),
    ];
    tree.rows.waiting = vec![ago(150), ago(5)];
    insta::assert_snapshot!("stuck", tree.said());

    // The same rows with their units at work are no finding.
    for unit in [
        "kennel-deploy@20.service",
        "kennel-teardown@21.service",
        "kennel-teardown@22.service",
        "kennel-build@40.service",
    ] {
        tree.units.push_str(&format!("Id={unit}\nActiveState=activating\n\n"));
    }
    tree.rows.waiting.clear();
    insta::assert_snapshot!("moving", tree.said());
}
