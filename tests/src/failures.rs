//! Which tests have failed, told once more at the very end: what they say themselves is followed by
//! journals and by other tests, and who reads the end of a log sees neither name nor reason.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// Lines of a message that are repeated: the error itself; the diagnosis comes after it.
const LINES: usize = 12;

/// Characters of a line. Some hold a whole row.
const COLUMNS: usize = 300;

/// The failures of a run, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<Vec<(String, String)>>);

impl Failures {
    /// None so far.
    pub(crate) const fn none() -> Self {
        Self(Mutex::new(Vec::new()))
    }

    /// Keeps the beginning of what a test said.
    pub(crate) fn note(&self, test: &str, message: &str) {
        let mut failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        failures.push((test.to_owned(), beginning(message)));
    }

    /// All of them for people; empty if there are none.
    pub(crate) fn summary(&self) -> String {
        let failures = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut text = String::new();
        for (test, beginning) in failures.iter() {
            // Writing to a String cannot fail.
            let _ = write!(text, "\nFAILED {test}\n{beginning}");
        }
        text
    }
}

fn beginning(message: &str) -> String {
    let mut text = String::new();
    for line in message.lines().take(LINES) {
        let short: String = line.chars().take(COLUMNS).collect();
        let more = if short.len() < line.len() { "…" } else { "" };
        let _ = writeln!(text, "    {short}{more}");
    }
    match message.lines().count().saturating_sub(LINES) {
        0 => {}
        left => {
            let _ = writeln!(text, "    … and {left} lines above");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_each() {
        let failures = Failures::none();
        assert_eq!(failures.summary(), "");
        failures.note("push::first", "on the shared host: it answers 503");
        let long: String = (1..=14).map(|line| format!("line {line}\n")).collect();
        failures.note("killed::anywhere", &long);
        failures.note("wide", &"x".repeat(301));
        let summary = failures.summary().replace(&"x".repeat(300), "X");
        insta::assert_snapshot!(summary, @r"

        FAILED push::first
            on the shared host: it answers 503

        FAILED killed::anywhere
            line 1
            line 2
            line 3
            line 4
            line 5
            line 6
            line 7
            line 8
            line 9
            line 10
            line 11
            line 12
            … and 2 lines above

        FAILED wide
            X…
        ");
    }
}
