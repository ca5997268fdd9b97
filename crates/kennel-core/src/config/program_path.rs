//! Which program of a build is meant.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;

/// A program in the `bin` folder of what Nix made: `bin/` and a file name of `[A-Za-z0-9._+-]`, at
/// most 100 bytes, which begins with a letter, a digit or `_`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProgramPath(String);

const FOLDER: &str = "bin/";

impl ProgramPath {
    fn check(text: &str) -> Result<(), &'static str> {
        let Some(name) = text.strip_prefix(FOLDER) else {
            return Err("it does not begin with `bin/`, and only programs there can be run");
        };
        if name.is_empty() || text.len() > 100 {
            return Err("it has not 5 to 100 characters");
        }
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b)) {
            return Err(
                "only a-z, A-Z, 0-9 and ._+- may stand behind `bin/`; arguments belong into a script",
            );
        }
        if name.starts_with(['.', '+', '-']) {
            return Err("the program's name begins with `.`, `+` or `-`");
        }
        Ok(())
    }

    /// The file's name in `bin`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.strip_prefix(FOLDER).unwrap_or(&self.0)
    }
}

text_newtype!(ProgramPath, "program");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_in_bin_and_nothing_else() {
        let migrate: ProgramPath = "bin/db_migrate-2.sh".parse().unwrap();
        assert_eq!(migrate.file_name(), "db_migrate-2.sh");
        let refused = |text: &str| text.parse::<ProgramPath>().unwrap_err().to_string();
        insta::assert_snapshot!(refused("migrate"), @"`migrate` is not a program: it does not begin with `bin/`, and only programs there can be run");
        insta::assert_snapshot!(refused("bin/"), @"`bin/` is not a program: it has not 5 to 100 characters");
        insta::assert_snapshot!(refused("bin/migrate --all"), @"`bin/migrate --all` is not a program: only a-z, A-Z, 0-9 and ._+- may stand behind `bin/`; arguments belong into a script");
        insta::assert_snapshot!(refused("bin/../sh"), @"`bin/../sh` is not a program: only a-z, A-Z, 0-9 and ._+- may stand behind `bin/`; arguments belong into a script");
        insta::assert_snapshot!(refused("bin/x\n"), @r"`bin/x\n` is not a program: only a-z, A-Z, 0-9 and ._+- may stand behind `bin/`; arguments belong into a script");
        insta::assert_snapshot!(refused("bin/-x"), @"`bin/-x` is not a program: the program's name begins with `.`, `+` or `-`");
    }
}
