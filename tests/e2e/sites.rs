//! A static site as browsers get it: forms, caches, clean addresses.

use kennel_tests::{Answer, Ask, Kennel, LIMIT, Result, ensure, expect_failure};

pub(crate) fn as_browsers_ask(kennel: &Kennel) -> Result<()> {
    let project = kennel.project("browsed")?;
    let host = project.address("web", "main");
    let sources = kennel
        .sources()
        .site("web", "as browsers ask")
        .file("sites/web/about.html", "<h1>about</h1>")
        .file("sites/web/assets/app.4b5c6d7e.js", "a script as it is written")
        .file("sites/web/assets/app.4b5c6d7e.js.br", "made smaller");
    let rules = "/old/* /about 302\n/alias /about 200\n";
    let sources = sources
        .file("sites/web/_redirects", rules)
        .file("sites/web/_headers", "/about\n  X-Frame-Options: DENY\n  Cache-Control: no-store\n");
    project.push("main", &sources, "a site")?;
    kennel.expect_page(&host, "/", "as browsers ask", LIMIT)?;
    kennel.expect_page(&host, "/about", "<h1>about</h1>", LIMIT)?;

    // What the build has compressed goes to who takes it, with a tag of its own.
    let script = "/assets/app.4b5c6d7e.js";
    let plain = kennel.get(&host, script)?;
    let ask = Ask::get(&host, script).header("accept-encoding", "gzip;q=0.9, br");
    let coded = kennel.ask(&ask)?;
    ensure!(plain.text() == "a script as it is written", "{plain:?}");
    ensure!(coded.text() == "made smaller", "{coded:?}");
    expect_field(&coded, "content-encoding", "br")?;
    expect_field(&coded, "vary", "accept-encoding")?;
    expect_field(&plain, "vary", "accept-encoding")?;
    ensure!(coded.header("etag") != plain.header("etag"), "two forms have one tag: {coded:?}");
    let tag = coded.header("etag").unwrap_or_default();
    let again = kennel.ask(&ask.header("if-none-match", tag))?;
    ensure!(again.status == 304, "what is unchanged is sent again: {again:?}");

    // What is named after its contents is asked for once, a page each time.
    expect_field(&coded, "cache-control", "public, max-age=31536000, immutable")?;
    expect_field(&kennel.get(&host, "/")?, "cache-control", "no-cache")?;

    // What the site says itself.
    let sent = kennel.get(&host, "/old/page?x=1")?;
    ensure!(sent.status == 302, "{sent:?}");
    expect_field(&sent, "location", "/about?x=1")?;
    ensure!(kennel.get(&host, "/alias")?.text() == "<h1>about</h1>", "a rewrite is none");
    ensure!(kennel.get(&host, "/_headers")?.status == 404, "the rules are served");
    let about = kennel.get(&host, "/about")?;
    expect_field(&about, "x-frame-options", "DENY")?;
    expect_field(&about, "cache-control", "no-store")?;

    // A page that is open while a new version takes over still finds its parts, for the drain.
    let next = sources
        .clone()
        .site("web", "the next version")
        .without("sites/web/assets/app.4b5c6d7e.js")
        .without("sites/web/assets/app.4b5c6d7e.js.br");
    project.push("main", &next, "another script")?;
    kennel.expect_page(&host, "/", "the next version", LIMIT)?;
    let open = kennel.get(&host, script)?;
    ensure!(open.text() == "a script as it is written", "an open page lost its script: {open:?}");
    kennel.wait_for("end of the old script", LIMIT, || {
        let answer = kennel.get(&host, script)?;
        ensure!(answer.status == 404, "it answers {}", answer.status);
        Ok(Some(()))
    })?;

    // A rule that nobody would keep is told before it serves, and what serves stays.
    let wrong = sources
        .file("sites/web/_redirects", format!("{rules}/api/* https://api.example/:splat 200\n"));
    let pushed = project.push("main", &wrong, "pass requests on")?;
    let words = ["_redirects:3: `https://api.example/:splat` is another host"];
    expect_failure(kennel, &project, "web", &pushed.after, &words)?;
    ensure!(kennel.get(&host, "/alias")?.text() == "<h1>about</h1>", "the failed one took over");
    Ok(())
}

fn expect_field(answer: &Answer, name: &str, value: &str) -> Result<()> {
    ensure!(answer.header(name) == Some(value), "{name} is not {value:?}: {answer:?}");
    Ok(())
}
