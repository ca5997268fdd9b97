//! All of a branch, or one service or site of it.

use std::fmt;

use kennel_core::{GitRef, OutputKey, ProjectName, ServiceName};

/// What a person or an event means: whose deployments end, or stay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scope {
    /// The project.
    pub project: ProjectName,
    /// The branch or pull request.
    pub git_ref: GitRef,
    /// Only this service or site of it.
    pub service: Option<ServiceName>,
}

impl Scope {
    /// Whether this service or site is in it.
    #[must_use]
    pub fn covers(&self, key: &OutputKey) -> bool {
        self.project == key.project
            && self.git_ref == key.git_ref
            && self.service.as_ref().is_none_or(|service| *service == key.service)
    }

    /// All of the branch.
    #[must_use]
    pub fn whole_branch(&self) -> Self {
        Self { service: None, ..self.clone() }
    }
}

/// `site/main/api`, or `site/main` for a whole branch.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.project, self.git_ref.short())?;
        match &self.service {
            Some(service) => write!(f, "/{service}"),
            None => Ok(()),
        }
    }
}
