//! What the form of the login page sends, and the path that it leads back to.

use percent_encoding::percent_decode_str;

/// A path of the same host, with its query.
///
/// Goes into `Location` without scheme and host: what begins with two slashes would be another host,
/// and browsers take `\` for `/` and leave tabs out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WayBack(String);

/// The most bytes of such a path; whoever was further in begins at the top.
const LONGEST: usize = 2048;

impl WayBack {
    /// The path, or the top where it is none of the same host.
    pub(super) fn to(path: &str) -> Self {
        let is_plain = |b: u8| (b'!'..=b'~').contains(&b) && b != b'\\';
        let is_here = path.starts_with('/')
            && !path.starts_with("//")
            && !path.starts_with(super::LOGIN)
            && path.len() <= LONGEST
            && path.bytes().all(is_plain);
        Self(if is_here { path.to_owned() } else { "/".to_owned() })
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What was filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) password: Vec<u8>,
    pub(super) way_back: WayBack,
}

impl Filled {
    /// Reads `application/x-www-form-urlencoded`.
    pub(super) fn parse(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let (mut password, mut way_back) = (Vec::new(), WayBack::to("/"));
        for field in text.split('&') {
            let (name, value) = field.split_once('=').unwrap_or((field, ""));
            let value = || percent_decode_str(&value.replace('+', " ")).collect::<Vec<u8>>();
            match name {
                "password" => password = value(),
                "to" => way_back = WayBack::to(&String::from_utf8_lossy(&value())),
                _ => {}
            }
        }
        Self { password, way_back }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_back_is_never_to_another_host() {
        for (path, back) in [
            ("/", "/"),
            ("/a/b?c=d&e", "/a/b?c=d&e"),
            ("/a//b", "/a//b"),
            ("//evil.example", "/"),
            ("///evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/\t/evil.example", "/"),
            ("/a\\..\\b", "/"),
            ("https://evil.example/", "/"),
            ("javascript:alert(1)", "/"),
            ("evil.example", "/"),
            ("", "/"),
            ("/ü", "/"),
            ("/a\r\nSet-Cookie: x=y", "/"),
            ("/.kennel/login", "/"),
            ("/.kennel/login?to=/x", "/"),
        ] {
            assert_eq!(WayBack::to(path).as_str(), back, "{path:?}");
        }
        assert_eq!(WayBack::to(&format!("/{}", "a".repeat(LONGEST))).as_str(), "/");
    }

    #[test]
    fn fields_in_any_order() {
        let filled = Filled::parse(b"to=%2Fa%3Fb%3Dc&password=p%26%C3%BC+x%2B");
        assert_eq!(filled.password, "p&ü x+".as_bytes());
        assert_eq!(filled.way_back.as_str(), "/a?b=c");
        let filled = Filled::parse(b"password&to=%2F%2Fevil.example");
        assert_eq!((filled.password.len(), filled.way_back.as_str()), (0, "/"));
        assert_eq!(Filled::parse(&[0xff, b'&', b'=']).password, b"");
    }
}
