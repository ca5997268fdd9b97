//! `kennelctl token`: who may use the API without a login on the host.
//!
//! A token is shown once, by the command that makes it, and kept nowhere.

pub(crate) mod say;

use std::collections::BTreeSet;

use kennel_core::{Event, ProjectName, Timestamp, TokenName, TokenRight};
use kennel_store::{NewToken, Token, Tokens, TokensError};
use serde::Serialize;

use crate::args::{TokenArgs, TokenCommand, TokenCreateArgs, TokenListArgs, TokenRevokeArgs};
use crate::clock::{self, ago, until};
use crate::failure::{Exit, Failure};
use crate::host::{Host, login};
use crate::table::{Cell, Table};
use crate::terminal::{Colour, printable};

/// Makes, lists or takes back.
pub(crate) fn run(host: &Host, args: &TokenArgs) -> Result<Exit, Failure> {
    match &args.command {
        TokenCommand::Create(args) => create(host, args),
        TokenCommand::List(args) => list(host, args),
        TokenCommand::Revoke(args) => revoke(host, args),
    }
}

fn create(host: &Host, args: &TokenCreateArgs) -> Result<Exit, Failure> {
    let projects: BTreeSet<_> = args.project.iter().cloned().collect();
    if projects.is_empty() != (args.may == TokenRight::Metrics) {
        return Err(Failure::TokenProjects(args.may));
    }
    for project in &projects {
        host.ensure_project(project, false)?;
    }
    let now = clock::now();
    let new = NewToken {
        name: args.name.clone(),
        projects: projects.clone(),
        right: args.may,
        created_at: now,
        created_by: login(),
        expires_at: now.plus(args.expires.0),
    };
    let expires_at = new.expires_at;
    let token = Tokens::of(&host.layout).create(new).map_err(refused)?;
    for project in &projects {
        host.tell_audit(project, Event::TokenCreated { name: args.name.clone() });
    }
    if args.json {
        let token = token.reveal();
        let name = &args.name;
        host.terminal.json(&Created { name, token, projects, may: args.may, expires_at })?;
        return Ok(Exit::Done);
    }
    // Alone on standard output, for whatever takes it from there.
    host.terminal.line(token.reveal())?;
    host.terminal.aside(&say::created(&args.name, args.may, &projects, &args.expires));
    Ok(Exit::Done)
}

fn list(host: &Host, args: &TokenListArgs) -> Result<Exit, Failure> {
    let now = clock::now();
    let mut all = Vec::new();
    let mut exit = Exit::Done;
    for token in Tokens::of(&host.layout).all().map_err(refused)? {
        match token {
            Ok(token) => all.push(Listed::of(token, now)),
            Err(error) if error.denied().is_some() => return Err(refused(error)),
            Err(error) => {
                host.terminal.aside(&kennel_core::error_chain(&error));
                exit = Exit::Failed;
            }
        }
    }
    if args.json {
        host.terminal.json(&all)?;
        return Ok(exit);
    }
    if all.is_empty() {
        host.terminal.line(&say::none())?;
        return Ok(exit);
    }
    let mut table = Table::new(&["NAME", "MAY", "PROJECTS", "MADE", "BY", "EXPIRES"]);
    for it in all {
        let expires = match it.expired {
            true => Cell::painted("expired", Colour::Bad),
            false => Cell::new(until(it.expires_at, now)),
        };
        table.row(vec![
            Cell::new(it.name.to_string()),
            Cell::new(it.may.as_str()),
            Cell::new(if it.projects.is_empty() { "-".into() } else { say::names(&it.projects) }),
            Cell::new(ago(it.created_at, now)),
            Cell::new(printable(&it.created_by)),
            expires,
        ]);
    }
    host.terminal.print(&table.render(host.terminal))?;
    Ok(exit)
}

fn revoke(host: &Host, args: &TokenRevokeArgs) -> Result<Exit, Failure> {
    let revoked = Tokens::of(&host.layout).revoke(&args.name).map_err(refused)?;
    let Some(token) = revoked else { return Err(Failure::NoToken(args.name.clone())) };
    // Whose it was is not known of one that could not be read.
    for project in token.into_iter().flat_map(|token| token.projects) {
        host.tell_audit(&project, Event::TokenRevoked { name: args.name.clone() });
    }
    host.terminal.line(&say::revoked(&args.name))?;
    Ok(Exit::Done)
}

/// What is shown once.
#[derive(Serialize)]
struct Created<'a> {
    name: &'a TokenName,
    token: &'a str,
    projects: BTreeSet<ProjectName>,
    may: TokenRight,
    #[serde(serialize_with = "clock::serialize")]
    expires_at: Timestamp,
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Listed {
    name: TokenName,
    projects: BTreeSet<ProjectName>,
    may: TokenRight,
    #[serde(serialize_with = "clock::serialize")]
    created_at: Timestamp,
    created_by: String,
    #[serde(serialize_with = "clock::serialize")]
    expires_at: Timestamp,
    expired: bool,
}

impl Listed {
    fn of(token: Token, now: Timestamp) -> Self {
        let expired = token.expires_at <= now;
        let Token { name, projects, right, created_at, created_by, expires_at, .. } = token;
        Self { name, projects, may: right, created_at, created_by, expires_at, expired }
    }
}

fn refused(error: TokensError) -> Failure {
    match error.denied() {
        Some(path) => Failure::NeedsRoot(path.to_owned()),
        None => Failure::Tokens(error),
    }
}
