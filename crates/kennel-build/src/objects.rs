//! Objects of a mirror, handed out one after the other by one git (git-cat-file(1), `--batch`).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// A git that waits to be asked, until it is dropped.
#[derive(Debug)]
pub(crate) struct Objects {
    git: Child,
    ask: ChildStdin,
    answers: BufReader<ChildStdout>,
}

/// What it has of a name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Object {
    /// Nothing.
    Missing,
    /// More bytes than were wanted.
    TooLarge(u64),
    /// All bytes.
    Whole(Vec<u8>),
}

impl Objects {
    /// `git` is the command up to its subcommand.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn open(mut git: Command) -> io::Result<Self> {
        git.args(["cat-file", "--batch"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut git = git.spawn()?;
        let (ask, answers) = (git.stdin.take(), git.stdout.take());
        let (Some(ask), Some(answers)) = (ask, answers) else {
            return Err(io::Error::other("git was started without its pipes"));
        };
        Ok(Self { git, ask, answers: BufReader::new(answers) })
    }

    /// Reads an object of at most `most` bytes. Nothing more can be read after one that is larger.
    ///
    /// # Errors
    /// In git's words, if it has ended.
    pub(crate) fn read(&mut self, name: &str, most: u64) -> io::Result<Object> {
        self.exchange(name, most).map_err(|error| match self.last_words() {
            Some(words) => io::Error::other(words),
            None => error,
        })
    }

    fn exchange(&mut self, name: &str, most: u64) -> io::Result<Object> {
        self.ask.write_all(format!("{name}\n").as_bytes())?;
        let mut head = String::new();
        self.answers.read_line(&mut head)?;
        // `<object> <type> <size>`, or `<name> missing`.
        let mut words = head.split_ascii_whitespace().skip(1);
        let size = match (words.next(), words.next().map(str::parse)) {
            (Some("missing"), None) => return Ok(Object::Missing),
            (Some(_kind), Some(Ok(size))) => size,
            _ => return Err(io::Error::other(format!("git answered {head:?}"))),
        };
        if size > most {
            return Ok(Object::TooLarge(size));
        }
        let mut bytes = Vec::new();
        (&mut self.answers).take(size).read_to_end(&mut bytes)?;
        let mut end = [0];
        self.answers.read_exact(&mut end)?;
        Ok(Object::Whole(bytes))
    }

    /// What it said before it ended.
    fn last_words(&mut self) -> Option<String> {
        self.git.kill().ok()?;
        let mut words = String::new();
        self.git.stderr.take()?.take(4 << 10).read_to_string(&mut words).ok()?;
        let words = words.trim();
        (!words.is_empty()).then(|| words.to_owned())
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // Ended already, or of no use any more.
        let _ended = self.git.kill();
        let _status = self.git.wait();
    }
}
