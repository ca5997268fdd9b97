//! What a worker counts. Written by one thread, read by whoever asks: no two workers share a line
//! of the cache, and sums are made on reading.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;

/// One worker's counters.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    pub(crate) connections: Counter,
    pub(crate) connections_open: Counter,
    pub(crate) connections_refused: Counter,
    pub(crate) handshakes: Counter,
    pub(crate) handshakes_failed: Counter,
    pub(crate) requests: Counter,
    pub(crate) requests_limited: Counter,
    pub(crate) tunnels_open: Counter,
    pub(crate) upstream_connects: Counter,
    pub(crate) upstream_reuses: Counter,
    pub(crate) upstream_retries: Counter,
    informational: Counter,
    success: Counter,
    redirection: Counter,
    client_error: Counter,
    server_error: Counter,
}

/// A number that goes up, and down if it counts what is open.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn up(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn down(&self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counts an open tunnel for as long as it lives.
pub(crate) struct OpenTunnel(Arc<Counters>);

impl Drop for OpenTunnel {
    fn drop(&mut self) {
        self.0.tunnels_open.down();
    }
}

impl Counters {
    /// An answer with this status was begun.
    pub(crate) fn answered(&self, status: StatusCode) {
        match status.as_u16() / 100 {
            1 => self.informational.up(),
            2 => self.success.up(),
            3 => self.redirection.up(),
            4 => self.client_error.up(),
            _ => self.server_error.up(),
        }
    }

    /// A tunnel was opened.
    pub(crate) fn tunnel(self: &Arc<Self>) -> OpenTunnel {
        self.tunnels_open.up();
        OpenTunnel(Arc::clone(self))
    }
}

type Reading = fn(&Counters) -> &Counter;

/// All workers' counters in Prometheus' text format, and the table's generation.
pub(crate) fn metrics(all: &[Arc<Counters>], generation: Option<u64>, hosts: usize) -> String {
    let mut text = String::new();
    let single: [(&str, &str, &str, Reading); 11] = [
        ("connections_total", "counter", "Connections of clients accepted.", |c| &c.connections),
        ("connections_open", "gauge", "Connections of clients open now.", |c| &c.connections_open),
        (
            "connections_refused_total",
            "counter",
            "Connections beyond what one client may have.",
            |c| &c.connections_refused,
        ),
        ("tls_handshakes_total", "counter", "TLS connections made.", |c| &c.handshakes),
        ("tls_handshakes_failed_total", "counter", "TLS connections that failed.", |c| {
            &c.handshakes_failed
        }),
        ("requests_total", "counter", "Requests answered.", |c| &c.requests),
        (
            "requests_limited_total",
            "counter",
            "Requests beyond a client's rate, answered with 429.",
            |c| &c.requests_limited,
        ),
        ("tunnels_open", "gauge", "Upgraded connections open now.", |c| &c.tunnels_open),
        ("upstream_connects_total", "counter", "Connections made to services.", |c| {
            &c.upstream_connects
        }),
        ("upstream_reuses_total", "counter", "Requests sent over a kept connection.", |c| {
            &c.upstream_reuses
        }),
        ("upstream_retries_total", "counter", "Requests sent a second time.", |c| {
            &c.upstream_retries
        }),
    ];
    // Writing to a string does not fail.
    for (name, kind, help, read) in single {
        let sum = sum(all, read);
        let _infallible = writeln!(
            text,
            "# HELP kennel_router_{name} {help}\n# TYPE kennel_router_{name} {kind}\nkennel_router_{name} {sum}"
        );
    }
    let classes: [(&str, Reading); 5] = [
        ("1xx", |c| &c.informational),
        ("2xx", |c| &c.success),
        ("3xx", |c| &c.redirection),
        ("4xx", |c| &c.client_error),
        ("5xx", |c| &c.server_error),
    ];
    text.push_str("# HELP kennel_router_responses_total Answers by class of status.\n# TYPE kennel_router_responses_total counter\n");
    for (class, read) in classes {
        let sum = sum(all, read);
        let _infallible =
            writeln!(text, "kennel_router_responses_total{{class=\"{class}\"}} {sum}");
    }
    let generation = generation.unwrap_or(0);
    let _infallible = writeln!(
        text,
        "# HELP kennel_router_generation Generation of the route table in force.\n# TYPE kennel_router_generation gauge\nkennel_router_generation {generation}\n# HELP kennel_router_hosts Hosts in the route table.\n# TYPE kennel_router_hosts gauge\nkennel_router_hosts {hosts}"
    );
    text
}

/// The sum of one counter over all workers.
pub(crate) fn sum(all: &[Arc<Counters>], read: Reading) -> u64 {
    all.iter().map(|counters| read(counters).now()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed() {
        let all = [Arc::new(Counters::default()), Arc::new(Counters::default())];
        for counters in &all {
            counters.requests.up();
            counters.answered(StatusCode::NOT_FOUND);
        }
        let open = all[0].tunnel();
        insta::assert_snapshot!(metrics(&all, Some(7), 3), @r#"
        # HELP kennel_router_connections_total Connections of clients accepted.
        # TYPE kennel_router_connections_total counter
        kennel_router_connections_total 0
        # HELP kennel_router_connections_open Connections of clients open now.
        # TYPE kennel_router_connections_open gauge
        kennel_router_connections_open 0
        # HELP kennel_router_connections_refused_total Connections beyond what one client may have.
        # TYPE kennel_router_connections_refused_total counter
        kennel_router_connections_refused_total 0
        # HELP kennel_router_tls_handshakes_total TLS connections made.
        # TYPE kennel_router_tls_handshakes_total counter
        kennel_router_tls_handshakes_total 0
        # HELP kennel_router_tls_handshakes_failed_total TLS connections that failed.
        # TYPE kennel_router_tls_handshakes_failed_total counter
        kennel_router_tls_handshakes_failed_total 0
        # HELP kennel_router_requests_total Requests answered.
        # TYPE kennel_router_requests_total counter
        kennel_router_requests_total 2
        # HELP kennel_router_requests_limited_total Requests beyond a client's rate, answered with 429.
        # TYPE kennel_router_requests_limited_total counter
        kennel_router_requests_limited_total 0
        # HELP kennel_router_tunnels_open Upgraded connections open now.
        # TYPE kennel_router_tunnels_open gauge
        kennel_router_tunnels_open 1
        # HELP kennel_router_upstream_connects_total Connections made to services.
        # TYPE kennel_router_upstream_connects_total counter
        kennel_router_upstream_connects_total 0
        # HELP kennel_router_upstream_reuses_total Requests sent over a kept connection.
        # TYPE kennel_router_upstream_reuses_total counter
        kennel_router_upstream_reuses_total 0
        # HELP kennel_router_upstream_retries_total Requests sent a second time.
        # TYPE kennel_router_upstream_retries_total counter
        kennel_router_upstream_retries_total 0
        # HELP kennel_router_responses_total Answers by class of status.
        # TYPE kennel_router_responses_total counter
        kennel_router_responses_total{class="1xx"} 0
        kennel_router_responses_total{class="2xx"} 0
        kennel_router_responses_total{class="3xx"} 0
        kennel_router_responses_total{class="4xx"} 2
        kennel_router_responses_total{class="5xx"} 0
        # HELP kennel_router_generation Generation of the route table in force.
        # TYPE kennel_router_generation gauge
        kennel_router_generation 7
        # HELP kennel_router_hosts Hosts in the route table.
        # TYPE kennel_router_hosts gauge
        kennel_router_hosts 3
        "#);
        drop(open);
        assert_eq!(sum(&all, |c| &c.tunnels_open), 0);
    }
}
