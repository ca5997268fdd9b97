//! `_redirects` and `_headers`: what a site says itself about how it is served.
//!
//! The common part of the format that Netlify documents, parsed here for kennel-deploy, which
//! refuses a site with a problem, and for kennel-router, which serves by it. Nothing in them makes
//! the router ask another host, and no header can change how an answer is framed.

mod headers;
mod pattern;
mod redirects;

use std::fmt;
use std::io::{self, Read};

pub use headers::HeaderRule;
pub use pattern::PathPattern;
pub use redirects::{Redirect, RuleAction, Template};

/// What the two files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SiteRules {
    /// In the order of the file: the first that matches counts.
    pub redirects: Vec<Redirect>,
    /// In the order of the file: all that match count.
    pub headers: Vec<HeaderRule>,
}

/// A line that is no rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleProblem {
    /// [`SiteRules::REDIRECTS`] or [`SiteRules::HEADERS`].
    pub file: &'static str,
    /// From 1 on; 0 for the whole file.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub why: String,
}

impl fmt::Display for RuleProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.why),
            line => write!(f, "{}:{line}: {}", self.file, self.why),
        }
    }
}

impl SiteRules {
    /// The name of the file with redirects and rewrites, at the top of a site.
    pub const REDIRECTS: &str = "_redirects";
    /// The name of the file with headers, at the top of a site.
    pub const HEADERS: &str = "_headers";
    /// Neither file may have more bytes.
    const MOST_BYTES: u64 = 256 << 10;
    /// Neither file may have more rules: each is compared with a request's path.
    pub const MOST_RULES: usize = 1_000;

    /// Reads one of the two files into the rules. What is wrong is told and is no rule.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(&mut self, file: &'static str, from: impl Read) -> io::Result<Vec<RuleProblem>> {
        let whole = |why: &str| Ok(vec![RuleProblem { file, line: 0, why: why.to_owned() }]);
        let mut text = Vec::new();
        from.take(Self::MOST_BYTES + 1).read_to_end(&mut text)?;
        if u64::try_from(text.len()).is_ok_and(|len| len > Self::MOST_BYTES) {
            return whole("it has more than 256 KiB");
        }
        let Ok(text) = std::str::from_utf8(&text) else { return whole("it is not UTF-8") };
        let mut problems = Vec::new();
        let mut report = |line, why| problems.push(RuleProblem { file, line, why });
        let lines = (1..).zip(text.lines()).map(|(number, line)| (number, line.trim()));
        let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let rules = if file == Self::HEADERS {
            self.headers = headers::parse(lines, &mut report);
            self.headers.len()
        } else {
            self.redirects = redirects::parse(lines, &mut report);
            self.redirects.len()
        };
        if rules > Self::MOST_RULES {
            report(0, format!("it has {rules} rules, and {} are the most", Self::MOST_RULES));
            self.headers.truncate(Self::MOST_RULES);
            self.redirects.truncate(Self::MOST_RULES);
        }
        Ok(problems)
    }

    /// Whether they say nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.redirects.is_empty() && self.headers.is_empty()
    }
}

#[cfg(test)]
mod tests;
