//! `kennelctl builds` and `kennelctl build`.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use kennel_core::BuildEvent;

use crate::tree::{Tree, busy, without_times};

#[test]
fn builds_newest_first() {
    let tree = busy();
    insta::assert_snapshot!(tree.ctl(&["builds"]), @"
    BUILD  BRANCH          COMMIT        STATE      ASKED FOR  RAN        WHY
    4      blog/main       111111111111  queued     2 min ago
    3      shop/feature/x  ffffffffffff  building   3 h ago    3 h 0 min
    2      shop/main       cccccccccccc  partial    4 h ago    3.0 s
    1      shop/main       bbbbbbbbbbbb  succeeded  4 h ago    3.0 s
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["builds", "--project", "shop", "--limit", "1"]), @"
    BUILD  BRANCH          COMMIT        STATE     ASKED FOR  RAN        WHY
    3      shop/feature/x  ffffffffffff  building  3 h ago    3 h 0 min
    exit 0
    ");
    let said = tree.ctl(&["builds", "-n", "1", "--json"]);
    insta::assert_snapshot!(without_times(&said.out), @r#"
    [
      {
        "branch": "main",
        "by": "alice",
        "cancel_requested": false,
        "commit": "1111111111111111111111111111111111111111",
        "finished_at": null,
        "id": 4,
        "project": "blog",
        "queued_at": "TIME",
        "reason": null,
        "received_at": "TIME",
        "ref": "refs/heads/main",
        "started_at": null,
        "state": "queued",
        "superseded_by": null
      }
    ]
    "#);
    assert_eq!(tree.ctl(&["builds", "--limit", "0"]).code, 2);
}

#[test]
fn one_build() {
    let tree = busy();
    let logs = tree.layout.logs(kennel_core::BuildId::from_row(2));
    fs::create_dir_all(&logs).unwrap();
    for name in ["web.log", "api.log", "notes.txt"] {
        fs::write(logs.join(name), "").unwrap();
    }
    insta::assert_snapshot!(tree.ctl(&["build", "2"]), @"
    Build 2 succeeded in part after 3.0 s; the rest failed.
      branch     shop/main
      commit     cccccccccccccccccccccccccccccccccccccccc
      asked for  4 h ago by alice

    OUTPUT  KIND     STATE      TOOK   STORE PATH
    api     service  unchanged  2.0 s  /nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api
    web     site     failed     2.0 s

    web:
      builder for web failed with exit code 2
      > make: *** no rule

    Logs:
      /var/lib/kennel/logs/2/api.log
      /var/lib/kennel/logs/2/web.log
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["build", "3"]), @"
    Build 3 is building.
      branch     shop/feature/x
      commit     ffffffffffffffffffffffffffffffffffffffff
      asked for  3 h ago by alice
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["build", "99"]), @"
    kennelctl: there is no build 99; see `kennelctl builds`
    exit 3
    ");
    insta::assert_snapshot!(without_times(&tree.ctl(&["build", "2", "--json"]).out), @r#"
    {
      "branch": "main",
      "by": "alice",
      "cancel_requested": false,
      "commit": "cccccccccccccccccccccccccccccccccccccccc",
      "finished_at": "TIME",
      "id": 2,
      "logs": [
        "/var/lib/kennel/logs/2/api.log",
        "/var/lib/kennel/logs/2/web.log"
      ],
      "outputs": [
        {
          "finished_at": "TIME",
          "kind": "service",
          "name": "api",
          "reason": null,
          "started_at": "TIME",
          "state": "unchanged",
          "store_path": "/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api"
        },
        {
          "finished_at": "TIME",
          "kind": "site",
          "name": "web",
          "reason": "builder for web failed with exit code 2\n> make: *** no rule",
          "started_at": "TIME",
          "state": "failed",
          "store_path": null
        }
      ],
      "project": "shop",
      "queued_at": "TIME",
      "reason": null,
      "received_at": "TIME",
      "ref": "refs/heads/main",
      "started_at": "TIME",
      "state": "partial",
      "superseded_by": null
    }
    "#);
    assert_eq!(tree.ctl(&["build", "two"]).code, 2);
}

#[test]
fn following_a_build_that_succeeds() {
    let mut tree = Tree::fresh();
    let id = tree.build("shop", "refs/heads/main", 'a', 5);
    let mut command = tree.command(&["build", "1", "--follow"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut err = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);

    insta::assert_snapshot!(err.next().unwrap(), @"Build 1 waits for its turn.");
    tree.builds().claim(id, tree.now).unwrap();
    insta::assert_snapshot!(err.next().unwrap(), @"Build 1 runs.");
    let logs = tree.layout.logs(id);
    fs::create_dir_all(&logs).unwrap();
    fs::write(logs.join("build.log"), "fetched\n").unwrap();
    insta::assert_snapshot!(out.next().unwrap(), @"build | fetched");
    fs::write(logs.join("api.log"), "\u{1b}[1mbuilding\u{1b}[0m\n").unwrap();
    insta::assert_snapshot!(out.next().unwrap(), @"api | building");
    let mut api = OpenOptions::new().append(true).open(logs.join("api.log")).unwrap();
    api.write_all(b"done, without a newline").unwrap();
    tree.built(id, 5, [Ok(()), Ok(())]);
    insta::assert_snapshot!(out.next().unwrap(), @"api | done, without a newline");
    let summary = out.next().unwrap();
    assert!(summary.starts_with("Build 1 succeeded after "), "{summary}");
    assert_eq!(
        out.last().unwrap(),
        "  /var/lib/kennel/logs/1/build.log"
            .replace("/var", tree.directory.path().join("var").to_str().unwrap())
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn following_a_build_that_does_not_succeed() {
    let mut tree = Tree::fresh();
    let failed = tree.build("shop", "refs/heads/main", 'a', 5);
    tree.built(failed, 5, [Err("no"), Err("no")]);
    assert_eq!(tree.ctl(&["build", "1"]).code, 0);
    assert_eq!(tree.ctl(&["build", "1", "--follow"]).code, 1);
    let partial = tree.build("shop", "refs/heads/main", 'b', 5);
    tree.built(partial, 5, [Ok(()), Err("no")]);
    assert_eq!(tree.ctl(&["build", "2", "--follow", "--json"]).code, 1);
    let cancelled = tree.build("shop", "refs/heads/main", 'c', 130);
    tree.builds().claim(cancelled, tree.ago(125)).unwrap();
    let planned = [("api".parse().unwrap(), kennel_core::OutputKind::Service)];
    tree.builds().plan(cancelled, "", &planned).unwrap();
    tree.builds().output_started(cancelled, &planned[0].0, tree.ago(125)).unwrap();
    tree.builds().step(cancelled, BuildEvent::Cancelled, Some("bob asked"), tree.ago(123)).unwrap();
    insta::assert_snapshot!(tree.ctl(&["build", "3", "--follow"]), @"
    Build 3 was cancelled after 2.0 s.
      branch     shop/main
      commit     cccccccccccccccccccccccccccccccccccccccc
      asked for  2 min ago by alice
      because    bob asked

    OUTPUT  KIND     STATE      TOOK   STORE PATH
    api     service  not built  2.0 s
    exit 1
    ");
}
