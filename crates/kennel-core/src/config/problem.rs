//! What is wrong with a configuration file, and where.

use std::fmt::Write as _;

/// One thing that is wrong, with its place.
///
/// Its `Display` is one line: `kennel.toml:12: unknown key …; did you mean …?`. Texts of the file
/// that it repeats are shortened and their control characters escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {message}{}", .help.as_ref().map(|help| format!("; {help}")).unwrap_or_default())]
pub struct Problem {
    /// The file, as the caller named it.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong, without a final full stop.
    pub message: String,
    /// What to do about it, where that can be said.
    pub help: Option<String>,
}

impl Problem {
    /// The line of `text` that this is about, with its number and a caret under the column; empty
    /// if `text` has no such line. Ends with a newline. Control characters are shown as `·`.
    #[must_use]
    pub fn excerpt(&self, text: &str) -> String {
        let Some(line) = text.split('\n').nth(self.line - 1) else { return String::new() };
        // Long enough for every line that people write, short enough for a terminal.
        const MOST: usize = 120;
        let line = line.trim_end_matches('\r');
        let skip = (self.column - 1).saturating_sub(MOST / 2);
        let shown: String = line
            .chars()
            .skip(skip)
            .take(MOST)
            .map(|c| match c {
                '\t' => ' ',
                c if is_unprintable(c) => '·',
                c => c,
            })
            .collect();
        let number = self.line.to_string();
        let margin = " ".repeat(number.len());
        let mut excerpt = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(excerpt, "{margin} |");
        let _ = writeln!(excerpt, "{number} | {}", shown.trim_end());
        let _ = writeln!(excerpt, "{margin} | {}^", " ".repeat(self.column - 1 - skip));
        excerpt
    }
}

/// Control characters, and those that turn the direction of a terminal's line.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests;
