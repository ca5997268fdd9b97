//! Kennel's side of systemd.
//!
//! Everything that systemd does for Kennel is asked for here: units are rendered, started and
//! stopped, the bell is rung, readiness is told, the journal is written. The unit renderer is the
//! trust boundary between what a repository says and what root runs.

mod bell;
mod env_file;
mod journal;
#[cfg(feature = "kill-points")]
pub mod kill_point;
#[cfg(feature = "dbus")]
mod manager;
mod notify;
#[cfg(feature = "seals")]
mod sealer;
#[cfg(feature = "calls")]
mod service_call;
mod service_unit;
mod slice_unit;
mod timer_unit;
mod wake_unit;

pub use bell::{RingError, ring};
pub use env_file::env_file;
pub use journal::log_to_journal;
#[cfg(feature = "dbus")]
pub use manager::{Manager, ManagerError, ServiceState, UnitState};
pub use notify::{extend_timeout, ready, reloading, status, stopping};
#[cfg(feature = "seals")]
pub use sealer::{SealError, Sealer};
#[cfg(feature = "calls")]
pub use service_call::call_service;
pub use service_unit::{BadProgram, Run, ServiceUnit, deployment_of};
pub use slice_unit::{SliceUnit, is_own_slice};
pub use timer_unit::TimerUnit;
pub use wake_unit::WakeUnit;

/// Passes a named point: `kill_point!(PortReserved, &project);`. Nothing at all but in test builds.
#[cfg(feature = "kill-points")]
#[macro_export]
macro_rules! kill_point {
    ($point:ident, $project:expr) => {
        $crate::kill_point::pass($crate::kill_point::KillPoint::$point, $project)
    };
}

/// Passes a named point: `kill_point!(PortReserved, &project);`. Nothing at all but in test builds.
#[cfg(not(feature = "kill-points"))]
#[macro_export]
macro_rules! kill_point {
    ($point:ident, $project:expr) => {
        // Evaluated, so that what is only there for a point is used in both builds.
        let _ = $project;
    };
}
