//! What was measured several times: its median, and how far the others lie from it.

use std::time::Duration;

use serde_json::{Value, json};

/// Figures of one kind, in one unit.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Adds one, in milliseconds.
    pub(crate) fn add(&mut self, duration: Duration) {
        self.add_number(duration.as_secs_f64() * 1000.0);
    }

    /// Adds one.
    pub(crate) fn add_number(&mut self, number: f64) {
        self.0.push(number);
        self.0.sort_by(f64::total_cmp);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The middle one, or the mean of the two; 0 of none.
    pub(crate) fn median(&self) -> f64 {
        let at = |index: usize| self.0.get(index).copied().unwrap_or_default();
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.0.first().copied().unwrap_or_default()
    }

    pub(crate) fn most(&self) -> f64 {
        self.0.last().copied().unwrap_or_default()
    }

    /// Median, least and most, right-aligned for a table.
    pub(crate) fn columns(&self) -> String {
        let digits = usize::from(self.median().abs() < 100.0);
        format!(
            "{:>9.digits$} {:>9.digits$} {:>9.digits$}",
            self.median(),
            self.least(),
            self.most()
        )
    }

    pub(crate) fn json(&self) -> Value {
        json!({
            "median": self.median(), "min": self.least(), "max": self.most(), "all": self.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_few() {
        let mut series = Series::default();
        assert!(series.median().abs() < f64::EPSILON);
        for number in [5.0, 1.0, 9.0] {
            series.add_number(number);
        }
        assert!((series.median() - 5.0).abs() < f64::EPSILON);
        series.add_number(6.0);
        assert!((series.median() - 5.5).abs() < f64::EPSILON);
        assert_eq!(series.columns(), "      5.5       1.0       9.0");
    }
}
