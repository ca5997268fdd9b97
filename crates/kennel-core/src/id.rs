//! Row ids. Numbers that are never reused, so that a unit's name means one job for ever.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

macro_rules! id {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $type(i64);

        impl $type {
            /// The id of a row that the database gave.
            #[must_use]
            pub fn from_row(id: i64) -> Self {
                Self(id)
            }

            /// The number.
            #[must_use]
            pub fn get(self) -> i64 {
                self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $type {
            type Err = Invalid;

            /// Plain decimal, as in a unit's instance name: no sign, no leading zero.
            fn from_str(text: &str) -> Result<Self, Invalid> {
                text.parse()
                    .ok()
                    .filter(|id: &i64| *id > 0 && id.to_string() == text)
                    .map(Self)
                    .ok_or_else(|| Invalid::new($kind, text, "it is not a positive whole number"))
            }
        }
    };
}

id!(
    /// A build: `kennel-build@<id>.service`.
    BuildId,
    "build id"
);
id!(
    /// A deployment: `kennel-deploy@<id>.service`, and the instance of the service's own unit.
    DeploymentId,
    "deployment id"
);
id!(
    /// A row of the inbox.
    EventId,
    "event id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_unit_instance_is_spelled_like() {
        assert_eq!("42".parse::<BuildId>().unwrap().get(), 42);
        for bad in ["", "0", "-1", "+1", "01", "1x", " 1", "99999999999999999999"] {
            assert!(bad.parse::<BuildId>().is_err(), "{bad}");
        }
    }
}
