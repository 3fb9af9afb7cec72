//! Stored rows: values by column id, so that columns can be added, dropped and renamed without touching rows.
//!
//! ```text
//! +---------+-----------------+  then, for each column whose value is not NULL, in the table's order:
//! | version | _seq            |  +--------------------+-----+-------+
//! | 1 byte  | 8 bytes, little |  | column id (varint) | tag | value |
//! +---------+-----------------+  +--------------------+-----+-------+
//! A NULL is stored (tag 0, no value) only in a column that shows something else where nothing is stored: one that was added
//! with a default.
//!
//! tag  type       value                          tag  type       value
//!  1   BOOLEAN    1 byte, 0 or 1                  6   DECIMAL    scale (1 byte), mantissa (zigzag varint)
//!  2   SMALLINT   zigzag varint                   7   TEXT       length (varint), UTF-8
//!  3   INT        zigzag varint                   8   BYTES      length (varint), bytes
//!  4   BIGINT     zigzag varint                   9   JSON       length (varint), UTF-8, compact
//!  5   DOUBLE     8 bytes, little                10   TIMESTAMP  zigzag varint, microseconds
//! 11   REAL       4 bytes, little                15   INTERVAL   months, days, microseconds (zigzag varints)
//! 12   DATE       zigzag varint, days            16   UUID       16 bytes, big
//! 13   TIME       zigzag varint, microseconds    17   EMBEDDING  numbers (varint), 4 bytes each, little
//! 14   TIMESTAMPTZ  as TIMESTAMP                 18   arrays     tag of the elements, their number (varint), and for each
//!                                                                0 (NULL) or tag and value
//! ```
//!
//! Version 1. A varint has 7 bits per byte, the lowest first, the top bit set on all but the last byte. The bytes carry no
//! checksum: blocks and log records around them do.

use std::collections::BTreeSet;

use rust_decimal::Decimal;

use crate::catalog::{ColumnId, Table};
use crate::datetime;
use crate::diag::{Diag, SqlState};
use crate::embedding;
use crate::interval::Interval;
use crate::value::{Array, DataType, Element, Row, Value};

/// The version that [`encode_row`] writes.
pub const ROW_VERSION: u8 = 1;

/// Bytes before the first column.
const HEADER: usize = 9;

/// The tag of a NULL that is stored.
const NULL_TAG: u8 = 0;

/// Why bytes are no stored row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// A version that this program does not know.
    #[error("stored row has version {0}; this program reads version {ROW_VERSION}")]
    Version(u8),
    /// The bytes end too early.
    #[error("stored row ends too early, at byte {at}")]
    Truncated {
        /// Where.
        at: usize,
    },
    /// A number longer than any number is, or a tag, sign or scale that does not exist.
    #[error("stored row has an invalid value at byte {at}")]
    Invalid {
        /// Where.
        at: usize,
    },
    /// A column holds a value of another type than its own.
    #[error("stored row has a {found} in column \"{column}\", which is {expected}")]
    Type {
        /// The column's name.
        column: String,
        /// Its type.
        expected: DataType,
        /// The stored value's type.
        found: &'static str,
    },
    /// A value of a column's earlier type that does not convert to its type: the change of type should have refused it.
    #[error("stored row has a value in column \"{column}\" that does not convert to {to}")]
    Conversion {
        /// The column's name.
        column: String,
        /// Its type.
        to: DataType,
    },
    /// A column stands there twice.
    #[error("stored row has column id {0} twice")]
    Duplicate(u32),
}

impl From<RowError> for Diag {
    fn from(error: RowError) -> Self {
        Self::new(SqlState::DATA_CORRUPTED, error.to_string())
    }
}

/// The row's stored form. `values` stand in the order of the table's columns; missing ones are NULL.
#[must_use]
pub fn encode_row(table: &Table, values: &[Value], seq: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER + values.iter().map(Value::size).sum::<usize>() / 2);
    out.push(ROW_VERSION);
    out.extend_from_slice(&seq.to_le_bytes());
    for (column, value) in table.columns.iter().zip(values) {
        if !value.is_null() {
            push_varint(u128::from(column.id.0), &mut out);
            push_value(value, &mut out);
        } else if column.missing.is_some() {
            push_varint(u128::from(column.id.0), &mut out);
            out.push(NULL_TAG);
        }
    }
    out
}

/// Which columns of a table somebody looks at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Columns {
    /// Every one.
    #[default]
    All,
    /// Those whose place in the table says true; places behind the end say false.
    These(Vec<bool>),
}

impl Columns {
    /// The columns at these places.
    #[must_use]
    pub fn at(places: &BTreeSet<u32>) -> Self {
        let end = places.last().map_or(0, |last| *last as usize + 1);
        let mut these = vec![false; end];
        places.iter().filter_map(|place| these.get_mut(*place as usize).map(|is_in| *is_in = true)).for_each(drop);
        Self::These(these)
    }

    fn has(&self, place: usize) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.get(place).copied().unwrap_or(false),
        }
    }

    /// How many there are of them.
    fn count(&self, table: &Table) -> usize {
        match self {
            Self::All => table.columns.len(),
            Self::These(these) => these.iter().take(table.columns.len()).filter(|is_in| **is_in).count(),
        }
    }
}

/// The row's values in the order of the table's columns, and its `_seq`. A column that is not stored is NULL or what it was
/// added with, a stored one that the table no longer has is skipped, one of an earlier type is converted.
///
/// # Errors
/// See [`RowError`]; no bytes make this panic.
pub fn decode_row(table: &Table, bytes: &[u8]) -> Result<(Row, u64), RowError> {
    let mut row = Row::new();
    let seq = decode_columns(table, bytes, &Columns::All, &mut row)?;
    Ok((row, seq))
}

/// [`decode_row`] into a row whose memory is used again; gives its `_seq`. All columns but these are NULL: what nobody looks at is passed over,
/// and not looked at for damage, and nothing behind the last of them.
///
/// # Errors
/// As [`decode_row`]; the row holds nothing that counts then.
pub fn decode_columns(table: &Table, bytes: &[u8], columns: &Columns, row: &mut Row) -> Result<u64, RowError> {
    let mut reader = Reader { bytes, at: 0 };
    let seq = reader.header()?;
    // Most of a row that is used again is NULL still.
    row.iter_mut().filter(|value| !value.is_null()).for_each(|value| *value = Value::Null);
    row.resize(table.columns.len(), Value::Null);
    let is_part = *columns != Columns::All;
    let mut missing = columns.count(table);
    // Columns are stored in the table's order, so the next one is nearly always the next slot.
    let mut expected = 0;
    let mut absent = Absent::of(table, columns);
    while reader.at < bytes.len() && !(is_part && missing == 0) {
        let at = reader.at;
        let id = ColumnId(u32::try_from(reader.varint()?).map_err(|_| RowError::Invalid { at })?);
        let (position, value) = match position(table, id, expected) {
            Some(position) if !columns.has(position) => {
                reader.pass_over()?;
                expected = position + 1;
                continue;
            }
            Some(position) => (position, reader.value()?),
            None => match converted(table, id, reader.value()?)? {
                Some(found) => found,
                None => continue,
            },
        };
        expected = position + 1;
        absent.remove(position);
        let (Some(column), Some(slot)) = (table.columns.get(position), row.get_mut(position)) else { continue };
        match value.data_type() {
            Some(found) if !found.same_kind(&column.data_type) => {
                return Err(RowError::Type {
                    column: column.name.clone(),
                    expected: column.data_type,
                    found: found.wire_name(),
                });
            }
            _ if !slot.is_null() => return Err(RowError::Duplicate(id.0)),
            _ if columns.has(position) => {
                *slot = value;
                missing = missing.saturating_sub(1);
            }
            _ => {}
        }
    }
    absent.fill(table, row);
    Ok(seq)
}

/// Columns that show something else than NULL where nothing is stored, as far as nothing has been met.
struct Absent(Vec<usize>);

impl Absent {
    fn of(table: &Table, columns: &Columns) -> Self {
        let added = table.columns.iter().enumerate().filter(|(_, column)| column.missing.is_some());
        Self(added.map(|(position, _)| position).filter(|position| columns.has(*position)).collect())
    }

    fn remove(&mut self, position: usize) {
        if !self.0.is_empty() {
            self.0.retain(|absent| *absent != position);
        }
    }

    fn fill(self, table: &Table, row: &mut Row) {
        for position in self.0 {
            let missing = table.columns.get(position).and_then(|column| column.missing.clone());
            if let (Some(missing), Some(slot)) = (missing, row.get_mut(position)) {
                *slot = missing;
            }
        }
    }
}

/// A value that was stored under an earlier identity of a column: the column's position, and the value as each later type has it.
fn converted(table: &Table, id: ColumnId, value: Value) -> Result<Option<(usize, Value)>, RowError> {
    let met = table.columns.iter().enumerate().find_map(|(position, column)| {
        let step = column.formerly.iter().position(|former| former.id == id)?;
        Some((position, column, step))
    });
    let Some((position, column, step)) = met else { return Ok(None) };
    let later = column.formerly.iter().skip(step + 1).map(|former| former.data_type);
    let mut value = value;
    for to in later.chain([column.data_type]) {
        if !value.is_null() {
            let refused = |_| RowError::Conversion { column: column.name.clone(), to: column.data_type };
            value = crate::cast::cast(value, to, true).map_err(refused)?;
        }
    }
    Ok(Some((position, value)))
}

/// The row's `_seq` alone.
///
/// # Errors
/// As [`decode_row`], of the first nine bytes.
pub fn decode_seq(bytes: &[u8]) -> Result<u64, RowError> {
    Reader { bytes, at: 0 }.header()
}

fn position(table: &Table, id: ColumnId, expected: usize) -> Option<usize> {
    if table.columns.get(expected).is_some_and(|column| column.id == id) {
        return Some(expected);
    }
    table.columns.iter().position(|column| column.id == id)
}

fn push_varint(mut number: u128, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

/// Small numbers of either sign as small unsigned ones: 0, -1, 1, -2 ...
fn zigzag(number: i128) -> u128 {
    (number << 1 ^ number >> 127).cast_unsigned()
}

fn unzigzag(number: u128) -> i128 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

fn push_integer(tag: u8, number: i128, out: &mut Vec<u8>) {
    out.push(tag);
    push_varint(zigzag(number), out);
}

fn push_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    push_varint(u128::try_from(bytes.len()).unwrap_or(0), out);
    out.extend_from_slice(bytes);
}

fn push_value(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => {}
        Value::Boolean(v) => out.extend_from_slice(&[1, u8::from(*v)]),
        Value::SmallInt(v) => push_integer(2, i128::from(*v), out),
        Value::Int(v) => push_integer(3, i128::from(*v), out),
        Value::BigInt(v) => push_integer(4, i128::from(*v), out),
        Value::Double(v) => {
            out.push(5);
            out.extend_from_slice(&v.to_bits().to_le_bytes());
        }
        Value::Decimal(v) => {
            out.extend_from_slice(&[6, u8::try_from(v.scale()).unwrap_or(0)]);
            push_varint(zigzag(v.mantissa()), out);
        }
        Value::Text(v) => push_bytes(7, v.as_bytes(), out),
        Value::Bytes(v) => push_bytes(8, v, out),
        Value::Json(v) => push_bytes(9, v.as_bytes(), out),
        Value::Timestamp(v) => push_integer(10, i128::from(*v), out),
        Value::Float(v) => {
            out.push(11);
            out.extend_from_slice(&v.to_bits().to_le_bytes());
        }
        Value::Date(v) => push_integer(12, i128::from(*v), out),
        Value::Time(v) => push_integer(13, i128::from(*v), out),
        Value::DateTime(v) => push_integer(14, i128::from(*v), out),
        Value::Interval(v) => {
            push_integer(15, i128::from(v.months), out);
            push_varint(zigzag(i128::from(v.days)), out);
            push_varint(zigzag(i128::from(v.micros)), out);
        }
        Value::Uuid(v) => {
            out.push(16);
            out.extend_from_slice(&v.to_be_bytes());
        }
        Value::Embedding(v) => {
            out.push(17);
            push_varint(u128::try_from(v.len()).unwrap_or(0), out);
            v.iter().for_each(|number| out.extend_from_slice(&number.to_bits().to_le_bytes()));
        }
        Value::Array(v) => {
            out.extend_from_slice(&[18, element_tag(v.element())]);
            push_varint(u128::try_from(v.items().len()).unwrap_or(0), out);
            for item in v.items() {
                if item.is_null() {
                    out.push(0);
                } else {
                    push_value(item, out);
                }
            }
        }
    }
}

/// Elements by their tags.
const ELEMENTS: [(u8, Element); 16] = [
    (1, Element::Boolean),
    (2, Element::SmallInt),
    (3, Element::Int),
    (4, Element::BigInt),
    (5, Element::Double),
    (6, Element::Decimal { precision: 0, scale: 0 }),
    (7, Element::Text),
    (8, Element::Bytes),
    (9, Element::Json),
    (10, Element::Timestamp),
    (11, Element::Float),
    (12, Element::Date),
    (13, Element::Time),
    (14, Element::DateTime),
    (15, Element::Interval),
    (16, Element::Uuid),
];

fn element_tag(element: Element) -> u8 {
    ELEMENTS.iter().find(|(_, known)| *known == element.plain()).map_or(0, |(tag, _)| *tag)
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    fn take(&mut self, count: usize) -> Result<&'b [u8], RowError> {
        let taken = self.at.checked_add(count).and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| self.truncated())?;
        self.at += count;
        Ok(taken)
    }

    #[cold]
    const fn truncated(&self) -> RowError {
        RowError::Truncated { at: self.bytes.len() }
    }

    #[inline]
    fn byte(&mut self) -> Result<u8, RowError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.truncated())?;
        self.at += 1;
        Ok(byte)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], RowError> {
        let at = self.at;
        self.take(N)?.try_into().map_err(|_| RowError::Truncated { at })
    }

    fn header(&mut self) -> Result<u64, RowError> {
        match self.byte()? {
            ROW_VERSION => Ok(u64::from_le_bytes(self.fixed()?)),
            other => Err(RowError::Version(other)),
        }
    }

    fn varint(&mut self) -> Result<u128, RowError> {
        let start = self.at;
        let mut low = 0_u64;
        // Nearly all numbers fit these, and 64 bits are quicker than 128.
        for group in 0..9 {
            let byte = self.byte()?;
            low |= u64::from(byte & 0x7f) << (group * 7);
            if byte & 0x80 == 0 {
                return Ok(u128::from(low));
            }
        }
        let mut number = u128::from(low);
        // Fifteen groups hold the 97 bits of a zigzag mantissa, the longest number there is.
        for group in 9..15 {
            let byte = self.byte()?;
            number |= u128::from(byte & 0x7f) << (group * 7);
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(RowError::Invalid { at: start })
    }

    fn integer<T: TryFrom<i128>>(&mut self) -> Result<T, RowError> {
        let at = self.at;
        T::try_from(unzigzag(self.varint()?)).map_err(|_| RowError::Invalid { at })
    }

    fn content(&mut self) -> Result<&'b [u8], RowError> {
        let at = self.at;
        let length = usize::try_from(self.varint()?).map_err(|_| RowError::Invalid { at })?;
        self.take(length)
    }

    fn text(&mut self) -> Result<String, RowError> {
        let at = self.at;
        let text = std::str::from_utf8(self.content()?).map_err(|_| RowError::Invalid { at })?;
        Ok(text.to_owned())
    }

    /// An embedding's or array's number of items, of at least `size` bytes each.
    fn count(&mut self, size: usize) -> Result<usize, RowError> {
        let at = self.at;
        let count = usize::try_from(self.varint()?).map_err(|_| RowError::Invalid { at })?;
        if count.saturating_mul(size) > self.bytes.len().saturating_sub(self.at) {
            return Err(RowError::Truncated { at: self.bytes.len() });
        }
        Ok(count)
    }

    fn array(&mut self) -> Result<Value, RowError> {
        let at = self.at;
        let wanted = self.byte()?;
        let (_, element) = ELEMENTS.iter().find(|(tag, _)| *tag == wanted).ok_or(RowError::Invalid { at })?;
        let count = self.count(1)?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            let at = self.at;
            items.push(match self.byte()? {
                0 => Value::Null,
                tag if tag == wanted => self.tagged(tag, at)?,
                _ => return Err(RowError::Invalid { at }),
            });
        }
        Ok(Value::Array(Box::new(Array::new(*element, items))))
    }

    fn value(&mut self) -> Result<Value, RowError> {
        let at = self.at;
        let tag = self.byte()?;
        if tag == NULL_TAG { Ok(Value::Null) } else { self.tagged(tag, at) }
    }

    /// Goes behind a value without making it.
    fn pass_over(&mut self) -> Result<(), RowError> {
        let at = self.at;
        match self.byte()? {
            NULL_TAG => {}
            1 => drop(self.byte()?),
            2..=4 | 10 | 12..=14 => drop(self.varint()?),
            5 => drop(self.take(8)?),
            6 => {
                self.byte()?;
                self.varint()?;
            }
            7..=9 => drop(self.content()?),
            11 => drop(self.take(4)?),
            15 => {
                for _ in 0..3 {
                    self.varint()?;
                }
            }
            16 => drop(self.take(16)?),
            17 => {
                let count = self.count(4)?;
                self.take(count.saturating_mul(4))?;
            }
            18 => drop(self.array()?),
            _ => return Err(RowError::Invalid { at }),
        }
        Ok(())
    }

    /// The value behind its tag, which stands at `at`.
    fn tagged(&mut self, tag: u8, at: usize) -> Result<Value, RowError> {
        Ok(match tag {
            1 => match self.byte()? {
                0 => Value::Boolean(false),
                1 => Value::Boolean(true),
                _ => return Err(RowError::Invalid { at }),
            },
            2 => Value::SmallInt(self.integer()?),
            3 => Value::Int(self.integer()?),
            4 => Value::BigInt(self.integer()?),
            5 => Value::Double(f64::from_bits(u64::from_le_bytes(self.fixed()?))),
            6 => {
                let scale = u32::from(self.byte()?);
                let mantissa = self.integer()?;
                Value::Decimal(
                    Decimal::try_from_i128_with_scale(mantissa, scale).map_err(|_| RowError::Invalid { at })?,
                )
            }
            7 => Value::Text(self.text()?),
            8 => Value::Bytes(self.content()?.to_vec()),
            9 => Value::Json(self.text()?),
            10 => Value::Timestamp(self.integer()?),
            11 => Value::Float(f32::from_bits(u32::from_le_bytes(self.fixed()?))),
            12 => Value::Date(self.integer()?),
            13 => match self.integer()? {
                micros @ 0..=datetime::DAY => Value::Time(micros),
                _ => return Err(RowError::Invalid { at }),
            },
            14 => Value::DateTime(self.integer()?),
            15 => Value::Interval(Interval { months: self.integer()?, days: self.integer()?, micros: self.integer()? }),
            16 => Value::Uuid(u128::from_be_bytes(self.fixed()?)),
            17 => {
                let count = self.count(4)?;
                if !embedding::fits(count) {
                    return Err(RowError::Invalid { at });
                }
                let number = |_| Ok(f32::from_bits(u32::from_le_bytes(self.fixed()?)));
                Value::Embedding((0..count).map(number).collect::<Result<_, RowError>>()?)
            }
            18 => self.array()?,
            _ => return Err(RowError::Invalid { at }),
        })
    }
}

#[cfg(test)]
mod tests;
