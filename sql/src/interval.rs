//! INTERVAL: months, days and microseconds, each with its own sign, as PostgreSQL keeps them.
//!
//! A month counts 30 days and a day 24 hours where intervals are compared; nowhere else is one turned into the other unless
//! `justify_*` is asked to.

use std::cmp::Ordering;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::datetime::{DAY, HOUR, MINUTE, SECOND};

/// Days of a month where intervals are compared.
pub const MONTH_DAYS: i64 = 30;

/// An interval's value. Equality of fields; SQL's equality is [`Interval::compare`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Interval {
    /// Months.
    pub months: i32,
    /// Days.
    pub days: i32,
    /// Microseconds.
    pub micros: i64,
}

/// Why a text is no interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntervalError {
    /// It does not read as one.
    Malformed,
    /// A field is outside its range.
    OutOfRange,
}

impl Interval {
    /// The length with months of 30 days, in microseconds.
    #[must_use]
    pub fn total(self) -> i128 {
        (i128::from(self.months) * i128::from(MONTH_DAYS) + i128::from(self.days)) * i128::from(DAY)
            + i128::from(self.micros)
    }

    /// The interval of this length whose months and days are as many as fit; `None` beyond every interval.
    #[must_use]
    pub fn of_total(total: i128) -> Option<Self> {
        let take = |rest: i128, unit: i64| {
            let whole = (rest / i128::from(unit)).clamp(i128::from(i32::MIN), i128::from(i32::MAX));
            (i32::try_from(whole).unwrap_or(0), rest - whole * i128::from(unit))
        };
        let (months, rest) = take(total, MONTH_DAYS * DAY);
        let (days, rest) = take(rest, DAY);
        Some(Self { months, days, micros: i64::try_from(rest).ok()? })
    }

    /// SQL's order: by [`Interval::total`].
    #[must_use]
    pub fn compare(&self, other: &Self) -> Ordering {
        self.total().cmp(&other.total())
    }

    /// Field by field; `None` when one does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        Some(Self {
            months: self.months.checked_add(other.months)?,
            days: self.days.checked_add(other.days)?,
            micros: self.micros.checked_add(other.micros)?,
        })
    }

    /// Field by field; `None` when one does not fit.
    #[must_use]
    pub fn checked_neg(self) -> Option<Self> {
        Some(Self {
            months: self.months.checked_neg()?,
            days: self.days.checked_neg()?,
            micros: self.micros.checked_neg()?,
        })
    }

    /// Each field times the factor; fractions of months become days and fractions of days become time, as in PostgreSQL.
    /// `None` when a field does not fit or the factor is not finite.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a factor is a DOUBLE, so the product is approximate")]
        let micros = self.micros as f64 * factor;
        Self::from_fields(f64::from(self.months) * factor, f64::from(self.days) * factor, micros)
    }

    /// The interval of these fields; fractions of months become days and fractions of days become time. `None` when a field
    /// does not fit or is not finite.
    #[must_use]
    pub fn from_fields(months: f64, days: f64, micros: f64) -> Option<Self> {
        let whole_months = to_i32(libm::trunc(months))?;
        let whole_days = to_i32(libm::trunc(days))?;
        // Rounding to microseconds keeps 0.1 of a day from becoming 2:23:59.999999.
        let round = |value: f64| libm::rint(value * 1e6) / 1e6;
        let month_days = round((months - f64::from(whole_months)) * 30.0);
        let mut seconds = round((days - f64::from(whole_days) + month_days - libm::trunc(month_days)) * 86_400.0);
        let mut more_days = to_i32(libm::trunc(month_days))?;
        if seconds.abs() >= 86_400.0 {
            let carried = libm::trunc(seconds / 86_400.0);
            more_days = more_days.checked_add(to_i32(carried)?)?;
            seconds -= carried * 86_400.0;
        }
        let micros = libm::rint(micros + seconds * 1e6);
        Some(Self { months: whole_months, days: whole_days.checked_add(more_days)?, micros: to_i64(micros)? })
    }

    /// Whole 30 days become months, whole 24 hours days, and all fields get one sign; `None` when a field does not fit.
    #[must_use]
    pub fn justified(self) -> Option<Self> {
        self.justified_hours_of(true)
    }

    fn justified_hours_of(self, months_too: bool) -> Option<Self> {
        let mut days = i64::from(self.days) + self.micros / DAY;
        let mut micros = self.micros % DAY;
        let mut months = i64::from(self.months);
        if months_too {
            months += days / MONTH_DAYS;
            days %= MONTH_DAYS;
            if months > 0 && (days < 0 || days == 0 && micros < 0) {
                days += MONTH_DAYS;
                months -= 1;
            } else if months < 0 && (days > 0 || days == 0 && micros > 0) {
                days -= MONTH_DAYS;
                months += 1;
            }
        }
        if days > 0 && micros < 0 {
            micros += DAY;
            days -= 1;
        } else if days < 0 && micros > 0 {
            micros -= DAY;
            days += 1;
        }
        Some(Self { months: i32::try_from(months).ok()?, days: i32::try_from(days).ok()?, micros })
    }

    /// Whole 24 hours become days; `None` when they do not fit.
    #[must_use]
    pub fn justified_hours(self) -> Option<Self> {
        self.justified_hours_of(false)
    }

    /// Whole 30 days become months; `None` when they do not fit.
    #[must_use]
    pub fn justified_days(self) -> Option<Self> {
        let mut months = i64::from(self.months) + i64::from(self.days) / MONTH_DAYS;
        let mut days = i64::from(self.days) % MONTH_DAYS;
        if months > 0 && days < 0 {
            days += MONTH_DAYS;
            months -= 1;
        } else if months < 0 && days > 0 {
            days -= MONTH_DAYS;
            months += 1;
        }
        Some(Self { months: i32::try_from(months).ok()?, days: i32::try_from(days).ok()?, micros: self.micros })
    }
}

fn to_i32(value: f64) -> Option<i32> {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range just checked")]
    (-2_147_483_648.0..=2_147_483_647.0).contains(&value).then_some(value as i32)
}

fn to_i64(value: f64) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "a whole number within the range just checked")]
    (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&value).then_some(value as i64)
}

/// PostgreSQL's output: `1 year 2 mons 3 days 04:05:06.789`, each field with its own sign.
impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut before = false;
        for (value, unit) in [(self.months / 12, "year"), (self.months % 12, "mon"), (self.days, "day")] {
            if value != 0 {
                let plus = if before && value > 0 { "+" } else { "" };
                let plural = if value == 1 { "" } else { "s" };
                write!(f, "{}{plus}{value} {unit}{plural}", if first { "" } else { " " })?;
                before = value < 0;
                first = false;
            }
        }
        if !first && self.micros == 0 {
            return Ok(());
        }
        let sign = match (self.micros < 0, before) {
            (true, _) => "-",
            (false, true) => "+",
            (false, false) => "",
        };
        let micros = self.micros.unsigned_abs();
        let [hour, minute, second] = [HOUR, MINUTE, SECOND].map(i64::unsigned_abs);
        write!(
            f,
            "{}{sign}{:02}:{:02}:{:02}",
            if first { "" } else { " " },
            micros / hour,
            micros % hour / minute,
            micros % minute / second
        )?;
        match micros % second {
            0 => Ok(()),
            fraction => write!(f, ".{}", format!("{fraction:06}").trim_end_matches('0')),
        }
    }
}

/// The unit of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Micros(i64),
    Days(i64),
    Months(i64),
}

/// PostgreSQL's words for units, singular and plural, and their abbreviations.
fn unit(word: &str) -> Option<Unit> {
    Some(match word.to_ascii_lowercase().as_str() {
        "us" | "usec" | "usecs" | "microsecond" | "microseconds" => Unit::Micros(1),
        "ms" | "msec" | "msecs" | "millisecond" | "milliseconds" => Unit::Micros(1_000),
        "s" | "sec" | "secs" | "second" | "seconds" => Unit::Micros(SECOND),
        "m" | "min" | "mins" | "minute" | "minutes" => Unit::Micros(MINUTE),
        "h" | "hr" | "hrs" | "hour" | "hours" => Unit::Micros(HOUR),
        "d" | "day" | "days" => Unit::Days(1),
        "w" | "week" | "weeks" => Unit::Days(7),
        "mon" | "mons" | "month" | "months" => Unit::Months(1),
        "qtr" | "quarter" | "quarters" => Unit::Months(3),
        "y" | "yr" | "yrs" | "year" | "years" => Unit::Months(12),
        "dec" | "decs" | "decade" | "decades" => Unit::Months(120),
        "c" | "cent" | "century" | "centuries" => Unit::Months(1_200),
        "mil" | "mils" | "millennium" | "millennia" => Unit::Months(12_000),
        _ => return None,
    })
}

/// A number as written: sign, digits before the point, and the fraction in billionths.
#[derive(Clone, Copy, Debug)]
struct Number {
    negative: bool,
    whole: i64,
    billionths: i64,
}

const BILLION: i128 = 1_000_000_000;

/// Sums of the fields read so far.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    months: i128,
    days: i128,
    micros: i128,
}

impl Sum {
    /// Adds a number of units; a fraction of a unit goes to the next smaller field.
    fn add(&mut self, number: Number, unit: Unit) {
        let sign = if number.negative { -1 } else { 1 };
        let billionths = sign * (i128::from(number.whole) * BILLION + i128::from(number.billionths));
        match unit {
            Unit::Micros(size) => self.micros += rounded(billionths * i128::from(size)),
            Unit::Days(size) => self.add_days(billionths * i128::from(size)),
            Unit::Months(1) => {
                self.months += billionths / BILLION;
                self.add_days(billionths % BILLION * i128::from(MONTH_DAYS));
            }
            // Years and more have fractions of whole months only.
            Unit::Months(size) => self.months += rounded(billionths * i128::from(size)),
        }
    }

    fn add_days(&mut self, billionths: i128) {
        self.days += billionths / BILLION;
        self.micros += rounded(billionths % BILLION * i128::from(DAY));
    }

    fn negated(self) -> Self {
        Self { months: -self.months, days: -self.days, micros: -self.micros }
    }

    fn finish(self) -> Result<Interval, IntervalError> {
        let out = |_| IntervalError::OutOfRange;
        Ok(Interval {
            months: i32::try_from(self.months).map_err(out)?,
            days: i32::try_from(self.days).map_err(out)?,
            micros: i64::try_from(self.micros).map_err(out)?,
        })
    }
}

/// Billionths to the nearest whole number, halves away from zero.
fn rounded(billionths: i128) -> i128 {
    (billionths + billionths.signum() * (BILLION / 2)) / BILLION
}

/// Reads `1 year 2 mons -3 days 04:05:06`, `1-2`, `3 4:05`, `1.5 hours`, `P1Y2M3DT4H5M6S` and the like; `ago` at the end
/// turns every sign. A number without a unit is seconds, or `bare` when given (the word of `INTERVAL '5' DAY`).
///
/// # Errors
/// See [`IntervalError`].
pub fn parse(text: &str, bare: Option<&str>) -> Result<Interval, IntervalError> {
    let text = text.trim_ascii();
    if let Some(rest) = text.strip_prefix(['P', 'p']) {
        return iso(rest);
    }
    let bare = match bare {
        Some(word) => unit(word).ok_or(IntervalError::Malformed)?,
        None => Unit::Micros(SECOND),
    };
    let mut rest = text.strip_prefix('@').unwrap_or(text).trim_ascii_start();
    let mut sum = Sum::default();
    let mut seen = Units::default();
    while !rest.is_empty() {
        if let Some(end) = strip_word(rest, "ago") {
            if !end.is_empty() || seen.0.is_empty() {
                return Err(IntervalError::Malformed);
            }
            return sum.negated().finish();
        }
        let (number, after) = number_after_sign(rest)?;
        if let Some(time) = after.strip_prefix(':') {
            let (micros, after) = clock(number, time)?;
            seen.add(&CLOCK)?;
            sum.micros += micros;
            rest = after.trim_ascii_start();
            continue;
        }
        if let Some(months) = after.strip_prefix('-').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit())) {
            let (months, after) = self::number(months)?;
            if months.whole > 11 || months.billionths != 0 || number.billionths != 0 {
                return Err(IntervalError::OutOfRange);
            }
            // A third part would make it a date.
            if after.starts_with('-') {
                return Err(IntervalError::Malformed);
            }
            seen.add(&[Unit::Months(1)])?;
            sum.add(number, Unit::Months(12));
            sum.add(Number { negative: number.negative, ..months }, Unit::Months(1));
            rest = after.trim_ascii_start();
            continue;
        }
        let spaced = after.trim_ascii_start();
        let length = spaced.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (word, after_word) = spaced.split_at_checked(length).ok_or(IntervalError::Malformed)?;
        if word.is_empty() || word.eq_ignore_ascii_case("ago") {
            // A number before a time of day counts days: `3 04:05`.
            let (unit, last) = if looks_like_clock(spaced) { (Unit::Days(1), false) } else { (bare, true) };
            seen.add(units_of(number, &unit))?;
            sum.add(number, unit);
            if last && !spaced.is_empty() && !word.eq_ignore_ascii_case("ago") {
                return Err(IntervalError::Malformed);
            }
            rest = spaced;
            continue;
        }
        let unit = unit(word).ok_or(IntervalError::Malformed)?;
        seen.add(units_of(number, &unit))?;
        sum.add(number, unit);
        rest = after_word.trim_ascii_start().trim_start_matches(',').trim_ascii_start();
    }
    if seen.0.is_empty() { Err(IntervalError::Malformed) } else { sum.finish() }
}

/// Units that a text has named: none may stand twice.
#[derive(Default)]
struct Units(Vec<Unit>);

impl Units {
    fn add(&mut self, units: &[Unit]) -> Result<(), IntervalError> {
        if units.iter().any(|unit| self.0.contains(unit)) {
            return Err(IntervalError::Malformed);
        }
        self.0.extend_from_slice(units);
        Ok(())
    }
}

/// What `04:05:06` says; its end is what a fraction of seconds says too.
const CLOCK: [Unit; 5] =
    [Unit::Micros(HOUR), Unit::Micros(MINUTE), Unit::Micros(SECOND), Unit::Micros(1_000), Unit::Micros(1)];

/// The units that a number of this one speaks of.
fn units_of(number: Number, unit: &Unit) -> &[Unit] {
    match CLOCK.get(2..) {
        Some(seconds) if *unit == Unit::Micros(SECOND) && number.billionths != 0 => seconds,
        _ => std::slice::from_ref(unit),
    }
}

fn strip_word<'t>(text: &'t str, word: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(word.len())?;
    (head.eq_ignore_ascii_case(word) && !rest.starts_with(|c: char| c.is_ascii_alphanumeric()))
        .then(|| rest.trim_ascii())
}

fn looks_like_clock(text: &str) -> bool {
    let digits = text.trim_start_matches(['+', '-']);
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    count > 0 && digits.as_bytes().get(count) == Some(&b':')
}

/// As [`number`], with space allowed between sign and digits.
fn number_after_sign(text: &str) -> Result<(Number, &str), IntervalError> {
    let Some(digits) = text.strip_prefix(['+', '-']) else { return number(text) };
    let digits = digits.trim_ascii_start();
    if digits.starts_with(['+', '-']) {
        return Err(IntervalError::Malformed);
    }
    let (read, rest) = number(digits)?;
    Ok((Number { negative: text.starts_with('-'), ..read }, rest))
}

/// `[+-]12[.5]`, and what follows.
fn number(text: &str) -> Result<(Number, &str), IntervalError> {
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, text.get(1..).unwrap_or_default()),
        Some(b'+') => (false, text.get(1..).unwrap_or_default()),
        _ => (false, text),
    };
    let length = digits.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, mut rest) = digits.split_at_checked(length).ok_or(IntervalError::Malformed)?;
    let mut billionths = 0;
    let mut fraction_length = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        fraction_length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, after) = fraction.split_at_checked(fraction_length).ok_or(IntervalError::Malformed)?;
        let kept = fraction.get(..fraction_length.min(9)).unwrap_or_default();
        billionths = format!("{kept:0<9}").parse().map_err(|_| IntervalError::Malformed)?;
        rest = after;
    }
    if length + fraction_length == 0 {
        return Err(IntervalError::Malformed);
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| IntervalError::OutOfRange)? };
    Ok((Number { negative, whole, billionths }, rest))
}

/// `:04[:05[.6]]` after its hours, or `:05.6` after its minutes: microseconds, and what follows.
fn clock(first: Number, text: &str) -> Result<(i128, &str), IntervalError> {
    if first.billionths != 0 {
        return Err(IntervalError::Malformed);
    }
    let (second, rest) = number(text)?;
    let (third, rest) = match rest.strip_prefix(':') {
        Some(rest) => {
            let (third, rest) = number(rest)?;
            (Some(third), rest)
        }
        None => (None, rest),
    };
    let micros = |number: Number, unit: i64| {
        rounded((i128::from(number.whole) * BILLION + i128::from(number.billionths)) * i128::from(unit))
    };
    let in_range = |number: Number| if number.whole < 60 { Ok(number) } else { Err(IntervalError::OutOfRange) };
    let total = match third {
        Some(_) if second.billionths != 0 => return Err(IntervalError::Malformed),
        Some(third) => micros(first, HOUR) + micros(in_range(second)?, MINUTE) + rounded_seconds(in_range(third)?),
        // With a fraction the two are minutes and seconds.
        None if second.billionths != 0 => micros(first, MINUTE) + rounded_seconds(in_range(second)?),
        None => micros(first, HOUR) + micros(in_range(second)?, MINUTE),
    };
    Ok((if first.negative { -total } else { total }, rest))
}

fn rounded_seconds(number: Number) -> i128 {
    rounded((i128::from(number.whole) * BILLION + i128::from(number.billionths)) * i128::from(SECOND))
}

/// ISO 8601 after its P.
fn iso(text: &str) -> Result<Interval, IntervalError> {
    let mut sum = Sum::default();
    let mut rest = text;
    let mut time = false;
    let mut seen = false;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix(['T', 't']) {
            if time {
                return Err(IntervalError::Malformed);
            }
            time = true;
            rest = after;
            continue;
        }
        let (number, after) = number(rest)?;
        let mut characters = after.chars();
        let unit = match (characters.next().map(|c| c.to_ascii_uppercase()), time) {
            (Some('Y'), false) => Unit::Months(12),
            (Some('M'), false) => Unit::Months(1),
            (Some('W'), false) => Unit::Days(7),
            (Some('D'), false) => Unit::Days(1),
            (Some('H'), true) => Unit::Micros(HOUR),
            (Some('M'), true) => Unit::Micros(MINUTE),
            (Some('S'), true) => Unit::Micros(SECOND),
            _ => return Err(IntervalError::Malformed),
        };
        sum.add(number, unit);
        seen = true;
        rest = characters.as_str();
    }
    // PostgreSQL takes `PT` for nothing at all.
    if seen || time { sum.finish() } else { Err(IntervalError::Malformed) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use quickcheck::quickcheck;

    use super::*;

    fn read(text: &str) -> String {
        parse(text, None).map_or_else(|error| format!("{error:?}"), |interval| interval.to_string())
    }

    #[test]
    fn intervals_read_and_write_as_in_postgresql() {
        let cases = [
            ("1 day 2 hours", "1 day 02:00:00"),
            ("1 year 2 mons -3 days 04:05:06.789", "1 year 2 mons -3 days +04:05:06.789"),
            ("-1 day", "-1 days"),
            ("-1 day 2:00", "-1 days +02:00:00"),
            ("1-2", "1 year 2 mons"),
            ("-1-2", "-1 years -2 mons"),
            ("3 4:05:06", "3 days 04:05:06"),
            ("1.5 months", "1 mon 15 days"),
            ("1.5 days", "1 day 12:00:00"),
            ("0.5 years", "6 mons"),
            ("2 weeks ago", "-14 days"),
            ("90", "00:01:30"),
            ("1:30.5", "00:01:30.5"),
            ("25:00", "25:00:00"),
            ("P1Y2M3DT4H5M6.5S", "1 year 2 mons 3 days 04:05:06.5"),
            ("PT36H", "36:00:00"),
            ("@ 1 minute", "00:01:00"),
            ("2h 30m", "02:30:00"),
            ("1 day", "1 day"),
            ("0", "00:00:00"),
            ("", "Malformed"),
            ("ago", "Malformed"),
            ("1 fortnight", "Malformed"),
            ("1:60", "OutOfRange"),
            ("99999999999 years", "OutOfRange"),
            ("P", "Malformed"),
            ("PT", "00:00:00"),
            ("- 1 day", "-1 days"),
            ("-- 1 day", "Malformed"),
            ("2026-01-01", "Malformed"),
            ("1-2-3", "Malformed"),
            ("1 day 1 day", "Malformed"),
            ("1 week 1 day", "8 days"),
            ("1-2 1 year", "2 years 2 mons"),
            ("1-2 1 month", "Malformed"),
            ("1 hour 2:00", "Malformed"),
            ("1 second 1 ms", "00:00:01.001"),
            ("1.5 seconds 1 ms", "Malformed"),
        ];
        for (text, wanted) in cases {
            assert_eq!(read(text), wanted, "{text}");
        }
        assert_eq!(parse("5", Some("day")).unwrap().to_string(), "5 days");
    }

    quickcheck! {
        fn every_interval_reads_back(months: i32, days: i32, micros: i64) -> bool {
            let interval = Interval { months, days, micros };
            parse(&interval.to_string(), None) == Ok(interval)
        }

        fn the_length_of_an_interval_is_an_intervals_length(months: i32, days: i32, micros: i64) -> bool {
            let total = Interval { months, days, micros }.total();
            Interval::of_total(total).map(Interval::total) == Some(total)
        }

        fn no_text_makes_reading_panic(text: String) -> bool {
            let _ = parse(&text, None);
            true
        }

        fn no_factor_makes_scaling_panic(months: i32, days: i32, micros: i64, factor: f64) -> bool {
            let _ = Interval { months, days, micros }.scaled(factor);
            let _ = Interval { months, days, micros }.justified();
            true
        }
    }
}
