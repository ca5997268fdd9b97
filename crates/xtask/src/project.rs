//! A project of a host: its repository, its webhook, its names.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::forge::{Delivery, Event, Forge, NO_COMMIT, PullRequest, PullRequestAction};
use crate::http::{Answer, Ask};
use crate::kennel::Kennel;
use crate::sources::Sources;

/// Who reads the repository, and so owns it: git refuses those of other users.
const READER: &str = "kennel-build";

/// The states that a build stays in.
const ENDS: &[&str] = &["succeeded", "partial", "failed", "cancelled", "superseded"];

/// systemd sees a new secret within milliseconds; a busy machine takes longer to act on it.
const KNOWN_LIMIT: Duration = Duration::from_secs(480);

/// One configured project with a repository of its own in the host.
#[derive(Clone, Debug)]
pub struct Project {
    kennel: Kennel,
    name: String,
    secret: String,
    forge: Forge,
}

/// A commit that changes one file.
#[derive(Clone, Debug)]
pub struct Edit {
    /// The branch.
    pub branch: String,
    /// The file.
    pub path: String,
    /// What is in it then.
    pub text: String,
}

/// What a push did to a branch.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The branch.
    pub branch: String,
    /// The commit that it was at; all zeros for a new one.
    pub before: String,
    /// The commit that it is at now.
    pub after: String,
}

impl Project {
    /// Makes the repository, the project's configuration and its webhook secret. `settings` are
    /// more lines for its TOML file.
    pub(crate) fn create(
        kennel: &Kennel,
        name: &str,
        forge: Forge,
        settings: &str,
    ) -> Result<Self> {
        let project = Self::with_repository(kennel, name, forge)?;
        let repository = project.repository();
        // Before the project, so that it is never there without its secret.
        let host = kennel.host();
        host.write(&format!("etc/kennel/webhook-secrets/{name}"), &project.secret)?;
        host.write(
            &format!("etc/kennel/projects.d/{name}.toml"),
            format!(
                "repo_url = \"file://{repository}\"\nforge = \"{}\"\n{settings}\n",
                forge.name()
            ),
        )?;
        project.expect_known()?;
        Ok(project)
    }

    /// Makes the repository of a project that the host knows.
    pub(crate) fn declared(kennel: &Kennel, name: &str, forge: Forge) -> Result<Self> {
        let project = Self::with_repository(kennel, name, forge)?;
        project.expect_known()?;
        Ok(project)
    }

    /// What webhooks of a project of this name are signed with.
    #[must_use]
    pub fn secret_of(name: &str) -> String {
        format!("the secret of {name}")
    }

    fn with_repository(kennel: &Kennel, name: &str, forge: Forge) -> Result<Self> {
        let secret = Self::secret_of(name);
        let project = Self { kennel: kennel.clone(), name: name.to_owned(), secret, forge };
        let repository = project.repository();
        kennel.host().sh(&format!(
            "mkdir -p /srv/git && git init --quiet --bare -b main {repository} && \
             chown -R {READER}: {repository}"
        ))?;
        Ok(project)
    }

    /// A receiver that runs leaves because of the new secret; until then it does not know it.
    fn expect_known(&self) -> Result<()> {
        self.kennel.wait_for(&format!("receiver that knows {}", self.name), KNOWN_LIMIT, || {
            self.tell(&Event::Ping).map(Some)
        })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its webhooks are signed with.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The path of its bare repository in the host.
    #[must_use]
    pub fn repository(&self) -> String {
        format!("/srv/git/{}.git", self.name)
    }

    /// The host name of a service or site of a branch whose slug is `slug`.
    #[must_use]
    pub fn address(&self, service: &str, slug: &str) -> String {
        format!("{service}-{slug}.{}.{}", self.name, self.kennel.base_domain())
    }

    /// Commits files to a branch. Tells nobody.
    ///
    /// # Errors
    /// When git refuses.
    pub fn commit(&self, branch: &str, sources: &Sources, message: &str) -> Result<Pushed> {
        let before = self.head(branch).unwrap_or_else(|_| NO_COMMIT.to_owned());
        let stream = fast_import(branch, &before, sources, message);
        self.git(&["fast-import", "--quiet", "--done", "--date-format=now"], &stream)?;
        Ok(Pushed { branch: branch.to_owned(), before, after: self.head(branch)? })
    }

    /// Commits files to a branch and tells of it.
    ///
    /// # Errors
    /// When git refuses, or the webhook is not accepted.
    pub fn push(&self, branch: &str, sources: &Sources, message: &str) -> Result<Pushed> {
        let pushed = self.commit(branch, sources, message)?;
        self.tell(&pushed.event())?;
        Ok(pushed)
    }

    /// Deletes a branch and tells of it.
    ///
    /// # Errors
    /// When there is no such branch, or the webhook is not accepted.
    pub fn delete_branch(&self, branch: &str) -> Result<()> {
        let last = self.head(branch)?;
        self.forget(branch)?;
        self.tell(&Event::BranchDeleted { branch: branch.to_owned(), last })
    }

    /// Deletes a branch. Tells nobody.
    ///
    /// # Errors
    /// When git refuses.
    pub fn forget(&self, branch: &str) -> Result<()> {
        self.git(&["update-ref", "-d", &format!("refs/heads/{branch}")], b"").map(drop)
    }

    /// Puts a pull request's head where forges keep it, `refs/pull/<number>/head`, and tells of it.
    ///
    /// # Errors
    /// When its head is no commit of the repository, or the webhook is not accepted.
    pub fn pull_request(&self, pull: &PullRequest, action: PullRequestAction) -> Result<()> {
        self.git(&["update-ref", &format!("refs/pull/{}/head", pull.number), &pull.head], b"")?;
        self.tell(&Event::PullRequest(pull.clone(), action))
    }

    /// Tells of an event and wants a 2xx for each delivery.
    ///
    /// # Errors
    /// When an answer is another, with its text.
    pub fn tell(&self, event: &Event) -> Result<()> {
        self.send(&self.asks(event)?)
    }

    /// Sends what [`Self::asks`] made, and wants it to be taken.
    ///
    /// # Errors
    /// When it is refused or no answer comes.
    pub fn send(&self, asks: &[Ask]) -> Result<()> {
        for ask in asks {
            let answer = self.kennel.ask(ask)?;
            anyhow::ensure!(
                (200..300).contains(&answer.status),
                "the webhook of {} answers {}: {}",
                self.name,
                answer.status,
                answer.text().trim()
            );
        }
        Ok(())
    }

    /// Sends what the project's forge sends for an event; returns the answers.
    ///
    /// # Errors
    /// When no answer comes.
    pub fn deliver(&self, event: &Event) -> Result<Vec<Answer>> {
        self.asks(event)?.iter().map(|ask| self.kennel.ask(ask)).collect()
    }

    /// What the project's forge asks for an event, signed; sent again, it is a redelivery.
    ///
    /// # Errors
    /// When the kernel has no random numbers for the delivery id.
    pub fn asks(&self, event: &Event) -> Result<Vec<Ask>> {
        let deliveries = self.forge.deliveries(&self.name, event)?;
        let path = format!("/webhook/{}", self.name);
        let ask = |delivery: &Delivery| {
            let ask = Ask::post(&self.kennel.control_host(), &path, delivery.body().to_vec());
            let headers = delivery.headers(self.secret.as_bytes());
            headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value))
        };
        Ok(deliveries.iter().map(ask).collect())
    }

    /// Commits a file on top of a commit, and another on top of that: one after the other for each
    /// branch, hundreds in a moment. A branch that is there is moved. Tells nobody.
    ///
    /// # Errors
    /// When git refuses.
    pub fn commit_edits(&self, base: &str, edits: &[Edit]) -> Result<Vec<Pushed>> {
        let (mut stream, mut heads) = (String::new(), BTreeMap::new());
        for (mark, Edit { branch, path, text }) in (1..).zip(edits) {
            let from = match heads.insert(branch, mark) {
                Some(earlier) => format!(":{earlier}"),
                None => base.to_owned(),
            };
            stream.push_str(&format!(
                "commit refs/heads/{branch}\nmark :{mark}\ncommitter Ann <ann@example.org> now\n\
                 data 4\nedit\nfrom {from}\nM 100644 inline {path}\ndata {}\n{text}\n\
                 get-mark :{mark}\n",
                text.len()
            ));
        }
        stream.push_str("done\n");
        let import = ["fast-import", "--quiet", "--done", "--force", "--date-format=now"];
        let said = self.git(&import, stream.as_bytes())?;
        let commits: Vec<&str> = said.lines().collect();
        anyhow::ensure!(commits.len() == edits.len(), "git made {} commits", commits.len());
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let pushed = edits.iter().zip(commits).map(|(edit, after)| Pushed {
            branch: edit.branch.clone(),
            before: before.insert(&edit.branch, after).unwrap_or(base).to_owned(),
            after: after.to_owned(),
        });
        Ok(pushed.collect())
    }

    /// The commit that a branch is at.
    ///
    /// # Errors
    /// When there is no such branch.
    pub fn head(&self, branch: &str) -> Result<String> {
        let sha =
            self.git(&["rev-parse", "--verify", "--quiet", &format!("refs/heads/{branch}")], b"")?;
        Ok(sha.trim().to_owned())
    }

    /// What `kennelctl build` says of the newest build of a commit; `None` before it is queued.
    ///
    /// # Errors
    /// When kennelctl fails.
    pub fn build(&self, commit: &str) -> Result<Option<Value>> {
        let builds = self.kennel.ctl(&["builds", "--project", &self.name])?;
        let of_commit = |build: &&Value| build.get("commit").is_some_and(|sha| sha == commit);
        let build = builds.as_array().into_iter().flatten().find(of_commit);
        let Some(id) = build.and_then(|build| build.get("id")) else { return Ok(None) };
        self.kennel.ctl(&["build", &id.to_string()]).map(Some)
    }

    /// Waits until the build of a commit is in a state, such as `succeeded`; returns the build.
    ///
    /// # Errors
    /// As soon as it ends otherwise, or when it is not there within `limit`: what it says, and
    /// what Kennel says.
    pub fn expect_build(&self, commit: &str, state: &str, limit: Duration) -> Result<Value> {
        let what = format!("{state} build of {commit}");
        let build = self.kennel.wait_for(&what, limit, || {
            let Some(build) = self.build(commit)? else { return Ok(None) };
            let now = build.get("state").and_then(Value::as_str).unwrap_or_default();
            if now == state || ENDS.contains(&now) {
                return Ok(Some(build));
            }
            Err(anyhow!("{build}"))
        })?;
        if build.get("state").is_some_and(|it| it == state) {
            return Ok(build);
        }
        Err(self.kennel.explain(&anyhow!("no {what}, but {build}")))
    }

    /// What `kennelctl status` says of the project's deployments.
    ///
    /// # Errors
    /// When kennelctl fails.
    pub fn deployments(&self) -> Result<Vec<Value>> {
        let mut status = self.kennel.ctl(&["status", &self.name])?;
        match status.get_mut("deployments").map(Value::take) {
            Some(Value::Array(deployments)) => Ok(deployments),
            _ => bail!("kennelctl status has no deployments: {status}"),
        }
    }

    fn git(&self, args: &[&str], input: &[u8]) -> Result<String> {
        let repository = self.repository();
        let mut argv = vec!["runuser", "-u", READER, "--", "env", "HOME=/nonexistent"];
        argv.extend(["git", "-C", &repository]);
        argv.extend(args);
        self.kennel.host().run_with_input(&argv, input).context("git in the sample repository")
    }
}

impl Pushed {
    /// What a forge tells of it.
    #[must_use]
    pub fn event(&self) -> Event {
        Event::Push {
            branch: self.branch.clone(),
            before: self.before.clone(),
            after: self.after.clone(),
        }
    }
}

/// One commit as git-fast-import(1) reads it.
fn fast_import(branch: &str, before: &str, sources: &Sources, message: &str) -> Vec<u8> {
    let mut stream = format!("commit refs/heads/{branch}\ncommitter Ann <ann@example.org> now\n");
    stream.push_str(&format!("data {}\n{message}\n", message.len()));
    if before != NO_COMMIT {
        stream.push_str(&format!("from {before}\ndeleteall\n"));
    }
    let mut stream = stream.into_bytes();
    for (path, file) in sources.files() {
        let mode = if file.executable { "100755" } else { "100644" };
        stream.extend(format!("M {mode} inline {path}\ndata {}\n", file.bytes.len()).bytes());
        stream.extend(file.bytes);
        stream.push(b'\n');
    }
    stream.extend(b"done\n");
    stream
}
