//! Every sentence that kennelctl says about a host; help is in `args`.
//!
//! One function per message, each with the next move where there is one.

use std::path::Path;
use std::time::Duration;

use kennel_core::{
    BuildId, BuildState, CommitSha, DeploymentId, DeploymentState, OutputKey, OutputKind,
    OutputState, ProjectName,
};
use kennel_store::{Build, Deployment};

use crate::clock::took;
use crate::terminal::printable;

pub(crate) fn no_kennel(path: &Path) -> String {
    format!(
        "{} does not exist: Kennel has never run here; start it with `systemctl enable --now \
         kennel.target`",
        path.display()
    )
}

pub(crate) fn not_permitted(path: &Path) -> String {
    format!(
        "{} may not be opened; run this with sudo, or join the groups kennel-state and \
         kennel-builds (kennel-inbox and kennel-bell to end something)",
        path.display()
    )
}

pub(crate) fn bell_not_heard(error: &kennel_systemd::RingError) -> String {
    format!("kennelctl: {error}")
}

pub(crate) fn no_build(id: BuildId) -> String {
    format!("there is no build {id}; see `kennelctl builds`")
}

pub(crate) fn no_project(name: &ProjectName, known: &[String]) -> String {
    if known.is_empty() {
        return format!(
            "there is no project {name}, and none is configured in /etc/kennel/projects.d"
        );
    }
    format!("there is no project {name}; known: {}", some(known))
}

pub(crate) fn no_target(asked: &str, known: &[String]) -> String {
    if known.is_empty() {
        return format!("nothing is deployed as {asked}; see `kennelctl status`");
    }
    format!("nothing is deployed as {asked}; known: {}", some(known))
}

/// The first few, and how many more.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<_> = names.iter().take(SHOWN).map(String::as_str).collect();
    match names.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

pub(crate) fn ambiguous(asked: &str, options: &[String]) -> String {
    format!("{asked} can mean more than one thing; write one of {}", options.join(", "))
}

pub(crate) fn nothing_to_tear_down(asked: &str) -> String {
    format!("{asked} is a whole project; name a branch of it, as in {asked}/main")
}

pub(crate) fn no_requests(asked: &str) -> String {
    format!("{asked} has nothing that could be asked for anything")
}

pub(crate) fn no_service_log(asked: &str) -> String {
    format!(
        "{asked} has no service that could have a log; sites are served by the router, see \
         `kennelctl logs {asked} --requests`"
    )
}

pub(crate) fn no_file(path: &Path) -> String {
    format!("{} does not exist", path.display())
}

pub(crate) fn unknown_kind(path: &Path) -> String {
    format!(
        "what {} configures does not follow from its name; add `--as host`, `--as project` or \
         `--as repository`",
        path.display()
    )
}

pub(crate) fn project_file_name(path: &Path) -> String {
    format!("{} is called like no project can be; rename it", path.display())
}

pub(crate) fn already_ended(id: BuildId, state: BuildState) -> String {
    format!("build {id} has ended already ({state}), so there is nothing to cancel")
}

pub(crate) fn not_in_audit(why: &str) -> String {
    format!("kennelctl: this is done, but `kennelctl audit` will not show it: {why}")
}

pub(crate) fn nobody_to_ask() -> &'static str {
    "this needs an answer and there is no terminal to ask on; add --yes if you are sure"
}

pub(crate) fn no_journalctl() -> &'static str {
    "cannot run journalctl, which belongs to systemd"
}

pub(crate) fn no_audit() -> &'static str {
    "Nobody has done anything that was asked for."
}

pub(crate) fn more_audit(more: u64) -> String {
    format!("… and {more} earlier; use --limit, --since or other conditions")
}

pub(crate) fn cancel_wished(id: BuildId) -> String {
    format!("build {id} is asked to end; see `kennelctl build {id}`")
}

pub(crate) fn cancelled(id: BuildId, state: BuildState) -> String {
    match state {
        BuildState::Cancelled => format!("build {id} is cancelled"),
        BuildState::Succeeded | BuildState::Partial | BuildState::Failed => {
            format!("build {id} ended by itself before it could be cancelled ({state})")
        }
        BuildState::Superseded => format!("build {id} gave way to a newer commit meanwhile"),
        BuildState::WaitingForApproval | BuildState::Queued | BuildState::Building => {
            cancel_late(id, state)
        }
    }
}

/// What became of a deployment whose build was to be cancelled.
pub(crate) fn deployment_cancelled(
    id: DeploymentId,
    key: &OutputKey,
    state: DeploymentState,
) -> String {
    match state {
        DeploymentState::Cancelled => {
            format!("deployment {id} of {key} is cancelled; what served before still does")
        }
        DeploymentState::Active => format!(
            "deployment {id} of {key} served before it could be cancelled; a push replaces it, \
             `kennelctl teardown {key}` removes it"
        ),
        DeploymentState::Pending | DeploymentState::Starting => format!(
            "deployment {id} of {key} is still {state}; the wish is kept, see `systemctl status \
             kennel-dispatch kennel-deploy@{id}`"
        ),
        DeploymentState::Draining
        | DeploymentState::Retired
        | DeploymentState::TearingDown
        | DeploymentState::TornDown
        | DeploymentState::Failed
        | DeploymentState::Superseded
        | DeploymentState::Unchanged => {
            format!(
                "deployment {id} of {key} ended by itself before it could be cancelled ({state})"
            )
        }
    }
}

fn cancel_late(id: BuildId, state: BuildState) -> String {
    format!(
        "build {id} is still {state}; the wish is kept, see `systemctl status kennel-dispatch \
         kennel-build@{id}`"
    )
}

pub(crate) fn confirm_teardown(asked: &str, outputs: &[String]) -> String {
    format!("Remove {} ({asked}) with everything that was stored there?", outputs.join(", "))
}

pub(crate) fn teardown_declined() -> &'static str {
    "nothing was removed"
}

pub(crate) fn teardown_wished(asked: &str) -> String {
    format!("{asked} is going to be removed; see `kennelctl status`")
}

pub(crate) fn torn_down(outputs: &[String], took_so_long: Duration) -> String {
    let verb = if outputs.len() == 1 { "is" } else { "are" };
    format!("{} {verb} gone, after {}", outputs.join(", "), took(took_so_long))
}

pub(crate) fn teardown_late(units: &[String]) -> String {
    format!(
        "not all is gone yet; the wish is kept, see `systemctl status kennel-dispatch {}`",
        units.join(" ")
    )
}

pub(crate) fn never_built(asked: &str, known: &[String]) -> String {
    if known.is_empty() {
        return format!("nothing was ever built of {asked}; push to it");
    }
    format!("nothing was ever built of {asked}; known: {}", some(known))
}

pub(crate) fn build_of_one(asked: &str, branch: &str) -> String {
    format!("a build is of a whole commit, not of {asked} alone; use `kennelctl builds {branch}`")
}

pub(crate) fn more_builds(count: u64) -> String {
    format!("And {count} more: --limit shows them; --state, --since and others choose.")
}

pub(crate) fn rebuild_of_one(asked: &str, branch: &str) -> String {
    format!(
        "a build is of a whole commit, not of {asked} alone; use `kennelctl redeploy {branch} \
         --rebuild`"
    )
}

pub(crate) fn redeploy_wished(asked: &str) -> String {
    format!("{asked} is asked to be deployed again; see `kennelctl status`")
}

pub(crate) fn rollback_wished(asked: &str) -> String {
    format!("{asked} is asked to go back; see `kennelctl history {asked}`")
}

pub(crate) fn not_a_branch(asked: &str) -> String {
    format!("{asked} is a whole project; name a branch, a service or a site of it")
}

pub(crate) fn not_whole_branch(asked: &str) -> String {
    format!("{asked} is no branch; what expires is a whole branch or pull request, name one")
}

pub(crate) fn extended(place: &str, when: &str, moment: &str) -> String {
    format!("{place} expires {when} at the earliest ({moment})")
}

pub(crate) fn not_one_output(asked: &str, options: &[String]) -> String {
    if options.is_empty() {
        return format!("{asked} is no service or site; see `kennelctl status`");
    }
    format!("{asked} is no service or site; name one: {}", some(options))
}

pub(crate) fn back_to(id: DeploymentId) -> String {
    format!("back to {id}")
}

pub(crate) fn pinned(place: &str, by: Option<&str>, when: &str) -> String {
    let by = by.map(|by| format!(" by {}", printable(by))).unwrap_or_default();
    format!(
        "{place} was pinned{by} {when}: pushes are built and held until `kennelctl unpin {place}`."
    )
}

pub(crate) fn maintained(
    place: &str,
    by: Option<&str>,
    when: &str,
    message: Option<&str>,
) -> String {
    let by = by.map(|by| format!(" by {}", printable(by))).unwrap_or_default();
    let told = message.map(|it| format!(", who are told `{}`", printable(it))).unwrap_or_default();
    format!(
        "{place} was closed for visitors{told}{by} {when}: 503 until `kennelctl maintenance off {place}`."
    )
}

pub(crate) fn not_published() -> &'static str {
    "the router does not have it yet; it is tried again, see `journalctl -u kennel-routes`"
}

pub(crate) fn bad_password(longest: usize) -> String {
    format!("a password has 1 to {longest} bytes")
}

pub(crate) fn passwords_differ() -> String {
    "these are two passwords; nothing was made of them".to_owned()
}

pub(crate) fn not_running() -> &'static str {
    "only a host that runs can be made to match its rows; --dry-run looks at a tree of files"
}

pub(crate) fn repaired(finding: &str) -> String {
    format!("repaired: {}", printable(finding))
}

pub(crate) fn reconciled(repaired: usize, left: usize, dry_run: bool) -> String {
    match (repaired, left) {
        (0, 0) => "The host matches the rows.".to_owned(),
        (_, 0) => format!("The host matches the rows again; {repaired} repaired."),
        (_, left) if dry_run => {
            format!("{left} found; `kennelctl reconcile` repairs what it can.")
        }
        (repaired, left) => format!("{repaired} repaired, {left} left."),
    }
}

pub(crate) fn undecided() -> &'static str {
    "the dispatcher has not answered yet; the wish is kept, see `systemctl status kennel-dispatch`"
}

pub(crate) fn goes_on(asked: &str) -> String {
    format!("{asked} goes on being deployed without you; see `kennelctl status --watch`")
}

pub(crate) fn rebuilds(id: BuildId, sha: &CommitSha) -> String {
    format!("Build {id} builds commit {} again.", sha.short())
}

pub(crate) fn rebuild_ended(id: BuildId, state: BuildState, reason: &str) -> String {
    let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
    let how = match state {
        BuildState::Failed => "failed",
        BuildState::Cancelled => "was cancelled",
        BuildState::Superseded => "gave way to a newer commit",
        BuildState::WaitingForApproval
        | BuildState::Queued
        | BuildState::Building
        | BuildState::Succeeded
        | BuildState::Partial => state.as_str(),
    };
    format!("build {id} {how}{why}; what served before still does, see `kennelctl build {id}`")
}

pub(crate) fn deployment_waits(id: DeploymentId, key: &OutputKey) -> String {
    format!("Deployment {id} of {key} waits for its turn.")
}

pub(crate) fn deployment_starts(id: DeploymentId, key: &OutputKey) -> String {
    format!("Deployment {id} of {key} starts.")
}

pub(crate) fn deployment_held(id: DeploymentId, key: &OutputKey) -> String {
    format!("{key}: deployment {id} is held; `kennelctl unpin {key}` deploys it")
}

pub(crate) fn deployment_serves(
    it: &Deployment,
    took_so_long: Duration,
    urls: &[String],
) -> String {
    let does = does(it.settings.kind());
    let at = if urls.is_empty() { String::new() } else { format!(" at {}", urls.join(", ")) };
    format!("{} {does}s{at} as deployment {}, after {}", it.key, it.id, took(took_so_long))
}

pub(crate) fn deployment_ended(
    id: DeploymentId,
    key: &OutputKey,
    state: DeploymentState,
    reason: &str,
) -> String {
    let how = match state {
        DeploymentState::Failed => "failed; what served before still does",
        DeploymentState::Superseded => "gave way to a newer one",
        DeploymentState::Unchanged => "changes nothing",
        DeploymentState::Cancelled => "was cancelled",
        DeploymentState::TearingDown | DeploymentState::TornDown => "was torn down",
        DeploymentState::Pending
        | DeploymentState::Starting
        | DeploymentState::Active
        | DeploymentState::Draining
        | DeploymentState::Retired => state.as_str(),
    };
    let reason = if reason.is_empty() { String::new() } else { format!("\n  {reason}") };
    format!("{key}: deployment {id} {how}{reason}")
}

pub(crate) fn nothing_deployed(asked: Option<&str>) -> String {
    match asked {
        Some(asked) => format!("Nothing is deployed for {asked}."),
        None => "Nothing is deployed yet. Push to a project of /etc/kennel/projects.d.".to_owned(),
    }
}

pub(crate) fn no_builds() -> &'static str {
    "No builds."
}

pub(crate) fn router_silent(why: &str) -> String {
    format!("The router does not tell its status ({why}); see `systemctl status kennel-router`.")
}

pub(crate) fn router_untold(why: &str) -> String {
    format!("the router does not tell its figures ({why}); see `systemctl status kennel-router`")
}

pub(crate) fn router_refused(reason: &str) -> String {
    format!("The router refused the newest route table and serves the one before: {reason}")
}

pub(crate) fn router_behind(loaded: Option<u64>, published: u64) -> String {
    let loaded = loaded.map_or("no route table".to_owned(), |n| format!("route table {n}"));
    format!(
        "The router serves {loaded}, and {published} is published; try `systemctl reload \
         kennel-router`."
    )
}

pub(crate) fn no_route_table(why: &str) -> String {
    format!("The route table cannot be read, so no addresses are shown: {why}")
}

pub(crate) fn not_routed(key: &str) -> String {
    format!(
        "{key} is active, but the route table has no address for it; see `journalctl -u \
         kennel-router -u kennel-restore`."
    )
}

pub(crate) fn program_unwell(place: &str, kind: OutputKind, detail: &str) -> String {
    let does = does(kind);
    format!("{place} should {does}, but {detail}; see `kennelctl logs {place}`.")
}

pub(crate) fn out_of_routes(since: &str, answer: &str, answers_now: bool) -> String {
    let now = if answers_now {
        ". It answers now, and serves again after the router's next look"
    } else {
        ""
    };
    format!("the router passes no requests to it since {since}: {answer}{now}")
}

/// What a deployment is there for, in a word.
pub(crate) fn does(kind: OutputKind) -> &'static str {
    if kind.is_routed() { "serve" } else { "run" }
}

pub(crate) fn site_unwell(place: &str, detail: &str) -> String {
    format!("{place} should serve, but {detail}; push it again.")
}

pub(crate) fn failed_in_full() -> &'static str {
    "In full: `journalctl -u kennel-deploy@<deployment>`."
}

pub(crate) fn ends(when: &str) -> String {
    format!("(ends {when})")
}

pub(crate) fn systemd_silent(why: &str) -> String {
    format!("systemd was not asked for the units' states: {why}")
}

pub(crate) fn router_not_permitted() -> String {
    "its socket may not be opened; run this with sudo".to_owned()
}

pub(crate) fn build_awaits_approval(id: BuildId) -> String {
    format!("Build {id} waits for approval; see `kennelctl build {id}`.")
}

pub(crate) fn approval_awaited(place: &str) -> String {
    format!("its author is no member; `kennelctl approve {place}` builds this commit")
}

pub(crate) fn approved(build: &Build) -> String {
    let (id, commit) = (build.id, build.sha.short());
    let place = format!("{}/{}", build.project, build.git_ref.short());
    format!("commit {commit} of {place} is being built; see `kennelctl build {id} --follow`")
}

pub(crate) fn not_one_commit(asked: &str) -> String {
    format!("{asked} is no pull request; name one, such as project/pr-7")
}

pub(crate) fn nothing_waits(asked: &str, commit: Option<&str>) -> String {
    let what = match commit {
        Some(commit) => format!("no commit {commit}"),
        None => "nothing".to_owned(),
    };
    format!("{what} of {asked} waits for approval; see `kennelctl builds {asked}`")
}

pub(crate) fn build_waits(id: BuildId) -> String {
    format!("Build {id} waits for its turn.")
}

pub(crate) fn build_runs(id: BuildId) -> String {
    format!("Build {id} runs.")
}

pub(crate) fn build_waits_again(id: BuildId) -> String {
    format!("Build {id} was interrupted and waits for its turn again.")
}

/// The last line of a followed build.
pub(crate) fn build_ended(
    id: BuildId,
    state: BuildState,
    took_so_long: Option<Duration>,
) -> String {
    let after = took_so_long.map(|span| format!(" after {}", took(span))).unwrap_or_default();
    match state {
        BuildState::WaitingForApproval => build_awaits_approval(id),
        BuildState::Queued | BuildState::Building => format!("Build {id} is {state}."),
        BuildState::Succeeded => format!("Build {id} succeeded{after}."),
        BuildState::Partial => format!("Build {id} succeeded in part{after}; the rest failed."),
        BuildState::Failed => format!("Build {id} failed{after}."),
        BuildState::Cancelled => format!("Build {id} was cancelled{after}."),
        BuildState::Superseded => format!("Build {id} gave way to a newer commit{after}."),
    }
}

/// The word for an output's state in a table; its reason stands below. `over` is whether its build
/// has ended.
pub(crate) fn output_state(state: OutputState, over: bool) -> &'static str {
    match state {
        OutputState::Pending | OutputState::Building if over => "not built",
        OutputState::Pending => "waits",
        OutputState::Building => "builds",
        OutputState::Built => "built",
        OutputState::Unchanged => "unchanged",
        OutputState::Failed => "failed",
    }
}

pub(crate) fn checked(files: usize, errors: usize, unread: usize, notes: usize) -> String {
    let count = |n: usize, one: &str, many: &str| match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{n} {many}")),
    };
    let found: Vec<_> = [
        count(errors, "error", "errors"),
        count(unread, "place not permitted to read", "places not permitted to read"),
        count(notes, "note", "notes"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let files = count(files, "file", "files").unwrap_or_else(|| "no file".to_owned());
    match found.as_slice() {
        [] => format!("{files} checked: all good"),
        found => format!("{files} checked: {}", found.join(", ")),
    }
}

pub(crate) fn unread() -> (&'static str, &'static str) {
    ("may not be read and was not checked", "run this with sudo")
}

pub(crate) fn no_host_config() -> (&'static str, &'static str) {
    ("does not exist", "write one with at least `base_domain = \"example.com\"`")
}

pub(crate) fn gone() -> (&'static str, &'static str) {
    ("was there a moment ago and is gone", "check again")
}

pub(crate) fn no_projects() -> (&'static str, &'static str) {
    ("configures no project yet", "write one as <project>.toml, see `kennelctl check --help`")
}

pub(crate) fn not_a_project_file() -> (&'static str, &'static str) {
    ("is ignored, since its name does not end in .toml", "rename or remove it")
}

pub(crate) fn no_secrets_directory() -> (&'static str, &'static str) {
    (
        "does not exist, and without it the receiver of webhooks cannot start",
        "make it with `install -d -m 700`",
    )
}

pub(crate) fn secrets_directory_open(mode: u32) -> (String, &'static str) {
    (format!("has mode {mode:04o}, so that others may list webhook secrets"), "use `chmod 700`")
}

pub(crate) fn no_secret(project: &str) -> (String, &'static str) {
    (
        format!("does not exist, so that every webhook of {project} is refused"),
        "put the secret into it that the forge signs with, mode 600",
    )
}

pub(crate) fn secret_empty() -> (&'static str, &'static str) {
    ("is empty, and anybody can sign with that", "put the secret into it")
}

pub(crate) fn secret_short(bytes: usize) -> (String, &'static str) {
    (format!("has only {bytes} bytes"), "32 random characters cannot be guessed")
}

pub(crate) fn secret_large(bytes: u64) -> (String, &'static str) {
    (
        format!(
            "has {bytes} bytes, and with it systemd hands over no secret at all (limit: 1 MiB for \
             all together)"
        ),
        "remove it; is it a secret?",
    )
}

pub(crate) fn secrets_large(bytes: u64) -> (String, &'static str) {
    (
        format!("holds {bytes} bytes, and systemd hands over at most 1 MiB"),
        "remove what is no secret",
    )
}

pub(crate) fn secret_open(mode: u32) -> (String, &'static str) {
    (format!("has mode {mode:04o}, so that others may read it"), "use `chmod 600`")
}

pub(crate) fn secret_not_a_file() -> (&'static str, &'static str) {
    ("is not a file, and the receiver of webhooks takes no other", "remove it")
}

pub(crate) fn secret_without_project(name: &str) -> (String, &'static str) {
    (format!("belongs to no project: there is no projects.d/{name}.toml"), "remove or rename it")
}

pub(crate) fn secrets_dir_missing(path: &Path) -> (String, &'static str) {
    (
        format!("names the secrets_dir {}, which does not exist", path.display()),
        "make or correct it",
    )
}

pub(crate) fn secrets_dir_hidden(path: &Path) -> (String, &'static str) {
    (
        format!("names the secrets_dir {}, which kennel-deploy does not see", path.display()),
        "let it lie outside of /home, /root, /run/user, /tmp and /var/tmp",
    )
}

pub(crate) fn secrets_writable(mode: u32) -> (String, &'static str) {
    (format!("has mode {mode:04o}, so that others may put secrets there"), "use `chmod go-w`")
}

pub(crate) fn secret_twice(error: &kennel_store::SecretsError) -> (String, &'static str) {
    (format!("cannot be used: {error}"), "deployments that name it fail until then")
}

pub(crate) fn secret_bad(why: kennel_core::BadSecret) -> (String, &'static str) {
    (format!("cannot be handed over: {why}"), "deployments that name it fail until then")
}

pub(crate) fn not_a_secret(invalid: &kennel_core::Invalid) -> (String, &'static str) {
    (format!("is no secret: {invalid}"), "rename or remove it")
}

pub(crate) fn repository_missing(path: &Path) -> (String, &'static str) {
    (format!("names the repository {}, which does not exist", path.display()), "correct repo_url")
}

pub(crate) fn unit_dir_missing(path: &Path) -> (String, &'static str) {
    (format!("names the unit_dir {}, which does not exist", path.display()), "make or correct it")
}
