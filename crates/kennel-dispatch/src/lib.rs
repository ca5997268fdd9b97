//! Rows in, started units out: the only scheduler.
//!
//! Nothing is kept in memory that matters: each pass looks at all rows, writes down what they ask
//! for, and then makes units match. It can be killed anywhere and started again by hand.

mod bell;
mod decide;
mod dispatcher;
mod expire;
mod hand_over;
mod maintenance;
mod queue;
mod redeploy;
mod rollback;
mod say;
mod units;

pub use bell::Bell;
pub use dispatcher::{DispatchError, Dispatcher, Start};
