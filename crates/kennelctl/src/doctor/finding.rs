//! What a check has to say: one line, and the next move.

use serde::Serialize;

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mark {
    Ok,
    /// Nobody knows, since it could not be looked at.
    Skipped,
    /// Kennel works, perhaps not as meant, or not for long.
    Warning,
    /// Something of Kennel does not work.
    Failure,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// A command that can be copied as it is.
    Run(String),
    /// Something that needs a person's thought.
    Do(String),
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// `group.name`, which never changes: scripts look for it.
    pub(crate) check: &'static str,
    pub(crate) mark: Mark,
    pub(crate) sentence: String,
    pub(crate) next: Option<Next>,
}

impl Finding {
    fn new(check: &'static str, mark: Mark, sentence: impl Into<String>) -> Self {
        Self { check, mark, sentence: sentence.into(), next: None }
    }

    pub(super) fn ok(check: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(check, Mark::Ok, sentence)
    }

    pub(super) fn skipped(check: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(check, Mark::Skipped, sentence)
    }

    pub(super) fn warning(check: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(check, Mark::Warning, sentence)
    }

    pub(super) fn failure(check: &'static str, sentence: impl Into<String>) -> Self {
        Self::new(check, Mark::Failure, sentence)
    }

    /// With a command that can be copied.
    pub(super) fn run(self, command: impl Into<String>) -> Self {
        Self { next: Some(Next::Run(command.into())), ..self }
    }

    /// With something to do by hand.
    pub(super) fn by_hand(self, words: impl Into<String>) -> Self {
        Self { next: Some(Next::Do(words.into())), ..self }
    }
}

/// The findings, or the one that all is well.
pub(super) fn or_ok(findings: Vec<Finding>, ok: impl FnOnce() -> Finding) -> Vec<Finding> {
    if findings.is_empty() { vec![ok()] } else { findings }
}
