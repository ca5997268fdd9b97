//! Finding what a person means by `site/feature/x/api`.
//!
//! Branches may contain slashes, and a service's name follows after one, so the text alone does not
//! say where the branch ends. What is deployed or built does. Where two things answer to one text,
//! nothing is guessed; `:` before the name, which git allows in no branch, settles it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use kennel_core::{BranchSlug, GitRef, Invalid, ProjectName, ServiceName};
use kennel_store::{Build, Deployment, State};

use crate::failure::Failure;
use crate::host::Host;

/// What was typed: `<project>`, or `<project>/` and something that only the host can tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) project: ProjectName,
    pub(crate) rest: Option<String>,
}

/// What was meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Project,
    Branch(GitRef),
    Output(GitRef, ServiceName),
}

/// Something of the project that can be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    git_ref: GitRef,
    slug: Option<BranchSlug>,
    service: Option<ServiceName>,
}

impl FromStr for Asked {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let (project, rest) = match text.split_once('/') {
            Some((project, rest)) => (project, Some(rest.trim_end_matches('/'))),
            None => (text, None),
        };
        let rest = rest.filter(|rest| !rest.is_empty()).map(str::to_owned);
        Ok(Self { project: project.parse()?, rest })
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.rest {
            Some(rest) => write!(f, "{}/{}", self.project, rest.escape_debug()),
            None => write!(f, "{}", self.project),
        }
    }
}

/// What of a project has deployments; it must at least be configured.
pub(crate) fn deployed(
    host: &Host,
    state: &State,
    project: &ProjectName,
) -> Result<Vec<Known>, Failure> {
    let deployments = state.newest(Some(project))?;
    host.ensure_project(project, !deployments.is_empty())?;
    Ok(deployments.iter().map(Known::from).collect())
}

/// The one service or site that is meant, of all that has deployments.
pub(crate) fn one_output(
    host: &Host,
    state: &State,
    asked: &Asked,
) -> Result<(GitRef, ServiceName), Failure> {
    let known = deployed(host, state, &asked.project)?;
    let target = asked.resolve(&known)?;
    let Target::Output(git_ref, service) = target else {
        let covered = known.into_iter().filter(|it| target.covers(&it.git_ref, None));
        let options = asked.names(&covered.collect::<Vec<_>>());
        return Err(Failure::NotOneOutput { asked: asked.to_string(), options });
    };
    Ok((git_ref, service))
}

impl Target {
    /// Whether this branch and service (none: only the branch) belong to it.
    pub(crate) fn covers(&self, git_ref: &GitRef, service: Option<&ServiceName>) -> bool {
        match self {
            Self::Project => true,
            Self::Branch(branch) => branch == git_ref,
            Self::Output(branch, name) => {
                branch == git_ref && service.is_none_or(|service| service == name)
            }
        }
    }
}

impl From<&Deployment> for Known {
    fn from(deployment: &Deployment) -> Self {
        Self {
            git_ref: deployment.key.git_ref.clone(),
            slug: Some(deployment.names.slug.clone()),
            service: Some(deployment.key.service.clone()),
        }
    }
}

impl From<&Build> for Known {
    fn from(build: &Build) -> Self {
        Self { git_ref: build.git_ref.clone(), slug: None, service: None }
    }
}

impl From<GitRef> for Known {
    fn from(git_ref: GitRef) -> Self {
        Self { git_ref, slug: None, service: None }
    }
}

impl Known {
    /// How its branch may be written, shortest first.
    fn spellings(&self) -> impl Iterator<Item = String> {
        let slug = self.slug.as_ref().map(ToString::to_string);
        [Some(self.git_ref.short()), slug, Some(self.git_ref.to_string())].into_iter().flatten()
    }
}

impl Asked {
    /// What of `known` was meant.
    pub(crate) fn resolve(&self, known: &[Known]) -> Result<Target, Failure> {
        let Some(rest) = &self.rest else { return Ok(Target::Project) };
        let meant = matching(rest, known);
        let mut all = meant.iter();
        match (all.next(), all.next()) {
            (Some(one), None) => Ok(one.clone()),
            (Some(_), Some(_)) => Err(Failure::Ambiguous {
                asked: self.to_string(),
                options: meant.iter().map(|target| self.unambiguous(target, known)).collect(),
            }),
            (None, _) => {
                Err(Failure::NoTarget { asked: self.to_string(), known: self.names(known) })
            }
        }
    }

    /// As [`Asked::resolve`], where everything that was ever built is known.
    pub(crate) fn resolve_built(&self, known: &[Known]) -> Result<Target, Failure> {
        self.resolve(known).map_err(|failure| match failure {
            Failure::NoTarget { asked, known } => Failure::NeverBuilt { asked, known },
            other => other,
        })
    }

    /// The shortest text that means this target alone.
    fn unambiguous(&self, target: &Target, known: &[Known]) -> String {
        let spellings = known.iter().flat_map(|known| {
            let service = known.service.clone();
            known.spellings().flat_map(move |branch| {
                let with =
                    |mark| service.as_ref().map(|service| format!("{branch}{mark}{service}"));
                [with('/'), with(':'), Some(branch.clone())].into_iter().flatten()
            })
        });
        let only = |text: &String| {
            let meant = matching(text, known);
            meant.len() == 1 && meant.contains(target)
        };
        let mut spellings: Vec<_> = spellings.filter(only).collect();
        spellings.sort_by_key(String::len);
        let rest = spellings.into_iter().next().or_else(|| self.rest.clone()).unwrap_or_default();
        format!("{}/{rest}", self.project)
    }

    /// What there is, as it can be typed.
    fn names(&self, known: &[Known]) -> Vec<String> {
        let names: BTreeSet<_> = known
            .iter()
            .map(|known| match &known.service {
                Some(service) => format!("{}/{}/{service}", self.project, known.git_ref.short()),
                None => format!("{}/{}", self.project, known.git_ref.short()),
            })
            .collect();
        names.into_iter().collect()
    }
}

fn matching(rest: &str, known: &[Known]) -> BTreeSet<Target> {
    let mut meant = BTreeSet::new();
    for known in known {
        for branch in known.spellings() {
            if rest == branch {
                meant.insert(Target::Branch(known.git_ref.clone()));
            } else if let Some(service) = &known.service
                && rest.strip_prefix(&branch).and_then(|name| name.strip_prefix(['/', ':']))
                    == Some(service.as_str())
            {
                meant.insert(Target::Output(known.git_ref.clone(), service.clone()));
            }
        }
    }
    meant
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(git_ref: &str, slug: &str, service: &str) -> Known {
        Known {
            git_ref: git_ref.parse().unwrap(),
            slug: Some(slug.parse().unwrap()),
            service: Some(service.parse().unwrap()),
        }
    }

    fn resolve(asked: &str, known: &[Known]) -> String {
        match asked.parse::<Asked>().unwrap().resolve(known) {
            Ok(Target::Project) => "whole project".to_owned(),
            Ok(Target::Branch(git_ref)) => format!("{git_ref}"),
            Ok(Target::Output(git_ref, service)) => format!("{git_ref} {service}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_branch_by_name_slug_or_ref_and_a_service_behind_it() {
        let known = [
            known("refs/heads/main", "main", "api"),
            known("refs/heads/main", "main", "web"),
            known("refs/heads/feature/X_y", "feature-x-y-1a2b3c", "api"),
            known("refs/pull/5/head", "pr-5", "api"),
        ];
        assert_eq!(resolve("site", &known), "whole project");
        assert_eq!(resolve("site/", &known), "whole project");
        assert_eq!(resolve("site/main", &known), "refs/heads/main");
        assert_eq!(resolve("site/main/", &known), "refs/heads/main");
        assert_eq!(resolve("site/main/web", &known), "refs/heads/main web");
        assert_eq!(resolve("site/feature/X_y", &known), "refs/heads/feature/X_y");
        assert_eq!(resolve("site/feature/X_y/api", &known), "refs/heads/feature/X_y api");
        assert_eq!(resolve("site/feature-x-y-1a2b3c/api", &known), "refs/heads/feature/X_y api");
        assert_eq!(resolve("site/pr-5", &known), "refs/pull/5/head");
        assert_eq!(resolve("site/refs/pull/5/head/api", &known), "refs/pull/5/head api");
        insta::assert_snapshot!(resolve("site/feature", &known), @"nothing is deployed as site/feature; known: site/feature/X_y/api, site/main/api, site/main/web, site/pr-5/api");
        insta::assert_snapshot!(resolve("site/main/db\u{1b}", &known), @r"nothing is deployed as site/main/db\u{1b}; known: site/feature/X_y/api, site/main/api, site/main/web, site/pr-5/api");
        insta::assert_snapshot!(resolve("site/main", &[]), @"nothing is deployed as site/main; see `kennelctl status`");
    }

    #[test]
    fn nothing_is_guessed() {
        let pull_request = [
            known("refs/heads/pr-5", "pr-5-1a2b3c", "api"),
            known("refs/pull/5/head", "pr-5", "api"),
        ];
        insta::assert_snapshot!(resolve("site/pr-5", &pull_request), @"site/pr-5 can mean more than one thing; write one of site/pr-5-1a2b3c, site/refs/pull/5/head");
        insta::assert_snapshot!(resolve("site/pr-5/api", &pull_request), @"site/pr-5/api can mean more than one thing; write one of site/pr-5-1a2b3c/api, site/refs/pull/5/head/api");
        let nested =
            [known("refs/heads/a", "a", "b"), known("refs/heads/a/b", "a-b-1a2b3c", "web")];
        insta::assert_snapshot!(resolve("site/a/b", &nested), @"site/a/b can mean more than one thing; write one of site/a-b-1a2b3c, site/a:b");
        assert_eq!(resolve("site/a/b/web", &nested), "refs/heads/a/b web");
        assert_eq!(resolve("site/a", &nested), "refs/heads/a");
    }

    #[test]
    fn the_way_out_of_an_ambiguity_works() {
        let nested =
            [known("refs/heads/a", "a", "b"), known("refs/heads/a/b", "a-b-1a2b3c", "web")];
        let Err(Failure::Ambiguous { options, .. }) =
            "site/a/b".parse::<Asked>().unwrap().resolve(&nested)
        else {
            panic!("not ambiguous")
        };
        let meant: Vec<_> = options.iter().map(|option| resolve(option, &nested)).collect();
        assert_eq!(meant, ["refs/heads/a/b", "refs/heads/a b"]);
    }

    #[test]
    fn a_project_must_be_a_name() {
        assert!("/main".parse::<Asked>().is_err());
        assert!("Site/main".parse::<Asked>().is_err());
    }
}
