//! What `kennelctl token` says. Never a token: that is printed alone.

use std::collections::BTreeSet;

use kennel_core::config::Period;
use kennel_core::{ProjectName, TokenName, TokenRight};

pub(super) fn created(
    name: &TokenName,
    may: TokenRight,
    projects: &BTreeSet<ProjectName>,
    expires: &Period,
) -> String {
    let may = match may {
        TokenRight::Read => "look at",
        TokenRight::Cancel => "look at and cancel",
    };
    format!(
        "This is the token {name}, which is shown only now: for {expires} it may {may} builds of \
         {}. `kennelctl token revoke {name}` takes it back.",
        names(projects)
    )
}

pub(super) fn none() -> String {
    "There is no token; `kennelctl token create` makes one.".to_owned()
}

pub(super) fn revoked(name: &TokenName) -> String {
    format!("the token {name} is revoked: from now on it counts for nothing")
}

pub(crate) fn no_token(name: &TokenName) -> String {
    format!("there is no token {name}; `kennelctl token list` shows those there are")
}

pub(super) fn names(projects: &BTreeSet<ProjectName>) -> String {
    projects.iter().map(ProjectName::as_str).collect::<Vec<_>>().join(", ")
}
