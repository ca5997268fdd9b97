//! `kennelctl check`: what is wrong with configuration, and where.

mod finding;
mod kind;
mod operator;
mod project_secrets;
mod secrets;

use std::path::Path;

use kennel_core::config::Manifest;
use serde_json::json;

pub(crate) use self::finding::{Findings, Severity};
pub(crate) use self::kind::Kind;
pub(crate) use self::operator::everything;
use crate::args::CheckArgs;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::say;
use crate::terminal::{Colour, Terminal};

/// Checks, prints what was found, and ends with 64 if anything is wrong.
pub(crate) fn run(host: &Host, args: &CheckArgs) -> Result<Exit, Failure> {
    let findings = match &args.file {
        Some(path) => one_file(path, args.kind)?,
        None => everything(&host.layout),
    };
    if args.json {
        let answer = json!({
            "ok": findings.exit() == Exit::Done,
            "checked": findings.checked,
            "findings": findings.all,
        });
        host.terminal.json(&answer)?;
    } else {
        host.terminal.print(&render(&findings, host.terminal))?;
    }
    Ok(findings.exit())
}

fn one_file(path: &Path, kind: Option<Kind>) -> Result<Findings, Failure> {
    let kind = match kind {
        Some(kind) => kind,
        None => Kind::of(path).ok_or_else(|| Failure::UnknownKind(path.to_owned()))?,
    };
    if matches!(path.try_exists(), Ok(false)) {
        return Err(Failure::NoFile(path.to_owned()));
    }
    let mut findings = Findings::default();
    match kind {
        Kind::Host => {
            operator::host(path, &mut findings);
        }
        Kind::Project => {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            match stem.parse() {
                Ok(name) => {
                    operator::project(path, name, &mut findings);
                }
                Err(source) => {
                    return Err(Failure::ProjectFileName { path: path.to_owned(), source });
                }
            }
        }
        Kind::Repository => {
            if let Some(text) = operator::read(path, &mut findings, say::gone()) {
                let parsed = Manifest::parse(&text, &path.display().to_string());
                findings.configuration(path, &text, parsed);
            }
        }
    }
    Ok(findings)
}

fn render(findings: &Findings, terminal: Terminal) -> String {
    let mut text = String::new();
    for finding in &findings.all {
        let (word, colour) = match finding.severity {
            Severity::Error => ("error", Colour::Bad),
            Severity::Unread => ("unread", Colour::Busy),
            Severity::Note => ("note", Colour::Busy),
        };
        text.push_str(&format!("{}: {}\n", terminal.paint(colour, word), finding.sentence()));
        text.push_str(&finding.excerpt);
    }
    let count = |severity| findings.all.iter().filter(|f| f.severity == severity).count();
    text.push_str(&say::checked(
        findings.checked.len(),
        count(Severity::Error),
        count(Severity::Unread),
        count(Severity::Note),
    ));
    text.push('\n');
    text
}

#[cfg(test)]
mod tests;
