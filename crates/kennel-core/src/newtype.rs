//! The door through which text becomes a name.
//!
//! `FromStr` is the only way in; serde goes through it, and rusqlite does in kennel-store. The
//! macro exists so that no newtype forgets one of the two.

/// A text was refused at the edge: which kind of name it was to be, the text, and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: {rule}")]
pub struct Invalid {
    /// What the text was to be, as people say it: `project name`.
    pub kind: &'static str,
    /// The offending text, shortened and with control characters escaped.
    pub text: String,
    /// The rule that it breaks.
    pub rule: &'static str,
}

impl Invalid {
    pub(crate) fn new(kind: &'static str, text: &str, rule: &'static str) -> Self {
        // A hostile text must not fill a log or move a terminal's cursor.
        let shown: String = text.chars().take(80).flat_map(char::escape_debug).collect();
        Self { kind, text: shown, rule }
    }
}

/// Gives a tuple struct over `String` its one door (`fn check(&str) -> Result<(), &'static str>`)
/// and everything that follows from it.
macro_rules! text_newtype {
    ($type:ident, $kind:literal) => {
        impl std::str::FromStr for $type {
            type Err = $crate::Invalid;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match Self::check(text) {
                    Ok(()) => Ok(Self(text.to_owned())),
                    Err(rule) => Err($crate::Invalid::new($kind, text, rule)),
                }
            }
        }

        impl $type {
            /// The text as it was accepted.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = $crate::Invalid;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

pub(crate) use text_newtype;
