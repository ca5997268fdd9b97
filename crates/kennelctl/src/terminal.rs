//! Where sentences and tables go.
//!
//! Knows whether colours are wanted, and that a closed pipe (`kennelctl builds | head`) is no
//! failure.

use std::io::{self, BufRead, IsTerminal, Write};

use crate::failure::Failure;

/// Standard output, and how it may be written to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminal {
    pub(crate) colours: bool,
}

/// A cell's or word's colour; none is the terminal's own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Colour {
    #[default]
    Plain,
    Faint,
    Good,
    Busy,
    Bad,
}

impl Terminal {
    /// Colours on a terminal, unless NO_COLOR is set and not empty (no-color.org).
    pub(crate) fn detect() -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self { colours: wanted && io::stdout().is_terminal() }
    }

    /// Without colours, for tests.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { colours: false }
    }

    /// Columns and rows of the terminal that is written to; none if it is none.
    pub(crate) fn size(self) -> Option<(usize, usize)> {
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        let size = (usize::from(size.ws_col), usize::from(size.ws_row));
        (size.0 > 0 && size.1 > 0).then_some(size)
    }

    pub(crate) fn print(self, text: &str) -> Result<(), Failure> {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|source| {
            if source.kind() == io::ErrorKind::BrokenPipe {
                Failure::NobodyReads
            } else {
                Failure::Print(source)
            }
        })
    }

    pub(crate) fn line(self, text: &str) -> Result<(), Failure> {
        self.print(&format!("{text}\n"))
    }

    /// An answer for programs.
    pub(crate) fn json(self, answer: &impl serde::Serialize) -> Result<(), Failure> {
        self.line(&serde_json::to_string_pretty(answer).map_err(Failure::Json)?)
    }

    /// A line beside the output, which programs do not read.
    pub(crate) fn aside(self, text: &str) {
        // Whoever closed standard error does not want to know.
        let _ = writeln!(io::stderr(), "{text}");
    }

    pub(crate) fn paint(self, colour: Colour, text: &str) -> String {
        let code = match colour {
            Colour::Plain => return text.to_owned(),
            Colour::Faint => "2",
            Colour::Good => "32",
            Colour::Busy => "33",
            Colour::Bad => "31",
        };
        if self.colours { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// Asks a yes-or-no question; none if nobody is there to answer.
    pub(crate) fn confirm(self, question: &str) -> Result<Option<bool>, Failure> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return Ok(None);
        }
        let mut stderr = io::stderr();
        let _ = write!(stderr, "{question} [y/N] ").and_then(|()| stderr.flush());
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(Failure::Print)?;
        Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes")))
    }
}

/// A line that a repository's build or service wrote, fit for a terminal: without escape sequences
/// and other control characters but tab.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\t' => shown.push(c),
            c if c.is_control() => {}
            c => shown.push(c),
        }
    }
    shown
}

/// Past the rest of an escape sequence, ECMA-48 §5.4 (CSI) and §5.6 (strings).
fn skip_escape(chars: &mut std::str::Chars<'_>) {
    match chars.next() {
        Some('[') => {
            // Parameters and intermediates, then one final byte.
            chars.find(|c| !matches!(c, ' '..='?'));
        }
        Some(']' | 'P' | 'X' | '^' | '_') => {
            // A string, to BEL or ESC \.
            if chars.find(|c| matches!(c, '\u{7}' | '\u{1b}')) == Some('\u{1b}') {
                chars.next();
            }
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_do_not_steer_the_terminal() {
        assert_eq!(printable("plain\ttext ü"), "plain\ttext ü");
        assert_eq!(printable("\u{1b}[31;1mred\u{1b}[0m and \u{1b}[2Jgone"), "red and gone");
        assert_eq!(printable("\u{1b}]0;title\u{7}x\u{1b}]8;;http://a\u{1b}\\link"), "xlink");
        assert_eq!(printable("a\rb\u{8}c\u{9b}d"), "abcd");
        assert_eq!(printable("end\u{1b}"), "end");
        assert_eq!(printable("end\u{1b}["), "end");
    }

    #[test]
    fn colours_only_where_wanted() {
        let coloured = Terminal { colours: true };
        assert_eq!(coloured.paint(Colour::Bad, "x"), "\u{1b}[31mx\u{1b}[0m");
        assert_eq!(coloured.paint(Colour::Plain, "x"), "x");
        assert_eq!(Terminal::plain().paint(Colour::Bad, "x"), "x");
    }
}
