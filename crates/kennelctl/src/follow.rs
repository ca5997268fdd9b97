//! Following a build: its logs as they grow, until its row says that it has ended.
//!
//! Polls instead of watching files: logs appear, grow and, when a build is interrupted and begins
//! again, shrink, and the row decides when it is over.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kennel_core::{BuildId, BuildState};
use kennel_store::Builds;

use crate::failure::Failure;
use crate::host::{Host, unreadable};
use crate::say;
use crate::terminal::{Colour, printable};

/// Short enough to seem live, long enough to cost nothing.
const PAUSE: Duration = Duration::from_millis(200);

/// A line longer than this is printed in pieces.
const LONGEST_LINE: usize = 64 * 1024;

/// Waits until the build has ended; prints its logs on the way if `aloud`. `pause` waits that long,
/// and its failure ends the wait.
pub(crate) fn follow(
    host: &Host,
    builds: &Builds,
    id: BuildId,
    aloud: bool,
    pause: &mut dyn FnMut(Duration) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut tail = Tail::new(host.layout.logs(id));
    let mut last = None;
    loop {
        // The row before the logs: what was written before the end is then read as well.
        let state = builds.get(id)?.ok_or(Failure::NoBuild(id))?.state;
        if aloud {
            if let Some(sentence) = turn(id, last, state) {
                host.terminal.aside(&sentence);
            }
            tail.read(state.is_final(), &mut |name, line| {
                let name = host.terminal.paint(Colour::Faint, &format!("{name} |"));
                host.terminal.line(&format!("{name} {}", printable(line)))
            })?;
        }
        if state.is_final() {
            return Ok(());
        }
        last = Some(state);
        pause(PAUSE)?;
    }
}

/// What to say when the state has changed.
fn turn(id: BuildId, from: Option<BuildState>, to: BuildState) -> Option<String> {
    match (from, to) {
        (Some(from), to) if from == to => None,
        (Some(BuildState::Building), BuildState::Queued) => Some(say::build_waits_again(id)),
        (_, BuildState::WaitingForApproval) => Some(say::build_awaits_approval(id)),
        (_, BuildState::Queued) => Some(say::build_waits(id)),
        (_, BuildState::Building) => Some(say::build_runs(id)),
        // The summary that follows says it.
        (
            _,
            BuildState::Succeeded
            | BuildState::Partial
            | BuildState::Failed
            | BuildState::Cancelled
            | BuildState::Superseded,
        ) => None,
    }
}

/// The log files of one build, each read to a place.
struct Tail {
    directory: PathBuf,
    places: BTreeMap<PathBuf, Place>,
}

#[derive(Default)]
struct Place {
    offset: u64,
    /// The beginning of a line whose end is not written yet.
    partial: Vec<u8>,
}

impl Tail {
    fn new(directory: PathBuf) -> Self {
        Self { directory, places: BTreeMap::new() }
    }

    /// Hands every new line with its log's name to `print`; with `to_the_end` also a last line
    /// without an end.
    fn read(
        &mut self,
        to_the_end: bool,
        print: &mut dyn FnMut(&str, &str) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            // Before the build begins.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(unreadable(&self.directory, source)),
        };
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                self.places.entry(path).or_default();
            }
        }
        for (path, place) in &mut self.places {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            place
                .read(path, &mut |line| print(&name, line))
                .map_err(|source| unreadable(path, source))??;
            if to_the_end && !place.partial.is_empty() {
                print(&name, &String::from_utf8_lossy(&place.partial))?;
                place.partial.clear();
            }
        }
        Ok(())
    }
}

impl Place {
    fn read(
        &mut self,
        path: &Path,
        print: &mut dyn FnMut(&str) -> Result<(), Failure>,
    ) -> io::Result<Result<(), Failure>> {
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ok(())),
            Err(error) => return Err(error),
        };
        if file.metadata()?.len() < self.offset {
            // An interrupted build begins again with an empty log.
            *self = Self::default();
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut chunk = vec![0; 64 * 1024];
        loop {
            let length = file.read(&mut chunk)?;
            let Some(read) = chunk.get(..length).filter(|read| !read.is_empty()) else {
                return Ok(Ok(()));
            };
            self.offset += length as u64;
            for piece in read.split_inclusive(|byte| *byte == b'\n') {
                self.partial.extend_from_slice(piece);
                if self.partial.ends_with(b"\n") || self.partial.len() > LONGEST_LINE {
                    let line = String::from_utf8_lossy(self.partial.trim_ascii_end()).into_owned();
                    self.partial.clear();
                    if let Err(failure) = print(&line) {
                        return Ok(Err(failure));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write;

    use super::*;

    fn lines(tail: &mut Tail, to_the_end: bool) -> Vec<String> {
        let mut lines = Vec::new();
        tail.read(to_the_end, &mut |name, line| {
            lines.push(format!("{name}: {line}"));
            Ok(())
        })
        .unwrap();
        lines
    }

    #[test]
    fn logs_appear_grow_and_end_without_a_newline() {
        let dir = tempfile::tempdir().unwrap();
        let mut tail = Tail::new(dir.path().join("42"));
        assert!(lines(&mut tail, false).is_empty());
        fs::create_dir(dir.path().join("42")).unwrap();
        let api = dir.path().join("42/api.log");
        fs::write(&api, "one\ntw").unwrap();
        fs::write(dir.path().join("42/other.txt"), "no log\n").unwrap();
        assert_eq!(lines(&mut tail, false), ["api: one"]);
        assert!(lines(&mut tail, false).is_empty());
        let mut file = OpenOptions::new().append(true).open(&api).unwrap();
        file.write_all("o\nthree\r\nla\u{fc}".as_bytes()).unwrap();
        fs::write(dir.path().join("42/build.log"), "fetched\n").unwrap();
        assert_eq!(lines(&mut tail, false), ["api: two", "api: three", "build: fetched"]);
        assert_eq!(lines(&mut tail, true), ["api: la\u{fc}"]);
        assert!(lines(&mut tail, true).is_empty());
    }

    #[test]
    fn a_log_that_begins_again_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("api.log");
        let mut tail = Tail::new(dir.path().into());
        fs::write(&log, "first run, long\nhalf a li").unwrap();
        assert_eq!(lines(&mut tail, false), ["api: first run, long"]);
        fs::write(&log, "second\n").unwrap();
        assert_eq!(lines(&mut tail, false), ["api: second"]);
    }

    #[test]
    fn bytes_that_are_no_text_and_lines_without_end_are_printed() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("api.log");
        let mut tail = Tail::new(dir.path().into());
        fs::write(&log, [b"\xff\n".to_vec(), vec![b'x'; 200_000]].concat()).unwrap();
        let lines = lines(&mut tail, true);
        assert_eq!(lines[0], "api: \u{fffd}");
        let xs: usize = lines.iter().map(|line| line.matches('x').count()).sum();
        assert_eq!(xs, 200_000);
    }

    #[test]
    fn states_are_told_once() {
        let id = BuildId::from_row(42);
        let turns = [
            (None, BuildState::WaitingForApproval),
            (None, BuildState::Queued),
            (Some(BuildState::Queued), BuildState::Queued),
            (Some(BuildState::Queued), BuildState::Building),
            (Some(BuildState::Building), BuildState::Queued),
            (None, BuildState::Failed),
        ];
        let told: Vec<_> = turns.iter().filter_map(|(from, to)| turn(id, *from, *to)).collect();
        insta::assert_snapshot!(told.join("\n"), @"
        Build 42 waits for approval; see `kennelctl build 42`.
        Build 42 waits for its turn.
        Build 42 runs.
        Build 42 was interrupted and waits for its turn again.
        ");
    }
}
