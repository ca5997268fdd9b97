//! What the API says, to whoever asks and to the journal. Never a token.

use kennel_core::{BuildId, BuildState, ProjectName, TokenName};

pub(crate) fn status() -> String {
    "answering requests".to_owned()
}

pub(crate) fn not_found() -> String {
    "there is nothing here; builds are at /api/v1/builds/<id>".to_owned()
}

pub(crate) fn wrong_method(methods: &str) -> String {
    format!("this address takes {methods} alone")
}

pub(crate) fn no_token() -> String {
    "a token is needed: send it as `Authorization: Bearer kennel_...`; `kennelctl token create` \
     makes one"
        .to_owned()
}

pub(crate) fn bad_token() -> String {
    "this is no token, or it has expired or was revoked; `kennelctl token list` on the host shows \
     those that count"
        .to_owned()
}

/// The same of a build that is not there and of one that the token is not for.
pub(crate) fn no_build(id: Option<BuildId>) -> String {
    match id {
        Some(id) => format!("there is no build {id} that this token is for"),
        None => "a build has a number, as in /api/v1/builds/42".to_owned(),
    }
}

pub(crate) fn may_only_read(token: &TokenName) -> String {
    format!(
        "the token {token} may look at builds and not cancel them; make one with `--may cancel`"
    )
}

pub(crate) fn not_for_metrics(token: &TokenName) -> String {
    format!(
        "the token {token} is for builds and not for figures; make one with `kennelctl token create \
         NAME --may metrics`"
    )
}

pub(crate) fn router_silent() -> String {
    "the router does not tell its figures now; see `journalctl -u kennel-api` on the host"
        .to_owned()
}

pub(crate) fn ended(id: BuildId, state: BuildState) -> String {
    format!("build {id} has ended already: it is {state}")
}

/// It ended by itself while the wish was on its way.
pub(crate) fn ended_meanwhile(id: BuildId, state: BuildState, outcome: Option<&str>) -> String {
    let outcome = outcome.map(|outcome| format!(" ({outcome})")).unwrap_or_default();
    format!("build {id} ended before it could be cancelled: it is {state}{outcome}")
}

pub(crate) fn unavailable() -> String {
    "Kennel's databases cannot be used now; ask again in a moment, and see `journalctl -u \
     kennel-api` on the host if it stays so"
        .to_owned()
}

// The journal.

pub(crate) fn journal_router_silent(why: &str) -> String {
    format!("the router does not tell its figures: {why}")
}

pub(crate) fn journal_cancelled(
    token: &TokenName,
    id: BuildId,
    project: &ProjectName,
    state: BuildState,
) -> String {
    format!("token {token} cancels build {id} of {project}: it is {state}")
}

pub(crate) fn journal_no_right(token: &TokenName, id: BuildId, project: &ProjectName) -> String {
    format!("token {token} may only read, and was to cancel build {id} of {project}")
}

pub(crate) fn journal_refused() -> String {
    "a request without a token that counts was refused".to_owned()
}

pub(crate) fn journal_unreadable(why: &str) -> String {
    format!("{why}; requests are answered with 503 meanwhile")
}

pub(crate) fn journal_crowded(connections: usize) -> String {
    format!("more than {connections} connections: those that send for the longest are closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence() {
        let (id, token) = (BuildId::from_row(7), "ci".parse().unwrap());
        let project = "site".parse().unwrap();
        let ended_by_itself = BuildState::Succeeded;
        insta::assert_snapshot!(
            [
                status(),
                not_found(),
                wrong_method("POST"),
                no_token(),
                bad_token(),
                no_build(Some(id)),
                no_build(None),
                may_only_read(&token),
                ended(id, BuildState::Failed),
                ended_meanwhile(id, ended_by_itself, Some("build 7 is succeeded already")),
                ended_meanwhile(id, ended_by_itself, None),
                unavailable(),
                journal_cancelled(&token, id, &project, BuildState::Cancelled),
                journal_no_right(&token, id, &project),
                journal_refused(),
                journal_unreadable("cannot open builds.db"),
                journal_crowded(64),
            ]
            .join("\n")
        );
    }
}
