//! `kennelctl extend`, and when branches expire.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use kennel_core::Event;

use crate::tree::Tree;

const X: &str = "refs/heads/feature/x";

/// A preview that was pushed an hour and a bit ago, and a default branch.
fn shop() -> (Tree, UnixDatagram) {
    let mut tree = Tree::fresh();
    tree.project("shop");
    fs::write(tree.layout.config(), "base_domain = \"example.com\"\n").unwrap();
    for (git_ref, seconds) in [("refs/heads/main", 7000), (X, 3700)] {
        let build = tree.build("shop", git_ref, 'a', seconds);
        tree.built(build, seconds, [Ok(()), Ok(())]);
        let web = tree.deployment("shop", git_ref, "web", 'a', seconds);
        tree.active(web, seconds, 0);
    }
    tree.routes(&[]);
    tree.taken(10);
    let bell = UnixDatagram::bind(tree.layout.bell()).unwrap();
    (tree, bell)
}

#[test]
fn a_preview_stays_longer() {
    let (tree, _bell) = shop();
    insta::assert_snapshot!(tree.ctl(&["status", "shop"]), @"
    DEPLOYED            STATE   HEALTH  COMMIT        SINCE       EXPIRES    ADDRESS
    shop/feature/x/web  active  -       aaaaaaaaaaaa  61 min ago  in 6 days
    shop/main/web       active  -       aaaaaaaaaaaa  1 h ago

    shop/feature/x/web is active, but the route table has no address for it; see `journalctl -u kennel-router -u kennel-restore`.
    shop/main/web is active, but the route table has no address for it; see `journalctl -u kennel-router -u kennel-restore`.
    exit 0
    ");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wish = tree.wish();
            let Event::Extend { git_ref, by } = &wish.delivery.event else { panic!("{wish:?}") };
            assert_eq!((git_ref.to_string().as_str(), by.0), (X, Duration::from_secs(36 * 3600)));
            let until = tree.ago(3700).plus(Duration::from_secs(7 * 24 * 3600) + by.0);
            tree.state().keep(&wish.delivery.project, git_ref, until, wish.id).unwrap();
            tree.decided(wish.id, "alice keeps shop/feature/x 1d12h longer");
        });
        let said = tree.ctl(&["extend", "shop/feature/x", "--by", "36h"]);
        assert!(
            said.out.starts_with("shop/feature/x expires in 8 days at the earliest ("),
            "{said}"
        );
        assert_eq!(said.code, 0);
    });
}

#[test]
fn refusals() {
    let (tree, _bell) = shop();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wish = tree.wish();
            tree.decided(wish.id, "shop/main never expires");
        });
        insta::assert_snapshot!(tree.ctl(&["extend", "shop/main"]), @"
        kennelctl: shop/main never expires
        exit 1
        ");
    });
    insta::assert_snapshot!(tree.ctl(&["extend", "shop"]), @"
    kennelctl: shop is no branch; what expires is a whole branch or pull request, name one
    exit 2
    ");
    insta::assert_snapshot!(tree.ctl(&["extend", "shop/main/web"]), @"
    kennelctl: shop/main/web is no branch; what expires is a whole branch or pull request, name one
    exit 2
    ");
    insta::assert_snapshot!(tree.ctl(&["extend", "shop/gone"]), @"
    kennelctl: nothing is deployed as shop/gone; known: shop/feature/x/web, shop/main/web
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["extend", "shop/feature/x", "--by", "soon"]), @"
    error: invalid value 'soon' for '--by <TIME>': `soon` is not a length of time: write it like 45s, 20m, 1h30m or 7d

    For more information, try '--help'.
    exit 2
    ");
}
