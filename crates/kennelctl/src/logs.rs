//! `kennelctl logs`: what a service prints, whichever deployment of it runs.
//!
//! A service's deployments share a slice, and `journalctl -u <slice>` shows what runs in it: the
//! one match that follows a service from one deployment to the next and that no program can forge
//! (`-t` and the KENNEL_ fields can be sent by anybody). systemd's own messages belong to the
//! units, so the latest of them are named as well.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use kennel_core::{OutputKind, slice_name};
use kennel_store::{Deployment, State};

use crate::args::LogsArgs;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::target::Known;

/// How many deployments' systemd messages are shown.
const LATEST: u32 = 10;

/// Becomes journalctl.
pub(crate) fn run(host: &Host, args: &LogsArgs) -> Result<Exit, Failure> {
    let asked = args.target.to_string();
    let project = &args.target.project;
    let Some(state) = host.state()? else {
        return Err(Failure::NoTarget { asked, known: Vec::new() });
    };
    let deployed = state.newest(Some(project))?;
    if deployed.is_empty() {
        let configured = host.configured_projects();
        return Err(if configured.iter().any(|name| name == project.as_str()) {
            Failure::NoTarget { asked, known: Vec::new() }
        } else {
            Failure::NoProject(project.clone(), configured)
        });
    }
    let known: Vec<Known> = deployed.iter().map(Known::from).collect();
    let target = args.target.resolve(&known)?;
    let services: Vec<_> = deployed
        .iter()
        .filter(|it| target.covers(&it.key.git_ref, Some(&it.key.service)))
        .filter(|it| it.settings.kind() == OutputKind::Service)
        .collect();
    if services.is_empty() {
        return Err(Failure::NoServiceLog(asked));
    }
    let mut arguments = matches(&state, &services)?;
    arguments.push(format!("--lines={}", args.lines).into());
    if args.follow {
        arguments.push("--follow".into());
    }
    if !host.is_live {
        arguments.push(format!("--root={}", host.layout.host_path("/".as_ref()).display()).into());
    }
    arguments.extend(args.journalctl.iter().cloned());
    Err(Failure::Journalctl(Command::new("journalctl").args(arguments).exec()))
}

/// journalctl's options for these services.
fn matches(state: &State, services: &[&Deployment]) -> Result<Vec<OsString>, Failure> {
    let mut arguments = Vec::new();
    for service in services {
        let key = &service.key;
        let slice = slice_name(&key.project, Some(&service.names.slug), Some(&key.service));
        arguments.push(format!("--unit={slice}").into());
        for deployment in state.history(key, LATEST)? {
            arguments.push(format!("--unit={}", deployment.unit()).into());
        }
    }
    Ok(arguments)
}
