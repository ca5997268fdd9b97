//! What a connection at rest takes of a proxy's memory.
//!
//! Of its processes, that is; what the kernel has of a socket is the same for all of them.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::asking::Asking;
use super::cases::Layout;
use super::ground::Ground;
use super::proxies::{Who, backend, start};

/// After which they are at rest.
const REST: Duration = Duration::from_secs(5);
/// Descriptors that are needed besides.
const SPARE: u64 = 500;

/// What was found.
pub(super) struct AtRest {
    pub(super) connections: usize,
    /// Bytes of each.
    pub(super) each: f64,
    /// Of all of it before.
    pub(super) before: u64,
}

/// Opens them, asks each for something once, and looks.
pub(super) fn each(ground: &Ground, who: Who, wanted: usize) -> Result<AtRest> {
    // A new one: memory that others have used and given back would be used again.
    let _backend = backend(ground, Layout::Own)?;
    let proxy = start(ground, who, Layout::Own)?;
    // Half of a proxy's descriptors are for connections to services; and nginx closes those at rest when
    // a sixteenth of its places is left.
    let room = usize::try_from((ground.files.saturating_sub(SPARE)) / 2)? * 7 / 8;
    let connections = wanted.min(room);
    for _ in 0..100 {
        Asking::connect(&proxy)?.ask()?;
    }
    let before = proxy.memory()?;
    let mut all = Vec::with_capacity(connections);
    for number in 0..connections {
        let mut asking = Asking::connect(&proxy)?;
        asking.ask().with_context(|| format!("{who}: connection {number}"))?;
        all.push(asking);
    }
    thread::sleep(REST);
    let after = proxy.memory()?;
    for asking in all.iter_mut().step_by(97) {
        asking.ask().with_context(|| format!("{who} has closed a connection at rest"))?;
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let each = after.saturating_sub(before) as f64 / connections as f64;
    Ok(AtRest { connections, each, before })
}
