//! Tables of figures, for a terminal and for docs/performance.md.

use super::series::Series;

/// Prints a table of rows with median, least and most.
pub(crate) fn table<'n, 's>(title: &str, rows: impl IntoIterator<Item = (&'n str, &'s Series)>) {
    println!("\n{title:<52} {:>9} {:>9} {:>9}", "median", "min", "max");
    for (name, series) in rows {
        if !series.is_empty() {
            println!("{name:<52} {}", series.columns());
        }
    }
}
