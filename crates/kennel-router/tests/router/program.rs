//! The program itself: exit codes, signals, and what it tells systemd.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::Client;
use crate::host::PATIENCE;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kennel-router"));
    for name in ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "NOTIFY_SOCKET", "JOURNAL_STREAM"] {
        command.env_remove(name);
    }
    command.stderr(Stdio::piped());
    command
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn without_sockets_it_names_the_unit_to_start() {
    let output = program().output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    insta::assert_snapshot!(text.trim().split_once("ERROR ").unwrap().1, @"no sockets came from systemd; start kennel-router.socket, or use --listen for development");
}

#[test]
fn wrong_arguments_are_a_wrong_set_up() {
    let output = program().arg("--port").output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let output = program().args(["--listen", "192.0.2.1:80"]).output().unwrap();
    assert_eq!(output.status.code(), Some(64));
}

#[test]
fn systemd_is_told_of_start_reload_refusal_and_stop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_read_timeout(Some(PATIENCE)).unwrap();
    let table = dir.path().join("routes.json");
    std::fs::write(&table, r#"{"version":1,"generation":12,"hosts":{"a.example":[]}}"#).unwrap();
    let told = || {
        let mut buffer = [0; 4096];
        let len = systemd.recv(&mut buffer).unwrap();
        let text = String::from_utf8(buffer[..len].to_vec()).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .map(|line| if line.starts_with("MONOTONIC_USEC=") { "MONOTONIC_USEC=…" } else { line })
            .collect();
        lines.join("\n").replace(&dir.path().display().to_string(), "<dir>")
    };

    let mut child = program()
        .args(["--listen", "127.0.0.1:0", "--workers", "2", "--table"])
        .arg(&table)
        .env("NOTIFY_SOCKET", &path)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines
        .find_map(|line| line.unwrap().split_once("http://").map(|(_, address)| address.to_owned()))
        .unwrap();
    let mut all = vec![told()];
    let mut client = Client::connect(address.parse().unwrap());
    assert_eq!(client.get("/").status, 404);

    std::fs::write(&table, r#"{"version":1,"generation":13,"hosts":{}}"#).unwrap();
    signal(&child, Signal::HUP);
    all.extend([told(), told()]);
    std::fs::write(&table, "nonsense").unwrap();
    signal(&child, Signal::HUP);
    all.extend([told(), told()]);
    drop(client);
    signal(&child, Signal::TERM);
    all.push(told());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    insta::assert_snapshot!(all.join("\n--\n"), @"
    READY=1
    STATUS=generation 12, 1 host
    --
    RELOADING=1
    MONOTONIC_USEC=…
    --
    READY=1
    STATUS=generation 13, 0 hosts
    --
    RELOADING=1
    MONOTONIC_USEC=…
    --
    READY=1
    STATUS=generation 13, 0 hosts; refused the newer table: <dir>/routes.json is not a route table: expected ident at line 1 column 2
    --
    STOPPING=1
    ");
    let mut rest = String::new();
    for line in lines {
        rest += &line.unwrap();
    }
    assert!(!rest.contains("panicked"), "{rest}");
}

#[test]
fn help_is_no_failure() {
    let mut child = program().arg("--help").stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("--listen"));
    assert!(child.wait().unwrap().success());
}
