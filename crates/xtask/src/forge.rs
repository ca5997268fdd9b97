//! The forge: events as Forgejo, Gitea and GitHub send them, signed as they sign them.
//!
//! Bodies hold the fields that the forges' documentation promises and a platform may read, under
//! the names and in the shapes of each. What only decorates is left out.

use std::fs;

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

/// A kind of forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forge {
    /// Sends its own headers, Gitea's, Gogs' and GitHub's.
    Forgejo,
    /// Sends its own headers, Gogs' and GitHub's.
    Gitea,
    /// Sends its own headers.
    Github,
}

/// Where the head of a pull request lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadRepository {
    /// In the repository that it is for.
    Same,
    /// In a stranger's fork.
    Fork,
    /// In a fork that has been removed since.
    Gone,
}

/// A pull request as an event tells of it.
#[derive(Clone, Debug)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// The branch that it comes from.
    pub head_branch: String,
    /// The commit at its head.
    pub head: String,
    /// Where that branch is.
    pub head_repository: HeadRepository,
    /// The branch that it is for.
    pub base_branch: String,
}

/// What happened to a pull request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullRequestAction {
    /// It is new.
    Opened,
    /// Its head has moved. The forges disagree on the word.
    Updated,
    /// It is open again.
    Reopened,
    /// It was closed, or merged.
    Closed {
        /// Whether by merging it.
        merged: bool,
    },
}

/// Something that a forge tells of.
#[derive(Clone, Debug)]
pub enum Event {
    /// Commits were pushed to a branch; all zeros in `before` make it a new one.
    Push {
        /// The branch, without `refs/heads/`.
        branch: String,
        /// The commit that it was at.
        before: String,
        /// The commit that it is at now.
        after: String,
    },
    /// A branch was deleted.
    BranchDeleted {
        /// The branch, without `refs/heads/`.
        branch: String,
        /// The commit that it was at.
        last: String,
    },
    /// Something happened to a pull request.
    PullRequest(PullRequest, PullRequestAction),
    /// The test button of GitHub.
    Ping,
}

/// The commit id that stands for none.
pub const NO_COMMIT: &str = "0000000000000000000000000000000000000000";

/// One HTTP request that a forge makes.
#[derive(Clone, Debug)]
pub struct Delivery {
    forge: Forge,
    event: &'static str,
    event_type: &'static str,
    id: String,
    body: Vec<u8>,
}

impl Forge {
    /// The word for it in a project's configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forgejo => "forgejo",
            Self::Gitea => "gitea",
            Self::Github => "github",
        }
    }

    /// What this forge sends for an event about the repository `acme/<name>`.
    ///
    /// # Errors
    /// When the kernel has no random numbers for the delivery id.
    pub fn deliveries(self, name: &str, event: &Event) -> Result<Vec<Delivery>> {
        let about = json!({ "repository": repository("acme", name), "sender": person("ann") });
        let told: Vec<(&str, &str, Value)> = match event {
            Event::Push { branch, before, after } => {
                vec![("push", "push", push(branch, before, after))]
            }
            Event::BranchDeleted { branch, last } => self.branch_deleted(branch, last),
            Event::PullRequest(pull, action) => self.pull_request(name, pull, *action),
            Event::Ping => {
                vec![("ping", "ping", json!({ "zen": "Keep it simple.", "hook_id": 1 }))]
            }
        };
        told.into_iter()
            .map(|(event, event_type, mut body)| {
                merge(&mut body, &about);
                let body = serde_json::to_vec_pretty(&body)?;
                Ok(Delivery { forge: self, event, event_type, id: uuid()?, body })
            })
            .collect()
    }

    fn branch_deleted(self, branch: &str, last: &str) -> Vec<(&'static str, &'static str, Value)> {
        let delete = |name: String| {
            (
                "delete",
                "delete",
                json!({ "ref": name, "ref_type": "branch", "pusher_type": "user" }),
            )
        };
        match self {
            // Since version 7; a `delete` is all that comes.
            Self::Forgejo => vec![delete(format!("refs/heads/{branch}"))],
            Self::Gitea => vec![delete(branch.to_owned())],
            Self::Github => {
                vec![("push", "push", push(branch, last, NO_COMMIT)), delete(branch.to_owned())]
            }
        }
    }

    fn pull_request(
        self,
        name: &str,
        pull: &PullRequest,
        action: PullRequestAction,
    ) -> Vec<(&'static str, &'static str, Value)> {
        let (word, event_type, merged) = match (action, self) {
            (PullRequestAction::Opened, _) => ("opened", "pull_request", false),
            (PullRequestAction::Updated, Self::Github) => ("synchronize", "pull_request", false),
            (PullRequestAction::Updated, _) => ("synchronized", "pull_request_sync", false),
            (PullRequestAction::Reopened, _) => ("reopened", "pull_request", false),
            (PullRequestAction::Closed { merged }, _) => ("closed", "pull_request", merged),
        };
        let head_repository = match pull.head_repository {
            HeadRepository::Same => repository("acme", name),
            HeadRepository::Fork => repository("mallory", name),
            HeadRepository::Gone => Value::Null,
        };
        let author = match pull.head_repository {
            HeadRepository::Same => "ann",
            HeadRepository::Fork | HeadRepository::Gone => "mallory",
        };
        let mut body = json!({
            "action": word,
            "number": pull.number,
            "pull_request": {
                "number": pull.number,
                "state": if word == "closed" { "closed" } else { "open" },
                "title": "Add a greeting",
                "draft": false,
                "merged": merged,
                "user": person(author),
                "head": {
                    "label": pull.head_branch, "ref": pull.head_branch, "sha": pull.head,
                    "repo": head_repository,
                },
                "base": {
                    "label": pull.base_branch, "ref": pull.base_branch, "sha": NO_COMMIT,
                    "repo": repository("acme", name),
                },
            },
        });
        if self == Self::Github {
            let association = if author == "ann" { "MEMBER" } else { "NONE" };
            merge(&mut body, &json!({ "pull_request": { "author_association": association } }));
        }
        vec![("pull_request", event_type, body)]
    }
}

impl Delivery {
    /// The exact bytes that are sent and signed.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The headers, signed with the project's secret.
    #[must_use]
    pub fn headers(&self, secret: &[u8]) -> Vec<(String, String)> {
        let signature = sign(secret, &self.body);
        let own: &[&str] = match self.forge {
            Forge::Forgejo => &["Forgejo", "Gitea", "Gogs"],
            Forge::Gitea => &["Gitea", "Gogs"],
            Forge::Github => &[],
        };
        let agent = if self.forge == Forge::Github {
            "GitHub-Hookshot/044aadd"
        } else {
            "Go-http-client/1.1"
        };
        let mut headers = vec![
            ("User-Agent".to_owned(), agent.to_owned()),
            ("Content-Type".to_owned(), "application/json".to_owned()),
        ];
        for family in own {
            headers.push((format!("X-{family}-Delivery"), self.id.clone()));
            headers.push((format!("X-{family}-Event"), self.event.to_owned()));
            headers.push((format!("X-{family}-Event-Type"), self.event_type.to_owned()));
            headers.push((format!("X-{family}-Signature"), signature.clone()));
        }
        headers.push(("X-GitHub-Delivery".to_owned(), self.id.clone()));
        headers.push(("X-GitHub-Event".to_owned(), self.event.to_owned()));
        if self.forge != Forge::Github {
            headers.push(("X-GitHub-Event-Type".to_owned(), self.event_type.to_owned()));
        }
        headers.push(("X-Hub-Signature-256".to_owned(), format!("sha256={signature}")));
        headers
    }
}

/// HMAC-SHA256 of `body` in lower-case hex.
#[must_use]
pub fn sign(secret: &[u8], body: &[u8]) -> String {
    // HMAC takes keys of every length (RFC 2104 §2).
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return String::new() };
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}

fn push(branch: &str, before: &str, after: &str) -> Value {
    let commit = json!({
        "id": after,
        "message": "Say hello\n",
        "author": { "name": "Ann", "email": "ann@example.org", "username": "ann" },
        "timestamp": "2026-01-01T12:00:00Z",
    });
    let (created, deleted) = (before == NO_COMMIT, after == NO_COMMIT);
    json!({
        "ref": format!("refs/heads/{branch}"),
        "before": before,
        "after": after,
        "created": created,
        "deleted": deleted,
        "forced": false,
        "commits": if created || deleted { json!([]) } else { json!([commit]) },
        "head_commit": if deleted { Value::Null } else { commit },
        "pusher": person("ann"),
    })
}

fn repository(owner: &str, name: &str) -> Value {
    let id = if owner == "acme" { 140 } else { 141 };
    json!({
        "id": id,
        "name": name,
        "full_name": format!("{owner}/{name}"),
        "owner": person(owner),
        "private": true,
        "fork": owner != "acme",
        "html_url": format!("https://git.example.org/{owner}/{name}"),
        "clone_url": format!("https://git.example.org/{owner}/{name}.git"),
        "ssh_url": format!("git@git.example.org:{owner}/{name}.git"),
        "default_branch": "main",
    })
}

fn person(login: &str) -> Value {
    json!({ "id": 7, "login": login, "username": login, "name": login, "full_name": "" })
}

/// Adds the members of `more` to `body`, into objects that both have.
fn merge(body: &mut Value, more: &Value) {
    if let (Value::Object(body), Value::Object(more)) = (body, more) {
        for (key, value) in more {
            match body.get_mut(key) {
                Some(inner) if inner.is_object() => merge(inner, value),
                _ => drop(body.insert(key.clone(), value.clone())),
            }
        }
    }
}

fn uuid() -> Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("no random numbers")?;
    Ok(uuid.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector in GitHub's documentation, "Validating webhook deliveries".
    #[test]
    fn signs_as_github_documents() {
        assert_eq!(
            sign(b"It's a Secret to Everybody", b"Hello, World!"),
            "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
        );
    }

    #[test]
    fn deletions_come_as_each_forge_sends_them() {
        let event = Event::BranchDeleted { branch: "feature/x".into(), last: "1".repeat(40) };
        let told = |forge: Forge| -> Vec<(String, String)> {
            let deliveries = forge.deliveries("shop", &event).unwrap();
            deliveries
                .iter()
                .map(|delivery| {
                    let body: Value = serde_json::from_slice(delivery.body()).unwrap();
                    (delivery.event.to_owned(), body["ref"].as_str().unwrap().to_owned())
                })
                .collect()
        };
        let pair = |event: &str, name: &str| (event.to_owned(), name.to_owned());
        assert_eq!(told(Forge::Forgejo), [pair("delete", "refs/heads/feature/x")]);
        assert_eq!(told(Forge::Gitea), [pair("delete", "feature/x")]);
        assert_eq!(
            told(Forge::Github),
            [pair("push", "refs/heads/feature/x"), pair("delete", "feature/x")]
        );
    }

    #[test]
    fn forgejo_sends_four_families_of_headers() {
        let deliveries = Forge::Forgejo.deliveries("shop", &Event::Ping).unwrap();
        let headers = deliveries[0].headers(b"s");
        for name in ["X-Forgejo-Event", "X-Gitea-Event", "X-Gogs-Event", "X-GitHub-Event"] {
            assert!(headers.iter().any(|(n, v)| n == name && v == "ping"), "{name}");
        }
    }
}
