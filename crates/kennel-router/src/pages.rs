//! Every page that the router answers with itself.
//!
//! Each is one small document without script, image or second request, in the light or dark of the
//! reader's choice. None repeats a word of the request, but for the path that a login leads back to,
//! which is escaped: what a client sent is never shown to one.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    LOCATION, RETRY_AFTER, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Response, StatusCode, Uri};

use crate::body::Body;
use crate::guard::LOGIN;
use crate::head::Refusal;

/// What the router has to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// Nothing is deployed under the host's name.
    UnknownHost,
    /// The host is known, the path is nobody's.
    NoPath,
    /// A site without a page of its own for this.
    NoSuchFile,
    /// The path is no path.
    BadTarget,
    /// The connection was made for another host.
    Misdirected,
    /// A head that is not served.
    Refused(Refusal),
    /// The body is no body.
    BadBody,
    /// The body is longer than the service takes.
    BodyTooLong,
    /// The client asks for more than it may, for so many seconds.
    TooManyRequests(u64),
    /// A site has nothing but GET and HEAD.
    MethodNotAllowed,
    /// `If-Match` does not.
    ConditionFailed,
    /// The range lies outside of the file.
    NoSuchPart,
    /// The service does not listen.
    NotUp,
    /// The service fails its health check.
    Unhealthy,
    /// There are too many requests for services.
    Crowded,
    /// The service's answer is none.
    BadGateway,
    /// The service does not answer.
    TooLate,
    /// The service speaks HTTP/2, and has no WebSockets there.
    NoWebSocket,
    /// A site's folder is missing.
    MissingSite,
    /// A site's file cannot be read.
    Unreadable,
    /// The client's address is none of those that may come in.
    NotFromHere,
    /// Too many passwords were tried.
    TooManyAttempts,
    /// A password is asked for that the router does not know.
    PasswordLost,
    /// The login's path takes a form and nothing else.
    FormOnly,
}

/// How soon a client may come again while a service starts, in seconds.
const RETRY_SECS: HeaderValue = HeaderValue::from_static("2");

impl Page {
    fn status(self) -> StatusCode {
        match self {
            Self::UnknownHost | Self::NoPath | Self::NoSuchFile | Self::Unhealthy => {
                StatusCode::NOT_FOUND
            }
            Self::BadTarget | Self::BadBody => StatusCode::BAD_REQUEST,
            Self::Refused(refusal) => match refusal {
                Refusal::Host
                | Refusal::Target
                | Refusal::Connect
                | Refusal::TwoLengths
                | Refusal::Length
                | Refusal::LineFeed => StatusCode::BAD_REQUEST,
                Refusal::TargetTooLong => StatusCode::URI_TOO_LONG,
                Refusal::TransferEncoding => StatusCode::NOT_IMPLEMENTED,
            },
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::BodyTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyRequests(_) | Self::TooManyAttempts => StatusCode::TOO_MANY_REQUESTS,
            Self::MethodNotAllowed | Self::FormOnly => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotFromHere => StatusCode::FORBIDDEN,
            Self::ConditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::NoSuchPart => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::NotUp | Self::Crowded | Self::MissingSite | Self::PasswordLost => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::TooLate => StatusCode::GATEWAY_TIMEOUT,
            Self::NoWebSocket => StatusCode::NOT_IMPLEMENTED,
            Self::Unreadable => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Title and text.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::UnknownHost => (
                "Nothing is deployed here",
                "This server has no deployment under this name. If you have just pushed, the build may still be running; if it was a preview, it may have been taken down.",
            ),
            Self::NoPath => {
                ("Nothing is at this path", "This server has nothing to answer under this path.")
            }
            Self::NoSuchFile => ("Page not found", "This site has no page under this path."),
            Self::BadTarget => ("Bad request", "The path of this request cannot be read."),
            Self::BadBody => {
                ("Bad request", "The body of this request is incomplete or malformed.")
            }
            Self::BodyTooLong => {
                ("Too large", "The body of this request is larger than is taken at this address.")
            }
            Self::TooManyRequests(_) => (
                "Too many requests",
                "More requests come from your address than are answered; try again in a moment.",
            ),
            Self::Refused(refusal) => match refusal {
                Refusal::Host => {
                    ("Bad request", "The request does not name exactly one valid host.")
                }
                Refusal::Target => ("Bad request", "The target of this request cannot be read."),
                Refusal::TargetTooLong => {
                    ("Address too long", "The address of this request is longer than 8 KiB.")
                }
                Refusal::Connect => {
                    ("Bad request", "This server does not open tunnels to other hosts.")
                }
                Refusal::TwoLengths => {
                    ("Bad request", "The request states the length of its body in two ways.")
                }
                Refusal::TransferEncoding => (
                    "Not implemented",
                    "The only transfer coding that this server reads is chunked.",
                ),
                Refusal::Length => (
                    "Bad request",
                    "The request does not state the length of its body in one number.",
                ),
                Refusal::LineFeed => {
                    ("Bad request", "A line of this request ends without a carriage return.")
                }
            },
            Self::Misdirected => {
                ("Misdirected request", "This connection was made for another name of this server.")
            }
            Self::MethodNotAllowed => {
                ("Method not allowed", "This is a static site: it can be read and nothing else.")
            }
            Self::ConditionFailed => {
                ("Precondition failed", "The page is no longer the one that the request was for.")
            }
            Self::NoSuchPart => {
                ("Range not satisfiable", "The file is shorter than the part that was asked for.")
            }
            Self::NotUp => (
                "Starting",
                "The service behind this address is not up at the moment. It may be starting; try again in a few seconds.",
            ),
            Self::Unhealthy => (
                "Out of order",
                "The service behind this address does not pass its health check. It is looked at again and again, and comes back by itself as soon as it does.",
            ),
            Self::Crowded => (
                "Busy",
                "There are more requests than this server can pass on at the moment; try again in a few seconds.",
            ),
            Self::BadGateway => (
                "Bad gateway",
                "The service behind this address broke off or gave no valid answer.",
            ),
            Self::TooLate => {
                ("Gateway timeout", "The service behind this address did not answer in time.")
            }
            Self::NoWebSocket => (
                "Not implemented",
                "The service behind this address speaks HTTP/2 and offers no WebSockets (RFC 8441).",
            ),
            Self::MissingSite => {
                ("Site unavailable", "The files of this site are not available at the moment.")
            }
            Self::Unreadable => ("Internal error", "A file of this site cannot be read."),
            Self::NotFromHere => {
                ("Not from here", "This address answers visitors of other networks alone.")
            }
            Self::TooManyAttempts => (
                "Too many attempts",
                "Too many passwords were tried. Wait a minute, and then try the right one.",
            ),
            Self::PasswordLost => (
                "Closed",
                "Visitors of this address are asked for a password, and this server does not know it at the moment.",
            ),
            Self::FormOnly => ("Method not allowed", "Passwords are sent here, and nothing else."),
        }
    }

    fn html(self) -> String {
        let (title, text) = self.words();
        document(self.status(), title, &format!("<p>{text}</p>"))
    }
}

fn document(status: StatusCode, title: &str, content: &str) -> String {
    let code = status.as_u16();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"robots\" content=\"noindex\">\n<title>{code} {title}</title>\n<style>{STYLE}</style>\n<main>\n<p class=\"code\">{code}</p>\n<h1>{title}</h1>\n{content}\n</main>\n"
    )
}

const STYLE: &str = ":root{color-scheme:light dark}body{margin:0;min-height:100vh;display:grid;place-items:center;font:1rem/1.6 system-ui,sans-serif;background:light-dark(#fafaf9,#1c1917);color:light-dark(#292524,#e7e5e4)}main{max-width:32rem;padding:2rem;box-sizing:border-box}.code{margin:0;font:600 .875rem/1 ui-monospace,monospace;letter-spacing:.1em;color:light-dark(#9a3412,#fdba74)}h1{margin:.75rem 0 .5rem;font-size:1.5rem;line-height:1.25}p{margin:0}form{display:flex;gap:.5rem;margin-top:1rem}input,button{font:inherit;padding:.375rem .75rem}input{flex:1;min-width:0}";

/// The answer that carries a page.
pub(crate) fn page(page: Page) -> Response<Body> {
    let mut response = answer(page.status(), Bytes::from(page.html()));
    let headers = response.headers_mut();
    match page {
        Page::NotUp | Page::Crowded | Page::MissingSite | Page::PasswordLost => {
            headers.insert(RETRY_AFTER, RETRY_SECS);
        }
        Page::TooManyRequests(secs) => {
            headers.insert(RETRY_AFTER, HeaderValue::from(secs));
        }
        // Where the next request begins is not certain after such a head or body.
        Page::Refused(_) | Page::BadBody | Page::BodyTooLong => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Page::UnknownHost
        | Page::NoPath
        | Page::NoSuchFile
        | Page::BadTarget
        | Page::Misdirected
        | Page::Unhealthy
        | Page::MethodNotAllowed
        | Page::ConditionFailed
        | Page::NoSuchPart
        | Page::BadGateway
        | Page::TooLate
        | Page::NoWebSocket
        | Page::Unreadable
        | Page::NotFromHere
        | Page::TooManyAttempts
        | Page::FormOnly => {}
    }
    response
}

fn answer(status: StatusCode, html: Bytes) -> Response<Body> {
    let len = html.len();
    let mut response = Response::new(Body::full(html));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A page, with the moment from which something else may be answered.
pub(crate) fn later(of: Page, wait: Duration) -> Response<Body> {
    let mut response = page(of);
    let seconds = wait.as_secs().saturating_add(1);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// What visitors of something under maintenance are told, in its operator's words if there are any.
pub(crate) fn maintenance_html(message: Option<&str>) -> Bytes {
    let message = message.map_or_else(
        || "This address is being worked on, and will answer again soon.".to_owned(),
        escaped,
    );
    let content = format!("<p>{message}</p>");
    document(StatusCode::SERVICE_UNAVAILABLE, "Under maintenance", &content).into()
}

/// The answer that carries it.
pub(crate) fn maintenance(html: Bytes, retry_after: HeaderValue) -> Response<Body> {
    let mut response = answer(StatusCode::SERVICE_UNAVAILABLE, html);
    response.headers_mut().insert(RETRY_AFTER, retry_after);
    response
}

/// Why a password is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Nobody has said one yet.
    First,
    /// The one that was said is wrong.
    Again,
}

/// The form that asks a person for the password, and then leads to a path of the same host.
pub(crate) fn login(ask: Ask, way_back: &str) -> Response<Body> {
    let text = match ask {
        Ask::First => "This is a preview. Its visitors are asked for a password.",
        Ask::Again => "This is not the password. Try it once more.",
    };
    let way_back = escaped(way_back);
    let content = format!(
        "<p>{text}</p>\n<form method=\"post\" action=\"{LOGIN}\">\n<input type=\"hidden\" name=\"to\" value=\"{way_back}\">\n<input type=\"password\" name=\"password\" aria-label=\"Password\" autocomplete=\"current-password\" required autofocus>\n<button>Open</button>\n</form>"
    );
    let html = document(StatusCode::UNAUTHORIZED, "Password", &content);
    let mut response = answer(StatusCode::UNAUTHORIZED, html.into());
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
        ),
    );
    // RFC 9110 §15.5.2 wants one. A scheme that browsers know would have them ask by themselves.
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Cookie realm=\"preview\""));
    response
}

/// The answer to a program that shows no password, or a wrong one.
pub(crate) fn unauthorized() -> Response<Body> {
    let content = "<p>This is a preview. Its visitors are asked for a password.</p>";
    let html = document(StatusCode::UNAUTHORIZED, "Password", content);
    let mut response = answer(StatusCode::UNAUTHORIZED, html.into());
    let basic = HeaderValue::from_static("Basic realm=\"preview\", charset=\"UTF-8\"");
    response.headers_mut().insert(WWW_AUTHENTICATE, basic);
    response
}

/// An answer without a body, which nobody keeps.
pub(crate) fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Sends the client to the same path under another scheme or host, once and for all (RFC 9110
/// §15.4.9): a method and its body are sent there again. `host` is one of the table's.
pub(crate) fn moved(scheme: &str, host: &str, uri: &Uri) -> Response<Body> {
    // `OPTIONS *` is for the whole host.
    let path = uri.path_and_query().map(PathAndQuery::as_str);
    let path = path.filter(|path| path.starts_with('/')).unwrap_or("/");
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let headers = response.headers_mut();
    match HeaderValue::from_str(&format!("{scheme}://{host}{path}")) {
        Ok(address) => headers.insert(LOCATION, address),
        Err(_) => return page(Page::BadTarget),
    };
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    // A certificate may go again, and a domain to somebody else.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Page; 31] = [
        Page::UnknownHost,
        Page::NoPath,
        Page::NoSuchFile,
        Page::BadTarget,
        Page::BadBody,
        Page::BodyTooLong,
        Page::TooManyRequests(1),
        Page::Refused(Refusal::Host),
        Page::Refused(Refusal::Target),
        Page::Refused(Refusal::TargetTooLong),
        Page::Refused(Refusal::Connect),
        Page::Refused(Refusal::TwoLengths),
        Page::Refused(Refusal::TransferEncoding),
        Page::Refused(Refusal::Length),
        Page::Refused(Refusal::LineFeed),
        Page::Misdirected,
        Page::MethodNotAllowed,
        Page::ConditionFailed,
        Page::NoSuchPart,
        Page::NotUp,
        Page::Unhealthy,
        Page::Crowded,
        Page::BadGateway,
        Page::TooLate,
        Page::NoWebSocket,
        Page::MissingSite,
        Page::Unreadable,
        Page::NotFromHere,
        Page::TooManyAttempts,
        Page::PasswordLost,
        Page::FormOnly,
    ];

    #[test]
    fn words() {
        let all: Vec<String> = ALL
            .iter()
            .map(|page| {
                let (title, text) = page.words();
                format!("{} {title}: {text}", page.status().as_u16())
            })
            .collect();
        insta::assert_snapshot!(all.join("\n"), @"
        404 Nothing is deployed here: This server has no deployment under this name. If you have just pushed, the build may still be running; if it was a preview, it may have been taken down.
        404 Nothing is at this path: This server has nothing to answer under this path.
        404 Page not found: This site has no page under this path.
        400 Bad request: The path of this request cannot be read.
        400 Bad request: The body of this request is incomplete or malformed.
        413 Too large: The body of this request is larger than is taken at this address.
        429 Too many requests: More requests come from your address than are answered; try again in a moment.
        400 Bad request: The request does not name exactly one valid host.
        400 Bad request: The target of this request cannot be read.
        414 Address too long: The address of this request is longer than 8 KiB.
        400 Bad request: This server does not open tunnels to other hosts.
        400 Bad request: The request states the length of its body in two ways.
        501 Not implemented: The only transfer coding that this server reads is chunked.
        400 Bad request: The request does not state the length of its body in one number.
        400 Bad request: A line of this request ends without a carriage return.
        421 Misdirected request: This connection was made for another name of this server.
        405 Method not allowed: This is a static site: it can be read and nothing else.
        412 Precondition failed: The page is no longer the one that the request was for.
        416 Range not satisfiable: The file is shorter than the part that was asked for.
        503 Starting: The service behind this address is not up at the moment. It may be starting; try again in a few seconds.
        404 Out of order: The service behind this address does not pass its health check. It is looked at again and again, and comes back by itself as soon as it does.
        503 Busy: There are more requests than this server can pass on at the moment; try again in a few seconds.
        502 Bad gateway: The service behind this address broke off or gave no valid answer.
        504 Gateway timeout: The service behind this address did not answer in time.
        501 Not implemented: The service behind this address speaks HTTP/2 and offers no WebSockets (RFC 8441).
        503 Site unavailable: The files of this site are not available at the moment.
        500 Internal error: A file of this site cannot be read.
        403 Not from here: This address answers visitors of other networks alone.
        429 Too many attempts: Too many passwords were tried. Wait a minute, and then try the right one.
        503 Closed: Visitors of this address are asked for a password, and this server does not know it at the moment.
        405 Method not allowed: Passwords are sent here, and nothing else.
        ");
    }

    #[test]
    fn document() {
        insta::assert_snapshot!(Page::UnknownHost.html().replace(STYLE, "…"), @r#"
        <!doctype html>
        <html lang="en">
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <meta name="robots" content="noindex">
        <title>404 Nothing is deployed here</title>
        <style>…</style>
        <main>
        <p class="code">404</p>
        <h1>Nothing is deployed here</h1>
        <p>This server has no deployment under this name. If you have just pushed, the build may still be running; if it was a preview, it may have been taken down.</p>
        </main>
        "#);
    }

    #[test]
    fn words_of_others_stay_words() {
        let html = maintenance_html(Some("<b>\"18:00\" & 'later'</b>"));
        assert!(
            str::from_utf8(&html)
                .unwrap()
                .contains("<p>&lt;b&gt;&quot;18:00&quot; &amp; &#39;later&#39;&lt;/b&gt;</p>")
        );
        let response = login(Ask::First, "/\"><script>");
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(escaped("/\"><script>"), "/&quot;&gt;&lt;script&gt;");
    }

    #[test]
    fn a_service_that_is_not_up_says_when_to_come_again() {
        let response = page(Page::NotUp);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(page(Page::TooManyRequests(7)).headers()[RETRY_AFTER], "7");
        assert_eq!(page(Page::BadGateway).headers().get(RETRY_AFTER), None);
    }
}
