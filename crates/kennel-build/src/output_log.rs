//! One log file of a build, written as it comes and never larger than its limit: the beginning and
//! the end of what was printed, and how much is left out between them.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tracing::warn;

use crate::plain_text::PlainText;
use crate::say;

/// What a log may have, in bytes.
#[derive(Debug, Clone, Copy)]
struct Size {
    /// The beginning, which is never left out.
    head: u64,
    /// The least of the end, which is never left out either.
    tail: u64,
    /// The whole file. The more room there is beyond head and tail, the more rarely it is moved.
    whole: u64,
}

/// 16 MiB, of which the first 4 and the last 4 always stay: more than that nobody reads, and 64
/// outputs of it still fit on a disk. docs/limits.md says so too.
const SIZE: Size = Size { head: 4 << 20, tail: 4 << 20, whole: 16 << 20 };

/// The lines kept for the reason of a failure.
const KEPT_LINES: usize = 500;

/// The most characters of each of them.
const KEPT_CHARS: usize = 1000;

/// A builder that prints a line at a time would be read, and written, a line at a time. Who
/// follows the log does not see so short a wait, and the pipe has room for what comes meanwhile.
const GATHER: Duration = Duration::from_millis(1);

/// A log file, open.
#[derive(Debug)]
pub(crate) struct OutputLog {
    path: PathBuf,
    /// None once writing has failed: a build goes on without its log.
    file: Option<File>,
    size: Size,
    length: u64,
    left_out: LeftOut,
    kept: VecDeque<String>,
}

/// What is missing between the beginning and the end.
#[derive(Debug, Default, Clone, Copy)]
struct LeftOut {
    bytes: u64,
    lines: u64,
    /// Where the end begins, behind the line that says so; 0 while nothing is missing.
    until: u64,
}

impl OutputLog {
    /// Opens a log, behind what an interrupted run of the build may have written.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::with_size(path, SIZE)
    }

    fn with_size(path: &Path, size: Size) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).mode(0o640);
        let mut file = file.open(path)?;
        let length = file.seek(SeekFrom::End(0))?;
        let mut log = Self {
            path: path.into(),
            file: Some(file),
            size,
            length,
            left_out: LeftOut::default(),
            kept: VecDeque::new(),
        };
        if length > 0 {
            log.say(say::log_continues());
        }
        Ok(log)
    }

    /// Writes what comes out of `source` until it ends.
    ///
    /// # Errors
    /// `source` cannot be read. A log that cannot be written is no error.
    pub(crate) fn follow(&mut self, mut source: impl Read) -> io::Result<()> {
        let mut text = PlainText::default();
        let mut piece = vec![0; 64 << 10];
        let mut lines = String::new();
        loop {
            let length = match source.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            text.take(piece.get(..length).unwrap_or_default(), |line| self.keep(line, &mut lines));
            self.write(&lines);
            lines.clear();
            if length < piece.len() {
                thread::sleep(GATHER);
            }
        }
        text.finish(|line| self.keep(line, &mut lines));
        self.write(&lines);
        Ok(())
    }

    /// Writes lines of Kennel's own.
    pub(crate) fn say(&mut self, text: &str) {
        self.write(&format!("{text}\n"));
    }

    /// The last lines that came, oldest first.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &str> {
        self.kept.iter().map(String::as_str)
    }

    /// What came so far is no reason for what fails from now on.
    pub(crate) fn forget_kept(&mut self) {
        self.kept.clear();
    }

    fn keep(&mut self, line: &str, lines: &mut String) {
        lines.push_str(line);
        lines.push('\n');
        // The oldest one's memory is used again: there may be millions.
        let mut kept = match self.kept.pop_front() {
            Some(oldest) if self.kept.len() + 1 == KEPT_LINES => oldest,
            Some(oldest) => {
                self.kept.push_front(oldest);
                String::new()
            }
            None => String::new(),
        };
        kept.clear();
        kept.extend(line.chars().take(KEPT_CHARS));
        self.kept.push_back(kept);
    }

    fn write(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let written = self.append(text.as_bytes());
        if let Err(error) = written {
            warn!(
                "writing {}: {error}, ignoring: the build goes on without it",
                self.path.display()
            );
            self.file = None;
        }
    }

    fn append(&mut self, text: &[u8]) -> io::Result<()> {
        if self.length + text.len() as u64 > self.size.whole {
            self.leave_out_the_middle()?;
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        self.length += text.len() as u64;
        file.write_all(text)
    }

    /// Moves the end to behind the beginning. The file is at every moment whole lines, and one
    /// that is read meanwhile has at worst a piece of them twice.
    fn leave_out_the_middle(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let from = match self.left_out.until {
            0 => line_end(file, self.size.head.min(self.length))?,
            until => until,
        };
        let to = line_end(file, self.length.saturating_sub(self.size.tail).max(from))?;
        let head = match self.left_out.until {
            0 => from,
            until => until - say::log_leaves_out(0, 0).len() as u64,
        };
        self.left_out.bytes += to - from;
        self.left_out.lines += lines_between(file, from, to)?;
        let said = say::log_leaves_out(self.left_out.lines, self.left_out.bytes);
        let mut tail = vec![0; usize::try_from(self.length - to).unwrap_or_default()];
        file.read_exact_at(&mut tail, to)?;
        file.write_all_at(said.as_bytes(), head)?;
        self.left_out.until = head + said.len() as u64;
        file.write_all_at(&tail, self.left_out.until)?;
        self.length = self.left_out.until + tail.len() as u64;
        file.set_len(self.length)?;
        file.seek(SeekFrom::Start(self.length))?;
        Ok(())
    }
}

/// Behind the end of the line in which `at` is; the file's end if that line has none.
fn line_end(file: &File, at: u64) -> io::Result<u64> {
    let mut at = at.saturating_sub(1);
    let mut piece = vec![0; 32 << 10];
    loop {
        let length = file.read_at(&mut piece, at)?;
        let read = piece.get(..length).unwrap_or_default();
        match read.iter().position(|byte| *byte == b'\n') {
            Some(end) => return Ok(at + end as u64 + 1),
            None if read.is_empty() => return Ok(at),
            None => at += length as u64,
        }
    }
}

fn lines_between(file: &File, from: u64, to: u64) -> io::Result<u64> {
    let mut reader = file;
    reader.seek(SeekFrom::Start(from))?;
    let mut piece = vec![0; 64 << 10];
    let (mut left, mut lines) = (to - from, 0);
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
        let length = reader.read(piece.get_mut(..most).unwrap_or_default())?;
        if length == 0 {
            break;
        }
        let read = piece.get(..length).unwrap_or_default();
        lines += read.iter().filter(|byte| **byte == b'\n').count() as u64;
        left -= length as u64;
    }
    Ok(lines)
}

/// The last lines of a log file, oldest first; none if it cannot be read.
pub(crate) fn last_lines(path: &Path, most: usize) -> Vec<String> {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(8 << 10)))?;
        let mut bytes = Vec::new();
        file.take(8 << 10).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    // Whoever asks has a failure to report already, and says it without its log then.
    let text = read().unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(most);
    lines.into_iter().skip(skipped).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Drops<'a>(&'a [u8]);

    impl Read for Drops<'_> {
        fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut piece[..29])
        }
    }

    const SMALL: Size = Size { head: 20, tail: 20, whole: 160 };

    #[test]
    fn a_long_log_has_its_beginning_and_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.log");
        let mut log = OutputLog::with_size(&path, SMALL).unwrap();
        let all: String = (1..=300).map(|number| format!("line {number}\n")).collect();
        log.follow(Drops(all.as_bytes())).unwrap();
        log.say("the end");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 160, "{}: {text}", text.len());
        let (head, tail) = text.split_once("[kennel]").unwrap();
        assert_eq!(head, "line 1\nline 2\nline 3\n");
        let (said, tail) = tail.split_once('\n').unwrap();
        assert!(tail.ends_with("line 300\nthe end\n"), "{tail}");
        // What is there and what is said to be missing is all that came.
        let missing: usize = said.split_whitespace().next().unwrap().parse().unwrap();
        assert_eq!(missing + head.lines().count() + tail.lines().count(), 301, "{text}");
        assert_eq!(log.kept().last(), Some("line 300"));
        assert_eq!(last_lines(&path, 1), ["the end"]);
        assert!(last_lines(&dir.path().join("none"), 1).is_empty());
    }

    #[test]
    fn a_line_longer_than_the_log_keeps_it_within_its_size() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.log");
        let size = Size { head: 40 << 10, tail: 40 << 10, whole: 200 << 10 };
        let mut log = OutputLog::with_size(&path, size).unwrap();
        log.follow(io::repeat(b'x').take(3 << 20)).unwrap();
        log.say("the end");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 200 << 10, "{}", text.len());
        assert!(text.starts_with("xxx") && text.ends_with("x\nthe end\n"));
        assert!(text.contains("[kennel] "), "nothing says that something is missing");
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = OutputLog::open(&dir.path().join("api.log")).unwrap();
        let all: String = (1..=2 * KEPT_LINES).map(|number| format!("{number}\n")).collect();
        log.follow(all.as_bytes()).unwrap();
        assert_eq!(log.kept().count(), KEPT_LINES);
        assert_eq!(log.kept().next(), Some("501"));
        assert_eq!(log.kept().last(), Some("1000"));
    }

    #[test]
    fn a_second_run_appends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.log");
        OutputLog::open(&path).unwrap().say("first");
        OutputLog::open(&path).unwrap().say("second");
        assert_eq!(last_lines(&path, 9), ["first", say::log_continues(), "second"]);
    }
}
