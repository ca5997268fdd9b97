//! Services that stop answering, and what the router makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::yield_now;
use std::time::{Duration, Instant};

use kennel_core::{DeploymentId, Protocol, RouterHealth, ServiceHealth};
use kennel_router::Limits;

use crate::host::{PATIENCE, Router, service, short, usual};
use crate::service::{Seen, Service, nobody, ok};
use crate::streams::{StreamService, send, trailers};

/// Looks that follow each other as quickly as a test likes.
fn quick() -> Limits {
    Limits {
        health_every: Duration::from_millis(40),
        health_soon: Duration::from_millis(5),
        ..short()
    }
}

/// A service that is as healthy as a test wants, and counts who asks for what.
struct Moody {
    service: Service,
    well: Arc<AtomicBool>,
    looks: Arc<AtomicUsize>,
    visits: Arc<AtomicUsize>,
}

impl Moody {
    fn new() -> Self {
        Self::answering("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
    }

    /// It answers this to looks while it is not well.
    fn answering(unwell: &'static str) -> Self {
        let well = Arc::new(AtomicBool::new(true));
        let (looks, visits) = (Arc::default(), Arc::default());
        let service = {
            let (well, looks, visits) =
                (Arc::clone(&well), Arc::clone(&looks), Arc::clone(&visits));
            Service::new(move |mut conn| {
                while let Some(seen) = conn.request() {
                    if !is_look(&seen) {
                        AtomicUsize::fetch_add(&visits, 1, Ordering::SeqCst);
                        conn.send(ok("hello"));
                        continue;
                    }
                    AtomicUsize::fetch_add(&looks, 1, Ordering::SeqCst);
                    if well.load(Ordering::SeqCst) {
                        conn.send(ok("well"));
                    } else if unwell.is_empty() {
                        // Until the router gives up.
                        conn.bytes_or_end();
                    } else {
                        conn.send(unwell);
                    }
                }
            })
        };
        Self { service, well, looks, visits }
    }

    fn is_well(&self, well: bool) {
        self.well.store(well, Ordering::SeqCst);
    }

    fn looks(&self) -> usize {
        self.looks.load(Ordering::SeqCst)
    }
}

fn is_look(seen: &Seen) -> bool {
    seen.head.iter().any(|line| line == "user-agent: kennel-router")
}

fn health(router: &Router, deployment: i64) -> Option<ServiceHealth> {
    let health: RouterHealth = serde_json::from_str(&router.ask("/health")).unwrap();
    health.services.get(&DeploymentId::from_row(deployment)).cloned()
}

/// Waits until a service's health is as wanted.
fn until(
    router: &Router,
    deployment: i64,
    wanted: impl Fn(&ServiceHealth) -> bool,
) -> ServiceHealth {
    let start = Instant::now();
    loop {
        let health = health(router, deployment).expect("it is looked after");
        if wanted(&health) {
            return health;
        }
        assert!(start.elapsed() < PATIENCE, "its health stayed {health:?}");
        yield_now();
    }
}

#[test]
fn a_service_that_fails_three_looks_is_out_until_one_succeeds() {
    let moody = Moody::new();
    let mut router = Router::boot_with(quick(), |_| ());
    router.publish(&[
        ("a.example", &service(7, moody.service.address)),
        ("b.example", &service(7, moody.service.address)),
    ]);
    let well = until(&router, 7, |it| it.last.is_some());
    assert_eq!((well.out_since, well.strikes), (None, 0));
    let last = well.last.unwrap();
    assert_eq!((last.healthy, last.answer.as_str()), (true, "it answered 200"));
    let mut kept = router.client();
    assert_eq!(kept.get("/").text(), "hello");

    moody.is_well(false);
    let out = until(&router, 7, |it| it.out_since.is_some());
    assert!(out.strikes >= 3, "{out:?}");
    let last = out.last.unwrap();
    assert_eq!(last.answer, "it answered 500 Internal Server Error instead of 200");
    let visits = moody.visits.load(Ordering::SeqCst);
    let answer = kept.get("/");
    assert_eq!(answer.status, 404);
    assert!(answer.text().contains("does not pass its health check"), "{}", answer.text());
    let other = router.client().ask("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!(other.status, 404);
    assert_eq!(moody.visits.load(Ordering::SeqCst), visits);

    moody.is_well(true);
    let back = until(&router, 7, |it| it.out_since.is_none());
    assert_eq!(back.strikes, 0);
    assert_eq!(kept.get("/").text(), "hello");
}

#[test]
fn a_look_is_as_the_one_before_it_served() {
    let asked = Service::echoing_heads();
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let told_by = Service::replying(move |seen| {
        tell.lock().unwrap().send(seen.head.clone()).unwrap();
        ok("well")
    });
    let mut router = Router::boot_with(quick(), |_| ());
    let port = told_by.address.port();
    let target =
        format!(r#"{{"kind":"service","deployment":7,"port":{port},"health_check":"/up?x=1"}}"#);
    router.publish(&[("a.example", &target), ("b.example", &service(8, asked.address))]);
    let mut head = told.recv_timeout(PATIENCE).unwrap();
    head.sort();
    insta::assert_snapshot!(head.join("\n").replace(&port.to_string(), "<port>"), @"
    GET /up?x=1 HTTP/1.1
    connection: close
    host: 127.0.0.1:<port>
    user-agent: kennel-router
    ");
    until(&router, 8, |it| it.last.is_some());
}

#[test]
fn a_fork_is_looked_at_from_the_address_that_it_lets_in() {
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let fork = Service::new(move |mut conn| {
        let peer = conn.raw().peer_addr().unwrap().ip();
        while conn.request().is_some() {
            tell.lock().unwrap().send(peer).unwrap();
            conn.send(ok("well"));
        }
    });
    let mut router = Router::boot_with(quick(), |_| ());
    let port = fork.address.port();
    let target = format!(
        r#"{{"kind":"service","deployment":7,"port":{port},"health_check":"/","fork":true}}"#
    );
    router.publish(&[("a.example", &target)]);
    assert_eq!(told.recv_timeout(PATIENCE).unwrap().to_string(), "127.0.0.2");
}

#[test]
fn who_hangs_and_who_talks_nonsense_is_not_well() {
    let hangs = Moody::answering("");
    let babbles = Moody::answering("hello\n");
    let sends_elsewhere = Moody::answering("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n");
    let gone = nobody();
    let all = [&hangs, &babbles, &sends_elsewhere];
    all.iter().for_each(|it| it.is_well(false));
    let limits = Limits { health_answer: Duration::from_millis(200), ..quick() };
    let mut router = Router::boot_with(limits, |_| ());
    router.publish(&[
        ("a.example", &service(1, hangs.service.address)),
        ("b.example", &service(2, babbles.service.address)),
        ("c.example", &service(3, sends_elsewhere.service.address)),
        ("d.example", &service(4, gone)),
    ]);
    let said =
        |deployment| until(&router, deployment, |it| it.out_since.is_some()).last.unwrap().answer;
    assert_eq!(said(1), "it did not answer within 0.2 s");
    assert!(said(2).starts_with("it did not answer in HTTP: "), "{}", said(2));
    assert_eq!(said(3), "it answered 302 Found instead of 200");
    assert_eq!(said(4), "nothing listened on its port");
}

#[test]
fn a_new_table_changes_nothing_for_those_that_are_in_it() {
    let (sick, well) = (Moody::new(), Moody::new());
    sick.is_well(false);
    let mut router = Router::boot_with(quick(), |_| ());
    let (one, two) = (service(1, sick.service.address), service(2, well.service.address));
    router.publish(&[("a.example", &one)]);
    let since = until(&router, 1, |it| it.out_since.is_some()).out_since;
    router.publish(&[("a.example", &one), ("b.example", &two)]);
    assert_eq!(router.client().get("/").status, 404);
    assert_eq!(health(&router, 1).unwrap().out_since, since);
    // Another deployment has another health, under whichever host and port.
    let three = service(3, sick.service.address);
    router.publish(&[("a.example", &three)]);
    assert_eq!(health(&router, 1), None);
    until(&router, 3, |it| it.out_since.is_some());
    // One that was gone for a while serves until it is known to be sick.
    router.publish(&[]);
    let looks = sick.looks();
    router.publish(&[("a.example", &three)]);
    until(&router, 3, |it| it.out_since.is_some());
    assert!(sick.looks() >= looks + 3);
}

#[test]
fn a_router_that_starts_lets_all_serve() {
    let moody = Moody::new();
    moody.is_well(false);
    let mut router = Router::boot_with(usual(), |_| ());
    router.publish(&[("a.example", &service(7, moody.service.address))]);
    assert_eq!(router.client().get("/").text(), "hello");
    assert_eq!(health(&router, 7).unwrap().last, None);
}

#[test]
fn who_is_refused_brings_the_third_strike_forward() {
    // Nobody looks for days, unless somebody asks in vain.
    let limits = Limits { health_soon: Duration::from_millis(5), ..usual() };
    let mut router = Router::boot_with(limits, |_| ());
    let gone = nobody();
    router.publish(&[("a.example", &service(7, gone))]);
    assert_eq!(router.client().get("/").status, 503);
    let start = Instant::now();
    // The first refusal alone takes nothing out.
    let struck = until(&router, 7, |it| it.strikes > 0);
    assert_eq!((struck.strikes, struck.out_since), (1, None));
    let mut client = router.client();
    let mut answers = Vec::new();
    while answers.last() != Some(&404) {
        answers.push(client.get("/").status);
        assert!(start.elapsed() < PATIENCE, "{answers:?}");
    }
    assert!(answers.iter().all(|status| matches!(status, 503 | 404)), "{answers:?}");
    assert_eq!(until(&router, 7, |_| true).last.unwrap().answer, "nothing listened on its port");

    // And who asks for it meanwhile brings it back sooner.
    let listener = std::net::TcpListener::bind(gone).unwrap();
    let serving = Service::on(listener, |mut conn| {
        while conn.request().is_some() {
            conn.send(ok("hello again"));
        }
    });
    assert_eq!(serving.address, gone);
    while client.get("/").status != 200 {
        assert!(start.elapsed() < PATIENCE, "it stays out");
    }
}

#[test]
fn many_are_looked_at_one_after_the_other() {
    let counted = Moody::new();
    let limits = Limits { health_every: Duration::from_secs(2), ..quick() };
    let mut router = Router::boot_with(limits, |_| ());
    let targets: Vec<(String, String)> = (1..=300)
        .map(|id| (format!("h{id}.example"), service(id, counted.service.address)))
        .collect();
    let table: Vec<_> = targets.iter().map(|(host, it)| (host.as_str(), it.as_str())).collect();
    let start = Instant::now();
    router.publish(&table);
    let all = |health: &RouterHealth| health.services.values().all(|it| it.last.is_some());
    let health = loop {
        let health: RouterHealth = serde_json::from_str(&router.ask("/health")).unwrap();
        if all(&health) {
            break health;
        }
        assert!(start.elapsed() < PATIENCE, "some are not looked at");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(health.services.len(), 300);
    // In tenths of the interval: none has far more than its share.
    let mut moments: Vec<i64> =
        health.services.values().map(|it| it.last.as_ref().unwrap().at.millis()).collect();
    moments.sort_unstable();
    let first = moments[0];
    let mut tenths = [0; 40];
    for moment in &moments {
        tenths[usize::try_from((moment - first) / 200).unwrap().min(39)] += 1;
    }
    assert!(tenths.iter().all(|count| *count <= 150), "{tenths:?}");
}

#[test]
fn services_of_http_2_are_looked_at_in_it_and_those_of_grpc_in_that() {
    let is_serving = Arc::new(AtomicBool::new(true));
    let serving = Arc::clone(&is_serving);
    let behind = StreamService::new(move |mut stream| {
        let serving = Arc::clone(&serving);
        async move {
            match stream.path() {
                "/up" => stream.says("up").await,
                Protocol::GRPC_CHECK => {
                    assert_eq!(stream.body().await.unwrap(), Protocol::GRPC_QUESTION);
                    let mut answer = Protocol::GRPC_SERVING;
                    answer[6] = if serving.load(Ordering::SeqCst) { 1 } else { 2 };
                    let mut to = stream.begin(&[("content-type", "application/grpc")]);
                    assert!(send(&mut to, &answer).await);
                    to.send_trailers(trailers(&[("grpc-status", "0")])).unwrap();
                }
                _ => stream.says("hello").await,
            }
        }
    });
    let mut router = Router::boot_with(quick(), |_| ());
    let at = |deployment, path: &str| {
        behind
            .target(deployment)
            .replace(r#""health_check":"/""#, &format!(r#""health_check":"{path}""#))
    };
    router.publish(&[("a.example", &at(7, "/up")), ("b.example", &at(8, Protocol::GRPC_CHECK))]);
    for deployment in [7, 8] {
        until(&router, deployment, |it| it.last.as_ref().is_some_and(|look| look.healthy));
    }
    is_serving.store(false, Ordering::SeqCst);
    let out = until(&router, 8, |it| it.out_since.is_some());
    assert_eq!(out.last.unwrap().answer, "it did not say in gRPC that it is serving");
    assert_eq!(router.client().get("/").text(), "hello");
    is_serving.store(true, Ordering::SeqCst);
    until(&router, 8, |it| it.out_since.is_none());
}
