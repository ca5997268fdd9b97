//! What a confined child can and cannot do, with a real one.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::{PROGRAM, no_landlock};

fn confined(arguments: &[&str], script: &str) -> Output {
    Command::new(PROGRAM)
        .arg("confined")
        .args(arguments)
        .args(["--", "sh", "-c", script])
        .output()
        .unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn only_what_is_named_can_be_reached() {
    if no_landlock("only_what_is_named_can_be_reached") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["own", "source", "other"] {
        fs::create_dir(at(name)).unwrap();
        fs::write(at(name).join("file"), "secret").unwrap();
    }
    std::os::unix::fs::symlink(at("other"), at("own").join("link")).unwrap();
    let (own, source) = (at("own"), at("source"));
    let fence = ["--write", path(&own), "--read", path(&source)];
    let allowed = |script: String| {
        let output = confined(&fence, &script);
        assert!(output.status.success(), "{script}: {output:?}");
    };
    let refused = |script: String| {
        // It must work without the fence, or the test would pass for any reason.
        let free = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(free.status.success(), "{script}: {free:?}");
        let output = confined(&fence, &script);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && stderr.contains("Permission denied"),
            "{script}: {output:?}"
        );
    };
    let dir = dir.path().display();
    allowed(format!(
        "echo new > {dir}/own/new && mv {dir}/own/new {dir}/own/old && rm {dir}/own/old"
    ));
    allowed(format!("mkdir -p {dir}/own/a/b && ln -s x {dir}/own/a/b/c"));
    allowed(format!("cat {dir}/source/file /etc/passwd /proc/self/status > /dev/null"));
    allowed(String::from("git --version && head -c 1 /dev/urandom > /dev/null"));
    refused(format!("cat {dir}/other/file"));
    refused(format!("cat {dir}/own/link/file"));
    refused(format!("ls {dir}/other"));
    refused(format!("echo x > {dir}/source/new"));
    refused(format!("echo x > {dir}/other/new"));
    refused(String::from("ls /etc > /dev/null"));
    refused(format!("ls {}", env!("CARGO_MANIFEST_DIR")));
}

#[test]
fn processes_outside_are_out_of_reach() {
    if no_landlock("processes_outside_are_out_of_reach") {
        return;
    }
    let mut outside = Command::new("sleep").arg("60").spawn().unwrap();
    let pid = outside.id();
    // Not its environment: root, as whom tests may run, reads that with CAP_PERFMON.
    let looked = confined(&[], &format!("readlink /proc/{pid}/exe"));
    let killed = confined(&[], &format!("kill -KILL {pid}"));
    let still_runs = outside.try_wait().unwrap().is_none();
    outside.kill().unwrap();
    outside.wait().unwrap();
    assert!(!looked.status.success() && looked.stdout.is_empty(), "{looked:?}");
    // Signals are scoped since Linux 6.12.
    if killed.status.success() {
        println!("skipped: signals: this kernel does not scope them");
    } else {
        assert!(still_runs);
    }
}

#[test]
fn what_cannot_be_started_says_so() {
    if no_landlock("what_cannot_be_started_says_so") {
        return;
    }
    let started = |arguments: &[&str]| {
        let output = Command::new(PROGRAM).arg("confined").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(86), "{output:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    insta::assert_snapshot!(started(&["--", "kennel-has-no-such-program"]), @"error: cannot start kennel-has-no-such-program; is it installed, and in the PATH of kennel-build@.service?: No such file or directory (os error 2)");
    insta::assert_snapshot!(started(&["--write", "/nonexistent", "--", "true"]), @r#"error: cannot open /nonexistent to confine a program to it: failed to open "/nonexistent": No such file or directory (os error 2)"#);
}

/// The child dies with whoever started it, however that ends: systemd need not wait for it.
#[test]
fn a_child_does_not_outlive_its_parent() {
    if no_landlock("a_child_does_not_outlive_its_parent") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pid");
    let script = format!(
        "{PROGRAM} confined --write {} -- sh -c 'echo $$ > {}; exec sleep 60' & sleep 60",
        dir.path().display(),
        file.display()
    );
    let mut parent = Command::new("sh").args(["-c", &script]).spawn().unwrap();
    let child = loop {
        let pid = fs::read_to_string(&file).unwrap_or_default();
        if let Ok(pid) = pid.trim().parse::<u32>() {
            break pid;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    parent.kill().unwrap();
    parent.wait().unwrap();
    let begun = std::time::Instant::now();
    let runs = || {
        fs::read_to_string(format!("/proc/{child}/status"))
            .is_ok_and(|status| !status.contains("State:\tZ"))
    };
    while runs() {
        // By itself it would end after a minute.
        assert!(begun.elapsed().as_secs() < 20, "it still runs");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
