//! Ports that deployments hold.

use kennel_core::{DeploymentId, Port};
use rusqlite::{OptionalExtension, Transaction, params};

use crate::StoreError;
use crate::database::immediate;
use crate::deployments::State;

impl State {
    /// Reserves a port for a deployment: the first of the range, counted from where this
    /// deployment's id points, that no row holds and `is_free` says yes to. Keeps the one it has.
    ///
    /// # Errors
    /// [`StoreError::NoPort`] if there is none.
    pub fn reserve_port(
        &mut self,
        id: DeploymentId,
        first: Port,
        last: Port,
        mut is_free: impl FnMut(Port) -> bool,
    ) -> Result<Port, StoreError> {
        let tx = immediate(&mut self.connection)?;
        let held: Option<u16> = tx
            .query_row("SELECT port FROM ports WHERE deployment_id = ?1", [id.get()], |row| {
                row.get(0)
            })
            .optional()?;
        if let Some(port) = held.and_then(|port| Port::try_from(port).ok()) {
            return Ok(port);
        }
        let port = take(&tx, id, first, last, &mut is_free)?;
        tx.commit()?;
        Ok(port)
    }

    /// Gives a deployment another port than the one that it has, as [`State::reserve_port`] does.
    ///
    /// # Errors
    /// [`StoreError::NoPort`] if there is none; then it keeps the one that it has.
    pub fn replace_port(
        &mut self,
        id: DeploymentId,
        first: Port,
        last: Port,
        mut is_free: impl FnMut(Port) -> bool,
    ) -> Result<Port, StoreError> {
        let tx = immediate(&mut self.connection)?;
        tx.execute("DELETE FROM ports WHERE deployment_id = ?1", [id.get()])?;
        let port = take(&tx, id, first, last, &mut is_free)?;
        tx.commit()?;
        Ok(port)
    }
}

fn take(
    tx: &Transaction<'_>,
    id: DeploymentId,
    first: Port,
    last: Port,
    is_free: &mut dyn FnMut(Port) -> bool,
) -> Result<Port, StoreError> {
    let taken: Vec<u16> = tx
        .prepare("SELECT port FROM ports")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    let size = i64::from(last.get()) - i64::from(first.get()) + 1;
    // Ports are taken in turn, so that one which was just freed rests a while: a client that
    // still knows the old one must not meet the new owner.
    let port = (0..size)
        .filter_map(|step| {
            let offset = u16::try_from((id.get() + step) % size).ok()?;
            Port::try_from(first.get().checked_add(offset)?).ok()
        })
        .find(|port| !taken.contains(&port.get()) && is_free(*port))
        .ok_or(StoreError::NoPort { first, last })?;
    tx.execute(
        "INSERT INTO ports (port, deployment_id) VALUES (?1, ?2)",
        params![port.get(), id.get()],
    )?;
    Ok(port)
}
