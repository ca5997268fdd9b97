//! What visitors are kept from, and the route table that says so.

use kennel_core::{Notice, Timestamp};
use kennel_store::Place;

use crate::dispatcher::{DispatchError, Dispatcher};
use crate::say;

impl Dispatcher {
    /// Puts a place under maintenance, if there is anything of it that could have visitors.
    pub(crate) fn begin_maintenance(
        &mut self,
        place: &Place,
        notice: &Notice,
        by: Option<&str>,
        now: Timestamp,
    ) -> Result<String, DispatchError> {
        let deployed = self.state.newest(Some(&place.project))?;
        // A project may be closed before its first deployment; a branch that is not there is a slip.
        if place.git_ref.is_some() && !deployed.iter().any(|it| place.covers(&it.key)) {
            return Ok(say::nothing_to_maintain(&place.to_string()));
        }
        let is_new = self.state.begin_maintenance(place, notice, by, now)?;
        Ok(say::under_maintenance(&place.to_string(), by, is_new))
    }

    /// Lets visitors of a place in again.
    pub(crate) fn end_maintenance(&mut self, place: &Place) -> Result<String, DispatchError> {
        let ended = self.state.end_maintenance(place)?;
        let still = self.state.maintenance()?.into_iter().find(|it| it.place.contains(place));
        Ok(match still {
            Some(larger) => say::maintained_with(&place.to_string(), &larger.place.to_string()),
            None => say::maintenance_ended(&place.to_string(), !ended.is_empty()),
        })
    }
}
