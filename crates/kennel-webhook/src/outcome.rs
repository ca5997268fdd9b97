//! What becomes of a request, and how it is told to the sender.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use kennel_core::EventId;
use serde::Serialize;

use crate::body::BodyError;
use crate::delivery_headers::HeaderError;
use crate::form::FormError;
use crate::limits::Limits;
use crate::say;
use crate::understand::Misunderstood;

/// Seconds until a refused delivery may succeed: longer than any write of Kennel's own takes.
const RETRY_SECS: HeaderValue = HeaderValue::from_static("10");

/// A request was answered.
pub(crate) type Outcome = Result<Accepted, Refused>;

/// The delivery is verified and understood.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// It is a row of the inbox, on disk.
    Queued { understood: String, event: EventId },
    /// A row says the same already.
    Duplicate { understood: String, event: EventId },
    /// There is nothing to do, and why.
    Ignored(String),
    /// The forge tried its hook.
    Ping,
}

/// The request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Not the address of a hook.
    NotFound,
    /// Not POST.
    WrongMethod,
    /// Its headers are not those of a delivery.
    Headers(HeaderError),
    /// Its body was not read.
    Body(BodyError),
    /// Its form has not one payload.
    Form(FormError),
    /// No such project, or a wrong signature; the sender is not told which.
    Unauthorized {
        /// For the journal: whether there is such a project.
        known_project: bool,
    },
    /// Verified, but not what such an event looks like.
    Misunderstood(Misunderstood),
    /// Verified and understood, and the inbox cannot be written.
    Unavailable,
}

impl From<HeaderError> for Refused {
    fn from(error: HeaderError) -> Self {
        Self::Headers(error)
    }
}

impl From<BodyError> for Refused {
    fn from(error: BodyError) -> Self {
        Self::Body(error)
    }
}

impl From<FormError> for Refused {
    fn from(error: FormError) -> Self {
        Self::Form(error)
    }
}

impl From<Misunderstood> for Refused {
    fn from(why: Misunderstood) -> Self {
        Self::Misunderstood(why)
    }
}

/// The JSON of an answer.
#[derive(Debug, Default, Serialize)]
struct Answer<'a> {
    accepted: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duplicate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    understood: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<EventId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

impl Accepted {
    /// The word in the journal.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Queued { .. } => "queued",
            Self::Duplicate { .. } => "duplicate",
            Self::Ignored(_) => "ignored",
            Self::Ping => "ping",
        }
    }

    pub(crate) fn sentence(&self) -> String {
        match self {
            Self::Queued { understood, .. } | Self::Duplicate { understood, .. } => {
                understood.clone()
            }
            Self::Ignored(why) => why.clone(),
            Self::Ping => say::ping(),
        }
    }

    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        let sentence = self.sentence();
        let answer = Answer { accepted: true, ..Answer::default() };
        let text = Some(sentence.as_str());
        match self {
            Self::Queued { event, .. } => respond(
                StatusCode::ACCEPTED,
                &Answer { understood: text, event: Some(*event), ..answer },
            ),
            Self::Duplicate { event, .. } => respond(
                StatusCode::OK,
                &Answer { duplicate: true, understood: text, event: Some(*event), ..answer },
            ),
            Self::Ignored(_) => respond(StatusCode::OK, &Answer { ignored: text, ..answer }),
            Self::Ping => respond(StatusCode::OK, &Answer { understood: text, ..answer }),
        }
    }
}

impl Refused {
    /// The word in the journal.
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::WrongMethod => "wrong_method",
            Self::Headers(_) => "bad_headers",
            Self::Body(BodyError::TooLarge) => "too_large",
            Self::Body(BodyError::TooSlow) => "too_slow",
            Self::Body(BodyError::Broken) => "broken_body",
            Self::Body(BodyError::NoMemory) => "no_memory",
            Self::Form(_) => "bad_form",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Misunderstood(_) => "misunderstood",
            Self::Unavailable => "unavailable",
        }
    }

    /// Whether the sender has shown that it holds the project's secret.
    pub(crate) fn is_verified(&self) -> bool {
        match self {
            Self::Misunderstood(_) | Self::Unavailable => true,
            Self::NotFound
            | Self::WrongMethod
            | Self::Headers(_)
            | Self::Body(_)
            | Self::Form(_)
            | Self::Unauthorized { .. } => false,
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Headers(HeaderError::NoEvent | HeaderError::NoSignature)
            | Self::Body(BodyError::Broken)
            | Self::Form(_)
            | Self::Misunderstood(_) => StatusCode::BAD_REQUEST,
            Self::Headers(HeaderError::OtherMedia | HeaderError::Compressed) => {
                StatusCode::UNSUPPORTED_MEDIA_TYPE
            }
            Self::Body(BodyError::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyError::TooSlow) => StatusCode::REQUEST_TIMEOUT,
            Self::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Self::Body(BodyError::NoMemory) | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    pub(crate) fn sentence(&self, limits: &Limits) -> String {
        match self {
            Self::NotFound => say::not_found(),
            Self::WrongMethod => say::wrong_method(),
            Self::Headers(HeaderError::NoEvent) => say::no_event(),
            Self::Headers(HeaderError::NoSignature) => say::no_signature(),
            Self::Headers(HeaderError::OtherMedia) => say::other_media(),
            Self::Headers(HeaderError::Compressed) => say::compressed(),
            Self::Body(BodyError::TooLarge) => say::too_large(limits),
            Self::Body(BodyError::TooSlow) => say::too_slow(limits),
            Self::Body(BodyError::Broken) => say::broken_body(),
            Self::Body(BodyError::NoMemory) => say::no_memory(),
            Self::Form(error) => say::bad_form(*error),
            Self::Unauthorized { .. } => say::unauthorized(),
            Self::Misunderstood(why) => say::misunderstood(why),
            Self::Unavailable => say::unavailable(),
        }
    }

    pub(crate) fn response(&self, limits: &Limits) -> Response<Full<Bytes>> {
        let sentence = self.sentence(limits);
        let status = self.status();
        let mut response = respond(status, &Answer { error: Some(&sentence), ..Answer::default() });
        if status == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY_SECS);
        }
        response
    }
}

/// An answer in JSON, which nobody on the way keeps.
pub fn respond(status: StatusCode, answer: &impl Serialize) -> Response<Full<Bytes>> {
    // Text, numbers and booleans always serialise; should they not, the status says enough.
    let mut json = serde_json::to_vec(answer).unwrap_or_default();
    json.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(json)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
