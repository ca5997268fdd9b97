//! `kennelctl history`, `rollback`, `pin` and `unpin`.

use std::os::unix::net::UnixDatagram;

use kennel_core::{DeploymentId, EventId};
use kennel_store::{InboxEntry, NewDeployment, Scope};

use crate::tree::{Tree, new_deployment, without_times};
use crate::wishes::timeless;

/// `shop/main/api` in three versions, the second of which did not start, and a site.
fn shop() -> (Tree, UnixDatagram) {
    let mut tree = Tree::fresh();
    tree.project("shop");
    let main = "refs/heads/main";
    let build = tree.build("shop", main, 'a', 7210);
    tree.built(build, 7208, [Ok(()), Ok(())]);
    let old = tree.deployment_for(EventId::from_row(1), ("shop", main, "api"), 'a', 7205);
    tree.active(old, 7205, 0);
    let broken = tree.deployment("shop", main, "api", 'b', 430);
    tree.failed(broken, 425, "it ended at once (exit code 1); its last lines:\nno database");
    let new = tree.deployment("shop", main, "api", 'c', 190);
    tree.active(new, 185, 0);
    tree.state().retired(old, tree.ago(155)).unwrap();
    let web = tree.deployment("shop", main, "web", 'c', 190);
    tree.active(web, 185, 0);
    tree.taken(10);
    let bell = UnixDatagram::bind(tree.layout.bell()).unwrap();
    (tree, bell)
}

fn scope(service: Option<&str>) -> Scope {
    Scope {
        project: "shop".parse().unwrap(),
        git_ref: "refs/heads/main".parse().unwrap(),
        service: service.map(|service| service.parse().unwrap()),
    }
}

#[test]
fn history_says_what_is_kept() {
    let (tree, _bell) = shop();
    insta::assert_snapshot!(tree.ctl(&["history", "shop/main/api"]), @"
    DEPLOYMENT  STATE    COMMIT        BY     WHEN       KEPT  NOTE
    3           active   cccccccccccc         3 min ago  -
    2           failed   bbbbbbbbbbbb         7 min ago  -     it ended at once (exit code 1); its last lines:
    1           retired  aaaaaaaaaaaa  alice  2 h ago    yes
    exit 0
    ");
    let key = ("shop", "refs/heads/main", "api");
    let back = NewDeployment {
        rollback_to: Some(DeploymentId::from_row(1)),
        ..new_deployment(EventId::from_row(20), key, 'a')
    };
    let id = tree.state().create(&back, tree.ago(190)).unwrap();
    tree.active(id, 185, 3600);
    tree.state().pin(&scope(None), Some("bob"), tree.ago(125)).unwrap();
    insta::assert_snapshot!(tree.ctl(&["history", "shop/main/api", "-n", "2"]), @"
    DEPLOYMENT  STATE     COMMIT        BY  WHEN       KEPT  NOTE
    5           active    aaaaaaaaaaaa      3 min ago  -     back to 1
    3           draining  cccccccccccc      3 min ago  yes
    shop/main was pinned by bob 2 min ago: pushes are built and held until `kennelctl unpin shop/main`.
    exit 0
    ");
    let json = tree.ctl(&["history", "shop/main/api", "-n", "1", "--json"]);
    insta::assert_snapshot!(without_times(&json.out), @r#"
    [
      {
        "active_at": "TIME",
        "build": 20,
        "by": null,
        "commit": "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "created_at": "TIME",
        "ended_at": null,
        "id": 5,
        "kept": false,
        "reason": null,
        "rollback_to": 1,
        "state": "active"
      }
    ]
    "#);
}

#[test]
fn one_service_or_site_has_a_history() {
    let (tree, _bell) = shop();
    insta::assert_snapshot!(tree.ctl(&["history", "shop/main"]), @"
    kennelctl: shop/main is no service or site; name one: shop/main/api, shop/main/web
    exit 2
    ");
    insta::assert_snapshot!(tree.ctl(&["rollback", "shop"]), @"
    kennelctl: shop is no service or site; name one: shop/main/api, shop/main/web
    exit 2
    ");
    insta::assert_snapshot!(tree.ctl(&["rollback", "shop/main/db"]), @"
    kennelctl: nothing is deployed as shop/main/db; known: shop/main/api, shop/main/web
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["pin", "shop"]), @"
    kennelctl: shop is a whole project; name a branch, a service or a site of it
    exit 2
    ");
    insta::assert_snapshot!(tree.ctl(&["unpin", "blog/main"]), @"
    kennelctl: there is no project blog; known: shop
    exit 3
    ");
    insta::assert_snapshot!(Tree::fresh().ctl(&["history", "shop/main/api"]), @"
    kennelctl: nothing is deployed as shop/main/api; see `kennelctl status`
    exit 3
    ");
}

#[test]
fn what_served_before_serves_again() {
    let (tree, _bell) = shop();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wish = tree.wish();
            insta::assert_debug_snapshot!(wish.delivery.event, @r#"
            RollBack {
                git_ref: Branch(
                    Branch(
                        "main",
                    ),
                ),
                service: ServiceName(
                    "api",
                ),
                to: Some(
                    DeploymentId(
                        1,
                    ),
                ),
            }
            "#);
            let key = ("shop", "refs/heads/main", "api");
            let id = tree.deployment_for(wish.id, key, 'a', 0);
            tree.routes(&[("api-main.shop.example.com", id)]);
            tree.active(id, 0, 30);
            tree.decided(wish.id, "back to deployment 1 by alice: deployment 5");
        });
        let said = tree.ctl(&["rollback", "shop/main/api", "--to", "1"]);
        insta::assert_snapshot!(timeless(&said), @"
        shop/main/api serves at http://api-main.shop.example.com as deployment 5, after N s
        exit 0
        ");
    });
}

#[test]
fn a_refusal_is_in_the_dispatchers_words() {
    let (tree, _bell) = shop();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wish = tree.wish();
            tree.decided(wish.id, "deployment 2 of shop/main/api is failed, and not kept");
        });
        let said = tree.ctl(&["rollback", "shop/main/api", "--to", "2"]);
        insta::assert_snapshot!(said, @"
        kennelctl: deployment 2 of shop/main/api is failed, and not kept
        exit 1
        ");
    });
}

/// Lets the dispatcher answer once, while kennelctl is run.
fn answered(
    tree: &Tree,
    arguments: &[&str],
    answer: impl Fn(&InboxEntry) -> String + Sync,
) -> String {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wish = tree.wish();
            let outcome = answer(&wish);
            tree.decided(wish.id, &outcome);
        });
        tree.ctl(arguments).to_string()
    })
}

#[test]
fn pinned_until_it_is_not() {
    let (mut tree, _bell) = shop();
    let said = answered(&tree, &["pin", "shop/main/api"], |wish| {
        let by = wish.delivery.by.as_deref();
        tree.state().pin(&scope(Some("api")), by, tree.ago(125)).unwrap();
        "shop/main/api is pinned by alice".to_owned()
    });
    insta::assert_snapshot!(said, @"
    shop/main/api is pinned by alice
    exit 0
    ");
    tree.deployment("shop", "refs/heads/main", "api", 'd', 190);
    tree.deployment("shop", "refs/heads/main", "web", 'd', 190);
    insta::assert_snapshot!(tree.ctl(&["status", "shop", "--no-probe"]), @"
    DEPLOYED       STATE    HEALTH  COMMIT        SINCE      ADDRESS
    shop/main/api  held     -       dddddddddddd  3 min ago
    shop/main/api  active   -       cccccccccccc  3 min ago
    shop/main/web  pending  -       dddddddddddd  3 min ago
    shop/main/web  active   -       cccccccccccc  3 min ago

    shop/main/api was pinned by alice 2 min ago: pushes are built and held until `kennelctl unpin shop/main/api`.

    The route table cannot be read, so no addresses are shown: /var/lib/kennel/routes/routes.json: No such file or directory (os error 2)
    exit 0
    ");
    let said =
        answered(&tree, &["unpin", "shop/main/web"], |_| "shop/main/web is not pinned".to_owned());
    insta::assert_snapshot!(said, @"
    shop/main/web is not pinned
    exit 0
    ");
    let said = answered(&tree, &["unpin", "shop/main"], |_| {
        tree.state().unpin(&scope(None)).unwrap();
        "shop/main is not pinned any more: deployment 5 may start".to_owned()
    });
    insta::assert_snapshot!(said, @"
    shop/main is not pinned any more: deployment 5 may start
    exit 0
    ");
    let said = answered(&tree, &["pin", "shop/main"], |_| "nothing of it is deployed".to_owned());
    insta::assert_snapshot!(said, @"
    kennelctl: nothing of it is deployed
    exit 1
    ");
    tree.state().pin(&scope(None), None, tree.now).unwrap();
    let said = answered(&tree, &["unpin", "shop/main/api"], |_| {
        "shop/main/api is pinned with its whole branch; use `kennelctl unpin shop/main`".to_owned()
    });
    insta::assert_snapshot!(said, @"
    kennelctl: shop/main/api is pinned with its whole branch; use `kennelctl unpin shop/main`
    exit 1
    ");
}

#[test]
fn what_is_held_is_not_waited_for() {
    let (tree, _bell) = shop();
    tree.state().pin(&scope(None), Some("bob"), tree.now).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wish = tree.wish();
            tree.deployment_for(wish.id, ("shop", "refs/heads/main", "api"), 'a', 0);
            tree.decided(wish.id, "redeployed");
        });
        insta::assert_snapshot!(tree.ctl(&["redeploy", "shop/main/api"]), @"
        shop/main/api: deployment 5 is held; `kennelctl unpin shop/main/api` deploys it
        exit 1
        ");
    });
}
