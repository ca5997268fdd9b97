use super::*;

fn problems(file: &'static str, text: &str) -> String {
    let problems = SiteRules::default().read(file, text.as_bytes()).unwrap();
    problems.iter().map(|problem| format!("{problem}\n")).collect()
}

/// Where a request for `path` is sent by one rule.
fn sent(rule: &str, path: &str) -> Option<String> {
    let mut rules = SiteRules::default();
    assert_eq!(rules.read(SiteRules::REDIRECTS, rule.as_bytes()).unwrap(), [], "{rule}");
    let rule = rules.redirects.first().unwrap();
    let captures = rule.from.captures(path)?;
    match rule.action {
        RuleAction::Redirect(_) => rule.to.address(&captures),
        RuleAction::Rewrite | RuleAction::NotFound => Some(rule.to.path(&captures)),
    }
}

#[test]
fn rules_send_where_they_say() {
    for (rule, path, to) in [
        ("/old /new", "old", Some("/new")),
        ("/old/ /new", "old", Some("/new")),
        ("/old /new", "old/", Some("/new")),
        ("/old /new", "older", None),
        ("/old /new", "old/er", None),
        ("/ /home", "", Some("/home")),
        ("/ /home", "x", None),
        ("/caf%C3%A9 /coffee", "café", Some("/coffee")),
        ("/news/* /blog/:splat 302", "news/2026/x y", Some("/blog/2026/x%20y")),
        ("/news/* /blog/:splat", "news", Some("/blog/")),
        ("/news/* /blog/:splat", "newspaper", None),
        ("/n/:year/:slug /b?y=:year&s=:slug", "n/2026/a&b=c", Some("/b?y=2026&s=a%26b%3Dc")),
        ("/n/:year/:month /b/:year-:month.html 200", "n/2026/11", Some("b/2026-11.html")),
        ("/n/:year /b", "n/", None),
        ("/n/:year /b", "n/1/2", None),
        ("/x/* https://other.example:8443/:splat", "x/a", Some("https://other.example:8443/a")),
        ("/x https://other.example # with a reason", "x", Some("https://other.example")),
        ("/* /index.html 200", "a/b", Some("index.html")),
        ("/en/* /en/404%20x.html 404!", "en/a", Some("en/404 x.html")),
        // No rule names another host because a request does.
        ("/* /:splat", "/evil.example", None),
        ("/a/* /:splat", "a//evil.example", None),
        ("/a/* /:splat", "a/\r\nx: y", Some("/%0D%0Ax%3A%20y")),
    ] {
        assert_eq!(sent(rule, path).as_deref(), to, "{rule} {path}");
    }
}

#[test]
fn what_is_no_redirect_is_told_by_its_line() {
    let text = "\
# fine
/a /b 301!

/a
a /b
/a b
/a //evil.example
/a https:///x
/a/* https://:splat/x
/a https://user@other.example/
/proxy/* https://other.example/:splat 200
/a /b 418
/a /b 301 Country=nl
/a id=:id /b
http://old.example/* /b
/a/*/b /c
/a* /c
/*.js /c
/:a/:a /c
/a /:b
/a?x=1 /b
/a /b?x=1 200
/../x /b
/a /b\"c
/a /ü
";
    insta::assert_snapshot!(problems(SiteRules::REDIRECTS, text), @r#"
    _redirects:4: `/a` is no rule; write `/from /to`, and a status if it is not 301
    _redirects:5: `a` does not begin with `/`
    _redirects:6: `b` is neither a path nor an address with http(s)://
    _redirects:7: `//evil.example` is neither a path nor an address with http(s)://
    _redirects:8: `https:///x` has no plain host name
    _redirects:9: `https://:splat/x` has no plain host name
    _redirects:10: `https://user@other.example/` has no plain host name
    _redirects:11: `https://other.example/:splat` is another host, and Kennel passes no request on to one; redirect with 301, 302, 303, 307 or 308
    _redirects:12: `418` is not known; a rule ends with 200, 301, 302, 303, 307, 308 or 404, and `!` where it counts before the site's files
    _redirects:13: `Country=nl` is not known: nothing follows the status
    _redirects:14: `id=:id`: rules by query are not known; the query is passed on as it is
    _redirects:15: `http://old.example/*` has a host, and a site's rules are for its paths alone
    _redirects:16: `/a/*/b` has `*` elsewhere than as its last part
    _redirects:17: `/a*` has `*` elsewhere than as its last part
    _redirects:18: `*` stands for the rest of a path, and nothing can follow it
    _redirects:19: `/:a/:a` has `:a` twice
    _redirects:20: `:b` stands for nothing in the rule's path
    _redirects:21: `/a?x=1` is no path: it has `?`, `#` or `\`
    _redirects:22: `/b?x=1` is no file: it has `?` or `#`
    _redirects:23: `/../x` is the path of nothing
    _redirects:24: `/b"c` must be percent-encoded
    _redirects:25: `/ü` must be percent-encoded
    "#);
}

#[test]
fn fields_are_for_the_paths_above_them() {
    let text = "\
# all
/*
  X-Frame-Options: DENY
  Content-Security-Policy: default-src 'self'; img-src *
/assets/*.js
Cache-Control : public, max-age=60
";
    let mut rules = SiteRules::default();
    assert_eq!(rules.read(SiteRules::HEADERS, text.as_bytes()).unwrap(), []);
    let under = |path: &str| -> Vec<&str> {
        let rules = rules.headers.iter().filter(|rule| rule.path.matches(path));
        rules.flat_map(|rule| &rule.fields).map(|(name, _)| name.as_str()).collect()
    };
    assert_eq!(under(""), ["x-frame-options", "content-security-policy"]);
    assert_eq!(
        under("assets/a/b.js"),
        ["x-frame-options", "content-security-policy", "cache-control"]
    );
    assert_eq!(under("assets/a.css"), ["x-frame-options", "content-security-policy"]);
}

#[test]
fn what_is_no_field_is_told_by_its_line() {
    let text = "\
X-Early: 1
/a
  Content-Length: 3
  Transfer-Encoding: chunked
  CONNECTION: close
  Set-Cookie: a=b
  X Y: 1
  : 1
  X-Empty:
  X-Text: ü
  X-Control: a\u{1}b
  X-Return: a\rb: c
  nothing
https://other.example/*
  X-Fine: 1
/b/*/c
";
    insta::assert_snapshot!(problems(SiteRules::HEADERS, text), @r#"
    _headers:1: `X-Early: 1` stands before any path
    _headers:3: `content-length` is the router's to say, and not a site's
    _headers:4: `transfer-encoding` is the router's to say, and not a site's
    _headers:5: `connection` is the router's to say, and not a site's
    _headers:6: `set-cookie` is the router's to say, and not a site's
    _headers:7: `x y` is not the name of a field
    _headers:8: `` is not the name of a field
    _headers:9: the value of `x-empty` is empty or has more than printable ASCII
    _headers:10: the value of `x-text` is empty or has more than printable ASCII
    _headers:11: the value of `x-control` is empty or has more than printable ASCII
    _headers:12: the value of `x-return` is empty or has more than printable ASCII
    _headers:13: `nothing` is neither a path nor a field such as `X-Frame-Options: DENY`
    _headers:14: `https://other.example/*` does not begin with `/`
    _headers:16: `/b/*/c` has `*` elsewhere than as its last part
    "#);
    let mut rules = SiteRules::default();
    rules.read(SiteRules::HEADERS, text.as_bytes()).unwrap();
    assert_eq!(rules.headers, [], "a field of a path that is none went to another");
}

#[test]
fn there_are_only_so_many() {
    let text = "/a /b\n".repeat(SiteRules::MOST_RULES + 1);
    insta::assert_snapshot!(
        problems(SiteRules::REDIRECTS, &text),
        @"_redirects: it has 1001 rules, and 1000 are the most"
    );
}

proptest::proptest! {
    #[test]
    fn whatever_a_site_says_no_answer_is_split(text in "[/a:*#=!\\- \t\r\n301X?%.ü\u{0}]{0,60}") {
        let mut rules = SiteRules::default();
        rules.read(SiteRules::HEADERS, text.as_bytes()).unwrap();
        for (name, value) in rules.headers.iter().flat_map(|rule| &rule.fields) {
            proptest::prop_assert!(!name.is_empty() && !value.bytes().any(|b| b != b'\t' && b.is_ascii_control()));
        }
        rules.read(SiteRules::REDIRECTS, text.as_bytes()).unwrap();
        for rule in &rules.redirects {
            let Some(captures) = rule.from.captures("a/a\r\nb") else { continue };
            let address = rule.to.address(&captures).unwrap_or_default();
            proptest::prop_assert!(address.bytes().all(|b| b.is_ascii_graphic()), "{}", address);
        }
    }
}
