//! Formats whose rows are written one by one, so that a result of any size passes through.

use serde_json::{Map, Value};

use crate::answer::Column;
use crate::args::Format;
use crate::variables::quoted_name;

use super::{cell, csv_line};

/// Writes the rows of one result.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    format: Format,
    /// The table that INSERTs name.
    table: String,
    columns: Vec<Column>,
    /// `INSERT INTO t (a, b) VALUES `.
    insert: String,
}

impl Lines {
    pub(crate) fn new(format: Format, table: &str) -> Self {
        Self { format, table: table.to_owned(), columns: Vec::new(), insert: String::new() }
    }

    /// What stands before the rows.
    pub(crate) fn header(&mut self, columns: &[Column]) -> String {
        self.columns = columns.to_vec();
        let names = || columns.iter().map(|column| column.name.clone());
        match self.format {
            Format::Csv => csv_line(names().map(Some)),
            Format::Tsv => names().map(|name| tab_escaped(&name)).collect::<Vec<_>>().join("\t") + "\n",
            Format::Markdown => {
                let names: Vec<String> = names().map(|name| markdown_escaped(&name)).collect();
                let rule = columns.iter().map(|column| if column.is_number() { "---:" } else { "---" });
                format!("| {} |\n| {} |\n", names.join(" | "), rule.collect::<Vec<_>>().join(" | "))
            }
            Format::Insert => {
                let names: Vec<String> = names().map(|name| name_of(&name)).collect();
                self.insert = format!("INSERT INTO {} ({}) VALUES ", self.table, names.join(", "));
                String::new()
            }
            Format::Jsonl | Format::Json | Format::Arrow | Format::Table | Format::Box | Format::Vertical => {
                String::new()
            }
        }
    }

    /// One row with its end.
    pub(crate) fn row(&self, row: Vec<Value>) -> String {
        let cells = || row.iter().enumerate().map(|(at, value)| (value, self.columns.get(at)));
        match self.format {
            Format::Csv => csv_line(cells().map(|(value, column)| cell::raw(value, column))),
            Format::Tsv => {
                let cells = cells().map(|(value, column)| {
                    cell::raw(value, column).map_or_else(|| "\\N".to_owned(), |text| tab_escaped(&text))
                });
                cells.collect::<Vec<_>>().join("\t") + "\n"
            }
            Format::Markdown => {
                let cells = cells().map(|(value, column)| {
                    cell::raw(value, column).map_or_else(|| "NULL".to_owned(), |text| markdown_escaped(&text))
                });
                format!("| {} |\n", cells.collect::<Vec<_>>().join(" | "))
            }
            Format::Insert => {
                let cells = cells().map(|(value, column)| sql_literal(value, column));
                format!("{}({});\n", self.insert, cells.collect::<Vec<_>>().join(", "))
            }
            Format::Jsonl | Format::Json | Format::Arrow | Format::Table | Format::Box | Format::Vertical => {
                let mut document = Map::new();
                for (at, value) in row.into_iter().enumerate() {
                    let mut name =
                        self.columns.get(at).map_or_else(|| format!("column {}", at + 1), |column| column.name.clone());
                    // Two columns of one name are two fields.
                    while document.contains_key(&name) {
                        name.push('_');
                    }
                    document.insert(name, value);
                }
                format!("{}\n", Value::Object(document))
            }
        }
    }
}

/// As PostgreSQL's COPY does.
fn tab_escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn markdown_escaped(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(cell::on_one_line).collect();
    lines.join("<br>").replace('\\', "\\\\").replace('|', "\\|")
}

/// A name, quoted where it must be.
fn name_of(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name
            .chars()
            .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '_');
    if is_plain { name.to_owned() } else { quoted_name(name) }
}

fn sql_literal(value: &Value, column: Option<&Column>) -> String {
    let Some(text) = cell::raw(value, column) else { return "NULL".to_owned() };
    let is_number = column.is_some_and(Column::is_number) && text.ends_with(|last: char| last.is_ascii_digit());
    if is_number || value.is_boolean() { text } else { crate::command::literal(&text) }
}
