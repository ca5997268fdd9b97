//! `kennelctl maintenance` and `kennelctl password-hash`.

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use kennel_core::{Event, Notice};
use kennel_store::Place;

use crate::tree::{Tree, until};

fn shop() -> (Tree, UnixDatagram) {
    let mut tree = Tree::fresh();
    tree.project("shop");
    let api = tree.deployment("shop", "refs/heads/main", "api", 'a', 190);
    tree.active(api, 185, 0);
    tree.taken(10);
    let bell = UnixDatagram::bind(tree.layout.bell()).unwrap();
    (tree, bell)
}

/// Runs kennelctl while the dispatcher does what is wished, and kennel-deploy publishes it.
fn published(tree: &Tree, arguments: &[&str]) -> String {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let wish = tree.wish();
            let place = |git_ref: &Option<_>, service: &Option<_>| Place {
                project: wish.delivery.project.clone(),
                git_ref: git_ref.clone(),
                service: service.clone(),
            };
            let mut state = tree.state();
            match &wish.delivery.event {
                Event::MaintenanceOn { git_ref, service, notice } => {
                    let by = wish.delivery.by.as_deref();
                    let place = place(git_ref, service);
                    state.begin_maintenance(&place, notice, by, tree.ago(125)).unwrap();
                }
                Event::MaintenanceOff { git_ref, service } => {
                    state.end_maintenance(&place(git_ref, service)).unwrap();
                }
                other => panic!("{other:?}"),
            }
            tree.decided(wish.id, "as the dispatcher says");
            let wanted = until(|| state.routes_wanted().unwrap());
            state.routes_published(wanted).unwrap();
        });
        tree.ctl(arguments).to_string()
    })
}

#[test]
fn on_until_off() {
    let (tree, _bell) = shop();
    let on = [
        "maintenance",
        "on",
        "shop/main/api",
        "--message",
        "Back at 18:00",
        "--retry-after",
        "30m",
    ];
    insta::assert_snapshot!(published(&tree, &on), @"
    as the dispatcher says
    exit 0
    ");
    let all = tree.state().maintenance().unwrap();
    let notice = Notice { message: Some("Back at 18:00".parse().unwrap()), retry_after_secs: 1800 };
    assert_eq!((&all[0].notice, all[0].by.as_deref()), (&notice, Some("alice")));
    published(&tree, &["maintenance", "on", "shop"]);
    insta::assert_snapshot!(tree.ctl(&["status", "shop/main", "--no-probe"]), @"
    DEPLOYED       STATE   HEALTH  COMMIT        SINCE      ADDRESS
    shop/main/api  active  -       aaaaaaaaaaaa  3 min ago

    shop was closed for visitors by alice 2 min ago: 503 until `kennelctl maintenance off shop`.
    shop/main/api was closed for visitors, who are told `Back at 18:00` by alice 2 min ago: 503 until `kennelctl maintenance off shop/main/api`.

    The route table cannot be read, so no addresses are shown: /var/lib/kennel/routes/routes.json: No such file or directory (os error 2)
    exit 0
    ");
    published(&tree, &["maintenance", "off", "shop"]);
    assert_eq!(tree.state().maintenance().unwrap(), []);
}

#[test]
fn what_is_not_there_is_not_closed() {
    let (tree, _bell) = shop();
    insta::assert_snapshot!(tree.ctl(&["maintenance", "on", "shop/next"]), @"
    kennelctl: nothing is deployed as shop/next; known: shop/main/api
    exit 3
    ");
    insta::assert_snapshot!(tree.ctl(&["maintenance", "on", "blog"]), @"
    kennelctl: there is no project blog; known: shop
    exit 3
    ");
    assert_eq!(tree.ctl(&["maintenance", "on", "shop", "--message", "two\nlines"]).code, 2);
    assert_eq!(tree.ctl(&["maintenance", "on", "shop", "--retry-after", "soon"]).code, 2);
}

#[test]
fn a_password_is_made_a_line_for_configuration() {
    let tree = Tree::fresh();
    let hashed = |password: &str| {
        let mut command = tree.command(&["password-hash"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, line, errors) = hashed("hunter2\n");
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    let hash = line.trim_end();
    assert!(hash.parse::<kennel_core::config::PasswordHash>().is_ok(), "{line}");
    // With a salt of its own each time.
    assert_ne!(hashed("hunter2").1, line);
    insta::assert_snapshot!(hashed("\n").2, @"kennelctl: a password has 1 to 1024 bytes");
    insta::assert_snapshot!(hashed(&"x".repeat(1025)).2, @"kennelctl: a password has 1 to 1024 bytes");
}
