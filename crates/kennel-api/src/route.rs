//! What a request's address asks for.

use hyper::Method;
use kennel_core::BuildId;

/// One thing that the API does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Route {
    /// `GET /health`.
    Health,
    /// `GET /metrics`.
    Metrics,
    /// `GET /api/v1/builds/<id>`; none if that is no number of a build.
    Build(Option<BuildId>),
    /// `POST /builds/<id>/cancel`.
    Cancel(Option<BuildId>),
}

impl Route {
    /// What the path stands for, whatever the method.
    pub(crate) fn of(path: &str) -> Option<Self> {
        if path == "/health" {
            return Some(Self::Health);
        }
        if path == "/metrics" {
            return Some(Self::Metrics);
        }
        if let Some(id) = path.strip_prefix("/api/v1/builds/") {
            return segment(id).map(Self::Build);
        }
        let id = path.strip_prefix("/builds/")?.strip_suffix("/cancel")?;
        segment(id).map(Self::Cancel)
    }

    /// The methods that it has, as `Allow` has them (RFC 9110 §10.2.1).
    pub(crate) fn methods(self) -> &'static str {
        match self {
            Self::Health | Self::Metrics | Self::Build(_) => "GET, HEAD",
            Self::Cancel(_) => "POST",
        }
    }

    pub(crate) fn has(self, method: &Method) -> bool {
        self.methods().split(", ").any(|known| method == known)
    }
}

/// None if it is not one segment of a path.
fn segment(id: &str) -> Option<Option<BuildId>> {
    (!id.is_empty() && !id.contains('/')).then(|| id.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_their_methods() {
        let build = Some(BuildId::from_row(42));
        assert_eq!(Route::of("/health"), Some(Route::Health));
        assert_eq!(Route::of("/metrics"), Some(Route::Metrics));
        assert_eq!(Route::of("/api/v1/builds/42"), Some(Route::Build(build)));
        assert_eq!(Route::of("/builds/42/cancel"), Some(Route::Cancel(build)));
        assert_eq!(Route::of("/builds/latest/cancel"), Some(Route::Cancel(None)));
        assert_eq!(Route::of("/api/v1/builds/-1"), Some(Route::Build(None)));
        for path in [
            "/",
            "/health/",
            "/metrics/",
            "/api/v1/builds",
            "/api/v1/builds/",
            "/api/v1/builds/4/2",
            "/builds/42",
            "/builds//cancel",
            "/builds/cancel",
            "/builds/4/2/cancel",
            "/webhook/site",
        ] {
            assert_eq!(Route::of(path), None, "{path}");
        }
        assert!(Route::Health.has(&Method::HEAD) && !Route::Health.has(&Method::POST));
        assert!(Route::Cancel(build).has(&Method::POST) && !Route::Cancel(build).has(&Method::GET));
    }
}
