//! `kennelctl token`: what is shown, what is kept, and what the audit is told.

use std::fs;
use std::os::unix::net::UnixDatagram;

use kennel_core::{Event, Timestamp};
use kennel_store::Tokens;

use crate::tree::{Tree, without_times};

/// A tree with the projects `shop` and `blog` on which Kennel has run.
fn tree() -> Tree {
    let tree = Tree::fresh();
    tree.project("shop");
    tree.project("blog");
    drop(tree.inbox());
    // For as long as the process: nobody listens, and everybody is heard.
    Box::leak(Box::new(UnixDatagram::bind(tree.layout.bell()).unwrap()));
    fs::create_dir_all(tree.layout.tokens()).unwrap();
    tree
}

#[test]
fn one_for_figures_is_of_no_project() {
    let tree = tree();
    let made = tree.ctl(&["token", "create", "prometheus", "--may", "metrics"]);
    assert_eq!(made.code, 0, "{made}");
    insta::assert_snapshot!(made.err, @"This is the token prometheus, which is shown only now: for 90d it may read the router's figures. `kennelctl token revoke prometheus` takes it back.");
    insta::assert_snapshot!(tree.ctl(&["token", "create", "x", "--may", "metrics", "-p", "shop"]), @r"
    kennelctl: figures are those of the whole host: a token for them is made without --project
    exit 2
    ");
    insta::assert_snapshot!(tree.ctl(&["token", "create", "x", "--may", "cancel"]), @r"
    kennelctl: a token for builds needs --project, the project or projects that it is for
    exit 2
    ");
    let listed = tree.ctl(&["token", "list"]);
    assert!(listed.out.contains("prometheus  metrics  -  "), "{listed}");
}

#[test]
fn one_is_shown_once_and_counts_until_it_is_revoked() {
    let tree = tree();
    let made = tree.ctl(&["token", "create", "ci", "--project", "shop,blog", "--may", "cancel"]);
    let token = made.out.trim_end();
    assert!(token.starts_with("kennel_") && token.len() == 71, "{token}");
    insta::assert_snapshot!(made.err, @"This is the token ci, which is shown only now: for 90d it may look at and cancel builds of blog, shop. `kennelctl token revoke ci` takes it back.");
    let tokens = Tokens::of(&tree.layout);
    let after = |days: i64| Timestamp::from_millis(tree.now.millis() + days * 86_400_000);
    assert_eq!(tokens.find(token, after(89)).unwrap().unwrap().name.as_str(), "ci");
    assert!(tokens.find(token, after(91)).unwrap().is_none());

    let again = tree.ctl(&["token", "create", "ci", "--project", "shop"]);
    insta::assert_snapshot!(again, @r"
    kennelctl: there is a token ci already; revoke it first, or take another name
    exit 1
    ");
    // So that a slow run reads the same.
    let file = tree.layout.tokens().join("ci.json");
    let text = fs::read_to_string(&file).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    let earlier = tree.ago(2 * 3600 + 10).millis().to_string();
    fs::write(&file, text.replace(&kept["created_at"].to_string(), &earlier)).unwrap();
    let listed = tree.ctl(&["token", "list"]);
    assert!(!listed.out.contains(&token[7..]), "{listed}");
    insta::assert_snapshot!(listed, @r"
    NAME  MAY     PROJECTS    MADE     BY     EXPIRES
    ci    cancel  blog, shop  2 h ago  alice  in 89 days
    exit 0
    ");

    insta::assert_snapshot!(tree.ctl(&["token", "revoke", "ci"]), @r"
    the token ci is revoked: from now on it counts for nothing
    exit 0
    ");
    assert!(tokens.find(token, after(1)).unwrap().is_none());
    insta::assert_snapshot!(tree.ctl(&["token", "revoke", "ci"]), @r"
    kennelctl: there is no token ci; `kennelctl token list` shows those there are
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["token", "list"]), @r"
    There is no token; `kennelctl token create` makes one.
    exit 0
    ");

    // Each project's audit has it, and no database the token.
    let told: Vec<_> = tree.inbox().waiting(10).unwrap();
    let told: Vec<_> = told
        .into_iter()
        .map(|it| (it.delivery.by.unwrap(), it.delivery.project.to_string(), it.delivery.event))
        .collect();
    let (made, revoked) = (
        Event::TokenCreated { name: "ci".parse().unwrap() },
        Event::TokenRevoked { name: "ci".parse().unwrap() },
    );
    let row =
        |project: &str, event: &Event| ("alice".to_owned(), project.to_owned(), event.clone());
    let expected =
        [row("blog", &made), row("shop", &made), row("blog", &revoked), row("shop", &revoked)];
    assert_eq!(told, expected);
    for file in fs::read_dir(tree.layout.inbox_db().parent().unwrap()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(64).any(|window| window == &token.as_bytes()[7..]));
    }
}

#[test]
fn as_json() {
    let tree = tree();
    let made = tree.ctl(&["token", "create", "seen", "-p", "shop", "--expires", "1h", "--json"]);
    let made: serde_json::Value = serde_json::from_str(&made.out).unwrap();
    assert_eq!((&made["name"], &made["may"]), (&"seen".into(), &"read".into()));
    assert!(made["token"].as_str().unwrap().starts_with("kennel_"));
    let listed = tree.ctl(&["token", "list", "--json"]);
    insta::assert_snapshot!(without_times(&listed.out), @r#"
    [
      {
        "created_at": "TIME",
        "created_by": "alice",
        "expired": false,
        "expires_at": "TIME",
        "may": "read",
        "name": "seen",
        "projects": [
          "shop"
        ]
      }
    ]
    "#);
    // Expired is not gone.
    let file = tree.layout.tokens().join("seen.json");
    let text = fs::read_to_string(&file).unwrap();
    let kept: serde_json::Value = serde_json::from_str(&text).unwrap();
    fs::write(&file, text.replace(&kept["expires_at"].to_string(), "1000")).unwrap();
    let listed = tree.ctl(&["token", "list"]);
    assert!(listed.out.contains(" expired"), "{listed}");
}

#[test]
fn what_cannot_be() {
    let tree = tree();
    insta::assert_snapshot!(tree.ctl(&["token", "create", "ci", "-p", "shpo"]), @r"
    kennelctl: there is no project shpo; known: blog, shop
    exit 3
    ");
    assert_eq!(tree.ctl(&["token", "create", "ci"]).code, 2);
    assert_eq!(tree.ctl(&["token", "create", "../ci", "-p", "shop"]).code, 2);
    assert_eq!(tree.ctl(&["token", "create", "ci", "-p", "shop", "--may", "all"]).code, 2);
    assert!(tree.inbox().waiting(10).unwrap().is_empty());
    fs::write(tree.layout.tokens().join("odd.json"), "{}").unwrap();
    insta::assert_snapshot!(tree.ctl(&["token", "list"]), @r"
    There is no token; `kennelctl token create` makes one.
    /etc/kennel/tokens/odd.json describes no token; remove it: missing field `sha256` at line 1 column 2
    exit 1
    ");
    assert_eq!(tree.ctl(&["token", "revoke", "odd"]).code, 0);
}
