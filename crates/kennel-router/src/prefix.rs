//! The beginning of a path that a service is reached by and knows nothing of.

use hyper::Uri;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;

/// Widely used, registered by nobody: where the service's own paths begin for its visitors.
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// `/api`: one or more whole segments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Prefix(HeaderValue);

impl Prefix {
    /// None if it is no field's value, which a path of the table always is.
    pub(crate) fn new(prefix: &str) -> Option<Self> {
        HeaderValue::from_str(prefix.trim_end_matches('/')).ok().map(Self)
    }

    /// The path as the client wrote it, of what is left of one.
    pub(crate) fn before(&self, path: &str) -> String {
        format!("{}{path}", self.0.to_str().unwrap_or_default())
    }

    /// Takes it away from a request's path, which begins with it, and tells the service so.
    pub(crate) fn strip(&self, parts: &mut Parts) {
        let target = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let below = self.0.to_str().ok().and_then(|prefix| target.strip_prefix(prefix));
        let Some(below) = below else { return };
        let target = if below.starts_with('/') { below.to_owned() } else { format!("/{below}") };
        // What is left of a path is one.
        if let Ok(target) = PathAndQuery::try_from(target) {
            parts.uri = Uri::from(target);
            parts.headers.insert(X_FORWARDED_PREFIX, self.0.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    #[test]
    fn what_is_left_is_a_path() {
        let prefix = Prefix::new("/api").unwrap();
        let stripped = |uri: &str| {
            let (mut parts, ()) = Request::get(uri).body(()).unwrap().into_parts();
            prefix.strip(&mut parts);
            let told = parts.headers.get(X_FORWARDED_PREFIX).map(|it| it.to_str().unwrap());
            format!("{} {}", parts.uri, told.unwrap_or("-"))
        };
        assert_eq!(stripped("/api"), "/ /api");
        assert_eq!(stripped("/api/"), "/ /api");
        assert_eq!(stripped("/api?x=1"), "/?x=1 /api");
        assert_eq!(stripped("/api/v2//x?y=/api"), "/v2//x?y=/api /api");
        assert_eq!(stripped("/api//evil.example"), "//evil.example /api");
        assert_eq!(stripped("*"), "* -");
    }
}
