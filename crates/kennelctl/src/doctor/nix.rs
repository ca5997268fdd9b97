//! Nix: whether the builder reaches its daemon, and whether builds are what Kennel promises.
//!
//! `experimental-features` is not asked for: every build names those that it needs itself.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

use kennel_core::Layout;
use serde_json::Value;

use super::accounts::Accounts;
use super::command::Silence;
use super::facts::Facts;
use super::finding::{Finding, or_ok};
use super::{command, say};

const BUILDER: &str = "kennel-build";
const SOCKET: &str = "/nix/var/nix/daemon-socket/socket";

/// The first one with `nix build --print-out-paths`.
const OLDEST: (u32, u32) = (2, 9);

pub(super) async fn check(facts: Arc<Facts>) -> Vec<Finding> {
    let show = ["nix", "--extra-experimental-features", "nix-command", "config", "show", "--json"];
    let before_2_20 =
        ["nix", "--extra-experimental-features", "nix-command", "show-config", "--json"];
    let (version, mut shown) =
        tokio::join!(command::ask(&["nix", "--version"]), command::ask(&show));
    let version = match version {
        Ok(answer) => answer.out,
        Err(Silence::NotInstalled) => return vec![say::nix_missing()],
        Err(silence) => return vec![say::nix_silent(&silence.why())],
    };
    let mut findings = vec![judge_version(&version)];
    findings.push(daemon(&facts));
    if shown.as_ref().is_ok_and(|answer| !answer.succeeded) {
        shown = command::ask(&before_2_20).await;
    }
    match shown.ok().and_then(|answer| serde_json::from_str(&answer.out).ok()) {
        Some(settings) => {
            let timer = facts.units.as_ref().is_ok_and(|units| units.is_active("nix-gc.timer"));
            findings.extend(judge(&settings, &facts.accounts, timer));
        }
        None => findings.push(say::nix_settings_unknown()),
    }
    if let Some(daemon) = facts.units.as_ref().ok().and_then(|it| it.get("nix-daemon.service")) {
        let limited = daemon.drop_ins.contains("nix-daemon.service.d/10-kennel.conf");
        findings.push(if limited { say::nix_limited() } else { say::nix_unlimited() });
    }
    findings
}

/// `nix (Nix) 2.26.3`; others than Nix itself put their own name and version there.
fn judge_version(said: &str) -> Finding {
    let version = said.split_whitespace().last().unwrap_or_default();
    let mut parts = version.split('.').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < OLDEST => {
            say::nix_old(version, OLDEST)
        }
        _ => say::nix_version(version),
    }
}

/// Whether the builder may go all the way to the daemon's socket, and somebody listens there.
fn daemon(facts: &Facts) -> Finding {
    let layout = &facts.host.layout;
    match stat(layout, Path::new(SOCKET)) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return say::nix_no_socket(SOCKET);
        }
        Ok((_, false)) => return say::nix_no_socket(SOCKET),
        // Closed to whoever asks; whether to the builder too shows on the way to it.
        Ok(_) | Err(_) => {}
    }
    for folder in Path::new(SOCKET).ancestors().skip(1) {
        if let Ok((owner, _)) = stat(layout, folder)
            && !facts.accounts.may(BUILDER, owner, 0o1)
        {
            return closed(&facts.accounts, folder, owner);
        }
    }
    match stat(layout, Path::new(SOCKET)) {
        Ok((owner, _)) if !facts.accounts.may(BUILDER, owner, 0o2) => {
            return closed(&facts.accounts, Path::new(SOCKET), owner);
        }
        Ok(_) => {}
        Err(_) => return say::nix_daemon_unseen(),
    }
    match std::os::unix::net::UnixStream::connect(layout.host_path(Path::new(SOCKET))) {
        Ok(_) => say::nix_daemon_good(),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            say::nix_daemon_unseen()
        }
        Err(error) => say::nix_daemon_silent(&error),
    }
}

fn closed(accounts: &Accounts, path: &Path, (_, gid, mode): (u32, u32, u32)) -> Finding {
    say::nix_daemon_closed(path, mode, &accounts.group(gid), gid != 0 && mode & 0o010 != 0)
}

type Owner = (u32, u32, u32);

fn stat(layout: &Layout, path: &Path) -> std::io::Result<(Owner, bool)> {
    let found = fs::metadata(layout.host_path(path))?;
    Ok(((found.uid(), found.gid(), found.mode()), found.file_type().is_socket()))
}

/// `timer` is whether a timer collects garbage, as `nix.gc.automatic` of NixOS makes one.
fn judge(settings: &Value, accounts: &Accounts, timer: bool) -> Vec<Finding> {
    let value = |name: &str| settings.get(name).and_then(|setting| setting.get("value"));
    let is_true = |name| match value(name) {
        Some(Value::Bool(on)) => *on,
        Some(Value::String(word)) => word == "true",
        _ => false,
    };
    let mut sandbox = Vec::new();
    if !is_true("sandbox") {
        let shown = value("sandbox").and_then(Value::as_str).unwrap_or("false");
        sandbox.push(say::nix_no_sandbox(shown));
    }
    if is_true("sandbox-fallback") {
        sandbox.push(say::nix_sandbox_falls_back());
    }
    let mut findings = or_ok(sandbox, say::nix_sandboxed);
    let names = |name| -> Vec<String> {
        match value(name) {
            Some(Value::Array(all)) => {
                all.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect()
            }
            Some(Value::String(all)) => all.split_whitespace().map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    };
    let means_builder = |name: &String| {
        name == "*"
            || name == BUILDER
            || name.strip_prefix('@').is_some_and(|group| accounts.is_member(BUILDER, group))
    };
    findings.push(match names("trusted-users").iter().find(|name| means_builder(name)) {
        Some(name) => say::nix_builder_trusted(name),
        None => say::nix_builder_untrusted(),
    });
    let allowed = names("allowed-users");
    if !allowed.is_empty() && !allowed.iter().any(means_builder) {
        findings.push(say::nix_builder_refused(&allowed.join(" ")));
    }
    findings.push(if is_true("accept-flake-config") {
        say::nix_flakes_configure()
    } else {
        say::nix_flakes_do_not_configure()
    });
    match value("min-free").and_then(Value::as_u64) {
        _ if timer => findings.push(say::nix_timer_collects_garbage()),
        Some(0) => findings.push(say::nix_no_garbage_collection()),
        Some(bytes) => findings.push(say::nix_collects_garbage(bytes)),
        None => {}
    }
    findings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::said;
    use super::*;

    fn accounts() -> Accounts {
        Accounts::parse(
            "root:x:0:0::/:\nkennel-build:x:995:995::/:\n",
            "root:x:0:\nkennel-build:x:995:\nnix-users:x:30000:kennel-build\n",
        )
    }

    #[test]
    fn settings_of_a_good_host_and_of_a_bad_one() {
        let good = json!({
            "sandbox": {"value": "true"}, "sandbox-fallback": {"value": false},
            "trusted-users": {"value": ["root"]}, "allowed-users": {"value": ["*"]},
            "accept-flake-config": {"value": false}, "min-free": {"value": 5_368_709_120_u64},
        });
        insta::assert_snapshot!("good", said(&judge(&good, &accounts(), false)));
        let bad = json!({
            "sandbox": {"value": "relaxed"}, "sandbox-fallback": {"value": true},
            "trusted-users": {"value": ["root", "@nix-users"]},
            "allowed-users": {"value": ["@wheel"]},
            "accept-flake-config": {"value": true}, "min-free": {"value": 0},
        });
        insta::assert_snapshot!("bad", said(&judge(&bad, &accounts(), false)));
        assert!(said(&judge(&bad, &accounts(), true)).contains("nix-gc.timer"));
    }

    #[test]
    fn versions() {
        insta::assert_snapshot!(
            "versions",
            said(&[
                judge_version("nix (Nix) 2.26.3\n"),
                judge_version("nix (Lix, like Nix) 2.91.1\n"),
                judge_version("nix (Nix) 2.8.0\n"),
            ])
        );
    }

    #[test]
    fn the_way_to_the_daemon() {
        insta::assert_snapshot!(
            "daemon",
            said(&[
                closed(&accounts(), Path::new("/nix/var/nix/daemon-socket"), (0, 30000, 0o770)),
                closed(&accounts(), Path::new("/nix/var"), (0, 0, 0o700)),
                say::nix_no_socket(SOCKET),
                say::nix_daemon_silent(&std::io::ErrorKind::ConnectionRefused.into()),
                say::nix_daemon_good(),
                say::nix_daemon_unseen(),
                say::nix_missing(),
                say::nix_silent("did not answer within 8 s"),
                say::nix_settings_unknown(),
                say::nix_limited(),
                say::nix_unlimited(),
            ])
        );
    }
}
