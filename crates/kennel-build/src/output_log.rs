//! One log file of a build, written as it comes and never larger than its limit.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::plain_text::PlainText;
use crate::say;

/// The largest log. More than that nobody reads, and 64 outputs of it still fit on a disk.
pub(crate) const LARGEST: u64 = 64 << 20;

/// The lines kept for the reason of a failure.
const KEPT_LINES: usize = 500;

/// A log file, open.
#[derive(Debug)]
pub(crate) struct OutputLog {
    path: PathBuf,
    /// None once writing has failed: a build goes on without its log.
    file: Option<File>,
    room: u64,
    kept: VecDeque<String>,
}

impl OutputLog {
    /// Opens a log, behind what an interrupted run of the build may have written.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Self::with_limit(path, LARGEST)
    }

    fn with_limit(path: &Path, limit: u64) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path)?;
        let length = file.metadata()?.len();
        let room = limit.saturating_sub(length);
        let mut log = Self { path: path.into(), file: Some(file), room, kept: VecDeque::new() };
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
        loop {
            let length = match source.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut lines = String::new();
            text.take(piece.get(..length).unwrap_or_default(), |line| self.keep(line, &mut lines));
            self.write(&lines);
        }
        let mut lines = String::new();
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

    fn keep(&mut self, line: &str, lines: &mut String) {
        if self.kept.len() == KEPT_LINES {
            self.kept.pop_front();
        }
        self.kept.push_back(line.chars().take(1000).collect());
        lines.push_str(line);
        lines.push('\n');
    }

    fn write(&mut self, text: &str) {
        let Some(file) = &mut self.file else { return };
        if self.room == 0 || text.is_empty() {
            return;
        }
        let length = text.len() as u64;
        let written = if length <= self.room {
            self.room -= length;
            file.write_all(text.as_bytes())
        } else {
            self.room = 0;
            file.write_all(say::log_is_cut().as_bytes())
        };
        if let Err(error) = written {
            warn!(
                "writing {}: {error}, ignoring: the build goes on without it",
                self.path.display()
            );
            self.file = None;
        }
    }
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

    #[test]
    fn a_log_is_cut_once_and_its_last_lines_are_kept_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.log");
        let mut log = OutputLog::with_limit(&path, 20).unwrap();
        log.follow(&b"one\ntwo\n"[..]).unwrap();
        log.follow(&b"three three three\n"[..]).unwrap();
        log.follow(&b"four\n"[..]).unwrap();
        insta::assert_snapshot!(std::fs::read_to_string(&path).unwrap(), @"
        one
        two
        [kennel] the log is cut here: it has 64 MiB
        ");
        assert_eq!(log.kept().collect::<Vec<_>>(), ["one", "two", "three three three", "four"]);
        assert_eq!(last_lines(&path, 1), ["[kennel] the log is cut here: it has 64 MiB"]);
        assert!(last_lines(&dir.path().join("none"), 1).is_empty());
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
