//! How results, errors and messages look. Values in, text (or bytes) out.

mod arrow;
mod cell;
mod csv;
mod error;
mod lines;
mod message;
mod plan;
mod table;

pub(crate) use arrow::ArrowStream;
pub(crate) use csv::csv_line;
pub(crate) use error::failure_text;
pub(crate) use lines::Lines;
pub(crate) use message::{MessageFormat, message_csv, message_json, message_line};
pub(crate) use plan::plan;
pub(crate) use table::{boxed, expanded, is_too_wide, table, table_body};

/// A cell as text; `None` for NULL.
pub(crate) fn cell_text(cell: &serde_json::Value, column: Option<&crate::answer::Column>) -> Option<String> {
    cell::raw(cell, column)
}

/// Microseconds since 1970 as a time in UTC.
pub(crate) fn timestamp(micros: i64) -> String {
    cell::timestamp(micros)
}

#[cfg(test)]
mod tests;
