//! What a verified delivery means to Kennel.
//!
//! Pure. Believes the forge about facts, and parses every name and commit into its type.

use kennel_core::{Branch, CommitSha, Event, Forge, Invalid, PullRequestHead};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::payload::{Account, Create, Delete, PullRequest, PullRequestEvent, Push, Repository};
use crate::say;

/// What a delivery means.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A fact for the inbox, and whose doing it is.
    Fact(Event, Option<String>),
    /// The forge tries its hook.
    Ping,
    /// Nothing to do, and why.
    Nothing(String),
}

/// Why a delivery cannot be understood, although its signature is right.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Misunderstood {
    /// The payload is not JSON.
    NotJson {
        /// Where it stops being JSON, from 1.
        line: usize,
        /// Where in that line, from 1.
        column: usize,
    },
    /// The payload is JSON without the fields of its event, or with others' types in them.
    OtherShape {
        /// The forge's word for the event.
        event: String,
    },
    /// A field that this event needs is missing or unusable.
    Field(&'static str),
    /// The branch has a name that git would not allow.
    Branch(Invalid),
    /// The commit's id is none.
    Commit(Invalid),
}

/// Reads the payload of `event` from `forge`.
pub(crate) fn understand(forge: Forge, event: &str, json: &[u8]) -> Result<Meaning, Misunderstood> {
    match event {
        "push" => push(read(event, json)?),
        "delete" => delete(forge, read(event, json)?),
        "create" => create(&read(event, json)?),
        "pull_request" => pull_request(read(event, json)?),
        "ping" => {
            read::<IgnoredAny>(event, json)?;
            Ok(Meaning::Ping)
        }
        other => {
            read::<IgnoredAny>(event, json)?;
            Ok(Meaning::Nothing(say::other_event(other)))
        }
    }
}

fn read<'j, T: Deserialize<'j>>(event: &str, json: &'j [u8]) -> Result<T, Misunderstood> {
    serde_json::from_slice(json).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Misunderstood::OtherShape { event: event.to_owned() },
        serde_json::error::Category::Syntax
        | serde_json::error::Category::Eof
        | serde_json::error::Category::Io => {
            Misunderstood::NotJson { line: error.line(), column: error.column() }
        }
    })
}

fn push(push: Push) -> Result<Meaning, Misunderstood> {
    // Once: a branch may itself be called `refs/heads/x`.
    let Some(name) = push.full_ref.strip_prefix("refs/heads/") else {
        return Ok(Meaning::Nothing(say::other_ref_pushed(&push.full_ref)));
    };
    let branch = branch(name)?;
    let gone = CommitSha::is_zero(&push.after);
    if gone && push.before.as_deref().is_some_and(CommitSha::is_zero) {
        // The test button of Forgejo and Gitea for an empty repository: no branch was there.
        return Ok(Meaning::Nothing(say::empty_repository()));
    }
    let by = account(push.sender).or_else(|| account(push.pusher));
    let event = if gone || push.deleted {
        Event::BranchDeleted { branch }
    } else {
        Event::Push { branch, sha: commit(&push.after)? }
    };
    Ok(Meaning::Fact(event, by))
}

fn delete(forge: Forge, delete: Delete) -> Result<Meaning, Misunderstood> {
    match delete.ref_type.as_str() {
        "branch" => {}
        "tag" => return Ok(Meaning::Nothing(say::tag_deleted(&delete.name))),
        other => return Ok(Meaning::Nothing(say::other_ref_type(other))),
    }
    let name = match forge {
        // Hooks of type "forgejo" send the full ref, those of type "gitea" the short one.
        Forge::Forgejo => delete.name.strip_prefix("refs/heads/").unwrap_or(&delete.name),
        // Always short, even where it begins with `refs/heads/`.
        Forge::Gitea | Forge::Github => &delete.name,
    };
    let event = Event::BranchDeleted { branch: branch(name)? };
    Ok(Meaning::Fact(event, account(delete.sender)))
}

fn create(create: &Create) -> Result<Meaning, Misunderstood> {
    Ok(Meaning::Nothing(match create.ref_type.as_str() {
        "branch" => say::branch_created(&create.name),
        "tag" => say::tag_created(&create.name),
        other => say::other_ref_type(other),
    }))
}

fn pull_request(event: PullRequestEvent) -> Result<Meaning, Misunderstood> {
    let PullRequestEvent { action, number, pull_request, repository, sender } = event;
    let number = || {
        number
            .or_else(|| pull_request.as_ref().and_then(|pull_request| pull_request.number))
            .filter(|number| *number > 0)
            .ok_or(Misunderstood::Field("number"))
    };
    let event = match action.as_str() {
        // GitHub says synchronize, Forgejo and Gitea synchronized.
        "opened" | "reopened" | "synchronize" | "synchronized" => {
            let number = number()?;
            let pull_request = pull_request.ok_or(Misunderstood::Field("pull_request"))?;
            let (sha, head) = head(pull_request, repository)?;
            Event::PullRequest { number, sha, head }
        }
        // Merged or not, and with the fork already gone: nothing but the number is needed.
        "closed" => Event::PullRequestClosed { number: number()? },
        other => return Ok(Meaning::Nothing(say::other_pull_request_action(other))),
    };
    Ok(Meaning::Fact(event, account(sender)))
}

fn head(
    pull_request: PullRequest,
    repository: Option<Repository>,
) -> Result<(CommitSha, PullRequestHead), Misunderstood> {
    let head = pull_request.head.ok_or(Misunderstood::Field("pull_request.head"))?;
    let base = pull_request.base.ok_or(Misunderstood::Field("pull_request.base"))?;
    let sha = commit(&head.sha.ok_or(Misunderstood::Field("pull_request.head.sha"))?)?;
    // A payload that tells no side's repository knows only one. Every forge tells both, and null
    // for a fork that is gone, so that a stranger's pull request never looks like this.
    let only_one = head.repo.is_none() && base.repo.is_none() && head.repo_id == base.repo_id;
    let base_repository =
        full_name(base.repo.flatten().or(repository).ok_or(Misunderstood::Field("repository"))?)?;
    // Forgejo's and Gitea's AGit flow: whoever may read can push to refs/for/, and the head is then
    // no branch of the repository that the payload names.
    let is_agit = head.full_ref.is_some_and(|name| name.starts_with("refs/"));
    let repository = match head.repo.flatten() {
        _ if is_agit => None,
        Some(repository) => Some(full_name(repository)?),
        None => only_one.then(|| base_repository.clone()),
    };
    let association = pull_request.author_association.filter(|word| {
        (1..=40).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_')
    });
    Ok((sha, PullRequestHead { repository, base_repository, association }))
}

fn branch(name: &str) -> Result<Branch, Misunderstood> {
    name.parse().map_err(Misunderstood::Branch)
}

fn commit(id: &str) -> Result<CommitSha, Misunderstood> {
    id.parse().map_err(Misunderstood::Commit)
}

/// Whether two of these are equal decides what is built unasked, so that a name is taken as it is
/// or not at all.
fn full_name(Repository { full_name }: Repository) -> Result<String, Misunderstood> {
    if full_name.is_empty() || full_name.len() > 300 || full_name.chars().any(char::is_control) {
        return Err(Misunderstood::Field("full_name"));
    }
    Ok(full_name)
}

fn account(account: Option<Account>) -> Option<String> {
    let Account { login, name } = account?;
    let name = login.filter(|login| !login.is_empty()).or(name)?;
    let shown: String = name.chars().filter(|c| !c.is_control()).take(100).collect();
    Some(shown).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
