//! What a site says itself: its `_redirects` and `_headers`, made ready when it is indexed.
//!
//! A site without them is asked for no rule.

use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue, VARY};
use hyper::{HeaderMap, StatusCode};
use kennel_core::{PathPattern, Redirect, RuleAction, SiteRules};

/// The rules of a site.
#[derive(Debug)]
pub(super) struct Rules {
    redirects: Vec<Redirect>,
    is_forced: bool,
    fields: Vec<(PathPattern, Vec<(HeaderName, HeaderValue)>)>,
}

/// What a rule makes of a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The browser is sent there.
    To(StatusCode, String),
    /// This path answers instead.
    Rewritten(String),
    /// This path answers instead, with status 404.
    NotFound(String),
}

impl Rules {
    /// None if there is nothing to look at.
    pub(super) fn new(rules: SiteRules) -> Option<Box<Self>> {
        if rules.is_empty() {
            return None;
        }
        let fields = rules.headers.into_iter().map(|rule| {
            let fields = rule.fields.iter().filter_map(|(name, value)| {
                Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
            });
            (rule.path, fields.collect())
        });
        Some(Box::new(Self {
            is_forced: rules.redirects.iter().any(|rule| rule.force),
            redirects: rules.redirects,
            fields: fields.collect(),
        }))
    }

    /// What comes before the site's files.
    pub(super) fn before(&self, key: &str) -> Option<Turn> {
        if self.is_forced { self.turn(key, |rule| rule.force) } else { None }
    }

    /// What comes where the site has no file.
    pub(super) fn instead(&self, key: &str) -> Option<Turn> {
        self.turn(key, |_| true)
    }

    fn turn(&self, key: &str, counts: impl Fn(&Redirect) -> bool) -> Option<Turn> {
        self.redirects.iter().filter(|rule| counts(rule)).find_map(|rule| {
            let captures = rule.from.captures(key)?;
            match rule.action {
                RuleAction::Redirect(status) => {
                    let status = StatusCode::from_u16(status).ok()?;
                    Some(Turn::To(status, rule.to.address(&captures)?))
                }
                RuleAction::Rewrite => Some(Turn::Rewritten(rule.to.path(&captures))),
                RuleAction::NotFound => Some(Turn::NotFound(rule.to.path(&captures))),
            }
        })
    }

    /// Gives an answer its fields. They take the place of the router's own, but for `Vary`.
    pub(super) fn describe(&self, key: &str, status: StatusCode, headers: &mut HeaderMap) {
        let fields = || {
            let rules = self.fields.iter().filter(|(path, _)| path.matches(key));
            // What is not there now may be there with the next deployment.
            let kept =
                move |name: &HeaderName| *name != CACHE_CONTROL || status != StatusCode::NOT_FOUND;
            rules.flat_map(|(_, fields)| fields).filter(move |(name, _)| kept(name))
        };
        for (name, _) in fields().filter(|(name, _)| *name != VARY) {
            headers.remove(name);
        }
        for (name, value) in fields() {
            headers.append(name.clone(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(redirects: &str, headers: &str) -> Box<Rules> {
        let mut rules = SiteRules::default();
        assert_eq!(rules.read(SiteRules::REDIRECTS, redirects.as_bytes()).unwrap(), []);
        assert_eq!(rules.read(SiteRules::HEADERS, headers.as_bytes()).unwrap(), []);
        Rules::new(rules).unwrap()
    }

    #[test]
    fn the_first_that_matches_counts() {
        let rules = rules("/a /b\n/a /c\n/x/* /:splat 302\n/x/* /y\n/f /g 200!\n/* /404 404", "");
        let to = |status, address: &str| Some(Turn::To(status, address.into()));
        assert_eq!(rules.instead("a"), to(StatusCode::MOVED_PERMANENTLY, "/b"));
        assert_eq!(rules.instead("x/1"), to(StatusCode::FOUND, "/1"));
        // The first would lead to another host.
        assert_eq!(rules.instead("x//1"), to(StatusCode::MOVED_PERMANENTLY, "/y"));
        assert_eq!(rules.instead("z"), Some(Turn::NotFound("404".into())));
        assert_eq!(rules.before("a"), None);
        assert_eq!(rules.before("f"), Some(Turn::Rewritten("g".into())));
    }

    #[test]
    fn fields_replace_the_routers_and_add_up() {
        let text = "/*\nCache-Control: no-store\nX-A: 1\nVary: Origin\n/a\nX-A: 2";
        let rules = rules("", text);
        let described = |key, status| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
            rules.describe(key, status, &mut headers);
            let mut all: Vec<String> = Vec::new();
            for (name, value) in &headers {
                all.push(format!("{name}: {}", value.to_str().unwrap()));
            }
            all.sort_unstable();
            all.join("; ")
        };
        assert_eq!(
            described("a", StatusCode::OK),
            "cache-control: no-store; vary: Origin; vary: accept-encoding; x-a: 1; x-a: 2"
        );
        assert_eq!(
            described("b", StatusCode::NOT_FOUND),
            "cache-control: no-cache; vary: Origin; vary: accept-encoding; x-a: 1"
        );
    }
}
