//! Every sentence that the receiver answers with. Senders see them in their hook's history, so
//! each says what to do next.

use kennel_core::{DeliveryId, Event, ProjectName};

use crate::form::FormError;
use crate::limits::Limits;
use crate::understand::Misunderstood;

/// A forge's text, fit for one line of an answer or a log.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

// Understood.

pub(crate) fn understood(event: &Event) -> String {
    match event {
        Event::Push { branch, sha } => {
            format!("push of {} at {}", shown(branch.as_str()), sha.short())
        }
        Event::BranchDeleted { branch } => format!("branch {} is gone", shown(branch.as_str())),
        Event::PullRequest { number, sha, .. } => {
            format!("pull request {number} at {}", sha.short())
        }
        Event::PullRequestClosed { number } => format!("pull request {number} is closed"),
        // Wishes of people; no forge reports them.
        Event::Approve { build } => format!("build {build} may be built"),
        Event::Cancel { build } => format!("build {build} is to end"),
        Event::TearDown { git_ref, .. } => format!("{} is to go", shown(&git_ref.short())),
        Event::Redeploy { git_ref, .. } => {
            format!("{} is to be deployed again", shown(&git_ref.short()))
        }
        Event::Rebuild { git_ref } => format!("{} is to be built again", shown(&git_ref.short())),
        Event::RollBack { git_ref, .. } => format!("{} is to go back", shown(&git_ref.short())),
        Event::Pin { git_ref, .. } => format!("{} is to stay", shown(&git_ref.short())),
        Event::Unpin { git_ref, .. } => format!("{} need not stay", shown(&git_ref.short())),
        Event::MaintenanceOn { .. } => "visitors are to be told of maintenance".to_owned(),
        Event::MaintenanceOff { .. } => "maintenance is to end".to_owned(),
        Event::Extend { git_ref, by } => {
            format!("{} is to stay {by} longer", shown(&git_ref.short()))
        }
        // Kennel's own.
        Event::Expired { git_ref } => format!("{} has expired", shown(&git_ref.short())),
        Event::SecretSet { name, .. } => format!("the secret {name} is set"),
        Event::SecretRemoved { name, .. } => format!("the secret {name} is removed"),
        Event::TokenCreated { name } => format!("the token {name} is made"),
        Event::TokenRevoked { name } => format!("the token {name} is taken back"),
    }
}

pub(crate) fn ping() -> String {
    "ping; the hook works".into()
}

// Nothing to do, and why.

pub(crate) fn other_event(event: &str) -> String {
    format!("{} events change nothing that Kennel deploys", shown(event))
}

pub(crate) fn other_ref_pushed(full_ref: &str) -> String {
    match full_ref.strip_prefix("refs/tags/") {
        Some(tag) => format!("tag {} was pushed; Kennel builds branches", shown(tag)),
        None => format!("{} was pushed; Kennel builds branches", shown(full_ref)),
    }
}

pub(crate) fn empty_repository() -> String {
    "the repository has no commit yet; push one".into()
}

pub(crate) fn tag_deleted(tag: &str) -> String {
    format!("tag {} is gone; Kennel builds branches", shown(tag))
}

pub(crate) fn tag_created(tag: &str) -> String {
    format!("tag {} is new; Kennel builds branches", shown(tag))
}

pub(crate) fn branch_created(branch: &str) -> String {
    format!("branch {} is new; the push that follows says its commit", shown(branch))
}

pub(crate) fn other_ref_type(ref_type: &str) -> String {
    format!("a {} came or went; Kennel builds branches", shown(ref_type))
}

pub(crate) fn other_pull_request_action(action: &str) -> String {
    format!("a pull request was {}; only its commits and its end matter", shown(action))
}

// Refused.

pub(crate) fn not_found() -> String {
    "there is nothing here; a hook's address ends in /webhook/<project>".into()
}

pub(crate) fn wrong_method() -> String {
    "hooks are sent with POST; choose it in the hook's settings".into()
}

pub(crate) fn no_event() -> String {
    "no X-Forgejo-Event, X-Gitea-Event or X-GitHub-Event header says what happened; \
     choose Forgejo, Gitea or GitHub as the hook's type"
        .into()
}

pub(crate) fn no_signature() -> String {
    "the delivery is not signed; give the hook the project's secret".into()
}

pub(crate) fn other_media() -> String {
    "the body is neither JSON nor a form; choose application/json in the hook's settings".into()
}

pub(crate) fn compressed() -> String {
    "the body is compressed; send it without a Content-Encoding".into()
}

pub(crate) fn bad_form(error: FormError) -> String {
    match error {
        FormError::NoPayload => {
            "the form has no field `payload`; choose application/json in the hook's settings".into()
        }
        FormError::SeveralPayloads => "the form has several fields `payload`; send one".into(),
    }
}

pub(crate) fn too_large(limits: &Limits) -> String {
    format!("the body is larger than {} MiB; push fewer commits at once", limits.body >> 20)
}

pub(crate) fn too_slow(limits: &Limits) -> String {
    format!("the body did not arrive within {} s; send it again", limits.body_time.as_secs())
}

pub(crate) fn broken_body() -> String {
    "the body ended early or is not valid HTTP; send it again".into()
}

pub(crate) fn no_memory() -> String {
    "too many large deliveries arrive at once; send this one again in a moment".into()
}

// The same words for a wrong signature and for a project that is not there.
pub(crate) fn unauthorized() -> String {
    "there is no such project, or the signature is not made with its secret; \
     compare the hook's address and secret with the project's"
        .into()
}

pub(crate) fn misunderstood(why: &Misunderstood) -> String {
    match why {
        Misunderstood::NotJson { line, column } => format!(
            "the payload stops being JSON at line {line}, column {column}; \
             look at the delivery in the hook's history"
        ),
        Misunderstood::OtherShape { event } => format!(
            "the payload is not that of a {} event; choose the forge's own type for the hook",
            shown(event)
        ),
        Misunderstood::Field(field) => {
            format!("the payload has no usable `{field}`; choose the forge's own type for the hook")
        }
        Misunderstood::Branch(invalid) => format!("{invalid}; rename the branch"),
        Misunderstood::Commit(invalid) => {
            format!("{invalid}; look at the delivery in the hook's history")
        }
    }
}

pub(crate) fn unavailable() -> String {
    "the inbox cannot be written right now; send the delivery again in a moment".into()
}

// For the journal only.

pub(crate) fn journal_unknown_project() -> String {
    "the project has no webhook secret; is there one in /etc/kennel/webhook-secrets?".into()
}

pub(crate) fn journal_wrong_signature() -> String {
    "the signature is wrong; does the hook have the project's secret?".into()
}

pub(crate) fn journal_crowded(connections: usize) -> String {
    format!(
        "more than {connections} senders at once: those that take longest are closed to make room; \
         a firewall before port 80 can limit them"
    )
}

pub(crate) fn journal_unlisted(count: u64) -> String {
    format!("{count} more refused requests were not written down")
}

pub(crate) fn journal_unlisted_deliveries(count: u64) -> String {
    format!("{count} more deliveries were taken in the same moments, each a row of the inbox")
}

pub(crate) fn journal_delivery(
    project: Option<&ProjectName>,
    outcome: &str,
    sentence: &str,
    id: Option<&DeliveryId>,
) -> String {
    let project = project.map(|project| format!("{project}: ")).unwrap_or_default();
    let id = id.map(|id| format!(" (delivery {id})")).unwrap_or_default();
    format!("{project}{outcome}: {sentence}{id}")
}

pub(crate) fn status(projects: usize) -> String {
    match projects {
        0 => "waiting for deliveries; no project has a webhook secret".into(),
        1 => "waiting for deliveries of 1 project".into(),
        many => format!("waiting for deliveries of {many} projects"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence() {
        let branch = || "feature/x".parse().unwrap();
        let sha = || "a1b2c3d4e5f6a1b2c3d4e5f6a1b2c3d4e5f6a1b2".parse().unwrap();
        let head = kennel_core::PullRequestHead {
            repository: None,
            base_repository: "team/site".into(),
            association: None,
        };
        let bad_branch = "a..b".parse::<kennel_core::Branch>().unwrap_err();
        let bad_commit = "a1b2".parse::<kennel_core::CommitSha>().unwrap_err();
        let limits = Limits::default();
        let sentences = [
            understood(&Event::Push { branch: branch(), sha: sha() }),
            understood(&Event::BranchDeleted { branch: branch() }),
            understood(&Event::PullRequest { number: 5, sha: sha(), head }),
            understood(&Event::PullRequestClosed { number: 5 }),
            ping(),
            other_event("release"),
            other_event("a\u{1b}[2J\n"),
            other_ref_pushed("refs/tags/v1"),
            other_ref_pushed("refs/notes/commits"),
            empty_repository(),
            tag_deleted("v1"),
            tag_created("v1"),
            branch_created("feature/x"),
            other_ref_type("repository"),
            other_pull_request_action("labeled"),
            not_found(),
            wrong_method(),
            no_event(),
            no_signature(),
            other_media(),
            compressed(),
            bad_form(FormError::NoPayload),
            bad_form(FormError::SeveralPayloads),
            too_large(&limits),
            too_slow(&limits),
            broken_body(),
            no_memory(),
            unauthorized(),
            misunderstood(&Misunderstood::NotJson { line: 1, column: 7 }),
            misunderstood(&Misunderstood::OtherShape { event: "push".into() }),
            misunderstood(&Misunderstood::Field("pull_request.head.sha")),
            misunderstood(&Misunderstood::Branch(bad_branch)),
            misunderstood(&Misunderstood::Commit(bad_commit)),
            unavailable(),
            journal_unknown_project(),
            journal_wrong_signature(),
            journal_crowded(512),
            journal_unlisted(37),
            journal_unlisted_deliveries(250),
            journal_delivery(
                "site".parse().ok().as_ref(),
                "queued",
                "push of main at a1b2c3d4e5f6",
                "f6266f16".parse().ok().as_ref(),
            ),
            journal_delivery(None, "not_found", "there is nothing here", None),
            status(0),
            status(1),
            status(7),
        ];
        insta::assert_snapshot!(sentences.join("\n"), @r#"
        push of feature/x at a1b2c3d4e5f6
        branch feature/x is gone
        pull request 5 at a1b2c3d4e5f6
        pull request 5 is closed
        ping; the hook works
        release events change nothing that Kennel deploys
        a\u{1b}[2J\n events change nothing that Kennel deploys
        tag v1 was pushed; Kennel builds branches
        refs/notes/commits was pushed; Kennel builds branches
        the repository has no commit yet; push one
        tag v1 is gone; Kennel builds branches
        tag v1 is new; Kennel builds branches
        branch feature/x is new; the push that follows says its commit
        a repository came or went; Kennel builds branches
        a pull request was labeled; only its commits and its end matter
        there is nothing here; a hook's address ends in /webhook/<project>
        hooks are sent with POST; choose it in the hook's settings
        no X-Forgejo-Event, X-Gitea-Event or X-GitHub-Event header says what happened; choose Forgejo, Gitea or GitHub as the hook's type
        the delivery is not signed; give the hook the project's secret
        the body is neither JSON nor a form; choose application/json in the hook's settings
        the body is compressed; send it without a Content-Encoding
        the form has no field `payload`; choose application/json in the hook's settings
        the form has several fields `payload`; send one
        the body is larger than 25 MiB; push fewer commits at once
        the body did not arrive within 30 s; send it again
        the body ended early or is not valid HTTP; send it again
        too many large deliveries arrive at once; send this one again in a moment
        there is no such project, or the signature is not made with its secret; compare the hook's address and secret with the project's
        the payload stops being JSON at line 1, column 7; look at the delivery in the hook's history
        the payload is not that of a push event; choose the forge's own type for the hook
        the payload has no usable `pull_request.head.sha`; choose the forge's own type for the hook
        `a..b` is not a branch name: git allows no `..`, `@{` or final `.` in it; rename the branch
        `a1b2` is not a commit id: it has neither 40 nor 64 digits; look at the delivery in the hook's history
        the inbox cannot be written right now; send the delivery again in a moment
        the project has no webhook secret; is there one in /etc/kennel/webhook-secrets?
        the signature is wrong; does the hook have the project's secret?
        more than 512 senders at once: those that take longest are closed to make room; a firewall before port 80 can limit them
        37 more refused requests were not written down
        250 more deliveries were taken in the same moments, each a row of the inbox
        site: queued: push of main at a1b2c3d4e5f6 (delivery f6266f16)
        not_found: there is nothing here
        waiting for deliveries; no project has a webhook secret
        waiting for deliveries of 1 project
        waiting for deliveries of 7 projects
        "#);
    }
}
