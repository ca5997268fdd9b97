//! All figures in Prometheus' text format (version 0.0.4 of its exposition formats).
//!
//! Labels are the names of projects, branches, services and sites that are routed now: what is
//! removed vanishes, and nothing that a visitor sends ever becomes one.

use std::fmt::{Display, Write};

use kennel_core::{RouteOutput, RouteTraffic, Timestamp};

use crate::process::Process;
use crate::table::Table;
use crate::traffic::BOUNDS_US;

/// One route's figures, and how long its answers took together.
struct Line {
    labels: String,
    traffic: RouteTraffic,
    took_us: u64,
    is_used: bool,
}

/// What the table's services and sites had to do.
pub(crate) fn of_routes(text: &mut String, table: &Table) {
    let healths = table.healths();
    let lines: Vec<Line> = table
        .traffic()
        .map(|(output, traffic)| Line {
            labels: labels(output),
            traffic: traffic.report(output, healths.get(output).copied()),
            took_us: traffic.took_us(),
            is_used: traffic.is_used(),
        })
        .collect();
    write_routes(text, &lines);
}

fn write_routes(text: &mut String, lines: &[Line]) {
    let mut metric = |name: &str, kind: &str, help: &str, sample: &dyn Fn(&mut Samples, &Line)| {
        let name = format!("kennel_router_{name}");
        head(text, &name, kind, help);
        let mut samples = Samples { text, name: &name };
        lines.iter().for_each(|line| sample(&mut samples, line));
    };
    metric("route_requests_total", "counter", "Requests answered, by route.", &|samples, line| {
        samples.add("", &line.labels, line.traffic.answers.iter().sum::<u64>());
    });
    metric(
        "route_responses_total",
        "counter",
        "Answers by route and class of status.",
        &|samples, line| {
            for (class, count) in (1..).zip(line.traffic.answers) {
                samples.add("", &format!("{},class=\"{class}xx\"", line.labels), count);
            }
        },
    );
    metric(
        "route_request_duration_seconds",
        "histogram",
        "From a request's head to the end of its answer, without tunnels.",
        &|samples, line| {
            // Where nobody asked for anything there is nothing to sort.
            if !line.is_used {
                return;
            }
            let mut sum = 0;
            let bounds = BOUNDS_US.iter().map(|bound| seconds(*bound).to_string());
            for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(&line.traffic.took) {
                sum += count;
                samples.add("_bucket", &format!("{},le=\"{bound}\"", line.labels), sum);
            }
            samples.add("_sum", &line.labels, seconds(line.took_us));
            samples.add("_count", &line.labels, sum);
        },
    );
    metric(
        "route_in_flight",
        "gauge",
        "Requests being answered and tunnels open now, by route.",
        &|samples, line| samples.add("", &line.labels, line.traffic.in_flight),
    );
    metric(
        "route_received_bytes_total",
        "counter",
        "Bytes of requests' bodies, by route.",
        &|samples, line| samples.add("", &line.labels, line.traffic.received_bytes),
    );
    metric(
        "route_sent_bytes_total",
        "counter",
        "Bytes of answers' bodies, by route.",
        &|samples, line| samples.add("", &line.labels, line.traffic.sent_bytes),
    );
    metric(
        "service_healthy",
        "gauge",
        "Whether a service gets requests: 0 after three failed looks at its health.",
        &|samples, line| {
            if let Some(healthy) = line.traffic.healthy {
                samples.add("", &line.labels, u8::from(healthy));
            }
        },
    );
}

/// What the router itself takes, under the names that Prometheus' own clients use.
pub(crate) fn of_process(text: &mut String, process: &Process, started_at: Timestamp) {
    let mut metric = |name: &str, kind: &str, help: &str, value: &dyn Display| {
        let name = format!("process_{name}");
        head(text, &name, kind, help);
        Samples { text, name: &name }.add("", "", value);
    };
    metric("resident_memory_bytes", "gauge", "Resident memory.", &process.resident_bytes);
    metric("virtual_memory_bytes", "gauge", "Virtual memory.", &process.virtual_bytes);
    metric("cpu_seconds_total", "counter", "CPU time, of user and system.", &process.cpu_seconds);
    metric("open_fds", "gauge", "Open file descriptors.", &process.open_fds);
    metric("max_fds", "gauge", "The most file descriptors there may be.", &process.max_fds);
    metric("threads", "gauge", "Threads.", &process.threads);
    let started_at = std::time::Duration::from_millis(started_at.millis().unsigned_abs());
    metric(
        "start_time_seconds",
        "gauge",
        "When the process started, in seconds since 1970.",
        &started_at.as_secs_f64(),
    );
}

fn seconds(micros: u64) -> f64 {
    std::time::Duration::from_micros(micros).as_secs_f64()
}

// Writing to a string does not fail.
fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _infallible = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// Lines of one metric.
struct Samples<'a> {
    text: &'a mut String,
    name: &'a str,
}

impl Samples<'_> {
    fn add(&mut self, suffix: &str, labels: &str, value: impl Display) {
        let Self { text, name } = self;
        let _infallible = match labels {
            "" => writeln!(text, "{name}{suffix} {value}"),
            _ => writeln!(text, "{name}{suffix}{{{labels}}} {value}"),
        };
    }
}

fn labels(output: &RouteOutput) -> String {
    let RouteOutput { project, branch, service } = output;
    let branch = escaped(branch);
    format!("project=\"{project}\",branch=\"{branch}\",service=\"{service}\"")
}

/// Git lets a branch's name have quotes; the others have nothing to escape.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(branch: &str) -> RouteOutput {
        RouteOutput {
            project: "shop".parse().unwrap(),
            branch: branch.into(),
            service: "api".parse().unwrap(),
        }
    }

    #[test]
    fn routes_by_project_branch_and_service() {
        let line = |branch: &str, is_used: bool, healthy| {
            let took = (0..=13).map(|class| u64::from(is_used) * class).collect();
            let traffic = RouteTraffic {
                output: output(branch),
                answers: [0, 90 * u64::from(is_used), 0, 0, u64::from(is_used)],
                in_flight: 2 * u64::from(is_used),
                received_bytes: 0,
                sent_bytes: 4711,
                took,
                healthy,
            };
            Line { labels: labels(&output(branch)), traffic, took_us: 1_234_567, is_used }
        };
        let mut text = String::new();
        write_routes(&mut text, &[line("main", true, Some(false)), line("a\"b", false, None)]);
        insta::assert_snapshot!(text);
    }

    #[test]
    fn the_process_under_usual_names() {
        let process = Process {
            resident_bytes: 2_969_600,
            virtual_bytes: 12_288_000,
            threads: 3,
            cpu_seconds: 0.25,
            open_fds: 17,
            max_fds: 65536,
        };
        let mut text = String::new();
        of_process(&mut text, &process, Timestamp::from_millis(1_796_000_000_250));
        insta::assert_snapshot!(text, @"
        # HELP process_resident_memory_bytes Resident memory.
        # TYPE process_resident_memory_bytes gauge
        process_resident_memory_bytes 2969600
        # HELP process_virtual_memory_bytes Virtual memory.
        # TYPE process_virtual_memory_bytes gauge
        process_virtual_memory_bytes 12288000
        # HELP process_cpu_seconds_total CPU time, of user and system.
        # TYPE process_cpu_seconds_total counter
        process_cpu_seconds_total 0.25
        # HELP process_open_fds Open file descriptors.
        # TYPE process_open_fds gauge
        process_open_fds 17
        # HELP process_max_fds The most file descriptors there may be.
        # TYPE process_max_fds gauge
        process_max_fds 65536
        # HELP process_threads Threads.
        # TYPE process_threads gauge
        process_threads 3
        # HELP process_start_time_seconds When the process started, in seconds since 1970.
        # TYPE process_start_time_seconds gauge
        process_start_time_seconds 1796000000.25
        ");
    }
}
