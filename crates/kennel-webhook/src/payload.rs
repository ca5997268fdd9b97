//! The fields of payloads that Kennel reads; the rest is skipped without being kept.
//!
//! One shape for all forges: where they differ, a field is optional and `understand` asks for it
//! when it needs it.

use serde::{Deserialize, Deserializer};

/// `push`: a ref got a new head, or is gone.
#[derive(Debug, Deserialize)]
pub(crate) struct Push {
    #[serde(rename = "ref")]
    pub(crate) full_ref: String,
    pub(crate) before: Option<String>,
    pub(crate) after: String,
    /// GitHub only.
    #[serde(default)]
    pub(crate) deleted: bool,
    pub(crate) pusher: Option<Account>,
    pub(crate) sender: Option<Account>,
}

/// `delete`: a branch or a tag is gone.
#[derive(Debug, Deserialize)]
pub(crate) struct Delete {
    /// Short, or full from some Forgejos.
    #[serde(rename = "ref")]
    pub(crate) name: String,
    pub(crate) ref_type: String,
    pub(crate) sender: Option<Account>,
}

/// `create`: a branch or a tag is new. A push follows and carries the commit.
#[derive(Debug, Deserialize)]
pub(crate) struct Create {
    #[serde(rename = "ref")]
    pub(crate) name: String,
    pub(crate) ref_type: String,
}

/// `pull_request`, with any action.
#[derive(Debug, Deserialize)]
pub(crate) struct PullRequestEvent {
    pub(crate) action: String,
    pub(crate) number: Option<u64>,
    pub(crate) pull_request: Option<PullRequest>,
    pub(crate) repository: Option<Repository>,
    pub(crate) sender: Option<Account>,
}

/// A pull request.
#[derive(Debug, Deserialize)]
pub(crate) struct PullRequest {
    pub(crate) number: Option<u64>,
    pub(crate) head: Option<Side>,
    pub(crate) base: Option<Side>,
    /// GitHub only.
    pub(crate) author_association: Option<String>,
}

/// One side of a pull request.
#[derive(Debug, Deserialize)]
pub(crate) struct Side {
    #[serde(rename = "ref")]
    pub(crate) full_ref: Option<String>,
    pub(crate) sha: Option<String>,
    /// `Some(None)`, a null, if the fork is gone; `None` if the payload says nothing of it.
    #[serde(default, deserialize_with = "told")]
    pub(crate) repo: Option<Option<Repository>>,
    /// Forgejo and Gitea only.
    pub(crate) repo_id: Option<i64>,
}

/// Keeps a null apart from a missing field, which `default` makes `None`.
fn told<'de, D, T>(value: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(value).map(Some)
}

/// A repository.
#[derive(Debug, Deserialize)]
pub(crate) struct Repository {
    /// `owner/name`.
    pub(crate) full_name: String,
}

/// An account: GitHub's `pusher` has a `name`, everybody else a `login`.
#[derive(Debug, Deserialize)]
pub(crate) struct Account {
    pub(crate) login: Option<String>,
    pub(crate) name: Option<String>,
}
