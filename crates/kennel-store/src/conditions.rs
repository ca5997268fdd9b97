//! A filter in SQL.

use rusqlite::types::Value;

/// Conditions that must all hold. Only what is asked for, since SQLite chooses an index by the
/// conditions it sees.
pub(crate) struct Conditions {
    /// What stands behind `WHERE`.
    pub(crate) sql: String,
    /// What its `?` stand for, in order.
    pub(crate) values: Vec<Value>,
}

impl Conditions {
    /// Everything fits.
    pub(crate) fn none() -> Self {
        Self { sql: "1".to_owned(), values: Vec::new() }
    }

    pub(crate) fn and<const N: usize>(&mut self, condition: &str, values: [Value; N]) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    /// The column has one of these words; any if there is none.
    pub(crate) fn and_one_of(&mut self, column: &str, words: impl Iterator<Item = &'static str>) {
        let words: Vec<_> = words.map(|word| format!("'{word}'")).collect();
        if !words.is_empty() {
            self.and(&format!("{column} IN ({})", words.join(", ")), []);
        }
    }
}
