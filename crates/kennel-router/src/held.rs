//! A request for a service that gives way to its next version, or falls asleep just now: it waits for
//! the table that leads to one again, or for the service to be down so that it can be woken.
//!
//! Its body stays unread meanwhile, so that what waits is a head and a connection.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use kennel_core::DeploymentId;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use crate::pages::Page;
use crate::say;
use crate::watch::Watch;
use crate::worker::Worker;

/// Between two looks at a service that is being stopped because nobody used it.
const REST: Duration = Duration::from_millis(10);

/// Waits until `look` finds something else than a service that is held.
pub(crate) async fn wait<T>(
    worker: &Rc<Worker>,
    (deployment, watch): (DeploymentId, Arc<Watch>),
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, Page> {
    let tell = |sentence: fn(DeploymentId, u64) -> String| {
        if let Some(more) = worker.throttle.pass() {
            warn!("{}", sentence(deployment, more));
        }
    };
    let Some(_place) = watch.place() else {
        tell(say::held_too_many);
        return Err(Page::Crowded);
    };
    let mut deadline = Instant::now() + worker.limits.held;
    let mut hurries = false;
    loop {
        // Before the look: a table that comes after it is not missed.
        let turned = worker.turned();
        if let Some(found) = look() {
            return Ok(found);
        }
        let now = Instant::now();
        if worker.is_leaving() && !hurries {
            // What is not said before the end is never said.
            hurries = true;
            deadline = deadline.min(now + worker.limits.stop / 2);
        }
        if now >= deadline {
            tell(say::held_too_long);
            return Err(Page::NotUp);
        }
        // A rest ends without another table.
        let until = if watch.rests() { deadline.min(now + REST) } else { deadline };
        // Whatever came, the next look tells.
        let _over = timeout_at(until, turned).await;
    }
}
