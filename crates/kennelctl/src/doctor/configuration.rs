//! What `kennelctl check` finds, in one line.

use super::facts::Facts;
use super::finding::Finding;
use super::say;
use crate::check::{self, Severity};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let found = check::everything(&facts.host.layout);
    let count = |severity| found.all.iter().filter(|it| it.severity == severity).count();
    let (errors, unread) = (count(Severity::Error), count(Severity::Unread));
    let worst = [Severity::Error, Severity::Unread]
        .into_iter()
        .find_map(|severity| found.all.iter().find(|it| it.severity == severity));
    vec![match worst {
        Some(first) if errors > 0 => say::configuration_wrong(errors, &first.sentence()),
        Some(_) => say::configuration_unread(unread),
        None => say::configuration_good(count(Severity::Note)),
    }]
}
