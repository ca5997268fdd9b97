//! What workers and the monitor tell each other of one deployment.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use kennel_core::{Protocol, RouteOutput};
use tokio::sync::Notify;

use crate::upstream::Address;

/// A deployed service that is routed and expected to answer.
#[derive(Debug, Clone)]
pub(crate) struct Watched {
    /// Where it listens.
    pub(crate) address: Address,
    /// What it understands.
    pub(crate) protocol: Protocol,
    /// The path that answers 200 while it is healthy.
    pub(crate) path: Box<str>,
    /// What it is called.
    pub(crate) output: Option<RouteOutput>,
    pub(crate) pulse: Arc<Pulse>,
}

impl Watched {
    /// Whether what is known of one is true of the other. A deployment that was not routed for a
    /// while begins anew.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.pulse, &other.pulse)
    }
}

/// Wakes the monitor.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    bell: Notify,
    is_missed: AtomicBool,
}

/// One deployment's flags, handed on from table to table.
#[derive(Debug)]
pub(crate) struct Pulse {
    is_out: AtomicBool,
    is_missed: AtomicBool,
    alarm: Arc<Alarm>,
}

impl Alarm {
    pub(super) fn ring(&self) {
        self.bell.notify_one();
    }

    pub(super) async fn rung(&self) {
        self.bell.notified().await;
    }

    /// Whether somebody asked for a service in vain since this was asked.
    pub(super) fn is_missed(&self) -> bool {
        self.is_missed.swap(false, Ordering::Relaxed)
    }
}

impl Pulse {
    /// That of a deployment of which nothing is known: it serves.
    pub(crate) fn new(alarm: Arc<Alarm>) -> Self {
        Self { is_out: AtomicBool::new(false), is_missed: AtomicBool::new(false), alarm }
    }

    /// Whether no request is passed to it.
    pub(crate) fn is_out(&self) -> bool {
        self.is_out.load(Ordering::Relaxed)
    }

    pub(super) fn set_out(&self, out: bool) {
        self.is_out.store(out, Ordering::Relaxed);
    }

    /// Somebody asked for it in vain: it refused a connection, or is out.
    pub(crate) fn missed(&self) {
        // Once until the next look: a thousand visitors in vain are one reason.
        if !self.is_missed.swap(true, Ordering::Relaxed) {
            self.alarm.is_missed.store(true, Ordering::Relaxed);
            self.alarm.ring();
        }
    }

    pub(super) fn is_missed(&self) -> bool {
        self.is_missed.load(Ordering::Relaxed)
    }

    pub(super) fn is_looked_at(&self) {
        self.is_missed.store(false, Ordering::Relaxed);
    }
}
