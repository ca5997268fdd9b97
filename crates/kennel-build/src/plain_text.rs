//! What a builder prints, made safe to show: whole lines of text without terminal commands.
//!
//! Builders are strangers' programs, and their logs are read in an administrator's terminal.

/// A line is cut into pieces of this many bytes, so that one without end fills no memory.
const LONGEST: usize = 16 << 10;

/// Turns bytes, as they come, into lines.
#[derive(Debug, Default)]
pub(crate) struct PlainText {
    line: Vec<u8>,
    escape: Escape,
    after_return: bool,
}

/// Where in a terminal command the last byte was (ECMA-48 §5.4; OSC as xterm has it).
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Escape {
    #[default]
    No,
    Begun,
    Csi,
    Osc,
    OscEnds,
}

impl PlainText {
    /// Takes bytes and gives every line that is whole now.
    pub(crate) fn take(&mut self, mut bytes: &[u8], mut line: impl FnMut(&str)) {
        while let Some((byte, behind)) = bytes.split_first() {
            let text = self.text_at_the_beginning(bytes);
            if text > 0 {
                let (text, behind) = bytes.split_at(text);
                self.line.extend_from_slice(text);
                self.after_return = false;
                bytes = behind;
            } else {
                self.take_byte(*byte, &mut line);
                bytes = behind;
            }
            if self.line.len() >= LONGEST {
                self.give(&mut line);
            }
        }
    }

    /// How many bytes at the beginning are nothing but text, and have room in the line.
    fn text_at_the_beginning(&self, bytes: &[u8]) -> usize {
        if self.escape != Escape::No {
            return 0;
        }
        let room = LONGEST - self.line.len();
        bytes.iter().take(room).take_while(|byte| is_text(**byte)).count()
    }

    fn take_byte(&mut self, byte: u8, line: &mut impl FnMut(&str)) {
        if self.is_command(byte) {
            return;
        }
        // A progress display that writes over itself becomes lines; `\r\n` is one end.
        let ends = byte == b'\r' || (byte == b'\n' && !self.after_return);
        self.after_return = byte == b'\r';
        if ends {
            self.give(line);
        }
    }

    /// Gives what is left when nothing more comes.
    pub(crate) fn finish(&mut self, mut line: impl FnMut(&str)) {
        if !self.line.is_empty() {
            self.give(&mut line);
        }
    }

    fn give(&mut self, line: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.line);
        if text.is_ascii() {
            // Which has no control characters but `\t` any more.
            line(&text);
        } else {
            line(&text.replace(is_unprintable, ""));
        }
        self.line.clear();
    }

    /// Whether the byte belongs to a terminal command.
    fn is_command(&mut self, byte: u8) -> bool {
        let (next, is_command) = match (self.escape, byte) {
            // A command that never ends must not swallow the rest of the log.
            (_, b'\n') => (Escape::No, false),
            (_, 0x1b) if self.escape == Escape::Osc => (Escape::OscEnds, true),
            (_, 0x1b) => (Escape::Begun, true),
            (Escape::No, _) => (Escape::No, false),
            (Escape::Begun, b'[') => (Escape::Csi, true),
            (Escape::Begun, b']' | b'P' | b'X' | b'^' | b'_') => (Escape::Osc, true),
            (Escape::Begun, b' '..=b'/') => (Escape::Begun, true),
            (Escape::Begun | Escape::OscEnds, _) => (Escape::No, true),
            (Escape::Csi, 0x40..=0x7e) => (Escape::No, true),
            (Escape::Csi, _) => (Escape::Csi, true),
            (Escape::Osc, 0x07) => (Escape::No, true),
            (Escape::Osc, _) => (Escape::Osc, true),
        };
        self.escape = next;
        is_command
    }
}

/// Whether a byte is shown as it is, or is a part of a character that may be.
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

/// Control characters (C1 ones are terminal commands too where a terminal believes in them), and
/// those that turn the direction of a line.
fn is_unprintable(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<String> {
        let mut text = PlainText::default();
        let mut lines = Vec::new();
        for piece in pieces {
            text.take(piece, |line| lines.push(line.to_owned()));
        }
        text.finish(|line| lines.push(line.to_owned()));
        lines
    }

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        assert_eq!(lines(&[b"a", b"b\nc\r", b"\nd\re", b"\n\n"]), ["ab", "c", "d", "e", ""]);
    }

    #[test]
    fn terminal_commands_are_gone() {
        assert_eq!(
            lines(&[b"\x1b[31;1mred\x1b[0m \x1b]0;title\x07x\x1b]8;;u\x1b\\y\x1bc\x08z"]),
            ["red xyz"]
        );
        assert_eq!(lines(&[b"\x1b", b"[3", b"1mred"]), ["red"]);
        assert_eq!(lines(&[b"\x1b]no end\nnext"]), ["", "next"]);
        assert_eq!(lines(&["\u{9b}31mx\u{202e}y".as_bytes()]), ["31mxy"]);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let long = vec![b'x'; LONGEST + 5];
        let lengths: Vec<usize> = lines(&[&long]).iter().map(String::len).collect();
        assert_eq!(lengths, [LONGEST, 5]);
    }

    #[test]
    fn bytes_that_are_no_text() {
        assert_eq!(lines(&[b"a\xffb\0c"]), ["a\u{fffd}bc"]);
    }
}
