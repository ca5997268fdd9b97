//! `kennelctl logs`: what a service prints, whichever deployment of it runs; or who asked it for what.
//!
//! A service's deployments share a slice, which the journal writes beside each line by itself: no
//! program can forge it, as it can the identifier (`-t`) and the fields that its unit adds. Of
//! those fields only what systemd itself says of the units is taken, and systemd is process 1.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use kennel_core::config::AccessLog;
use kennel_core::slice_name;
use kennel_store::Deployment;

use crate::args::LogsArgs;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::target::Known;

/// Becomes journalctl.
pub(crate) fn run(host: &Host, args: &LogsArgs) -> Result<Exit, Failure> {
    let asked = args.target.to_string();
    let project = &args.target.project;
    let Some(state) = host.state()? else {
        return Err(Failure::NoTarget { asked, known: Vec::new() });
    };
    let deployed = state.newest(Some(project))?;
    host.ensure_project(project, !deployed.is_empty())?;
    if deployed.is_empty() {
        return Err(Failure::NoTarget { asked, known: Vec::new() });
    }
    let known: Vec<Known> = deployed.iter().map(Known::from).collect();
    let target = args.target.resolve(&known)?;
    let services: Vec<_> = deployed
        .iter()
        .filter(|it| target.covers(&it.key.git_ref, Some(&it.key.service)))
        .filter(|it| {
            let kind = it.settings.kind();
            if args.requests { kind.is_routed() } else { kind.has_unit() }
        })
        .collect();
    if services.is_empty() {
        return Err(if args.requests {
            Failure::NoRequests(asked)
        } else {
            Failure::NoServiceLog(asked)
        });
    }
    let mut arguments = vec![OsString::from(format!("--lines={}", args.lines))];
    if args.follow {
        arguments.push("--follow".into());
    }
    if !host.is_live {
        arguments.push(format!("--root={}", host.layout.host_path("/".as_ref()).display()).into());
    }
    arguments.extend(args.journalctl.iter().cloned());
    arguments.extend(if args.requests { requests(&services) } else { matches(&services) });
    Err(Failure::Journalctl(Command::new("journalctl").args(arguments).exec()))
}

/// journalctl's matches for these services: alternatives between `+`, each of conditions that must
/// all hold (journalctl(1)).
fn matches(services: &[&Deployment]) -> Vec<OsString> {
    let mut matches: Vec<OsString> = Vec::new();
    for Deployment { key, names, .. } in services {
        let slice = slice_name(&key.project, Some(&names.slug), Some(&key.service));
        if !matches.is_empty() {
            matches.push("+".into());
        }
        matches.extend([
            format!("_SYSTEMD_SLICE={slice}").into(),
            "+".into(),
            "_PID=1".into(),
            format!("KENNEL_PROJECT={}", key.project).into(),
            format!("KENNEL_BRANCH={}", names.slug).into(),
            format!("KENNEL_SERVICE={}", key.service).into(),
        ]);
    }
    matches
}

/// The same for the router's access log: its unit's name is the journal's own word.
fn requests(routed: &[&Deployment]) -> Vec<OsString> {
    let mut matches: Vec<OsString> = Vec::new();
    for Deployment { key, .. } in routed {
        if !matches.is_empty() {
            matches.push("+".into());
        }
        matches.extend([
            // Whichever of the two has answered.
            "_SYSTEMD_UNIT=kennel-router.service".into(),
            "_SYSTEMD_UNIT=kennel-router-relief.service".into(),
            format!("MESSAGE_ID={}", AccessLog::MESSAGE_ID).into(),
            format!("KENNEL_PROJECT={}", key.project).into(),
            format!("KENNEL_BRANCH={}", key.git_ref.short()).into(),
            format!("KENNEL_SERVICE={}", key.service).into(),
        ]);
    }
    matches
}
