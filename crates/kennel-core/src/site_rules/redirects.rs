//! `_redirects`: from a path to another address, or to another file of the site.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::pattern::PathPattern;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// For which paths.
    pub from: PathPattern,
    /// Where to.
    pub to: Template,
    /// How.
    pub action: RuleAction,
    /// Whether also where the site has a file.
    pub force: bool,
}

/// What happens to a request that a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// The browser is sent there with this status: 301, 302, 303, 307 or 308.
    Redirect(u16),
    /// That file answers instead.
    Rewrite,
    /// That file answers, with status 404.
    NotFound,
}

/// An address with places for what a pattern's names stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Name(String),
}

/// What stands in a path or a query for itself alone.
const ESCAPED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

impl Template {
    /// The address for a browser. None if it would name another host than the rule does.
    #[must_use]
    pub fn address(&self, captures: &[(&str, &str)]) -> Option<String> {
        let address =
            self.filled(captures, |value| utf8_percent_encode(value, ESCAPED).to_string());
        // `/:splat` with a path that begins with a slash.
        (!address.starts_with("//")).then_some(address)
    }

    /// The path within the site, decoded and without its first slash.
    #[must_use]
    pub fn path(&self, captures: &[(&str, &str)]) -> String {
        let path = self.filled(captures, str::to_owned);
        path.strip_prefix('/').map(str::to_owned).unwrap_or(path)
    }

    fn filled(&self, captures: &[(&str, &str)], write: impl Fn(&str) -> String) -> String {
        self.0.iter().fold(String::new(), |mut all, part| {
            match part {
                Part::Text(text) => all.push_str(text),
                Part::Name(name) => {
                    let value = captures.iter().find(|(known, _)| known == name);
                    all.push_str(&write(value.map_or("", |(_, value)| value)));
                }
            }
            all
        })
    }

    fn parse(text: &str, from: &PathPattern, action: RuleAction) -> Result<Self, String> {
        if !text.bytes().all(|b| b.is_ascii_graphic()) || text.contains(['\\', '"', '<', '>']) {
            return Err(format!("`{text}` must be percent-encoded"));
        }
        let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
        let path_at = match host {
            Some(_) if !matches!(action, RuleAction::Redirect(_)) => {
                return Err(format!(
                    "`{text}` is another host, and Kennel passes no request on to one; redirect with 301, 302, 303, 307 or 308"
                ));
            }
            Some(host) => {
                let name = host.split(['/', '?', '#']).next().unwrap_or(host);
                let of_host = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
                let is_plain = name.split_once(':').is_none_or(|(_, port)| {
                    !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())
                });
                if name.is_empty() || !name.bytes().all(of_host) || !is_plain {
                    return Err(format!("`{text}` has no plain host name"));
                }
                text.len() - host.len() + name.len()
            }
            None if text.starts_with("//") || !text.starts_with('/') => {
                return Err(format!("`{text}` is neither a path nor an address with http(s)://"));
            }
            None => 0,
        };
        if !matches!(action, RuleAction::Redirect(_)) && text.contains(['?', '#']) {
            return Err(format!("`{text}` is no file: it has `?` or `#`"));
        }
        let (host, mut rest) = text.split_at_checked(path_at).unwrap_or((text, ""));
        let mut parts = vec![Part::Text(host.to_owned())];
        while let Some((before, after)) = rest.split_once(':') {
            let len = after.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
            let (name, after) = after.split_at_checked(len).unwrap_or((after, ""));
            parts.push(Part::Text(before.to_owned()));
            if super::pattern::is_name(name) {
                if !from.names().any(|known| known == name) {
                    return Err(format!("`:{name}` stands for nothing in the rule's path"));
                }
                parts.push(Part::Name(name.to_owned()));
            } else {
                parts.push(Part::Text(format!(":{name}")));
            }
            rest = after;
        }
        parts.push(Part::Text(rest.to_owned()));
        if !matches!(action, RuleAction::Redirect(_)) {
            for part in &mut parts {
                if let Part::Text(text) = part {
                    let decoded = percent_decode_str(text).decode_utf8();
                    *text = decoded.map_err(|_| format!("`{text}` is not UTF-8"))?.into_owned();
                }
            }
        }
        Ok(Self(parts))
    }
}

pub(super) fn parse<'a>(
    lines: impl Iterator<Item = (usize, &'a str)>,
    report: &mut impl FnMut(usize, String),
) -> Vec<Redirect> {
    let mut rules = Vec::new();
    for (number, line) in lines {
        match rule(line) {
            Ok(rule) => rules.push(rule),
            Err(why) => report(number, why),
        }
    }
    rules
}

fn rule(line: &str) -> Result<Redirect, String> {
    // A comment may follow a rule.
    let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
    let (Some(from), Some(to)) = (words.next(), words.next()) else {
        return Err(format!(
            "`{line}` is no rule; write `/from /to`, and a status if it is not 301"
        ));
    };
    if from.starts_with("http://") || from.starts_with("https://") {
        return Err(format!("`{from}` has a host, and a site's rules are for its paths alone"));
    }
    let from = PathPattern::parse(from)?;
    if from.has_ending() {
        return Err("`*` stands for the rest of a path, and nothing can follow it".into());
    }
    if !to.starts_with('/') && !to.starts_with("http") && to.contains('=') {
        return Err(format!(
            "`{to}`: rules by query are not known; the query is passed on as it is"
        ));
    }
    let (action, force) = match words.next() {
        None => (RuleAction::Redirect(301), false),
        Some(word) => {
            let (code, force) = word.strip_suffix('!').map_or((word, false), |code| (code, true));
            let action = match code {
                "200" => RuleAction::Rewrite,
                "301" => RuleAction::Redirect(301),
                "302" => RuleAction::Redirect(302),
                "303" => RuleAction::Redirect(303),
                "307" => RuleAction::Redirect(307),
                "308" => RuleAction::Redirect(308),
                "404" => RuleAction::NotFound,
                _ => {
                    return Err(format!(
                        "`{word}` is not known; a rule ends with 200, 301, 302, 303, 307, 308 or 404, and `!` where it counts before the site's files"
                    ));
                }
            };
            (action, force)
        }
    };
    if let Some(word) = words.next() {
        return Err(format!("`{word}` is not known: nothing follows the status"));
    }
    let to = Template::parse(to, &from, action)?;
    Ok(Redirect { from, to, action, force })
}
