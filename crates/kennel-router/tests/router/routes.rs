//! Several services under one host, and hosts that lead to another.

use crate::host::{Router, service, site};
use crate::service::Service;
use crate::tls::{Authority, router};

/// A router with these targets below the prefixes of `a.example`, which `www.a.example` leads to.
fn publish(router: &mut Router, routes: &[(&str, bool, &str)]) {
    let routes: Vec<String> = routes
        .iter()
        .map(|(prefix, strip, target)| {
            format!(r#"{{"prefix":"{prefix}","strip":{strip},"target":{target}}}"#)
        })
        .collect();
    let www = r#"{"prefix":"/","target":{"kind":"redirect","to":"a.example"}}"#;
    router.publish_text(&format!(
        r#"{{"version":1,"generation":1,"hosts":{{"a.example":[{}],"www.a.example":[{www}]}}}}"#,
        routes.join(",")
    ));
    router.until(|status| status.generation == Some(1));
}

#[test]
fn the_longest_path_decides_who_answers() {
    let (web, api) = (Service::saying("web"), Service::echoing_heads());
    let absent = r#"{"kind":"absent"}"#;
    let mut router = Router::boot();
    publish(
        &mut router,
        &[
            ("/", false, &service(1, web.address)),
            ("/api", false, &service(2, api.address)),
            ("/stripped", true, &service(2, api.address)),
            ("/later", false, absent),
        ],
    );
    let line = |path: &str| {
        let answer = router.client().get(path);
        let told = answer.text().lines().find(|line| line.starts_with("x-forwarded-prefix"));
        format!("{} {}", answer.text().lines().next().unwrap(), told.unwrap_or_default())
    };
    assert_eq!(line("/apix"), "web ");
    assert_eq!(line("/api"), "GET /api HTTP/1.1 ");
    assert_eq!(line("/api/v1?x=1"), "GET /api/v1?x=1 HTTP/1.1 ");
    assert_eq!(line("/stripped"), "GET / HTTP/1.1 x-forwarded-prefix: /stripped");
    assert_eq!(line("/stripped/v1?x=1"), "GET /v1?x=1 HTTP/1.1 x-forwarded-prefix: /stripped");
    // A client cannot say it.
    let posing = router.client().get_with("/api", "X-Forwarded-Prefix: /evil\r\n");
    assert!(!posing.text().contains("prefix"), "{}", posing.text());
    let later = router.client().get("/later/x");
    assert_eq!(later.status, 503);
    assert_eq!(later.field("retry-after"), Some("2"));
}

#[test]
fn a_site_and_a_service_share_a_host() {
    let api = Service::echoing_heads();
    let mut router = Router::boot();
    std::fs::write(router.store_path("web").join("index.html"), "the page").unwrap();
    publish(
        &mut router,
        &[("/", false, &site("web", true)), ("/api", false, &service(2, api.address))],
    );
    assert_eq!(router.client().get("/").text(), "the page");
    // What the site would take for a navigation of its own.
    let api = router.client().get_with("/api/x", "Accept: text/html\r\n");
    assert!(api.text().starts_with("GET /api/x "), "{}", api.text());
}

#[test]
fn other_names_lead_to_the_one_that_serves() {
    let to = |router: &Router, head: &str| {
        let answer = router.client().ask(head);
        format!("{} {}", answer.status, answer.field("location").unwrap_or("-"))
    };
    let web = Service::saying("web");
    let mut plain = Router::boot();
    publish(&mut plain, &[("/", false, &service(1, web.address))]);
    assert_eq!(
        to(&plain, "GET /a%20b?x=1 HTTP/1.1\r\nHost: www.a.example\r\n\r\n"),
        "308 http://a.example/a%20b?x=1"
    );
    assert_eq!(
        to(&plain, "OPTIONS * HTTP/1.1\r\nHost: www.a.example\r\n\r\n"),
        "308 http://a.example/"
    );

    // At once to where it is served, though there is no certificate for the other name.
    let authority = Authority::new();
    let mut secured = router(&[("a.example.pem", &authority.issue(&["a.example"]))]);
    publish(&mut secured, &[("/", false, &service(1, web.address))]);
    assert_eq!(
        to(&secured, "POST /x HTTP/1.1\r\nHost: www.a.example\r\nContent-Length: 0\r\n\r\n"),
        "308 https://a.example/x"
    );
}
