//! What is under maintenance: visitors get a page that says so, whatever is deployed.

use kennel_core::{GitRef, Notice, OutputKey, ProjectName, ServiceName, Timestamp};
use rusqlite::{Row, Transaction, params};

use crate::column::{parsed, parsed_or_null};
use crate::database::immediate;
use crate::{Scope, State, StoreError};

/// A project, a branch of it, or one service or site, whose visitors are told to come again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Maintenance {
    /// What is meant.
    pub place: Place,
    /// What visitors are told.
    pub notice: Notice,
    /// The login of whoever wanted it.
    pub by: Option<String>,
    /// Since when.
    pub at: Timestamp,
}

/// All of a project, or less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The project.
    pub project: ProjectName,
    /// The branch or pull request; none: all of them.
    pub git_ref: Option<GitRef>,
    /// Only this service or site of it.
    pub service: Option<ServiceName>,
}

impl Place {
    /// Whether this service or site is in it.
    #[must_use]
    pub fn covers(&self, key: &OutputKey) -> bool {
        self.project == key.project
            && self.git_ref.as_ref().is_none_or(|git_ref| *git_ref == key.git_ref)
            && self.service.as_ref().is_none_or(|service| *service == key.service)
    }

    /// Whether all of `other` is in it.
    #[must_use]
    pub fn contains(&self, other: &Self) -> bool {
        self.project == other.project
            && (self.git_ref.is_none() || self.git_ref == other.git_ref)
            && (self.service.is_none() || self.service == other.service)
    }

    /// How much it says: the more, the less is meant.
    fn depth(&self) -> (bool, bool) {
        (self.git_ref.is_some(), self.service.is_some())
    }
}

/// `site`, `site/main` or `site/main/api`.
impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.project)?;
        if let Some(git_ref) = &self.git_ref {
            write!(f, "/{}", git_ref.short())?;
        }
        match &self.service {
            Some(service) => write!(f, "/{service}"),
            None => Ok(()),
        }
    }
}

/// What visitors of a service or site are told, if it is under maintenance: where two places say
/// something, the one that means less.
#[must_use]
pub fn notice_for<'a>(all: &'a [Maintenance], key: &OutputKey) -> Option<&'a Notice> {
    let covering = all.iter().filter(|it| it.place.covers(key));
    covering.max_by_key(|it| it.place.depth()).map(|it| &it.notice)
}

impl State {
    /// Puts a place under maintenance, or has its visitors told something else. Says whether it was
    /// not before. The route table is to be published then ([`State::routes_wanted`]).
    ///
    /// # Errors
    /// Any [`StoreError`]; then nothing has changed.
    pub fn begin_maintenance(
        &mut self,
        place: &Place,
        notice: &Notice,
        by: Option<&str>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let (git_ref, service) = columns(place);
        let row = params![place.project.as_str(), git_ref, service];
        let known: bool = tx.query_row(
            "SELECT EXISTS (SELECT 1 FROM maintenance
                WHERE project = ?1 AND git_ref = ?2 AND service = ?3)",
            row,
            |row| row.get(0),
        )?;
        tx.execute(
            "INSERT INTO maintenance (project, git_ref, service, message, retry_after, by, at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT DO UPDATE SET message = ?4, retry_after = ?5, by = ?6, at = ?7",
            params![
                place.project.as_str(),
                git_ref,
                service,
                notice.message.as_ref().map(kennel_core::NoticeText::as_str),
                notice.retry_after_secs,
                by,
                at.millis(),
            ],
        )?;
        want_routes(&tx)?;
        tx.commit()?;
        Ok(!known)
    }

    /// Ends the maintenance of a place and of all that lies in it. Returns what was ended.
    ///
    /// # Errors
    /// Any [`StoreError`]; then nothing has changed.
    pub fn end_maintenance(&mut self, place: &Place) -> Result<Vec<Maintenance>, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let ended = remove(&tx, place)?;
        if !ended.is_empty() {
            want_routes(&tx)?;
        }
        tx.commit()?;
        Ok(ended)
    }

    /// All that is under maintenance, by project, branch and name.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn maintenance(&self) -> Result<Vec<Maintenance>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM maintenance ORDER BY project, git_ref, service");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], maintenance)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// How often the route table was to be published because of something that is no deployment;
    /// none if all of that is published.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn routes_wanted(&self) -> Result<Option<i64>, StoreError> {
        let (wanted, published) = self.connection.query_row(
            "SELECT routes_wanted, routes_published FROM publication",
            [],
            |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)),
        )?;
        Ok((published < wanted).then_some(wanted))
    }

    /// The router has a table that was made after [`State::routes_wanted`] said so.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn routes_published(&mut self, wanted: i64) -> Result<(), StoreError> {
        self.connection.execute(
            "UPDATE publication SET routes_published = max(routes_published, ?1)",
            [wanted],
        )?;
        Ok(())
    }
}

/// Nothing is under maintenance that is gone.
pub(crate) fn forget(tx: &Transaction<'_>, scope: &Scope) -> Result<(), StoreError> {
    let Scope { project, git_ref, service } = scope.clone();
    remove(tx, &Place { project, git_ref: Some(git_ref), service }).map(drop)
}

const COLUMNS: &str = "project, nullif(git_ref, '') AS git_ref, nullif(service, '') AS service,
    message, retry_after, by, at";

fn remove(tx: &Transaction<'_>, place: &Place) -> Result<Vec<Maintenance>, StoreError> {
    let mut statement = tx.prepare_cached(&format!(
        "DELETE FROM maintenance WHERE project = ?1 AND (?2 = '' OR git_ref = ?2)
         AND (?3 = '' OR service = ?3) RETURNING {COLUMNS}"
    ))?;
    let (git_ref, service) = columns(place);
    let rows =
        statement.query_map(params![place.project.as_str(), git_ref, service], maintenance)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn want_routes(tx: &Transaction<'_>) -> Result<(), StoreError> {
    tx.execute("UPDATE publication SET routes_wanted = routes_wanted + 1", [])?;
    Ok(())
}

fn columns(place: &Place) -> (String, &str) {
    let git_ref = place.git_ref.as_ref().map(ToString::to_string).unwrap_or_default();
    (git_ref, place.service.as_ref().map_or("", ServiceName::as_str))
}

fn maintenance(row: &Row<'_>) -> rusqlite::Result<Maintenance> {
    Ok(Maintenance {
        place: Place {
            project: parsed(row, "project")?,
            git_ref: parsed_or_null(row, "git_ref")?,
            service: parsed_or_null(row, "service")?,
        },
        notice: Notice {
            message: parsed_or_null(row, "message")?,
            retry_after_secs: row.get("retry_after")?,
        },
        by: row.get("by")?,
        at: Timestamp::from_millis(row.get("at")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;

    fn place(text: &str) -> Place {
        let mut parts = text.split('/');
        Place {
            project: parts.next().unwrap().parse().unwrap(),
            git_ref: parts.next().map(|it| format!("refs/heads/{it}").parse().unwrap()),
            service: parts.next().map(|it| it.parse().unwrap()),
        }
    }

    fn notice(text: &str) -> Notice {
        Notice { message: Some(text.parse().unwrap()), retry_after_secs: 60 }
    }

    #[test]
    fn the_smallest_place_has_the_say_and_the_largest_ends_all() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db"), Access::Patient).unwrap();
        let now = Timestamp::from_millis(5);
        assert_eq!(state.routes_wanted().unwrap(), None);
        for text in ["site/main/api", "site", "site/main", "other"] {
            assert!(
                state.begin_maintenance(&place(text), &notice(text), Some("ada"), now).unwrap()
            );
        }
        assert!(!state.begin_maintenance(&place("site"), &notice("again"), None, now).unwrap());
        let all = state.maintenance().unwrap();
        let places: Vec<_> = all.iter().map(|it| it.place.to_string()).collect();
        assert_eq!(places, ["other", "site", "site/main", "site/main/api"]);
        let told = |all: &[Maintenance], branch: &str, service: &str| {
            let key = OutputKey {
                project: "site".parse().unwrap(),
                git_ref: format!("refs/heads/{branch}").parse().unwrap(),
                service: service.parse().unwrap(),
            };
            let message = notice_for(all, &key)?.message.as_ref()?.to_string();
            Some(message)
        };
        assert_eq!(told(&all, "main", "api").as_deref(), Some("site/main/api"));
        assert_eq!(told(&all, "main", "web").as_deref(), Some("site/main"));
        assert_eq!(told(&all, "next", "api").as_deref(), Some("again"));

        assert_eq!(state.end_maintenance(&place("site/main")).unwrap().len(), 2);
        assert_eq!(state.end_maintenance(&place("site/main")).unwrap(), []);
        let left = state.maintenance().unwrap();
        assert_eq!(told(&left, "main", "api").as_deref(), Some("again"));
        assert_eq!(state.end_maintenance(&place("site")).unwrap().len(), 1);
        assert_eq!(told(&state.maintenance().unwrap(), "main", "api"), None);
    }

    #[test]
    fn what_is_to_be_published_is_remembered_until_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db"), Access::Patient).unwrap();
        let now = Timestamp::from_millis(5);
        state.begin_maintenance(&place("site"), &notice("x"), None, now).unwrap();
        let first = state.routes_wanted().unwrap().unwrap();
        // Something more, while the first is being published.
        state.end_maintenance(&place("site")).unwrap();
        state.routes_published(first).unwrap();
        let second = state.routes_wanted().unwrap().unwrap();
        assert!(second > first);
        state.routes_published(second).unwrap();
        assert_eq!(state.routes_wanted().unwrap(), None);
        // What changes nothing is no reason to publish.
        state.end_maintenance(&place("site")).unwrap();
        assert_eq!(state.routes_wanted().unwrap(), None);
    }

    #[test]
    fn a_branch_that_is_torn_down_takes_its_maintenance_along() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db"), Access::Patient).unwrap();
        let now = Timestamp::from_millis(5);
        for text in ["site", "site/next", "site/next/api", "site/main"] {
            state.begin_maintenance(&place(text), &notice("x"), None, now).unwrap();
        }
        let Place { project, git_ref, service } = place("site/next");
        let scope = Scope { project, git_ref: git_ref.unwrap(), service };
        state.begin_teardown(&scope, "gone", now).unwrap();
        let left: Vec<_> =
            state.maintenance().unwrap().iter().map(|it| it.place.to_string()).collect();
        assert_eq!(left, ["site", "site/main"]);
    }
}
