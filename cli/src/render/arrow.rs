//! Rows as an Arrow IPC stream: the schema, then a batch whenever enough rows have come, then the mark of the end.
//!
//! Values keep their types. What an Arrow type cannot hold is refused, never bent: 24:00 is no time of day there, and an interval
//! counts nanoseconds. A stream that was broken off lacks its mark.

use std::sync::Arc;

use arrow_array::builder::PrimitiveBuilder;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, FixedSizeListArray, ListArray, RecordBatch, StringArray};
use arrow_buffer::{IntervalMonthDayNano, NullBuffer, OffsetBuffer};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DECIMAL128_MAX_PRECISION, DataType, Field, IntervalUnit, Schema, SchemaRef, TimeUnit};
use highwater_sql::interval;
use serde_json::Value;

use crate::answer::Column;
use crate::failure::Unwritable;

use super::cell;

/// Rows of a batch, and about how many bytes of cells.
const MOST_ROWS: usize = 8192;
const MOST_BYTES: usize = 4 << 20;
/// What a number takes, more or less.
const CELL_BYTES: usize = 8;
/// Digits of a DECIMAL that was computed.
const COMPUTED_DIGITS: u8 = 28;
const DAY_MICROS: i64 = 86_400_000_000;

/// The rows of one result on their way into a stream. Bytes are handed out as they are made.
pub(crate) struct ArrowStream {
    columns: Vec<Column>,
    schema: SchemaRef,
    writer: StreamWriter<Vec<u8>>,
    rows: Vec<Vec<Value>>,
    bytes: usize,
}

impl ArrowStream {
    pub(crate) fn begin(columns: &[Column]) -> Result<Self, Unwritable> {
        let fields: Vec<Field> =
            columns.iter().map(|column| Field::new(&column.name, data_type(column), true)).collect();
        let schema = Arc::new(Schema::new(fields));
        let writer = StreamWriter::try_new(Vec::new(), &schema)?;
        Ok(Self { columns: columns.to_vec(), schema, writer, rows: Vec::new(), bytes: 0 })
    }

    /// Takes a row.
    pub(crate) fn row(&mut self, row: Vec<Value>) -> Result<(), Unwritable> {
        self.bytes += row.iter().map(size).sum::<usize>();
        self.rows.push(row);
        if self.rows.len() >= MOST_ROWS || self.bytes >= MOST_BYTES { self.batch() } else { Ok(()) }
    }

    /// What follows the last row.
    pub(crate) fn end(&mut self) -> Result<(), Unwritable> {
        if !self.rows.is_empty() {
            self.batch()?;
        }
        Ok(self.writer.finish()?)
    }

    /// The bytes that were made since the last time.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(self.writer.get_mut())
    }

    fn batch(&mut self) -> Result<(), Unwritable> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let columns = self.schema.fields().iter().zip(&self.columns).enumerate().map(|(at, (field, column))| {
            let cells: Vec<&Value> = rows.iter().map(|row| row.get(at).unwrap_or(&Value::Null)).collect();
            array(field.data_type(), &cells)
                .map_err(|misfit| Unwritable(format!("column {:?}: {misfit}; cast it to TEXT", column.name)))
        });
        let columns = columns.collect::<Result<Vec<ArrayRef>, Unwritable>>()?;
        Ok(self.writer.write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?)
    }
}

impl From<ArrowError> for Unwritable {
    fn from(error: ArrowError) -> Self {
        Self(error.to_string())
    }
}

/// The type of a column. What this release does not know is a text, and so is DECIMAL where each value has its own digits.
fn data_type(column: &Column) -> DataType {
    let item = |data_type| Arc::new(Field::new_list_field(data_type, true));
    match column.type_name() {
        "Boolean" => DataType::Boolean,
        "SmallInt" => DataType::Int16,
        "Int" => DataType::Int32,
        "BigInt" => DataType::Int64,
        "Float" => DataType::Float32,
        "Double" => DataType::Float64,
        "Decimal" => match column.digits() {
            // Expressions give as many digits behind the point as 28 leave room for: the type does not bound both sides.
            Some((COMPUTED_DIGITS, scale)) => DataType::Decimal128(DECIMAL128_MAX_PRECISION, scale),
            Some((precision @ 1.., scale)) => DataType::Decimal128(precision, scale),
            Some((0, _)) | None => DataType::Utf8,
        },
        "Bytes" => DataType::Binary,
        "Date" => DataType::Date32,
        "Time" => DataType::Time64(TimeUnit::Microsecond),
        "Timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "DateTime" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "Interval" => DataType::Interval(IntervalUnit::MonthDayNano),
        "Embedding" => match column.dimensions() {
            Some(dimensions @ 1..) => DataType::FixedSizeList(item(DataType::Float32), dimensions),
            Some(_) | None => DataType::List(item(DataType::Float32)),
        },
        "Array" => DataType::List(item(column.element().as_ref().map_or(DataType::Utf8, data_type))),
        _ => DataType::Utf8,
    }
}

/// About what a cell takes.
fn size(cell: &Value) -> usize {
    match cell {
        Value::String(text) => text.len() + CELL_BYTES,
        Value::Array(cells) => cells.iter().map(size).sum::<usize>() + CELL_BYTES,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => CELL_BYTES,
    }
}

/// Cells of one type as an array; the message says which cell is none of it.
fn array(data_type: &DataType, cells: &[&Value]) -> Result<ArrayRef, String> {
    Ok(match data_type {
        DataType::Boolean => Arc::new(read(data_type, cells, Value::as_bool)?.into_iter().collect::<BooleanArray>()),
        DataType::Int16 => numbers::<Int16Type>(data_type, cells, |cell| whole(cell)?.try_into().ok())?,
        DataType::Int32 => numbers::<Int32Type>(data_type, cells, |cell| whole(cell)?.try_into().ok())?,
        DataType::Int64 => numbers::<Int64Type>(data_type, cells, whole)?,
        #[expect(clippy::cast_possible_truncation, reason = "the digits are those of a binary32")]
        DataType::Float32 => numbers::<Float32Type>(data_type, cells, |cell| Some(float(cell)? as f32))?,
        DataType::Float64 => numbers::<Float64Type>(data_type, cells, float)?,
        DataType::Decimal128(precision, scale) => {
            numbers::<Decimal128Type>(data_type, cells, |cell| decimal(cell, *precision, *scale))?
        }
        DataType::Binary => Arc::new(read(data_type, cells, bytes)?.into_iter().collect::<BinaryArray>()),
        DataType::Date32 => numbers::<Date32Type>(data_type, cells, |cell| whole(cell)?.try_into().ok())?,
        DataType::Time64(_) => numbers::<Time64MicrosecondType>(data_type, cells, |cell| {
            whole(cell).filter(|micros| (0..DAY_MICROS).contains(micros))
        })?,
        DataType::Timestamp(..) => numbers::<TimestampMicrosecondType>(data_type, cells, whole)?,
        DataType::Interval(_) => numbers::<IntervalMonthDayNanoType>(data_type, cells, span)?,
        DataType::List(item) => {
            let lists = read(data_type, cells, |cell| cell.as_array())?;
            let lengths = lists.iter().map(|list| list.map_or(0, Vec::len));
            let offsets = OffsetBuffer::from_lengths(lengths);
            let items: Vec<&Value> = lists.iter().flatten().copied().flatten().collect();
            let nulls = NullBuffer::from_iter(lists.iter().map(Option::is_some));
            let items = array(item.data_type(), &items)?;
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, Some(nulls)).map_err(|e| e.to_string())?)
        }
        DataType::FixedSizeList(item, length) => {
            let wanted = usize::try_from(*length).unwrap_or(0);
            let of_length = |cell| Value::as_array(cell).filter(|list| list.len() == wanted);
            let lists = read(data_type, cells, of_length)?;
            let fill = Value::Null;
            let items = lists.iter().flat_map(|list| {
                (0..wanted).map(|at| list.and_then(|list| list.get(at)).unwrap_or(&fill)).collect::<Vec<&Value>>()
            });
            let items = array(item.data_type(), &items.collect::<Vec<&Value>>())?;
            let nulls = NullBuffer::from_iter(lists.iter().map(Option::is_some));
            let lists = FixedSizeListArray::try_new(Arc::clone(item), *length, items, Some(nulls));
            Arc::new(lists.map_err(|e| e.to_string())?)
        }
        // Only what `data_type` makes comes here: this is Utf8.
        _ => Arc::new(cells.iter().map(|cell| cell::raw(cell, None)).collect::<StringArray>()),
    })
}

/// Every cell as `read` reads it; NULLs are `None`.
fn read<'v, T>(
    data_type: &DataType,
    cells: &[&'v Value],
    read: impl Fn(&'v Value) -> Option<T>,
) -> Result<Vec<Option<T>>, String> {
    let cells = cells.iter().map(|cell| match cell {
        Value::Null => Ok(None),
        cell => read(cell).map(Some).ok_or_else(|| format!("{cell} does not fit Arrow's {data_type}")),
    });
    cells.collect()
}

fn numbers<T: ArrowPrimitiveType>(
    data_type: &DataType,
    cells: &[&Value],
    native: impl Fn(&Value) -> Option<T::Native>,
) -> Result<ArrayRef, String> {
    let mut builder = PrimitiveBuilder::<T>::with_capacity(cells.len()).with_data_type(data_type.clone());
    for cell in read(data_type, cells, native)? {
        builder.append_option(cell);
    }
    Ok(Arc::new(builder.finish()))
}

fn whole(cell: &Value) -> Option<i64> {
    cell.as_i64().or_else(|| cell.as_str()?.parse().ok())
}

fn float(cell: &Value) -> Option<f64> {
    match cell.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        Some(_) => None,
        None => cell.as_f64(),
    }
}

/// The digits without their point, `scale` of them behind it.
fn decimal(cell: &Value, precision: u8, scale: i8) -> Option<i128> {
    let text = cell::raw(cell, None)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let missing = usize::try_from(scale).ok()?.checked_sub(fraction.len())?;
    let value: i128 = format!("{whole}{fraction}{}", "0".repeat(missing)).parse().ok()?;
    (value.unsigned_abs() < 10_u128.checked_pow(u32::from(precision))?).then_some(value)
}

fn bytes(cell: &Value) -> Option<Vec<u8>> {
    cell.as_array()?.iter().map(|byte| byte.as_u64()?.try_into().ok()).collect()
}

fn span(cell: &Value) -> Option<IntervalMonthDayNano> {
    let span = interval::parse(cell.as_str()?, None).ok()?;
    Some(IntervalMonthDayNano::new(span.months, span.days, span.micros.checked_mul(1_000)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use arrow_array::Array as _;
    use arrow_array::cast::AsArray as _;
    use arrow_ipc::reader::StreamReader;
    use serde_json::json;

    use super::*;

    fn columns(types: &[Value]) -> Vec<Column> {
        let column = |data_type| serde_json::from_value(json!({"name": "c", "data_type": data_type})).unwrap();
        types.iter().map(column).collect()
    }

    fn written(types: &[Value], rows: Vec<Vec<Value>>) -> Result<RecordBatch, String> {
        let mut stream = ArrowStream::begin(&columns(types)).map_err(|error| error.to_string())?;
        let mut bytes = stream.take();
        for row in rows {
            stream.row(row).map_err(|error| error.to_string())?;
        }
        stream.end().map_err(|error| error.to_string())?;
        bytes.extend(stream.take());
        Ok(StreamReader::try_new(bytes.as_slice(), None).unwrap().next().unwrap().unwrap())
    }

    #[test]
    fn decimals_keep_their_digits_and_scale() {
        let decimal = |precision, scale| json!({"Decimal": {"precision": precision, "scale": scale}});
        let types = [decimal(10, 2), decimal(28, 16), decimal(0, 0)];
        let rows = vec![
            vec![json!("-0.05"), json!("1234567890123456.5"), json!("1.50")],
            vec![json!("20"), Value::Null, json!("7")],
        ];
        let batch = written(&types, rows).unwrap();
        let first = batch.column(0).as_primitive::<Decimal128Type>();
        assert_eq!((first.value(0), first.value(1)), (-5, 2000));
        assert_eq!(batch.schema().field(1).data_type(), &DataType::Decimal128(38, 16));
        assert_eq!(
            batch.column(1).as_primitive::<Decimal128Type>().value_as_string(0),
            "1234567890123456.5000000000000000"
        );
        assert_eq!(batch.column(2).as_string::<i32>().value(0), "1.50", "each value has its own digits");
    }

    #[test]
    fn lists_hold_nulls_and_are_null() {
        let types = [json!({"Array": "BigInt"}), json!({"Embedding": 2}), json!({"Array": "Timestamp"})];
        let rows =
            vec![vec![json!(["1", null]), json!([0.5, -1]), json!([])], vec![Value::Null, Value::Null, json!([7])]];
        let batch = written(&types, rows).unwrap();
        let lists = batch.column(0).as_list::<i32>();
        assert!(lists.is_null(1) && lists.value(0).is_null(1));
        assert_eq!(lists.value(0).as_primitive::<Int64Type>().value(0), 1);
        let vectors = batch.column(1).as_fixed_size_list();
        assert!(vectors.is_null(1));
        assert_eq!(vectors.value(0).as_primitive::<Float32Type>().values(), &[0.5, -1.0]);
        assert_eq!(
            (batch.column(2).as_list::<i32>().value(0).len(), batch.column(2).as_list::<i32>().value_length(1)),
            (0, 1)
        );
    }

    #[test]
    fn what_a_type_cannot_hold_is_refused_with_its_column() {
        for (data_type, cell) in [
            (json!("Time"), json!(86_400_000_000_i64)),
            (json!("Interval"), json!("300 years 10000000:00:00")),
            (json!({"Decimal": {"precision": 28, "scale": 16}}), json!("12345678901234567890123456.5")),
            (json!({"Decimal": {"precision": 4, "scale": 1}}), json!("1.25")),
            (json!("Double"), json!("much")),
            (json!({"Embedding": 2}), json!([1])),
            (json!({"Array": "SmallInt"}), json!([40_000])),
        ] {
            let error = written(std::slice::from_ref(&data_type), vec![vec![cell]]).unwrap_err();
            assert!(
                error.starts_with("column \"c\": ") && error.ends_with("; cast it to TEXT"),
                "{data_type}: {error}"
            );
        }
    }

    #[test]
    fn many_rows_or_large_ones_make_a_batch() {
        let mut stream = ArrowStream::begin(&columns(&[json!("Text")])).unwrap();
        let schema = stream.take().len();
        stream.row(vec![json!("x".repeat(MOST_BYTES))]).unwrap();
        assert!(schema > 0 && stream.take().len() > MOST_BYTES, "a large row goes at once");
        for _ in 1..MOST_ROWS {
            stream.row(vec![json!("x")]).unwrap();
        }
        assert!(stream.take().is_empty());
        stream.row(vec![json!("x")]).unwrap();
        assert!(!stream.take().is_empty());
    }
}
