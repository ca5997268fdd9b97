//! When branches expire, as things stand.

use std::collections::BTreeMap;

use kennel_core::{GitRef, OutputKey, ProjectName, Timestamp};
use kennel_store::{load_host, load_project};

use crate::failure::Failure;
use crate::host::Host;

/// The ends of those branches that have one.
#[derive(Debug, Default)]
pub(super) struct Ends(BTreeMap<(ProjectName, GitRef), Timestamp>);

impl Ends {
    /// From rows and the operator's files. Without usable files nothing expires, and `kennelctl
    /// check` says what is wrong with them.
    pub(super) fn read(host: &Host) -> Result<Self, Failure> {
        let (Some(state), Some(builds)) = (host.state()?, host.builds()?) else {
            return Ok(Self::default());
        };
        let Ok(config) = load_host(&host.layout) else { return Ok(Self::default()) };
        let mut projects = BTreeMap::new();
        let mut ends = BTreeMap::new();
        for life in state.lives(&builds)? {
            let project = projects
                .entry(life.project.clone())
                .or_insert_with_key(|name| load_project(&host.layout, name).ok());
            let end = project.as_ref().and_then(|project| life.ends_at(project, &config));
            ends.extend(end.map(|end| ((life.project, life.git_ref), end)));
        }
        Ok(Self(ends))
    }

    /// That of a branch's service or site.
    pub(super) fn of(&self, key: &OutputKey) -> Option<Timestamp> {
        self.0.get(&(key.project.clone(), key.git_ref.clone())).copied()
    }
}
