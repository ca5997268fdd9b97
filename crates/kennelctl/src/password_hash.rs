//! `kennelctl password-hash`: a password in, the line that configuration keeps of it out.
//!
//! The password comes from standard input and is neither shown nor kept. Works anywhere, also where no
//! Kennel is.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use kennel_core::config::PasswordHash;
use rustix::rand::{GetRandomFlags, getrandom};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::say;

/// KiB, passes and lanes: what OWASP calls the least, so that a router on a small host has memory
/// left. Some ten milliseconds each.
const COSTS: (u32, u32, u32) = (19 * 1024, 2, 1);
/// Longer ones the router does not take.
const LONGEST: usize = 1024;

/// Reads a password and prints its hash.
pub(crate) fn run(host: &Host) -> Result<Exit, Failure> {
    let password = if io::stdin().is_terminal() { typed()? } else { piped()? };
    if password.is_empty() || password.len() > LONGEST {
        return Err(Failure::BadPassword(say::bad_password(LONGEST)));
    }
    let mut salt = [0_u8; 16];
    // So few bytes come whole (getrandom(2)).
    getrandom(&mut salt, GetRandomFlags::empty())
        .map_err(|error| Failure::Input(io::Error::from(error)))?;
    let hash =
        hash(&password, &salt).ok_or_else(|| Failure::BadPassword(say::bad_password(LONGEST)))?;
    host.terminal.line(hash.as_str())?;
    Ok(Exit::Done)
}

/// None only if there is not enough memory for it.
fn hash(password: &[u8], salt: &[u8]) -> Option<PasswordHash> {
    let (memory, passes, lanes) = COSTS;
    let params = Params::new(memory, passes, lanes, Some(32)).ok()?;
    let mut hash = [0; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut hash)
        .ok()?;
    let [salt, hash] = [salt, &hash].map(|bytes| BASE64_STANDARD_NO_PAD.encode(bytes));
    format!("$argon2id$v=19$m={memory},t={passes},p={lanes}${salt}${hash}").parse().ok()
}

/// Without the line's end, which `echo` adds and nobody means.
fn piped() -> Result<Vec<u8>, Failure> {
    let mut password = Vec::new();
    let limit = u64::try_from(LONGEST + 3).unwrap_or(u64::MAX);
    io::stdin().lock().take(limit).read_to_end(&mut password).map_err(Failure::Input)?;
    Ok(without_end(password))
}

fn typed() -> Result<Vec<u8>, Failure> {
    let _quiet = Quiet::begin();
    let ask = |prompt: &str| -> Result<Vec<u8>, Failure> {
        let mut out = io::stderr().lock();
        write!(out, "{prompt}").and_then(|()| out.flush()).map_err(Failure::Input)?;
        let mut line = Vec::new();
        io::stdin().lock().read_until(b'\n', &mut line).map_err(Failure::Input)?;
        writeln!(out).map_err(Failure::Input)?;
        Ok(without_end(line))
    };
    let (first, second) = (ask("Password: ")?, ask("Once more: ")?);
    if first == second { Ok(first) } else { Err(Failure::BadPassword(say::passwords_differ())) }
}

fn without_end(mut line: Vec<u8>) -> Vec<u8> {
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    line
}

/// The terminal without echo, until this is dropped.
struct Quiet(Option<Termios>);

impl Quiet {
    fn begin() -> Self {
        let before = tcgetattr(io::stdin()).ok();
        if let Some(mut without_echo) = before.clone() {
            without_echo.local_modes.remove(LocalModes::ECHO);
            // A terminal that cannot do so shows what is typed, and is no reason to ask nothing.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &without_echo);
        }
        Self(before)
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_one_that_configuration_takes() {
        let hash = hash(b"correct horse", b"sixteen bytes ok").unwrap();
        insta::assert_snapshot!(hash.as_str().rsplit_once('$').unwrap().0, @"$argon2id$v=19$m=19456,t=2,p=1$c2l4dGVlbiBieXRlcyBvaw");
    }

    #[test]
    fn the_end_of_a_line_is_no_part_of_a_password() {
        for (line, password) in
            [("a\n", "a"), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n"), (" a ", " a "), ("\n", "")]
        {
            assert_eq!(without_end(line.into()), password.as_bytes(), "{line:?}");
        }
    }
}
