//! An error and its causes as one line, for a journal entry or a row's reason.

use std::error::Error;

/// The error and its causes, joined by `: `. A level that only passes on the next one's words
/// (`#[error(transparent)]`) is not said twice.
#[must_use]
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot start")]
        Step(#[source] crate::Invalid),
        #[error(transparent)]
        Same(#[from] crate::Invalid),
    }

    #[test]
    fn each_level_once() {
        let invalid = "A".parse::<crate::ProjectName>().unwrap_err();
        let words = invalid.to_string();
        assert_eq!(error_chain(&Outer::Step(invalid.clone())), format!("cannot start: {words}"));
        assert_eq!(error_chain(&Outer::Same(invalid)), words);
    }
}
