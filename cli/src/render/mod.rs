//! How results, errors and messages look. Values in, text out.

mod cell;
mod csv;
mod error;
mod message;
mod table;

pub(crate) use csv::{csv, csv_line};
pub(crate) use error::failure_text;
pub(crate) use message::{message_csv, message_json, message_line};
pub(crate) use table::{expanded, table};

#[cfg(test)]
mod tests;
