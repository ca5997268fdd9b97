//! Sealing: systemd's own encryption of credentials, systemd-creds(1).
//!
//! Asked for over Varlink (varlink.org: JSON, NUL, JSON, NUL on a Unix socket) and not by running
//! `systemd-creds`: no value stands in an argument or passes a pipe of ours, and systemd reaches the
//! host's key and the TPM, which our sandboxes do not. What it makes is what `systemd-creds encrypt`
//! makes: `systemd-creds decrypt` and `LoadCredentialEncrypted=` open it.
//!
//! Nothing here shows a value, and no error holds one.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// A TPM takes seconds, and several ask it one after the other.
const PATIENCE: Duration = Duration::from_secs(60);

/// Far more than a sealed secret, or one opened, has.
const LONGEST_REPLY: u64 = 4 * 1024 * 1024;

/// systemd's credential service, for as long as it is asked.
#[derive(Debug)]
pub struct Sealer {
    stream: BufReader<UnixStream>,
}

/// Why nothing was sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Nobody listens.
    #[error(
        "cannot reach {}; sealed secrets need systemd 256 or newer, and `systemctl start systemd-creds.socket`",
        .path.display()
    )]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It did not answer.
    #[error("systemd's credential service did not answer; see `journalctl -t systemd-creds`")]
    Silent(#[source] io::Error),
    /// It answered something else.
    #[error("systemd's credential service answered what nobody understands")]
    Garbled,
    /// What is sealed has another name.
    #[error("it was sealed for another place: its file was moved, copied or renamed")]
    OtherName,
    /// It is damaged, or another host's.
    #[error(
        "systemd does not open it ({0}): it is damaged, or was sealed with the key of another host"
    )]
    Refused(String),
    /// Sealing failed.
    #[error("systemd does not seal it ({0})")]
    NotSealed(String),
}

impl Sealer {
    /// Connects. systemd starts a process for each connection and hears 16 of a user's at once.
    ///
    /// # Errors
    /// [`SealError::Unreachable`]
    pub fn connect(socket: &Path) -> Result<Self, SealError> {
        let connected = UnixStream::connect(socket).and_then(|stream| {
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(Self { stream: BufReader::new(stream) })
        });
        connected.map_err(|source| SealError::Unreachable { path: socket.to_owned(), source })
    }

    /// Seals a value with the host's key, and with the TPM where there is one, so that it opens
    /// under this name only. What comes is one line of Base64.
    ///
    /// # Errors
    /// Any [`SealError`] but those of opening.
    pub fn seal(&mut self, name: &str, value: &[u8]) -> Result<String, SealError> {
        let parameters = json!({ "name": name, "data": STANDARD.encode(value) });
        let answer = self.call("io.systemd.Credentials.Encrypt", &parameters)?;
        let answer = answer.map_err(SealError::NotSealed)?;
        text(&answer, "blob").map(str::to_owned)
    }

    /// Opens what was sealed under this name.
    ///
    /// # Errors
    /// Any [`SealError`].
    pub fn open(&mut self, name: &str, sealed: &str) -> Result<Vec<u8>, SealError> {
        // `systemd-creds` breaks its lines.
        let blob: String = sealed.split_ascii_whitespace().collect();
        let parameters = json!({ "name": name, "blob": blob });
        let answer = match self.call("io.systemd.Credentials.Decrypt", &parameters)? {
            Ok(answer) => answer,
            Err(error) if error == "io.systemd.Credentials.NameMismatch" => {
                return Err(SealError::OtherName);
            }
            Err(error) => return Err(SealError::Refused(error)),
        };
        STANDARD.decode(text(&answer, "data")?).map_err(|_| SealError::Garbled)
    }

    /// The answer's parameters, or the name of its error.
    fn call(
        &mut self,
        method: &str,
        parameters: &Value,
    ) -> Result<Result<Value, String>, SealError> {
        let mut call = json!({ "method": method, "parameters": parameters }).to_string();
        call.push('\0');
        let mut reply = Vec::new();
        self.stream
            .get_mut()
            .write_all(call.as_bytes())
            .and_then(|()| (&mut self.stream).take(LONGEST_REPLY).read_until(0, &mut reply))
            .map_err(SealError::Silent)?;
        if reply.pop() != Some(0) {
            return Err(SealError::Silent(io::ErrorKind::UnexpectedEof.into()));
        }
        // serde's errors quote what they do not understand.
        let mut reply: Value = serde_json::from_slice(&reply).map_err(|_| SealError::Garbled)?;
        if let Some(error) = reply.get("error") {
            let name = error.as_str().unwrap_or_default();
            // Of the kernel, such as ENOKEY, by way of `io.systemd.System`.
            let errno = reply.pointer("/parameters/errnoName").and_then(Value::as_str);
            return Ok(Err(errno.unwrap_or(name).to_owned()));
        }
        Ok(Ok(reply.get_mut("parameters").map(Value::take).unwrap_or_default()))
    }
}

fn text<'a>(answer: &'a Value, key: &str) -> Result<&'a str, SealError> {
    answer.get(key).and_then(Value::as_str).ok_or(SealError::Garbled)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    /// A service that gives these answers, one a call, and returns what it was asked.
    fn asked(answers: &'static [&'static str], ask: impl FnOnce(&mut Sealer)) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let service = std::thread::spawn(move || {
            let mut stream = BufReader::new(listener.accept().unwrap().0);
            let mut calls = Vec::new();
            for answer in answers {
                let mut call = Vec::new();
                stream.read_until(0, &mut call).unwrap();
                assert_eq!(call.pop(), Some(0));
                calls.push(String::from_utf8(call).unwrap());
                stream.get_mut().write_all(answer.as_bytes()).unwrap();
            }
            calls
        });
        ask(&mut Sealer::connect(&path).unwrap());
        service.join().unwrap()
    }

    #[test]
    fn it_asks_as_systemd_wants_to_be_asked() {
        let answers = &[
            "{\"parameters\":{\"blob\":\"c2VhbGVk\"}}\0",
            "{\"parameters\":{\"data\":\"aHVudGVyMg==\"}}\0",
        ];
        let calls = asked(answers, |sealer| {
            assert_eq!(sealer.seal("kennel.shop.both.A", b"hunter2").unwrap(), "c2VhbGVk");
            assert_eq!(sealer.open("kennel.shop.both.A", "c2Vh\nbGVk\n").unwrap(), b"hunter2");
        });
        insta::assert_snapshot!(calls.join("\n"), @r#"
        {"method":"io.systemd.Credentials.Encrypt","parameters":{"data":"aHVudGVyMg==","name":"kennel.shop.both.A"}}
        {"method":"io.systemd.Credentials.Decrypt","parameters":{"blob":"c2VhbGVk","name":"kennel.shop.both.A"}}
        "#);
    }

    #[test]
    fn refusals_say_why_and_show_nothing() {
        let answers = &[
            "{\"error\":\"io.systemd.Credentials.NameMismatch\",\"parameters\":{}}\0",
            "{\"error\":\"io.systemd.Credentials.BadFormat\"}\0",
            "{\"error\":\"io.systemd.System\",\"parameters\":{\"errno\":126,\"errnoName\":\"ENOKEY\"}}\0",
            "{\"error\":\"io.systemd.System\",\"parameters\":{\"errno\":28,\"errnoName\":\"ENOSPC\"}}\0",
            "{\"parameters\":{\"data\":\"hunter2!\"}}\0",
            "hunter2\0",
            "{\"parameters\":",
        ];
        asked(answers, |sealer| {
            let open = |sealer: &mut Sealer| {
                kennel_core::error_chain(&sealer.open("a", "c2VhbGVk").unwrap_err())
            };
            insta::assert_snapshot!(open(sealer), @"it was sealed for another place: its file was moved, copied or renamed");
            insta::assert_snapshot!(open(sealer), @"systemd does not open it (io.systemd.Credentials.BadFormat): it is damaged, or was sealed with the key of another host");
            insta::assert_snapshot!(open(sealer), @"systemd does not open it (ENOKEY): it is damaged, or was sealed with the key of another host");
            insta::assert_snapshot!(kennel_core::error_chain(&sealer.seal("a", b"hunter2").unwrap_err()), @"systemd does not seal it (ENOSPC)");
            insta::assert_snapshot!(open(sealer), @"systemd's credential service answered what nobody understands");
            insta::assert_snapshot!(open(sealer), @"systemd's credential service answered what nobody understands");
            insta::assert_snapshot!(open(sealer), @"systemd's credential service did not answer; see `journalctl -t systemd-creds`: unexpected end of file");
        });
    }

    #[test]
    fn an_older_systemd_has_no_such_service() {
        let error = Sealer::connect(Path::new("/nonexistent/socket")).unwrap_err();
        insta::assert_snapshot!(error, @"cannot reach /nonexistent/socket; sealed secrets need systemd 256 or newer, and `systemctl start systemd-creds.socket`");
    }
}
