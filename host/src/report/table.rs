//! The output of a command: aligned columns of text, or one JSON object.

use std::fmt;

use serde::Serialize;

use crate::text::{json, shown};

/// How a result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A table.
    Text,
    /// One JSON object.
    Json,
}

impl Format {
    /// The text to print.
    ///
    /// # Errors
    /// The result cannot be represented in JSON.
    pub fn render<R: Serialize + fmt::Display>(self, result: &R) -> serde_json::Result<String> {
        match self {
            Self::Text => Ok(result.to_string()),
            Self::Json => json_text(result),
        }
    }
}

/// A value as indented JSON, whose strings hold no character that acts on a terminal.
///
/// # Errors
/// The value cannot be represented in JSON.
pub(crate) fn json_text<R: Serialize + ?Sized>(value: &R) -> serde_json::Result<String> {
    Ok(json(&serde_json::to_string_pretty(value)?) + "\n")
}

/// A table for the terminal: the first column is left-aligned, the others right-aligned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings; what cells hold is data, and is escaped.
    pub fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![headings.into_iter().map(cell).collect()] }
    }

    /// Adds a row; it may be shorter than the headings.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(cell).collect());
    }
}

fn cell<S: Into<String>>(text: S) -> String {
    let text: String = text.into();
    shown(&text).to_string()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let cell_width = |cell: &String| cell.chars().count();
        let widths: Vec<usize> = (0..columns)
            .map(|i| self.rows.iter().filter_map(|row| row.get(i)).map(cell_width).max())
            .map(|width| width.unwrap_or(0))
            .collect();
        for (index, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line += &match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("  {cell:>width$}"),
                };
            }
            writeln!(f, "{}", line.trim_end())?;
            if index == 0 {
                writeln!(
                    f,
                    "{}",
                    "-".repeat(widths.iter().sum::<usize>() + 2 * columns.saturating_sub(1))
                )?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line() {
        let mut table = Table::new(["class", "images"]);
        table.row(["a\nb\u{1b}[2J", "1"]);
        assert_eq!(table.to_string().lines().count(), 3, "{table}");
        assert!(table.to_string().contains("a\\nb\\u{1b}[2J       1"), "{table}");
    }

    #[test]
    fn tables_are_aligned() {
        let mut table = Table::new(["arm", "accuracy"]);
        table.row(["conventional", "0.31"]);
        table.row(["δ = 10", "0.324"]);
        let expected = "arm           accuracy\n----------------------\nconventional      0.31\nδ = 10           0.324\n";
        assert_eq!(table.to_string(), expected);
    }
}
