//! The API on the control host: for tokens, and for nobody else.

use kennel_tests::{
    Answer, Ask, Context, Kennel, LIMIT, Result, bail, builders, ensure, that_waits,
};
use serde_json::Value;

const SECONDS: u32 = 32_011;

/// By a token of its project, while it runs; who did it is written down, and the token is not.
pub(crate) fn cancels_builds(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("wished")?;
    kennel.project("unasked")?;
    let tokens = Tokens::create(kennel)?;
    let pushed = project.push("main", &that_waits(kennel, SECONDS), "wait")?;
    kennel.wait_for("builder that waits", LIMIT, || {
        Ok(Some(builders(kennel, SECONDS)?).filter(|found| !found.is_empty()))
    })?;
    let build = project.build(&pushed.after)?.context("the build has no row")?;
    let id = build.get("id").and_then(Value::as_i64).context("it has no number")?;

    let build = format!("/api/v1/builds/{id}");
    expect(&get(kennel, "/health", "")?, 200, "\"healthy\":true")?;
    expect(&get(kennel, &build, &tokens.reader)?, 200, "\"state\":\"building\"")?;
    expect(&get(kennel, &build, &tokens.other)?, 404, "no build")?;
    expect(&cancel(kennel, id, &tokens.other)?, 404, "no build")?;
    expect(&cancel(kennel, id, &tokens.reader)?, 403, "reader")?;
    let wrong = format!("kennel_{}", "0".repeat(64));
    for token in ["", "kennel_x", &wrong, &tokens.revoked] {
        let refused = cancel(kennel, id, token)?;
        expect(&refused, 401, "token")?;
        let challenge = refused.header("www-authenticate").unwrap_or_default();
        ensure!(challenge.starts_with("Bearer"), "it is challenged with {challenge:?}");
    }
    kennel.wait_for("end of a token", LIMIT, || {
        Ok((get(kennel, &build, &tokens.short)?.status == 401).then_some(()))
    })?;
    let still = project.build(&pushed.after)?.context("the build has no row")?;
    ensure!(still.get("state").is_some_and(|it| it == "building"), "it is {still}");

    expect(&cancel(kennel, id, &tokens.ci)?, 200, "\"state\":\"cancelled\"")?;
    ensure!(builders(kennel, SECONDS)?.is_empty(), "its builder goes on");
    expect(&cancel(kennel, id, &tokens.ci)?, 409, "ended already")?;
    expect(&cancel(kennel, 999_999, &tokens.ci)?, 404, "no build 999999")?;
    // What is shown is what kennelctl shows.
    let shown: Value = serde_json::from_str(&get(kennel, &build, &tokens.ci)?.text())?;
    let builds = kennel.ctl(&["builds", "--project", "wished"])?;
    ensure!(builds.get(0) == Some(&shown), "the API shows {shown}, kennelctl {builds}");

    let audit = kennel.wait_for("audit of the wish", LIMIT, || {
        let audit = kennel.ctl(&["audit", "wished", "--action", "cancel"])?;
        Ok(audit.get(0).cloned())
    })?;
    ensure!(
        audit.get("by").is_some_and(|it| it == "token ci")
            && audit.get("uid").is_some_and(Value::is_null)
            && audit.get("subject").is_some_and(|it| *it == format!("build {id}")),
        "the audit has {audit}"
    );
    tokens.expect_nowhere(kennel)
}

/// Its groups could write builds.db, and read state.db and logs; its unit cannot.
pub(crate) fn reads_through_a_wall(kennel: &Kennel) -> Result<()> {
    let looks = "test -r /var/lib/kennel/builds/builds.db; \
                 test ! -w /var/lib/kennel/builds/builds.db; test ! -w /var/lib/kennel/builds; \
                 test -w /var/lib/kennel/inbox/inbox.db; \
                 test -r /etc/kennel/tokens; test ! -w /etc/kennel/tokens; \
                 test -w /run/kennel/router.sock; test ! -r /var/lib/kennel/logs; \
                 test ! -r /var/lib/kennel/state/state.db";
    kennel.host().sh(&format!(
        "sed -e 's|^ExecStart=.*|ExecStart=/bin/sh -euc \"{looks}\"|' -e '/^Requires=/d' \
         -e 's/^Type=.*/Type=oneshot/' /usr/lib/systemd/system/kennel-api.service \
         > /run/systemd/system/like-the-api.service"
    ))?;
    kennel.host().run(&["systemctl", "start", "like-the-api.service"])?;
    Ok(())
}

/// Tokens of all kinds, two of them worth nothing.
struct Tokens {
    ci: String,
    reader: String,
    other: String,
    short: String,
    revoked: String,
}

impl Tokens {
    fn create(kennel: &Kennel) -> Result<Self> {
        let create = |name: &str, more: &[&str]| -> Result<String> {
            let made =
                kennel.host().run(&[&["kennelctl", "token", "create", name], more].concat())?;
            Ok(made.trim().to_owned())
        };
        let tokens = Self {
            ci: create("ci", &["--project", "wished", "--may", "cancel"])?,
            reader: create("reader", &["--project", "wished"])?,
            other: create("other", &["--project", "unasked", "--may", "cancel"])?,
            short: create("short", &["--project", "wished", "--expires", "1s"])?,
            revoked: create("revoked", &["--project", "wished", "--may", "cancel"])?,
        };
        kennel.host().run(&["kennelctl", "token", "revoke", "revoked"])?;
        let audit = kennel.wait_for("audit of the tokens", LIMIT, || {
            let actions = "token_created,token_revoked";
            let audit = kennel.ctl(&["audit", "wished", "--action", actions])?;
            Ok(audit.as_array().filter(|rows| rows.len() == 5).cloned())
        })?;
        let newest = audit.first().context("no row")?;
        ensure!(
            newest.get("action").is_some_and(|it| it == "token_revoked")
                && newest.get("subject").is_some_and(|it| it == "token revoked")
                && newest.get("by").is_some_and(|it| it == "root"),
            "the newest row is {newest}"
        );
        Ok(tokens)
    }

    /// Neither in the journal nor in a file.
    fn expect_nowhere(&self, kennel: &Kennel) -> Result<()> {
        let journal = kennel.wait_for("journal of the API", LIMIT, || {
            let journal = kennel.host().journal(&["-b"])?;
            Ok(Some(journal).filter(|it| it.contains("token ci cancels build")))
        })?;
        for token in [&self.ci, &self.reader, &self.other, &self.short, &self.revoked] {
            let secret = token.strip_prefix("kennel_").context("no token")?;
            ensure!(secret.len() == 64 && !journal.contains(secret), "the journal has a token");
            let found = kennel.host().try_run(&[
                "grep",
                "-rlF",
                secret,
                "/etc/kennel",
                "/var/lib/kennel/inbox",
                "/var/lib/kennel/builds",
                "/var/lib/kennel/state",
                "/var/lib/kennel/routes",
            ])?;
            if found.code != 1 {
                bail!("a token is kept: {found:?}");
            }
        }
        Ok(())
    }
}

fn get(kennel: &Kennel, path: &str, token: &str) -> Result<Answer> {
    kennel.ask(&with(Ask::get(&kennel.control_host(), path), token))
}

fn cancel(kennel: &Kennel, id: i64, token: &str) -> Result<Answer> {
    let path = format!("/builds/{id}/cancel");
    kennel.ask(&with(Ask::post(&kennel.control_host(), &path, ""), token))
}

fn with(ask: Ask, token: &str) -> Ask {
    if token.is_empty() { ask } else { ask.header("Authorization", &format!("Bearer {token}")) }
}

fn expect(answer: &Answer, status: u16, part: &str) -> Result<()> {
    let text = answer.text();
    ensure!(
        answer.status == status && text.contains(part),
        "instead of {status} with {part:?}: {} {text}",
        answer.status
    );
    Ok(())
}
