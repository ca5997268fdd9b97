//! Static sites, as a browser, a cache and an attacker see them.

use std::fs;
use std::os::unix::fs::symlink;

use crate::client::Answer;
use crate::host::{HASH, Router, site};

/// A site with a bit of everything, at a.example.
fn example(spa: bool) -> Router {
    let mut router = Router::boot();
    let root = router.store_path("web");
    fs::write(root.join("index.html"), "<h1>home</h1>").unwrap();
    fs::write(root.join("404.html"), "<h1>lost</h1>").unwrap();
    fs::write(root.join("app.js"), "let x = 1;").unwrap();
    fs::write(root.join("a b.txt"), "space").unwrap();
    fs::write(root.join("empty.css"), "").unwrap();
    fs::write(root.join(".env"), "SECRET=1").unwrap();
    fs::create_dir_all(root.join(".git")).unwrap();
    fs::write(root.join(".git/config"), "secret").unwrap();
    fs::create_dir_all(root.join(".well-known")).unwrap();
    fs::write(root.join(".well-known/security.txt"), "contact").unwrap();
    fs::create_dir_all(root.join("docs/bare")).unwrap();
    fs::write(root.join("docs/index.html"), "<h1>docs</h1>").unwrap();
    fs::write(root.join("docs/bare/x.txt"), "x").unwrap();
    fs::write(root.join("large.bin"), counting()).unwrap();
    router.publish(&[("a.example", &site("web", spa))]);
    router
}

/// A million bytes, no two pieces of which are the same.
fn counting() -> Vec<u8> {
    (0..=250).cycle().take(1_000_000).collect()
}

fn get(router: &Router, path: &str) -> Answer {
    router.client().get(path)
}

#[test]
fn files_folders_and_what_is_not_there() {
    let router = example(false);
    let mut table = String::new();
    for path in [
        "/",
        "/index.html",
        "/app.js",
        "/a%20b.txt",
        "/empty.css",
        "/?x=1",
        "/docs/",
        "/docs",
        "/docs?x=1",
        "/docs/bare",
        "/docs/bare/",
        "/docs/bare/x.txt",
        "/app.js/",
        "/nothing",
        "/.well-known/security.txt",
        "/.env",
        "/.git/config",
        "//",
        "//docs",
        "/docs//",
    ] {
        let answer = get(&router, path);
        let kind = answer.field("content-type").unwrap_or("-");
        let location = answer.field("location").unwrap_or("-");
        let start = answer.text().lines().next().unwrap_or("-").to_owned();
        table += &format!("{path} {} {kind} {location} {start}\n", answer.status);
    }
    insta::assert_snapshot!(table, @"
    / 200 text/html; charset=utf-8 - <h1>home</h1>
    /index.html 200 text/html; charset=utf-8 - <h1>home</h1>
    /app.js 200 text/javascript; charset=utf-8 - let x = 1;
    /a%20b.txt 200 text/plain; charset=utf-8 - space
    /empty.css 200 text/css; charset=utf-8 - -
    /?x=1 200 text/html; charset=utf-8 - <h1>home</h1>
    /docs/ 200 text/html; charset=utf-8 - <h1>docs</h1>
    /docs 308 - /docs/ -
    /docs?x=1 308 - /docs/?x=1 -
    /docs/bare 404 text/html; charset=utf-8 - <h1>lost</h1>
    /docs/bare/ 404 text/html; charset=utf-8 - <h1>lost</h1>
    /docs/bare/x.txt 200 text/plain; charset=utf-8 - x
    /app.js/ 404 text/html; charset=utf-8 - <h1>lost</h1>
    /nothing 404 text/html; charset=utf-8 - <h1>lost</h1>
    /.well-known/security.txt 200 text/plain; charset=utf-8 - contact
    /.env 404 text/html; charset=utf-8 - <h1>lost</h1>
    /.git/config 404 text/html; charset=utf-8 - <h1>lost</h1>
    // 404 text/html; charset=utf-8 - <h1>lost</h1>
    //docs 404 text/html; charset=utf-8 - <h1>lost</h1>
    /docs// 404 text/html; charset=utf-8 - <h1>lost</h1>
    ");
}

#[test]
fn fields_of_a_file() {
    let router = example(false);
    let mut head = get(&router, "/").head;
    head.retain(|line| !line.starts_with("date: "));
    head.sort_unstable();
    insta::assert_snapshot!(head.join("\n"), @r#"
    HTTP/1.1 200 OK
    accept-ranges: bytes
    cache-control: no-cache
    content-length: 13
    content-type: text/html; charset=utf-8
    etag: "b5f4ea2e4df5ee6b81b35f2fffa96056"
    x-content-type-options: nosniff
    "#);
}

#[test]
fn there_is_no_way_out() {
    let mut router = Router::boot();
    let root = router.store_path("web");
    let other = router.store_path("shared");
    let outside = router.dir().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret.txt"), "secret").unwrap();
    fs::write(other.join("style.css"), "shared").unwrap();
    fs::create_dir(other.join("fonts")).unwrap();
    fs::write(other.join("fonts/a.woff2"), "font").unwrap();
    fs::write(root.join("page.html"), "page").unwrap();
    symlink(outside.join("secret.txt"), root.join("file-out.txt")).unwrap();
    symlink(&outside, root.join("dir-out")).unwrap();
    symlink("/etc/passwd", root.join("passwd")).unwrap();
    symlink("../../outside/secret.txt", root.join("relative-out.txt")).unwrap();
    symlink(router.dir().join("store"), root.join("whole-store")).unwrap();
    symlink("nowhere", root.join("dangling")).unwrap();
    symlink(".", root.join("loop")).unwrap();
    symlink(other.join("style.css"), root.join("style.css")).unwrap();
    symlink(other.join("fonts"), root.join("fonts")).unwrap();
    router.publish(&[("a.example", &site("web", false))]);
    for inside in ["/page.html", "/style.css", "/fonts/a.woff2"] {
        assert_eq!(get(&router, inside).status, 200, "{inside}");
    }
    let escape = format!("/../{HASH}-shared/style.css");
    for out in [
        "/file-out.txt",
        "/dir-out/secret.txt",
        "/passwd",
        "/relative-out.txt",
        "/dangling",
        "/loop/page.html",
        "/whole-store/",
        "/../outside/secret.txt",
        "/..%2foutside/secret.txt",
        "/%2e%2e/outside/secret.txt",
        "/%2e%2e%2foutside%2fsecret.txt",
        "/..%5coutside",
        "/..\\x",
        "/%00",
        "/page.html%00.txt",
        "/./page.html",
        "/fonts/../page.html",
        "/%252e%252e/x",
        "/%ff",
        "/%",
        escape.as_str(),
    ] {
        let status = get(&router, out).status;
        assert!(status == 404 || status == 400, "{out}: {status}");
    }
}

#[test]
fn the_root_may_be_a_link_within_the_store_and_nowhere_else() {
    let mut router = Router::boot();
    let real = router.store_path("real");
    fs::write(real.join("index.html"), "real").unwrap();
    let store = router.dir().join("store");
    symlink(&real, store.join(format!("{HASH}-linked"))).unwrap();
    symlink("/etc", store.join(format!("{HASH}-out"))).unwrap();
    router.publish(&[("a.example", &site("linked", false)), ("b.example", &site("out", false))]);
    assert_eq!(get(&router, "/").text(), "real");
    let out = router.client().ask("GET /passwd HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!(out.status, 503);
}

#[test]
fn a_single_page_application_answers_navigations_only() {
    let router = example(true);
    let mut client = router.client();
    let mut ask = |path: &str, fields: &str| {
        let answer = client.get_with(path, fields);
        (answer.status, answer.text() == "<h1>home</h1>")
    };
    let home = (200, true);
    let lost = (404, false);
    assert_eq!(ask("/users/7", "Sec-Fetch-Mode: navigate\r\nAccept: */*\r\n"), home);
    assert_eq!(ask("/users/7", "Accept: text/html,*/*;q=0.8\r\n"), home);
    assert_eq!(ask("/docs/bare/", "Accept: text/html\r\n"), home);
    assert_eq!(ask("/users/7", "Sec-Fetch-Mode: cors\r\nAccept: text/html\r\n"), lost);
    assert_eq!(ask("/users/7", "Accept: application/json\r\n"), lost);
    assert_eq!(ask("/users/7", ""), lost);
    assert_eq!(ask("/missing.js", "Sec-Fetch-Mode: navigate\r\n"), lost);
    assert_eq!(ask("/docs/", "Accept: text/html\r\n"), (200, false));
}

#[test]
fn other_methods_are_not_allowed() {
    let router = example(true);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let answer = router
            .client()
            .ask(format!("{method} / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 2\r\n\r\nhi"));
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.field("allow"), Some("GET, HEAD"), "{method}");
    }
}

#[test]
fn head_is_get_without_its_body() {
    let router = example(false);
    for path in ["/", "/large.bin", "/docs", "/nothing"] {
        let get = router.client().get_with(path, "");
        let mut client = router.client();
        client
            .send(format!("HEAD {path} HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.status, get.status, "{path}");
        for field in ["content-length", "content-type", "etag", "location", "cache-control"] {
            assert_eq!(head.field(field), get.field(field), "{path} {field}");
        }
        assert!(client.is_at_end(), "{path}");
    }
}

#[test]
fn large_files_come_whole_and_in_parts() {
    let router = example(false);
    let whole = get(&router, "/large.bin");
    assert_eq!(whole.body.len(), 1_000_000);
    assert_eq!(whole.body, counting());
    let tag = whole.field("etag").unwrap().to_owned();
    let mut client = router.client();
    let mut ask = |fields: &str| client.get_with("/large.bin", fields);
    let part = ask("Range: bytes=100000-299999\r\n");
    assert_eq!(
        (part.status, part.field("content-range")),
        (206, Some("bytes 100000-299999/1000000"))
    );
    assert_eq!(part.body, whole.body[100_000..300_000]);
    let end = ask("Range: bytes=-5\r\n");
    assert_eq!((end.status, &end.body[..]), (206, &whole.body[999_995..]));
    let beyond = ask("Range: bytes=1000000-\r\n");
    assert_eq!((beyond.status, beyond.field("content-range")), (416, Some("bytes */1000000")));
    assert_eq!(ask(&format!("Range: bytes=0-9\r\nIf-Range: {tag}\r\n")).status, 206);
    assert_eq!(ask("Range: bytes=0-9\r\nIf-Range: \"other\"\r\n").status, 200);
    assert_eq!(ask(&format!("If-None-Match: {tag}\r\n")).status, 304);
}

#[test]
fn tags_change_with_the_contents_and_with_nothing_else() {
    let mut router = example(false);
    let tag = |router: &Router, path| get(router, path).field("etag").unwrap().to_owned();
    let (home, script, large) =
        (tag(&router, "/"), tag(&router, "/app.js"), tag(&router, "/large.bin"));
    let mut client = router.client();
    let unchanged = client.get_with("/", &format!("If-None-Match: \"x\", {home}\r\n"));
    assert_eq!((unchanged.status, unchanged.field("etag")), (304, Some(home.as_str())));

    // The next version: same script, same size of the page, all times the same as in the store.
    let next = router.store_path("web-2");
    fs::write(next.join("index.html"), "<h1>HOME</h1>").unwrap();
    fs::write(next.join("app.js"), "let x = 1;").unwrap();
    fs::write(next.join("large.bin"), vec![1; 1_000_000]).unwrap();
    router.publish(&[("a.example", &site("web-2", false))]);
    assert_ne!(tag(&router, "/"), home);
    assert_eq!(tag(&router, "/app.js"), script);
    assert_ne!(tag(&router, "/large.bin"), large);
    assert_eq!(client.get_with("/", &format!("If-None-Match: {home}\r\n")).text(), "<h1>HOME</h1>");
    assert_eq!(get(&router, "/").field("last-modified"), None);
}

#[test]
fn memory_is_bounded_and_what_does_not_fit_is_served_all_the_same() {
    let mut limits = crate::host::short();
    limits.memory = 100_000;
    let mut router = Router::boot_with(limits, |_| ());
    let root = router.store_path("web");
    for n in 0..40 {
        fs::write(root.join(format!("{n}.txt")), vec![b'a' + (n % 26); 10_000]).unwrap();
    }
    router.publish(&[("a.example", &site("web", false))]);
    let mut client = router.client();
    for _ in 0..3 {
        for n in 0..40_u8 {
            let answer = client.get(&format!("/{n}.txt"));
            assert_eq!(answer.body, vec![b'a' + (n % 26); 10_000]);
        }
    }
}

#[test]
fn a_missing_root_is_said_and_costs_nobody_else() {
    let mut router = example(false);
    router.publish(&[("a.example", &site("web", false)), ("b.example", &site("gone", false))]);
    assert_eq!(get(&router, "/").status, 200);
    let gone = router.client().ask("GET / HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!((gone.status, gone.field("retry-after")), (503, Some("2")));
}
