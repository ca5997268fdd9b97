//! What becomes of a request, and how it is told.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use hyper::{Response, StatusCode};
use kennel_core::{BuildId, TokenName};
use kennel_webhook::respond;
use serde::Serialize;

use crate::build_view::BuildView;
use crate::route::Route;
use crate::say;

/// Seconds until what cannot be read may be readable: the dispatcher has come by then.
const RETRY_SECS: HeaderValue = HeaderValue::from_static("5");

/// A request was answered.
pub(crate) type Outcome = Result<Done, Refused>;

/// It was done.
#[derive(Debug)]
pub(crate) enum Done {
    /// Builds can be read.
    Healthy,
    /// This is the build, ended if that was asked for.
    Build(Box<BuildView>),
    /// These are the router's figures.
    Metrics(Bytes),
    /// The wish is kept, and the build has not ended yet.
    Wished(Box<BuildView>),
}

/// It was not.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Nothing of the API.
    NotFound,
    /// Another method than this has.
    WrongMethod(Route),
    /// No token was sent.
    NoToken,
    /// What was sent is no token that counts.
    BadToken,
    /// No such build, or one of another project: who asks is not told which.
    NoBuild(Option<BuildId>),
    /// The token, of the build's project, allows less.
    MayOnlyRead(TokenName),
    /// The token is for builds.
    NotForMetrics(TokenName),
    /// The router does not tell its figures.
    RouterSilent,
    /// The build has ended already, or did so by itself; in words.
    Ended(String),
    /// A database cannot be used.
    Unavailable,
}

#[derive(Debug, Serialize)]
struct Health {
    healthy: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

#[derive(Debug, Serialize)]
struct Error {
    error: String,
}

pub(crate) fn response(route: Option<Route>, outcome: &Outcome) -> Response<Full<Bytes>> {
    match outcome {
        Ok(Done::Healthy) => respond(StatusCode::OK, &Health { healthy: true, error: None }),
        Ok(Done::Build(build)) => respond(StatusCode::OK, build),
        Ok(Done::Metrics(text)) => metrics(text.clone()),
        Ok(Done::Wished(build)) => respond(StatusCode::ACCEPTED, build),
        Err(refused) => refused.response(route),
    }
}

/// As the router tells them.
fn metrics(text: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(text));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

impl Refused {
    fn response(&self, route: Option<Route>) -> Response<Full<Bytes>> {
        let error = self.sentence();
        let status = self.status();
        let mut response = if route == Some(Route::Health) {
            respond(status, &Health { healthy: false, error: Some(error) })
        } else {
            respond(status, &Error { error })
        };
        let headers = response.headers_mut();
        match self {
            Self::WrongMethod(route) => {
                headers.insert(ALLOW, HeaderValue::from_static(route.methods()));
            }
            // RFC 6750 §3: an error is named only where a token was sent.
            Self::NoToken => {
                let challenge = HeaderValue::from_static("Bearer realm=\"kennel\"");
                headers.insert(WWW_AUTHENTICATE, challenge);
            }
            Self::BadToken => {
                let challenge = "Bearer realm=\"kennel\", error=\"invalid_token\"";
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Self::MayOnlyRead(_) | Self::NotForMetrics(_) => {
                let challenge = "Bearer realm=\"kennel\", error=\"insufficient_scope\"";
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
            Self::Unavailable | Self::RouterSilent => {
                headers.insert(RETRY_AFTER, RETRY_SECS);
            }
            Self::NotFound | Self::NoBuild(_) | Self::Ended(_) => {}
        }
        response
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::NoBuild(_) => StatusCode::NOT_FOUND,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::NoToken | Self::BadToken => StatusCode::UNAUTHORIZED,
            Self::MayOnlyRead(_) | Self::NotForMetrics(_) => StatusCode::FORBIDDEN,
            Self::Ended(_) => StatusCode::CONFLICT,
            Self::Unavailable | Self::RouterSilent => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::NotFound => say::not_found(),
            Self::WrongMethod(route) => say::wrong_method(route.methods()),
            Self::NoToken => say::no_token(),
            Self::BadToken => say::bad_token(),
            Self::NoBuild(id) => say::no_build(*id),
            Self::MayOnlyRead(token) => say::may_only_read(token),
            Self::Ended(sentence) => sentence.clone(),
            Self::NotForMetrics(token) => say::not_for_metrics(token),
            Self::RouterSilent => say::router_silent(),
            Self::Unavailable => say::unavailable(),
        }
    }
}
