//! A TOML text with its places: parses, and turns every kind of refusal into a [`Problem`].
//!
//! Serde's messages name no table and no line. This looks the span up in the parsed document and
//! says both.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::Problem;
use super::refusal::Refusal;

/// The largest file that is read: far more than people write, and a bound on what a repository can
/// make Kennel hold.
const LARGEST: usize = 1024 * 1024;

/// A file's name and text, and what it says.
pub(super) struct Document<'a> {
    file: &'a str,
    text: &'a str,
    root: Spanned<DeTable<'a>>,
}

/// The keys that lead to a place in a document; none for the document itself.
struct Place {
    keys: Vec<String>,
    /// Whether it is the last key itself, rather than its value.
    is_key: bool,
}

impl<'a> Document<'a> {
    /// The text as TOML.
    pub(super) fn parse(file: &'a str, text: &'a str) -> Result<Self, Problem> {
        if text.len() > LARGEST {
            let message = format!("the file is larger than {LARGEST} bytes");
            return Err(Problem { file: file.to_owned(), line: 1, column: 1, message, help: None });
        }
        let (root, errors) = DeTable::parse_recoverable(text);
        // The parser reports some mistakes after others that follow from them.
        match errors.iter().min_by_key(|error| error.span().unwrap_or_default().start) {
            None => Ok(Self { file, text, root }),
            Some(error) => {
                let message = format!("this is not TOML: {}", one_line(error.message()));
                Err(problem(file, text, error.span().unwrap_or_default(), message, None))
            }
        }
    }

    /// The whole document as a `Raw`, settled.
    pub(super) fn settle<Raw: DeserializeOwned, Settled>(
        &self,
        settle: impl FnOnce(Raw) -> Result<Settled, Refusal>,
    ) -> Result<Settled, Problem> {
        let raw = Raw::deserialize(Deserializer::from(self.root.clone()))
            .map_err(|error| self.explain(&error))?;
        settle(raw).map_err(|refusal| self.locate(refusal))
    }

    fn locate(&self, refusal: Refusal) -> Problem {
        let place = self.place(&refusal.span);
        let message = format!("{}{}", place.prefix(), refusal.message);
        problem(self.file, self.text, refusal.span, message, refusal.help)
    }

    /// A message of serde's, in Kennel's words.
    fn explain(&self, error: &toml::de::Error) -> Problem {
        let span = error.span().unwrap_or_default();
        let place = self.place(&span);
        let message = error.message();
        let (message, help) = if let Some(rest) = message.strip_prefix("unknown field ") {
            let key = place.keys.last().cloned().unwrap_or_default();
            let table = place.keys.split_last().map_or(&[][..], |(_, table)| table);
            (format!("unknown key `{key}`{}", within(table)), nearest(&key, &quoted(rest)))
        } else if let Some(rest) = message.strip_prefix("unknown variant ") {
            let wrong = self.text.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']);
            let known = quoted(rest).join(", ");
            (format!("{}`{}` is none of {known}", place.prefix(), shown(wrong)), None)
        } else if let Some(key) = message.strip_prefix("missing field ") {
            // The span is the table's own.
            (format!("{key} is missing{}", within(&place.keys)), None)
        } else if let Some((found, expected)) = mismatch(message) {
            let quotes = expected == "a string" && !found.contains("sequence") && found != "map";
            let help = quotes.then(|| "put it in quotes".to_owned());
            (format!("{}expected {expected}, found {found}", place.prefix()), help)
        } else {
            (format!("{}{}", place.prefix(), one_line(message)), None)
        };
        problem(self.file, self.text, span, message, help)
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let mut keys = Vec::new();
        let is_key = find(self.root.get_ref(), span, &mut keys) == Some(Found::Key);
        Place { keys, is_key }
    }
}

impl Place {
    /// ``‘`key` in [table]: ’`` for a value; `[table]: ` for a key, which the message names itself.
    fn prefix(&self) -> String {
        match self.keys.split_last() {
            None => String::new(),
            Some((_, [])) if self.is_key => String::new(),
            Some((_, table)) if self.is_key => format!("[{}]: ", table.join(".")),
            Some((key, table)) => format!("`{key}`{}: ", within(table)),
        }
    }
}

/// ` in [table]`; nothing at the top.
fn within(table: &[String]) -> String {
    if table.is_empty() { String::new() } else { format!(" in [{}]", table.join(".")) }
}

#[derive(Clone, Copy, PartialEq)]
enum Found {
    Key,
    Value,
}

/// Pushes the keys that lead to the key or value with this span.
fn find(table: &DeTable<'_>, span: &Range<usize>, keys: &mut Vec<String>) -> Option<Found> {
    table.iter().find_map(|(key, value)| {
        keys.push(shown(key.get_ref()));
        let found =
            if key.span() == *span { Some(Found::Key) } else { find_in_value(value, span, keys) };
        if found.is_none() {
            keys.pop();
        }
        found
    })
}

fn find_in_value(
    value: &Spanned<DeValue<'_>>,
    span: &Range<usize>,
    keys: &mut Vec<String>,
) -> Option<Found> {
    if value.span() == *span {
        return Some(Found::Value);
    }
    match value.get_ref() {
        DeValue::Table(inner) => find(inner, span, keys),
        DeValue::Array(items) => items.iter().find_map(|item| find_in_value(item, span, keys)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => None,
    }
}

fn problem(
    file: &str,
    text: &str,
    span: Range<usize>,
    message: String,
    help: Option<String>,
) -> Problem {
    let before = text.get(..span.start.min(text.len())).unwrap_or_default();
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    Problem {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        message,
        help,
    }
}

/// The names between backticks after `expected`, in a message of serde's.
fn quoted(message: &str) -> Vec<String> {
    // From the right: the offending text stands before it and may say anything.
    let expected = message.rsplit_once(", expected ").map_or("", |(_, expected)| expected);
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// What was found and what was expected, in people's words, from serde's message about types.
fn mismatch(message: &str) -> Option<(String, &str)> {
    let (found, expected) = message.strip_prefix("invalid type: ")?.rsplit_once(", expected ")?;
    let expected = match expected {
        "i64" => "a whole number",
        "a sequence" => "a list in brackets",
        "a map" => "a table",
        "a boolean" => "true or false",
        // Raw structs' names are nobody's business.
        other if other.starts_with("struct ") => "a table",
        other => other,
    };
    let found = one_line(found).replace(" as i128", "").replace(" as u64", "");
    Some((found, expected))
}

/// The known word that was probably meant.
fn near<'k>(wrong: &str, known: &'k [String]) -> Option<&'k String> {
    let wrong = wrong.to_lowercase();
    known
        .iter()
        .map(|word| (strsim::jaro_winkler(&wrong, word), word))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, word)| word)
}

fn nearest(wrong: &str, known: &[String]) -> Option<String> {
    match near(wrong, known) {
        Some(word) => Some(format!("did you mean `{word}`?")),
        None if known.is_empty() => None,
        None => Some(format!("known keys here are {}", known.join(", "))),
    }
}

/// A text of the file's, fit for a log.
fn shown(text: &str) -> String {
    text.chars().take(80).flat_map(char::escape_debug).collect()
}

fn one_line(message: &str) -> String {
    let line = message.lines().collect::<Vec<_>>().join(", ");
    line.chars().take(400).filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests;
