//! What packages are for, as Nix names it: `x86_64-linux`.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// A processor and a kernel, `[a-z0-9_]+-[a-z0-9]+`, at most 40 bytes.
///
/// It becomes part of a flake reference, so that nothing else may stand in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct System(String);

impl System {
    fn check(text: &str) -> Result<(), &'static str> {
        if text.len() > 40 {
            return Err("it is longer than 40 characters");
        }
        let plain = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        match text.split_once('-') {
            Some((processor, kernel)) if plain(processor) && plain(kernel) => Ok(()),
            _ => Err("write a processor and a kernel, such as `aarch64-linux`"),
        }
    }
}

text_newtype!(System, "system");
