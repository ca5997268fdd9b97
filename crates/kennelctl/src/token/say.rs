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
        TokenRight::Metrics => "read the router's figures".to_owned(),
        TokenRight::Read => format!("look at builds of {}", names(projects)),
        TokenRight::Cancel => format!("look at and cancel builds of {}", names(projects)),
    };
    format!(
        "This is the token {name}, which is shown only now: for {expires} it may {may}. \
         `kennelctl token revoke {name}` takes it back."
    )
}

pub(crate) fn projects(may: TokenRight) -> &'static str {
    match may {
        TokenRight::Metrics => {
            "figures are those of the whole host: a token for them is made without --project"
        }
        TokenRight::Read | TokenRight::Cancel => {
            "a token for builds needs --project, the project or projects that it is for"
        }
    }
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
