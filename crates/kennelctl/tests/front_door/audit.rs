//! `kennelctl audit`: what people did, and which of it is asked for.

use kennel_core::{BuildId, Delivery, Event, EventId};
use kennel_store::InboxEntry;

use crate::tree::{Tree, without_times};

/// What the dispatcher writes down of a wish.
fn did(tree: &Tree, id: i64, by: (&str, u32), project: &str, event: Event, outcome: &str) {
    let delivery = Delivery {
        project: project.parse().unwrap(),
        forge: None,
        delivery_id: None,
        received_at: tree.ago(4000 - id * 1000),
        by: Some(by.0.into()),
        uid: Some(by.1),
        event,
    };
    tree.state().record(&InboxEntry { id: EventId::from_row(id), delivery }, outcome).unwrap();
}

fn busy() -> Tree {
    let tree = Tree::fresh();
    let main = || "refs/heads/main".parse().unwrap();
    let cancel = Event::Cancel { build: BuildId::from_row(4) };
    did(&tree, 1, ("alice", 1000), "shop", cancel, "build 4 is cancelled");
    let redeploy = Event::Redeploy { git_ref: main(), service: Some("api".parse().unwrap()) };
    did(&tree, 2, ("bob\u{1b}[31m", 1001), "shop", redeploy, "redeployed by bob: deployment 9");
    let name = "JWT_SECRET".parse().unwrap();
    let set = Event::SecretSet { name, scope: kennel_core::SecretScope::Preview };
    did(&tree, 3, ("root", 0), "blog", set, "done");
    tree
}

#[test]
fn shows_who_did_what_newest_first() {
    let tree = busy();
    insta::assert_snapshot!(tree.ctl(&["audit"]), @"
    WHEN        WHO           DID         PROJECT  TO                       OUTCOME
    16 min ago  root (0)      secret_set  blog     JWT_SECRET for previews  done
    33 min ago  bob (1001)    redeploy    shop     main/api                 redeployed by bob: deployment 9
    50 min ago  alice (1000)  cancel      shop     build 4                  build 4 is cancelled
    exit 0
    ");
    insta::assert_snapshot!(without_times(&tree.ctl(&["audit", "blog", "--json"]).out), @r#"
    [
      {
        "action": "secret_set",
        "at": "TIME",
        "by": "root",
        "id": 3,
        "outcome": "done",
        "project": "blog",
        "subject": "JWT_SECRET for previews",
        "uid": 0
      }
    ]
    "#);
}

#[test]
fn all_conditions_must_hold() {
    let tree = busy();
    let who = |arguments: &[&str]| {
        let said = tree.ctl(&[&["audit", "--json"], arguments].concat());
        assert_eq!(said.code, 0, "{said}");
        let rows: serde_json::Value = serde_json::from_str(&said.out).unwrap();
        rows.as_array().unwrap().iter().map(|row| row["id"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(who(&["shop"]), [2, 1]);
    assert_eq!(who(&["--by", "alice"]), [1]);
    assert_eq!(who(&["--action", "cancel,secret_set"]), [3, 1]);
    assert_eq!(who(&["--since", "45m"]), [3, 2]);
    assert_eq!(who(&["shop", "--since", "45m"]), [2]);
    let said = tree.ctl(&["audit", "--limit", "1"]);
    assert!(
        said.out.ends_with("and 2 earlier; use --limit, --since or other conditions\n"),
        "{said}"
    );
    insta::assert_snapshot!(tree.ctl(&["audit", "--by", "eve"]), @"
    Nobody has done anything that was asked for.
    exit 0
    ");
    assert_eq!(tree.ctl(&["audit", "--action", "push"]).code, 2);
}

#[test]
fn a_host_on_which_nothing_happened() {
    insta::assert_snapshot!(Tree::fresh().ctl(&["audit"]), @"
    Nobody has done anything that was asked for.
    exit 0
    ");
}
