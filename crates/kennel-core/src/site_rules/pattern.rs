//! Which paths a rule is for.

use percent_encoding::percent_decode_str;

/// A pattern of paths: `/news`, `/news/:year/:slug`, `/news/*`, and for headers `/*.js`.
///
/// It is compared with decoded paths, and a slash at the end makes no difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(String),
    /// One part of the path, which has this name.
    Named(String),
    /// All that is left, if it ends so.
    Rest(String),
}

/// The name of what `*` stands for.
const SPLAT: &str = "splat";

impl PathPattern {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let Some(path) = text.strip_prefix('/') else {
            return Err(format!("`{text}` does not begin with `/`"));
        };
        if path.contains(['?', '#', '\\']) {
            return Err(format!("`{text}` is no path: it has `?`, `#` or `\\`"));
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut segments = Vec::new();
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            let segment = match (part.strip_prefix(':'), part.strip_prefix('*')) {
                (Some(name), _) if is_name(name) && name != SPLAT => {
                    let name = name.to_owned();
                    if segments.contains(&Segment::Named(name.clone())) {
                        return Err(format!("`{text}` has `:{name}` twice"));
                    }
                    Segment::Named(name)
                }
                (_, Some(ending)) if parts.peek().is_none() && !ending.contains('*') => {
                    Segment::Rest(ending.to_owned())
                }
                _ if part.contains('*') => {
                    return Err(format!("`{text}` has `*` elsewhere than as its last part"));
                }
                _ => {
                    let decoded = percent_decode_str(part).decode_utf8();
                    let decoded = decoded.map_err(|_| format!("`{text}` is not UTF-8"))?;
                    if matches!(&*decoded, "." | "..") || decoded.contains(['/', '\\', '\0']) {
                        return Err(format!("`{text}` is the path of nothing"));
                    }
                    Segment::Text(decoded.into_owned())
                }
            };
            segments.push(segment);
        }
        if path.is_empty() {
            segments.clear();
        }
        Ok(Self(segments))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Named(name) => Some(name.as_str()),
            Segment::Rest(_) => Some(SPLAT),
            Segment::Text(_) => None,
        })
    }

    pub(super) fn has_ending(&self) -> bool {
        matches!(self.0.last(), Some(Segment::Rest(ending)) if !ending.is_empty())
    }

    /// Whether a path, decoded and without its first slash, is one of these.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.walk(path, |_, _| ())
    }

    /// What the pattern's names stand for in a path.
    #[must_use]
    pub fn captures<'a>(&'a self, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let mut captures = Vec::new();
        self.walk(path, |name, value| captures.push((name, value))).then_some(captures)
    }

    fn walk<'a>(&'a self, path: &'a str, mut found: impl FnMut(&'a str, &'a str)) -> bool {
        let path = path.strip_suffix('/').unwrap_or(path);
        let mut rest = (!path.is_empty()).then_some(path);
        for segment in &self.0 {
            if let Segment::Rest(ending) = segment {
                let all = rest.unwrap_or_default();
                found(SPLAT, all);
                return all.ends_with(ending.as_str());
            }
            let Some(path) = rest else { return false };
            let (part, after) = match path.split_once('/') {
                Some((part, after)) => (part, Some(after)),
                None => (path, None),
            };
            match segment {
                Segment::Text(text) if text == part => {}
                Segment::Named(name) if !part.is_empty() => found(name, part),
                Segment::Text(_) | Segment::Named(_) | Segment::Rest(_) => return false,
            }
            rest = after;
        }
        rest.is_none()
    }
}

/// `year` in `:year`.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}
