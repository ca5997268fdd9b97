//! Names that are given once and stay: branch slugs, users, host labels, custom domains.
//!
//! Recorded under uniqueness constraints, so that `feature/x` and `feature-x`, `api`+`v2-x` and
//! `api-v2`+`x` never meet, whichever came first.

use kennel_core::{
    BranchSlug, GitRef, HostName, HostPattern, NameKind, OutputKey, ProjectName, UserName,
    plain_or_hashed,
};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::StoreError;

/// What a service or site on a branch is called on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The branch's name in hosts, paths and units.
    pub slug: BranchSlug,
    /// The user that a service runs as, and the name of its state directory.
    pub user: UserName,
    /// The first label of its host: `<service>-<branch>`, at most 63 bytes.
    pub label: String,
}

impl Names {
    /// The host `<label>.<project>.<base domain>`.
    ///
    /// # Errors
    /// [`kennel_core::Invalid`] if the whole is longer than DNS allows.
    pub fn host(&self, project: &ProjectName, base: &HostName) -> Result<HostName, StoreError> {
        Ok(format!("{}.{project}.{base}", self.label).parse()?)
    }
}

/// A custom domain belongs to another service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DomainTaken {
    /// It has this very domain.
    #[error(
        "the domain {domain} is taken by {holder}; remove it from `custom_domain` or `redirect_from` there, or tear it down"
    )]
    Held {
        /// The domain.
        domain: HostPattern,
        /// Whose it is.
        holder: OutputKey,
    },
    /// It is another project's and has all hosts of this kind.
    #[error(
        "the domain {domain} is one of {wildcard}, which is taken by {holder}; the operator may list it under `domains` in {project}.toml"
    )]
    Covered {
        /// The domain.
        domain: HostPattern,
        /// What it is one of.
        wildcard: HostPattern,
        /// Whose that is.
        holder: OutputKey,
        /// Who wants it.
        project: ProjectName,
    },
}

/// The names of a service, given now if they were not before.
pub(crate) fn assign(tx: &Transaction<'_>, key: &OutputKey) -> Result<Names, StoreError> {
    let project = key.project.as_str();
    let git_ref = key.git_ref.to_string();
    let service = key.service.as_str();

    let candidates = BranchSlug::candidates(&key.git_ref)
        .filter_map(Result::ok)
        .map(String::from)
        .collect::<Vec<_>>();
    let of_branch = Owner { project, git_ref: &git_ref, service: "" };
    let slug: BranchSlug =
        given(tx, NameKind::Slug, project, &of_branch, candidates.into_iter())?.parse()?;

    let parts = [project, &git_ref, service];
    let owner = Owner { project, git_ref: &git_ref, service };
    let plain = format!("kennel-{project}-{slug}-{service}");
    let candidates = plain_or_hashed(&plain, true, UserName::MAX_LEN, &parts);
    let user = given(tx, NameKind::User, "", &owner, candidates)?.parse()?;

    let plain = format!("{service}-{slug}");
    let candidates = plain_or_hashed(&plain, true, HostName::MAX_LABEL, &parts);
    let label = given(tx, NameKind::Label, project, &owner, candidates)?;
    Ok(Names { slug, user, label })
}

struct Owner<'a> {
    project: &'a str,
    git_ref: &'a str,
    service: &'a str,
}

fn given(
    tx: &Transaction<'_>,
    kind: NameKind,
    scope: &str,
    owner: &Owner<'_>,
    candidates: impl Iterator<Item = String>,
) -> Result<String, StoreError> {
    let find = "SELECT name FROM names
                WHERE kind = ?1 AND project = ?2 AND git_ref = ?3 AND service = ?4";
    let known = params![kind.as_str(), owner.project, owner.git_ref, owner.service];
    if let Some(name) = tx.query_row(find, known, |row| row.get(0)).optional()? {
        return Ok(name);
    }
    for name in candidates {
        let inserted = tx.execute(
            "INSERT INTO names (kind, scope, name, project, git_ref, service)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (kind, scope, name) DO NOTHING",
            params![kind.as_str(), scope, name, owner.project, owner.git_ref, owner.service],
        )?;
        if inserted == 1 {
            return Ok(name);
        }
    }
    let for_what = format!("{}/{}/{}", owner.project, owner.git_ref, owner.service);
    Err(StoreError::NoName { kind: kind.as_str(), for_what })
}

/// Forgets the names of a service, and with `branch` also the slug of its branch.
pub(crate) fn forget(
    tx: &Transaction<'_>,
    key: &OutputKey,
    branch: bool,
) -> Result<(), StoreError> {
    let key = params![key.project.as_str(), key.git_ref.to_string(), key.service.as_str()];
    tx.execute("DELETE FROM names WHERE project = ?1 AND git_ref = ?2 AND service = ?3", key)?;
    tx.execute("DELETE FROM hosts WHERE project = ?1 AND git_ref = ?2 AND service = ?3", key)?;
    if branch {
        tx.execute(
            "DELETE FROM names WHERE kind = 'slug' AND project = ?1 AND git_ref = ?2 AND ?3 != ''",
            key,
        )?;
    }
    Ok(())
}

/// Records that `domain` belongs to the service, unless it is another's. One that is `listed` may be
/// below another project's wildcard.
pub(crate) fn claim_domain(
    tx: &Transaction<'_>,
    domain: &HostPattern,
    key: &OutputKey,
    listed: bool,
) -> Result<Result<(), Box<DomainTaken>>, StoreError> {
    if let Some(holder) = holder(tx, domain)? {
        let is_own = holder == *key;
        let taken = DomainTaken::Held { domain: domain.clone(), holder };
        return Ok(if is_own { Ok(()) } else { Err(Box::new(taken)) });
    }
    if !listed
        && let Some(wildcard) = domain.wildcard_above()
        && let Some(holder) = holder(tx, &wildcard)?.filter(|it| it.project != key.project)
    {
        let (domain, project) = (domain.clone(), key.project.clone());
        let taken = DomainTaken::Covered { domain, wildcard, holder, project };
        return Ok(Err(Box::new(taken)));
    }
    tx.execute(
        "INSERT INTO hosts (host, project, git_ref, service) VALUES (?1, ?2, ?3, ?4)",
        params![
            domain.to_string(),
            key.project.as_str(),
            key.git_ref.to_string(),
            key.service.as_str()
        ],
    )?;
    Ok(Ok(()))
}

/// Whose a domain is.
fn holder(tx: &Transaction<'_>, domain: &HostPattern) -> Result<Option<OutputKey>, StoreError> {
    let found = tx.query_row(
        "SELECT project, git_ref, service FROM hosts WHERE host = ?1",
        [domain.to_string()],
        |row| {
            Ok(OutputKey {
                project: crate::column::parsed(row, "project")?,
                git_ref: crate::column::parsed::<GitRef>(row, "git_ref")?,
                service: crate::column::parsed(row, "service")?,
            })
        },
    );
    Ok(found.optional()?)
}
