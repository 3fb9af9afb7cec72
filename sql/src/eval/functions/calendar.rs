//! Arithmetic with dates, times and intervals, and the functions that make and take them apart. All in UTC.

use jiff::tz::TimeZoneDatabase;

use super::Args;
use crate::cast;
use crate::datetime::{self, Civil, DAY, HOUR, MINUTE, SECOND, civil, days_from_date, days_of_month};
use crate::diag::{Diag, SqlState};
use crate::eval::wrong_type;
use crate::expr::BinaryOp;
use crate::interval::{Interval, MONTH_DAYS};
use crate::value::{Micros, Value};

pub(in crate::eval) fn out_of_range() -> Diag {
    Diag::new(SqlState::INVALID_DATETIME, "timestamp out of range")
}

pub(in crate::eval) fn interval_out_of_range() -> Diag {
    Diag::new(SqlState::INVALID_DATETIME, "interval out of range")
}

fn date_out_of_range() -> Diag {
    Diag::new(SqlState::INVALID_DATETIME, "date out of range")
}

/// The instant, so many months, days and microseconds later. A day beyond its month's end becomes the last of the month.
pub(in crate::eval) fn shifted(at: Micros, by: Interval) -> Option<Micros> {
    let mut at = at;
    if by.months != 0 {
        let Civil { year, month, day, micros } = civil(at);
        let months = year * 12 + (month - 1) + i64::from(by.months);
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) + 1);
        at = datetime::instant(year, month, day.min(days_of_month(year, month)), micros)?;
    }
    at.checked_add(i64::from(by.days).checked_mul(DAY)?)?.checked_add(by.micros)
}

/// `left op right` when one side is a date, time or interval; `None` when neither is.
pub(in crate::eval) fn arithmetic(op: BinaryOp, left: &Value, right: &Value) -> Option<Result<Value, Diag>> {
    use Value::{Date, DateTime, Interval as Span, Time, Timestamp};
    let temporal = |value: &Value| matches!(value, Date(_) | DateTime(_) | Span(_) | Time(_) | Timestamp(_));
    if !temporal(left) && !temporal(right) {
        return None;
    }
    let value = match (op, left, right) {
        (BinaryOp::Add, Date(days), number) | (BinaryOp::Add, number, Date(days)) if number.as_i64().is_some() => {
            moved(*days, number.as_i64())
        }
        (BinaryOp::Subtract, Date(days), number) if number.as_i64().is_some() => {
            moved(*days, number.as_i64().and_then(i64::checked_neg))
        }
        (BinaryOp::Add, Date(days), Span(by)) | (BinaryOp::Add, Span(by), Date(days)) => {
            shifted_day(*days, *by).map(Timestamp)
        }
        (BinaryOp::Add, Date(days), Time(micros)) | (BinaryOp::Add, Time(micros), Date(days)) => {
            shifted_day(*days, Interval { micros: *micros, ..Interval::default() }).map(Timestamp)
        }
        (BinaryOp::Subtract, Date(days), Span(by)) => negated(*by).and_then(|by| shifted_day(*days, by)).map(Timestamp),
        (BinaryOp::Subtract, Date(left), Date(right)) => {
            left.checked_sub(*right).map(Value::Int).ok_or_else(date_out_of_range)
        }
        (BinaryOp::Add, Timestamp(at), Span(by)) | (BinaryOp::Add, Span(by), Timestamp(at)) => {
            shifted(*at, *by).map(Timestamp).ok_or_else(out_of_range)
        }
        (BinaryOp::Add, DateTime(at), Span(by)) | (BinaryOp::Add, Span(by), DateTime(at)) => {
            shifted(*at, *by).map(DateTime).ok_or_else(out_of_range)
        }
        (BinaryOp::Subtract, Timestamp(at), Span(by)) => {
            negated(*by).and_then(|by| shifted(*at, by).map(Timestamp).ok_or_else(out_of_range))
        }
        (BinaryOp::Subtract, DateTime(at), Span(by)) => {
            negated(*by).and_then(|by| shifted(*at, by).map(DateTime).ok_or_else(out_of_range))
        }
        (BinaryOp::Subtract, Timestamp(left) | DateTime(left), Timestamp(right) | DateTime(right)) => {
            between(*left, *right).map(Span)
        }
        (BinaryOp::Add, Time(at), Span(by)) | (BinaryOp::Add, Span(by), Time(at)) => Ok(around(*at, by.micros)),
        (BinaryOp::Subtract, Time(at), Span(by)) => Ok(around(*at, (by.micros % DAY).saturating_neg())),
        (BinaryOp::Subtract, Time(left), Time(right)) => {
            Ok(Span(Interval { micros: left - right, ..Interval::default() }))
        }
        (BinaryOp::Add, Span(left), Span(right)) => {
            left.checked_add(*right).map(Span).ok_or_else(interval_out_of_range)
        }
        (BinaryOp::Subtract, Span(left), Span(right)) => {
            negated(*right).and_then(|right| left.checked_add(right).map(Span).ok_or_else(interval_out_of_range))
        }
        (BinaryOp::Multiply, Span(span), Value::Double(factor))
        | (BinaryOp::Multiply, Value::Double(factor), Span(span)) => {
            span.scaled(*factor).map(Span).ok_or_else(interval_out_of_range)
        }
        (BinaryOp::Divide, Span(_), Value::Double(0.0)) => Err(crate::decimal::division_by_zero()),
        (BinaryOp::Divide, Span(span), Value::Double(divisor)) => {
            divided(*span, *divisor).map(Span).ok_or_else(interval_out_of_range)
        }
        (_, left, right) => Err(wrong_type("arithmetic", if temporal(left) { right } else { left })),
    };
    Some(value)
}

/// Each field divided; fractions of months become days and fractions of days become time, as in [`Interval::scaled`].
fn divided(span: Interval, divisor: f64) -> Option<Interval> {
    // Dividing each field keeps '1 mon' / 3 at 10 days, which a multiplication by a rounded third would not.
    let field = |value: f64| value / divisor;
    Interval::from_fields(field(f64::from(span.months)), field(f64::from(span.days)), {
        #[expect(clippy::cast_precision_loss, reason = "a divisor is a DOUBLE, so the quotient is approximate")]
        let micros = span.micros as f64;
        field(micros)
    })
}

fn negated(span: Interval) -> Result<Interval, Diag> {
    span.checked_neg().ok_or_else(interval_out_of_range)
}

fn moved(days: i32, by: Option<i64>) -> Result<Value, Diag> {
    by.and_then(|by| i64::from(days).checked_add(by))
        .and_then(|days| i32::try_from(days).ok())
        .map(Value::Date)
        .ok_or_else(date_out_of_range)
}

fn shifted_day(days: i32, by: Interval) -> Result<Micros, Diag> {
    i64::from(days).checked_mul(DAY).and_then(|at| shifted(at, by)).ok_or_else(out_of_range)
}

/// What lies between two instants, in whole days and time.
pub(in crate::eval) fn between(left: Micros, right: Micros) -> Result<Interval, Diag> {
    let micros = left.checked_sub(right).ok_or_else(interval_out_of_range)?;
    Interval { micros, ..Interval::default() }.justified_hours().ok_or_else(interval_out_of_range)
}

/// The time of day so much later, around midnight.
fn around(at: i64, by: i64) -> Value {
    Value::Time((at + by % DAY).rem_euclid(DAY))
}

/// Date and time of day as fields, for symbolic differences.
#[derive(Clone, Copy)]
struct Fields {
    year: i64,
    month: i64,
    day: i64,
    micros: i64,
}

/// `age(left, right)`: the difference in years, months and days as a person counts them.
pub(super) fn age(left: Micros, right: Micros) -> Result<Value, Diag> {
    let (late, early, sign) =
        if left >= right { (civil(left), civil(right), 1) } else { (civil(right), civil(left), -1) };
    let mut fields = Fields {
        year: late.year - early.year,
        month: late.month - early.month,
        day: late.day - early.day,
        micros: late.micros - early.micros,
    };
    if fields.micros < 0 {
        fields.micros += DAY;
        fields.day -= 1;
    }
    // A borrowed month is as long as the month in which the earlier instant lies.
    let (mut year, mut month) = (early.year, early.month);
    while fields.day < 0 {
        fields.day += days_of_month(year, month);
        fields.month -= 1;
        month += 1;
        if month > 12 {
            (year, month) = (year + 1, 1);
        }
    }
    while fields.month < 0 {
        fields.month += 12;
        fields.year -= 1;
    }
    let months = i32::try_from((fields.year * 12 + fields.month) * sign).map_err(|_| interval_out_of_range())?;
    let days = i32::try_from(fields.day * sign).map_err(|_| interval_out_of_range())?;
    Ok(Value::Interval(Interval { months, days, micros: fields.micros * sign }))
}

fn field_out_of_range(what: &str) -> Diag {
    Diag::new(SqlState::INVALID_DATETIME, format!("{what} field value out of range"))
}

/// Days since 1970 of a written date; a negative year counts before Christ.
fn day_of(year: i64, month: i64, day: i64) -> Result<i64, Diag> {
    let refused = || field_out_of_range("date");
    if year == 0 || !(-4_713..=5_874_897).contains(&year) || !(1..=12).contains(&month) {
        return Err(refused());
    }
    let year = if year < 0 { year + 1 } else { year };
    if day < 1 || day > days_of_month(year, month) {
        return Err(refused());
    }
    Ok(days_from_date(year, month, day))
}

/// Microseconds since midnight of hours, minutes and seconds.
fn time_of(hour: i64, minute: i64, second: f64) -> Result<i64, Diag> {
    let refused = || field_out_of_range("time");
    if !(0..=24).contains(&hour) || !(0..=59).contains(&minute) || !(0.0..=60.0).contains(&second) {
        return Err(refused());
    }
    #[expect(clippy::cast_possible_truncation, reason = "at most 60 million")]
    let micros = hour * HOUR + minute * MINUTE + libm::rint(second * 1e6) as i64;
    if micros > DAY { Err(refused()) } else { Ok(micros) }
}

pub(super) fn make_date(args: &Args<'_>) -> Result<Value, Diag> {
    let days = day_of(args.integer(0)?, args.integer(1)?, args.integer(2)?)?;
    i32::try_from(days).map(Value::Date).map_err(|_| date_out_of_range())
}

pub(super) fn make_time(args: &Args<'_>) -> Result<Value, Diag> {
    time_of(args.integer(0)?, args.integer(1)?, args.double(2)?).map(Value::Time)
}

/// `make_timestamp(year, month, day, hour, minute, second)`
pub(super) fn make_timestamp(args: &Args<'_>) -> Result<Micros, Diag> {
    let days = day_of(args.integer(0)?, args.integer(1)?, args.integer(2)?)?;
    let micros = time_of(args.integer(3)?, args.integer(4)?, args.double(5)?)?;
    days.checked_mul(DAY).and_then(|at| at.checked_add(micros)).ok_or_else(out_of_range)
}

/// `make_interval(years, months, weeks, days, hours, mins, secs)`, each 0 unless given.
pub(super) fn make_interval(args: &Args<'_>) -> Result<Value, Diag> {
    let part = |at: usize| if at < args.len() { args.integer(at).map(i128::from) } else { Ok(0) };
    let seconds = if args.len() > 6 { args.double(6)? } else { 0.0 };
    let seconds = libm::rint(seconds * 1e6);
    if !(-9.2e18..9.2e18).contains(&seconds) {
        return Err(interval_out_of_range());
    }
    #[expect(clippy::cast_possible_truncation, reason = "within the range just checked")]
    let micros = i128::from(seconds as i64) + part(4)? * i128::from(HOUR) + part(5)? * i128::from(MINUTE);
    let refused = |_| interval_out_of_range();
    Ok(Value::Interval(Interval {
        months: i32::try_from(part(0)? * 12 + part(1)?).map_err(refused)?,
        days: i32::try_from(part(2)? * 7 + part(3)?).map_err(refused)?,
        micros: i64::try_from(micros).map_err(refused)?,
    }))
}

pub(in crate::eval) fn interval(value: &Value) -> Result<Interval, Diag> {
    match value {
        Value::Interval(interval) => Ok(*interval),
        other => Err(wrong_type("an interval function", other)),
    }
}

/// The argument as an instant, midnight for a DATE.
pub(super) fn instant(value: &Value) -> Result<Micros, Diag> {
    match value {
        Value::Timestamp(at) | Value::DateTime(at) => Ok(*at),
        Value::Date(days) => i64::from(*days).checked_mul(DAY).ok_or_else(out_of_range),
        other => Err(wrong_type("a function of time", other)),
    }
}

/// The same kind of value at another instant.
pub(super) fn like(value: &Value, at: Micros) -> Value {
    match value {
        Value::DateTime(_) => Value::DateTime(at),
        _ => Value::Timestamp(at),
    }
}

/// `date_bin(stride, source, origin)`: the start of the stride, counted from the origin, in which the source lies.
pub(super) fn date_bin(args: &Args<'_>) -> Result<Value, Diag> {
    let stride = interval(args.get(0)?)?;
    if stride.months != 0 {
        return Err(Diag::not_supported("a stride of months in date_bin").hint("date_trunc cuts months and years"));
    }
    let stride = i64::try_from(stride.total()).map_err(|_| interval_out_of_range())?;
    if stride <= 0 {
        return Err(Diag::new(SqlState::INVALID_DATETIME, "stride must be greater than zero"));
    }
    let (source, origin) = (instant(args.get(1)?)?, instant(args.get(2)?)?);
    let distance = source.checked_sub(origin).ok_or_else(interval_out_of_range)?;
    let at = source.checked_sub(distance.rem_euclid(stride)).ok_or_else(out_of_range)?;
    Ok(like(args.get(1)?, at))
}

/// `(start, end) OVERLAPS (start, end)`: an end before its start changes places with it.
pub(super) fn overlaps(args: &Args<'_>) -> Result<Value, Diag> {
    let pair = |at: usize| -> Result<(Value, Value), Diag> {
        let (one, other) = (args.get(at)?.clone(), args.get(at + 1)?.clone());
        Ok(if crate::value::compare(&one, &other).is_some_and(std::cmp::Ordering::is_gt) {
            (other, one)
        } else {
            (one, other)
        })
    };
    let less = |left: &Value, right: &Value| crate::value::compare(left, right).is_some_and(std::cmp::Ordering::is_lt);
    let ((first, first_end), (second, second_end)) = (pair(0)?, pair(2)?);
    let truth = if less(&second, &first) {
        less(&first, &second_end)
    } else if less(&first, &second) {
        less(&second, &first_end)
    } else {
        true
    };
    Ok(Value::Boolean(truth))
}

/// The offset of a zone at an instant, in microseconds east of UTC. `local`: the instant is a local time in that zone.
fn offset_of(zone: &str, at: Micros, local: bool) -> Result<i64, Diag> {
    let name = zone.trim_ascii();
    if ["utc", "gmt", "z", "zulu", "etc/utc"].iter().any(|known| name.eq_ignore_ascii_case(known)) {
        return Ok(0);
    }
    if let Some(offset) = fixed_offset(name) {
        return Ok(offset);
    }
    named_offset(name, at, local).ok_or_else(|| {
        let diag = Diag::new(SqlState::INVALID_PARAMETER, format!("time zone \"{zone}\" not recognized"))
            .hint("use UTC, a name such as Europe/Berlin, or INTERVAL '02:00' for a fixed offset east of it");
        let known: Vec<String> = TimeZoneDatabase::bundled().available().map(|known| known.to_string()).collect();
        // A name that is shorter than this is near to everything.
        let known = known.iter().map(String::as_str).filter(|known| known.len() > 3 && name.len() > 3);
        crate::suggest::with_nearest(diag, name, known)
    })
}

/// `+02`, `-03:30`, `+05:30:15`: a bare offset is POSIX's, which counts WEST of Greenwich, as in PostgreSQL.
fn fixed_offset(text: &str) -> Option<i64> {
    let (sign, rest) = match text.as_bytes().first()? {
        b'+' => (1, text.get(1..)?),
        b'-' => (-1, text.get(1..)?),
        _ => return None,
    };
    let mut total = 0;
    let mut unit = HOUR;
    for (at, part) in rest.split(':').enumerate() {
        let most = if at == 0 { 15 } else { 59 };
        if part.is_empty() || part.len() > 2 || at > 2 {
            return None;
        }
        let number: i64 = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())??;
        if number > most {
            return None;
        }
        total += number * unit;
        unit /= 60;
    }
    Some(-sign * total)
}

fn named_offset(name: &str, at: Micros, local: bool) -> Option<i64> {
    // The database that is built into the program: the same on every machine that runs this version.
    let zone = TimeZoneDatabase::bundled().get(name).ok()?;
    let seconds = at.div_euclid(SECOND);
    let (lowest, highest) =
        (jiff::Timestamp::MIN.as_second() + 2 * 86_400, jiff::Timestamp::MAX.as_second() - 2 * 86_400);
    let utc = |second: i64| -> Option<i64> {
        let instant = jiff::Timestamp::from_second(second.clamp(lowest, highest)).ok()?;
        Some(i64::from(zone.to_offset(instant).seconds()))
    };
    if !local {
        return utc(seconds).map(|offset| offset * SECOND);
    }
    // As PostgreSQL: a local time that does not exist takes the offset before the change, one that exists twice the later
    // of the two, which is standard time.
    let before = utc(seconds - 86_400)?;
    let after = utc(seconds + 86_400)?;
    let fits = |offset: i64| utc(seconds - offset) == Some(offset);
    Some(if fits(after) { after } else { before } * SECOND)
}

/// `at AT TIME ZONE zone`: a TIMESTAMP is local time there and becomes an instant; an instant becomes local time there.
pub(super) fn at_time_zone(args: &Args<'_>) -> Result<Value, Diag> {
    let at = args.get(1)?;
    let local = matches!(at, Value::Timestamp(_));
    let micros = instant(at)?;
    let offset = match args.get(0)? {
        Value::Interval(offset) if offset.months == 0 && offset.days == 0 => offset.micros,
        Value::Interval(_) => {
            return Err(Diag::new(
                SqlState::INVALID_PARAMETER,
                "the interval of AT TIME ZONE holds neither months nor days",
            ));
        }
        Value::Text(zone) => offset_of(zone, micros, local)?,
        other => return Err(wrong_type("AT TIME ZONE", other)),
    };
    let moved = if local { micros.checked_sub(offset) } else { micros.checked_add(offset) };
    let moved = moved.ok_or_else(out_of_range)?;
    Ok(if local { Value::DateTime(moved) } else { Value::Timestamp(moved) })
}

/// Fields of an interval as it is shown: years, months, days, hours, minutes and the rest in microseconds.
pub(super) struct Parts {
    pub(super) years: i64,
    pub(super) months: i64,
    pub(super) days: i64,
    pub(super) hours: i64,
    pub(super) minutes: i64,
    pub(super) micros: i64,
}

pub(super) fn parts(span: Interval) -> Parts {
    Parts {
        years: i64::from(span.months / 12),
        months: i64::from(span.months % 12),
        days: i64::from(span.days),
        hours: span.micros / HOUR,
        minutes: span.micros % HOUR / MINUTE,
        micros: span.micros % MINUTE,
    }
}

/// Seconds of an interval, a year counting 365.25 days and a month 30, in microseconds.
pub(super) fn epoch(span: Interval) -> i128 {
    let years = i128::from(span.months / 12) * i128::from(DAY) * 1_461 / 4;
    let months = i128::from(span.months % 12) * i128::from(MONTH_DAYS * DAY);
    years + months + i128::from(span.days) * i128::from(DAY) + i128::from(span.micros)
}

/// `date_trunc(field, interval)`
pub(super) fn trunc_interval(unit: &str, span: Interval) -> Option<Interval> {
    let months = |size: i32| Interval { months: span.months - span.months % size, days: 0, micros: 0 };
    let micros = |size: i64| Interval { micros: span.micros - span.micros % size, ..span };
    Some(match unit {
        "microseconds" => span,
        "milliseconds" => micros(1_000),
        "second" => micros(SECOND),
        "minute" => micros(MINUTE),
        "hour" => micros(HOUR),
        "day" => Interval { micros: 0, ..span },
        "month" => Interval { days: 0, micros: 0, ..span },
        "quarter" => months(3),
        "year" => months(12),
        "decade" => months(120),
        "century" => months(1_200),
        "millennium" => months(12_000),
        _ => return None,
    })
}

/// The value as DATE, for the functions that answer one.
pub(super) fn as_date(at: Micros) -> Result<Value, Diag> {
    cast::cast(Value::Timestamp(at), crate::value::DataType::Date, true)
}
