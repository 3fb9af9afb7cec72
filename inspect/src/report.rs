//! What a command has to say, before it is rendered.

use std::path::{Path, PathBuf};

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// Words, keys.
    Text(String),
    /// A count, an id, an offset.
    Number(u64),
    /// A size.
    Bytes(u64),
    /// A proportion.
    Ratio(f64),
    /// Nothing known.
    Nothing,
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(number as u64)
    }
}

impl<T: Into<Self>> From<Option<T>> for Cell {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nothing, Into::into)
    }
}

/// A part of a report.
#[derive(Clone, Debug)]
pub(crate) enum Section {
    /// Names and values.
    Facts {
        /// What they are about.
        title: String,
        /// In order.
        facts: Vec<(&'static str, Cell)>,
    },
    /// Rows of equal columns.
    Rows {
        /// What they are.
        title: String,
        /// Names of the columns.
        columns: Vec<&'static str>,
        /// A cell for each column.
        rows: Vec<Vec<Cell>>,
    },
}

/// A damaged place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// The file.
    pub(crate) file: PathBuf,
    /// Where in it, in bytes.
    pub(crate) offset: u64,
    /// What is wrong there.
    pub(crate) what: String,
}

/// All that a command has to say.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The command.
    pub(crate) command: &'static str,
    /// In the order of output.
    pub(crate) sections: Vec<Section>,
    /// Every damaged place.
    pub(crate) damages: Vec<Damage>,
    /// What is remarkable and no damage.
    pub(crate) notes: Vec<String>,
}

impl Report {
    pub(crate) const fn new(command: &'static str) -> Self {
        Self { command, sections: Vec::new(), damages: Vec::new(), notes: Vec::new() }
    }

    pub(crate) fn facts(&mut self, title: impl Into<String>, facts: Vec<(&'static str, Cell)>) {
        self.sections.push(Section::Facts { title: title.into(), facts });
    }

    pub(crate) fn rows(&mut self, title: impl Into<String>, columns: &[&'static str], rows: Vec<Vec<Cell>>) {
        self.sections.push(Section::Rows { title: title.into(), columns: columns.to_vec(), rows });
    }

    pub(crate) fn damage(&mut self, file: &Path, offset: u64, what: impl Into<String>) {
        let damage = Damage { file: file.to_owned(), offset, what: what.into() };
        if !self.damages.contains(&damage) {
            self.damages.push(damage);
        }
    }

    pub(crate) fn note(&mut self, what: impl Into<String>) {
        self.notes.push(what.into());
    }
}

/// A key or value as text: printable ASCII as it is, the rest as `\xNN`.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'\\' => text.push_str("\\\\"),
            0x20..=0x7e => text.push(char::from(*byte)),
            _ => text.push_str(&format!("\\x{byte:02x}")),
        }
    }
    text
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
