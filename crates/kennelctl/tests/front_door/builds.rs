//! `kennelctl builds` and `kennelctl build`.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Stdio};

use kennel_core::BuildEvent;

use crate::tree::{Tree, busy, until, without_times};

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
    And 2 more: --limit shows them; --state, --since and others choose.
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
fn builds_by_what_they_are() {
    let tree = busy();
    let ids = |arguments: &[&str]| {
        let said = tree.ctl(&[&["builds", "--json"], arguments].concat());
        assert_eq!(said.code, 0, "{said}");
        let builds: Vec<serde_json::Value> = serde_json::from_str(&said.out).unwrap();
        let ids: Vec<_> = builds.iter().map(|build| build["id"].as_i64().unwrap()).collect();
        ids
    };
    assert_eq!(ids(&["shop"]), [3, 2, 1]);
    assert_eq!(ids(&["shop/main"]), [2, 1]);
    assert_eq!(ids(&["shop/feature/x"]), [3]);
    assert_eq!(ids(&["--state", "queued,building"]), [4, 3]);
    assert_eq!(ids(&["--state", "failed"]), [0; 0]);
    assert_eq!(ids(&["--since", "3h30m"]), [4, 3]);
    assert_eq!(ids(&["--since", "2020-01-01", "--limit", "2"]), [4, 3]);
    assert_eq!(ids(&["--commit", "CCCC"]), [2]);
    assert_eq!(ids(&["--by", "alice", "shop/main", "--state", "partial"]), [2]);
    assert_eq!(ids(&["--by", "bob"]), [0; 0]);
    let refused = [
        &["shop/main/api"][..],
        &["shop/mian"],
        &["wiki"],
        &["--commit", "xyz"],
        &["--since", "yesterday"],
        &["--state", "faild"],
        &["shop", "--project", "shop"],
    ];
    let said: Vec<_> = refused
        .iter()
        .map(|arguments| tree.ctl(&[&["builds"], *arguments].concat()).to_string())
        .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    kennelctl: a build is of a whole commit, not of shop/main/api alone; use `kennelctl builds shop/main`
    exit 2
    kennelctl: nothing was ever built of shop/mian; known: shop/feature/x, shop/feature/x/api, shop/main, shop/main/api, shop/main/web, shop/pr-5/web
    exit 3
    kennelctl: there is no project wiki; known: shop
    exit 3
    error: invalid value 'xyz' for '--commit <PREFIX>': a commit is written in hex digits, at most 64

    For more information, try '--help'.
    exit 2
    error: invalid value 'yesterday' for '--since <TIME>': neither a length such as 2h or 7d, nor a day such as 2026-11-01

    For more information, try '--help'.
    exit 2
    error: invalid value 'faild' for '--state <STATE>'
      [possible values: waiting_for_approval, queued, building, succeeded, partial, failed, cancelled, superseded]

      tip: a similar value exists: 'failed'

    For more information, try '--help'.
    exit 2
    error: the argument '[PROJECT[/BRANCH]]' cannot be used with '--project <PROJECT>'

    Usage: kennelctl builds <PROJECT[/BRANCH]>

    For more information, try '--help'.
    exit 2
    ");
}

#[test]
fn only_what_waits_is_approved() {
    let mut tree = Tree::fresh();
    tree.build("shop", "refs/heads/main", 'a', 10);
    tree.build("shop", "refs/pull/7/head", 'b', 10);
    let refused = [
        &["shop/pr-7"][..],
        &["shop/pr-7", "--commit", "bb"],
        &["shop/pr-8"],
        &["shop"],
        &["wiki/pr-1"],
    ];
    let said: Vec<_> = refused
        .iter()
        .map(|arguments| tree.ctl(&[&["approve"], *arguments].concat()).to_string())
        .collect();
    insta::assert_snapshot!(said.join("\n"), @"
    kennelctl: nothing of shop/pr-7 waits for approval; see `kennelctl builds shop/pr-7`
    exit 3
    kennelctl: no commit bb of shop/pr-7 waits for approval; see `kennelctl builds shop/pr-7`
    exit 3
    kennelctl: nothing was ever built of shop/pr-8; known: shop/main, shop/pr-7
    exit 3
    kennelctl: shop is no pull request; name one, such as project/pr-7
    exit 2
    kennelctl: there is no project wiki, and none is configured in /etc/kennel/projects.d
    exit 3
    ");
}

#[test]
fn watching_prints_what_has_changed_and_nothing_twice() {
    let mut tree = Tree::fresh();
    // Young enough for its age to be another one a second later.
    tree.build("shop", "refs/heads/main", 'a', 10);
    let mut command = tree.command(&["builds", "--watch=1"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut next = || out.next().unwrap();
    assert!(next().starts_with("BUILD"));
    assert!(next().contains("queued"));
    // Nothing more comes while nothing happens, though ages grow: the next line is of the change.
    for _ in 0..2 {
        let before = bytes_read_by(&child);
        until(|| (bytes_read_by(&child) > before).then_some(()));
    }
    tree.builds().claim(kennel_core::BuildId::from_row(1), tree.now).unwrap();
    assert_eq!(next(), "");
    assert!(next().starts_with("BUILD"));
    assert!(next().contains("building"));
    let process = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(process, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Grows with each look at the databases, and not with a glance at when they were written.
fn bytes_read_by(process: &Child) -> u64 {
    let io = fs::read_to_string(format!("/proc/{}/io", process.id())).unwrap();
    io.lines().find_map(|line| line.strip_prefix("rchar: ")).unwrap().parse().unwrap()
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
