//! What can be typed, with its help.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Parser, Subcommand};
use kennel_core::config::Period;
use kennel_core::{
    Action, BuildId, BuildState, DeploymentId, NoticeText, ProjectName, SecretName, SecretScope,
    TokenName, TokenRight,
};

use crate::clock::Since;
use crate::target::Asked;

/// Shows and steers Kennel, the push-to-deploy platform on this host.
#[derive(Debug, Parser)]
#[command(
    name = "kennelctl",
    version,
    about = "Shows and steers Kennel on this host",
    long_about = "Shows what Kennel serves and builds on this host, deploys again, ends builds and \
                  deployments, and checks configuration.\n\n\
                  Reading needs root or the groups kennel-state and kennel-builds; what changes \
                  something needs root or the groups kennel-inbox and kennel-bell as well.",
    after_help = EXIT_CODES,
    after_long_help = TOP_EXAMPLES,
    max_term_width = 100,
    disable_help_subcommand = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// Look at the tree below DIR instead of this host
    ///
    /// Databases, configuration and logs are then those of DIR/var/lib/kennel and
    /// DIR/etc/kennel. For images, backups and tests.
    #[arg(long, global = true, value_name = "DIR", default_value = "/", hide_default_value = true)]
    pub(crate) root: PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 no such thing, \
                          4 not permitted, 64 bad configuration, 130 interrupted.";

const TOP_EXAMPLES: &str = "\
Examples:
  kennelctl status                       what serves what, and what is being built
  kennelctl status --watch               the same, as it changes
  kennelctl top                          who is visited, how often and how fast
  kennelctl builds --state failed        what could not be built
  kennelctl build 42 --follow            watch build 42 until it ends
  kennelctl logs site/main/api -f        follow a service, whichever deployment runs
  kennelctl approve site/pr-7            let a stranger's commit be built
  kennelctl redeploy site/main           deploy what was built last again
  kennelctl rollback site/main/api       have what served before serve again
  kennelctl maintenance on site/main     have visitors come again later
  kennelctl teardown site/feature/x      remove a branch's deployments
  kennelctl secret set site JWT_SECRET   keep a secret for its services, from standard input
  kennelctl audit --since 7d             who did what with it
  kennelctl check                        look over everything in /etc/kennel
  kennelctl doctor                       look over the whole host, with what to do next
  kennelctl reconcile                    make the host match what should serve

Exit codes:
   0  done
   1  failed; what was asked for did not happen, or a followed build did not succeed
   2  wrong usage
   3  there is no such project, branch, deployment, build or file
   4  not permitted
  64  a configuration file is wrong
 130  interrupted while waiting; what was asked for goes on

Colours are used on terminals only, and not if NO_COLOR is set. With --json, times are RFC 3339 in
UTC, absent values are null, and keys are only ever added.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Status(StatusArgs),
    Top(TopArgs),
    Builds(BuildsArgs),
    Build(BuildArgs),
    Approve(ApproveArgs),
    Cancel(CancelArgs),
    Redeploy(RedeployArgs),
    History(HistoryArgs),
    Rollback(RollbackArgs),
    Pin(PinArgs),
    #[command(about = UNPIN, long_about = UNPIN_LONG, after_help = UNPIN_EXAMPLES)]
    Unpin(PinArgs),
    Maintenance(MaintenanceArgs),
    Extend(ExtendArgs),
    Teardown(TeardownArgs),
    Logs(LogsArgs),
    Secret(SecretArgs),
    Token(TokenArgs),
    PasswordHash(PasswordHashArgs),
    Audit(AuditArgs),
    Check(CheckArgs),
    Doctor(DoctorArgs),
    Reconcile(ReconcileArgs),
    #[command(hide = true)]
    Generate(GenerateArgs),
}

/// Show what serves what, and what is being built
///
/// One line for each deployment that serves, starts, drains or is being removed, with the address
/// that the router has for it; then newer deployments that failed, with the reason; then builds
/// that wait or run. EXPIRES is when a branch is removed that nobody pushes to or visits until then.
/// A service counts as healthy if its health check answers 200 within a second and the router, which
/// asks every 30 s, passes requests to it. What is wrong with the router stands at the end.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl status
  kennelctl status site
  kennelctl status site/feature/x
  kennelctl status --watch
  kennelctl status --json | jq -r '.deployments[] | select(.health != \"healthy\").urls[]'

JSON: an object with `deployments` (id, project, branch, ref, name, kind, state, health,
held, health_detail, monitor, urls, commit, build, port, unit, since, expires_at, drain_until,
reason; monitor is what the router has seen: out_since, strikes, looked_at, took_ms, answer),
`builds` (as `kennelctl builds --json`), `pins` (project, branch, ref, name, by, since),
`maintenance` (project, branch, ref, name, message, retry_after_secs, by, since), `router`
(reachable, generation, published_generation, refused) and `warnings`.
Health is healthy, unhealthy, down, starting, unknown or null (not asked).")]
pub(crate) struct StatusArgs {
    /// Only this project, branch (or pr-<number>), or service
    #[arg(value_name = "PROJECT[/BRANCH[/NAME]]")]
    pub(crate) target: Option<Asked>,

    /// Show it again and again, every SECONDS and when something happens, until Ctrl-C
    ///
    /// Drawn in place on a terminal; elsewhere printed anew when it says something else.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "2", conflicts_with = "json",
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) watch: Option<u32>,

    /// Do not ask services for their health
    #[arg(long)]
    pub(crate) no_probe: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show live traffic per service and site, the busiest first
///
/// Requests, errors and bytes are per second since the last look; OPEN is what is being answered now,
/// with open tunnels; P50 and P99 say how long half and 99 % of the answers took at most, from the
/// request's head to the answer's last byte; REQUESTS is all since the router started. Shown is what
/// somebody has asked for since then, and what is unhealthy.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl top
  kennelctl top site/main
  kennelctl top --once
  kennelctl top --json | jq -r '.routes[] | select(.server_errors_per_second > 0).name'

JSON: an object with `seconds` (over how long the rates are) and `routes` (project, branch, name,
healthy, requests_per_second, client_errors_per_second, server_errors_per_second, p50_ms, p99_ms,
in_flight, received_bytes_per_second, sent_bytes_per_second, and since the router started requests,
server_errors, received_bytes, sent_bytes).")]
pub(crate) struct TopArgs {
    /// Only this project, branch (or pr-<number>), or service
    #[arg(value_name = "PROJECT[/BRANCH[/NAME]]")]
    pub(crate) target: Option<Asked>,

    /// Look every SECONDS
    #[arg(long, value_name = "SECONDS", default_value = "1",
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) interval: u32,

    /// Show one second and end
    #[arg(long, conflicts_with = "interval")]
    pub(crate) once: bool,

    /// Print one second as JSON and end
    #[arg(long, conflicts_with_all = ["once", "interval"])]
    pub(crate) json: bool,
}

/// List builds, newest first
///
/// All conditions must hold. A time is a length such as 90s, 30m, 2h or 7d, a day such as
/// 2026-11-01, or RFC 3339; a day begins at midnight in UTC.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl builds
  kennelctl builds site/main --limit 5
  kennelctl builds --state failed,partial --since 2d
  kennelctl builds --commit 2425e510
  kennelctl builds --watch
  kennelctl builds --json | jq '.[] | select(.state == \"failed\")'

JSON: an array of objects with id, project, branch, ref, commit, state, reason, by, received_at,
queued_at, started_at, finished_at, cancel_requested and superseded_by. States are
waiting_for_approval, queued, building, succeeded, partial, failed, cancelled and superseded.")]
pub(crate) struct BuildsArgs {
    /// Only of this project, or this branch (or pr-<number>)
    #[arg(value_name = "PROJECT[/BRANCH]")]
    pub(crate) target: Option<Asked>,

    /// Only builds of this project
    #[arg(long, short, value_name = "PROJECT", conflicts_with = "target")]
    pub(crate) project: Option<ProjectName>,

    /// Only in these states, separated by commas
    #[arg(long, short, value_name = "STATE", value_delimiter = ',', value_parser = build_state())]
    pub(crate) state: Vec<BuildState>,

    /// Only those asked for since then
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,

    /// Only of commits that begin so
    #[arg(long, value_name = "PREFIX", value_parser = commit_prefix)]
    pub(crate) commit: Option<String>,

    /// Only those that this person caused
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,

    /// At most this many [default: what fits on the terminal, or 20]
    #[arg(long, short = 'n', value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: Option<u32>,

    /// Show them again and again, every SECONDS and when something happens, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true,
          default_missing_value = "2", conflicts_with = "json",
          value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) watch: Option<u32>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Show one build, its outputs and where its logs are
///
/// With --follow, print its logs as they grow, until the build ends; then exit with 0 only if it
/// succeeded, and with 1 if it failed, was partial, cancelled or superseded.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl build 42
  kennelctl build 42 --follow && echo deployed soon
  kennelctl build 42 --json | jq -r '.outputs[] | select(.state == \"failed\").reason'

JSON: the object of `kennelctl builds --json` with `outputs` (name, kind, state, store_path, reason,
started_at, finished_at) and `logs` (paths). Outputs' states are pending, building, built, unchanged
and failed. With --follow it is printed when the build has ended, and the logs are not.")]
pub(crate) struct BuildArgs {
    /// The build's number
    #[arg(value_name = "BUILD")]
    pub(crate) id: BuildId,

    /// Print the logs until the build ends
    #[arg(long, short)]
    pub(crate) follow: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Let a stranger's commit be built
///
/// A pull request from outside of the repository is built at once only if its author is a member of
/// it; otherwise its commit waits. What is approved is that one commit: the next push of the pull
/// request waits again. Look at the commit first, at its flake.nix above all: a build runs what it
/// says. What it deploys gets no secrets and less of the host, approved or not.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl builds --state waiting_for_approval
  kennelctl approve site/pr-7
  kennelctl approve site/pr-7 --commit 2425e510
                                         unless something else was pushed meanwhile")]
pub(crate) struct ApproveArgs {
    /// The pull request
    #[arg(value_name = "PROJECT/pr-NUMBER")]
    pub(crate) target: Asked,

    /// Only if the commit that waits begins so
    #[arg(long, value_name = "PREFIX", value_parser = commit_prefix)]
    pub(crate) commit: Option<String>,
}

/// End a build that waits or runs, or the deployments of one that do not serve yet
///
/// A build that has not ended ends, and what it had finished is not deployed. Of one that has, the
/// deployments end that wait or start: a service that is not healthy yet is stopped, what served
/// before goes on. Waits until that is done, for ten seconds with a build and a minute with
/// deployments.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl cancel 42
  kennelctl cancel 42 --no-wait")]
pub(crate) struct CancelArgs {
    /// The build's number
    #[arg(value_name = "BUILD")]
    pub(crate) id: BuildId,

    /// Only leave the wish; do not wait until the build has ended
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Deploy what was built last again, without a new build
///
/// Makes new deployments of the newest successful build of the branch, each beside the one that
/// serves and with the operator's settings as they are now; nothing is built, and no request is
/// lost. A push that comes meanwhile wins. Waits until everything serves or has failed; Ctrl-C ends
/// the wait and nothing else.
///
/// With --rebuild, the newest commit that was asked for is built once more: when its build failed
/// for a reason that has gone, or what it built is no longer in the Nix store.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl redeploy site/main           all services and sites of a branch
  kennelctl redeploy site/main/api       one of them
  kennelctl redeploy site/main --rebuild
                                         its last commit, built once more

Exits with 0 only if everything serves, and with 1 if anything failed or was refused.")]
pub(crate) struct RedeployArgs {
    /// What to deploy again
    #[arg(value_name = "PROJECT/BRANCH[/NAME]")]
    pub(crate) target: Asked,

    /// Build the branch's last commit again
    #[arg(long)]
    pub(crate) rebuild: bool,

    /// Only leave the wish; do not wait until everything serves
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Show what a service or site has served, and what it could serve again
///
/// Newest first. What is kept can be gone back to with `kennelctl rollback`: the last
/// `keep_deployments` (config.toml) that served, with their store paths and settings.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl history site/main/api
  kennelctl history site/main/api --json | jq '.[] | select(.kept).id'

JSON: an array of objects with id, state, commit, build, by, created_at, active_at, ended_at,
rollback_to (the deployment whose version it is once more), kept and reason.")]
pub(crate) struct HistoryArgs {
    /// Whose deployments
    #[arg(value_name = "PROJECT/BRANCH/NAME")]
    pub(crate) target: Asked,

    /// At most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Have what served before serve again
///
/// Makes a new deployment of an earlier one's store path and settings, beside the one that serves:
/// nothing is fetched or built, so that it works while the forge and Nix do not. Secrets, databases
/// and the operator's settings are those of now, and what is in a database is not taken back.
/// Without --to it goes back to the version before the one that serves; done twice, two versions.
///
/// The next push goes forward again; `kennelctl pin` keeps it from that. What was pushed before and
/// is still being built is not deployed after this: `kennelctl redeploy` does it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl rollback site/main/api
  kennelctl history site/main/api
  kennelctl rollback site/main/api --to 41
  kennelctl rollback site/main/web && kennelctl pin site/main/web

Exits with 0 only if it serves, and with 1 if it failed or was refused; what served before then still
does.")]
pub(crate) struct RollbackArgs {
    /// What to take back
    #[arg(value_name = "PROJECT/BRANCH/NAME")]
    pub(crate) target: Asked,

    /// The deployment whose version shall serve, out of `kennelctl history`
    #[arg(long, value_name = "DEPLOYMENT")]
    pub(crate) to: Option<DeploymentId>,

    /// Only leave the wish; do not wait until it serves
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Keep pushes from deploying: they are built and held
///
/// What serves goes on serving, whatever is pushed, until `kennelctl unpin`. Of what is held the
/// newest counts. A branch that is deleted, or torn down, goes with its pin; rolling back is possible
/// all the while.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl pin site/main                all services and sites of a branch
  kennelctl pin site/main/api            one of them
  kennelctl status site                  shows what is pinned, and what is held")]
pub(crate) struct PinArgs {
    /// What is meant
    #[arg(value_name = "PROJECT/BRANCH[/NAME]")]
    pub(crate) target: Asked,
}

const UNPIN: &str = "Let pushes deploy again, and what was held meanwhile";
const UNPIN_LONG: &str = "Let pushes deploy again, and what was held meanwhile\n\nWhat was pushed last \
                          while it was pinned is deployed at once. For a whole branch, pins of its \
                          services and sites go too.";
const UNPIN_EXAMPLES: &str = "\
Examples:
  kennelctl unpin site/main
  kennelctl unpin site/main/api";

/// Have visitors come again later: they get a page that says so
///
/// All addresses of what is named answer with status 503 and `Retry-After`, its domains too, and so do
/// paths of other services that lead to it. It survives deployments and reboots, until
/// `kennelctl maintenance off`. Deployments, health checks and certificates go on, and Kennel's own
/// host is never affected. A branch that is torn down takes its maintenance along.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  kennelctl maintenance on site/main --message 'Back at 18:00' --retry-after 30m
  kennelctl maintenance off site/main
  kennelctl status site                  shows what is under maintenance"
)]
pub(crate) struct MaintenanceArgs {
    #[command(subcommand)]
    pub(crate) command: MaintenanceCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MaintenanceCommand {
    On(MaintenanceOnArgs),
    Off(MaintenanceOffArgs),
}

/// Begin, or tell visitors something else
///
/// Waits until the router has it. Where two places say something, of a project and of a branch in it,
/// visitors are told what the smaller one says.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl maintenance on site                        all of a project
  kennelctl maintenance on site/main                   all services and sites of a branch
  kennelctl maintenance on site/main/api               one of them
  kennelctl maintenance on site --message 'We are moving. Back on Monday.'")]
pub(crate) struct MaintenanceOnArgs {
    /// What is meant
    #[arg(value_name = "PROJECT[/BRANCH[/NAME]]")]
    pub(crate) target: Asked,

    /// What visitors are told: one line of at most 500 characters
    #[arg(long, short, value_name = "TEXT")]
    pub(crate) message: Option<NoticeText>,

    /// When to come again, for programs: 90s, 5m, 2h
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub(crate) retry_after: Period,
}

/// Let visitors in again
///
/// Ends the maintenance of what is named and of all that lies in it. Waits until the router has it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl maintenance off site
  kennelctl maintenance off site/main/api")]
pub(crate) struct MaintenanceOffArgs {
    /// What is meant
    #[arg(value_name = "PROJECT[/BRANCH[/NAME]]")]
    pub(crate) target: Asked,
}

/// Keep a branch for longer than it would stay by itself
///
/// Moves the moment at which the branch or pull request expires, whether or not somebody pushes to it
/// or visits it until then. `kennelctl status` shows when that is. A default branch never expires, and
/// a pinned one not until it is unpinned. With `kennelctl teardown` it ends all the same.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl extend site/feature/x            by a week
  kennelctl extend site/pr-12 --by 3d")]
pub(crate) struct ExtendArgs {
    /// What is to stay
    #[arg(value_name = "PROJECT/BRANCH")]
    pub(crate) target: Asked,

    /// By how much: 12h, 7d, 2w
    #[arg(long, value_name = "TIME", default_value = "7d")]
    pub(crate) by: Period,
}

/// Remove a branch's deployments, or one of them, with all that they left
///
/// Stops the service or site, removes its route, its unit, its files and its state directory. A
/// later push of the branch deploys it anew. Waits until all is gone, for a minute at most.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl teardown site/feature/x      a branch may contain slashes
  kennelctl teardown site/pr-12          the deployments of a pull request
  kennelctl teardown site/main/api       one service, and nothing else of the branch
  kennelctl teardown site/feature-x-1a2b3c --yes
                                         a branch by its short name in hosts and units")]
pub(crate) struct TeardownArgs {
    /// What to remove
    #[arg(value_name = "PROJECT/BRANCH[/NAME]")]
    pub(crate) target: Asked,

    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,

    /// Only leave the wish; do not wait until all is gone
    #[arg(long)]
    pub(crate) no_wait: bool,
}

/// Show what a service prints
///
/// Runs journalctl for the service's slice, so that the log goes on from one deployment to the
/// next, with systemd's own messages about them. Without a name, all services of the branch.
///
/// With --requests it is the router's access log of the services and sites instead, as far as
/// `access_log` in config.toml has it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl logs site/main/api
  kennelctl logs site/main/api -f
  kennelctl logs site/main -n 20
  kennelctl logs site/main/api --requests -- HTTP_STATUS=502
  kennelctl logs site/main/api -- --since yesterday --grep panic
                                         anything that journalctl takes")]
pub(crate) struct LogsArgs {
    /// Whose log
    #[arg(value_name = "PROJECT/BRANCH[/SERVICE]")]
    pub(crate) target: Asked,

    /// Who asked for what, and how it was answered
    #[arg(long)]
    pub(crate) requests: bool,

    /// Go on until interrupted
    #[arg(long, short)]
    pub(crate) follow: bool,

    /// How many lines to begin with
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub(crate) lines: u32,

    /// Options for journalctl
    #[arg(last = true, value_name = "OPTIONS")]
    pub(crate) journalctl: Vec<std::ffi::OsString>,
}

/// Set, list and remove the secrets that services get
///
/// A secret is kept on this host, sealed by systemd (systemd-creds(1)) with a key that never leaves
/// it. A service gets those that its kennel.toml names, as variables (`secrets`) or as files below
/// $CREDENTIALS_DIRECTORY (`credentials`), from its next deployment on. Needs root.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  openssl rand -hex 32 | kennelctl secret set site JWT_SECRET
  kennelctl secret list site
  kennelctl secret rm site JWT_SECRET --preview"
)]
pub(crate) struct SecretArgs {
    #[command(subcommand)]
    pub(crate) command: SecretCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    Set(SecretSetArgs),
    List(SecretListArgs),
    Rm(SecretRmArgs),
}

/// Keep a secret, its value from standard input
///
/// A value is text of at most 32 KiB. The newline after a single line does not count; a value of
/// several lines, such as a key, arrives exactly as it is. What was set before is replaced. Services
/// that run keep the old value until they are deployed again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  openssl rand -hex 32 | kennelctl secret set site JWT_SECRET
  kennelctl secret set site TLS_KEY --production < key.pem
  systemd-ask-password 'JWT_SECRET:' | kennelctl secret set site JWT_SECRET
                                         typed without being shown")]
pub(crate) struct SecretSetArgs {
    /// Whose secret
    #[arg(value_name = "PROJECT")]
    pub(crate) project: ProjectName,

    /// Its name: A-Z, 0-9 and _
    #[arg(value_name = "NAME")]
    pub(crate) name: SecretName,

    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
}

/// List the names of secrets, never their values
///
/// Plain files, which other tools than kennelctl made, are listed too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl secret list site
  kennelctl secret list site --json | jq -r '.[] | select(.used_by == []).name'

JSON: an array of objects with name, scope (both, production or preview), sealed, set_at, path and
used_by (services whose newest deployment names it, as project/branch/name).")]
pub(crate) struct SecretListArgs {
    /// Whose secrets
    #[arg(value_name = "PROJECT")]
    pub(crate) project: ProjectName,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Remove a secret
///
/// Services that run keep it until they are deployed again, and cannot be deployed without it if
/// their kennel.toml still names it: those are told.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl secret rm site JWT_SECRET
  kennelctl secret rm site JWT_SECRET --preview")]
pub(crate) struct SecretRmArgs {
    /// Whose secret
    #[arg(value_name = "PROJECT")]
    pub(crate) project: ProjectName,

    /// Its name
    #[arg(value_name = "NAME")]
    pub(crate) name: SecretName,

    #[command(flatten)]
    pub(crate) scope: ScopeArgs,
}

/// For which deployments; without either, for all that have none of their own.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ScopeArgs {
    /// Only for the default branch
    #[arg(long, conflicts_with = "preview")]
    pub(crate) production: bool,

    /// Only for other branches and pull requests
    #[arg(long)]
    pub(crate) preview: bool,
}

impl From<ScopeArgs> for SecretScope {
    fn from(args: ScopeArgs) -> Self {
        match (args.production, args.preview) {
            (true, _) => Self::Production,
            (false, true) => Self::Preview,
            (false, false) => Self::Both,
        }
    }
}

/// Let programs use the API without a login on this host
///
/// A token is shown once, by `create`, and kept as a hash. It is for the projects that it was made
/// for, and ends by itself. Whoever holds it sends it as `Authorization: Bearer kennel_...` to the
/// control host, see kennel-api(8). Needs root.
#[derive(Debug, Args)]
#[command(
    arg_required_else_help = true,
    disable_help_subcommand = true,
    after_help = "\
Examples:
  kennelctl token create ci --project shop --may cancel
  kennelctl token list
  kennelctl token revoke ci"
)]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    Create(TokenCreateArgs),
    List(TokenListArgs),
    Revoke(TokenRevokeArgs),
}

/// Make a token and show it, this once
///
/// Alone on standard output, so that it can be piped to where it is needed. Its name is what the
/// audit has of what is done with it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl token create ci --project shop --may cancel
  kennelctl token create dashboard --project shop,blog --expires 30d
  kennelctl token create prometheus --may metrics --expires 365d
  kennelctl token create ci --project shop --json | jq -r .token

JSON: an object with name, token, projects, may and expires_at.")]
pub(crate) struct TokenCreateArgs {
    /// What it is called: a-z, 0-9 and -
    #[arg(value_name = "NAME")]
    pub(crate) name: TokenName,

    /// Whose builds it is for, separated by commas; needed unless it is for figures
    #[arg(long, short, value_name = "PROJECT", value_delimiter = ',')]
    pub(crate) project: Vec<ProjectName>,

    /// What it allows: read shows builds, cancel ends them as well; metrics shows the router's figures
    /// of all projects, and nothing else
    #[arg(long, value_name = "RIGHT", default_value = "read", value_parser = right())]
    pub(crate) may: TokenRight,

    /// How long it counts
    #[arg(long, value_name = "PERIOD", default_value = "90d")]
    pub(crate) expires: Period,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// List tokens: what they are called and what they allow
///
/// Those that have expired are listed until they are revoked.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl token list
  kennelctl token list --json | jq -r '.[] | select(.expired).name'

JSON: an array of objects with name, projects, may, created_at, created_by, expires_at and expired.")]
pub(crate) struct TokenListArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Take a token back, at once
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl token revoke ci")]
pub(crate) struct TokenRevokeArgs {
    /// Which one
    #[arg(value_name = "NAME")]
    pub(crate) name: TokenName,
}

/// Make of a password the line that `[previews] password` takes
///
/// Asks for the password on a terminal, or reads it from standard input, and prints its Argon2id hash.
/// Nothing is kept, and the password is shown nowhere. Needs no rights, and no Kennel on this host.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl password-hash
  openssl rand -base64 18 | tee preview-password | kennelctl password-hash")]
pub(crate) struct PasswordHashArgs {}

/// Show what people did with Kennel: who, when, what, and what came of it
///
/// Newest first: commits approved, builds cancelled, branches deployed again, built again, rolled back,
/// pinned, put under maintenance, kept for longer and removed, secrets set and removed, tokens made and revoked. Not what
/// forges reported: pushes are builds. A person is a login, behind sudo the one that typed it, or a
/// token of the API. All conditions must hold; times are written as for `kennelctl builds`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl audit
  kennelctl audit site --since 7d
  kennelctl audit --by alice --action tear_down,secret_removed
  kennelctl audit --json | jq -r '.[] | select(.uid == 0).at'

JSON: an array of objects with id, at, by, uid, action, project, subject and outcome. Actions are
approve, cancel, redeploy, rebuild, roll_back, pin, unpin, maintenance_on, maintenance_off, extend,
tear_down, secret_set, secret_removed, token_created and token_revoked.
The newest 100,000 are kept.")]
pub(crate) struct AuditArgs {
    /// Only of this project
    #[arg(value_name = "PROJECT")]
    pub(crate) project: Option<ProjectName>,

    /// Only these actions, separated by commas
    #[arg(long, short, value_name = "ACTION", value_delimiter = ',', value_parser = action())]
    pub(crate) action: Vec<Action>,

    /// Only what was done since then
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,

    /// Only what this person did
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<String>,

    /// At most this many
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20,
          value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Check configuration, with the line of each mistake
///
/// Without FILE, everything in /etc/kennel: config.toml, projects.d, webhook secrets and services'
/// secrets. Which kind a FILE is follows from its name: config.toml is the host's, a file in a
/// directory projects.d is a project's, kennel.toml is a repository's.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo kennelctl check
  kennelctl check kennel.toml
  kennelctl check --as project new-site.toml
  kennelctl check --json | jq -r '.findings[] | \"\\(.file):\\(.line): \\(.message)\"'

JSON: an object with `ok`, `checked` (paths) and `findings` (severity, file, line, column, message,
help). Severities are error, unread (no permission) and note. Only errors and unread files change
the exit code.")]
pub(crate) struct CheckArgs {
    /// The file to check
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// What FILE is, whatever it is called
    #[arg(long = "as", value_name = "KIND", requires = "file")]
    pub(crate) kind: Option<crate::check::Kind>,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Look over the whole host: what is wrong, and what to do about it
///
/// Configuration, users and permissions, databases, systemd and polkit, Nix, disk, kernel and clock,
/// ports, DNS, the router, and whether units and files match Kennel's rows. One line for each check,
/// and below it what to do: after `run:` a command that can be copied, after `do:` words. Changes
/// nothing. As an ordinary user it tells what it may not look at.
///
/// Exits with 0 if nothing failed, and with 1 otherwise; warnings do not count.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sudo kennelctl doctor
  kennelctl doctor --json | jq -r '.findings[] | select(.mark == \"failure\").message'

JSON: an object with `ok` and `findings` (check, mark, message, next, command). Names of checks do not
change. Marks are ok, warning, failure and skipped; `command` is `next` if that is a command.")]
pub(crate) struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Make the host match Kennel's rows: units, files, links, ports, GC roots and routes
///
/// Starts kennel-restore.service, which does the same at boot: writes what is missing, starts what
/// should run, removes what has no deployment any more, and gives a service another port where
/// another program took its own. Units that do not say in their own file that they are Kennel's are
/// left alone, whatever they are called. What runs as it should is not touched, and running it twice
/// changes nothing. Needs root.
///
/// With --dry-run it only says what does not match, as `kennelctl doctor` does among much else.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  kennelctl reconcile --dry-run
  kennelctl reconcile
  kennelctl reconcile --json | jq -r '.left[].message'

Exits with 0 if everything that should serve does, and with 1 otherwise.

JSON: an object with `ok`, `repaired` and `left`, whose findings are those of `kennelctl doctor --json`.")]
pub(crate) struct ReconcileArgs {
    /// Only say what does not match
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Write man pages or completions into a directory
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// What to write
    #[arg(value_enum)]
    pub(crate) what: Generated,

    /// Where to
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}

/// What packages want of these definitions.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(crate) enum Generated {
    /// One page per command
    Man,
    /// For bash, zsh and fish
    Completions,
}

/// Parses a state; its names are known to help and completions.
fn build_state() -> impl TypedValueParser<Value = BuildState> {
    PossibleValuesParser::new(BuildState::ALL.map(BuildState::as_str))
        .try_map(|name| name.parse::<BuildState>())
}

/// Parses an action; its names are known to help and completions.
fn action() -> impl TypedValueParser<Value = Action> {
    PossibleValuesParser::new(Action::ALL.map(Action::as_str))
        .try_map(|name| name.parse::<Action>())
}

/// Parses a token's right; they are known to help and completions.
fn right() -> impl TypedValueParser<Value = TokenRight> {
    PossibleValuesParser::new(TokenRight::ALL.map(TokenRight::as_str))
        .try_map(|name| name.parse::<TokenRight>())
}

fn commit_prefix(text: &str) -> Result<String, &'static str> {
    let text = text.to_ascii_lowercase();
    if text.is_empty() || text.len() > 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err("a commit is written in hex digits, at most 64");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn clap_finds_no_contradiction() {
        Cli::command().debug_assert();
    }
}
