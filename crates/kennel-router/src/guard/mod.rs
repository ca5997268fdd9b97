//! What stands before a route: maintenance, addresses, a password.
//!
//! A route without any of it has no guard, and its requests cost nothing here. What a visitor showed
//! to come in stays here: no service is handed the password, or the cookie that stands for it.

mod attempts;
mod form;
mod login;

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, COOKIE, HeaderValue, LOCATION, SET_COOKIE};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Response, StatusCode};
use kennel_core::{Guard as RawGuard, Notice};
use tokio::time::timeout;

use crate::body::Body;
use crate::exchange::Exchange;
use crate::pages::{self, Ask, Page};
use crate::ranges::Ranges;
use crate::request_body::RequestBody;
use crate::worker::Worker;

pub(crate) use attempts::Attempts;
use attempts::Verdict;
use form::{Filled, WayBack};
pub(crate) use login::Login;
use login::SESSION_SECS;

/// Where the form is sent. No path of a guarded host's own.
pub(crate) const LOGIN: &str = "/.kennel/login";
/// The session's cookie.
const SESSION: &str = "kennel-preview";
/// The most bytes of a form: a password and a way back.
const FORM_BYTES: usize = 8 << 10;
/// For a form to come whole.
const FORM_TIME: Duration = Duration::from_secs(10);
/// The most bytes of a password.
const PASSWORD_BYTES: usize = 1024;

/// What stands before a route.
#[derive(Debug)]
pub(crate) struct Guard {
    allow_from: Box<[Ranges]>,
    maintenance: Option<Closed>,
    password: Option<Password>,
}

/// A page that says when to come again.
#[derive(Debug)]
struct Closed {
    html: Bytes,
    retry_after: HeaderValue,
}

#[derive(Debug)]
enum Password {
    Asked(Arc<Login>),
    /// There is one that nobody here knows: nobody comes in.
    Lost,
}

/// What becomes of a request.
pub(crate) enum Passage {
    /// It may go on.
    In(Incoming),
    /// It ends here.
    Out(Response<Body>),
}

impl Guard {
    /// None if everybody may come in. `logins` finds a password by its number.
    pub(crate) fn new(
        raw: RawGuard,
        logins: impl FnOnce(&kennel_core::LoginId) -> Option<Arc<Login>>,
    ) -> Option<Arc<Self>> {
        if raw.is_open() {
            return None;
        }
        let RawGuard { maintenance, allow_from, login } = raw;
        let password = login.map(|id| logins(&id).map_or(Password::Lost, Password::Asked));
        Some(Arc::new(Self {
            allow_from: allow_from.iter().map(|list| Ranges::new(list)).collect(),
            maintenance: maintenance.map(|notice| Closed::new(&notice)),
            password,
        }))
    }

    /// Lets a request in, without what it showed to come in, or answers it.
    pub(crate) async fn pass(
        &self,
        worker: &Worker,
        exchange: &Rc<Exchange>,
        parts: &mut Parts,
        incoming: Incoming,
    ) -> Passage {
        let address = exchange.address();
        if !self.allow_from.iter().all(|ranges| ranges.contains(address)) {
            return Passage::Out(pages::page(Page::NotFromHere));
        }
        if let Some(closed) = &self.maintenance {
            return Passage::Out(closed.page());
        }
        let login = match &self.password {
            None => return Passage::In(incoming),
            Some(Password::Lost) => return Passage::Out(pages::page(Page::PasswordLost)),
            Some(Password::Asked(login)) => login,
        };
        let has_session = take_sessions(&mut parts.headers, |it| login.is_session(it, now()));
        if parts.uri.path() == LOGIN {
            return Passage::Out(answer_form(worker, exchange, login, parts, incoming).await);
        }
        if has_session {
            return Passage::In(incoming);
        }
        let verdict = match shown(&parts.headers) {
            Some(password) => worker.attempts.verify(login, password, address).await,
            None => Verdict::Wrong,
        };
        match verdict {
            Verdict::Right => {
                parts.headers.remove(AUTHORIZATION);
                Passage::In(incoming)
            }
            Verdict::TooMany(wait) => Passage::Out(pages::later(Page::TooManyAttempts, wait)),
            Verdict::Wrong => Passage::Out(ask(parts)),
        }
    }
}

impl Closed {
    fn new(notice: &Notice) -> Self {
        let message = notice.message.as_ref().map(kennel_core::NoticeText::as_str);
        let retry_after = HeaderValue::from(notice.retry_after_secs);
        Self { html: pages::maintenance_html(message), retry_after }
    }

    fn page(&self) -> Response<Body> {
        pages::maintenance(self.html.clone(), self.retry_after.clone())
    }
}

fn now() -> u64 {
    // A clock before 1970 ends no session too late.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(u64::MAX, |since| since.as_secs())
}

/// Takes all sessions out of the cookies, and says whether one of them is good.
fn take_sessions(headers: &mut HeaderMap, is_good: impl Fn(&str) -> bool) -> bool {
    let is_there = |field: &HeaderValue| {
        field.as_bytes().windows(SESSION.len()).any(|it| it == SESSION.as_bytes())
    };
    if !headers.get_all(COOKIE).iter().any(is_there) {
        return false;
    }
    let mut any_good = false;
    let mut others: Vec<HeaderValue> = Vec::new();
    for field in headers.get_all(COOKIE) {
        let mut left: Vec<&[u8]> = Vec::new();
        for cookie in field.as_bytes().split(|&b| b == b';').map(<[u8]>::trim_ascii) {
            let name = cookie.split(|&b| b == b'=').next().unwrap_or_default().trim_ascii();
            if name != SESSION.as_bytes() {
                left.push(cookie);
                continue;
            }
            let value = cookie.splitn(2, |&b| b == b'=').nth(1).unwrap_or_default().trim_ascii();
            any_good |= str::from_utf8(value).is_ok_and(&is_good);
        }
        left.retain(|cookie| !cookie.is_empty());
        // Parts of a value at `; ` make a value.
        if let (false, Ok(field)) =
            (left.is_empty(), HeaderValue::from_bytes(&left.join(&b"; "[..])))
        {
            others.push(field);
        }
    }
    headers.remove(COOKIE);
    for field in others {
        headers.append(COOKIE, field);
    }
    any_good
}

/// The password that a program sends along: with any name (RFC 7617), or alone (RFC 6750).
fn shown(headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, value) = field.to_str().ok()?.split_once(' ')?;
    let value = value.trim();
    let password = if scheme.eq_ignore_ascii_case("basic") {
        let pair = BASE64_STANDARD.decode(value).ok()?;
        let colon = pair.iter().position(|&b| b == b':')?;
        pair.get(colon + 1..)?.to_vec()
    } else if scheme.eq_ignore_ascii_case("bearer") {
        value.as_bytes().to_vec()
    } else {
        return None;
    };
    (1..=PASSWORD_BYTES).contains(&password.len()).then_some(password)
}

/// People get a form, programs a status that they know.
fn ask(parts: &Parts) -> Response<Body> {
    let is_read = matches!(parts.method, Method::GET | Method::HEAD);
    let accept = parts.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("text/html")) {
        let path = parts.uri.path_and_query().map(PathAndQuery::as_str).filter(|_| is_read);
        pages::login(Ask::First, WayBack::to(path.unwrap_or("/")).as_str())
    } else {
        pages::unauthorized()
    }
}

async fn answer_form(
    worker: &Worker,
    exchange: &Rc<Exchange>,
    login: &Arc<Login>,
    parts: &Parts,
    incoming: Incoming,
) -> Response<Body> {
    if matches!(parts.method, Method::GET | Method::HEAD) {
        return pages::login(Ask::First, "/");
    }
    if parts.method != Method::POST {
        return pages::page(Page::FormOnly);
    }
    let body = Limited::new(RequestBody::new(incoming, u64::MAX, exchange), FORM_BYTES).collect();
    let Ok(Ok(body)) = timeout(FORM_TIME, body).await else {
        return pages::page(Page::BadBody);
    };
    let Filled { password, way_back } = Filled::parse(&body.to_bytes());
    let verdict = if (1..=PASSWORD_BYTES).contains(&password.len()) {
        worker.attempts.verify(login, password, exchange.address()).await
    } else {
        Verdict::Wrong
    };
    match verdict {
        Verdict::Right => welcome(&login.session(now()), &way_back, exchange.is_secured()),
        Verdict::Wrong => pages::login(Ask::Again, way_back.as_str()),
        Verdict::TooMany(wait) => pages::later(Page::TooManyAttempts, wait),
    }
}

fn welcome(session: &str, way_back: &WayBack, is_secure: bool) -> Response<Body> {
    let secure = if is_secure { "; Secure" } else { "" };
    let cookie = format!(
        "{SESSION}={session}; Path=/; Max-Age={SESSION_SECS}; HttpOnly; SameSite=Lax{secure}"
    );
    let (Ok(cookie), Ok(location)) =
        (HeaderValue::from_str(&cookie), HeaderValue::from_str(way_back.as_str()))
    else {
        return pages::page(Page::BadTarget);
    };
    let mut response = pages::empty(StatusCode::SEE_OTHER);
    response.headers_mut().insert(SET_COOKIE, cookie);
    response.headers_mut().insert(LOCATION, location);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn only_sessions_are_taken_out_of_cookies() {
        let taken = |fields: &[&str]| {
            let fields: Vec<_> = fields.iter().map(|value| ("cookie", *value)).collect();
            let mut headers = headers(&fields);
            let good = take_sessions(&mut headers, |it| it == "good");
            let left: Vec<_> =
                headers.get_all(COOKIE).iter().map(|it| it.to_str().unwrap()).collect();
            format!("{good} {}", left.join(" | "))
        };
        assert_eq!(taken(&[]), "false ");
        assert_eq!(taken(&["a=b"]), "false a=b");
        assert_eq!(taken(&["a=b; kennel-preview=good; c=d"]), "true a=b; c=d");
        assert_eq!(taken(&["kennel-preview=good"]), "true ");
        assert_eq!(taken(&["kennel-preview=bad;kennel-preview=good ;x"]), "true x");
        // HTTP/2 sends each in a field of its own.
        assert_eq!(
            taken(&["a=b", "kennel-preview=bad", "c=kennel-preview=1"]),
            "false a=b | c=kennel-preview=1"
        );
        assert_eq!(
            taken(&["my-kennel-preview=good; kennel-preview2=good"]),
            "false my-kennel-preview=good; kennel-preview2=good"
        );
        assert_eq!(taken(&["kennel-preview; kennel-preview=; a=1"]), "false a=1");
    }

    #[test]
    fn a_program_shows_its_password_in_one_of_two_ways() {
        let shown = |value: &str| {
            let password = shown(&headers(&[("authorization", value)]))?;
            Some(String::from_utf8(password).unwrap())
        };
        assert_eq!(shown("Basic YW55OnNlY3JldDp4").as_deref(), Some("secret:x"));
        assert_eq!(shown("basic OnNlY3JldA==").as_deref(), Some("secret"));
        assert_eq!(shown("Bearer secret").as_deref(), Some("secret"));
        for other in
            ["Basic", "Basic !", "Basic c2VjcmV0", "Basic YW55Og==", "Bearer ", "Digest a=b", ""]
        {
            assert_eq!(shown(other), None, "{other}");
        }
        let twice = headers(&[("authorization", "Bearer a"), ("authorization", "Bearer b")]);
        assert_eq!(super::shown(&twice), None);
    }
}
