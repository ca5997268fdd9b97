//! From two readings of the router's counters to what goes on between them.

use std::collections::BTreeMap;
use std::time::Duration;

use kennel_core::{ProjectName, RouteOutput, RouteTraffic, RouterTraffic, ServiceName};
use serde::Serialize;

use super::say;
use crate::table::{Cell, Table};
use crate::target::Asked;
use crate::terminal::{Colour, Terminal};

/// All routes, the busiest first. The fields are the keys of its JSON.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Rates {
    /// Over how long they are.
    seconds: f64,
    routes: Vec<Rate>,
}

/// One route. The fields are the keys of its JSON.
#[derive(Debug, PartialEq, Serialize)]
struct Rate {
    project: ProjectName,
    branch: String,
    name: ServiceName,
    healthy: Option<bool>,
    requests_per_second: f64,
    /// Answers 400 to 499.
    client_errors_per_second: f64,
    /// Answers 500 to 599.
    server_errors_per_second: f64,
    /// Of what was answered; none if nothing was.
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    in_flight: u64,
    received_bytes_per_second: f64,
    sent_bytes_per_second: f64,
    /// Since the router started, as the three after it.
    requests: u64,
    server_errors: u64,
    received_bytes: u64,
    sent_bytes: u64,
    #[serde(skip)]
    p50: Option<Percentile>,
    #[serde(skip)]
    p99: Option<Percentile>,
}

/// So long at most took a part of the answers.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Percentile {
    span: Duration,
    /// Whether it took longer than that, and nobody knows how long.
    is_least: bool,
}

impl Rates {
    /// What was counted between two readings; since the start, if the router started in between.
    pub(crate) fn between(before: &RouterTraffic, now: &RouterTraffic) -> Self {
        let same = before.started_at == now.started_at && before.running_us <= now.running_us;
        let known: BTreeMap<&RouteOutput, &RouteTraffic> =
            before.routes.iter().filter(|_| same).map(|route| (&route.output, route)).collect();
        let since = if same { before.running_us } else { 0 };
        // Never zero, which nothing can be divided by.
        let seconds = Duration::from_micros((now.running_us - since).max(1)).as_secs_f64();
        let mut routes: Vec<Rate> = now
            .routes
            .iter()
            .map(|it| Rate::between(known.get(&it.output).copied(), it, &now.bounds_us, seconds))
            .collect();
        routes.sort_by(|a, b| {
            let busier = b.requests_per_second.total_cmp(&a.requests_per_second);
            let name = |rate: &Rate| rate.place();
            busier.then(b.requests.cmp(&a.requests)).then_with(|| name(a).cmp(&name(b)))
        });
        Self { seconds, routes }
    }

    /// Only what a person asked for.
    pub(crate) fn retain(&mut self, asked: &Asked) {
        let asked = asked.to_string();
        self.routes.retain(|rate| {
            let place = rate.place();
            place.strip_prefix(&asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
    }

    /// For people.
    pub(crate) fn render(&self, terminal: Terminal) -> String {
        if self.routes.is_empty() {
            return say::nothing().to_owned();
        }
        let head = [
            "ROUTE", "HEALTH", "REQ/S", "4XX/S", "5XX/S", "P50", "P99", "OPEN", "IN/S", "OUT/S",
            "REQUESTS",
        ];
        let mut table = Table::new(&head);
        for rate in &self.routes {
            let percentile = |it: Option<Percentile>| match it {
                Some(it) => Cell::new(say::duration(it.span, it.is_least)),
                None => Cell::painted("-", Colour::Faint),
            };
            let errors = rate.server_errors_per_second;
            table.row(vec![
                Cell::new(rate.place()),
                match rate.healthy {
                    Some(true) => Cell::painted("healthy", Colour::Good),
                    Some(false) => Cell::painted("unhealthy", Colour::Bad),
                    None => Cell::painted("-", Colour::Faint),
                },
                Cell::new(say::rate(rate.requests_per_second)),
                Cell::new(say::rate(rate.client_errors_per_second)),
                Cell::painted(
                    say::rate(errors),
                    if errors > 0.0 { Colour::Bad } else { Colour::Plain },
                ),
                percentile(rate.p50),
                percentile(rate.p99),
                Cell::new(rate.in_flight.to_string()),
                Cell::new(say::bytes(rate.received_bytes_per_second)),
                Cell::new(say::bytes(rate.sent_bytes_per_second)),
                Cell::new(rate.requests.to_string()),
            ]);
        }
        table.render(terminal)
    }
}

impl Rate {
    fn between(
        before: Option<&RouteTraffic>,
        now: &RouteTraffic,
        bounds_us: &[u64],
        seconds: f64,
    ) -> Self {
        // A counter that went back began anew: its route was gone in between.
        let more = |read: &dyn Fn(&RouteTraffic) -> u64| {
            let was = before.map(read).filter(|was| *was <= read(now)).unwrap_or_default();
            read(now) - was
        };
        let per_second = |read: &dyn Fn(&RouteTraffic) -> u64| more(read) as f64 / seconds;
        let answers = |classes: std::ops::RangeInclusive<usize>| {
            move |it: &RouteTraffic| -> u64 {
                let (skip, count) = (classes.start() - 1, classes.clone().count());
                it.answers.iter().skip(skip).take(count).sum()
            }
        };
        let class = |at: usize| move |it: &RouteTraffic| it.took.get(at).copied().unwrap_or(0);
        let took: Vec<u64> = (0..now.took.len()).map(|at| more(&class(at))).collect();
        let (p50, p99) = (percentile(&took, bounds_us, 0.5), percentile(&took, bounds_us, 0.99));
        let ms = |it: Percentile| it.span.as_secs_f64() * 1e3;
        Self {
            project: now.output.project.clone(),
            branch: now.output.branch.clone(),
            name: now.output.service.clone(),
            healthy: now.healthy,
            requests_per_second: per_second(&answers(1..=5)),
            client_errors_per_second: per_second(&answers(4..=4)),
            server_errors_per_second: per_second(&answers(5..=5)),
            p50_ms: p50.map(ms),
            p99_ms: p99.map(ms),
            in_flight: now.in_flight,
            received_bytes_per_second: per_second(&|it| it.received_bytes),
            sent_bytes_per_second: per_second(&|it| it.sent_bytes),
            requests: answers(1..=5)(now),
            server_errors: answers(5..=5)(now),
            received_bytes: now.received_bytes,
            sent_bytes: now.sent_bytes,
            p50,
            p99,
        }
    }

    /// `site/main/api`
    fn place(&self) -> String {
        format!("{}/{}/{}", self.project, self.branch, self.name)
    }
}

/// How long a part of the answers took at most, taken to be spread evenly within each class, as
/// Prometheus' `histogram_quantile` does.
fn percentile(took: &[u64], bounds_us: &[u64], part: f64) -> Option<Percentile> {
    let all: u64 = took.iter().sum();
    if all == 0 {
        return None;
    }
    let wanted = all as f64 * part;
    let (mut below, mut from) = (0, 0);
    for (count, bound) in took.iter().zip(bounds_us) {
        let upto = below + count;
        if upto as f64 >= wanted && *count > 0 {
            let within = (wanted - below as f64) / *count as f64;
            let span = Duration::from_micros(bound - from).mul_f64(within.clamp(0.0, 1.0));
            return Some(Percentile { span: Duration::from_micros(from) + span, is_least: false });
        }
        (below, from) = (upto, *bound);
    }
    Some(Percentile { span: Duration::from_micros(from), is_least: true })
}

#[cfg(test)]
mod tests {
    use kennel_core::Timestamp;

    use super::*;

    fn route(name: &str, answers: [u64; 5], took: [u64; 4]) -> RouteTraffic {
        let mut parts = name.split('/');
        let mut part = || parts.next().unwrap();
        RouteTraffic {
            output: RouteOutput {
                project: part().parse().unwrap(),
                branch: part().into(),
                service: part().parse().unwrap(),
            },
            answers,
            in_flight: 1,
            received_bytes: 100 * answers[1],
            sent_bytes: 10_000 * answers[1],
            took: took.to_vec(),
            healthy: Some(name != "shop/main/api"),
        }
    }

    fn reading(running_us: u64, routes: Vec<RouteTraffic>) -> RouterTraffic {
        let started_at = Timestamp::from_millis(7);
        RouterTraffic { started_at, running_us, bounds_us: vec![1000, 10_000, 100_000], routes }
    }

    #[test]
    fn rates_are_of_what_lies_between() {
        let before = reading(
            5_000_000,
            vec![
                route("shop/main/api", [0, 100, 0, 0, 0], [100, 0, 0, 0]),
                route("shop/main/web", [0, 5, 0, 0, 0], [5, 0, 0, 0]),
                route("blog/main/web", [0, 9, 0, 0, 0], [9, 0, 0, 0]),
            ],
        );
        let now = reading(
            7_000_000,
            vec![
                route("shop/main/api", [0, 140, 0, 6, 4], [140, 8, 1, 1]),
                route("shop/main/web", [0, 5, 0, 0, 0], [5, 0, 0, 0]),
                // Its route was gone for a moment.
                route("blog/main/web", [0, 4, 0, 0, 0], [4, 0, 0, 0]),
            ],
        );
        let mut rates = Rates::between(&before, &now);
        insta::assert_snapshot!(rates.render(Terminal::plain()), @"
        ROUTE          HEALTH     REQ/S  4XX/S  5XX/S  P50     P99       OPEN  IN/S     OUT/S    REQUESTS
        shop/main/api  unhealthy  25     3.0    2.0    0.6 ms  > 100 ms  1     2.0 KiB  195 KiB  150
        blog/main/web  healthy    2.0    0      0      0.5 ms  1.0 ms    1     200 B    20 KiB   4
        shop/main/web  healthy    0      0      0      -       -         1     0 B      0 B      5
        ");
        rates.retain(&"shop/main".parse().unwrap());
        assert_eq!(rates.routes.len(), 2);
        rates.retain(&"shop/main/w".parse().unwrap());
        assert_eq!(rates.render(Terminal::plain()), say::nothing());
    }

    #[test]
    fn a_router_that_started_in_between_counts_from_its_start() {
        let before =
            reading(90_000_000, vec![route("shop/main/api", [0, 100, 0, 0, 0], [100, 0, 0, 0])]);
        let mut now =
            reading(1_000_000, vec![route("shop/main/api", [0, 120, 0, 0, 0], [120, 0, 0, 0])]);
        now.started_at = Timestamp::from_millis(9);
        let rates = Rates::between(&before, &now);
        assert!((rates.routes[0].requests_per_second - 120.0).abs() < 1e-9, "{rates:?}");
    }

    #[test]
    fn percentiles_lie_within_their_class() {
        let of = |took: [u64; 4], part| {
            percentile(&took, &[1000, 10_000, 100_000], part)
                .map(|it| (it.span.as_micros(), it.is_least))
        };
        assert_eq!(of([0, 0, 0, 0], 0.5), None);
        assert_eq!(of([100, 0, 0, 0], 0.5), Some((500, false)));
        assert_eq!(of([50, 50, 0, 0], 0.99), Some((9820, false)));
        assert_eq!(of([0, 0, 0, 3], 0.5), Some((100_000, true)));
    }
}
