//! `--watch`: the same answer again and again, until Ctrl-C.
//!
//! On a terminal it is drawn in place; elsewhere it is printed anew only when it says something
//! else. Databases are opened to read, and closed between two looks: nothing is locked, no bell is
//! rung, and nobody is kept awake but this program.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::signals::{Signal, Signals};
use crate::terminal::{Colour, Terminal};

/// How often the databases' files are looked at, which costs a few system calls.
const GLANCE: Duration = Duration::from_millis(200);

/// One answer.
pub(crate) struct Frame {
    /// For people; ages in it change by themselves.
    pub(crate) text: String,
    /// What it says without ages: the same as long as nothing happens.
    pub(crate) says: String,
}

/// Shows what `look` finds at least every `every`, and soon after something was written.
pub(crate) fn watch(
    host: &Host,
    title: &str,
    every: Duration,
    look: &mut dyn FnMut() -> Result<Frame, Failure>,
) -> Result<Exit, Failure> {
    let signals = Signals::catch()?;
    let mut shown = Shown::begin(host.terminal, title);
    loop {
        shown.show(&look()?)?;
        // After the look: what comes in between is seen when it is time.
        let files = files(host);
        let next = Instant::now() + every;
        while Instant::now() < next {
            match signals.wait(GLANCE.min(next - Instant::now())) {
                Some(Signal::End) => return Ok(Exit::Done),
                Some(Signal::Resized) => break,
                None if self::files(host) != files => break,
                None => {}
            }
        }
    }
}

type Written = Option<(u64, SystemTime)>;

/// When the files were written last that an answer is made of.
fn files(host: &Host) -> Vec<Written> {
    let wal = |database: PathBuf| {
        let mut name = database.into_os_string();
        name.push("-wal");
        PathBuf::from(name)
    };
    [wal(host.layout.builds_db()), wal(host.layout.state_db()), host.layout.route_table()]
        .iter()
        .map(|path| {
            let file = std::fs::metadata(path).ok()?;
            Some((file.len(), file.modified().ok()?))
        })
        .collect()
}

enum Shown {
    OnScreen(Screen),
    InLines { terminal: Terminal, last: Option<String> },
}

impl Shown {
    fn begin(terminal: Terminal, title: &str) -> Self {
        match Screen::open(terminal, title) {
            Some(screen) => Self::OnScreen(screen),
            None => Self::InLines { terminal, last: None },
        }
    }

    fn show(&mut self, frame: &Frame) -> Result<(), Failure> {
        match self {
            Self::OnScreen(screen) => screen.draw(&frame.text),
            Self::InLines { terminal, last } => {
                if last.as_ref() == Some(&frame.says) {
                    return Ok(());
                }
                let apart = if last.is_some() { "\n" } else { "" };
                *last = Some(frame.says.clone());
                terminal.print(&format!("{apart}{}", frame.text))
            }
        }
    }
}

/// The terminal's other screen, without cursor and echo; given back when this is dropped.
struct Screen {
    terminal: Terminal,
    title: String,
    before: Option<Termios>,
}

impl Screen {
    fn open(terminal: Terminal, title: &str) -> Option<Self> {
        if !io::stdout().is_terminal() {
            return None;
        }
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut without_echo) = before.clone() {
            without_echo.local_modes.remove(LocalModes::ECHO);
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &without_echo);
        }
        let screen = Self { terminal, title: title.to_owned(), before };
        screen.terminal.print("\u{1b}[?1049h\u{1b}[?25l").ok()?;
        Some(screen)
    }

    /// In one write and over what was there, so that nothing flickers.
    fn draw(&self, text: &str) -> Result<(), Failure> {
        let (columns, rows) = self.terminal.size().unwrap_or((80, 24));
        let title = self.terminal.paint(Colour::Faint, &self.title);
        self.terminal.print(&drawn(&format!("{title}\n\n{text}"), columns, rows))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        let _ = out.write_all(b"\x1b[?25h\x1b[?1049l").and_then(|()| out.flush());
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

/// The text as it is drawn over the one before, cut to the terminal's size.
fn drawn(text: &str, columns: usize, rows: usize) -> String {
    let lines: Vec<_> = text.lines().collect();
    let fits = if lines.len() <= rows { lines.len() } else { rows.saturating_sub(1) };
    let mut drawn = "\u{1b}[H".to_owned();
    for line in lines.iter().take(fits) {
        if !drawn.ends_with("[H") {
            drawn.push_str("\r\n");
        }
        drawn.push_str(&cut(line, columns));
        drawn.push_str("\u{1b}[K");
    }
    if fits < lines.len() {
        drawn.push_str(&format!("\r\n… {} more lines\u{1b}[K", lines.len() - fits));
    }
    // No newline at the end, which would move everything up by a line.
    drawn.push_str("\u{1b}[J");
    drawn
}

/// The first `columns` characters of a line; colours take no place.
fn cut(line: &str, columns: usize) -> String {
    let mut cut = String::new();
    let mut place = 0;
    let mut in_colour = false;
    for c in line.chars() {
        match c {
            '\u{1b}' => in_colour = true,
            'm' if in_colour => {
                in_colour = false;
                cut.push(c);
                continue;
            }
            _ => {}
        }
        if !in_colour {
            place += 1;
        }
        if in_colour || place <= columns {
            cut.push(c);
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_to_the_width_and_colours_end() {
        assert_eq!(cut("short", 10), "short");
        assert_eq!(cut("0123456789abc", 10), "0123456789");
        assert_eq!(cut("\u{1b}[31mred and more\u{1b}[0m", 3), "\u{1b}[31mred\u{1b}[0m");
        assert_eq!(cut("ümläut", 3), "üml");
    }

    #[test]
    fn what_is_drawn_fits_and_leaves_nothing_of_the_one_before() {
        let drawn = |text: &str, rows| drawn(text, 4, rows).replace('\u{1b}', "~");
        assert_eq!(drawn("one\ntwo three\n", 5), "~[Hone~[K\r\ntwo ~[K~[J");
        assert_eq!(drawn("1\n2\n3\n4\n", 4), "~[H1~[K\r\n2~[K\r\n3~[K\r\n4~[K~[J");
        assert_eq!(drawn("1\n2\n3\n4\n", 3), "~[H1~[K\r\n2~[K\r\n… 2 more lines~[K~[J");
    }
}
