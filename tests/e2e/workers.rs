//! Workers: programs that nobody calls, with all of a service's life.

use kennel_tests::{
    Context, Deployment, Kennel, LIMIT, Project, Result, Rows, ensure, expect_deployment,
    expect_failure, expect_gone, expect_no_change, expect_no_leftovers, expect_restored, shown,
};
use serde_json::Value;

const TOML: &str = "[services.api]\n[workers.queue]\nenv = { QUEUE = \"mail\" }\n";

/// From the first version to the branch's end: one worker runs, and no other version beside it.
pub(crate) fn from_first_to_last(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("mill")?;
    let push = |worker: &str| {
        let sources = kennel.sources().service("api", "mill").service_with("queue", worker);
        project.push("main", &sources.kennel_toml(TOML), worker)
    };
    let first = push("version = mill-1\n")?;
    let one = expect_deployment(kennel, &project, "queue", &first.after, "active")?;
    expect_running(kennel, &project, &one, "mill-1 works")?;
    let environment = environment(kennel, &one)?;
    ensure!(environment.contains("QUEUE=mail\0"), "it has {environment:?}");
    for name in ["PORT=", "KENNEL_URL="] {
        ensure!(!environment.contains(name), "it has a {name} in {environment:?}");
    }
    let pid = main_pid(kennel, &one)?;

    // Another commit with the same worker: its process goes on.
    let readme = kennel.sources().service("api", "mill").service("queue", "mill-1");
    let same = readme.kennel_toml(TOML).file("README", "more");
    project.push("main", &same, "a README")?;
    expect_no_change(kennel, &project, "queue")?;
    ensure!(main_pid(kennel, &one)? == pid, "its process is another");

    // One that leaves at once, whatever it says of it: the old one goes on.
    for code in [0, 7] {
        let broken = push(&format!("say = no queue\nexit_at_start = {code}\n"))?;
        let words = [&format!("status {code}"), "no queue"];
        expect_failure(kennel, &project, "queue", &broken.after, &words)?;
        ensure!(main_pid(kennel, &one)? == pid, "its process is another");
    }

    let second = push("version = mill-2\n")?;
    let two = expect_deployment(kennel, &project, "queue", &second.after, "active")?;
    expect_running(kennel, &project, &two, "mill-2 works")?;
    let rows = expect_no_leftovers(kennel, "mill")?;
    let count =
        |state| rows.of("mill").filter(|it| it.service == "queue" && it.state == state).count();
    ensure!((count("active"), count("retired")) == (1, 1), "there are {rows:?}");

    kennel.host().run(&["kennelctl", "rollback", "mill/main/queue"])?;
    let rows = Rows::read(kennel)?;
    let back = rows.of("mill").find(|it| it.service == "queue" && it.state == "active");
    let back = back.context("none runs after a rollback")?;
    ensure!(back.store_path == one.store_path, "it went back to {back:?}");
    expect_restored(kennel, back, &[back.unit()])?;

    kennel.host().run(&["kennelctl", "teardown", "mill/main", "--yes"])?;
    expect_gone(kennel, &project, "refs/heads/main").map(drop)
}

/// A service that is a worker from its next version on: its address leads nowhere from then on, rather
/// than to a port that will be another's.
pub(crate) fn in_a_services_place(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("quarry")?;
    let address = project.address("queue", "main");
    let push = |kind: &str| {
        let sources = kennel.sources().service("queue", kind);
        project.push("main", &sources.kennel_toml(&format!("[{kind}.queue]\n")), kind)
    };
    let service = push("services")?.after;
    kennel.expect_page(&address, "/version", "services", LIMIT)?;
    let worker = push("workers")?.after;
    expect_deployment(kennel, &project, "queue", &worker, "active")?;
    expect_deployment(kennel, &project, "queue", &service, "retired")?;
    let answer = kennel.get(&address, "/version")?;
    ensure!(answer.status == 404, "its address answers {}", answer.status);
    expect_no_leftovers(kennel, project.name()).map(drop)
}

/// It says so itself, to the journal and to whoever asks Kennel; and no address leads to it.
fn expect_running(kennel: &Kennel, project: &Project, it: &Deployment, words: &str) -> Result<()> {
    kennel.wait_for("what the worker says", LIMIT, || {
        let log = kennel.host().run(&["kennelctl", "logs", "mill/main/queue"])?;
        Ok(log.contains(words).then_some(()))
    })?;
    let line = shown(project, it)?;
    let says = |key: &str, value: Value| line.get(key) == Some(&value);
    let is_right = says("kind", "worker".into())
        && says("health", "healthy".into())
        && says("urls", Value::Array(Vec::new()))
        && says("port", Value::Null);
    ensure!(is_right, "the status says {line}");
    let answer = kennel.get(&project.address("queue", "main"), "/")?;
    ensure!(answer.status == 404, "its address answers {}", answer.status);
    Ok(())
}

fn main_pid(kennel: &Kennel, it: &Deployment) -> Result<String> {
    let show = ["systemctl", "show", "--value", "--property=MainPID", &it.unit()];
    let pid = kennel.host().run(&show)?.trim().to_owned();
    ensure!(pid != "0", "{} has no process", it.unit());
    Ok(pid)
}

fn environment(kennel: &Kennel, it: &Deployment) -> Result<String> {
    kennel.host().run(&["cat", &format!("/proc/{}/environ", main_pid(kennel, it)?)])
}
