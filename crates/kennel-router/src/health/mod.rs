//! Whether services are well: asked now and then, and taken out of the table while they are not.
//!
//! On the control thread alone. Workers read one flag per request to a service, and say when
//! somebody was refused: that brings the next look forward, and never decides anything itself.

mod monitor;
mod patient;
mod probe;
mod pulse;

pub(crate) use monitor::Monitor;
pub(crate) use pulse::{Alarm, Pulse, Watched};
