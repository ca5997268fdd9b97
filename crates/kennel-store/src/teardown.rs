//! The ends of deployments, as rows: what is to be removed, and what nobody needs after it.

use kennel_core::{
    DeploymentEvent, DeploymentId, DeploymentState, OutputKey, ServiceName, Timestamp,
};
use rusqlite::{Transaction, params};

use crate::column::moment;
use crate::database::immediate;
use crate::deployment_row::{Deployment, SELECT, deployment};
use crate::deployments::{self, State, step};
use crate::{Scope, StoreError, life, maintenance, names, pins};

/// Rows of what serves, may come to or did, and has something on the host for that.
const SERVES: &str =
    "state IN ('pending', 'starting', 'active', 'draining', 'retired', 'tearing_down')";

/// Rows of what never served, and has left something on the host all the same.
const LEFT_SOMETHING: &str =
    "state IN ('failed', 'superseded', 'unchanged', 'cancelled') AND cleaned = 0";

impl State {
    /// Marks everything in the scope as `tearing_down`, and forgets failures that have left
    /// nothing; pins and maintenance of it go at once. Returns what has to be torn down; empty if
    /// there is nothing.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn begin_teardown(
        &mut self,
        scope: &Scope,
        reason: &str,
        now: Timestamp,
    ) -> Result<Vec<Deployment>, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let sql = format!(
            "{SELECT} WHERE project = ?1 AND git_ref = ?2 AND (?3 IS NULL OR service = ?3)
             AND state != 'torn_down' ORDER BY deployments.id"
        );
        let found = tx
            .prepare(&sql)?
            .query_map(
                params![
                    scope.project.as_str(),
                    scope.git_ref.to_string(),
                    scope.service.as_ref().map(ServiceName::as_str)
                ],
                deployment,
            )?
            .collect::<Result<Vec<_>, _>>()?;
        let mut marked = Vec::new();
        for deployment in found {
            if deployment.state != DeploymentState::TearingDown {
                step(&tx, deployment.id, DeploymentEvent::TearDown, Some(reason), now)?;
            }
            if deployment.cleaned {
                step(&tx, deployment.id, DeploymentEvent::TornDown, None, now)?;
            } else {
                marked.push(deployment);
            }
        }
        pins::remove(&tx, scope)?;
        maintenance::forget(&tx, scope)?;
        if scope.service.is_none() {
            life::forget(&tx, &scope.project, &scope.git_ref)?;
        }
        tx.commit()?;
        Ok(marked)
    }

    /// Deployments whose end has to be brought about: those being torn down, those whose drain is
    /// over by now, and those that never served and have left something. A drain that begins only
    /// later than now is over too: the clock was set back, and could keep it for as long as that.
    ///
    /// `clock` is asked after the rows were read: by a moment from before, a drain that has begun since
    /// would look like that.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn to_end(&self, clock: impl FnOnce() -> Timestamp) -> Result<Vec<Deployment>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE state IN ('tearing_down', 'draining')
                OR {LEFT_SOMETHING}
             ORDER BY deployments.id"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement
            .query_map([], |row| Ok((deployment(row)?, moment(row, "draining_since")?)))?
            .collect::<Result<Vec<_>, _>>()?;
        let now = clock();
        let is_over = |it: &Deployment, since: Option<Timestamp>| {
            it.state != DeploymentState::Draining
                || it.drain_until.is_some_and(|until| until <= now)
                || since.is_some_and(|since| since > now)
        };
        Ok(rows.into_iter().filter(|(it, since)| is_over(it, *since)).map(|(it, _)| it).collect())
    }

    /// Deployments that may have something on the host: a process, files, a GC root.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn holding(&self) -> Result<Vec<Deployment>, StoreError> {
        let sql = format!("{SELECT} WHERE {SERVES} OR {LEFT_SOMETHING} ORDER BY deployments.id");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map([], deployment)?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Whether no other deployment of this one's service holds anything.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn is_last_of_service(&self, deployment: &Deployment) -> Result<bool, StoreError> {
        others(&self.connection, &deployment.key, deployment.id, true).map(|others| others == 0)
    }

    /// Whether no other deployment of this one's branch holds anything.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn is_last_of_branch(&self, deployment: &Deployment) -> Result<bool, StoreError> {
        others(&self.connection, &deployment.key, deployment.id, false).map(|others| others == 0)
    }

    /// Everything of it is gone: `tearing_down → torn_down`, or the mark that a failed one left
    /// nothing. Its port is free; with the last of its service its names are, with the last of its
    /// branch the slug is.
    ///
    /// # Errors
    /// As [`State::step`].
    pub fn torn_down(&mut self, id: DeploymentId, now: Timestamp) -> Result<(), StoreError> {
        let key = self.existing(id)?.key;
        let tx = immediate(&mut self.connection)?;
        tx.execute("DELETE FROM ports WHERE deployment_id = ?1", [id.get()])?;
        tx.execute("UPDATE deployments SET cleaned = 1, routed = 0 WHERE id = ?1", [id.get()])?;
        match deployments::state_of(&tx, id)? {
            DeploymentState::Failed
            | DeploymentState::Superseded
            | DeploymentState::Unchanged
            | DeploymentState::Cancelled => {}
            _ => {
                step(&tx, id, DeploymentEvent::TornDown, None, now)?;
            }
        }
        forget_unused_names(&tx, &key, id)?;
        tx.commit()?;
        Ok(())
    }

    /// Its process is gone and its drain over: `draining → retired`, and its port is free.
    ///
    /// # Errors
    /// As [`State::step`].
    pub fn retired(&mut self, id: DeploymentId, now: Timestamp) -> Result<(), StoreError> {
        let tx = immediate(&mut self.connection)?;
        step(&tx, id, DeploymentEvent::Retired, None, now)?;
        tx.execute("DELETE FROM ports WHERE deployment_id = ?1", [id.get()])?;
        tx.commit()?;
        Ok(())
    }

    /// Retired deployments of a service beyond the newest `keep`: nothing of them is kept.
    ///
    /// # Errors
    /// Any [`StoreError`].
    pub fn beyond_kept(&self, key: &OutputKey, keep: u32) -> Result<Vec<Deployment>, StoreError> {
        let sql = format!(
            "{SELECT} WHERE project = ?1 AND git_ref = ?2 AND service = ?3 AND state = 'retired'
             ORDER BY deployments.id DESC LIMIT -1 OFFSET ?4"
        );
        let mut statement = self.connection.prepare_cached(&sql)?;
        let rows = statement.query_map(
            params![key.project.as_str(), key.git_ref.to_string(), key.service.as_str(), keep],
            deployment,
        )?;
        Ok(rows.collect::<Result<_, _>>()?)
    }
}

fn forget_unused_names(
    tx: &Transaction<'_>,
    key: &OutputKey,
    id: DeploymentId,
) -> Result<(), StoreError> {
    // In the transaction that ends the deployment: a push that comes back meanwhile has made its
    // row, and keeps the names, or has not, and gets them anew.
    if others(tx, key, id, true)? == 0 {
        let branch = others(tx, key, id, false)? == 0;
        if branch {
            life::forget(tx, &key.project, &key.git_ref)?;
        }
        names::forget(tx, key, branch)?;
    }
    Ok(())
}

fn others(
    connection: &rusqlite::Connection,
    key: &OutputKey,
    id: DeploymentId,
    same_service: bool,
) -> Result<u32, StoreError> {
    let sql = format!(
        "SELECT count(*) FROM deployments WHERE project = ?1 AND git_ref = ?2
         AND (service = ?3 OR NOT ?4) AND id != ?5 AND ({SERVES} OR {LEFT_SOMETHING})"
    );
    Ok(connection.query_row(
        &sql,
        params![
            key.project.as_str(),
            key.git_ref.to_string(),
            key.service.as_str(),
            same_service,
            id.get()
        ],
        |row| row.get(0),
    )?)
}
