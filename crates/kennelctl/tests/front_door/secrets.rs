//! `kennelctl secret`, with a service in systemd's place that seals by turning a value around.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use kennel_core::config::Manifest;
use kennel_core::{BuildId, Event, EventId, OutputKey, SecretScope, Settings};
use kennel_store::NewDeployment;

use crate::tree::{Said, Tree, store_path, without_times};

/// A tree with the project `shop` on which Kennel has run, and systemd's socket.
fn shop() -> (Tree, UnixListener) {
    let tree = Tree::fresh();
    tree.project("shop");
    drop(tree.inbox());
    // For as long as the process: nobody listens, and everybody is heard.
    Box::leak(Box::new(UnixDatagram::bind(tree.layout.bell()).unwrap()));
    for path in ["etc/kennel/secrets", "run/systemd"] {
        fs::create_dir_all(tree.directory.path().join(path)).unwrap();
    }
    let listener = UnixListener::bind(tree.layout.credentials_socket()).unwrap();
    (tree, listener)
}

/// Runs `secret set` with this on its standard input, and seals what it sends.
fn set(tree: &Tree, systemd: &UnixListener, arguments: &[&str], value: &str) -> (Said, String) {
    let mut command = tree.command(&[&["secret", "set"], arguments].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let mut stream = BufReader::new(systemd.accept().unwrap().0);
    let mut call = Vec::new();
    stream.read_until(0, &mut call).unwrap();
    let call: serde_json::Value =
        serde_json::from_slice(call.strip_suffix(b"\0").unwrap()).unwrap();
    let data = call["parameters"]["data"].as_str().unwrap();
    let sealed: String = data.chars().rev().collect();
    write!(stream.get_mut(), "{{\"parameters\":{{\"blob\":\"{sealed}\"}}}}\0").unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| {
        String::from_utf8(bytes).unwrap().replace(tree.directory.path().to_str().unwrap(), "")
    };
    let said = Said {
        code: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    };
    (said, call["parameters"]["name"].as_str().unwrap().to_owned())
}

/// Sets all secrets' files back to two hours ago, so that a slow run reads the same.
fn age(tree: &Tree) {
    for path in ["shop/JWT_SECRET.cred", "shop/preview/JWT_SECRET.cred"] {
        let path = tree.directory.path().join("etc/kennel/secrets").join(path);
        if let Ok(file) = fs::File::options().write(true).open(path) {
            file.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600 + 10)).unwrap();
        }
    }
}

/// A service of a branch that names `JWT_SECRET`.
fn user(tree: &Tree, branch: &str, request: i64) -> kennel_core::DeploymentId {
    let manifest = Manifest::parse("[services.api]\nsecrets = [\"JWT_SECRET\"]", "kennel.toml");
    let service = manifest.unwrap().services.into_values().next().unwrap();
    let new = NewDeployment {
        fork: false,
        rollback_to: None,
        request: EventId::from_row(request),
        build: BuildId::from_row(request),
        key: OutputKey {
            project: "shop".parse().unwrap(),
            git_ref: format!("refs/heads/{branch}").parse().unwrap(),
            service: "api".parse().unwrap(),
        },
        sha: "a".repeat(40).parse().unwrap(),
        store_path: store_path("api"),
        settings: Settings::Service(service),
    };
    tree.state().create(&new, tree.ago(60)).unwrap()
}

#[test]
fn the_audit_is_told_names_and_scopes_only() {
    let (tree, systemd) = shop();
    set(&tree, &systemd, &["shop", "JWT_SECRET", "--preview"], "hunter2");
    tree.ctl(&["secret", "rm", "shop", "JWT_SECRET", "--preview"]);
    // What was not there is not removed.
    tree.ctl(&["secret", "rm", "shop", "JWT_SECRET", "--preview"]);
    let told: Vec<_> = tree.inbox().waiting(10).unwrap();
    let told: Vec<_> =
        told.into_iter().map(|it| (it.delivery.by.unwrap(), it.delivery.event)).collect();
    let name = || "JWT_SECRET".parse().unwrap();
    let scope = SecretScope::Preview;
    let events =
        [Event::SecretSet { name: name(), scope }, Event::SecretRemoved { name: name(), scope }];
    assert_eq!(told, events.map(|event| ("alice".to_owned(), event)));
    for file in fs::read_dir(tree.layout.inbox_db().parent().unwrap()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"hunter2"));
    }
}

#[test]
fn a_host_on_which_kennel_never_ran_says_that_its_audit_has_nothing() {
    let (tree, systemd) = shop();
    fs::remove_file(tree.layout.inbox_db()).unwrap();
    let (said, _) = set(&tree, &systemd, &["shop", "JWT_SECRET"], "hunter2");
    assert_eq!(said.code, 0, "{said}");
    insta::assert_snapshot!(said.err, @"kennelctl: this is done, but `kennelctl audit` will not show it: /var/lib/kennel/inbox/inbox.db does not exist: Kennel has never run here; start it with `systemctl enable --now kennel.target`");
}

#[test]
fn what_is_set_is_sealed_for_its_place_and_told_with_what_comes_next() {
    let (tree, systemd) = shop();
    let (said, name) = set(&tree, &systemd, &["shop", "JWT_SECRET"], "hunter2\n");
    insta::assert_snapshot!(said, @r#"
    JWT_SECRET of shop is set for production and previews; there was none before
    No service gets it yet: one whose kennel.toml has `secrets = ["JWT_SECRET"]` does, from its next deployment on.
    exit 0
    "#);
    assert_eq!(name, "kennel.shop.both.JWT_SECRET");
    let file = tree.directory.path().join("etc/kennel/secrets/shop/JWT_SECRET.cred");
    assert_eq!(fs::read_to_string(file).unwrap(), "==gMyVGduVHa\n");

    let main = user(&tree, "main", 1);
    tree.active(main, 60, 0);
    let other = user(&tree, "feature/x", 2);
    tree.failed(other, 60, "the secret JWT_SECRET does not exist");
    let (said, name) = set(&tree, &systemd, &["shop", "JWT_SECRET", "--preview"], "hunter3");
    insta::assert_snapshot!(said, @"
    JWT_SECRET of shop is set for previews; there was none before
    To hand it to shop/feature/x/api now:
      kennelctl redeploy shop/feature/x --rebuild
    exit 0
    ");
    assert_eq!(name, "kennel.shop.preview.JWT_SECRET");
    age(&tree);
    let (said, _) = set(&tree, &systemd, &["shop", "JWT_SECRET"], "hunter4");
    insta::assert_snapshot!(said, @"
    JWT_SECRET of shop is set for production and previews, in place of the one set 2 h ago
    To hand it to shop/main/api now:
      kennelctl redeploy shop/main
    exit 0
    ");

    age(&tree);
    insta::assert_snapshot!(tree.ctl(&["secret", "list", "shop"]), @"
    NAME        FOR                      SET      KEPT    USED BY
    JWT_SECRET  production and previews  2 h ago  sealed  shop/main/api
    JWT_SECRET  previews                 2 h ago  sealed  shop/feature/x/api
    exit 0
    ");
    insta::assert_snapshot!(without_times(&tree.ctl(&["secret", "list", "shop", "--json"]).out), @r#"
    [
      {
        "name": "JWT_SECRET",
        "path": "/etc/kennel/secrets/shop/JWT_SECRET.cred",
        "scope": "both",
        "sealed": true,
        "set_at": "TIME",
        "used_by": [
          "shop/main/api"
        ]
      },
      {
        "name": "JWT_SECRET",
        "path": "/etc/kennel/secrets/shop/preview/JWT_SECRET.cred",
        "scope": "preview",
        "sealed": true,
        "set_at": "TIME",
        "used_by": [
          "shop/feature/x/api"
        ]
      }
    ]
    "#);
    insta::assert_snapshot!(tree.ctl(&["secret", "rm", "shop", "JWT_SECRET", "--preview"]), @"
    JWT_SECRET of shop is removed for previews
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["secret", "rm", "shop", "JWT_SECRET", "--preview"]), @"
    kennelctl: shop has no secret JWT_SECRET for previews; it is there without --production and --preview
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["secret", "rm", "shop", "JWT_SECRET"]), @"
    JWT_SECRET of shop is removed for production and previews
    kennelctl: shop/feature/x/api, shop/main/api still name JWT_SECRET in kennel.toml: they cannot be deployed again until it is set, or no longer named
    exit 0
    ");
    insta::assert_snapshot!(tree.ctl(&["secret", "rm", "shop", "JWT_SECRET"]), @"
    kennelctl: shop has no secret JWT_SECRET for production and previews; see `kennelctl secret list shop`
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["secret", "list", "shop"]), @"
    shop has no secrets; `kennelctl secret set shop NAME` sets one.
    exit 0
    ");
}

#[test]
fn what_is_refused() {
    let (tree, systemd) = shop();
    // Standard input is empty.
    insta::assert_snapshot!(tree.ctl(&["secret", "set", "shop", "A"]), @"
    kennelctl: what came on standard input cannot be A: it is empty; nothing was changed
    exit 1
    ");
    insta::assert_snapshot!(tree.ctl(&["secret", "set", "shop", "jwt"]), @"
    error: invalid value 'jwt' for '<NAME>': `jwt` is not a name for a secret: only A-Z, 0-9 and `_` may stand in it

    For more information, try '--help'.
    exit 2
    ");
    insta::assert_snapshot!(tree.ctl(&["secret", "set", "shop", "A", "--production", "--preview"]), @"
    error: the argument '--production' cannot be used with '--preview'

    Usage: kennelctl secret set --production <PROJECT> <NAME>

    For more information, try '--help'.
    exit 2
    ");
    insta::assert_snapshot!(tree.ctl(&["secret", "list", "wiki"]), @"
    kennelctl: there is no project wiki; known: shop
    exit 3
    ");
    let directory = tree.directory.path().join("etc/kennel/secrets/shop");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("A"), "theirs").unwrap();
    let (said, _) = set(&tree, &systemd, &["shop", "A"], "ours");
    insta::assert_snapshot!(said, @"
    kennelctl: /etc/kennel/secrets/shop/A is there already, and was not made by Kennel; change it where it comes from, or remove it
    exit 1
    ");
    insta::assert_snapshot!(tree.ctl(&["secret", "rm", "shop", "A"]), @"
    kennelctl: /etc/kennel/secrets/shop/A is there already, and was not made by Kennel; change it where it comes from, or remove it
    exit 1
    ");
    assert_eq!(fs::read_to_string(directory.join("A")).unwrap(), "theirs");
    fs::remove_file(tree.layout.credentials_socket()).unwrap();
    let mut command = tree.command(&["secret", "set", "shop", "B"]);
    command.stdin(fs::File::open(directory.join("A")).unwrap());
    insta::assert_snapshot!(tree.said(command), @"
    kennelctl: the secret was not set: cannot reach /run/systemd/io.systemd.Credentials; sealed secrets need systemd 256 or newer, and `systemctl start systemd-creds.socket`: No such file or directory (os error 2)
    exit 1
    ");
}
