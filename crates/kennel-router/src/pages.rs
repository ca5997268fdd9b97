//! Every page that the router answers with itself.
//!
//! Each is one small document without script, image or second request, in the light or dark of the
//! reader's choice. None repeats a word of the request: what a client sent is never shown to one.

use bytes::Bytes;
use hyper::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue,
    LOCATION, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS,
};
use hyper::http::uri::PathAndQuery;
use hyper::{Response, StatusCode, Uri};

use crate::body::Body;
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
    /// A site has nothing but GET and HEAD.
    MethodNotAllowed,
    /// `If-Match` does not.
    ConditionFailed,
    /// The range lies outside of the file.
    NoSuchPart,
    /// The service does not listen.
    NotUp,
    /// There are too many requests for services.
    Crowded,
    /// The service's answer is none.
    BadGateway,
    /// The service does not answer.
    TooLate,
    /// A site's folder is missing.
    MissingSite,
    /// A site's file cannot be read.
    Unreadable,
}

/// How soon a client may come again while a service starts, in seconds.
const RETRY_SECS: HeaderValue = HeaderValue::from_static("2");

impl Page {
    fn status(self) -> StatusCode {
        match self {
            Self::UnknownHost | Self::NoPath | Self::NoSuchFile => StatusCode::NOT_FOUND,
            Self::BadTarget | Self::BadBody => StatusCode::BAD_REQUEST,
            Self::Refused(refusal) => match refusal {
                Refusal::Host | Refusal::Target | Refusal::Connect | Refusal::TwoLengths => {
                    StatusCode::BAD_REQUEST
                }
                Refusal::TargetTooLong => StatusCode::URI_TOO_LONG,
                Refusal::TransferEncoding => StatusCode::NOT_IMPLEMENTED,
            },
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::ConditionFailed => StatusCode::PRECONDITION_FAILED,
            Self::NoSuchPart => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::NotUp | Self::Crowded | Self::MissingSite => StatusCode::SERVICE_UNAVAILABLE,
            Self::BadGateway => StatusCode::BAD_GATEWAY,
            Self::TooLate => StatusCode::GATEWAY_TIMEOUT,
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
            Self::MissingSite => {
                ("Site unavailable", "The files of this site are not available at the moment.")
            }
            Self::Unreadable => ("Internal error", "A file of this site cannot be read."),
        }
    }

    fn html(self) -> String {
        let status = self.status();
        let code = status.as_u16();
        let (title, text) = self.words();
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"robots\" content=\"noindex\">\n<title>{code} {title}</title>\n<style>{STYLE}</style>\n<main>\n<p class=\"code\">{code}</p>\n<h1>{title}</h1>\n<p>{text}</p>\n</main>\n"
        )
    }
}

const STYLE: &str = ":root{color-scheme:light dark}body{margin:0;min-height:100vh;display:grid;place-items:center;font:1rem/1.6 system-ui,sans-serif;background:light-dark(#fafaf9,#1c1917);color:light-dark(#292524,#e7e5e4)}main{max-width:32rem;padding:2rem;box-sizing:border-box}.code{margin:0;font:600 .875rem/1 ui-monospace,monospace;letter-spacing:.1em;color:light-dark(#9a3412,#fdba74)}h1{margin:.75rem 0 .5rem;font-size:1.5rem;line-height:1.25}p{margin:0}";

/// The answer that carries a page.
pub(crate) fn page(page: Page) -> Response<Body> {
    let html = Bytes::from(page.html());
    let len = html.len();
    let mut response = Response::new(Body::full(html));
    *response.status_mut() = page.status();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(len));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'"),
    );
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    match page {
        Page::NotUp | Page::Crowded | Page::MissingSite => {
            headers.insert(RETRY_AFTER, RETRY_SECS);
        }
        // Where the next request begins is not certain after such a head.
        Page::Refused(_) | Page::BadBody => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        Page::UnknownHost
        | Page::NoPath
        | Page::NoSuchFile
        | Page::BadTarget
        | Page::Misdirected
        | Page::MethodNotAllowed
        | Page::ConditionFailed
        | Page::NoSuchPart
        | Page::BadGateway
        | Page::TooLate
        | Page::Unreadable => {}
    }
    response
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

    const ALL: [Page; 21] = [
        Page::UnknownHost,
        Page::NoPath,
        Page::NoSuchFile,
        Page::BadTarget,
        Page::BadBody,
        Page::Refused(Refusal::Host),
        Page::Refused(Refusal::Target),
        Page::Refused(Refusal::TargetTooLong),
        Page::Refused(Refusal::Connect),
        Page::Refused(Refusal::TwoLengths),
        Page::Refused(Refusal::TransferEncoding),
        Page::Misdirected,
        Page::MethodNotAllowed,
        Page::ConditionFailed,
        Page::NoSuchPart,
        Page::NotUp,
        Page::Crowded,
        Page::BadGateway,
        Page::TooLate,
        Page::MissingSite,
        Page::Unreadable,
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
        400 Bad request: The request does not name exactly one valid host.
        400 Bad request: The target of this request cannot be read.
        414 Address too long: The address of this request is longer than 8 KiB.
        400 Bad request: This server does not open tunnels to other hosts.
        400 Bad request: The request states the length of its body in two ways.
        501 Not implemented: The only transfer coding that this server reads is chunked.
        421 Misdirected request: This connection was made for another name of this server.
        405 Method not allowed: This is a static site: it can be read and nothing else.
        412 Precondition failed: The page is no longer the one that the request was for.
        416 Range not satisfiable: The file is shorter than the part that was asked for.
        503 Starting: The service behind this address is not up at the moment. It may be starting; try again in a few seconds.
        503 Busy: There are more requests than this server can pass on at the moment; try again in a few seconds.
        502 Bad gateway: The service behind this address broke off or gave no valid answer.
        504 Gateway timeout: The service behind this address did not answer in time.
        503 Site unavailable: The files of this site are not available at the moment.
        500 Internal error: A file of this site cannot be read.
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
    fn a_service_that_is_not_up_says_when_to_come_again() {
        let response = page(Page::NotUp);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
        assert_eq!(page(Page::BadGateway).headers().get(RETRY_AFTER), None);
    }
}
