//! What all commands have in common, `logs` and `check`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use crate::tree::{Tree, busy};

#[test]
fn a_fresh_host() {
    let tree = Tree::fresh();
    insta::assert_snapshot!(tree.ctl(&["status"]), @"
    Nothing is deployed yet. Push to a project of /etc/kennel/projects.d.
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["builds"]), @"
    No builds.
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["build", "1"]), @"
    kennelctl: there is no build 1; see `kennelctl builds`
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["logs", "shop/main/api"]), @"
    kennelctl: nothing is deployed as shop/main/api; see `kennelctl status`
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["status", "shop"]), @"
    kennelctl: there is no project shop, and none is configured in /etc/kennel/projects.d
    exit 3
    ");
    tree.project("shop");
    insta::assert_snapshot!(tree.ctl(&["status", "shop"]), @"
    Nothing is deployed for shop.
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["builds", "--project", "blog"]), @"
    kennelctl: there is no project blog; known: shop
    exit 3
    ");
}

#[test]
fn a_tree_is_looked_at_and_not_repaired() {
    let tree = Tree::fresh();
    insta::assert_snapshot!(tree.ctl(&["reconcile", "--dry-run"]), @"
    The host matches the rows.
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["reconcile"]), @"
    kennelctl: only a host that runs can be made to match its rows; --dry-run looks at a tree of files
    exit 2
    ");
    let tree = busy();
    insta::assert_snapshot!(tree.ctl(&["reconcile", "--dry-run"]), @"
    Deployments
      FAIL  units   shop/main/api serves, and the file of kennel-shop-main-api@2.service is missing
      FAIL  units   the file of kennel-shop-main.slice is missing, so that its limits and weight do not count
      FAIL  units   the file of kennel-shop.slice is missing, so that its limits and weight do not count
                    run: systemctl start kennel-restore
      FAIL  files   shop/main/api serves without its GC root /nix/var/nix/gcroots/kennel/2: a garbage collection would remove it
                    run: systemctl start kennel-restore
      FAIL  files   shop/main/api should serve /nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-api, which is gone
                    do: push it again, so that it is built again
      FAIL  files   the environment of shop/main/api, /run/kennel/secrets/shop-main-api@2.env, is missing
      FAIL  files   shop/main/web serves without its GC root /nix/var/nix/gcroots/kennel/3: a garbage collection would remove it
                    run: systemctl start kennel-restore
      FAIL  files   shop/main/web should serve /nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-web, which is gone
                    do: push it again, so that it is built again
                    and 2 more; --json lists them all
      FAIL  routes  api-main.shop.example.com leads to deployment 2, which does not serve
      FAIL  routes  shop.test leads to deployment 2, which does not serve
      FAIL  routes  web-main.shop.example.com leads to deployment 3, which does not serve
                    run: systemctl start kennel-restore

    12 failures, 1 warning
    13 found; `kennelctl reconcile` repairs what it can.
    exit 1
    ");
    fs::remove_dir_all(tree.directory.path().join("var")).unwrap();
    insta::assert_snapshot!(tree.ctl(&["reconcile"]), @"
    kennelctl: /var/lib/kennel/state/state.db does not exist: Kennel has never run here; start it with `systemctl enable --now kennel.target`
    exit 3
    ");
}

#[test]
fn a_host_without_kennel() {
    let tree = Tree::fresh();
    fs::remove_dir_all(tree.directory.path().join("var")).unwrap();
    insta::assert_snapshot!(tree.ctl(&["status"]), @"
    kennelctl: /var/lib/kennel/state/state.db does not exist: Kennel has never run here; start it with `systemctl enable --now kennel.target`
    exit 3
    ");
}

#[test]
fn logs_follow_the_slice_and_what_systemd_says_of_it() {
    let tree = busy();
    let bin = tree.directory.path().join("bin");
    fs::create_dir(&bin).unwrap();
    fs::write(bin.join("journalctl"), "#!/bin/sh\nprintf '%s\\n' \"$@\"\n").unwrap();
    fs::set_permissions(bin.join("journalctl"), fs::Permissions::from_mode(0o755)).unwrap();
    let logs = |arguments: &[&str]| {
        let mut command = tree.command(&[&["logs"], arguments].concat());
        command.env("PATH", &bin);
        tree.said(command)
    };
    insta::assert_snapshot!(logs(&["shop/main/api", "-f"]), @"
    --lines=100
    --follow
    --root=/
    _SYSTEMD_SLICE=kennel-shop-main-api.slice
    +
    _PID=1
    KENNEL_PROJECT=shop
    KENNEL_BRANCH=main
    KENNEL_SERVICE=api
    exit 0
    ");
    insta::assert_snapshot!(logs(&["shop/main", "-n", "5", "--", "--since", "-1h"]), @"
    --lines=5
    --root=/
    --since
    -1h
    _SYSTEMD_SLICE=kennel-shop-main-api.slice
    +
    _PID=1
    KENNEL_PROJECT=shop
    KENNEL_BRANCH=main
    KENNEL_SERVICE=api
    exit 0
    ");
    insta::assert_snapshot!(logs(&["shop/main/web"]), @"
    kennelctl: shop/main/web has no service that could have a log; sites are served by the router, see `kennelctl logs shop/main/web --requests`
    exit 3
    ");
    insta::assert_snapshot!(logs(&["shop/main", "--requests"]), @"
    --lines=100
    --root=/
    _SYSTEMD_UNIT=kennel-router.service
    _SYSTEMD_UNIT=kennel-router-relief.service
    MESSAGE_ID=8c3f4b0d6f5e4c0b9d0a7b61c2a4e97f
    KENNEL_PROJECT=shop
    KENNEL_BRANCH=main
    KENNEL_SERVICE=api
    +
    _SYSTEMD_UNIT=kennel-router.service
    _SYSTEMD_UNIT=kennel-router-relief.service
    MESSAGE_ID=8c3f4b0d6f5e4c0b9d0a7b61c2a4e97f
    KENNEL_PROJECT=shop
    KENNEL_BRANCH=main
    KENNEL_SERVICE=web
    exit 0
    ");
    insta::assert_snapshot!(logs(&["shop/pr-7"]), @"
    kennelctl: nothing is deployed as shop/pr-7; known: shop/feature/x/api, shop/main/api, shop/main/web, shop/pr-5/web
    exit 3
    ");
    insta::assert_snapshot!(logs(&["wiki/main"]), @"
    kennelctl: there is no project wiki; known: shop
    exit 3
    ");
    fs::remove_file(bin.join("journalctl")).unwrap();
    insta::assert_snapshot!(logs(&["shop/main/api"]), @"
    kennelctl: cannot run journalctl, which belongs to systemd: No such file or directory (os error 2)
    exit 1
    ");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let tree = busy();
    let mut command = tree.command(&["builds"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command.stdout(writer);
    let said = tree.said(command);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}

#[test]
fn without_permission_the_way_to_it_is_told() {
    let tree = busy();
    // The program itself may lie where nobody else may look.
    let program = tree.directory.path().join("kennelctl");
    fs::copy(crate::tree::program(), &program).unwrap();
    let mode = |path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(tree.directory.path().to_owned(), 0o755);
    mode(tree.layout.state_db().parent().unwrap().to_owned(), 0o700);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("--root").arg(tree.directory.path()).args(arguments).stdin(Stdio::null());
        if rustix::process::getuid().is_root() {
            command.uid(65534).gid(65534);
        } else {
            mode(tree.layout.state_db().parent().unwrap().to_owned(), 0o000);
        }
        tree.said(command)
    };
    insta::assert_snapshot!(run(&["status"]), @"
    kennelctl: /var/lib/kennel/state/state.db may not be opened; run this with sudo, or join the groups kennel-state and kennel-builds (kennel-inbox and kennel-bell to end something)
    exit 4
    ");
    mode(tree.layout.state_db().parent().unwrap().to_owned(), 0o700);
}

#[test]
fn check_from_outside() {
    let tree = Tree::fresh();
    let file = tree.directory.path().join("kennel.toml");
    fs::write(&file, "[services.api]\nhelth_check = 1\n").unwrap();
    let file = file.to_str().unwrap();
    let said = tree.ctl(&["check", file]);
    assert_eq!(said.code, 64);
    insta::assert_snapshot!(tree.ctl(&["check", file, "--json"]), @r#"
    {
      "checked": [
        "/kennel.toml"
      ],
      "findings": [
        {
          "column": 1,
          "file": "/kennel.toml",
          "help": "did you mean `health_check`?",
          "line": 2,
          "message": "unknown key `helth_check` in [services.api]",
          "severity": "error"
        }
      ],
      "ok": false
    }
    exit 64
    "#);
    fs::write(file, "[services.api]\n").unwrap();
    assert_eq!(tree.ctl(&["check", file]).code, 0);
    assert_eq!(tree.ctl(&["check"]).code, 64);
    assert_eq!(tree.ctl(&["check", "/nonexistent/kennel.toml"]).code, 3);
    assert_eq!(tree.ctl(&["check", "--as", "host"]).code, 2);
}

#[test]
fn help_begins_with_what_can_be_done() {
    let tree = Tree::fresh();
    insta::assert_snapshot!(tree.ctl(&["-h"]), @"
    Shows and steers Kennel on this host

    Usage: kennelctl [OPTIONS] <COMMAND>

    Commands:
      status         Show what serves what, and what is being built
      top            Show live traffic per service and site, the busiest first
      builds         List builds, newest first
      build          Show one build, its outputs and where its logs are
      approve        Let a stranger's commit be built
      cancel         End a build that waits or runs, or the deployments of one that do not serve yet
      redeploy       Deploy what was built last again, without a new build
      history        Show what a service or site has served, and what it could serve again
      rollback       Have what served before serve again
      pin            Keep pushes from deploying: they are built and held
      unpin          Let pushes deploy again, and what was held meanwhile
      maintenance    Have visitors come again later: they get a page that says so
      extend         Keep a branch for longer than it would stay by itself
      teardown       Remove a branch's deployments, or one of them, with all that they left
      logs           Show what a service prints
      secret         Set, list and remove the secrets that services get
      token          Let programs use the API without a login on this host
      password-hash  Make of a password the line that `[previews] password` takes
      audit          Show what people did with Kennel: who, when, what, and what came of it
      check          Check configuration, with the line of each mistake
      doctor         Look over the whole host: what is wrong, and what to do about it
      reconcile      Make the host match Kennel's rows: units, files, links, ports, GC roots and routes

    Options:
          --root <DIR>  Look at the tree below DIR instead of this host
      -h, --help        Print help (see more with '--help')
      -V, --version     Print version

    Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such thing, 4 not permitted, 64 bad configuration,
    130 interrupted.
    exit 0
    ");
    assert_eq!(tree.ctl(&[]).code, 2);
    insta::assert_snapshot!(tree.ctl(&["statsu"]), @"
    error: unrecognized subcommand 'statsu'

      tip: a similar subcommand exists: 'status'

    Usage: kennelctl [OPTIONS] <COMMAND>

    For more information, try '--help'.
    exit 2
    ");
    insta::assert_snapshot!(tree.ctl(&["status", "--whatch"]), @"
    error: unexpected argument '--whatch' found

      tip: a similar argument exists: '--watch'

    Usage: kennelctl status --watch[=<SECONDS>] [PROJECT[/BRANCH[/NAME]]]

    For more information, try '--help'.
    exit 2
    ");
    assert!(tree.ctl(&["teardown", "--help"]).out.contains("kennelctl teardown site/pr-12"));
}

/// A sentence that changes is read once more by somebody.
#[test]
fn every_help_text() {
    let tree = Tree::fresh();
    let commands = [
        "",
        "status",
        "top",
        "builds",
        "build",
        "cancel",
        "redeploy",
        "teardown",
        "logs",
        "secret",
        "secret set",
        "secret list",
        "secret rm",
        "check",
    ];
    let help = commands.map(|command| {
        let arguments: Vec<_> = command.split_whitespace().chain(["--help"]).collect();
        let said = tree.ctl(&arguments);
        assert_eq!(said.code, 0, "{said}");
        said.out
    });
    insta::assert_snapshot!(help.join("\n----\n\n"));
}

/// A router that answers these texts one after the other, as JSON.
fn router(tree: &Tree, answers: &'static [&'static str]) -> std::thread::JoinHandle<()> {
    use std::io::{Read, Write};
    let listener = std::os::unix::net::UnixListener::bind(tree.layout.router_socket()).unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = stream.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /traffic HTTP/1.1\r\n"));
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            )
            .unwrap();
        }
    })
}

#[test]
fn top_is_what_the_router_counts() {
    let tree = Tree::fresh();
    insta::assert_snapshot!(tree.ctl(&["top", "--once"]), @"
    kennelctl: the router does not tell its figures (/run/kennel/router.sock: No such file or directory (os error 2)); see `systemctl status kennel-router`
    exit 1
    ");
    let readings = &[
        r#"{"started_at":7,"running_us":1000000,"bounds_us":[1000,5000],"routes":[]}"#,
        r#"{"started_at":7,"running_us":3000000,"bounds_us":[1000,5000],"routes":[
            {"output":{"project":"shop","branch":"main","service":"web"},"answers":[0,2,0,0,0],
             "in_flight":0,"received_bytes":0,"sent_bytes":0,"took":[2,0,0],"healthy":null},
            {"output":{"project":"shop","branch":"main","service":"api"},"answers":[0,8,0,0,2],
             "in_flight":3,"received_bytes":64,"sent_bytes":2048,"took":[0,10,0],"healthy":true}]}"#,
    ];
    fs::create_dir_all(tree.layout.router_socket().parent().unwrap()).unwrap();
    let asked = router(&tree, readings);
    insta::assert_snapshot!(tree.ctl(&["top", "--once"]), @"
    ROUTE          HEALTH   REQ/S  4XX/S  5XX/S  P50     P99     OPEN  IN/S  OUT/S    REQUESTS
    shop/main/api  healthy  5.0    0      1.0    3.0 ms  5.0 ms  3     32 B  1.0 KiB  10
    shop/main/web  -        1.0    0      0      0.5 ms  1.0 ms  0     0 B   0 B      2
    exit 0
    ");
    asked.join().unwrap();
    fs::remove_file(tree.layout.router_socket()).unwrap();
    let asked = router(&tree, readings);
    insta::assert_snapshot!(tree.ctl(&["top", "shop/main/api", "--json"]), @r#"
    {
      "seconds": 2.0,
      "routes": [
        {
          "project": "shop",
          "branch": "main",
          "name": "api",
          "healthy": true,
          "requests_per_second": 5.0,
          "client_errors_per_second": 0.0,
          "server_errors_per_second": 1.0,
          "p50_ms": 3.0,
          "p99_ms": 4.96,
          "in_flight": 3,
          "received_bytes_per_second": 32.0,
          "sent_bytes_per_second": 1024.0,
          "requests": 10,
          "server_errors": 2,
          "received_bytes": 64,
          "sent_bytes": 2048
        }
      ]
    }
    exit 0
    "#);
    asked.join().unwrap();
}
