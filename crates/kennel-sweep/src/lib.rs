//! The clock: what nobody uses expires, and what is long over is forgotten.
//!
//! Asks the router what was used, writes that into state.db, and tells the inbox of branches whose
//! time is over; the dispatcher looks again and ends them. Nothing here starts, stops or removes
//! anything that serves.

mod retention;
mod router;
mod say;
mod sweeper;

pub use router::RouterError;
pub use sweeper::{SweepError, Sweeper};
