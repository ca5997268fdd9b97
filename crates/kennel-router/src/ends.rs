//! When what a replaced deployment has begun must come to its end: after the drain that the one in its
//! place grants it, shortly before its unit is stopped.
//!
//! Part of the control thread. A deployment that nobody replaces is left alone: whoever takes it away
//! stops it, and then it ends.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use kennel_core::DeploymentId;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use crate::table::Table;
use crate::worker::{Mate, Order};

/// The deployments whose time is running out.
pub(crate) struct Ends {
    due: RefCell<HashMap<DeploymentId, Instant>>,
    crew: Arc<[Mate]>,
}

impl Ends {
    pub(crate) fn new(crew: Arc<[Mate]>) -> Rc<Self> {
        Rc::new(Self { due: RefCell::default(), crew })
    }

    /// One table has taken the place of another.
    pub(crate) fn follow(self: &Rc<Self>, before: &Table, now: &Table) {
        self.due.borrow_mut().retain(|deployment, _| !now.leads_to(*deployment));
        for (deployment, drain) in now.replaced(before) {
            let at = Instant::now() + drain;
            self.due.borrow_mut().insert(deployment, at);
            let ends = Rc::clone(self);
            spawn_local(async move {
                sleep_until(at).await;
                ends.end(deployment, at);
            });
        }
    }

    fn end(&self, deployment: DeploymentId, at: Instant) {
        // It may have come back meanwhile, and been replaced again.
        if self.due.borrow().get(&deployment) != Some(&at) {
            return;
        }
        self.due.borrow_mut().remove(&deployment);
        for mate in self.crew.iter() {
            // One that has ended has ended everything.
            let _ended = mate.orders.send(Order::End(deployment));
        }
    }
}
