//! The monitor: one timer for all services, and a task for each look as long as it takes.
//!
//! It sleeps from one look to the next. What it knows is kept by deployment, so that a new table
//! changes nothing for those that are in it; a router that starts knows nothing, and all serve.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use kennel_core::{DeploymentId, Look, RouterHealth};
use tokio::task::spawn_local;
use tokio::time::sleep_until;
use tracing::{info, warn};

use super::patient::{Change, Patient};
use super::probe;
use super::pulse::{Alarm, Watched};
use crate::limits::{LOOKS_AT_ONCE, Limits};
use crate::say;
use crate::table::Table;

/// Looks after all services of the table in force.
pub(crate) struct Monitor {
    limits: Arc<Limits>,
    alarm: Arc<Alarm>,
    patients: RefCell<BTreeMap<DeploymentId, Patient>>,
    /// Those that nobody is just looking at, by when somebody will.
    due: RefCell<BTreeSet<(Instant, DeploymentId)>>,
    looks: Cell<usize>,
}

impl Monitor {
    /// One that looks after what this table has.
    pub(crate) fn new(limits: Arc<Limits>, table: &Table) -> Self {
        let monitor = Self {
            limits,
            alarm: Arc::clone(table.alarm()),
            patients: RefCell::default(),
            due: RefCell::default(),
            looks: Cell::new(0),
        };
        monitor.follow(table);
        monitor
    }

    /// Looks after what this table has, from now on.
    pub(crate) fn follow(&self, table: &Table) {
        let (now, every) = (Instant::now(), self.limits.health_every);
        let mut patients = self.patients.borrow_mut();
        let mut known = std::mem::take(&mut *patients);
        patients.extend(table.watched().map(|(id, watched)| {
            let patient = match known.remove(&id) {
                Some(mut patient) if patient.watched.is_same(watched) => {
                    patient.watched = watched.clone();
                    patient
                }
                Some(_) | None => Patient::new(id, watched.clone(), now, every),
            };
            (id, patient)
        }));
        let due = patients.iter().filter_map(|(id, patient)| Some((patient.due?, *id)));
        *self.due.borrow_mut() = due.collect();
        self.alarm.ring();
    }

    /// Looks after them for ever.
    pub(crate) async fn run(self: Rc<Self>) {
        loop {
            if self.alarm.is_missed() {
                self.expedite();
            }
            match self.begin() {
                Some(next) => tokio::select! {
                    () = sleep_until(next.into()) => {}
                    () = self.alarm.rung() => {}
                },
                None => self.alarm.rung().await,
            }
        }
    }

    /// What is known of each.
    pub(crate) fn report(&self) -> RouterHealth {
        let patients = self.patients.borrow();
        let services = patients.iter().map(|(id, patient)| (*id, patient.report()));
        RouterHealth { services: services.collect() }
    }

    /// Brings those forward that somebody asked for in vain.
    fn expedite(&self) {
        let now = Instant::now();
        let mut all_due = self.due.borrow_mut();
        for (id, patient) in self.patients.borrow_mut().iter_mut() {
            let before = patient.due;
            if patient.expedite(now, &self.limits) {
                if let Some(before) = before {
                    all_due.remove(&(before, *id));
                }
                all_due.extend(patient.due.map(|due| (due, *id)));
            }
        }
    }

    /// Begins the looks that are due. Returns when the next one is; none if something else must
    /// happen first, which rings the alarm.
    fn begin(self: &Rc<Self>) -> Option<Instant> {
        let now = Instant::now();
        let mut all_due = self.due.borrow_mut();
        while self.looks.get() < LOOKS_AT_ONCE {
            let (due, id) = all_due.first().copied()?;
            if due > now {
                return Some(due);
            }
            all_due.pop_first();
            if let Some(patient) = self.patients.borrow_mut().get_mut(&id) {
                patient.begins(now);
                self.looks.set(self.looks.get() + 1);
                spawn_local(Rc::clone(self).look(id, patient.watched.clone()));
            }
        }
        None
    }

    async fn look(self: Rc<Self>, id: DeploymentId, watched: Watched) {
        let look = probe::look(&watched, self.limits.health_answer).await;
        self.looks.set(self.looks.get() - 1);
        self.seen(id, &watched, look);
        self.alarm.ring();
    }

    fn seen(&self, id: DeploymentId, watched: &Watched, look: Look) {
        let mut patients = self.patients.borrow_mut();
        // Gone meanwhile, or gone and here again: then this says nothing of it.
        let known = patients.get_mut(&id).filter(|patient| patient.watched.is_same(watched));
        let Some(patient) = known else { return };
        let why = look.answer.clone();
        let change = patient.seen(look, Instant::now(), &self.limits);
        self.due.borrow_mut().extend(patient.due.map(|due| (due, id)));
        let output = watched.output.as_ref();
        let (project, branch, service) = (
            output.map(|output| output.project.as_str()),
            output.map(|output| output.branch.as_str()),
            output.map(|output| output.service.as_str()),
        );
        match change {
            Change::None => {}
            Change::Out => {
                warn!(deployment = %id, project, branch, service, "{}", say::taken_out(id, output, &why));
            }
            Change::Back(after) => {
                info!(deployment = %id, project, branch, service, "{}", say::brought_back(id, output, after));
            }
        }
    }
}
