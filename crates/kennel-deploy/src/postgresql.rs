//! Roles and databases on the operator's PostgreSQL.
//!
//! A branch's role and its database have the same name, so that `sameuser` in pg_hba.conf keeps a
//! role to its own. Nobody else may connect to the database.

use std::future::Future;
use std::time::Duration;

use kennel_core::config::Postgresql;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use postgres_protocol::escape::{escape_identifier, escape_literal};
use postgres_protocol::password::scram_sha_256;
use tokio_postgres::config::Host;
use tokio_postgres::{Client, Config, Error, NoTls};

/// For a server on the same host.
const CONNECTING: Duration = Duration::from_secs(5);

/// A template may be large. Less than `TimeoutStartSec=` in kennel-teardown@.service.
const ANSWERING: Duration = Duration::from_secs(240);

/// PostgreSQL did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum PostgresqlError {
    /// What the operator wrote is no address.
    #[error(
        "`url` under [postgresql] in config.toml cannot be used; write it like postgresql:///postgres?host=/run/postgresql"
    )]
    Url(#[source] Error),
    /// It does not say where the server is.
    #[error(
        "`url` under [postgresql] in config.toml names no host; write it like postgresql:///postgres?host=/run/postgresql"
    )]
    NoHost,
    /// Nobody lets Kennel in.
    #[error(
        "PostgreSQL cannot be reached by `url` under [postgresql] in config.toml; is it running, and has it the role that Kennel uses?"
    )]
    Unreachable(#[source] Error),
    /// The database was not made.
    #[error("PostgreSQL did not get the role {name} and its database ready")]
    NotMade {
        /// The role and database.
        name: String,
        /// Its words.
        source: Error,
    },
    /// The branch's own role does not get in.
    #[error(
        "PostgreSQL does not let the role {name} into its database; pg_hba.conf needs `local sameuser /^kennel_ scram-sha-256` before other lines, or `host` instead of `local` where `url` has an address"
    )]
    NotLetIn {
        /// The role and database.
        name: String,
        /// Its words.
        source: Error,
    },
    /// The database is still there.
    #[error("PostgreSQL did not drop the database {name}")]
    NotDropped {
        /// The role and database.
        name: String,
        /// Its words.
        source: Error,
    },
    /// It has not answered.
    #[error("PostgreSQL was asked about the database {name} and did not answer within {} s", ANSWERING.as_secs())]
    Late {
        /// The role and database.
        name: String,
    },
}

/// A connection as the operator's own role.
pub(crate) struct Server {
    config: Config,
    client: Client,
}

impl Server {
    pub(crate) async fn connect(settings: &Postgresql) -> Result<Self, PostgresqlError> {
        let config = parsed(settings)?;
        let client = connect(&config).await.map_err(PostgresqlError::Unreachable)?;
        Ok(Self { config, client })
    }

    /// Makes the role and the database anew, whatever is there under the name: nothing in it is
    /// anybody's yet.
    pub(crate) async fn make(
        &self,
        settings: &Postgresql,
        name: &str,
    ) -> Result<(), PostgresqlError> {
        let making = async {
            self.drop_both(name).await?;
            let own = escape_identifier(name);
            let template = settings.template.as_deref().unwrap_or("template1");
            let copied = escape_identifier(template);
            // Nobody may connect until the public may not.
            for statement in [
                format!(
                    "CREATE ROLE {own} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION"
                ),
                format!("GRANT {own} TO CURRENT_USER"),
                format!(
                    "CREATE DATABASE {own} OWNER {own} TEMPLATE {copied} ALLOW_CONNECTIONS false"
                ),
                format!("REVOKE ALL ON DATABASE {own} FROM PUBLIC"),
                format!("ALTER DATABASE {own} ALLOW_CONNECTIONS true"),
            ] {
                self.client.batch_execute(&statement).await?;
            }
            if settings.template.is_some() {
                let copy = connect(self.config.clone().dbname(name)).await?;
                copy.batch_execute(&hand_over(name)).await?;
            }
            Ok(())
        };
        self.answered(name, making)
            .await?
            .map_err(|source| PostgresqlError::NotMade { name: name.to_owned(), source })
    }

    /// Whether the role and the database are there.
    pub(crate) async fn has(&self, name: &str) -> Result<bool, PostgresqlError> {
        let known = "SELECT FROM pg_roles, pg_database WHERE rolname = $1 AND datname = $1";
        let found = self.answered(name, self.client.query_opt(known, &[&name])).await?;
        Ok(found.map_err(PostgresqlError::Unreachable)?.is_some())
    }

    /// The role has this password, and gets into its database with it.
    pub(crate) async fn let_in(&self, name: &str, password: &str) -> Result<(), PostgresqlError> {
        // The server is told what to compare with, and its log nothing worth reading.
        let verifier = escape_literal(&scram_sha_256(password.as_bytes()));
        let statement = format!("ALTER ROLE {} PASSWORD {verifier}", escape_identifier(name));
        self.answered(name, self.client.batch_execute(&statement))
            .await?
            .map_err(|source| PostgresqlError::NotMade { name: name.to_owned(), source })?;
        let mut own = self.config.clone();
        own.user(name).password(password).dbname(name);
        let let_in = self.answered(name, connect(&own)).await?;
        let_in
            .map(drop)
            .map_err(|source| PostgresqlError::NotLetIn { name: name.to_owned(), source })
    }

    /// Neither the database nor the role is there any more.
    pub(crate) async fn drop(&self, name: &str) -> Result<(), PostgresqlError> {
        self.answered(name, self.drop_both(name))
            .await?
            .map_err(|source| PostgresqlError::NotDropped { name: name.to_owned(), source })
    }

    async fn drop_both(&self, name: &str) -> Result<(), Error> {
        let own = escape_identifier(name);
        self.client.batch_execute(&format!("DROP DATABASE IF EXISTS {own} WITH (FORCE)")).await?;
        let known = "SELECT FROM pg_roles WHERE rolname = $1";
        if self.client.query_opt(known, &[&name]).await?.is_some() {
            // What it may have left in the database of `url`, if it was let in there.
            self.client.batch_execute(&format!("DROP OWNED BY {own}; DROP ROLE {own}")).await?;
        }
        Ok(())
    }

    async fn answered<T>(
        &self,
        name: &str,
        asked: impl Future<Output = T>,
    ) -> Result<T, PostgresqlError> {
        let answered = tokio::time::timeout(ANSWERING, asked).await;
        answered.map_err(|_elapsed| PostgresqlError::Late { name: name.to_owned() })
    }
}

/// What a service gets: where the operator's URL leads, with its own role and database.
pub(crate) fn url(
    settings: &Postgresql,
    name: &str,
    password: &str,
) -> Result<String, PostgresqlError> {
    let config = parsed(settings)?;
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match config.get_hosts().first() {
        Some(Host::Tcp(host)) => {
            let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
            Ok(format!("postgresql://{name}:{password}@{host}:{port}/{name}"))
        }
        // `localhost` is what URL parsers want, and `host` what clients of PostgreSQL follow.
        Some(Host::Unix(directory)) => {
            let directory = directory.display().to_string();
            let directory = utf8_percent_encode(&directory, IN_QUERY);
            Ok(format!("postgresql://{name}:{password}@localhost:{port}/{name}?host={directory}"))
        }
        None => Err(PostgresqlError::NoHost),
    }
}

/// All but what every parser takes as it is.
const IN_QUERY: &percent_encoding::AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

fn parsed(settings: &Postgresql) -> Result<Config, PostgresqlError> {
    let mut config: Config = settings.url.parse().map_err(PostgresqlError::Url)?;
    if config.get_hosts().is_empty() {
        return Err(PostgresqlError::NoHost);
    }
    config.connect_timeout(CONNECTING).application_name("kennel-deploy");
    Ok(config)
}

async fn connect(config: &Config) -> Result<Client, Error> {
    let (client, connection) = config.connect(NoTls).await?;
    // It ends with the client, and its errors are the client's.
    tokio::spawn(connection);
    Ok(client)
}

/// Makes the role the owner of everything in a copied database: what is copied still belongs to
/// whom it belonged in the template. Tables come first, since their sequences go with them; parts of
/// extensions stay whose they are.
fn hand_over(name: &str) -> String {
    let role = escape_literal(name);
    format!(
        "DO $hand_over$
         DECLARE it record;
         BEGIN
             FOR it IN
                 SELECT dep.classid, dep.objid, named.type, named.identity
                 FROM pg_shdepend dep, pg_identify_object(dep.classid, dep.objid, 0) named
                 WHERE dep.deptype = 'o' AND dep.refclassid = 'pg_authid'::regclass
                   AND dep.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND dep.refobjid <> {role}::regrole
                   AND named.type NOT IN ('extension', 'event trigger', 'default acl')
                   AND NOT EXISTS (SELECT FROM pg_depend part WHERE part.deptype = 'e'
                       AND part.classid = dep.classid AND part.objid = dep.objid)
                 ORDER BY named.type <> 'table'
             LOOP
                 CONTINUE WHEN EXISTS (SELECT FROM pg_shdepend
                     WHERE classid = it.classid AND objid = it.objid AND deptype = 'o'
                       AND refobjid = {role}::regrole
                       AND dbid = (SELECT oid FROM pg_database
                                   WHERE datname = current_database()));
                 EXECUTE format('ALTER %s %s OWNER TO %I', it.type, it.identity, {role});
             END LOOP;
         END $hand_over$"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str) -> Postgresql {
        Postgresql { url: url.to_owned(), template: None }
    }

    #[test]
    fn services_get_the_same_server_with_their_own_names() {
        let url = |text: &str| {
            url(&of(text), "kennel_shop_main", "pw")
                .map_err(|error| kennel_core::error_chain(&error))
        };
        insta::assert_snapshot!(url("postgresql:///postgres?host=/run/postgresql").unwrap(), @"postgresql://kennel_shop_main:pw@localhost:5432/kennel_shop_main?host=/run/postgresql");
        insta::assert_snapshot!(url("postgres://root@%2Frun%2Fpostgresql:5433/postgres").unwrap(), @"postgresql://kennel_shop_main:pw@localhost:5433/kennel_shop_main?host=/run/postgresql");
        insta::assert_snapshot!(url("postgresql://kennel:secret@127.0.0.1/postgres?connect_timeout=3").unwrap(), @"postgresql://kennel_shop_main:pw@127.0.0.1:5432/kennel_shop_main");
        insta::assert_snapshot!(url("postgresql:///postgres").unwrap_err(), @"`url` under [postgresql] in config.toml names no host; write it like postgresql:///postgres?host=/run/postgresql");
        insta::assert_snapshot!(url("postgresql:///postgres?hosst=/run/postgresql").unwrap_err(), @"`url` under [postgresql] in config.toml cannot be used; write it like postgresql:///postgres?host=/run/postgresql: invalid connection string: unknown option `hosst`");
    }
}
