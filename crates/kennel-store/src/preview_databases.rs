//! Which branch has which preview database.
//!
//! A row comes before anything on a server and goes after it, so that a program which is killed in
//! between leaves a row that the next one finds. No row has a password, nor anything made of one.

use kennel_core::{BranchSlug, DatabaseServer, GitRef, ProjectName, plain_or_hashed};
use rusqlite::{Row, params};

use crate::StoreError;
use crate::column::parsed;
use crate::database::immediate;
use crate::deployments::State;

/// PostgreSQL cuts off what is longer (`NAMEDATALEN`).
const LONGEST_NAME: usize = 63;

/// One branch's database on one server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewDatabase {
    /// Given once, and to no other database ever.
    pub id: i64,
    /// Where it is.
    pub server: DatabaseServer,
    /// Valkey's number, or the name of PostgreSQL's role and database.
    pub name: String,
    /// Whose branch it is for.
    pub project: ProjectName,
    /// The branch or pull request.
    pub git_ref: GitRef,
    /// Whether the server has emptied or made it since the branch has it.
    pub ready: bool,
}

/// Every number of Valkey's is somebody's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "all {count} database numbers of Valkey are taken: {}; tear a branch down with `kennelctl \
     teardown`, or raise `databases` in Valkey's own configuration and under [valkey] in \
     config.toml",
    in_words(.holders)
)]
pub struct NumbersTaken {
    /// How many there are.
    pub count: u32,
    /// Who has them.
    pub holders: Vec<PreviewDatabase>,
}

fn in_words(holders: &[PreviewDatabase]) -> String {
    let each =
        |it: &PreviewDatabase| format!("{} by {}/{}", it.name, it.project, it.git_ref.short());
    holders.iter().map(each).collect::<Vec<_>>().join(", ")
}

impl State {
    /// The branch's number on Valkey: the one that it has, or the lowest below `count` that nobody
    /// has.
    ///
    /// # Errors
    /// Any [`StoreError`]; the inner error if there is none.
    pub fn allocate_number(
        &mut self,
        project: &ProjectName,
        git_ref: &GitRef,
        count: u32,
    ) -> Result<Result<PreviewDatabase, NumbersTaken>, StoreError> {
        let names = (0..count).map(|number| number.to_string());
        let given = self.allocate(DatabaseServer::Valkey, project, git_ref, names)?;
        match given {
            Some(given) => Ok(Ok(given)),
            None => {
                let holders = self.preview_databases()?;
                let holders =
                    holders.into_iter().filter(|it| it.server == DatabaseServer::Valkey).collect();
                Ok(Err(NumbersTaken { count, holders }))
            }
        }
    }

    /// The branch's database on PostgreSQL: the one that it has, or a new one. Its name begins with
    /// `kennel_`, which no user of a service does: `peer` lets nobody in as another branch's role.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn allocate_database(
        &mut self,
        project: &ProjectName,
        git_ref: &GitRef,
        slug: &BranchSlug,
    ) -> Result<PreviewDatabase, StoreError> {
        let plain = format!("kennel_{project}_{slug}");
        let whole_ref = git_ref.to_string();
        let parts = [project.as_str(), &whole_ref];
        let names = plain_or_hashed(&plain, true, LONGEST_NAME, &parts);
        let given = self.allocate(DatabaseServer::Postgresql, project, git_ref, names)?;
        given.ok_or_else(|| StoreError::NoName {
            kind: "preview database",
            for_what: format!("{project}/{git_ref}"),
        })
    }

    fn allocate(
        &mut self,
        server: DatabaseServer,
        project: &ProjectName,
        git_ref: &GitRef,
        mut names: impl Iterator<Item = String>,
    ) -> Result<Option<PreviewDatabase>, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let all = all(&tx)?;
        let on_server = || all.iter().filter(|it| it.server == server);
        if let Some(own) = on_server().find(|it| it.project == *project && it.git_ref == *git_ref) {
            return Ok(Some(own.clone()));
        }
        let Some(name) = names.find(|name| on_server().all(|it| it.name != *name)) else {
            return Ok(None);
        };
        tx.execute(
            "INSERT INTO preview_databases (server, name, project, git_ref)
             VALUES (?1, ?2, ?3, ?4)",
            params![server.as_str(), name, project.as_str(), git_ref.to_string()],
        )?;
        let id = tx.last_insert_rowid();
        tx.commit()?;
        let (project, git_ref) = (project.clone(), git_ref.clone());
        Ok(Some(PreviewDatabase { id, server, name, project, git_ref, ready: false }))
    }

    /// All of them: Valkey's by number, then PostgreSQL's by name.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn preview_databases(&self) -> Result<Vec<PreviewDatabase>, StoreError> {
        Ok(all(&self.connection)?)
    }

    /// Those of one branch.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn preview_databases_of(
        &self,
        project: &ProjectName,
        git_ref: &GitRef,
    ) -> Result<Vec<PreviewDatabase>, StoreError> {
        let mut all = self.preview_databases()?;
        all.retain(|it| it.project == *project && it.git_ref == *git_ref);
        Ok(all)
    }

    /// The server has emptied or made it.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn preview_database_made(&mut self, id: i64) -> Result<(), StoreError> {
        self.connection.execute("UPDATE preview_databases SET ready = 1 WHERE id = ?1", [id])?;
        Ok(())
    }

    /// What the server had of it is lost, and has to be made once more.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn preview_database_lost(&mut self, id: i64) -> Result<(), StoreError> {
        self.connection.execute("UPDATE preview_databases SET ready = 0 WHERE id = ?1", [id])?;
        Ok(())
    }

    /// Nobody has it any more.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn forget_preview_database(&mut self, id: i64) -> Result<(), StoreError> {
        self.connection.execute("DELETE FROM preview_databases WHERE id = ?1", [id])?;
        Ok(())
    }
}

fn all(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<PreviewDatabase>> {
    let sql = "SELECT * FROM preview_databases
               ORDER BY server = 'postgresql', CAST(name AS INTEGER), name";
    connection.prepare_cached(sql)?.query_map([], preview_database)?.collect()
}

fn preview_database(row: &Row<'_>) -> rusqlite::Result<PreviewDatabase> {
    Ok(PreviewDatabase {
        id: row.get("id")?,
        server: parsed(row, "server")?,
        name: row.get("name")?,
        project: parsed(row, "project")?,
        git_ref: parsed(row, "git_ref")?,
        ready: row.get("ready")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;

    struct Branch {
        project: ProjectName,
        git_ref: GitRef,
        slug: BranchSlug,
    }

    fn branch(project: &str, name: &str) -> Branch {
        let git_ref: GitRef = format!("refs/heads/{name}").parse().unwrap();
        let slug = BranchSlug::candidates(&git_ref).next().unwrap().unwrap();
        Branch { project: project.parse().unwrap(), git_ref, slug }
    }

    fn state() -> (tempfile::TempDir, State) {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("state.db"), Access::Patient).unwrap();
        (dir, state)
    }

    fn number(state: &mut State, of: &Branch, count: u32) -> Result<String, String> {
        let given = state.allocate_number(&of.project, &of.git_ref, count).unwrap();
        given.map(|it| it.name).map_err(|error| error.to_string())
    }

    #[test]
    fn each_branch_has_one_number_until_it_is_forgotten() {
        let (_dir, mut state) = state();
        let [main, other, third] = ["main", "feature/x", "y"].map(|name| branch("shop", name));
        assert_eq!(number(&mut state, &main, 2).unwrap(), "0");
        assert_eq!(number(&mut state, &other, 2).unwrap(), "1");
        assert_eq!(number(&mut state, &main, 2).unwrap(), "0");
        insta::assert_snapshot!(number(&mut state, &third, 2).unwrap_err(), @"all 2 database numbers of Valkey are taken: 0 by shop/main, 1 by shop/feature/x; tear a branch down with `kennelctl teardown`, or raise `databases` in Valkey's own configuration and under [valkey] in config.toml");

        let of_main = state.preview_databases_of(&main.project, &main.git_ref).unwrap();
        let [first] = &of_main[..] else { panic!("{of_main:?}") };
        assert!(!first.ready);
        state.preview_database_made(first.id).unwrap();
        assert!(state.preview_databases().unwrap()[0].ready);
        state.preview_database_lost(first.id).unwrap();
        assert!(!state.preview_databases().unwrap()[0].ready);
        state.forget_preview_database(first.id).unwrap();
        assert_eq!(number(&mut state, &third, 2).unwrap(), "0");
        let again = &state.preview_databases().unwrap()[0];
        assert!(again.id > first.id && !again.ready, "{again:?}");
    }

    #[test]
    fn names_on_postgresql_never_meet() {
        let (_dir, mut state) = state();
        let mut name = |project: &str, name: &str| {
            let it = branch(project, name);
            state.allocate_database(&it.project, &it.git_ref, &it.slug).unwrap().name
        };
        assert_eq!(name("shop", "main"), "kennel_shop_main");
        assert_eq!(name("shop", "main"), "kennel_shop_main");
        assert_eq!(name("a", "b-c"), "kennel_a_b-c");
        assert_eq!(name("a-b", "c"), "kennel_a-b_c");
        let long = name(&"p".repeat(32), &"b".repeat(40));
        assert!(long.len() == 63 && long.starts_with("kennel_ppp"), "{long}");
    }
}
