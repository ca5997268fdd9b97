//! How long and how much: every bound of the router in one place.
//!
//! Apart from the code that keeps them so that tests can shorten them. None of these is
//! configuration: what an operator may want to change is a key of the unit.

use std::time::{Duration, Instant};

/// The router's bounds.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For a request's head to be complete, counted from its first byte or the connection's start.
    pub head: Duration,
    /// For a proxy to say for whom a connection is, where it has to.
    pub proxy_header: Duration,
    /// For a client's connection without a request. Above the 60 s that load balancers use, so
    /// that they close first and never send into a closing connection.
    pub idle: Duration,
    /// After which a client's connection without a request takes as little memory as it can.
    pub rest: Duration,
    /// For a client that neither sends the body it began nor takes what is sent to it.
    pub stalled: Duration,
    /// For a client that takes nothing of one answer, while its connection goes on (HTTP/2): long,
    /// since a paused film is no fault.
    pub paused: Duration,
    /// For a service's first byte after it has the whole request.
    pub first_byte: Duration,
    /// For a request to wait while the service that it is for gives way to its next version.
    pub held: Duration,
    /// For a connection to a service: loopback or a Unix socket, so only a full queue takes time.
    pub connect: Duration,
    /// How long a body is held back for a service's `100 Continue` (RFC 9110 §10.1.1: not
    /// indefinitely); then it is sent without.
    pub expect: Duration,
    /// For an idle connection to a service. Below the 5 s after which Node closes its own.
    pub upstream_idle: Duration,
    /// How long ago a connection must have been used for a request that cannot be repeated.
    pub upstream_fresh: Duration,
    /// Between the announcement `Connection: close` and closing idle connections on the way out.
    pub linger: Duration,
    /// For everything else on the way out. With [`Self::relief`] below `TimeoutStopSec=` in
    /// kennel-router.service.
    pub stop: Duration,
    /// For another router to come before this one stops accepting connections. Far longer than it
    /// takes; it may have to finish with an earlier restart.
    pub relief: Duration,
    /// How long a router that relieves others stays after the last one has left; the next one needs
    /// a tenth of a second.
    pub stay: Duration,
    /// For a client to read an answer that came before its body was read.
    pub discard: Duration,
    /// How often deadlines are looked at, while there are connections.
    pub tick: Duration,
    /// Between two looks at a service's health.
    pub health_every: Duration,
    /// For a service to answer such a look.
    pub health_answer: Duration,
    /// The least between two looks, for a service that somebody asks for in vain.
    pub health_soon: Duration,
    /// The most connections of clients at a time; fewer if the descriptors do not suffice. For one
    /// more, the one is closed that has owed a request, or the rest of one, for the longest.
    pub connections: usize,
    /// The most idle connections per service and worker.
    pub upstream_idle_each: usize,
    /// The most bytes of small files held in memory.
    pub memory: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(15),
            proxy_header: Duration::from_secs(5),
            idle: Duration::from_secs(75),
            rest: Duration::from_secs(1),
            stalled: Duration::from_secs(60),
            paused: Duration::from_secs(300),
            first_byte: Duration::from_secs(60),
            held: Duration::from_secs(60),
            connect: Duration::from_secs(2),
            expect: Duration::from_secs(1),
            upstream_idle: Duration::from_secs(4),
            upstream_fresh: Duration::from_secs(1),
            linger: Duration::from_secs(1),
            stop: Duration::from_secs(10),
            relief: Duration::from_secs(5),
            stay: Duration::from_secs(5),
            discard: Duration::from_secs(2),
            tick: Duration::from_secs(1),
            health_every: Duration::from_secs(30),
            health_answer: Duration::from_secs(5),
            health_soon: Duration::from_secs(5),
            connections: 20_000,
            upstream_idle_each: 256,
            memory: 64 << 20,
        }
    }
}

/// Whether what is waited for since a moment, if it is, is waited for longer than this.
pub(crate) fn is_over(since: Option<Instant>, now: Instant, limit: Duration) -> bool {
    since.is_some_and(|since| now.saturating_duration_since(since) > limit)
}

/// Looks at services' health at a time: as many descriptors are kept free. Those that hang hold the
/// others up only when there are more than this.
pub(crate) const LOOKS_AT_ONCE: usize = 64;
/// The most bytes of a request's head, and of an answer's.
pub(crate) const HEAD_BYTES: usize = 64 << 10;
/// How many requests wait for one service at a time; more are sent away.
pub(crate) const HELD: usize = 1000;
/// How many exchanges a client may break off on one HTTP/2 connection within [`BROKEN_OFF_WITHIN`]:
/// who looks at pages in haste stays far below.
pub(crate) const BROKEN_OFF: u32 = 200;
/// See [`BROKEN_OFF`].
pub(crate) const BROKEN_OFF_WITHIN: Duration = Duration::from_secs(10);
/// The most bytes of a request's path and query.
pub(crate) const URI_BYTES: usize = 8 << 10;
