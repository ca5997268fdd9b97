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

/// A place in a document: the keys that lead to a table, and the key in it.
#[derive(Default)]
struct Place {
    table: Vec<String>,
    key: Option<String>,
}

impl<'a> Document<'a> {
    /// The text as TOML.
    pub(super) fn parse(file: &'a str, text: &'a str) -> Result<Self, Problem> {
        if text.len() > LARGEST {
            let message = format!("the file is larger than {LARGEST} bytes");
            return Err(Problem { file: file.to_owned(), line: 1, column: 1, message, help: None });
        }
        let root = DeTable::parse(text).map_err(|error| {
            let message = format!("this is not TOML: {}", one_line(error.message()));
            problem(file, text, error.span().unwrap_or_default(), message, None)
        })?;
        Ok(Self { file, text, root })
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

    /// What to say of a value that is there, at `keys`; none if it is not there.
    pub(super) fn remark(
        &self,
        keys: &[&str],
        message: impl FnOnce(&DeValue<'a>) -> Option<String>,
    ) -> Option<Problem> {
        let (last, path) = keys.split_last()?;
        let mut table = self.root.get_ref();
        for key in path {
            table = table.get(*key)?.get_ref().as_table()?;
        }
        let (key, value) = table.get_key_value(*last)?;
        let message = message(value.get_ref())?;
        Some(problem(self.file, self.text, key.span(), message, None))
    }

    /// The keys of the table at `keys`.
    pub(super) fn keys(&self, keys: &[&str]) -> Vec<String> {
        let mut table = self.root.get_ref();
        for key in keys {
            match table.get(*key).and_then(|value| value.get_ref().as_table()) {
                Some(inner) => table = inner,
                None => return Vec::new(),
            }
        }
        table.keys().map(|key| key.get_ref().to_string()).collect()
    }

    fn locate(&self, refusal: Refusal) -> Problem {
        let place = self.place(&refusal.span).unwrap_or_default();
        let message = format!("{}{}", place.prefix(), refusal.message);
        problem(self.file, self.text, refusal.span, message, refusal.help)
    }

    /// A message of serde's, in Kennel's words.
    fn explain(&self, error: &toml::de::Error) -> Problem {
        let span = error.span().unwrap_or_default();
        let place = self.place(&span).unwrap_or_default();
        let message = error.message();
        let (message, help) = if let Some(rest) = message.strip_prefix("unknown field ") {
            let key = place.key.clone().unwrap_or_default();
            (format!("unknown key `{key}`{}", place.within()), nearest(&key, &quoted(rest)))
        } else if let Some(rest) = message.strip_prefix("unknown variant ") {
            let known = quoted(rest);
            let wrong = self.text.get(span.clone()).unwrap_or_default().trim_matches(['"', '\'']);
            let listed = known.join(", ");
            let near = near(wrong, &known).map(|near| format!("did you mean `{near}`?"));
            (format!("{}`{}` is none of {listed}", place.prefix(), shown(wrong)), near)
        } else if let Some(key) = message.strip_prefix("missing field ") {
            // The span is the table's own, so the place's key is its last part.
            (format!("{key} is missing{}", place.inside()), None)
        } else {
            let help = (message.starts_with("invalid type: ") && message.ends_with(" a string"))
                .then(|| "put it in quotes".to_owned());
            (format!("{}{}", place.prefix(), one_line(message)), help)
        };
        problem(self.file, self.text, span, message, help)
    }

    fn place(&self, span: &Range<usize>) -> Option<Place> {
        let mut place = Place::default();
        find(self.root.get_ref(), span, &mut place.table).then(|| {
            place.key = place.table.pop();
            place
        })
    }
}

impl Place {
    /// ``‘`key` in [table]: ’``
    fn prefix(&self) -> String {
        match &self.key {
            Some(key) => format!("`{key}`{}: ", self.within()),
            None => String::new(),
        }
    }

    /// ` in [table]`
    fn within(&self) -> String {
        if self.table.is_empty() {
            String::new()
        } else {
            format!(" in [{}]", self.table.join("."))
        }
    }

    /// ` in [table.key]`
    fn inside(&self) -> String {
        let whole: Vec<_> = self.table.iter().chain(&self.key).map(String::as_str).collect();
        if whole.is_empty() { String::new() } else { format!(" in [{}]", whole.join(".")) }
    }
}

/// Pushes the keys that lead to the key or value with this span.
fn find(table: &DeTable<'_>, span: &Range<usize>, path: &mut Vec<String>) -> bool {
    table.iter().any(|(key, value)| {
        path.push(shown(key.get_ref()));
        let here = key.span() == *span
            || value.span() == *span
            || match value.get_ref() {
                DeValue::Table(inner) => find(inner, span, path),
                DeValue::Array(items) => items.iter().any(|item| {
                    item.span() == *span
                        || item.get_ref().as_table().is_some_and(|inner| find(inner, span, path))
                }),
                DeValue::String(_)
                | DeValue::Integer(_)
                | DeValue::Float(_)
                | DeValue::Boolean(_)
                | DeValue::Datetime(_) => false,
            };
        if !here {
            path.pop();
        }
        here
    })
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

/// The known word that was probably meant.
fn near<'k>(wrong: &str, known: &'k [String]) -> Option<&'k String> {
    known
        .iter()
        .map(|word| (strsim::jaro_winkler(wrong, word), word))
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
