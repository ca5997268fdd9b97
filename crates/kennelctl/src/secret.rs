//! `kennelctl secret`: what services are told and nobody else.
//!
//! A value comes from standard input, goes to systemd, which seals it, and is never shown, written
//! or passed on in any other way. What is listed are names.

pub(crate) mod say;

use std::io::{self, IsTerminal, Read};

use kennel_core::config::ProjectConfig;
use kennel_core::{DeploymentState, Event, ProjectName, SecretName, SecretScope, SecretValue};
use kennel_store::{ConfigError, Deployment, Secrets, SecretsError, load_project};
use kennel_systemd::Sealer;
use serde::Serialize;

use crate::args::{SecretArgs, SecretCommand, SecretListArgs, SecretRmArgs, SecretSetArgs};
use crate::clock;
use crate::failure::{Exit, Failure};
use crate::host::Host;
use crate::table::{Cell, Table};
use crate::terminal::Colour;

/// Sets, lists or removes.
pub(crate) fn run(host: &Host, args: &SecretArgs) -> Result<Exit, Failure> {
    match &args.command {
        SecretCommand::Set(args) => set(host, args),
        SecretCommand::List(args) => list(host, args),
        SecretCommand::Rm(args) => remove(host, args),
    }
}

fn set(host: &Host, args: &SecretSetArgs) -> Result<Exit, Failure> {
    let (name, scope) = (&args.name, SecretScope::from(args.scope));
    let project = Project::find(host, &args.project)?;
    let value = read_value(name)?;
    let mut sealer = Sealer::connect(&host.layout.credentials_socket())?;
    let seal = project.secrets.seal(name, scope);
    let sealed = sealer.seal(&seal, value.reveal().as_bytes())?;
    let replaced = project.secrets.put(name, scope, &sealed).map_err(refused)?;
    host.tell_audit(&args.project, Event::SecretSet { name: name.clone(), scope });
    let replaced = replaced.map(|then| clock::ago(then, clock::now()));
    host.terminal.line(&say::set(name, &args.project, scope, replaced.as_deref()))?;
    // Those that get this one and not one of a scope of their own.
    let users = project.users(name, scope)?;
    host.terminal.line(&say::set_next(name, &users))?;
    Ok(Exit::Done)
}

fn list(host: &Host, args: &SecretListArgs) -> Result<Exit, Failure> {
    let project = Project::find(host, &args.project)?;
    let mut all = Vec::new();
    for secret in project.secrets.list().map_err(refused)? {
        let used_by = project.users(&secret.name, secret.scope)?;
        all.push(Listed {
            used_by: used_by.iter().map(|it| it.key.to_string()).collect(),
            name: secret.name,
            scope: secret.scope,
            sealed: secret.is_sealed,
            set_at: secret.set_at,
            path: secret.path.display().to_string(),
        });
    }
    if args.json {
        host.terminal.json(&all)?;
        return Ok(Exit::Done);
    }
    if all.is_empty() {
        host.terminal.line(&say::none(&args.project))?;
        return Ok(Exit::Done);
    }
    let mut table = Table::new(&["NAME", "FOR", "SET", "KEPT", "USED BY"]);
    for it in all {
        let kept = match it.sealed {
            true => Cell::new("sealed"),
            false => Cell::painted("plain", Colour::Busy),
        };
        table.row(vec![
            Cell::new(it.name.to_string()),
            Cell::new(it.scope.to_string()),
            Cell::new(clock::ago(it.set_at, clock::now())),
            kept,
            Cell::new(it.used_by.join(", ")),
        ]);
    }
    host.terminal.print(&table.render(host.terminal))?;
    Ok(Exit::Done)
}

fn remove(host: &Host, args: &SecretRmArgs) -> Result<Exit, Failure> {
    let (name, scope) = (&args.name, SecretScope::from(args.scope));
    let project = Project::find(host, &args.project)?;
    let users = project.users(name, scope)?;
    if !project.secrets.remove(name, scope).map_err(refused)? {
        let all = project.secrets.list().map_err(refused)?;
        let elsewhere: Vec<_> =
            all.iter().filter(|it| it.name == *name).map(|it| it.scope).collect();
        return Err(Failure::NoSecret(say::no_secret(name, &args.project, scope, &elsewhere)));
    }
    host.tell_audit(&args.project, Event::SecretRemoved { name: name.clone(), scope });
    host.terminal.line(&say::removed(name, &args.project, scope))?;
    let mut without = Vec::new();
    for user in users {
        let scopes = project.config.secret_scopes(&user.key.git_ref, user.fork);
        if project.secrets.find(name, scopes).map_err(refused)?.is_none() {
            without.push(user.key.to_string());
        }
    }
    if !without.is_empty() {
        host.terminal.aside(&say::still_named(name, &without));
    }
    Ok(Exit::Done)
}

/// One line of the list.
#[derive(Debug, Serialize)]
struct Listed {
    name: SecretName,
    scope: SecretScope,
    sealed: bool,
    #[serde(serialize_with = "clock::serialize")]
    set_at: kennel_core::Timestamp,
    path: String,
    used_by: Vec<String>,
}

/// A configured project, its secrets, and who uses them.
struct Project {
    config: ProjectConfig,
    secrets: Secrets,
    newest: Vec<Deployment>,
}

impl Project {
    fn find(host: &Host, name: &ProjectName) -> Result<Self, Failure> {
        let config = load_project(&host.layout, name).map_err(|error| match error {
            ConfigError::NoProject { name, .. } => {
                Failure::NoProject(name, host.configured_projects())
            }
            ConfigError::Read { path, source }
                if source.kind() == io::ErrorKind::PermissionDenied =>
            {
                Failure::NotPermitted(path)
            }
            other => Failure::Config(other),
        })?;
        let newest = match host.state() {
            Ok(Some(state)) => state.newest(Some(name))?,
            // Secrets may be set before anything was ever deployed.
            Ok(None) | Err(Failure::NoKennel(_)) => Vec::new(),
            Err(failure) => return Err(failure),
        };
        Ok(Self { secrets: Secrets::of(&host.layout, &config), config, newest })
    }

    /// The services whose newest deployment names the secret and gets the one of this scope.
    fn users(&self, name: &SecretName, scope: SecretScope) -> Result<Vec<&Deployment>, Failure> {
        let mut users = Vec::new();
        for it in self.newest.iter().filter(|it| names(it, name)) {
            let scopes = self.config.secret_scopes(&it.key.git_ref, it.fork);
            let found = self.secrets.find(name, scopes).map_err(refused)?;
            if found.is_some_and(|found| found.scope == scope) {
                users.push(it);
            }
        }
        Ok(users)
    }
}

/// Whether what is left of it, or will be made of it again, asks for the secret.
fn names(deployment: &Deployment, name: &SecretName) -> bool {
    let Some(program) = deployment.settings.program() else { return false };
    let ended = matches!(
        deployment.state,
        DeploymentState::TearingDown | DeploymentState::TornDown | DeploymentState::Cancelled
    );
    !ended && (program.secrets.contains(name) || program.credentials.contains(name))
}

/// Whatever standard input holds. A little more than a value may have is enough to refuse it.
fn read_value(name: &SecretName) -> Result<SecretValue, Failure> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(Failure::Typed(name.clone()));
    }
    let most = SecretValue::MAX_LEN as u64 + 2;
    let mut bytes = Vec::new();
    stdin.lock().take(most).read_to_end(&mut bytes).map_err(Failure::Input)?;
    SecretValue::from_bytes(bytes).map_err(|why| Failure::BadSecret { name: name.clone(), why })
}

fn refused(error: SecretsError) -> Failure {
    match error.denied() {
        Some(path) => Failure::NeedsRoot(path.to_owned()),
        None => Failure::Secrets(error),
    }
}
