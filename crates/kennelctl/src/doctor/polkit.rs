//! Whether polkit lets the dispatcher do what it is for, and no more: asked as systemd asks it.

use std::fs;
use std::sync::Arc;

use super::facts::Facts;
use super::finding::Finding;
use super::{command, say};

/// The first number that the rule knows. Nothing is started, polkit is only asked.
const JOB: &str = "kennel-build@1.service";
const FOREIGN: &str = "nix-daemon.service";

/// What polkit said.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    Yes,
    No,
    /// It did not say.
    Broken(String),
}

pub(super) async fn check(facts: Arc<Facts>) -> Vec<Finding> {
    let Some(uid) = facts.accounts.uid("kennel") else { return vec![say::polkit_nobody()] };
    // polkit tells root only what others may.
    if !facts.is_root {
        return vec![say::polkit_unseen()];
    }
    let Some(subject) = own_process(uid) else { return vec![say::polkit_unseen()] };
    let (own, foreign) = tokio::join!(may_start(&subject, JOB), may_start(&subject, FOREIGN));
    vec![judge(own, foreign)]
}

/// This process, taken for one of the user's: `pid,start time,uid`, see pkcheck(1).
fn own_process(uid: u32) -> Option<String> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name, in parentheses; the 22nd is the start time.
    let start = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?;
    Some(format!("{},{start},{uid}", std::process::id()))
}

async fn may_start(subject: &str, unit: &str) -> Answer {
    let action = "org.freedesktop.systemd1.manage-units";
    let argv = [
        "pkcheck",
        "--action-id",
        action,
        "--process",
        subject,
        "--detail",
        "verb",
        "start",
        "--detail",
        "unit",
        unit,
    ];
    match command::ask(&argv).await {
        Ok(answer) if answer.succeeded => Answer::Yes,
        // 1: not authorized; 2: only after a password, which nobody types.
        Ok(answer) if matches!(answer.code, Some(1 | 2)) => Answer::No,
        Ok(answer) => Answer::Broken(answer.err.lines().next().unwrap_or_default().to_owned()),
        Err(silence) => Answer::Broken(format!("pkcheck {}", silence.why())),
    }
}

fn judge(own: Answer, foreign: Answer) -> Finding {
    match (own, foreign) {
        (Answer::Yes, Answer::No) => say::polkit_good(),
        (Answer::Yes, Answer::Yes) => say::polkit_too_open(FOREIGN),
        (Answer::No, _) => say::polkit_refuses(),
        (Answer::Broken(why), _) | (_, Answer::Broken(why)) => say::polkit_broken(&why),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    #[test]
    fn every_answer() {
        insta::assert_snapshot!(said(&[
            judge(Answer::Yes, Answer::No),
            judge(Answer::Yes, Answer::Yes),
            judge(Answer::No, Answer::No),
            judge(Answer::Broken("pkcheck is not installed".into()), Answer::No),
            say::polkit_nobody(),
            say::polkit_unseen(),
        ]));
    }

    #[test]
    fn this_process_with_its_start_time() {
        let subject = own_process(42).unwrap();
        let fields: Vec<u64> = subject.split(',').map(|it| it.parse().unwrap()).collect();
        assert_eq!((fields[0], fields[2]), (std::process::id().into(), 42));
        assert!(fields[1] > 0);
    }
}
