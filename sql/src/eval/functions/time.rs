//! Fields of points in time and intervals, cut or taken out. All in UTC.

use rust_decimal::Decimal;

use super::calendar::{self, Parts, out_of_range};
use super::{figures, template};
use crate::cast;
use crate::datetime::{self, Civil, DAY, HOUR, MINUTE, SECOND, civil, date_from_days, days_from_date};
use crate::decimal;
use crate::diag::{Diag, SqlState};
use crate::eval::operators::as_decimal;
use crate::interval::Interval;
use crate::suggest;
use crate::value::{DataType, Micros, Value};

const UNITS: &[&str] = &[
    "microseconds",
    "milliseconds",
    "second",
    "minute",
    "hour",
    "day",
    "week",
    "month",
    "quarter",
    "year",
    "decade",
    "century",
    "millennium",
    "dow",
    "isodow",
    "doy",
    "isoyear",
    "julian",
    "epoch",
];

/// A unit that no value has, or this kind of value has not.
fn unknown(field: &str, value: &Value) -> Diag {
    let name = value.data_type().map_or_else(String::new, |data_type| data_type.to_string());
    let diag = Diag::new(SqlState::INVALID_PARAMETER, format!("unit \"{field}\" not recognized for type {name}"));
    suggest::with_nearest(diag, field, UNITS.iter().copied().filter(|known| *known != field)).hint(
        "units are microseconds, milliseconds, second, minute, hour, day, week, month, quarter, year, decade, century, \
         millennium; extract also knows dow, isodow, doy, isoyear, julian and epoch",
    )
}

/// PostgreSQL's spellings of a unit, singular.
fn unit(field: &str) -> String {
    let lower = field.trim_ascii().to_ascii_lowercase();
    match lower.as_str() {
        "centuries" | "cent" | "c" => "century".to_owned(),
        "millennia" | "millenniums" | "mil" | "mils" => "millennium".to_owned(),
        "decs" | "dec" => "decade".to_owned(),
        "y" | "yr" | "yrs" => "year".to_owned(),
        "qtr" => "quarter".to_owned(),
        "mon" | "mons" => "month".to_owned(),
        "w" => "week".to_owned(),
        "d" => "day".to_owned(),
        "h" | "hr" | "hrs" => "hour".to_owned(),
        "m" | "min" | "mins" => "minute".to_owned(),
        "s" | "sec" | "secs" => "second".to_owned(),
        "us" | "microsecond" | "usec" | "usecs" | "microsecon" => "microseconds".to_owned(),
        "ms" | "millisecond" | "msec" | "msecs" | "millisecon" => "milliseconds".to_owned(),
        "seconds" | "minutes" | "hours" | "days" | "weeks" | "months" | "quarters" | "years" | "decades" => {
            lower.trim_end_matches('s').to_owned()
        }
        _ => lower,
    }
}

pub(super) fn date_trunc(field: &str, value: &Value) -> Result<Value, Diag> {
    if let Value::Interval(span) = value {
        let unit = unit(field);
        return calendar::trunc_interval(&unit, *span).map(Value::Interval).ok_or_else(|| unknown(field, value));
    }
    let at = calendar::instant(value)?;
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
        _ => return Err(unknown(field, value)),
    };
    truncated.map(|at| calendar::like(value, at)).ok_or_else(out_of_range)
}

/// The Monday at or before a day counted from 1970-01-01, which was a Thursday.
fn monday(days: i64) -> i64 {
    days - (days + 3).rem_euclid(7)
}

/// ISO 8601 year and week of a day: week 1 holds the year's first Thursday.
pub(super) fn iso_week(days: i64) -> (i64, i64) {
    let thursday = monday(days) + 3;
    let (year, _, _) = date_from_days(thursday);
    (year, (thursday - days_from_date(year, 1, 1)) / 7 + 1)
}

/// The year as people count: there is no year 0.
fn counted(year: i64) -> i64 {
    if year > 0 { year } else { year - 1 }
}

/// A field as DOUBLE, or as the type that the binder asks for.
pub(super) fn date_part(field: &str, value: &Value, wanted: DataType) -> Result<Value, Diag> {
    let unit = unit(field);
    let part = match value {
        Value::Interval(span) => of_interval(&unit, *span),
        Value::Time(micros) => of_time(&unit, *micros).or_else(|| (unit == "epoch").then(|| Decimal::new(*micros, 6))),
        Value::Date(days) => match unit.as_str() {
            "epoch" => Some(Decimal::from(i64::from(*days) * (DAY / SECOND))),
            // DATE_PART takes a DATE as its midnight, EXTRACT as a day without a time.
            unit if wanted == DataType::Double => of_day(unit, i64::from(*days)).or_else(|| of_time(unit, 0)),
            unit => of_day(unit, i64::from(*days)),
        },
        other => {
            let at = calendar::instant(other)?;
            let days = at.div_euclid(DAY);
            match unit.as_str() {
                "epoch" => Some(Decimal::new(at, 6)),
                "julian" => Some(julian(at)),
                "timezone" | "timezone_hour" | "timezone_minute" if matches!(other, Value::DateTime(_)) => {
                    Some(Decimal::ZERO)
                }
                unit => of_day(unit, days).or_else(|| of_time(unit, at.rem_euclid(DAY))),
            }
        }
    };
    let part = part.ok_or_else(|| unknown(field, value))?;
    match wanted {
        // The field's own number of digits says more than a fixed one would.
        DataType::Decimal { .. } => Ok(Value::Decimal(part)),
        // A whole second is the one that has begun: 59.6 is no 60.
        DataType::Int => cast::cast(Value::Decimal(part.trunc()), DataType::Int, true),
        other => cast::cast(Value::Decimal(part), other, true),
    }
}

/// The Julian day, the time of day as its fraction.
fn julian(at: Micros) -> Decimal {
    let day = Decimal::from(at.div_euclid(DAY) + 2_440_588);
    let fraction = decimal::divide(Decimal::from(at.rem_euclid(DAY)), Decimal::from(DAY)).unwrap_or_default();
    decimal::add(day, fraction).unwrap_or(day)
}

/// A field that a time of day has.
fn of_time(unit: &str, micros: i64) -> Option<Decimal> {
    Some(match unit {
        "microseconds" => Decimal::from(micros % MINUTE),
        "milliseconds" => Decimal::new(micros % MINUTE, 3),
        "second" => Decimal::new(micros % MINUTE, 6),
        "minute" => Decimal::from(micros % HOUR / MINUTE),
        "hour" => Decimal::from(micros / HOUR),
        _ => return None,
    })
}

/// A field that a day counted from 1970 has.
fn of_day(unit: &str, days: i64) -> Option<Decimal> {
    let (year, month, day) = date_from_days(days);
    let century = |size: i64| if year > 0 { (year - 1) / size + 1 } else { -(-year / size + 1) };
    Some(Decimal::from(match unit {
        "day" => day,
        "dow" => (days + 4).rem_euclid(7),
        "isodow" => (days + 3).rem_euclid(7) + 1,
        "doy" => days - days_from_date(year, 1, 1) + 1,
        "week" => iso_week(days).1,
        "isoyear" => counted(iso_week(days).0),
        "month" => month,
        "quarter" => (month - 1) / 3 + 1,
        "year" => counted(year),
        "decade" => year.div_euclid(10),
        "century" => century(100),
        "millennium" => century(1_000),
        "julian" => days + 2_440_588,
        _ => return None,
    }))
}

fn of_interval(unit: &str, span: Interval) -> Option<Decimal> {
    let Parts { years, months, days, hours, minutes, micros } = calendar::parts(span);
    Some(match unit {
        "microseconds" => Decimal::from(micros),
        "milliseconds" => Decimal::new(micros, 3),
        "second" => Decimal::new(micros, 6),
        "minute" => Decimal::from(minutes),
        "hour" => Decimal::from(hours),
        "day" => Decimal::from(days),
        "month" => Decimal::from(months),
        "quarter" => Decimal::from(months / 3 + 1),
        "year" => Decimal::from(years),
        "decade" => Decimal::from(years / 10),
        "century" => Decimal::from(years / 100),
        "millennium" => Decimal::from(years / 1_000),
        "epoch" => Decimal::try_from_i128_with_scale(calendar::epoch(span), 6).ok()?,
        _ => return None,
    })
}

/// `to_char(value, template)`
pub(super) fn to_char(value: &Value, picture: &str) -> Result<Value, Diag> {
    let text = match value {
        Value::Interval(span) => template::write_interval(*span, picture)?,
        Value::Timestamp(at) => template::write_timestamp(*at, false, picture)?,
        Value::DateTime(at) => template::write_timestamp(*at, true, picture)?,
        Value::Date(_) => template::write_timestamp(calendar::instant(value)?, false, picture)?,
        Value::Double(number) => figures::write(decimal::from_double(*number), picture)?,
        Value::Float(number) => figures::write(decimal::from_float(*number), picture)?,
        other => figures::write(Some(as_decimal(other)?), picture)?,
    };
    Ok(Value::Text(text))
}

/// Seconds since 1970, rounded to microseconds.
pub(super) fn to_timestamp(seconds: f64) -> Result<Value, Diag> {
    match cast::cast(Value::Double(seconds * 1e6), DataType::BigInt, true) {
        Ok(Value::BigInt(micros)) => Ok(Value::DateTime(micros)),
        _ => Err(out_of_range()),
    }
}
