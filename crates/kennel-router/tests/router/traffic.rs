//! What the router counts of each service's and site's requests.

use std::time::Instant;

use kennel_core::{RouteTraffic, RouterTraffic};

use crate::host::{PATIENCE, Router, service, site};
use crate::service::{Service, nobody, ok};

/// A table of hosts with their targets, each the service `api` of a branch.
fn publish(router: &Router, generation: u64, hosts: &[(&str, &str, &str)]) {
    let hosts: Vec<String> = hosts
        .iter()
        .map(|(host, branch, target)| {
            let output = format!(r#"{{"project":"shop","branch":"{branch}","service":"api"}}"#);
            format!(r#""{host}":[{{"prefix":"/","output":{output},"target":{target}}}]"#)
        })
        .collect();
    let hosts = hosts.join(",");
    router
        .publish_text(&format!(r#"{{"version":1,"generation":{generation},"hosts":{{{hosts}}}}}"#));
    router.until(|status| status.generation == Some(generation));
}

fn traffic(router: &Router, branch: &str) -> Option<RouteTraffic> {
    let traffic: RouterTraffic = serde_json::from_str(&router.ask("/traffic")).unwrap();
    traffic.routes.into_iter().find(|route| route.output.branch == branch)
}

/// Waits until a branch's figures are as wanted: an answer is counted when it has been sent, which
/// its client may see before.
fn until(router: &Router, branch: &str, wanted: impl Fn(&RouteTraffic) -> bool) -> RouteTraffic {
    let start = Instant::now();
    loop {
        let traffic = traffic(router, branch).expect("it was asked for something");
        if wanted(&traffic) {
            return traffic;
        }
        assert!(start.elapsed() < PATIENCE, "the figures stayed {traffic:?}");
        std::thread::yield_now();
    }
}

fn get(router: &Router, host: &str) -> u16 {
    router.client().ask(format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")).status
}

#[test]
fn answers_and_bodies_are_counted_by_whose_they_are() {
    let api = Service::replying(|seen| match seen.body.len() {
        0 => ok("hello"),
        _ => b"HTTP/1.1 422 Unprocessable Content\r\nContent-Length: 2\r\n\r\nno".to_vec(),
    });
    let router = Router::boot();
    let main = service(1, api.address);
    publish(
        &router,
        1,
        &[
            ("a.example", "main", &main),
            ("shop.example", "main", &main),
            ("b.example", "feature/x", &service(2, nobody())),
        ],
    );
    assert_eq!(traffic(&router, "main"), None);
    // Ten connections, so that both workers have their share.
    for _ in 0..10 {
        assert_eq!(get(&router, "a.example"), 200);
    }
    assert_eq!(get(&router, "shop.example"), 200);
    let refused = "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 7\r\n\r\n1234567";
    assert_eq!(router.client().ask(refused).status, 422);
    let main = until(&router, "main", |it| it.in_flight == 0);
    assert_eq!(main.answers, [0, 11, 0, 1, 0]);
    assert_eq!((main.received_bytes, main.sent_bytes), (7, 57));
    assert_eq!(main.took.iter().sum::<u64>(), 12);
    assert_eq!(main.healthy, Some(true));

    assert_eq!(get(&router, "b.example"), 503);
    assert_eq!(until(&router, "feature/x", |it| it.in_flight == 0).answers, [0, 0, 0, 0, 1]);
    // What nobody has is in no route's figures.
    assert_eq!(get(&router, "c.example"), 404);
    let text = router.ask("/metrics");
    let labels = r#"{project="shop",branch="main",service="api"}"#;
    for line in [
        format!("kennel_router_route_requests_total{labels} 12"),
        format!("kennel_router_route_request_duration_seconds_count{labels} 12"),
        format!("kennel_router_route_sent_bytes_total{labels} 57"),
        format!("kennel_router_service_healthy{labels} 1"),
        r#"kennel_router_route_responses_total{project="shop",branch="feature/x",service="api",class="5xx"} 1"#.to_owned(),
    ] {
        assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
    }
    assert!(text.contains("\nprocess_open_fds "), "{text}");
}

#[test]
fn a_cutover_goes_on_counting_and_what_is_removed_vanishes() {
    let (old, new) = (Service::saying("old"), Service::saying("new"));
    let router = Router::boot();
    let preview = service(9, old.address);
    publish(
        &router,
        1,
        &[("a.example", "main", &service(1, old.address)), ("b.example", "x", &preview)],
    );
    assert_eq!((get(&router, "a.example"), get(&router, "b.example")), (200, 200));
    publish(&router, 2, &[("a.example", "main", &service(2, new.address))]);
    assert_eq!(get(&router, "a.example"), 200);
    assert_eq!(until(&router, "main", |it| it.in_flight == 0).answers, [0, 2, 0, 0, 0]);
    assert_eq!(traffic(&router, "x"), None);
    assert!(!router.ask("/metrics").contains("branch=\"x\""));
    publish(&router, 3, &[("b.example", "x", &preview)]);
    assert_eq!(get(&router, "b.example"), 200);
    assert_eq!(until(&router, "x", |it| it.in_flight == 0).answers, [0, 1, 0, 0, 0]);
}

#[test]
fn what_is_under_way_is_in_flight() {
    let (go, may_go) = std::sync::mpsc::channel::<()>();
    let may_go = std::sync::Mutex::new(may_go);
    let slow = Service::new(move |mut conn| {
        while conn.request().is_some() {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsl");
            may_go.lock().unwrap().recv_timeout(PATIENCE).unwrap();
            conn.send("ow!!");
        }
    });
    let router = Router::boot();
    publish(&router, 1, &[("a.example", "main", &service(1, slow.address))]);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    let begun = until_begun(&router, |it| it.sent_bytes == 2);
    assert_eq!((begun.in_flight, begun.took.iter().sum::<u64>()), (1, 0));
    go.send(()).unwrap();
    assert_eq!(client.answer().text(), "slow!!");
    let over = until(&router, "main", |it| it.in_flight == 0);
    assert_eq!((over.took.iter().sum::<u64>(), over.sent_bytes), (1, 6));
    // Who goes in the middle is in flight no more.
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    until(&router, "main", |it| it.in_flight == 1);
    drop(client);
    until(&router, "main", |it| it.in_flight == 0);
    go.send(()).unwrap();
}

fn until_begun(router: &Router, wanted: impl Fn(&RouteTraffic) -> bool) -> RouteTraffic {
    let start = Instant::now();
    while traffic(router, "main").is_none() {
        assert!(start.elapsed() < PATIENCE, "nothing is counted");
    }
    until(router, "main", wanted)
}

#[test]
fn a_tunnel_is_in_flight_until_it_ends_and_its_bytes_count() {
    let echo = Service::new(|mut conn| {
        if conn.head().is_some() {
            conn.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
            );
            while let Some(piece) = conn.piece() {
                conn.send(piece);
            }
        }
    });
    let router = Router::boot();
    publish(&router, 1, &[("a.example", "main", &service(1, echo.address))]);
    let mut client = router.client();
    client.send("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n");
    assert_eq!(client.head().status, 101);
    client.send("to and fro");
    assert_eq!(client.bytes(10), b"to and fro");
    let open = until(&router, "main", |it| it.sent_bytes == 10);
    assert_eq!((open.in_flight, open.received_bytes), (1, 10));
    assert_eq!(open.answers, [1, 0, 0, 0, 0]);
    drop(client);
    until(&router, "main", |it| it.in_flight == 0);
}

#[test]
fn sites_are_counted_and_have_no_health() {
    let router = Router::boot();
    std::fs::write(router.store_path("web").join("index.html"), "the page").unwrap();
    publish(&router, 1, &[("a.example", "main", &site("web", false))]);
    assert_eq!(router.client().get("/").text(), "the page");
    assert_eq!(router.client().get("/nothing").status, 404);
    let main = until(&router, "main", |it| it.in_flight == 0 && it.answers == [0, 1, 0, 1, 0]);
    assert!(main.sent_bytes > 8, "{main:?}");
    assert_eq!(main.healthy, None);
    assert!(!router.ask("/metrics").contains("kennel_router_service_healthy{"));
}
