//! Remote branches in, inbox rows out: the safety net for lost webhooks.
//!
//! GitHub delivers a webhook once, and other forges give up after a while. `kennel-poll` asks each
//! project's forge for its branches and compares them with what the inbox was told; what nobody told
//! of becomes a row like any other. It knows what was told from the inbox alone, decides nothing,
//! and what it is not sure of it leaves for the next time.
//!
//! Nothing here opens builds.db or state.db, or fetches a commit. Pull requests are left alone: forges
//! keep the ref of one that was closed.

mod compare;
mod poller;
mod say;
mod visit;

pub use poller::{PollError, Poller};
