//! The three databases, as files: whether they open, whether their pages are whole.

use std::path::Path;

use kennel_core::error_chain;
use kennel_store::{Builds, Examination, Inbox, State, StoreError};

use super::facts::Facts;
use super::finding::Finding;
use super::say;

pub(super) fn inbox(facts: &Facts) -> Vec<Finding> {
    one("databases.inbox", &facts.host.layout.inbox_db(), Inbox::examine)
}

pub(super) fn builds(facts: &Facts) -> Vec<Finding> {
    one("databases.builds", &facts.host.layout.builds_db(), Builds::examine)
}

pub(super) fn state(facts: &Facts) -> Vec<Finding> {
    one("databases.state", &facts.host.layout.state_db(), State::examine)
}

fn one(
    check: &'static str,
    path: &Path,
    examine: fn(&Path) -> Result<Examination, StoreError>,
) -> Vec<Finding> {
    // A missing or closed one is a finding about permissions; here only what is in it counts.
    let size = match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(found) => found.len(),
        Err(error) => return vec![say::database_unread(check, path, &error)],
    };
    if size == 0 {
        return vec![say::database_new(check)];
    }
    vec![match examine(path) {
        Ok(found) if !found.damage.is_empty() => {
            say::database_damaged(check, path, found.damage.first().map_or("", String::as_str))
        }
        Ok(found) if found.schema > found.known => {
            say::database_newer(check, path, found.schema, found.known)
        }
        Ok(found) => say::database_whole(check, found.schema, size),
        Err(error) => say::database_damaged(check, path, &error_chain(&error)),
    }]
}
