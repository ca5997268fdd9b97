//! One thing that a check has to say.

use std::path::Path;

use kennel_core::config::Problem;
use serde::Serialize;

use crate::failure::Exit;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Kennel cannot work with it.
    Error,
    /// Nobody knows, since it may not be read.
    Unread,
    /// It works, perhaps not as meant.
    Note,
}

/// One thing that a check has to say.
#[derive(Debug, Serialize)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    file: String,
    /// None if it is about the file as a whole.
    line: Option<usize>,
    column: Option<usize>,
    message: String,
    help: Option<String>,
    /// The line itself, for people; empty or with a newline at its end.
    #[serde(skip)]
    pub(crate) excerpt: String,
}

/// All that was looked at and found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) checked: Vec<String>,
    pub(crate) all: Vec<Finding>,
}

impl Finding {
    fn of(problem: Problem, severity: Severity, text: &str) -> Self {
        Self {
            severity,
            excerpt: problem.excerpt(text),
            file: problem.file,
            line: Some(problem.line),
            column: Some(problem.column),
            message: problem.message,
            help: problem.help,
        }
    }

    /// One line, with the place first.
    pub(crate) fn sentence(&self) -> String {
        let help = self.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        match self.line {
            Some(line) => format!("{}:{line}: {}{help}", self.file, self.message),
            None => format!("{} {}{help}", self.file, self.message),
        }
    }
}

impl Findings {
    /// A file was looked at.
    pub(crate) fn checked(&mut self, path: &Path) {
        self.checked.push(path.display().to_string());
    }

    /// Something about a file as a whole.
    pub(crate) fn about(
        &mut self,
        path: &Path,
        severity: Severity,
        (message, help): (impl Into<String>, &str),
    ) {
        self.all.push(Finding {
            severity,
            file: path.display().to_string(),
            line: None,
            column: None,
            message: message.into(),
            help: Some(help.to_owned()),
            excerpt: String::new(),
        });
    }

    /// A parsed file: what it says, or its problem.
    pub(crate) fn configuration<T>(
        &mut self,
        path: &Path,
        text: &str,
        parsed: Result<T, Problem>,
    ) -> Option<T> {
        self.checked(path);
        match parsed {
            Ok(settled) => Some(settled),
            Err(problem) => {
                self.all.push(Finding::of(problem, Severity::Error, text));
                None
            }
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        let has = |severity| self.all.iter().any(|finding| finding.severity == severity);
        if has(Severity::Error) {
            Exit::BadConfiguration
        } else if has(Severity::Unread) {
            Exit::NotPermitted
        } else {
            Exit::Done
        }
    }
}
