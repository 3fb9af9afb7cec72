//! Functions of timestamps, all in UTC.

use rust_decimal::Decimal;

use crate::cast;
use crate::datetime::{self, Civil, DAY, HOUR, MINUTE, SECOND, civil, date_from_days, days_from_date};
use crate::diag::{Diag, SqlState};
use crate::value::{DataType, Micros, Value};

fn unknown(field: &str) -> Diag {
    Diag::new(SqlState::INVALID_PARAMETER, format!("unit \"{field}\" not recognized for type TIMESTAMP")).hint(
        "units are microseconds, milliseconds, second, minute, hour, day, week, month, quarter, year, decade, century, millennium",
    )
}

fn out_of_range() -> Diag {
    Diag::new(SqlState::INVALID_DATETIME, "timestamp out of range")
}

/// PostgreSQL's spellings of a unit, singular.
fn unit(field: &str) -> String {
    let lower = field.trim_ascii().to_ascii_lowercase();
    match lower.as_str() {
        "centuries" => "century".to_owned(),
        "millennia" | "millenniums" => "millennium".to_owned(),
        "us" | "microsecond" | "usec" => "microseconds".to_owned(),
        "ms" | "millisecond" | "msec" => "milliseconds".to_owned(),
        "seconds" | "minutes" | "hours" | "days" | "weeks" | "months" | "quarters" | "years" | "decades" => {
            lower.trim_end_matches('s').to_owned()
        }
        _ => lower,
    }
}

pub(super) fn date_trunc(field: &str, at: Micros) -> Result<Value, Diag> {
    let Civil { year, month, .. } = civil(at);
    let step = |size: i64| at.checked_sub(at.rem_euclid(size));
    let date = |year: i64, month: i64| datetime::instant(year, month, 1, 0);
    let truncated = match unit(field).as_str() {
        "microseconds" => Some(at),
        "milliseconds" => step(1_000),
        "second" => step(SECOND),
        "minute" => step(MINUTE),
        "hour" => step(HOUR),
        "day" => step(DAY),
        "week" => monday(at.div_euclid(DAY)).checked_mul(DAY),
        "month" => date(year, month),
        "quarter" => date(year, (month - 1) / 3 * 3 + 1),
        "year" => date(year, 1),
        "decade" => date(year.div_euclid(10) * 10, 1),
        "century" => date((year - 1).div_euclid(100) * 100 + 1, 1),
        "millennium" => date((year - 1).div_euclid(1_000) * 1_000 + 1, 1),
        _ => return Err(unknown(field)),
    };
    truncated.map(Value::Timestamp).ok_or_else(out_of_range)
}

/// The Monday at or before a day counted from 1970-01-01, which was a Thursday.
fn monday(days: i64) -> i64 {
    days - (days + 3).rem_euclid(7)
}

/// ISO 8601 year and week of a day: week 1 holds the year's first Thursday.
fn iso_week(days: i64) -> (i64, i64) {
    let thursday = monday(days) + 3;
    let (year, _, _) = date_from_days(thursday);
    (year, (thursday - days_from_date(year, 1, 1)) / 7 + 1)
}

/// The year as people count: there is no year 0.
fn counted(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

/// A field as DOUBLE, or as the type that the binder asks for.
pub(super) fn date_part(field: &str, at: Micros, wanted: DataType) -> Result<Value, Diag> {
    let Civil { year, month, day, micros } = civil(at);
    let days = at.div_euclid(DAY);
    let century = |size: i64| if year > 0 { (year - 1) / size + 1 } else { -(-year / size + 1) };
    let whole = |number: i64| Decimal::from(number);
    let part = match unit(field).as_str() {
        "microseconds" => whole(micros % MINUTE),
        "milliseconds" => Decimal::new(micros % MINUTE, 3),
        "second" => Decimal::new(micros % MINUTE, 6),
        "minute" => whole(micros % HOUR / MINUTE),
        "hour" => whole(micros / HOUR),
        "day" => whole(day),
        "dow" => whole((days + 4).rem_euclid(7)),
        "isodow" => whole((days + 3).rem_euclid(7) + 1),
        "doy" => whole(days - days_from_date(year, 1, 1) + 1),
        "week" => whole(iso_week(days).1),
        "isoyear" => whole(counted(iso_week(days).0)),
        "month" => whole(month),
        "quarter" => whole((month - 1) / 3 + 1),
        "year" => whole(counted(year)),
        "decade" => whole(year.div_euclid(10)),
        "century" => whole(century(100)),
        "millennium" => whole(century(1_000)),
        "epoch" => Decimal::new(at, 6),
        _ => return Err(unknown(field)),
    };
    match wanted {
        // The field's own number of digits says more than a fixed one would.
        DataType::Decimal { .. } => Ok(Value::Decimal(part)),
        other => cast::cast(Value::Decimal(part), other, true),
    }
}

/// Seconds since 1970, rounded to microseconds.
pub(super) fn to_timestamp(seconds: f64) -> Result<Value, Diag> {
    match cast::cast(Value::Double(seconds * 1e6), DataType::BigInt, true) {
        Ok(Value::BigInt(micros)) => Ok(Value::Timestamp(micros)),
        _ => Err(out_of_range()),
    }
}
