//! A site in its place: with what was in that place before.
//!
//! A page that was loaded just before a new version came still asks for its scripts and images. If
//! the new version has none of that name, the old one answers until its drain is over. In memory
//! only: a router that was restarted has forgotten it, and its visitors load the page again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::index::{Entry, Site};
use crate::table::Spa;

/// What answers under a route that leads to a site.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) site: Arc<Site>,
    pub(crate) spa: Spa,
    /// The newest first.
    pub(crate) former: Box<[Former]>,
}

/// A site that was replaced a moment ago.
#[derive(Debug, Clone)]
pub(crate) struct Former {
    site: Arc<Site>,
    until: Instant,
}

/// How many are remembered; who pushes faster has visitors who load again.
const MOST: usize = 4;

impl Former {
    /// What is remembered when `site` takes the place of what `before` is.
    pub(crate) fn after(before: &Serving, site: &Arc<Site>, drain: Duration) -> Box<[Self]> {
        let now = Instant::now();
        let replaced = now.checked_add(drain).filter(|_| !Arc::ptr_eq(&before.site, site));
        let replaced = replaced.map(|until| Self { site: Arc::clone(&before.site), until });
        let older = before.former.iter().cloned();
        let all = replaced.into_iter().chain(older).filter(|former| now < former.until);
        all.filter(|former| !Arc::ptr_eq(&former.site, site)).take(MOST).collect()
    }
}

impl Serving {
    /// A part of a page of the version before. Never a page: that is the new version's.
    pub(super) fn former(&self, key: &str) -> Option<&Entry> {
        // Few sites were replaced a moment ago, and only for them time is asked.
        let (first, now) = (self.former.first()?, Instant::now());
        if now >= first.until {
            return None;
        }
        let known = self.former.iter().filter(|former| now < former.until);
        known.filter_map(|former| former.site.file(key)).find(|entry| !entry.is_page())
    }
}
