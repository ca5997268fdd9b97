//! The program itself: options, signals, exit codes.

// Helpers of tests, which the lints do not see as such.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kennel-webhook"));
    command.env_remove("CREDENTIALS_DIRECTORY").env_remove("JOURNAL_STREAM");
    command
}

/// Waits until it listens.
fn connect(socket: &Path) -> UnixStream {
    let began = Instant::now();
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return stream,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(20), "{error}"),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn wait(mut child: Child) -> i32 {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap();
        }
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("it does not leave");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn without_a_socket_it_says_what_to_do() {
    let output = program().output().unwrap();
    assert_eq!(output.status.code(), Some(64));
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.trim_end().split_once("ERROR ").unwrap().1;
    insta::assert_snapshot!(line, @"there is no socket to listen on; start kennel-webhook.socket, or give --listen");
}

#[test]
fn without_secrets_it_does_not_start() {
    let root = tempfile::tempdir().unwrap();
    let socket = root.path().join("x.sock");
    let output = program().arg("--root").arg(root.path()).arg("--listen").arg(socket).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let text = text.replace(root.path().to_str().unwrap(), "ROOT");
    let line = text.trim_end().split_once("ERROR ").unwrap().1;
    insta::assert_snapshot!(line, @"cannot take the webhook secrets: cannot read ROOT/etc/kennel/webhook-secrets; without the secrets no delivery can be verified: No such file or directory (os error 2)");
}

#[test]
fn it_answers_on_all_its_sockets_and_leaves_when_told_or_idle() {
    for idle in [false, true] {
        let root = tempfile::tempdir().unwrap();
        let secrets = root.path().join("credentials");
        std::fs::create_dir(&secrets).unwrap();
        std::fs::write(secrets.join("webhook_site"), "s3cret").unwrap();
        let (one, two) = (root.path().join("1.sock"), root.path().join("2.sock"));
        let child = program()
            .env("CREDENTIALS_DIRECTORY", &secrets)
            .arg("--root")
            .arg(root.path())
            .arg("--listen")
            .arg(&one)
            .arg("--listen")
            .arg(&two)
            .arg("--idle-exit")
            .arg(if idle { "1" } else { "0" })
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        for socket in [&one, &two] {
            let mut stream = connect(socket);
            stream.write_all(b"GET /webhook/site HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 405 "), "{answer}");
        }
        if !idle {
            let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
            kill_process(pid, Signal::TERM).unwrap();
        }
        assert_eq!(wait(child), 0);
    }
}
