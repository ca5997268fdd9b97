//! Every sentence for operators: in the journal and in `systemctl status`.
//!
//! What visitors read is in `pages`.

use std::fmt::{Display, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use kennel_core::{DeploymentId, RouteOutput};

/// `STATUS=`: what is in force, and what was refused.
pub(crate) fn status(generation: Option<u64>, hosts: usize, refused: Option<&str>) -> String {
    let plural = if hosts == 1 { "" } else { "s" };
    let mut text = match generation {
        Some(generation) => format!("generation {generation}, {hosts} host{plural}"),
        None => "no route table yet".to_owned(),
    };
    if let Some(refused) = refused {
        let newer = if generation.is_some() { "the newer table" } else { "the table" };
        // A status is one line.
        let refused: String =
            refused.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let _infallible = write!(text, "; refused {newer}: {refused}");
    }
    text
}

/// On the way out.
pub(crate) fn leaving(open: u64) -> String {
    match open {
        0 => "leaving".into(),
        1 => "leaving when 1 connection has ended".into(),
        _ => format!("leaving when {open} connections have ended"),
    }
}

/// The time to leave is over.
pub(crate) fn cut_off(open: u64) -> String {
    format!("leaving although {open} connections have not ended")
}

/// A table is in force.
pub(crate) fn loaded(generation: Option<u64>, hosts: usize, certificates: usize) -> String {
    let status = status(generation, hosts, None);
    match certificates {
        0 => format!("serving {status}"),
        1 => format!("serving {status}, 1 certificate"),
        _ => format!("serving {status}, {certificates} certificates"),
    }
}

/// A certificate cannot be used.
pub(crate) fn bad_certificate(why: &str, is_known: bool) -> String {
    let then = if is_known { "; the one of before keeps serving" } else { "" };
    format!("not using a certificate: {why}{then}")
}

/// `Strict-Transport-Security`, for so many seconds (RFC 6797 §6.1). Never for names below: they
/// are others' business.
pub(crate) fn hsts(seconds: u64) -> HeaderValue {
    // Digits are a field value.
    HeaderValue::from_str(&format!("max-age={seconds}"))
        .unwrap_or(HeaderValue::from_static("max-age=0"))
}

/// A table was refused.
pub(crate) fn refused(reason: &str) -> String {
    format!("refused the route table, the old one keeps serving: {reason}")
}

/// The passwords of previews cannot be read.
pub(crate) fn no_logins(path: &Path, error: &dyn Display) -> String {
    format!(
        "cannot read the passwords of previews in {}: {error}; nobody comes in until `kennelctl reconcile`",
        path.display()
    )
}

/// The table on disk is older than the one it replaces.
pub(crate) fn older(old: u64, new: u64) -> String {
    format!(
        "the route table went back from generation {old} to {new}; following it, since the file is the truth"
    )
}

/// A service did not answer, or not with HTTP.
pub(crate) fn broken_service(backend: &dyn Display, why: &str, more: u64) -> String {
    let text = format!("{backend} gave no valid answer: {why}");
    counted(text, more)
}

/// A service did not answer in time.
pub(crate) fn late_service(backend: &dyn Display, more: u64) -> String {
    counted(format!("{backend} did not answer in time"), more)
}

/// Nobody listens where a service should be.
pub(crate) fn absent_service(backend: &dyn Display, more: u64) -> String {
    counted(format!("{backend} does not accept connections yet, or no longer"), more)
}

/// What a service that gives way has become of it does not come.
pub(crate) fn held_too_long(deployment: DeploymentId, more: u64) -> String {
    counted(
        format!("the version after deployment {deployment} is not up; a request waited in vain"),
        more,
    )
}

/// Too many wait for one service.
pub(crate) fn held_too_many(deployment: DeploymentId, more: u64) -> String {
    counted(
        format!(
            "too many requests wait for the version after deployment {deployment}; one was sent away"
        ),
        more,
    )
}

/// There is no place left for a connection to a service.
pub(crate) fn crowded(backend: &dyn Display, more: u64) -> String {
    counted(
        format!(
            "{backend} has half of the connections to services, or all are in use; a request was sent away"
        ),
        more,
    )
}

/// A service has as many requests under way as it takes.
pub(crate) fn full_service(backend: &dyn Display, more: u64) -> String {
    counted(
        format!(
            "{backend} has as many requests under way as `max_requests` lets it; one was sent away"
        ),
        more,
    )
}

/// A client has as many connections as it may.
pub(crate) fn too_many_connections(client: IpAddr, most: u32, more: u64) -> String {
    counted(
        format!(
            "refused a connection of {client}, which has {most} open; see `connections_per_client`"
        ),
        more,
    )
}

/// A trusted proxy does not say for whom it connects.
pub(crate) fn silent_proxy(proxy: IpAddr, more: u64) -> String {
    counted(
        format!(
            "closed a connection of the trusted proxy {proxy}, which did not begin with a header of the PROXY protocol"
        ),
        more,
    )
}

fn counted(text: String, more: u64) -> String {
    if more == 0 { text } else { format!("{text} ({more} like this were not logged)") }
}

/// A look at a service's health: it is well.
pub(crate) fn look_healthy() -> String {
    "it answered 200".to_owned()
}

/// A look: it answers something else.
pub(crate) fn look_answered(status: StatusCode) -> String {
    format!("it answered {status} instead of 200")
}

/// A look: nobody listens.
pub(crate) fn look_refused() -> String {
    "nothing listened on its port".to_owned()
}

/// A look: no answer within this time.
pub(crate) fn look_late(limit: Duration) -> String {
    format!("it did not answer within {} s", limit.as_secs_f64())
}

/// A look: what came was no answer.
pub(crate) fn look_broken(error: &hyper::Error) -> String {
    format!("it did not answer in HTTP: {error}")
}

/// A look: a service of gRPC has not said that it is well.
pub(crate) fn look_not_serving() -> String {
    "it did not say in gRPC that it is serving".to_owned()
}

/// A look: the table has a path that is none.
pub(crate) fn look_impossible() -> String {
    "its health path cannot be asked for".to_owned()
}

/// A service has failed too many looks.
pub(crate) fn taken_out(id: DeploymentId, output: Option<&RouteOutput>, why: &str) -> String {
    format!(
        "{} is unhealthy and gets no more requests: three looks in a row failed, the last because {why}; the next that succeeds brings it back",
        named(id, output)
    )
}

/// It is well again.
pub(crate) fn brought_back(
    id: DeploymentId,
    output: Option<&RouteOutput>,
    after: Duration,
) -> String {
    format!("{} is healthy and gets requests again, after {} s", named(id, output), after.as_secs())
}

fn named(id: DeploymentId, output: Option<&RouteOutput>) -> String {
    match output {
        Some(output) => format!("{output} (deployment {id})"),
        None => format!("deployment {id}"),
    }
}

/// A line of a site's rules is none. kennel-deploy refuses such a site; this one is from before.
pub(crate) fn problem_of_site(site: &Path, problem: &kennel_core::RuleProblem) -> String {
    format!("{} is served without a rule: {problem}", site.display())
}

/// A file that was there when the site was published cannot be read.
pub(crate) fn unreadable_file(path: &Path, error: &std::io::Error) -> String {
    format!("cannot read {}: {error}; was the store path collected as garbage?", path.display())
}

/// There is no thread that compresses.
pub(crate) fn no_packer(error: &std::io::Error) -> String {
    format!("cannot start the thread that compresses: {error}; files are sent as they are")
}

/// A connection cannot be accepted.
pub(crate) fn accept_failed(error: &std::io::Error) -> String {
    format!("cannot accept connections: {error}; trying again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences() {
        let id = DeploymentId::from_row(7);
        let output = RouteOutput {
            project: "shop".parse().unwrap(),
            branch: "main".into(),
            service: "api".parse().unwrap(),
        };
        let all = [
            status(None, 0, None),
            status(Some(12), 8, None),
            status(Some(12), 1, Some("x is not\na route table")),
            status(None, 0, Some("x is not a route table")),
            leaving(0),
            leaving(1),
            leaving(3),
            cut_off(2),
            loaded(Some(12), 8, 0),
            loaded(Some(12), 8, 1),
            loaded(Some(12), 8, 2),
            bad_certificate("x.pem is for no host name", false),
            bad_certificate("x.pem is for no host name", true),
            refused("x is not a route table: trailing comma at line 3 column 1"),
            no_logins(Path::new("/var/lib/x.json"), &"it is no JSON"),
            older(12, 7),
            broken_service(&"deployment 7 on 127.0.0.1:18000", "it closed the connection", 0),
            late_service(&"deployment 7 on 127.0.0.1:18000", 4),
            absent_service(&"deployment 7 on 127.0.0.1:18000", 0),
            crowded(&"deployment 7 on 127.0.0.1:18000", 0),
            full_service(&"deployment 7 on 127.0.0.1:18000", 0),
            too_many_connections("192.0.2.7".parse().unwrap(), 256, 3),
            silent_proxy("10.0.0.7".parse().unwrap(), 0),
            look_healthy(),
            look_answered(StatusCode::SERVICE_UNAVAILABLE),
            look_refused(),
            look_late(Duration::from_secs(5)),
            look_not_serving(),
            look_impossible(),
            taken_out(id, None, &look_refused()),
            taken_out(id, Some(&output), &look_answered(StatusCode::SERVICE_UNAVAILABLE)),
            brought_back(id, Some(&output), Duration::from_millis(61_200)),
            problem_of_site(
                Path::new("/nix/store/x"),
                &kennel_core::RuleProblem { file: "_redirects", line: 3, why: "no rule".into() },
            ),
            unreadable_file(Path::new("/nix/store/x/a"), &std::io::ErrorKind::NotFound.into()),
            no_packer(&std::io::Error::from_raw_os_error(11)),
            accept_failed(&std::io::Error::from_raw_os_error(24)),
        ];
        insta::assert_snapshot!(all.join("\n"), @"
        no route table yet
        generation 12, 8 hosts
        generation 12, 1 host; refused the newer table: x is not a route table
        no route table yet; refused the table: x is not a route table
        leaving
        leaving when 1 connection has ended
        leaving when 3 connections have ended
        leaving although 2 connections have not ended
        serving generation 12, 8 hosts
        serving generation 12, 8 hosts, 1 certificate
        serving generation 12, 8 hosts, 2 certificates
        not using a certificate: x.pem is for no host name
        not using a certificate: x.pem is for no host name; the one of before keeps serving
        refused the route table, the old one keeps serving: x is not a route table: trailing comma at line 3 column 1
        cannot read the passwords of previews in /var/lib/x.json: it is no JSON; nobody comes in until `kennelctl reconcile`
        the route table went back from generation 12 to 7; following it, since the file is the truth
        deployment 7 on 127.0.0.1:18000 gave no valid answer: it closed the connection
        deployment 7 on 127.0.0.1:18000 did not answer in time (4 like this were not logged)
        deployment 7 on 127.0.0.1:18000 does not accept connections yet, or no longer
        deployment 7 on 127.0.0.1:18000 has half of the connections to services, or all are in use; a request was sent away
        deployment 7 on 127.0.0.1:18000 has as many requests under way as `max_requests` lets it; one was sent away
        refused a connection of 192.0.2.7, which has 256 open; see `connections_per_client` (3 like this were not logged)
        closed a connection of the trusted proxy 10.0.0.7, which did not begin with a header of the PROXY protocol
        it answered 200
        it answered 503 Service Unavailable instead of 200
        nothing listened on its port
        it did not answer within 5 s
        it did not say in gRPC that it is serving
        its health path cannot be asked for
        deployment 7 is unhealthy and gets no more requests: three looks in a row failed, the last because nothing listened on its port; the next that succeeds brings it back
        shop/main/api (deployment 7) is unhealthy and gets no more requests: three looks in a row failed, the last because it answered 503 Service Unavailable instead of 200; the next that succeeds brings it back
        shop/main/api (deployment 7) is healthy and gets requests again, after 61 s
        /nix/store/x is served without a rule: _redirects:3: no rule
        cannot read /nix/store/x/a: entity not found; was the store path collected as garbage?
        cannot start the thread that compresses: Resource temporarily unavailable (os error 11); files are sent as they are
        cannot accept connections: Too many open files (os error 24); trying again
        ");
    }
}
