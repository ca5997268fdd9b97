//! Pins: what is to keep serving, whatever is pushed.

use kennel_core::{DeploymentState, ServiceName, Timestamp};
use rusqlite::{Row, Transaction, params};

use crate::column::{parsed, parsed_or_null};
use crate::database::immediate;
use crate::{Deployment, Scope, State, StoreError};

/// Pushes of a branch, or of one service or site of it, are built and not deployed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// What is pinned.
    pub scope: Scope,
    /// The login of whoever pinned it.
    pub by: Option<String>,
    /// Since when.
    pub at: Timestamp,
}

impl Pin {
    /// Whether it holds this deployment. What a person asked to go back to is not held.
    #[must_use]
    pub fn holds(&self, deployment: &Deployment) -> bool {
        deployment.rollback_to.is_none() && self.scope.covers(&deployment.key)
    }
}

impl Deployment {
    /// Whether it waits because of one of these pins.
    #[must_use]
    pub fn is_held(&self, pins: &[Pin]) -> bool {
        self.state == DeploymentState::Pending && pins.iter().any(|pin| pin.holds(self))
    }
}

impl State {
    /// Pins what the scope says. Says whether it was not pinned before.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn pin(
        &mut self,
        scope: &Scope,
        by: Option<&str>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let service = scope.service.as_ref().map_or("", ServiceName::as_str);
        let added = self.connection.execute(
            "INSERT INTO pins (project, git_ref, service, by, at) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT DO NOTHING",
            params![scope.project.as_str(), scope.git_ref.to_string(), service, by, at.millis()],
        )?;
        Ok(added > 0)
    }

    /// Removes the pins of what the scope says: of a whole branch those of its services too.
    /// Returns them.
    ///
    /// # Errors
    /// Any [`StoreError`]; then all are there.
    pub fn unpin(&mut self, scope: &Scope) -> Result<Vec<Pin>, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let removed = remove(&tx, scope)?;
        tx.commit()?;
        Ok(removed)
    }

    /// All pins, by project, branch and name.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn pins(&self) -> Result<Vec<Pin>, StoreError> {
        let sql = "SELECT project, git_ref, nullif(service, '') AS service, by, at FROM pins
             ORDER BY project, git_ref, service";
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map([], pin)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

/// Removes the pins of a scope: nothing is held of what is gone.
pub(crate) fn remove(tx: &Transaction<'_>, scope: &Scope) -> Result<Vec<Pin>, StoreError> {
    let mut statement = tx.prepare_cached(
        "DELETE FROM pins WHERE project = ?1 AND git_ref = ?2 AND (?3 IS NULL OR service = ?3)
         RETURNING project, git_ref, nullif(service, '') AS service, by, at",
    )?;
    let service = scope.service.as_ref().map(ServiceName::as_str);
    let scope = params![scope.project.as_str(), scope.git_ref.to_string(), service];
    let rows = statement.query_map(scope, pin)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn pin(row: &Row<'_>) -> rusqlite::Result<Pin> {
    Ok(Pin {
        scope: Scope {
            project: parsed(row, "project")?,
            git_ref: parsed(row, "git_ref")?,
            service: parsed_or_null(row, "service")?,
        },
        by: row.get("by")?,
        at: Timestamp::from_millis(row.get("at")?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Access;

    #[test]
    fn a_branch_is_unpinned_with_its_services() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db"), Access::Patient).unwrap();
        let scope = |branch: &str, service: Option<&str>| Scope {
            project: "site".parse().unwrap(),
            git_ref: format!("refs/heads/{branch}").parse().unwrap(),
            service: service.map(|service| service.parse().unwrap()),
        };
        let now = Timestamp::from_millis(5);
        let api = scope("main", Some("api"));
        assert!(state.pin(&api, Some("ada"), now).unwrap());
        assert!(!state.pin(&api, Some("bob"), now).unwrap());
        assert!(state.pin(&scope("main", Some("web")), None, now).unwrap());
        assert!(state.pin(&scope("next", None), None, now).unwrap());
        let places =
            |pins: Vec<Pin>| pins.iter().map(|pin| pin.scope.to_string()).collect::<Vec<_>>();
        assert_eq!(places(state.pins().unwrap()), ["site/main/api", "site/main/web", "site/next"]);
        let pins = state.pins().unwrap();
        assert_eq!(pins[0].by.as_deref(), Some("ada"));
        let key = kennel_core::OutputKey {
            project: "site".parse().unwrap(),
            git_ref: "refs/heads/next".parse().unwrap(),
            service: "api".parse().unwrap(),
        };
        assert!(pins[2].scope.covers(&key) && !pins[0].scope.covers(&key));

        assert_eq!(places(state.unpin(&api).unwrap()), ["site/main/api"]);
        assert_eq!(places(state.unpin(&api).unwrap()), Vec::<String>::new());
        state.pin(&api, None, now).unwrap();
        state.pin(&scope("main", None), None, now).unwrap();
        assert_eq!(state.unpin(&scope("main", None)).unwrap().len(), 3);
        assert_eq!(places(state.pins().unwrap()), ["site/next"]);
        state.begin_teardown(&scope("next", None), "gone", now).unwrap();
        assert!(state.pins().unwrap().is_empty());
    }
}
