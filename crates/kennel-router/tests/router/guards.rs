//! Maintenance, lists of addresses and passwords before routes.

use std::fs;
use std::sync::Arc;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};

use crate::client::Answer;
use crate::host::{Router, service, site};
use crate::service::{Service, ok};
use crate::tls::{Authority, Secured, router};

pub(crate) const ONE: &str = "11111111111111111111111111111111";
const OTHER: &str = "22222222222222222222222222222222";

/// The hash of a password, as cheap as may be.
fn hash(password: &str) -> String {
    let argon2 = Argon2::new(
        Algorithm::Argon2id,
        Version::V0x13,
        Params::new(1024, 1, 1, Some(32)).unwrap(),
    );
    let mut hash = [0; 32];
    argon2.hash_password_into(password.as_bytes(), b"somesalt", &mut hash).unwrap();
    let [salt, hash] =
        [b"somesalt".as_slice(), hash.as_slice()].map(|it| BASE64_STANDARD_NO_PAD.encode(it));
    format!("$argon2id$v=19$m=1024,t=1,p=1${salt}${hash}")
}

/// Puts down passwords, as kennel-deploy does before it publishes a table that asks for them.
pub(crate) fn knows(router: &Router, logins: &[(&str, &str, &str)]) {
    let logins: Vec<String> = logins
        .iter()
        .map(|(id, key, password)| {
            let key = key.repeat(64);
            let hash = hash(password);
            format!(r#""{id}":{{"project":"shop","password":"{hash}","key":"{key}"}}"#)
        })
        .collect();
    let text = format!("{{{}}}", logins.join(","));
    fs::write(router.dir().join("logins.json"), text).unwrap();
}

/// Publishes `a.example` with this guard before this target.
pub(crate) fn publish(router: &mut Router, generation: u64, guard: &str, target: &str) {
    let route = |guard: &str| format!(r#"[{{"prefix":"/","guard":{guard},"target":{target}}}]"#);
    router.publish_text(&format!(
        r#"{{"version":1,"generation":{generation},"hosts":{{"a.example":{},"open.example":{}}}}}"#,
        route(guard),
        route("{}"),
    ));
    router.until(|status| status.generation == Some(generation));
}

fn guarded(guard: &str, target: &str) -> Router {
    let mut router = Router::boot();
    knows(&router, &[(ONE, "a", "secret"), (OTHER, "b", "other")]);
    publish(&mut router, 1, guard, target);
    router
}

pub(crate) fn asking(id: &str) -> String {
    format!(r#"{{"login":"{id}"}}"#)
}

fn fill_in(router: &Router, form: &str) -> Answer {
    let len = form.len();
    router.client().ask(format!(
        "POST /.kennel/login HTTP/1.1\r\nHost: a.example\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len}\r\n\r\n{form}"
    ))
}

/// The session's cookie, as a browser sends it back.
fn session(answer: &Answer) -> String {
    let cookie = answer.field("set-cookie").expect("no cookie");
    cookie.split(';').next().unwrap().to_owned()
}

fn cookie(value: &str) -> String {
    format!("Cookie: {value}\r\n")
}

const READER: &str = "Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";

#[test]
fn nobody_gets_past_maintenance() {
    let notice = r#"{"maintenance":{"message":"<b>back at 18:00</b>","retry_after_secs":1800}}"#;
    let behind = Service::saying("the service");
    let mut router = guarded(notice, &service(7, behind.address));
    fs::create_dir(router.dir().join("challenges")).unwrap();
    fs::write(router.dir().join("challenges/token"), "proof").unwrap();
    for request in [
        "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "POST /api HTTP/1.1\r\nHost: a.example\r\nContent-Length: 4\r\n\r\nbody",
        "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n",
        "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ] {
        let answer = router.client().ask(request);
        assert_eq!(answer.status, 503, "{request}");
        assert_eq!(answer.field("retry-after"), Some("1800"));
        assert_eq!(answer.field("cache-control"), Some("no-store"));
        assert!(answer.text().contains("<p>&lt;b&gt;back at 18:00&lt;/b&gt;</p>"));
    }
    assert_eq!(behind.connections(), 0);
    // A certificate is renewed all the same, and other hosts are open.
    assert_eq!(router.client().get("/.well-known/acme-challenge/token").text(), "proof");
    let open = router.client().ask("GET / HTTP/1.1\r\nHost: open.example\r\n\r\n");
    assert_eq!(open.text(), "the service");
    // A connection that is kept sees the end of it.
    let mut kept = router.client();
    assert_eq!(kept.get("/").status, 503);
    publish(&mut router, 2, "{}", &service(7, behind.address));
    assert_eq!(kept.get("/").text(), "the service");
}

#[test]
fn a_request_that_is_turned_away_is_no_use_of_a_preview() {
    let behind = Service::saying("the service");
    let router = guarded(&asking(ONE), &service(7, behind.address));
    let used = || router.ask("/last-use").contains("\"7\"");
    assert_eq!(router.client().get_with("/", READER).status, 401);
    assert!(!used(), "{}", router.ask("/last-use"));
    assert_eq!(router.client().get_with("/", "Authorization: Bearer secret\r\n").status, 200);
    assert!(used(), "{}", router.ask("/last-use"));
}

#[test]
fn only_listed_addresses_come_in() {
    let behind = Service::saying("the service");
    let target = service(7, behind.address);
    for (lists, status) in [
        (r#"[["10.0.0.0/8"]]"#, 403),
        (r#"[["10.0.0.0/8","127.0.0.0/8"]]"#, 200),
        (r#"[["127.0.0.1"],["10.0.0.0/8"]]"#, 403),
        (r#"[["127.0.0.1"],["0.0.0.0/0"]]"#, 200),
        (r#"[["::/0"]]"#, 403),
    ] {
        let router = guarded(&format!(r#"{{"allow_from":{lists}}}"#), &target);
        assert_eq!(router.client().get("/").status, status, "{lists}");
        // Nobody says it of themselves.
        let claim = "X-Forwarded-For: 10.1.1.1\r\nForwarded: for=10.1.1.1\r\n";
        assert_eq!(router.client().get_with("/", claim).status, status, "{lists}");
    }
    // Who may not come in is not asked for a password either.
    let guard = format!(r#"{{"allow_from":[["10.0.0.0/8"]],"login":"{ONE}"}}"#);
    let router = guarded(&guard, &target);
    assert_eq!(router.client().get_with("/", "Authorization: Bearer secret\r\n").status, 403);
    assert_eq!(fill_in(&router, "password=secret").status, 403);
}

#[test]
fn people_fill_in_a_form_and_come_back_to_where_they_were() {
    let behind = Service::echoing_heads();
    let router = guarded(&asking(ONE), &service(7, behind.address));
    let asked = router.client().get_with("/a/b?c=%22d%22&e='f'", READER);
    assert_eq!(asked.status, 401);
    assert_eq!(asked.field("cache-control"), Some("no-store"));
    // A browser must not ask by itself.
    assert!(!asked.field("www-authenticate").unwrap().starts_with("Basic"));
    let form = asked.text();
    assert!(form.contains(r#"<form method="post" action="/.kennel/login">"#), "{form}");
    assert!(form.contains(r#"name="to" value="/a/b?c=%22d%22&amp;e=&#39;f&#39;""#), "{form}");

    let wrong = fill_in(&router, "to=%2Fa%2Fb&password=Secret");
    assert_eq!((wrong.status, wrong.field("set-cookie")), (401, None));
    assert!(wrong.text().contains(r#"name="to" value="/a/b""#), "{}", wrong.text());
    let right = fill_in(&router, "to=%2Fa%2Fb%3Fc%3Dd&password=secret");
    assert_eq!((right.status, right.field("location")), (303, Some("/a/b?c=d")));
    let set = right.field("set-cookie").unwrap();
    assert!(set.ends_with("; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax"), "{set}");

    let both = format!("theme=dark; {}; lang=de", session(&right));
    let fields = format!("{}Authorization: Bearer its-own\r\n", cookie(&both));
    let seen = router.client().get_with("/a/b?c=d", &fields);
    assert_eq!(seen.status, 200);
    assert!(seen.text().contains("theme=dark; lang=de"), "{}", seen.text());
    assert!(!seen.text().contains("kennel-preview"), "{}", seen.text());
    // What is the service's own business comes through.
    assert!(seen.text().contains("Bearer its-own"), "{}", seen.text());
    let alone = router.client().get_with("/", &cookie(&session(&right)));
    assert!(!alone.text().to_ascii_lowercase().contains("cookie"), "{}", alone.text());
}

#[test]
fn a_login_leads_to_no_other_host() {
    let behind = Service::saying("the service");
    let router = guarded(&asking(ONE), &service(7, behind.address));
    for to in ["//evil.example", "https://evil.example/", "/%5Cevil.example", "/%09/evil.example"] {
        let answer = fill_in(&router, &format!("password=secret&to={to}"));
        assert_eq!((answer.status, answer.field("location")), (303, Some("/")), "{to}");
    }
    let asked = router.client().get_with("//evil.example/x", READER);
    assert!(asked.text().contains(r#"name="to" value="/""#), "{}", asked.text());
}

#[test]
fn the_logins_path_is_never_the_services() {
    let behind = Service::saying("the service");
    let router = guarded(&asking(ONE), &service(7, behind.address));
    let session = session(&fill_in(&router, "password=secret"));
    let connections = behind.connections();
    assert_eq!(router.client().get_with("/.kennel/login", &cookie(&session)).status, 401);
    let put = "PUT /.kennel/login HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(router.client().ask(put).status, 405);
    let long = format!("password=secret&x={}", "y".repeat(9000));
    assert_eq!(fill_in(&router, &long).status, 400);
    assert_eq!(behind.connections(), connections);
    // On a host without a password it is.
    let open = router.client().ask("GET /.kennel/login HTTP/1.1\r\nHost: open.example\r\n\r\n");
    assert_eq!(open.text(), "the service");
}

#[test]
fn programs_show_the_password_with_each_request() {
    let behind = Service::echoing_heads();
    let router = guarded(&asking(ONE), &service(7, behind.address));
    let none = router.client().get("/");
    assert_eq!(none.status, 401);
    assert_eq!(none.field("www-authenticate"), Some("Basic realm=\"preview\", charset=\"UTF-8\""));
    let basic = format!("Authorization: Basic {}\r\n", BASE64_STANDARD.encode("anybody:secret"));
    // More often than strangers may try: what is right is no attempt.
    for _ in 0..30 {
        for shown in [basic.as_str(), "Authorization: bearer secret\r\n"] {
            let seen = router.client().get_with("/", shown);
            assert_eq!(seen.status, 200);
            assert!(!seen.text().to_ascii_lowercase().contains("authorization"), "{}", seen.text());
        }
    }
    assert_eq!(router.client().get_with("/", "Authorization: Bearer other\r\n").status, 401);
}

#[test]
fn sessions_are_of_one_password_and_outlive_the_router() {
    let behind = Service::saying("the service");
    let target = service(7, behind.address);
    let mut first = guarded(&asking(ONE), &target);
    let session = session(&fill_in(&first, "password=secret"));
    let status = |router: &Router| router.client().get_with("/", &cookie(&session)).status;
    assert_eq!(status(&first), 200);
    // Another process.
    assert_eq!(status(&guarded(&asking(ONE), &target)), 200);
    // Another project, or the same with another password.
    publish(&mut first, 2, &asking(OTHER), &target);
    assert_eq!(status(&first), 401);
    assert_eq!(fill_in(&first, "password=secret").status, 401);
    publish(&mut first, 3, &asking(ONE), &target);
    assert_eq!(status(&first), 200);
    let forged = session.replace('.', "0.");
    assert_eq!(first.client().get_with("/", &cookie(&forged)).status, 401);
}

#[test]
fn whoever_tries_too_often_waits_and_nobody_else_does() {
    let behind = Service::saying("the service");
    let router = guarded(&asking(ONE), &service(7, behind.address));
    let session = session(&fill_in(&router, "password=secret"));
    let tries: Vec<Answer> =
        (0..20).map(|number| fill_in(&router, &format!("password={number}"))).collect();
    let refused: Vec<_> = tries.iter().filter(|answer| answer.status == 429).collect();
    assert!((5..=11).contains(&refused.len()), "{}", refused.len());
    assert!(refused.iter().all(|it| it.field("retry-after").is_some()));
    assert!(tries.iter().all(|it| matches!(it.status, 401 | 429)));
    let bearer = router.client().get_with("/", "Authorization: Bearer guess\r\n");
    assert_eq!(bearer.status, 429);
    // Whoever is in stays in, and who knows the password comes in.
    assert_eq!(router.client().get_with("/", &cookie(&session)).status, 200);
    assert_eq!(fill_in(&router, "password=secret").status, 303);
}

#[test]
fn a_password_that_is_lost_opens_nothing() {
    let mut router = Router::boot();
    fs::write(router.store_path("web").join("index.html"), "the page").unwrap();
    publish(&mut router, 1, &asking(ONE), &site("web", false));
    for text in ["", "not JSON", "{}"] {
        if !text.is_empty() {
            fs::write(router.dir().join("logins.json"), text).unwrap();
        }
        publish(&mut router, 2, &asking(ONE), &site("web", false));
        for fields in ["", READER, "Authorization: Bearer secret\r\n"] {
            assert_eq!(router.client().get_with("/", fields).status, 503, "{text}");
        }
        assert_eq!(fill_in(&router, "password=secret").status, 503);
    }
    knows(&router, &[(ONE, "a", "secret")]);
    publish(&mut router, 3, &asking(ONE), &site("web", false));
    let page = router.client().get_with("/", "Authorization: Bearer secret\r\n");
    assert_eq!(page.text(), "the page");
}

#[test]
fn websockets_come_in_with_the_cookie() {
    let echo = Service::new(|mut conn| {
        while let Some(head) = conn.head() {
            assert!(!head.iter().any(|it| it.contains("kennel-preview")), "{head:?}");
            conn.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
            );
            conn.bytes_or_end();
        }
    });
    let router = guarded(&asking(ONE), &service(7, echo.address));
    let session = session(&fill_in(&router, "password=secret"));
    let ask = |fields: &str| {
        format!(
            "GET /ws HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n{fields}\r\n"
        )
    };
    assert_eq!(router.client().ask(ask("")).status, 401);
    let mut client = router.client();
    client.send(ask(&cookie(&session)));
    assert_eq!(client.head().status, 101);
    assert_eq!(client.bytes(5), b"hello");
}

#[test]
fn over_tls_the_cookie_is_for_tls_alone() {
    let authority = Authority::new();
    let config = Arc::new(authority.client());
    let behind = Service::replying(|_| ok("the service"));
    let mut router = router(&[("a.pem", &authority.issue(&["a.example"]))]);
    knows(&router, &[(ONE, "a", "secret")]);
    publish(&mut router, 1, &asking(ONE), &service(7, behind.address));
    let mut secured = Secured::connect(router.secure, "a.example", &config).unwrap();
    assert_eq!(secured.get("a.example", "/").status, 401);
    let form = "password=secret&to=/x";
    let answer = secured.ask(&format!(
        "POST /.kennel/login HTTP/1.1\r\nHost: a.example\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    ));
    assert_eq!((answer.status, answer.field("location")), (303, Some("/x")));
    let set = answer.field("set-cookie").unwrap();
    assert!(set.ends_with("; HttpOnly; SameSite=Lax; Secure"), "{set}");
    let get = format!("GET / HTTP/1.1\r\nHost: a.example\r\n{}\r\n", cookie(&session(&answer)));
    assert_eq!(secured.ask(&get).text(), "the service");
    // In the open everybody is sent there, before a password is asked for.
    assert_eq!(router.client().get_with("/", READER).status, 308);
    assert_eq!(fill_in(&router, "password=secret").status, 308);
}
