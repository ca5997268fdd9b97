use std::time::SystemTime;

use kennel_core::config::Manifest;
use kennel_core::{
    BranchSlug, BuildId, DeploymentId, DeploymentState, EventId, OutputKey, Settings,
};
use kennel_store::{Deployment, Names};

use super::finding::Finding;
use super::*;
use crate::terminal::Terminal;

/// Findings as people read them, without the last line.
pub(super) fn said(findings: &[Finding]) -> String {
    let text = render(findings, Terminal::plain());
    text.trim_end().rsplit_once('\n').unwrap().0.trim_end().to_owned()
}

/// A deployment with number 7; `web` is a site, everything else a service.
pub(super) fn deployment(
    project: &str,
    branch: &str,
    name: &str,
    state: DeploymentState,
) -> Deployment {
    let manifest = Manifest::parse("[services.api]\n[static_sites.web]\n", "kennel.toml").unwrap();
    let settings = match name {
        "web" => Settings::Site(manifest.static_sites.into_values().next().unwrap()),
        _ => Settings::Service(manifest.services.into_values().next().unwrap()),
    };
    let key = OutputKey {
        project: project.parse().unwrap(),
        git_ref: format!("refs/heads/{branch}").parse().unwrap(),
        service: name.parse().unwrap(),
    };
    let now = SystemTime::now().into();
    let slug = BranchSlug::candidates(&key.git_ref).next().unwrap().unwrap();
    Deployment {
        id: DeploymentId::from_row(7),
        request: EventId::from_row(7),
        build: BuildId::from_row(7),
        names: Names {
            slug,
            user: format!("kennel-{project}-{branch}-{name}").parse().unwrap(),
            label: format!("{name}-{branch}"),
        },
        key,
        sha: "a".repeat(40).parse().unwrap(),
        store_path: format!("/nix/store/0c0sxhkp9qsp9i0a8i4rzsm0yqzhsr1l-{name}").parse().unwrap(),
        settings,
        fork: false,
        rollback_to: None,
        released: false,
        state,
        reason: None,
        routed: true,
        cleaned: false,
        losses: 0,
        port: None,
        created_at: now,
        active_at: None,
        drain_until: None,
        ended_at: None,
    }
}

#[test]
fn the_report() {
    let mut findings = vec![
        say::configuration_good(1),
        say::configuration_wrong(2, "/etc/kennel/config.toml:3: unknown key `limts`"),
        say::configuration_unread(2),
        say::database_whole("databases.state", 1, 81_920),
        say::database_new("databases.inbox"),
        say::nix_sandbox_falls_back(),
        say::hangs("network.dns", LIMIT),
        say::broke("router"),
    ];
    findings.extend((1..=7).map(|id| say::root_without_row(DeploymentId::from_row(id))));
    findings.push(say::only_files());
    insta::assert_snapshot!("report", render(&findings, Terminal::plain()));
    insta::assert_snapshot!("json", serde_json::to_string_pretty(&json(&findings[..2])).unwrap());
    insta::assert_snapshot!(say::total(40, 0, 0, 0), @"40 checks are good");
}

#[test]
fn what_a_report_prints_does_not_steer_the_terminal() {
    let finding = say::unit_failed("kennel-router.service", "\u{1b}[2Jred");
    assert!(!render(&[finding], Terminal { colours: false }).contains('\u{1b}'));
}

#[test]
fn what_hangs_or_breaks_is_one_finding() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    insta::assert_snapshot!("hanging", said(&[say::hangs("nix", LIMIT)]));
    let broken = runtime.block_on(limited("nix", async { None }));
    assert_eq!(broken, [say::broke("nix")]);
}

#[test]
fn databases() {
    use std::path::Path;
    let path = Path::new("/var/lib/kennel/state/state.db");
    let check = "databases.state";
    insta::assert_snapshot!(
        "databases",
        said(&[
            say::database_unread(check, path, &std::io::ErrorKind::PermissionDenied.into()),
            say::database_unread(check, path, &std::io::ErrorKind::NotFound.into()),
            say::database_newer(check, path, 3, 1),
            say::database_damaged(
                check,
                path,
                "Tree 5 page 5: btreeInitPage() returns error code 11"
            ),
            say::database_whole(check, 1, 3 << 30),
        ])
    );
}

#[test]
fn health() {
    use kennel_core::OutputKind;
    insta::assert_snapshot!(
        "health",
        said(&[
            say::unwell("shop/main/api", "/health answered 500", OutputKind::Service),
            say::unwell(
                "shop/main/web",
                "its files are missing in the Nix store",
                OutputKind::Site
            ),
            say::health_without_rows(),
            say::all_well(0),
            say::all_well(3),
        ])
    );
}
