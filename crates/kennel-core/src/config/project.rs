//! A project: `/etc/kennel/projects.d/<project>.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::branch_patterns::BranchPattern;
use super::document::Document;
use super::path::AbsolutePath;
use super::previews::{RawAccess, RawPreviews};
use super::refusal::Refusal;
use super::share::{RawShare, Share};
use super::{
    AddressRange, BranchPatterns, DomainPattern, HostConfig, Lifetime, PasswordHash, Previews,
    Problem, RepoUrl, ServiceManifest, System,
};
use crate::{Branch, Forge, GitRef, HostPattern, Layout, ProjectName, SecretScope};

/// What the operator decides for one project.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectConfig {
    /// The file's name without `.toml`.
    pub name: ProjectName,
    /// `repo_url`: where the repository is fetched from. Has no default.
    pub repo_url: RepoUrl,
    /// `forge`: `forgejo`, `gitea` or `github`; none means whoever signs a delivery. Deliveries
    /// tell by themselves which forge they come from, so that this is a check and no switch.
    pub forge: Option<Forge>,
    /// `default_branch`: the one that gets custom domains and never expires. Default `main`.
    pub default_branch: Branch,
    /// `branches`: patterns of branches that deploy, default `["*"]`. The default branch always
    /// does, so an empty list means that one alone.
    pub branches: BranchPatterns,
    /// `pull_requests`: default `trusted`.
    pub pull_requests: PullRequestPolicy,
    /// `domains`: the custom domains that the project may claim; none means any that nobody else
    /// holds, but no wildcard, nor a host below another project's.
    pub domains: Option<Vec<DomainPattern>>,
    /// `systems`: for which systems its packages may be built, those first that are preferred; never
    /// more than one of a kind. Empty means the host's own, as Nix reports it.
    pub systems: Vec<System>,
    /// `secrets_dir`: one file per secret. Default `/etc/kennel/secrets/<project>`.
    pub secrets_dir: PathBuf,
    /// `expire_after`: how long a branch stays that nobody pushes to or visits. None means the
    /// host's `[expiry]`.
    expire_after: Option<Lifetime>,
    /// `[expire_branches]`: the same for branches by pattern. Of those that match, the longest.
    expire_branches: BTreeMap<BranchPattern, Lifetime>,
    /// `[limits]`: what all of the project has together. Default no limit, weight 100.
    pub limits: Share,
    /// `[preview_limits]`: what each branch but the default one has. Default no limit, weight 20.
    preview_limits: Share,
    /// `[access]`, `allow_from`: the addresses that may come in at all. Default all.
    allow_from: Option<Vec<AddressRange>>,
    /// `[previews]`: who may look at every branch but the default one, and when it sleeps. Default the
    /// host's.
    previews: Previews,
}

/// When a branch goes that nobody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expires {
    /// It does not.
    Never,
    /// So long after the last push or request.
    Unused(Duration),
    /// So long after the last push, whoever visits it.
    Pushed(Duration),
}

/// Whose pull requests are built.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullRequestPolicy {
    /// Those from the repository itself, and from people whom the forge calls its members.
    #[default]
    Trusted,
    /// Everybody's.
    All,
    /// Nobody's.
    None,
}

impl fmt::Display for PullRequestPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trusted => "trusted",
            Self::All => "all",
            Self::None => "none",
        })
    }
}

impl ProjectConfig {
    /// What `text` says about the project `name`; `file` is how messages name it.
    ///
    /// # Errors
    /// The first [`Problem`].
    pub fn parse(name: ProjectName, text: &str, file: &str) -> Result<Self, Problem> {
        Document::parse(file, text)?.settle(|raw: RawProject| {
            let secrets_dir = raw.secrets_dir.map(PathBuf::from);
            Ok(Self {
                secrets_dir: secrets_dir.unwrap_or_else(|| Layout::default().secrets(&name)),
                name,
                repo_url: raw.repo_url,
                forge: raw.forge,
                branches: BranchPatterns::new(raw.default_branch.clone(), raw.branches),
                default_branch: raw.default_branch,
                pull_requests: raw.pull_requests,
                domains: raw.domains,
                systems: systems(raw.systems)?,
                expire_after: raw.expire_after,
                expire_branches: raw.expire_branches,
                limits: raw.limits.settle(Share::WHOLE)?,
                preview_limits: raw.preview_limits.settle(Share::PREVIEW)?,
                allow_from: raw.access.settle()?,
                previews: raw.previews.settle()?,
            })
        })
    }

    /// Whether the operator lets this project have `host` as a custom domain. Whether another
    /// project holds it already is not said here.
    #[must_use]
    pub fn allows_domain(&self, domain: &HostPattern) -> bool {
        let takes_all = matches!(domain, HostPattern::Wildcard(_));
        (self.domains.is_none() && !takes_all) || self.lists_domain(domain)
    }

    /// Whether the operator has named the domain as one of the project's.
    #[must_use]
    pub fn lists_domain(&self, domain: &HostPattern) -> bool {
        self.domains.iter().flatten().any(|listed| listed.allows(domain))
    }

    /// When a branch or pull request goes that nobody needs: the default branch never, whatever its
    /// name; a fork's soon, since nobody here answers for it.
    #[must_use]
    pub fn expires(&self, git_ref: &GitRef, fork: bool, host: &HostConfig) -> Expires {
        if git_ref.is_branch(&self.default_branch) {
            return Expires::Never;
        }
        let of_pattern = match git_ref {
            GitRef::Branch(branch) => self
                .expire_branches
                .iter()
                .filter(|(pattern, _)| pattern.matches(branch))
                .max_by_key(|(pattern, _)| pattern.len())
                .map(|(_, lifetime)| *lifetime),
            GitRef::PullRequest(_) => None,
        };
        let lifetime = of_pattern.or(self.expire_after).unwrap_or(host.expiry.after);
        match lifetime {
            _ if fork => Expires::Pushed(lifetime.at_most(LIFE_OF_FORKS)),
            Lifetime::Limited(length) => Expires::Unused(length),
            Lifetime::Unlimited => Expires::Never,
        }
    }

    /// How long nobody may use a service until it is stopped, to be started by the next who does;
    /// none if it never is. Repositories decide it for themselves; for those that do not, the
    /// operator does, of previews.
    #[must_use]
    pub fn sleep_after(
        &self,
        git_ref: &GitRef,
        service: &ServiceManifest,
        host: &HostConfig,
    ) -> Option<Duration> {
        let of_preview = || {
            let said = self.previews.sleep_after.or(host.previews.sleep_after);
            said.unwrap_or(Lifetime::Unlimited)
        };
        let is_preview = !git_ref.is_branch(&self.default_branch);
        service.sleep_after.or_else(|| is_preview.then(of_preview))?.limit()
    }

    /// What all of a branch or pull request has together, within what the project has.
    #[must_use]
    pub fn share(&self, git_ref: &GitRef) -> Share {
        if git_ref.is_branch(&self.default_branch) {
            Share::unlimited(Share::WHOLE)
        } else {
            self.preview_limits
        }
    }

    /// The lists of addresses from which a branch or pull request may be looked at: who comes in is in
    /// each. None: everybody.
    #[must_use]
    pub fn allow_from<'a>(
        &'a self,
        git_ref: &GitRef,
        host: &'a HostConfig,
    ) -> Vec<&'a [AddressRange]> {
        let of_previews = self.previews.allow_from.as_ref().or(host.previews.allow_from.as_ref());
        let of_previews = of_previews.filter(|_| !git_ref.is_branch(&self.default_branch));
        self.allow_from.iter().chain(of_previews).map(Vec::as_slice).collect()
    }

    /// The password that visitors of a branch or pull request are asked for. The default branch's
    /// are asked for none.
    #[must_use]
    pub fn preview_password<'a>(
        &'a self,
        git_ref: &GitRef,
        host: &'a HostConfig,
    ) -> Option<&'a PasswordHash> {
        if git_ref.is_branch(&self.default_branch) {
            return None;
        }
        let said = if self.previews.password.is_some() { &self.previews } else { &host.previews };
        said.hash()
    }

    /// Which secrets a deployment of `git_ref` may have, those that win first: production is the
    /// default branch and nothing else, and a fork's has none.
    ///
    /// The one place that decides it. Whoever may put code on a branch may read what this returns
    /// for it, so that code of people who are not trusted gets nothing here.
    #[must_use]
    pub fn secret_scopes(&self, git_ref: &GitRef, fork: bool) -> &'static [SecretScope] {
        if fork {
            &[]
        } else if git_ref.is_branch(&self.default_branch) {
            &[SecretScope::Production, SecretScope::Both]
        } else {
            &[SecretScope::Preview, SecretScope::Both]
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProject {
    repo_url: RepoUrl,
    forge: Option<Forge>,
    #[serde(default = "main")]
    default_branch: Branch,
    branches: Option<Vec<BranchPattern>>,
    #[serde(default)]
    pull_requests: PullRequestPolicy,
    domains: Option<Vec<DomainPattern>>,
    systems: Option<Spanned<Vec<System>>>,
    secrets_dir: Option<AbsolutePath>,
    expire_after: Option<Lifetime>,
    #[serde(default)]
    expire_branches: BTreeMap<BranchPattern, Lifetime>,
    #[serde(default)]
    limits: RawShare,
    #[serde(default)]
    preview_limits: RawShare,
    #[serde(default)]
    access: RawAccess,
    #[serde(default)]
    previews: RawPreviews,
}

/// A stranger's program is on the host for no longer than this after its last push.
const LIFE_OF_FORKS: Duration = Duration::from_secs(24 * 3600);

/// None of them is there twice, and there is one.
fn systems(raw: Option<Spanned<Vec<System>>>) -> Result<Vec<System>, Refusal> {
    let Some(raw) = raw else { return Ok(Vec::new()) };
    let list = raw.get_ref();
    if list.is_empty() {
        return Err(Refusal::at(&raw, "nothing can be built for no system")
            .help("leave the key out for the host's own"));
    }
    let again =
        list.iter().enumerate().find(|(at, system)| list.iter().take(*at).any(|it| it == *system));
    match again {
        Some((_, system)) => Err(Refusal::at(&raw, format!("{system} stands in it twice"))),
        None => Ok(raw.into_inner()),
    }
}

fn main() -> Branch {
    #[expect(
        clippy::unwrap_used,
        reason = "a constant, and every test that names no branch runs it"
    )]
    "main".parse().unwrap()
}

#[cfg(test)]
mod tests;
