//! Names of systemd units: Kennel's jobs, deployed services, and their slices.

use serde::{Deserialize, Serialize};

use crate::newtype::text_newtype;
use crate::{BranchSlug, BuildId, DeploymentId, ProjectName, ServiceName};

/// A unit's name that needs no escaping: `[a-zA-Z0-9_@.-]`, at most 255 bytes, with a type suffix
/// (systemd.unit(5)).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitName(String);

impl UnitName {
    fn check(text: &str) -> Result<(), &'static str> {
        if text.is_empty() || text.len() > 255 {
            return Err("it has not 1 to 255 characters");
        }
        if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_@.-".contains(&b)) {
            return Err("only a-z, 0-9 and _@.- may stand in it");
        }
        let known = [".service", ".slice", ".socket", ".timer", ".target", ".path"];
        if !known.iter().any(|suffix| text.len() > suffix.len() && text.ends_with(suffix)) {
            return Err("it does not end in a kind of unit");
        }
        Ok(())
    }

    /// The unit of one deployment of a service:
    /// `kennel-<project>-<branch>-<service>@<id>.service`.
    #[must_use]
    pub fn of_deployment(
        project: &ProjectName,
        slug: &BranchSlug,
        service: &ServiceName,
        id: DeploymentId,
    ) -> Self {
        Self(format!("kennel-{project}-{slug}-{service}@{id}.service"))
    }

    /// The unit of the same name that starts a deployment's unit at its times:
    /// `kennel-<project>-<branch>-<service>@<id>.timer`.
    #[must_use]
    pub fn of_timer(
        project: &ProjectName,
        slug: &BranchSlug,
        service: &ServiceName,
        id: DeploymentId,
    ) -> Self {
        Self(format!("kennel-{project}-{slug}-{service}@{id}.timer"))
    }

    /// The unit of the same name that starts a deployment's unit when somebody rings:
    /// `kennel-<project>-<branch>-<service>@<id>.socket`.
    #[must_use]
    pub fn of_wake(
        project: &ProjectName,
        slug: &BranchSlug,
        service: &ServiceName,
        id: DeploymentId,
    ) -> Self {
        Self(format!("kennel-{project}-{slug}-{service}@{id}.socket"))
    }

    /// The unit of the program that runs once before a deployment of a service does:
    /// `kennel-<project>-<branch>-<service>@<id>-release.service`. No deployment's own has that
    /// instance, which is no number.
    #[must_use]
    pub fn of_release(
        project: &ProjectName,
        slug: &BranchSlug,
        service: &ServiceName,
        id: DeploymentId,
    ) -> Self {
        Self(format!("kennel-{project}-{slug}-{service}@{id}-release.service"))
    }

    /// Whether it starts another unit of its name, and would do so again after that is stopped.
    #[must_use]
    pub fn is_trigger(&self) -> bool {
        self.is_timer() || self.0.ends_with(".socket")
    }

    /// Whether it is a timer.
    #[must_use]
    pub fn is_timer(&self) -> bool {
        self.0.ends_with(".timer")
    }

    /// The transient timer that ends a deployment's drain.
    #[must_use]
    pub fn teardown_timer(id: DeploymentId) -> Self {
        Self(format!("kennel-teardown@{id}.timer"))
    }
}

text_newtype!(UnitName, "unit name");

/// The slice of a service (`depth` 3), a branch (2) or a project (1):
/// `kennel-<project>[-<branch>[-<service>]].slice`, with `-` inside a part written `_`, because `-`
/// nests slices (systemd.slice(5)). No two services share one, since no part contains `_`.
#[must_use]
pub fn slice_name(
    project: &ProjectName,
    slug: Option<&BranchSlug>,
    service: Option<&ServiceName>,
) -> UnitName {
    let part = |text: &str| text.replace('-', "_");
    let mut name = format!("kennel-{}", part(project.as_str()));
    if let Some(slug) = slug {
        name.push('-');
        name.push_str(&part(slug.as_str()));
        if let Some(service) = service {
            name.push('-');
            name.push_str(&part(service.as_str()));
        }
    }
    UnitName(name + ".slice")
}

/// One job is one unit instance; this is the pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Job {
    /// `kennel-build@<id>.service`
    Build(BuildId),
    /// `kennel-deploy@<id>.service`
    Deploy(DeploymentId),
    /// `kennel-teardown@<id>.service`
    Teardown(DeploymentId),
    /// `kennel-routes.service`: one at a time, and it is for all.
    Routes,
}

/// The unit that writes the route table anew when no deployment does.
const ROUTES: &str = "kennel-routes.service";

impl Job {
    /// The unit that does this job.
    #[must_use]
    pub fn unit(self) -> UnitName {
        UnitName(match self {
            Self::Build(id) => format!("kennel-build@{id}.service"),
            Self::Deploy(id) => format!("kennel-deploy@{id}.service"),
            Self::Teardown(id) => format!("kennel-teardown@{id}.service"),
            Self::Routes => ROUTES.to_owned(),
        })
    }

    /// The job that a unit of this name does, if it is one.
    #[must_use]
    pub fn of_unit(unit: &str) -> Option<Self> {
        if unit == ROUTES {
            return Some(Self::Routes);
        }
        let (template, instance) = unit.strip_suffix(".service")?.split_once('@')?;
        match template {
            "kennel-build" => instance.parse().ok().map(Self::Build),
            "kennel-deploy" => instance.parse().ok().map(Self::Deploy),
            "kennel-teardown" => instance.parse().ok().map(Self::Teardown),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longest_names_fit() {
        let project: ProjectName = "p".repeat(32).parse().unwrap();
        let slug: BranchSlug = "b".repeat(40).parse().unwrap();
        let service: ServiceName = "s".repeat(40).parse().unwrap();
        let id = DeploymentId::from_row(i64::MAX);
        let unit = UnitName::of_deployment(&project, &slug, &service, id);
        assert!(unit.as_str().parse::<UnitName>().is_ok());
        let slice = slice_name(&project, Some(&slug), Some(&service));
        assert!(slice.as_str().parse::<UnitName>().is_ok());
    }

    #[test]
    fn slices_nest_by_project_branch_service_only() {
        let project: ProjectName = "my-site".parse().unwrap();
        let slug: BranchSlug = "v2-x".parse().unwrap();
        let service: ServiceName = "api".parse().unwrap();
        assert_eq!(slice_name(&project, None, None).as_str(), "kennel-my_site.slice");
        assert_eq!(
            slice_name(&project, Some(&slug), Some(&service)).as_str(),
            "kennel-my_site-v2_x-api.slice"
        );
    }

    #[test]
    fn jobs_and_units_are_one_to_one() {
        let job = Job::Deploy(DeploymentId::from_row(97));
        assert_eq!(job.unit().as_str(), "kennel-deploy@97.service");
        assert_eq!(Job::of_unit("kennel-deploy@97.service"), Some(job));
        assert_eq!(Job::of_unit(Job::Routes.unit().as_str()), Some(Job::Routes));
        for other in [
            "kennel-routes@1.service",
            "kennel-deploy@097.service",
            "kennel-site-main-api@97.service",
            "kennel-deploy@.service",
        ] {
            assert_eq!(Job::of_unit(other), None);
        }
    }
}
