//! What Kennel has written down, read from outside while it runs.
//!
//! Straight from the files: a test that asked the product's own code would believe its mistakes.

use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row, Transaction};
use xtask::host::Host;

use crate::{Context, Kennel, Result};

/// Longer than any of Kennel's programs holds a database.
const PATIENCE: Duration = Duration::from_secs(20);

/// All rows of one moment.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// Every deployment that there ever was, oldest first.
    pub deployments: Vec<Deployment>,
    /// Names that belong to somebody.
    pub names: Vec<Name>,
    /// Custom domains that belong to somebody.
    pub domains: Vec<Domain>,
    /// Preview databases that belong to somebody.
    pub databases: Vec<Database>,
    /// Every build that there ever was, oldest first.
    pub builds: Vec<Build>,
}

/// One build's row.
#[derive(Clone, Debug, Default)]
pub struct Build {
    /// Its number.
    pub id: i64,
    /// The project.
    pub project: String,
    /// `succeeded` and the like.
    pub state: String,
    /// Whether it has left nothing but what is to be deployed.
    pub swept: bool,
    /// Whether deployments were made of it.
    pub handed_over: bool,
}

impl Build {
    /// Whether nothing will happen to it by itself.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        !matches!(self.state.as_str(), "queued" | "building") && self.swept && self.handed_over
    }
}

/// One deployment's row. Moments are milliseconds since 1970.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// Its number.
    pub id: i64,
    /// The build that made it.
    pub build: i64,
    /// The project.
    pub project: String,
    /// `refs/heads/main`.
    pub git_ref: String,
    /// The output's name.
    pub service: String,
    /// `service`, `worker` or `site`.
    pub kind: String,
    /// The branch in names of the host.
    pub slug: String,
    /// The user that it runs as.
    pub user: String,
    /// The first label of its host.
    pub label: String,
    /// The commit.
    pub commit: String,
    /// What Nix made.
    pub store_path: String,
    /// The deployment whose version it is once more.
    pub rollback_to: Option<i64>,
    /// `active` and the like.
    pub state: String,
    /// Why it is where it is.
    pub reason: Option<String>,
    /// Whether, having never served, it has left nothing.
    pub cleaned: bool,
    /// The port that is reserved for it.
    pub port: Option<u16>,
    /// When the row was made.
    pub created_at: i64,
    /// When it began to serve.
    pub active_at: Option<i64>,
    /// Until when it drains.
    pub drain_until: Option<i64>,
    /// When it ended.
    pub ended_at: Option<i64>,
}

/// One given name.
#[derive(Clone, Debug, Default)]
pub struct Name {
    /// `slug`, `user` or `label`.
    pub kind: String,
    /// The name.
    pub name: String,
    /// Whose it is: the project,
    pub project: String,
    /// the branch or pull request,
    pub git_ref: String,
    /// and the service, empty for a branch's slug.
    pub service: String,
}

/// One custom domain.
#[derive(Clone, Debug, Default)]
pub struct Domain {
    /// The domain.
    pub host: String,
    /// Whose it is: the project,
    pub project: String,
    /// the branch,
    pub git_ref: String,
    /// and the service.
    pub service: String,
}

/// One preview database.
#[derive(Clone, Debug, Default)]
pub struct Database {
    /// `valkey` or `postgresql`.
    pub server: String,
    /// The number, or the role's and the database's name.
    pub name: String,
    /// Whose it is: the project,
    pub project: String,
    /// and the branch or pull request.
    pub git_ref: String,
}

impl Deployment {
    /// Whether something of it should be on the host for good: it serves, or could come back.
    #[must_use]
    pub fn holds(&self) -> bool {
        matches!(self.state.as_str(), "active" | "retired")
    }

    /// Whether nothing will happen to it by itself.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        match self.state.as_str() {
            "active" | "retired" | "torn_down" => true,
            "failed" | "superseded" | "unchanged" | "cancelled" => self.cleaned,
            _ => false,
        }
    }

    /// Whether it is a folder of files.
    #[must_use]
    pub fn is_site(&self) -> bool {
        self.kind == "site"
    }

    /// Whether it is a program that runs at its times.
    #[must_use]
    pub fn is_timer(&self) -> bool {
        self.kind == "timer"
    }

    /// The unit that starts [`Self::unit`] at its times.
    #[must_use]
    pub fn timer(&self) -> String {
        format!("kennel-{}-{}-{}@{}.timer", self.project, self.slug, self.service, self.id)
    }

    /// The unit that starts [`Self::unit`] when it sleeps and somebody asks for it.
    #[must_use]
    pub fn bell(&self) -> String {
        format!("kennel-{}-{}-{}@{}.socket", self.project, self.slug, self.service, self.id)
    }

    /// The unit of a service's deployment.
    #[must_use]
    pub fn unit(&self) -> String {
        format!("kennel-{}-{}-{}@{}.service", self.project, self.slug, self.service, self.id)
    }

    /// Whether the two are deployments of one service or site on one branch.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        (&self.project, &self.git_ref, &self.service)
            == (&other.project, &other.git_ref, &other.service)
    }
}

impl Rows {
    /// Reads all rows. Before Kennel's first start there are none.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn read(kennel: &Kennel) -> Result<Self> {
        let mut rows = Self::default();
        let mut state = open(kennel.host(), "state/state.db")?;
        // One moment for all tables.
        let state = state.transaction()?;
        rows.deployments = all(
            &state,
            "SELECT deployments.*, port, json_extract(settings, '$.kind') AS kind
             FROM deployments LEFT JOIN ports ON ports.deployment_id = deployments.id
             ORDER BY deployments.id",
            deployment,
        )?;
        rows.names = all(&state, "SELECT * FROM names", |row| {
            Ok(Name {
                kind: row.get("kind")?,
                name: row.get("name")?,
                project: row.get("project")?,
                git_ref: row.get("git_ref")?,
                service: row.get("service")?,
            })
        })?;
        rows.domains = all(&state, "SELECT * FROM hosts", |row| {
            Ok(Domain {
                host: row.get("host")?,
                project: row.get("project")?,
                git_ref: row.get("git_ref")?,
                service: row.get("service")?,
            })
        })?;
        rows.databases = all(&state, "SELECT * FROM preview_databases", |row| {
            Ok(Database {
                server: row.get("server")?,
                name: row.get("name")?,
                project: row.get("project")?,
                git_ref: row.get("git_ref")?,
            })
        })?;
        let mut builds = open(kennel.host(), "builds/builds.db")?;
        let builds = builds.transaction()?;
        rows.builds = all(&builds, "SELECT * FROM builds ORDER BY id", |row| {
            Ok(Build {
                id: row.get("id")?,
                project: row.get("project")?,
                state: row.get("state")?,
                swept: row.get("swept")?,
                handed_over: row.get("handed_over")?,
            })
        })?;
        Ok(rows)
    }

    /// The deployments of one project, oldest first.
    pub fn of(&self, project: &str) -> impl Iterator<Item = &Deployment> + use<'_> {
        let project = project.to_owned();
        self.deployments.iter().filter(move |deployment| deployment.project == project)
    }

    /// The builds of one project, oldest first.
    pub fn builds_of(&self, project: &str) -> impl Iterator<Item = &Build> + use<'_> {
        let project = project.to_owned();
        self.builds.iter().filter(move |build| build.project == project)
    }

    /// The deployment of a service or site that serves at a commit, whatever the branch, or else the
    /// newest.
    #[must_use]
    pub fn at(&self, project: &str, service: &str, commit: &str) -> Option<&Deployment> {
        let at = self.of(project).filter(|it| it.service == service && it.commit == commit);
        // Of several that are alike it is the last.
        at.max_by_key(|it| it.state == "active")
    }
}

pub(crate) fn open(host: &Host, file: &str) -> Result<Connection> {
    let path = host.root().join("var/lib/kennel").join(file);
    // Never made by a test: it would then belong to root, and Kennel could not write it.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&path, flags)
        .with_context(|| format!("cannot open {}", path.display()))?;
    connection.busy_timeout(PATIENCE)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn all<T>(
    transaction: &Transaction<'_>,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>> {
    let mut statement = transaction.prepare(sql)?;
    let rows = statement.query_map([], read)?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn deployment(row: &Row<'_>) -> rusqlite::Result<Deployment> {
    Ok(Deployment {
        id: row.get("id")?,
        build: row.get("build_id")?,
        project: row.get("project")?,
        git_ref: row.get("git_ref")?,
        service: row.get("service")?,
        kind: row.get("kind")?,
        slug: row.get("slug")?,
        user: row.get("user")?,
        label: row.get("label")?,
        commit: row.get("sha")?,
        store_path: row.get("store_path")?,
        rollback_to: row.get("rollback_to")?,
        state: row.get("state")?,
        reason: row.get("reason")?,
        cleaned: row.get("cleaned")?,
        port: row.get("port")?,
        created_at: row.get("created_at")?,
        active_at: row.get("active_at")?,
        drain_until: row.get("drain_until")?,
        ended_at: row.get("ended_at")?,
    })
}
