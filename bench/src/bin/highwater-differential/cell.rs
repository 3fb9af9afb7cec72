//! One value of a result, in a form that both servers' answers are brought into.

use std::cmp::Ordering;

use jiff::civil::{Date, DateTime, Time};
use serde_json::Value;

/// A value, as far as comparing needs it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    /// NULL.
    Null,
    /// BOOLEAN.
    Bool(bool),
    /// Integers and DECIMAL: the digits without needless zeros.
    Exact(String),
    /// REAL.
    Real(f64),
    /// DOUBLE.
    Float(f64),
    /// TIMESTAMP, TIMESTAMPTZ and TIME in microseconds, DATE in days.
    Moment(i64),
    /// BYTES.
    Bytes(Vec<u8>),
    /// JSON, parsed.
    Json(Value),
    /// INTERVAL: its length, a month being 30 days, and its text.
    Span(i128, String),
    /// Everything else, as its text.
    Text(String),
}

/// What a column holds, as Highwater's schema names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Exact,
    Real,
    Float,
    Timestamp,
    Date,
    Time,
    Bytes,
    Json,
    List,
    Days,
    Span,
    Text,
}

impl Kind {
    /// By the name in the schema of an answer.
    pub(crate) fn of(data_type: &Value) -> Self {
        match data_type.as_str() {
            Some("Boolean") => Self::Bool,
            Some("SmallInt" | "Int" | "BigInt") => Self::Exact,
            Some("Float") => Self::Real,
            Some("Double") => Self::Float,
            Some("Timestamp" | "DateTime") => Self::Timestamp,
            Some("Date") => Self::Date,
            Some("Time") => Self::Time,
            Some("Bytes") => Self::Bytes,
            Some("Json") => Self::Json,
            Some("Interval") => Self::Span,
            Some(_) => Self::Text,
            None if data_type.get("Decimal").is_some() => Self::Exact,
            None if data_type.get("Array").is_some_and(|element| element == "Date") => Self::Days,
            None if data_type.get("Array").is_some() => Self::List,
            None => Self::Text,
        }
    }
}

impl Cell {
    /// A cell of Highwater's answer.
    pub(crate) fn ours(kind: Kind, value: &Value) -> Option<Self> {
        Some(match (kind, value) {
            (_, Value::Null) => Self::Null,
            (Kind::Bool, Value::Bool(value)) => Self::Bool(*value),
            (Kind::Exact, Value::String(digits)) => Self::Exact(plain(digits)),
            (Kind::Exact, Value::Number(number)) => Self::Exact(plain(&number.to_string())),
            (Kind::Float, Value::Number(number)) => Self::Float(number.as_f64()?),
            (Kind::Float, Value::String(text)) => Self::Float(text.parse().ok()?),
            (Kind::Real, Value::Number(number)) => Self::Real(number.as_f64()?),
            (Kind::Real, Value::String(text)) => Self::Real(text.parse().ok()?),
            (Kind::Timestamp | Kind::Date | Kind::Time, Value::Number(number)) => Self::Moment(number.as_i64()?),
            (Kind::Bytes, Value::Array(bytes)) => {
                Self::Bytes(bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok()).collect::<Option<_>>()?)
            }
            (Kind::Json, Value::String(text)) => Self::Json(serde_json::from_str(text).ok()?),
            // As PostgreSQL writes an array.
            (Kind::List | Kind::Days, Value::Array(items)) => {
                let items = items.iter().map(|item| element(kind, item)).collect::<Option<Vec<String>>>()?;
                Self::Text(format!("{{{}}}", items.join(",")))
            }
            (Kind::Span, Value::String(text)) => Self::Span(length(text)?, text.clone()),
            (Kind::Text, Value::String(text)) => Self::Text(text.clone()),
            (Kind::Text, other) => Self::Text(other.to_string()),
            _ => return None,
        })
    }

    /// A cell of PostgreSQL's answer, as psql prints it; `None` for NULL.
    pub(crate) fn theirs(kind: Kind, text: Option<&str>) -> Option<Self> {
        let Some(text) = text else { return Some(Self::Null) };
        Some(match kind {
            Kind::Bool => Self::Bool(match text {
                "t" => true,
                "f" => false,
                _ => return None,
            }),
            Kind::Exact => Self::Exact(plain(text)),
            Kind::Real => Self::Real(text.parse().ok()?),
            Kind::Float => Self::Float(text.parse().ok()?),
            Kind::Timestamp => Self::Moment(timestamp(text)?),
            Kind::Date => {
                let day: Date = text.parse().ok()?;
                Self::Moment(micros(day.to_datetime(Time::midnight()))? / 86_400_000_000)
            }
            Kind::Time => {
                let time: Time = text.parse().ok()?;
                Self::Moment(micros(Date::constant(1970, 1, 1).to_datetime(time))?)
            }
            Kind::Bytes => Self::Bytes(
                text.strip_prefix("\\x")?
                    .as_bytes()
                    .chunks(2)
                    .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok())
                    .collect::<Option<_>>()?,
            ),
            Kind::Json => Self::Json(serde_json::from_str(text).ok()?),
            Kind::Span => Self::Span(length(text)?, text.to_owned()),
            Kind::List | Kind::Days | Kind::Text => Self::Text(text.to_owned()),
        })
    }

    /// A total order, to compare results as bags.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Bool(a), Self::Bool(b)) => a.cmp(b),
            (Self::Exact(a), Self::Exact(b)) => {
                let (x, y): (f64, f64) = (a.parse().unwrap_or(0.0), b.parse().unwrap_or(0.0));
                x.total_cmp(&y)
            }
            (Self::Float(a), Self::Float(b)) | (Self::Real(a), Self::Real(b)) => a.total_cmp(b),
            (Self::Moment(a), Self::Moment(b)) => a.cmp(b),
            (Self::Bytes(a), Self::Bytes(b)) => a.cmp(b),
            (Self::Json(a), Self::Json(b)) => a.to_string().cmp(&b.to_string()),
            (Self::Span(a, _), Self::Span(b, _)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Exact(_) => 2,
            Self::Float(_) | Self::Real(_) => 3,
            Self::Moment(_) => 4,
            Self::Bytes(_) => 5,
            Self::Json(_) => 6,
            Self::Span(..) => 7,
            Self::Text(_) => 8,
        }
    }
}

/// An element of an array as PostgreSQL writes it: in quotes where it would be misread.
fn element(kind: Kind, item: &Value) -> Option<String> {
    let text = match (kind, item) {
        (_, Value::Null) => return Some("NULL".to_owned()),
        (Kind::Days, Value::Number(days)) => {
            let span = jiff::Span::new().try_days(days.as_i64()?).ok()?;
            Date::constant(1970, 1, 1).checked_add(span).ok()?.to_string()
        }
        (_, Value::String(text)) => text.clone(),
        (_, Value::Bool(truth)) => if *truth { "t" } else { "f" }.to_owned(),
        (_, other) => other.to_string(),
    };
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace();
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        return Some(text);
    }
    Some(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

/// `2026-01-01 10:00:00.5`, perhaps with `+00`, in microseconds since 1970.
fn timestamp(text: &str) -> Option<i64> {
    let civil: DateTime = text.trim_end_matches("+00").replace(' ', "T").parse().ok()?;
    micros(civil)
}

fn micros(civil: DateTime) -> Option<i64> {
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond())
}

/// The length of an interval in microseconds, as it is compared: a month has 30 days, a day 24 hours.
fn length(text: &str) -> Option<i128> {
    const DAY: i128 = 86_400_000_000;
    let (mut sum, mut words) = (0_i128, text.split_whitespace());
    while let Some(word) = words.next() {
        if let Some((hours, rest)) = word.split_once(':') {
            let (minutes, seconds) = rest.split_once(':')?;
            let (seconds, part) = seconds.split_once('.').unwrap_or((seconds, ""));
            let number = |digits: &str| digits.parse::<i128>().ok();
            let whole = number(hours.trim_start_matches(['-', '+']))? * 3600 + number(minutes)? * 60 + number(seconds)?;
            let micros = whole * 1_000_000 + number(&format!("{part:0<6}"))?;
            sum += if hours.starts_with('-') { -micros } else { micros };
            continue;
        }
        let count: i128 = word.parse().ok()?;
        sum += count
            * match words.next()?.trim_end_matches('s') {
                "year" => 360 * DAY,
                "mon" => 30 * DAY,
                "day" => DAY,
                _ => return None,
            };
    }
    Some(sum)
}

/// Digits without zeros that say nothing.
fn plain(digits: &str) -> String {
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |rest| ("-", rest));
    let digits = match digits.split_once('.') {
        Some((whole, part)) => {
            let part = part.trim_end_matches('0');
            if part.is_empty() { whole.to_owned() } else { format!("{whole}.{part}") }
        }
        None => digits.to_owned(),
    };
    if digits == "0" { digits } else { format!("{sign}{digits}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use serde_json::json;

    use super::*;

    #[test]
    fn the_same_value_of_both_servers_is_the_same_cell() {
        for (kind, ours, theirs) in [
            (Kind::Exact, json!("12.50"), "12.5"),
            (Kind::Exact, json!(-0), "0"),
            (Kind::Bool, json!(true), "t"),
            (Kind::Timestamp, json!(1_500_000), "1970-01-01 00:00:01.5"),
            (Kind::Timestamp, json!(-1), "1969-12-31 23:59:59.999999+00"),
            (Kind::Date, json!(-1), "1969-12-31"),
            (Kind::Time, json!(1), "00:00:00.000001"),
            (Kind::Bytes, json!([0, 255]), "\\x00ff"),
            (Kind::Json, json!("{\"a\": 1}"), "{\"a\":1}"),
            (Kind::Float, json!(0.1), "0.1"),
            (Kind::Float, json!("-Infinity"), "-Infinity"),
            (Kind::Real, json!(0.1), "0.1"),
            (Kind::List, json!([1, null]), "{1,NULL}"),
            (Kind::List, json!(["1.50", "a b", "null", ""]), "{1.50,\"a b\",\"null\",\"\"}"),
            (Kind::Days, json!([0, null, -1]), "{1970-01-01,NULL,1969-12-31}"),
            (Kind::Span, json!("1 year -2 mons +3 days -04:05:06.5"), "1 year -2 mons +3 days -04:05:06.5"),
            (Kind::Text, json!("a b"), "a b"),
        ] {
            let cell = Cell::ours(kind, &ours).unwrap();
            assert_eq!(Cell::theirs(kind, Some(theirs)), Some(cell), "{theirs}");
        }
        assert_eq!(length("1 mon -00:00:01.5"), Some(30 * 86_400_000_000 - 1_500_000));
        assert_eq!(length("-1 days"), Some(-86_400_000_000));
        assert_eq!(Cell::ours(Kind::Text, &Value::Null), Cell::theirs(Kind::Text, None));
    }
}
