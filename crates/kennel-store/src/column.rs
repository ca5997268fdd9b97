//! Columns that hold names: text goes back through the one door of its type.

use std::error::Error;
use std::str::FromStr;

use kennel_core::Timestamp;
use rusqlite::Row;
use rusqlite::types::Type;

/// The text in the column `name`, parsed.
pub(crate) fn parsed<T>(row: &Row<'_>, name: &str) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    let index = row.as_ref().column_index(name)?;
    let text: String = row.get(index)?;
    text.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(index, Type::Text, Box::new(error))
    })
}

/// The text in the column `name`, parsed; none for NULL.
pub(crate) fn parsed_or_null<T>(row: &Row<'_>, name: &str) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    let text: Option<String> = row.get(name)?;
    if text.is_some() { parsed(row, name).map(Some) } else { Ok(None) }
}

/// The moment in the column `name`; none for NULL.
pub(crate) fn moment(row: &Row<'_>, name: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(name)?.map(Timestamp::from_millis))
}
