//! How much room a build needs.

/// The least free space, in bytes, with which a build begins: enough for sources, logs and a small
/// closure, and enough that a build which fills the rest does not take the databases with it at
/// once. Not a share of the disk: 2 % of a large one is more than most hosts ever need.
pub const LEAST_FREE_SPACE: u64 = 1 << 30;
