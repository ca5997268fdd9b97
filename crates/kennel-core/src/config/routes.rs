//! `[routes]` of `kennel.toml`: several services and sites under one domain.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;

use super::refusal::Refusal;
use super::{PathPrefix, PathTarget};
use crate::ServiceName;

/// As it is written: who answers below which path.
pub(super) type RawRoutes = BTreeMap<Spanned<PathPrefix>, Spanned<PathTarget>>;

/// Whose hosts they are, and who else answers there.
pub(super) struct Routes {
    pub(super) home: ServiceName,
    pub(super) others: BTreeMap<PathPrefix, PathTarget>,
}

/// The most paths of one repository.
const MOST_ROUTES: usize = 64;

/// Who is called by nobody, and therefore in no route.
pub(super) struct Known<'a> {
    pub(super) services: &'a BTreeSet<ServiceName>,
    pub(super) sites: &'a BTreeSet<ServiceName>,
    pub(super) uncalled: &'a BTreeSet<ServiceName>,
}

/// What the table means; none if it is empty.
pub(super) fn settle(raw: RawRoutes, known: &Known<'_>) -> Result<Option<Routes>, Refusal> {
    let Some((first, _)) = raw.first_key_value() else { return Ok(None) };
    let first = first.clone();
    if let Some((too_many, _)) = raw.iter().nth(MOST_ROUTES) {
        return Err(Refusal::at(too_many, format!("there are more than {MOST_ROUTES} paths")));
    }
    let mut home = None;
    let mut others = BTreeMap::new();
    for (prefix, target) in raw {
        let PathTarget { to, strip_prefix } = target.get_ref();
        let is_site = known.sites.contains(to);
        if !is_site && !known.services.contains(to) {
            let message = if known.uncalled.contains(to) {
                format!("nobody calls `{to}`: only services and sites have routes")
            } else {
                format!("there is no service or site `{to}`")
            };
            return Err(Refusal::at(&target, message));
        }
        if *strip_prefix && (is_site || prefix.get_ref().is_root()) {
            let message = if is_site {
                "a site's files lie under the whole path: `strip_prefix` is for services"
            } else {
                "there is nothing to strip of `/`"
            };
            return Err(Refusal::at(&target, message));
        }
        if prefix.get_ref().is_root() {
            home = Some(target.into_inner().to);
        } else {
            others.insert(prefix.into_inner(), target.into_inner());
        }
    }
    let home = match home {
        Some(home) => home,
        None => only_other(&others, known).ok_or_else(|| {
            Refusal::at(&first, "it is not clear under whose domain this path is")
                .help("add \"/\" = \"<name>\": its hosts get all of these paths")
        })?,
    };
    Ok(Some(Routes { home, others }))
}

/// The one service or site that no path leads to.
fn only_other(others: &BTreeMap<PathPrefix, PathTarget>, known: &Known<'_>) -> Option<ServiceName> {
    let mut left = known
        .services
        .union(known.sites)
        .filter(|name| others.values().all(|target| target.to != **name));
    left.next().filter(|_| left.next().is_none()).cloned()
}
