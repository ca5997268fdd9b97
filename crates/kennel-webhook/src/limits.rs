//! What one sender may cost.

use std::time::Duration;

/// The receiver's limits. [`Limits::default`] is what the program uses; tests are less patient.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The most bytes of a body: 25 MiB, GitHub's own limit for a payload.
    pub body: usize,
    /// Bytes of each body that cost nothing of [`Limits::memory`]: nearly every delivery is
    /// smaller, so that large bodies never keep an ordinary one out. 64 KiB.
    pub small_body: usize,
    /// Bytes that all bodies beyond their first [`Limits::small_body`] may hold together: 64 MiB.
    /// Together with 512 small ones that is 96 MiB; `MemoryMax=` of the unit leaves room for it.
    pub memory: usize,
    /// How long a body may wait for memory before it is refused: one second.
    pub memory_time: Duration,
    /// Connections at once: 512, half of the descriptors that systemd gives a service. For one
    /// more, the one that has been sending for the longest is closed.
    pub connections: usize,
    /// How long every connection may send before it may have to make room: 250 milliseconds. What
    /// comes meanwhile waits in the socket's queue, so that two thousand connections a second
    /// cannot keep a delivery out.
    pub patience: Duration,
    /// How long the headers may take: 10 seconds.
    pub header_time: Duration,
    /// How long the body may take: 30 seconds.
    pub body_time: Duration,
    /// How long the inbox may take after the body: 4 seconds. Forgejo and Gitea give up after 5.
    pub inbox_time: Duration,
    /// How long requests in flight may take when the program is told to stop, and how long what a
    /// refused sender still sends is read and thrown away, so that it sees its answer: 5 seconds.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 25 << 20,
            small_body: 64 << 10,
            memory: 64 << 20,
            memory_time: Duration::from_secs(1),
            connections: 512,
            patience: Duration::from_millis(250),
            header_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            inbox_time: Duration::from_secs(4),
            linger: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_comes_before_the_forges_give_up() {
        // Forgejo and Gitea, after the last byte of the delivery.
        let forges_wait = Duration::from_secs(5);
        assert!(Limits::default().inbox_time + Duration::from_secs(1) <= forges_wait);
    }
}
