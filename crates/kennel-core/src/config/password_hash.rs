//! What is kept of a password: its hash by Argon2id, as one line.
//!
//! Apart from the other names because a refused one is never repeated: it may be the password itself,
//! which somebody took for what belongs here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `$argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<hash>`, the salt and the hash in Base64
/// without padding (the PHC string format; RFC 9106).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

/// Why it is no such hash. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the Argon2id hash of a password: {0}")]
pub struct NoPasswordHash(&'static str);

/// The parts of a hash. Salt and hash are still Base64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashParts<'a> {
    /// How much memory one attempt takes, in KiB.
    pub memory: u32,
    /// How often it is gone through.
    pub passes: u32,
    /// In how many lanes.
    pub lanes: u32,
    /// The salt.
    pub salt: &'a str,
    /// The hash itself.
    pub hash: &'a str,
}

impl PasswordHash {
    /// The most memory of one attempt: 256 MiB. The router makes one at a time.
    pub const MOST_MEMORY: u32 = 256 * 1024;
    /// The most work of one attempt, as KiB times passes: about two seconds of a processor.
    const MOST_WORK: u64 = 1024 * 1024;
    /// Below this a hash that somebody has read is soon a password.
    const LEAST_MEMORY: u32 = 1024;

    /// The line.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What it says.
    ///
    /// # Errors
    /// Never for one that was parsed.
    pub fn parts(&self) -> Result<HashParts<'_>, NoPasswordHash> {
        parts(&self.0)
    }
}

fn parts(text: &str) -> Result<HashParts<'_>, NoPasswordHash> {
    let Some(rest) = text.strip_prefix("$argon2id$") else {
        return Err(NoPasswordHash("it does not begin with `$argon2id$`"));
    };
    let Some(rest) = rest.strip_prefix("v=19$") else {
        return Err(NoPasswordHash("it is not of version 19"));
    };
    let mut fields = rest.split('$');
    let (Some(costs), Some(salt), Some(hash), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return Err(NoPasswordHash("it has not the parts costs, salt and hash, each after a `$`"));
    };
    let mut costs = costs.split(',');
    let mut cost = |name: &str| {
        let number = costs.next()?.strip_prefix(name)?;
        let is_number = number.bytes().all(|b| b.is_ascii_digit());
        number.parse::<u32>().ok().filter(|_| is_number)
    };
    let (Some(memory), Some(passes), Some(lanes), None) =
        (cost("m="), cost("t="), cost("p="), costs.next())
    else {
        return Err(NoPasswordHash("its costs are not `m=…,t=…,p=…`"));
    };
    if !(PasswordHash::LEAST_MEMORY..=PasswordHash::MOST_MEMORY).contains(&memory) {
        return Err(NoPasswordHash("its memory is not 1024 to 262144 KiB"));
    }
    if lanes == 0 || lanes > 16 || passes == 0 {
        return Err(NoPasswordHash("it has no pass, or not 1 to 16 lanes"));
    }
    if u64::from(memory) * u64::from(passes) > PasswordHash::MOST_WORK {
        return Err(NoPasswordHash("memory times passes is more than 1048576 KiB"));
    }
    if !is_base64(salt, 8..=48) || !is_base64(hash, 16..=64) {
        return Err(NoPasswordHash(
            "salt and hash are not 8 to 48 and 16 to 64 bytes in Base64 without `=`",
        ));
    }
    Ok(HashParts { memory, passes, lanes, salt, hash })
}

fn is_base64(text: &str, bytes: std::ops::RangeInclusive<usize>) -> bool {
    let is_digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    text.len() % 4 != 1 && bytes.contains(&(text.len() * 3 / 4)) && text.bytes().all(is_digit)
}

impl FromStr for PasswordHash {
    type Err = NoPasswordHash;

    fn from_str(text: &str) -> Result<Self, NoPasswordHash> {
        parts(text).map(|_| Self(text.to_owned()))
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = NoPasswordHash;

    fn try_from(text: String) -> Result<Self, NoPasswordHash> {
        text.parse()
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SALT: &str = "c29tZXNhbHRzb21lc2FsdA";
    const HASH: &str = "wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA";

    #[test]
    fn what_the_usual_tools_print() {
        for costs in ["m=19456,t=2,p=1", "m=65536,t=3,p=4", "m=4096,t=3,p=1", "m=262144,t=4,p=1"] {
            let text = format!("$argon2id$v=19${costs}${SALT}${HASH}");
            let hash: PasswordHash = text.parse().unwrap();
            assert_eq!(hash.as_str(), text);
            assert_eq!(hash.parts().unwrap().salt, SALT);
        }
    }

    #[test]
    fn refusals_say_why_and_never_what() {
        let with = |costs: &str, rest: &str| format!("$argon2id$v=19${costs}${rest}");
        let usual = format!("{SALT}${HASH}");
        let texts = [
            "hunter2".to_owned(),
            String::new(),
            "$2y$10$abcdefghijklmnopqrstuu".to_owned(),
            format!("$argon2i$v=19$m=65536,t=3,p=1${usual}"),
            format!("$argon2id$v=16$m=65536,t=3,p=1${usual}"),
            format!("$argon2id$m=65536,t=3,p=1${usual}"),
            with("m=65536,t=3", &usual),
            with("t=3,m=65536,p=1", &usual),
            with("m=+65536,t=3,p=1", &usual),
            with("m=65536,t=3,p=1,data=x", &usual),
            with("m=1048576,t=1,p=1", &usual),
            with("m=8,t=1,p=1", &usual),
            with("m=262144,t=5,p=1", &usual),
            with("m=65536,t=0,p=1", &usual),
            with("m=65536,t=1,p=17", &usual),
            with("m=65536,t=3,p=1", SALT),
            with("m=65536,t=3,p=1", &format!("{usual}$x")),
            with("m=65536,t=3,p=1", &format!("abc${HASH}")),
            with("m=65536,t=3,p=1", &format!("{SALT}${HASH}=")),
            with("m=65536,t=3,p=1", &format!("{SALT}$abcd")),
        ];
        let all: Vec<String> = texts
            .iter()
            .map(|text| text.parse::<PasswordHash>().unwrap_err().to_string())
            .collect();
        insta::assert_snapshot!(all.join("\n"), @"
        this is not the Argon2id hash of a password: it does not begin with `$argon2id$`
        this is not the Argon2id hash of a password: it does not begin with `$argon2id$`
        this is not the Argon2id hash of a password: it does not begin with `$argon2id$`
        this is not the Argon2id hash of a password: it does not begin with `$argon2id$`
        this is not the Argon2id hash of a password: it is not of version 19
        this is not the Argon2id hash of a password: it is not of version 19
        this is not the Argon2id hash of a password: its costs are not `m=…,t=…,p=…`
        this is not the Argon2id hash of a password: its costs are not `m=…,t=…,p=…`
        this is not the Argon2id hash of a password: its costs are not `m=…,t=…,p=…`
        this is not the Argon2id hash of a password: its costs are not `m=…,t=…,p=…`
        this is not the Argon2id hash of a password: its memory is not 1024 to 262144 KiB
        this is not the Argon2id hash of a password: its memory is not 1024 to 262144 KiB
        this is not the Argon2id hash of a password: memory times passes is more than 1048576 KiB
        this is not the Argon2id hash of a password: it has no pass, or not 1 to 16 lanes
        this is not the Argon2id hash of a password: it has no pass, or not 1 to 16 lanes
        this is not the Argon2id hash of a password: it has not the parts costs, salt and hash, each after a `$`
        this is not the Argon2id hash of a password: it has not the parts costs, salt and hash, each after a `$`
        this is not the Argon2id hash of a password: salt and hash are not 8 to 48 and 16 to 64 bytes in Base64 without `=`
        this is not the Argon2id hash of a password: salt and hash are not 8 to 48 and 16 to 64 bytes in Base64 without `=`
        this is not the Argon2id hash of a password: salt and hash are not 8 to 48 and 16 to 64 bytes in Base64 without `=`
        ");
    }
}
