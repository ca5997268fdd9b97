//! Latency under an even load.
//!
//! Each connection has times at which it asks, whatever became of what it asked before: a request that
//! has to wait for the one before waits from its own time on. What this program's own timers are late
//! is not the proxy's.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::asking::Asking;
use super::proxies::Proxy;
use super::tools::Done;

const CONNECTIONS: u32 = 32;

/// The middle, and the slowest of a hundred and of a thousand.
pub(super) struct Latencies {
    pub(super) p50: Duration,
    pub(super) p99: Duration,
    pub(super) p999: Duration,
}

impl fmt::Display for Latencies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50, p99, p999 } = self;
        write!(f, "p50 {p50:.2?}, p99 {p99:.2?}, p99.9 {p999:.2?}")
    }
}

/// Asks so many times a second for so long.
pub(super) fn run(proxy: &Proxy, rate: f64, time: Duration) -> Result<(Done, Latencies)> {
    let errors = AtomicU64::new(0);
    let between = Duration::from_secs_f64(f64::from(CONNECTIONS) / rate);
    let begun = Instant::now() + Duration::from_millis(50);
    let mut all = thread::scope(|scope| {
        let each: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let errors = &errors;
                let mut due = begun + between * number / CONNECTIONS;
                scope.spawn(move || -> Result<Vec<Duration>> {
                    let mut asking = Asking::connect(proxy)?;
                    let mut latencies = Vec::new();
                    while due < begun + time {
                        let wait = due.saturating_duration_since(Instant::now());
                        let mut from = due;
                        if !wait.is_zero() {
                            thread::sleep(wait);
                            from = Instant::now();
                        }
                        if asking.ask().is_ok() {
                            latencies.push(from.elapsed());
                        } else {
                            errors.fetch_add(1, Ordering::Relaxed);
                            asking = Asking::connect(proxy)?;
                        }
                        due += between;
                    }
                    Ok(latencies)
                })
            })
            .collect();
        let mut all = Vec::new();
        for one in each {
            all.extend(one.join().map_err(|_| anyhow!("a visitor panicked"))??);
        }
        Ok::<_, anyhow::Error>(all)
    })?;
    let secs = begun.elapsed().as_secs_f64();
    all.sort_unstable();
    let at = |part: usize| all.get(all.len() * part / 1000).copied().unwrap_or_default();
    let latencies = Latencies { p50: at(500), p99: at(990), p999: at(999) };
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let count = all.len() as f64;
    Ok((Done { count, secs, errors: errors.into_inner(), p99_ms: 0.0 }, latencies))
}
