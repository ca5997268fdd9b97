//! Columns for people: aligned, two spaces apart, no lines between them.

use crate::terminal::{Colour, Terminal};

/// One cell.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cell {
    text: String,
    colour: Colour,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), colour: Colour::Plain }
    }

    pub(crate) fn painted(text: impl Into<String>, colour: Colour) -> Self {
        Self { text: text.into(), colour }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

/// Rows under a head.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|text| Cell::painted(*text, Colour::Faint)).collect()] }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The whole table; each line ends with a newline and without spaces.
    pub(crate) fn render(&self, terminal: Terminal) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column| self.rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<usize> =
            (0..columns).map(|column| cells(column).map(Cell::width).max().unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            let mut padding = 0;
            for (cell, width) in row.iter().zip(&widths) {
                if !cell.text.is_empty() {
                    line.push_str(&" ".repeat(padding));
                    line.push_str(&terminal.paint(cell.colour, &cell.text));
                    padding = 0;
                }
                padding += width + 2 - cell.width();
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_lines_end_without_spaces() {
        let mut table = Table::new(&["ID", "NAME", "LAST"]);
        table.row(vec![Cell::new("1"), Cell::new("ü"), Cell::new("x")]);
        table.row(vec![Cell::new("100"), Cell::new(""), Cell::new("y")]);
        table.row(vec![Cell::new("2"), Cell::new("long name"), Cell::default()]);
        insta::assert_snapshot!(table.render(Terminal::plain()), @"
        ID   NAME       LAST
        1    ü          x
        100             y
        2    long name
        ");
        assert!(table.render(Terminal::plain()).lines().all(|line| !line.ends_with(' ')));
    }

    #[test]
    fn colours_do_not_move_columns() {
        let mut table = Table::new(&["A", "B"]);
        table.row(vec![Cell::painted("bad", Colour::Bad), Cell::new("x")]);
        table.row(vec![Cell::new("plain"), Cell::new("x")]);
        let coloured = table.render(Terminal { colours: true });
        assert_eq!(
            crate::terminal::printable(&coloured.replace('\n', "\t")).replace('\t', "\n"),
            table.render(Terminal::plain())
        );
    }
}
