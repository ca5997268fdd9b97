//! `_headers`: fields for the answers under some paths.

use super::pattern::PathPattern;

/// Fields for some paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderRule {
    /// For which.
    pub path: PathPattern,
    /// Names in lower case and values, both such as HTTP accepts.
    pub fields: Vec<(String, String)>,
}

/// What the router says itself, since an answer would be wrong otherwise: how it is framed, what
/// it is a form of, who sent it. A cookie could be for the hosts of other projects.
const RESERVED: &[&str] = &[
    "accept-ranges",
    "age",
    "allow",
    "alt-svc",
    "connection",
    "content-encoding",
    "content-length",
    "content-range",
    "date",
    "etag",
    "expires",
    "keep-alive",
    "last-modified",
    "location",
    "server",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "www-authenticate",
];

pub(super) fn parse<'a>(
    lines: impl Iterator<Item = (usize, &'a str)>,
    report: &mut impl FnMut(usize, String),
) -> Vec<HeaderRule> {
    let mut rules: Vec<HeaderRule> = Vec::new();
    // Where the rule began that lines belong to; none after a path that is none.
    let mut begun = None;
    let mut is_after_path = false;
    for (number, line) in lines {
        if line.starts_with('/') || line.starts_with("http://") || line.starts_with("https://") {
            is_after_path = true;
            begun = None;
            match PathPattern::parse(line) {
                Ok(path) => {
                    rules.push(HeaderRule { path, fields: Vec::new() });
                    begun = Some(number);
                }
                Err(why) => report(number, why),
            }
            continue;
        }
        match field(line) {
            Err(why) => report(number, why),
            Ok(_) if !is_after_path => {
                report(number, format!("`{line}` stands before any path"));
            }
            Ok(field) => {
                if let (Some(_), Some(rule)) = (begun, rules.last_mut()) {
                    rule.fields.push(field);
                }
            }
        }
    }
    rules.retain(|rule| !rule.fields.is_empty());
    rules
}

fn field(line: &str) -> Result<(String, String), String> {
    let Some((name, value)) = line.split_once(':') else {
        return Err(format!(
            "`{line}` is neither a path nor a field such as `X-Frame-Options: DENY`"
        ));
    };
    let name = name.trim_ascii_end().to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(is_of_a_name) {
        return Err(format!("`{name}` is not the name of a field"));
    }
    if RESERVED.contains(&name.as_str()) || name.starts_with("proxy-") {
        return Err(format!("`{name}` is the router's to say, and not a site's"));
    }
    let value = value.trim();
    if value.is_empty() || !value.bytes().all(|b| b == b'\t' || b == b' ' || b.is_ascii_graphic()) {
        return Err(format!("the value of `{name}` is empty or has more than printable ASCII"));
    }
    Ok((name, value.to_owned()))
}

/// RFC 9110 §5.6.2.
fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
