//! Kennel's side of systemd.
//!
//! Everything that systemd does for Kennel is asked for here: units are rendered, started and
//! stopped, the bell is rung, readiness is told, the journal is written. The unit renderer is the
//! trust boundary between what a repository says and what root runs.

mod bell;
mod journal;
mod notify;

pub use bell::{RingError, ring};
pub use journal::log_to_journal;
pub use notify::{ready, reloading, status, stopping};
