//! Preview databases on PostgreSQL against their rows, both ways.
//!
//! Of Valkey's numbers nobody can tell what is in them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kennel_core::{DatabaseServer, error_chain};
use kennel_store::PreviewDatabase;
use tokio_postgres::{Config, Error, NoTls};

use super::facts::Facts;
use super::finding::{Finding, or_ok};
use super::rows::Rows;
use super::say;

/// For a server on the same host.
const CONNECTING: Duration = Duration::from_secs(3);

/// What is called so is Kennel's. Once for a role and once for a database.
const NAMES: &str = "SELECT rolname::text AS name FROM pg_roles WHERE rolname LIKE 'kennel\\_%'
    UNION ALL SELECT datname::text FROM pg_database WHERE datname LIKE 'kennel\\_%'";

pub(super) async fn check(facts: Arc<Facts>) -> Vec<Finding> {
    let (Some(settings), Ok(rows)) =
        (facts.config.as_ref().and_then(|config| config.postgresql.as_ref()), &facts.rows)
    else {
        return Vec::new();
    };
    if !facts.host.is_live {
        return Vec::new();
    }
    let names = match names(&settings.url).await {
        Ok(names) => names,
        Err(error) => return vec![say::preview_databases_unread(&error_chain(&error))],
    };
    // Some may have been given or dropped meanwhile: what is wrong is so before and after.
    let host = facts.host.clone();
    let Ok(Ok(after)) = tokio::task::spawn_blocking(move || Rows::read(&host)).await else {
        return Vec::new();
    };
    judge(&rows.databases, &after.databases, &names)
}

/// The names of roles and of databases; what has both is there twice.
async fn names(url: &str) -> Result<Vec<String>, Error> {
    let mut config: Config = url.parse()?;
    config.connect_timeout(CONNECTING).application_name("kennelctl");
    let (client, connection) = config.connect(NoTls).await?;
    // It ends with the client, and its errors are the client's.
    tokio::spawn(connection);
    let rows = client.query(NAMES, &[]).await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}

fn judge(before: &[PreviewDatabase], after: &[PreviewDatabase], names: &[String]) -> Vec<Finding> {
    let own = |it: &&PreviewDatabase| it.server == DatabaseServer::Postgresql;
    let is_whole = |name: &str| names.iter().filter(|it| *it == name).count() == 2;
    let mut findings: Vec<_> = before
        .iter()
        .filter(own)
        .filter(|it| it.ready && after.contains(it) && !is_whole(&it.name))
        .map(say::preview_database_missing)
        .collect();
    let known = |name: &&String| before.iter().chain(after).filter(own).any(|it| it.name == **name);
    let strangers: BTreeSet<_> = names.iter().filter(|name| !known(name)).collect();
    findings.extend(strangers.into_iter().map(|name| say::preview_database_without_row(name)));
    or_ok(findings, || say::preview_databases_match(after.iter().filter(own).count()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::said;
    use super::*;

    fn database(id: i64, name: &str, ready: bool) -> PreviewDatabase {
        PreviewDatabase {
            id,
            server: DatabaseServer::Postgresql,
            name: name.to_owned(),
            project: "shop".parse().unwrap(),
            git_ref: "refs/heads/feature/x".parse().unwrap(),
            ready,
        }
    }

    #[test]
    fn what_is_wrong_is_so_before_and_after() {
        let names = |all: &[&str]| -> Vec<String> { all.iter().map(|it| (*it).into()).collect() };
        let (whole, half) = (database(1, "kennel_a", true), database(2, "kennel_b", true));
        let (new, gone) = (database(3, "kennel_c", false), database(4, "kennel_d", true));
        let number = PreviewDatabase { server: DatabaseServer::Valkey, ..database(5, "7", true) };
        let before = [whole.clone(), half.clone(), gone.clone(), number.clone()];
        let after = [whole.clone(), half, new, number];
        let there =
            names(&["kennel_a", "kennel_a", "kennel_b", "kennel_c", "kennel_d", "kennel_x"]);
        insta::assert_snapshot!(said(&judge(&before, &after, &there)), @r#"
        Databases
          FAIL  preview  PostgreSQL has lost kennel_b, which is shop/feature/x's
                         run: kennelctl reconcile
          warn  preview  PostgreSQL's kennel_x belongs to no branch
                         do: if nobody needs it: DROP DATABASE IF EXISTS "kennel_x"; DROP ROLE IF EXISTS "kennel_x"
        "#);
        let good = judge(
            std::slice::from_ref(&whole),
            std::slice::from_ref(&whole),
            &names(&["kennel_a", "kennel_a"]),
        );
        insta::assert_snapshot!(said(&good), @"
        Databases
          ok    preview  PostgreSQL has the databases of one branch, and no others
        ");
    }
}
