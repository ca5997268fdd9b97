//! Commands that leave a wish in the inbox: cancel and teardown.

use std::os::unix::net::UnixDatagram;

use kennel_core::{BuildEvent, BuildId, DeploymentEvent, Event, EventId};
use kennel_store::Scope;

use crate::tree::{Tree, until};

/// The wish that waits, in words.
fn wish(tree: &Tree) -> Option<String> {
    let entry = tree.inbox().waiting(10).unwrap().into_iter().next()?;
    let wish = entry.delivery;
    assert_eq!((wish.forge, wish.delivery_id), (None, None));
    Some(format!("{} {:?} by {:?}", wish.project, wish.event, wish.by))
}

/// The dispatcher has taken the wish.
fn decided(tree: &Tree) {
    let entry = tree.inbox().waiting(10).unwrap().remove(0);
    tree.inbox().consume(entry.id, "decided", tree.now).unwrap();
}

/// A build whose outputs are there, and the request that its deployments answer.
fn built(tree: &mut Tree) -> (BuildId, EventId) {
    let id = tree.build("shop", "refs/heads/main", 'a', 5);
    tree.built(id, 5, [Ok(()), Ok(())]);
    (id, tree.builds().get(id).unwrap().unwrap().request)
}

#[test]
fn cancel_of_what_is_made_of_a_build_waits_until_nothing_is_left() {
    let mut tree = Tree::fresh();
    drop(tree.inbox());
    let _bell = UnixDatagram::bind(tree.layout.bell()).unwrap();
    let (id, request) = built(&mut tree);
    let api = tree.deployment_for(request, ("shop", "refs/heads/main", "api"), 'a', 4);
    let web = tree.deployment_for(request, ("shop", "refs/heads/main", "web"), 'a', 4);
    tree.active(web, 3, 0);
    tree.builds().handed_over(id).unwrap();
    tree.state().claim(api, tree.now).unwrap();
    let tree = &tree;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until(|| wish(tree));
            let ended = tree.state().cancel_build(id, "cancelled by alice", tree.now).unwrap();
            assert_eq!(ended, [api]);
            decided(tree);
            tree.state().torn_down(api, tree.now).unwrap();
        });
        insta::assert_snapshot!(tree.ctl(&["cancel", "1"]), @"
        deployment 1 of shop/main/api is cancelled; what served before still does
        exit 0
        ");
    });
    let row = tree.state().get(api).unwrap().unwrap();
    assert_eq!(row.reason.as_deref(), Some("cancelled by alice"));
    insta::assert_snapshot!(tree.ctl(&["cancel", "1"]), @"
    kennelctl: build 1 has ended already (succeeded), so there is nothing to cancel
    exit 1
    ");
}

#[test]
fn cancel_of_a_deployment_that_serves_first() {
    let mut tree = Tree::fresh();
    drop(tree.inbox());
    let _bell = UnixDatagram::bind(tree.layout.bell()).unwrap();
    let (_, request) = built(&mut tree);
    let api = tree.deployment_for(request, ("shop", "refs/heads/main", "api"), 'a', 4);
    let tree = &tree;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until(|| wish(tree));
            tree.active(api, 1, 0);
            decided(tree);
        });
        insta::assert_snapshot!(tree.ctl(&["cancel", "1"]), @"
        deployment 1 of shop/main/api served before it could be cancelled; a push replaces it, `kennelctl teardown shop/main/api` removes it
        exit 1
        ");
    });
}

#[test]
fn cancel_leaves_a_wish_rings_and_waits() {
    let mut tree = Tree::fresh();
    drop(tree.inbox());
    let id = tree.build("shop", "refs/heads/main", 'a', 5);
    tree.builds().claim(id, tree.now).unwrap();
    let bell = UnixDatagram::bind(tree.layout.bell()).unwrap();
    let tree = &tree;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The dispatcher: woken by the bell, it finds the wish, and the build ends.
            assert_eq!(bell.recv(&mut [0; 8]).unwrap(), 1);
            insta::assert_snapshot!(wish(tree).unwrap(), @r#"shop Cancel { build: BuildId(1) } by Some("alice")"#);
            tree.builds().request_cancel(id, "alice asked", tree.now).unwrap();
            tree.builds().step(id, BuildEvent::Cancelled, None, tree.now).unwrap();
        });
        insta::assert_snapshot!(tree.ctl(&["cancel", "1"]), @"
        build 1 is cancelled
        exit 0
        ");
    });
    insta::assert_snapshot!(tree.ctl(&["cancel", "1"]), @"
    build 1 is cancelled
    exit 0
    ");
}

#[test]
fn cancel_of_what_cannot_be_cancelled() {
    let mut tree = Tree::fresh();
    let id = tree.build("shop", "refs/heads/main", 'a', 5);
    tree.built(id, 5, [Ok(()), Ok(())]);
    tree.builds().handed_over(id).unwrap();
    insta::assert_snapshot!(tree.ctl(&["cancel", "1"]), @"
    kennelctl: build 1 has ended already (succeeded), so there is nothing to cancel
    exit 1
    ");
    insta::assert_snapshot!(tree.ctl(&["cancel", "2"]), @"
    kennelctl: there is no build 2; see `kennelctl builds`
    exit 3
    ");
}

#[test]
fn a_bell_that_nobody_hears_is_told_and_the_wish_kept() {
    let mut tree = Tree::fresh();
    drop(tree.inbox());
    tree.build("shop", "refs/heads/main", 'a', 5);
    insta::assert_snapshot!(tree.ctl(&["cancel", "1", "--no-wait"]), @"
    build 1 is asked to end; see `kennelctl build 1`
    kennelctl: cannot ring /run/kennel/bell; the dispatcher looks by itself within a minute
    exit 0
    ");
    assert!(wish(&tree).is_some());
}

#[test]
fn a_host_whose_inbox_nobody_made_gets_none() {
    let mut tree = Tree::fresh();
    tree.build("shop", "refs/heads/main", 'a', 5);
    insta::assert_snapshot!(tree.ctl(&["cancel", "1"]), @"
    kennelctl: /var/lib/kennel/inbox/inbox.db does not exist: Kennel has never run here; start it with `systemctl enable --now kennel.target`
    exit 3
    ");
    assert_eq!(std::fs::metadata(tree.layout.inbox_db()).unwrap().len(), 0);
}

#[test]
fn a_build_that_ends_by_itself_meanwhile() {
    let mut tree = Tree::fresh();
    drop(tree.inbox());
    let id = tree.build("shop", "refs/heads/main", 'a', 5);
    let tree = &tree;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until(|| wish(tree));
            tree.built(id, 5, [Ok(()), Ok(())]);
            decided(tree);
        });
        let said = tree.ctl(&["cancel", "1"]);
        insta::assert_snapshot!(said.out, @"build 1 ended by itself before it could be cancelled (succeeded)");
        assert_eq!(said.code, 1);
    });
}

#[test]
fn teardown_of_a_branch_waits_until_all_is_gone() {
    let mut tree = Tree::fresh();
    tree.project("shop");
    drop(tree.inbox());
    let git_ref = "refs/heads/feature/x";
    let old = tree.deployment("shop", git_ref, "api", 'a', 50);
    tree.active(old, 49, 0);
    let api = tree.deployment("shop", git_ref, "api", 'b', 40);
    tree.active(api, 39, 3600);
    let web = tree.deployment("shop", git_ref, "web", 'b', 40);
    tree.active(web, 39, 0);
    let other = tree.deployment("shop", "refs/heads/main", "api", 'b', 40);
    tree.active(other, 39, 0);
    let tree = &tree;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            insta::assert_snapshot!(until(|| wish(tree)), @r#"shop TearDown { git_ref: Branch(Branch("feature/x")), service: None } by Some("alice")"#);
            let scope = Scope {
                project: "shop".parse().unwrap(),
                git_ref: git_ref.parse().unwrap(),
                service: None,
            };
            let mut state = tree.state();
            let going = state.begin_teardown(&scope, "alice asked", tree.now).unwrap();
            assert_eq!(going.len(), 3);
            for deployment in going {
                state.torn_down(deployment.id, tree.now).unwrap();
            }
        });
        let said = tree.ctl(&["teardown", "shop/feature/x", "--yes"]);
        assert!(
            said.out.starts_with("shop/feature/x/api, shop/feature/x/web are gone, after "),
            "{said}"
        );
        assert_eq!(said.code, 0);
    });
    insta::assert_snapshot!(tree.ctl(&["teardown", "shop/feature/x", "--yes"]), @"
    kennelctl: nothing is deployed as shop/feature/x; known: shop/main/api
    exit 3
    ");
}

#[test]
fn teardown_of_one_service_by_the_branch_s_slug() {
    let mut tree = Tree::fresh();
    drop(tree.inbox());
    let id = tree.deployment("shop", "refs/heads/feature/X_y", "api", 'a', 50);
    let slug = tree.state().get(id).unwrap().unwrap().names.slug;
    assert_ne!(slug.as_str(), "feature/X_y");
    let said = tree.ctl(&["teardown", &format!("shop/{slug}/api"), "--yes", "--no-wait"]);
    assert_eq!(said.code, 0, "{said}");
    insta::assert_snapshot!(wish(&tree).unwrap(), @r#"shop TearDown { git_ref: Branch(Branch("feature/X_y")), service: Some(ServiceName("api")) } by Some("alice")"#);
}

#[test]
fn a_failed_deployment_can_be_torn_down_as_well() {
    let mut tree = Tree::fresh();
    drop(tree.inbox());
    let id = tree.deployment("shop", "refs/pull/5/head", "api", 'a', 50);
    let mut state = tree.state();
    state.claim(id, tree.now).unwrap();
    state.step(id, DeploymentEvent::Failed, Some("no"), tree.now).unwrap();
    assert_eq!(tree.ctl(&["teardown", "shop/pr-5", "--yes", "--no-wait"]).code, 0);
    let waiting = tree.inbox().waiting(1).unwrap();
    assert!(matches!(&waiting[0].delivery.event, Event::TearDown { service: None, .. }));
}

#[test]
fn teardown_guesses_nothing() {
    let mut tree = Tree::fresh();
    tree.project("shop");
    drop(tree.inbox());
    insta::assert_snapshot!(tree.ctl(&["teardown", "shop/main", "--yes"]), @"
    kennelctl: nothing is deployed as shop/main; see `kennelctl status`
    exit 3
    ");
    let id = tree.deployment("shop", "refs/heads/main", "api", 'a', 50);
    tree.active(id, 49, 0);
    insta::assert_snapshot!(tree.ctl(&["teardown", "shop", "--yes"]), @"
    kennelctl: shop is a whole project; name a branch of it, as in shop/main
    exit 2
    ");
    insta::assert_snapshot!(tree.ctl(&["teardown", "shop/mian", "--yes"]), @"
    kennelctl: nothing is deployed as shop/mian; known: shop/main/api
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["teardown", "wiki/main", "--yes"]), @"
    kennelctl: there is no project wiki; known: shop
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["teardown", "shop/main"]), @"
    kennelctl: this needs an answer and there is no terminal to ask on; add --yes if you are sure
    exit 2
    ");
    assert_eq!(wish(&tree), None);
}
