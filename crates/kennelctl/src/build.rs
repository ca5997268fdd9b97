//! `kennelctl build`: one build, with its outputs and logs.

use std::fmt::Write as _;
use std::path::PathBuf;

use kennel_core::{BuildId, BuildState, OutputState, Timestamp};
use kennel_store::Builds;

use crate::args::BuildArgs;
use crate::build_view::{BuildView, Details};
use crate::clock::{self, ago, took};
use crate::failure::{Exit, Failure};
use crate::follow::follow;
use crate::host::Host;
use crate::say;
use crate::table::{Cell, Table};
use crate::terminal::{Colour, Terminal, printable};

/// Prints the build; with `--follow` its logs first, until it ends.
pub(crate) fn run(host: &Host, args: &BuildArgs) -> Result<Exit, Failure> {
    let builds = host.builds()?.ok_or(Failure::NoBuild(args.id))?;
    if args.follow {
        // Nothing is to be said if it is interrupted: whoever follows has asked for nothing else.
        let mut pause = |length| {
            std::thread::sleep(length);
            Ok(())
        };
        follow(host, &builds, args.id, !args.json, &mut pause)?;
    }
    let build = look(host, &builds, args.id)?;
    if args.json {
        host.terminal.json(&build)?;
    } else {
        host.terminal.print(&render(&build, clock::now(), host.terminal))?;
    }
    Ok(match build.state {
        BuildState::Succeeded => Exit::Done,
        _ if !args.follow => Exit::Done,
        _ => Exit::Failed,
    })
}

fn look(host: &Host, builds: &Builds, id: BuildId) -> Result<BuildView, Failure> {
    let build = builds.get(id)?.ok_or(Failure::NoBuild(id))?;
    let outputs = builds.outputs(id)?.into_iter().map(Into::into).collect();
    let details = Details { outputs, logs: logs(host, id) };
    Ok(BuildView::from(build).with(details))
}

/// The log files that are there; none if they may not be read.
fn logs(host: &Host, id: BuildId) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(host.layout.logs(id)) else { return Vec::new() };
    let mut logs: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs.sort();
    logs
}

pub(crate) fn render(build: &BuildView, now: Timestamp, terminal: Terminal) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{}", say::build_ended(build.id, build.state, build.ran(now)));
    let by = build.by.as_deref().map(|by| format!(" by {}", printable(by))).unwrap_or_default();
    let _ = writeln!(text, "  branch     {}", build.place());
    let _ = writeln!(text, "  commit     {}", build.commit);
    let _ = writeln!(text, "  asked for  {}{by}", ago(build.received_at, now));
    if !build.because().is_empty() {
        let _ = writeln!(text, "  because    {}", build.because());
    }
    let Some(Details { outputs, logs }) = &build.details else { return text };
    if !outputs.is_empty() {
        let mut table = Table::new(&["OUTPUT", "KIND", "STATE", "TOOK", "STORE PATH"]);
        for output in outputs {
            let over = build.state.is_final();
            let colour = match output.state {
                OutputState::Pending | OutputState::Building if over => Colour::Faint,
                OutputState::Pending | OutputState::Building => Colour::Busy,
                OutputState::Built | OutputState::Unchanged => Colour::Good,
                OutputState::Failed => Colour::Bad,
            };
            let ended = output.finished_at.or(build.finished_at).unwrap_or(now);
            let span = output.started_at.map(|began| ended.since(began));
            table.row(vec![
                Cell::new(output.name.as_str()),
                Cell::new(output.kind.as_str()),
                Cell::painted(say::output_state(output.state, over), colour),
                Cell::new(span.map(took).unwrap_or_default()),
                Cell::new(output.store_path.as_ref().map(ToString::to_string).unwrap_or_default()),
            ]);
        }
        let _ = write!(text, "\n{}", table.render(terminal));
    }
    for output in outputs {
        let Some(reason) = &output.reason else { continue };
        let _ = writeln!(text, "\n{}:", output.name);
        text.push_str(&indented(reason));
    }
    // The outputs' reasons, where there are some, say all that the build's own goes on to say.
    let told = outputs.iter().any(|output| output.reason.is_some());
    if let Some(reason) = build.reason.as_deref().filter(|reason| reason.lines().nth(1).is_some())
        && !told
    {
        let _ = write!(text, "\n{}", indented(reason));
    }
    if !logs.is_empty() {
        let _ = writeln!(text, "\nLogs:");
        for log in logs {
            let _ = writeln!(text, "  {}", log.display());
        }
    }
    text
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {}\n", printable(line))).collect()
}
