//! What the end of a build's program means for its row. Pure: a table, tested whole.

use std::env;

/// What the program exits with when its build is back in the queue, since the host has no room or
/// its configuration cannot be used: all of Kennel's programs leave so because of that.
pub const EXIT_WAITS: u8 = 64;

/// How systemd says that the program ended (systemd.exec(5), `$SERVICE_RESULT`, `$EXIT_CODE`,
/// `$EXIT_STATUS`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It was told to stop, and did.
    Stopped,
    /// It exited with status 0.
    Silent,
    /// The kernel ended it, or a child of it, for want of memory.
    OutOfMemory,
    /// It, or its stop, took too long.
    Timeout,
    /// It no longer answered.
    Watchdog,
    /// It crashed with this signal.
    CoreDump(String),
    /// It was killed with this signal.
    Killed(String),
    /// It said that its build waits for the operator.
    Waits,
    /// It exited with this status.
    Exit(String),
    /// It never ran: systemd's word for why.
    NotStarted(String),
}

/// What the row says about the build's end before it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// A newer build makes it superfluous.
    pub superseded: bool,
    /// Somebody wants it to end.
    pub cancel_requested: bool,
}

/// What becomes of the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It failed, because of how it ended.
    Failed,
    /// Somebody ended it.
    Cancelled,
    /// A newer build ended it.
    Superseded,
    /// The host or Kennel went down: it runs again, and costs no attempt.
    Interrupted,
}

impl Ending {
    /// As systemd tells it to `ExecStopPost=`; none if it was not systemd who started this program.
    #[must_use]
    pub fn from_environment() -> Option<Self> {
        let read = |name| env::var(name).unwrap_or_default();
        let result = env::var("SERVICE_RESULT").ok()?;
        Some(Self::new(&result, &read("EXIT_CODE"), &read("EXIT_STATUS")))
    }

    fn new(result: &str, code: &str, status: &str) -> Self {
        match (result, code) {
            // A clean end is a status of 0, or one of the signals that ask for one.
            ("success", "killed") => Self::Stopped,
            ("success", _) => Self::Silent,
            ("oom-kill", _) => Self::OutOfMemory,
            ("timeout", _) => Self::Timeout,
            ("watchdog", _) => Self::Watchdog,
            ("core-dump", _) => Self::CoreDump(status.into()),
            ("signal", _) => Self::Killed(status.into()),
            ("exit-code", _) if status == EXIT_WAITS.to_string() => Self::Waits,
            ("exit-code", _) => Self::Exit(status.into()),
            // protocol, resources, exec-condition, start-limit-hit, and what is not invented yet.
            (other, _) => Self::NotStarted(other.into()),
        }
    }
}

impl Verdict {
    /// Decides. `going_down` is asked only where it matters: whether the system, or Kennel as a
    /// whole, is being stopped.
    pub fn of(ending: &Ending, marks: Marks, going_down: impl FnOnce() -> bool) -> Self {
        let stopped_by_hand = match ending {
            Ending::Stopped => Self::Cancelled,
            // A stop that took too long looks the same, and so do the last kills of a shutdown.
            Ending::Timeout | Ending::Killed(_) => Self::Failed,
            Ending::Waits => Self::Interrupted,
            Ending::Silent
            | Ending::OutOfMemory
            | Ending::Watchdog
            | Ending::CoreDump(_)
            | Ending::Exit(_)
            | Ending::NotStarted(_) => return Self::Failed,
        };
        if marks.superseded {
            Self::Superseded
        } else if marks.cancel_requested {
            Self::Cancelled
        } else if going_down() {
            Self::Interrupted
        } else {
            stopped_by_hand
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every ending against every mark, as systemd words it.
    #[test]
    fn table() {
        let endings = [
            ("success", "killed", "TERM"),
            ("success", "exited", "0"),
            ("oom-kill", "killed", "KILL"),
            ("timeout", "killed", "TERM"),
            ("watchdog", "dumped", "ABRT"),
            ("core-dump", "dumped", "SEGV"),
            ("signal", "killed", "KILL"),
            ("exit-code", "exited", "64"),
            ("exit-code", "exited", "101"),
            ("protocol", "", ""),
            ("resources", "", ""),
        ];
        let mut table = String::new();
        for (result, code, status) in endings {
            let ending = Ending::new(result, code, status);
            for (mark, superseded, cancel_requested, going_down) in [
                ("no mark", false, false, false),
                ("going down", false, false, true),
                ("cancel requested", false, true, true),
                ("superseded", true, true, true),
            ] {
                let marks = Marks { superseded, cancel_requested };
                let verdict = Verdict::of(&ending, marks, || going_down);
                table += &format!("{result:9} {code:6} {status:4} {mark:16} {verdict:?}\n");
            }
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn systemd_is_not_asked_where_it_does_not_matter() {
        let marks = Marks { superseded: false, cancel_requested: true };
        let asked = || -> bool { panic!("asked") };
        assert_eq!(Verdict::of(&Ending::Stopped, marks, asked), Verdict::Cancelled);
        let marks = Marks { superseded: false, cancel_requested: false };
        assert_eq!(Verdict::of(&Ending::OutOfMemory, marks, asked), Verdict::Failed);
    }
}
