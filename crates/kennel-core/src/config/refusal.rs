//! What a settling step says when it refuses: the place is still a span, the file unknown.

use std::ops::Range;

use toml::Spanned;

/// A problem whose place is a range of bytes. [`super::document::Document`] makes it a
/// [`super::Problem`].
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Refusal {
    pub(super) fn at<T>(value: &Spanned<T>, message: impl Into<String>) -> Self {
        Self { span: value.span(), message: message.into(), help: None }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// A whole number within `range`, or `default` if the key is not there.
pub(super) fn whole_number<T>(
    value: Option<&Spanned<i64>>,
    range: std::ops::RangeInclusive<T>,
    default: T,
) -> Result<T, Refusal>
where
    T: TryFrom<i64> + PartialOrd + std::fmt::Display,
{
    let Some(value) = value else { return Ok(default) };
    match T::try_from(*value.get_ref()) {
        Ok(number) if range.contains(&number) => Ok(number),
        Ok(_) | Err(_) => Err(Refusal::at(
            value,
            format!("{} is not between {} and {}", value.get_ref(), range.start(), range.end()),
        )),
    }
}
