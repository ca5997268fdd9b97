//! `kennelctl redeploy`.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use kennel_core::{BuildEvent, DeploymentEvent};
use kennel_store::NewBuild;
use rustix::process::{Pid, Signal, kill_process};

use crate::tree::Tree;
use crate::wishes::timeless;

/// `shop/main` with `api` and `web`, both serving. Rows of the inbox have higher numbers than those
/// that asked for it.
fn shop() -> (Tree, UnixDatagram) {
    let mut tree = Tree::fresh();
    tree.project("shop");
    let build = tree.build("shop", "refs/heads/main", 'a', 130);
    tree.built(build, 125, [Ok(()), Ok(())]);
    for name in ["api", "web"] {
        let id = tree.deployment("shop", "refs/heads/main", name, 'a', 120);
        tree.active(id, 118, 0);
    }
    tree.taken(10);
    let bell = UnixDatagram::bind(tree.layout.bell()).unwrap();
    (tree, bell)
}

#[test]
fn everything_of_a_branch_serves_again() {
    let (tree, _bell) = shop();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wish = tree.wish();
            let event = &wish.delivery.event;
            insta::assert_debug_snapshot!((event, &wish.delivery.by), @r#"
            (
                Redeploy {
                    git_ref: Branch(
                        Branch(
                            "main",
                        ),
                    ),
                    service: None,
                },
                Some(
                    "alice",
                ),
            )
            "#);
            let ids = ["api", "web"].map(|name| {
                tree.deployment_for(wish.id, ("shop", "refs/heads/main", name), 'a', 0)
            });
            tree.routes(&[("api-main.shop.example.com", ids[0])]);
            tree.active(ids[0], 0, 30);
            tree.active(ids[1], 0, 0);
            tree.decided(wish.id, "redeployed");
        });
        insta::assert_snapshot!(timeless(&tree.ctl(&["redeploy", "shop/main"])), @"
        shop/main/api serves at http://api-main.shop.example.com as deployment 3, after N s
        shop/main/web serves as deployment 4, after N s
        exit 0
        ");
    });
}

#[test]
fn one_that_does_not_serve_again_fails() {
    let (tree, _bell) = shop();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wish = tree.wish();
            let id = tree.deployment_for(wish.id, ("shop", "refs/heads/main", "api"), 'a', 0);
            tree.decided(wish.id, "redeployed");
            tree.failed(id, 0, "it ended at once; its last lines:\nno \u{1b}[31mdatabase");
        });
        let said = tree.ctl(&["redeploy", "shop/main/api"]);
        assert_eq!(said.code, 1);
        insta::assert_snapshot!(said.out, @"
        shop/main/api: deployment 3 failed; what served before still does
          it ended at once; its last lines:
          no database
        ");
    });
}

#[test]
fn a_refusal_is_told_in_the_dispatchers_words() {
    let (tree, _bell) = shop();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            tree.decided(tree.wish().id, "build 7 is queued and is deployed when it is done");
        });
        insta::assert_snapshot!(tree.ctl(&["redeploy", "shop/main"]), @"
        kennelctl: build 7 is queued and is deployed when it is done
        exit 1
        ");
    });
}

#[test]
fn what_cannot_be_meant() {
    let (tree, _bell) = shop();
    let said: Vec<_> = [
        &["redeploy", "shop"][..],
        &["redeploy", "shop/mian"],
        &["redeploy", "wiki/main"],
        &["redeploy", "shop/main/api", "--rebuild"],
    ]
    .iter()
    .map(|arguments| tree.ctl(arguments).to_string())
    .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    kennelctl: shop is a whole project; name a branch of it, as in shop/main
    exit 2
    kennelctl: nothing was ever built of shop/mian; known: shop/main, shop/main/api, shop/main/web
    exit 3
    kennelctl: there is no project wiki; known: shop
    exit 3
    kennelctl: a build is of a whole commit, not of shop/main/api alone; use `kennelctl redeploy shop/main --rebuild`
    exit 2
    ");
    insta::assert_snapshot!(Tree::fresh().ctl(&["redeploy", "shop/main"]), @"
    kennelctl: nothing was ever built of shop/main; push to it
    exit 3
    ");
    assert!(tree.inbox().waiting(1).unwrap().is_empty());
    insta::assert_snapshot!(tree.ctl(&["redeploy", "shop/main/web", "--no-wait"]), @"
    shop/main/web is asked to be deployed again; see `kennelctl status`
    exit 0
    ");
}

#[test]
fn a_rebuild_is_followed_and_then_its_deployments() {
    let (tree, _bell) = shop();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wish = tree.wish();
            let new = NewBuild {
                fork: false,
                needs_approval: false,
                request: wish.id,
                project: "shop".parse().unwrap(),
                git_ref: "refs/heads/main".parse().unwrap(),
                sha: "a".repeat(40).parse().unwrap(),
                by: None,
                received_at: tree.now,
            };
            let build = tree.builds().enqueue(&new, tree.now).unwrap().id;
            tree.decided(wish.id, "build 2");
            tree.built(build, 3, [Ok(()), Err("no rule")]);
            let id = tree.deployment_for(wish.id, ("shop", "refs/heads/main", "api"), 'a', 0);
            tree.active(id, 0, 30);
            tree.builds().handed_over(build).unwrap();
        });
        let said = tree.ctl(&["redeploy", "shop/main", "--rebuild"]);
        // It is a success in part only.
        assert_eq!(said.code, 1, "{said}");
        assert!(said.err.starts_with("Build 2 builds commit aaaaaaaaaaaa again.\n"), "{said}");
        assert!(said.out.starts_with("shop/main/api serves as deployment 3, after "), "{said}");
    });
}

#[test]
fn a_rebuild_that_fails_says_why() {
    let (tree, _bell) = shop();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wish = tree.wish();
            let new = NewBuild {
                fork: false,
                needs_approval: false,
                request: wish.id,
                project: "shop".parse().unwrap(),
                git_ref: "refs/heads/main".parse().unwrap(),
                sha: "a".repeat(40).parse().unwrap(),
                by: None,
                received_at: tree.now,
            };
            let mut builds = tree.builds();
            let build = builds.enqueue(&new, tree.now).unwrap().id;
            builds.claim(build, tree.now).unwrap();
            tree.decided(wish.id, "build 2");
            let reason = Some("the forge does not answer\nat all");
            builds.step(build, BuildEvent::Failed, reason, tree.now).unwrap();
        });
        let said = tree.ctl(&["redeploy", "shop/main", "--rebuild"]);
        assert_eq!(said.code, 1);
        insta::assert_snapshot!(said.err.lines().last().unwrap(), @"kennelctl: build 2 failed: the forge does not answer; what served before still does, see `kennelctl build 2`");
    });
}

#[test]
fn ctrl_c_ends_the_wait_and_nothing_else() {
    let (tree, _bell) = shop();
    let mut command = tree.command(&["redeploy", "shop/main/api"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let wish = tree.wish();
    let id = tree.deployment_for(wish.id, ("shop", "refs/heads/main", "api"), 'a', 0);
    tree.state().claim(id, tree.now).unwrap();
    tree.decided(wish.id, "redeployed");
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    insta::assert_snapshot!(err.next().unwrap(), @"Deployment 3 of shop/main/api starts.");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    insta::assert_snapshot!(err.next().unwrap(), @"kennelctl: shop/main/api goes on being deployed without you; see `kennelctl status --watch`");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let state = tree.state().get(id).unwrap().unwrap().state;
    assert_eq!(state.step(DeploymentEvent::Activated).unwrap().as_str(), "active");
}
