//! Static sites, as a browser, a cache and an attacker see them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::time::Instant;

use crate::client::Answer;
use crate::host::{HASH, PATIENCE, Router, site};

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
    fs::write(root.join("docs/bare.html"), "<h1>bare</h1>").unwrap();
    fs::write(root.join("about.html"), "<h1>about</h1>").unwrap();
    fs::create_dir(root.join("assets")).unwrap();
    fs::write(root.join("assets/main.3f9c2a71.js"), "main()").unwrap();
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
        "/about",
        "/about.html",
        "/about/",
        "/about?x=1",
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
    /docs/bare 200 text/html; charset=utf-8 - <h1>bare</h1>
    /docs/bare/ 404 text/html; charset=utf-8 - <h1>lost</h1>
    /docs/bare/x.txt 200 text/plain; charset=utf-8 - x
    /about 200 text/html; charset=utf-8 - <h1>about</h1>
    /about.html 200 text/html; charset=utf-8 - <h1>about</h1>
    /about/ 404 text/html; charset=utf-8 - <h1>lost</h1>
    /about?x=1 200 text/html; charset=utf-8 - <h1>about</h1>
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
fn only_what_is_named_after_its_contents_is_kept_unasked() {
    let router = example(true);
    let mut client = router.client();
    let mut kept = |path: &str| {
        let answer = client.get_with(path, "Accept: text/html\r\n");
        answer.field("cache-control").unwrap().to_owned()
    };
    for path in ["/", "/app.js", "/large.bin", "/docs", "/users/7", "/assets/gone.3f9c2a71.js"] {
        assert_eq!(kept(path), "no-cache", "{path}");
    }
    assert_eq!(kept("/assets/main.3f9c2a71.js"), "public, max-age=31536000, immutable");
}

/// A site whose build has compressed some files. What the siblings hold is not looked at.
fn compressed() -> Router {
    let mut router = Router::boot();
    let root = router.store_path("web");
    for (name, contents) in [
        ("app.js", "plain plain plain plain"),
        ("app.js.br", "brotli"),
        ("app.js.zst", "zstandard"),
        ("app.js.gz", "gzipped file"),
        ("style.css", "plain"),
        ("style.css.br", "brotli, larger than plain"),
        ("404.html", "not here, not here"),
        ("404.html.gz", "gzipped 404"),
        ("alone.gz", "an archive"),
        ("font.dat", "font"),
    ] {
        fs::write(root.join(name), contents).unwrap();
    }
    fs::write(root.join("large.csv"), counting()).unwrap();
    fs::write(root.join("large.csv.gz"), &counting()[1..400_001]).unwrap();
    fs::create_dir(root.join("font.dat.br")).unwrap();
    router.publish(&[("a.example", &site("web", false))]);
    router
}

#[test]
fn siblings_are_chosen_by_what_a_client_takes() {
    let router = compressed();
    let mut table = String::new();
    for (path, fields) in [
        ("/app.js", ""),
        ("/app.js", "Accept-Encoding: gzip, deflate, br, zstd\r\n"),
        ("/app.js", "Accept-Encoding: gzip\r\nAccept-Encoding: zstd\r\n"),
        ("/app.js", "Accept-Encoding: br;q=0.5, gzip\r\n"),
        ("/app.js", "Accept-Encoding: br;q=0, *\r\n"),
        ("/app.js", "Accept-Encoding: identity, *;q=0.1\r\n"),
        ("/app.js", "Accept-Encoding: identity;q=0\r\n"),
        ("/style.css", "Accept-Encoding: br\r\n"),
        ("/font.dat", "Accept-Encoding: br\r\n"),
        ("/nothing", "Accept-Encoding: gzip\r\n"),
        ("/nothing", ""),
        ("/alone.gz", "Accept-Encoding: gzip\r\n"),
        ("/app.js.br", "Accept-Encoding: br\r\n"),
    ] {
        let answer = router.client().get_with(path, fields);
        let field = |name| answer.field(name).unwrap_or("-");
        let (coding, vary, kind) =
            (field("content-encoding"), field("vary"), field("content-type"));
        let wish = fields.replace("Accept-Encoding: ", "").trim_end().replace("\r\n", " + ");
        table += &format!("{path} [{wish}] {coding} {vary} {kind}: {}\n", answer.text());
    }
    insta::assert_snapshot!(table, @"
    /app.js [] - accept-encoding text/javascript; charset=utf-8: plain plain plain plain
    /app.js [gzip, deflate, br, zstd] br accept-encoding text/javascript; charset=utf-8: brotli
    /app.js [gzip + zstd] zstd accept-encoding text/javascript; charset=utf-8: zstandard
    /app.js [br;q=0.5, gzip] gzip accept-encoding text/javascript; charset=utf-8: gzipped file
    /app.js [br;q=0, *] zstd accept-encoding text/javascript; charset=utf-8: zstandard
    /app.js [identity, *;q=0.1] - accept-encoding text/javascript; charset=utf-8: plain plain plain plain
    /app.js [identity;q=0] - accept-encoding text/javascript; charset=utf-8: plain plain plain plain
    /style.css [br] - - text/css; charset=utf-8: plain
    /font.dat [br] - - application/octet-stream: font
    /nothing [gzip] gzip accept-encoding text/html; charset=utf-8: gzipped 404
    /nothing [] - accept-encoding text/html; charset=utf-8: not here, not here
    /alone.gz [gzip] - - application/gzip: an archive
    /app.js.br [br] - - application/octet-stream: brotli
    ");
}

#[test]
fn each_form_of_a_file_has_its_own_tag_and_its_own_ranges() {
    let router = compressed();
    let mut client = router.client();
    for path in ["/app.js", "/large.csv"] {
        let mut ask = |fields: &str| client.get_with(path, fields);
        let coded = "Accept-Encoding: gzip, br\r\n";
        let tag = |answer: &Answer| answer.field("etag").unwrap().to_owned();
        let (plain, best) = (tag(&ask("")), tag(&ask(coded)));
        assert_ne!(plain, best, "{path}");
        // Each is unchanged only for who gets it.
        let unchanged = ask(&format!("{coded}If-None-Match: {best}\r\n"));
        assert_eq!(unchanged.status, 304, "{path}");
        assert_eq!(unchanged.field("vary"), Some("accept-encoding"), "{path}");
        assert_eq!(unchanged.field("etag"), Some(best.as_str()), "{path}");
        assert_eq!(ask(&format!("{coded}If-None-Match: {plain}\r\n")).status, 200, "{path}");
        assert_eq!(ask(&format!("If-None-Match: {best}\r\n")).status, 200, "{path}");
        // The rest of one is never the rest of another.
        let whole_coded = ask(coded).body;
        let part = ask(&format!("{coded}Range: bytes=2-4\r\nIf-Range: {best}\r\n"));
        assert_eq!((part.status, &part.body[..]), (206, &whole_coded[2..=4]), "{path}");
        assert!(part.field("content-encoding").is_some(), "{path}");
        let end = format!("bytes 2-4/{}", whole_coded.len());
        assert_eq!(part.field("content-range"), Some(end.as_str()), "{path}");
        let other = ask(&format!("{coded}Range: bytes=2-4\r\nIf-Range: {plain}\r\n"));
        assert_eq!((other.status, other.body), (200, whole_coded), "{path}");
        let other = ask(&format!("Range: bytes=2-4\r\nIf-Range: {best}\r\n"));
        assert_eq!((other.status, other.field("content-encoding")), (200, None), "{path}");
    }
}

/// Text that has something to pack, from a site that has nothing packed.
fn unpacked(router: &mut Router) -> String {
    let text = "all work and no play makes a dull site\n".repeat(1_000);
    let root = router.store_path("web");
    fs::write(root.join("page.html"), &text).unwrap();
    fs::write(root.join("large.json"), text.repeat(10)).unwrap();
    fs::write(root.join("short.txt"), "all work and no play").unwrap();
    fs::write(root.join("noise.txt"), noise()).unwrap();
    fs::write(root.join("photo.png"), &text).unwrap();
    router.publish(&[("a.example", &site("web", false))]);
    text
}

fn noise() -> Vec<u8> {
    let next = |n: &u64| Some(n.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
    std::iter::successors(Some(1), next).map(|n| n.to_be_bytes()[0]).take(5_000).collect()
}

/// Asks until the answer is packed.
fn packed(router: &Router, path: &str, coding: &str) -> Answer {
    let start = Instant::now();
    loop {
        let fields = format!("Accept-Encoding: {coding}\r\n");
        let answer = router.client().get_with(path, &fields);
        assert_eq!((answer.status, answer.field("vary")), (200, Some("accept-encoding")), "{path}");
        if let Some(field) = answer.field("content-encoding") {
            assert_eq!(field, coding, "{path}");
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{path} was never packed");
    }
}

#[test]
fn what_no_build_has_compressed_is_packed_here() {
    let mut router = Router::boot();
    let text = unpacked(&mut router);
    let ask = |path: &str, fields: &str| router.client().get_with(path, fields);
    // Nobody waits for it.
    let plain = ask("/page.html", "Accept-Encoding: gzip\r\n");
    assert_eq!((plain.field("content-encoding"), plain.text()), (None, text.as_str()));
    let gzip = packed(&router, "/page.html", "gzip");
    let mut out = String::new();
    flate2::read::GzDecoder::new(&gzip.body[..]).read_to_string(&mut out).unwrap();
    assert!(out == text);
    let brotli = packed(&router, "/large.json", "br");
    let mut out = Vec::new();
    brotli::BrotliDecompress(&mut &brotli.body[..], &mut out).unwrap();
    assert!(out == text.repeat(10).as_bytes());

    let tag = gzip.field("etag").unwrap();
    assert_ne!(Some(tag), plain.field("etag"));
    let unchanged =
        ask("/page.html", &format!("Accept-Encoding: gzip\r\nIf-None-Match: {tag}\r\n"));
    assert_eq!(unchanged.status, 304);
    // A part is a part of the file, and the rest of what was packed is the whole file.
    let range = "Accept-Encoding: gzip\r\nRange: bytes=3-9\r\n";
    let part = ask("/page.html", range);
    assert_eq!(
        (part.status, part.field("content-encoding"), part.text()),
        (206, None, &text[3..=9])
    );
    let rest = ask("/page.html", &format!("{range}If-Range: {tag}\r\n"));
    assert_eq!((rest.status, rest.field("content-encoding"), rest.text()), (200, None, &text[..]));
}

#[test]
fn what_cannot_be_made_smaller_is_sent_as_it_is() {
    let mut limits = crate::host::short();
    limits.memory = 0;
    let mut router = Router::boot_with(limits, |_| ());
    let text = unpacked(&mut router);
    let mut client = router.client();
    let mut ask = |path: &str| client.get_with(path, "Accept-Encoding: br, gzip\r\n");
    for (path, vary) in
        [("/short.txt", None), ("/photo.png", None), ("/noise.txt", Some("accept-encoding"))]
    {
        for _ in 0..20 {
            let answer = ask(path);
            assert_eq!((answer.field("content-encoding"), answer.field("vary")), (None, vary));
        }
    }
    // What no memory is left for, each time.
    for _ in 0..50 {
        let answer = ask("/page.html");
        assert!(answer.field("content-encoding").is_some() || answer.text() == text);
    }
}

/// A site with rules, at a.example.
fn ruled(redirects: &str, headers: &str) -> Router {
    let mut router = Router::boot();
    let root = router.store_path("web");
    fs::create_dir_all(root.join("en")).unwrap();
    for (name, contents) in [
        ("_redirects", redirects),
        ("_headers", headers),
        ("index.html", "home"),
        ("404.html", "lost"),
        ("en/404.html", "lost in English"),
        ("en/index.html", "English"),
        ("about.html", "about"),
        ("app.3f9c2a71.js", "script"),
        (".env", "SECRET=1"),
    ] {
        fs::write(root.join(name), contents).unwrap();
    }
    router.publish(&[("a.example", &site("web", true))]);
    router
}

#[test]
fn redirects_of_a_site() {
    let rules = "\
/old /about
/about /never
/news/* /blog/:splat 302
/home /en/?from=home 307
/away/* https://other.example/:splat 308
/app.js /app.3f9c2a71.js 200
/english /en 200
/secret /.env 200
/gone/* /nothing 404
/en/* /en/404.html 404
/forced/* /about 200!
/index.html /forced 303!
/same/* /same/x
/all/* /:splat
/bad /b 418
";
    let router = ruled(rules, "");
    let mut client = router.client();
    let mut table = String::new();
    for path in [
        "/old",
        "/old/?a=1&b",
        "/about",
        "/news/2026/a%20b?x",
        "/home?a=1",
        "/away/x",
        "/app.js",
        "/english",
        "/secret",
        "/gone/x",
        "/en/x",
        "/en/",
        "/forced/a/b",
        "/index.html",
        "/all/%2f/evil.example",
        "/all//evil.example",
        "/all//evil.example/%0d%0a",
        "/bad",
        "/_redirects",
        "/_headers",
        "/nowhere",
        "/same/y",
        "/same/x",
    ] {
        let answer = client.get(path);
        let field = |name| answer.field(name).unwrap_or("-");
        let start = answer.text().lines().next().unwrap_or("-");
        let (location, kept) = (field("location"), field("cache-control"));
        table += &format!("{path} {} {location} {kept} {start}\n", answer.status);
    }
    insta::assert_snapshot!(table, @"
    /old 301 /about no-cache -
    /old/?a=1&b 301 /about?a=1&b no-cache -
    /about 200 - no-cache about
    /news/2026/a%20b?x 302 /blog/2026/a%20b?x no-cache -
    /home?a=1 307 /en/?from=home no-cache -
    /away/x 308 https://other.example/x no-cache -
    /app.js 200 - no-cache script
    /english 200 - no-cache English
    /secret 404 - no-cache lost
    /gone/x 404 - no-cache lost
    /en/x 404 - no-cache lost in English
    /en/ 200 - no-cache English
    /forced/a/b 200 - no-cache about
    /index.html 303 /forced no-cache -
    /all/%2f/evil.example 400 - no-store <!doctype html>
    /all//evil.example 404 - no-cache lost
    /all//evil.example/%0d%0a 400 - no-store <!doctype html>
    /bad 404 - no-cache lost
    /_redirects 404 - no-cache lost
    /_headers 404 - no-cache lost
    /nowhere 404 - no-cache lost
    /same/y 301 /same/x no-cache -
    /same/x 404 - no-cache lost
    ");
}

#[test]
fn headers_of_a_site() {
    let rules = "\
/*
  X-Frame-Options: DENY
  X-Content-Type-Options: none
/about
  Cache-Control: public, max-age=60
  Content-Length: 999
  Set-Cookie: a=b
/*.js
  X-Script: yes
/nothing
  Cache-Control: public, max-age=60
";
    let router = ruled("", rules);
    let mut client = router.client();
    let mut table = String::new();
    for (path, fields) in [
        ("/", ""),
        ("/about", ""),
        ("/about", "If-None-Match: *\r\n"),
        ("/about", "Range: bytes=0-1\r\n"),
        ("/about", "Range: bytes=90-\r\n"),
        ("/app.3f9c2a71.js", ""),
        ("/nothing", ""),
        ("/en", ""),
    ] {
        let answer = client.get_with(path, fields);
        let shown = ["x-frame-options", "x-content-type-options", "cache-control", "x-script"];
        let shown = shown.map(|name| answer.field(name).unwrap_or("-")).join(" | ");
        assert_eq!(answer.field("set-cookie"), None, "{path}");
        table += &format!("{path} {}: {shown}\n", answer.status);
    }
    insta::assert_snapshot!(table, @"
    / 200: DENY | none | no-cache | -
    /about 200: DENY | none | public, max-age=60 | -
    /about 304: DENY | none | public, max-age=60 | -
    /about 206: DENY | none | public, max-age=60 | -
    /about 416: - | nosniff | no-store | -
    /app.3f9c2a71.js 200: DENY | none | public, max-age=31536000, immutable | yes
    /nothing 404: DENY | none | no-cache | -
    /en 308: - | - | no-cache | -
    ");
}

#[test]
fn an_open_page_finds_its_parts_until_the_drain_is_over() {
    let mut router = Router::boot();
    for (name, rest) in
        [("web-1", "/* /index.html 200\n"), ("web-2", "/* /index.html 200\n"), ("web-3", "")]
    {
        let root = router.store_path(name);
        fs::write(root.join("index.html"), format!("page of {name}")).unwrap();
        fs::write(root.join("_redirects"), rest).unwrap();
        fs::write(root.join(format!("{name}.html")), "another page").unwrap();
        fs::write(root.join(format!("{name}.3f9c2a71.js")), format!("script of {name}")).unwrap();
        fs::write(root.join("style.css"), format!("style of {name}")).unwrap();
    }
    let at = |name: &str, drain: u64| {
        site(name, false).replace('}', &format!(r#","drain_secs":{drain}}}"#))
    };
    router.publish(&[("a.example", &at("web-1", 60))]);
    router.publish(&[("a.example", &at("web-2", 60))]);
    let mut client = router.client();
    let mut got = |path: &str| client.get(path).text().to_owned();
    assert_eq!(got("/web-1.3f9c2a71.js"), "script of web-1");
    assert_eq!(got("/web-2.3f9c2a71.js"), "script of web-2");
    // What the new version has is the new version's, and so is every page.
    assert_eq!(got("/style.css"), "style of web-2");
    assert_eq!(got("/"), "page of web-2");
    assert_eq!(got("/web-1.html"), "page of web-2");
    // Tables that change nothing here change nothing of that, and one more version neither.
    router.publish(&[("a.example", &at("web-2", 60)), ("b.example", &at("web-1", 60))]);
    router.publish(&[("a.example", &at("web-3", 60))]);
    assert_eq!(got("/web-1.3f9c2a71.js"), "script of web-1");
    assert_eq!(got("/web-2.3f9c2a71.js"), "script of web-2");
    // Another host has no share in it.
    router.publish(&[("a.example", &at("web-3", 0)), ("b.example", &at("web-2", 0))]);
    let other = router.client().ask("GET /web-1.3f9c2a71.js HTTP/1.1\r\nHost: b.example\r\n\r\n");
    assert_eq!(other.text(), "page of web-2");
    // And then it is over, without another table.
    router.publish(&[("b.example", &at("web-3", 1))]);
    let start = Instant::now();
    let old = "GET /web-2.3f9c2a71.js HTTP/1.1\r\nHost: b.example\r\n\r\n";
    while router.client().ask(old).status != 404 {
        assert!(start.elapsed() < PATIENCE, "the drain is never over");
    }
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
