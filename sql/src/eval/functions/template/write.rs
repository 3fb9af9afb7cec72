//! Dates, times and intervals written by a template.

use super::{Case, DAYS, Field, MONTHS, Part, ROMAN_MONTHS, parse};
use crate::datetime::{Civil, DAY, HOUR, MINUTE, SECOND, civil, days_from_date};
use crate::diag::{Diag, SqlState};
use crate::eval::functions::calendar::{self, Parts};
use crate::eval::functions::time;
use crate::eval::operators::check_length;
use crate::interval::Interval;
use crate::value::Micros;

/// What a template is written from.
struct Source {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    /// Microseconds of the minute.
    micros: i64,
    /// Days since 1970; `None` for an interval, which has no calendar.
    days: Option<i64>,
    /// The text of its zone, empty without one.
    zoned: bool,
}

/// `to_char(timestamp, template)`; `zoned`: it is an instant, and its zone is UTC.
pub(in crate::eval::functions) fn write_timestamp(at: Micros, zoned: bool, template: &str) -> Result<String, Diag> {
    let Civil { year, month, day, micros } = civil(at);
    let source = Source {
        year,
        month,
        day,
        hour: micros / HOUR,
        minute: micros % HOUR / MINUTE,
        micros: micros % MINUTE,
        days: Some(at.div_euclid(DAY)),
        zoned,
    };
    write(&source, template)
}

/// `to_char(interval, template)`
pub(in crate::eval::functions) fn write_interval(span: Interval, template: &str) -> Result<String, Diag> {
    let Parts { years, months, days, hours, minutes, micros } = calendar::parts(span);
    write(
        &Source {
            year: years,
            month: months,
            day: days,
            hour: hours,
            minute: minutes,
            micros,
            days: None,
            zoned: false,
        },
        template,
    )
}

fn write(source: &Source, template: &str) -> Result<String, Diag> {
    let mut out = String::new();
    for part in parse(template) {
        match part {
            Part::Literal(text) => out.push_str(&text),
            Part::Field { field, case, fill, ordinal } => {
                let text = source.field(field, case, fill)?;
                let suffix = ordinal.map_or("", |case| suffix(&text, case));
                out.push_str(&text);
                out.push_str(suffix);
            }
        }
        check_length(out.len())?;
    }
    Ok(out)
}

/// st, nd, rd or th.
pub(in crate::eval::functions) fn ordinal(digits: &str) -> &'static str {
    let digits = digits.as_bytes();
    let (last, before) = (digits.last(), digits.len().checked_sub(2).and_then(|at| digits.get(at)));
    match last {
        _ if before == Some(&b'1') => "th",
        Some(b'1') => "st",
        Some(b'2') => "nd",
        Some(b'3') => "rd",
        _ => "th",
    }
}

fn suffix(text: &str, case: Case) -> &'static str {
    match (ordinal(text.trim()), case) {
        ("st", Case::Upper) => "ST",
        ("nd", Case::Upper) => "ND",
        ("rd", Case::Upper) => "RD",
        (_, Case::Upper) => "TH",
        (lower, _) => lower,
    }
}

fn cased(name: &str, case: Case) -> String {
    match case {
        Case::Upper => name.to_ascii_uppercase(),
        Case::Capital => name.to_owned(),
        Case::Lower => name.to_ascii_lowercase(),
    }
}

/// A number with leading zeros, the sign before them.
fn padded(number: i64, width: usize, fill: bool) -> String {
    let sign = if number < 0 { "-" } else { "" };
    let digits = number.unsigned_abs().to_string();
    if fill { format!("{sign}{digits:0>width$}") } else { format!("{sign}{digits}") }
}

impl Source {
    /// The days since 1970, for fields that only a date has.
    fn date(&self) -> Result<i64, Diag> {
        self.days.ok_or_else(|| {
            Diag::new(SqlState::INVALID_DATETIME, "invalid format specification for an interval value")
                .hint("intervals are not tied to specific calendar dates")
        })
    }

    /// The year as people count it: the first before Christ is 1.
    fn shown_year(&self) -> i64 {
        if self.days.is_some() && self.year <= 0 { 1 - self.year } else { self.year }
    }

    fn field(&self, field: Field, case: Case, fill: bool) -> Result<String, Diag> {
        let name = |name: &str, width: usize| {
            let text = cased(name, case);
            if fill { format!("{text:<width$}") } else { text }
        };
        let last_digits = |year: i64, digits: usize| match digits {
            4 => padded(year, 4, fill),
            digits => padded(year.rem_euclid(10_i64.pow(u32::try_from(digits).unwrap_or(0))), digits, fill),
        };
        let second = self.micros / SECOND;
        let fraction = (self.micros % SECOND).abs();
        Ok(match field {
            Field::Hour24 => padded(self.hour, 2, fill),
            Field::Hour12 => {
                let hour = self.hour % 12;
                padded(if hour == 0 { 12 } else { hour }, 2, fill)
            }
            Field::Minute => padded(self.minute, 2, fill),
            Field::Second => padded(second, 2, fill),
            Field::Millisecond => padded(fraction / 1_000, 3, true),
            Field::Microsecond => padded(fraction, 6, true),
            Field::Fraction(digits) => format!("{fraction:06}").get(..digits).unwrap_or_default().to_owned(),
            Field::SecondOfDay => (self.hour * 3_600 + self.minute * 60 + second).to_string(),
            Field::Meridiem { dotted } => {
                let after_noon = self.hour.rem_euclid(24) >= 12;
                let name = match (after_noon, dotted) {
                    (false, false) => "AM",
                    (true, false) => "PM",
                    (false, true) => "A.M.",
                    (true, true) => "P.M.",
                };
                cased(name, case)
            }
            Field::YearComma => format!("{},{:03}", self.shown_year() / 1_000, self.shown_year().rem_euclid(1_000)),
            Field::Year(digits) => last_digits(self.shown_year(), digits),
            Field::IsoYear(digits) => {
                let year = time::iso_week(self.date()?).0;
                last_digits(if year <= 0 { 1 - year } else { year }, digits)
            }
            Field::Era { dotted } => {
                let before = self.date().map(|_| self.year <= 0)?;
                let name = match (before, dotted) {
                    (false, false) => "AD",
                    (true, false) => "BC",
                    (false, true) => "A.D.",
                    (true, true) => "B.C.",
                };
                cased(name, case)
            }
            Field::MonthName | Field::MonthShort => {
                self.date()?;
                let month = usize::try_from(self.month - 1).ok().and_then(|at| MONTHS.get(at)).copied().unwrap_or("");
                if field == Field::MonthName { name(month, 9) } else { cased(month.get(..3).unwrap_or_default(), case) }
            }
            Field::Month => padded(self.month, 2, fill),
            Field::RomanMonth => {
                let roman = usize::try_from(self.month - 1).ok().and_then(|at| ROMAN_MONTHS.get(at)).copied();
                let text = cased(roman.unwrap_or(""), case);
                if fill { format!("{text:<4}") } else { text }
            }
            Field::DayName | Field::DayShort => {
                let at = usize::try_from((self.date()? + 4).rem_euclid(7)).unwrap_or(0);
                let day = DAYS.get(at).copied().unwrap_or("");
                if field == Field::DayName { name(day, 9) } else { cased(day.get(..3).unwrap_or_default(), case) }
            }
            Field::DayOfYear => match self.days {
                Some(days) => padded(days - days_from_date(self.year, 1, 1) + 1, 3, fill),
                None => padded(self.day, 3, fill),
            },
            Field::IsoDayOfYear => {
                let days = self.date()?;
                let (_, week) = time::iso_week(days);
                padded((week - 1) * 7 + (days + 3).rem_euclid(7) + 1, 3, fill)
            }
            Field::Day => padded(self.day, 2, fill),
            Field::DayOfWeek => ((self.date()? + 4).rem_euclid(7) + 1).to_string(),
            Field::IsoDayOfWeek => ((self.date()? + 3).rem_euclid(7) + 1).to_string(),
            Field::WeekOfMonth => ((self.day - 1) / 7 + 1).to_string(),
            Field::WeekOfYear => {
                let day = self.date()? - days_from_date(self.year, 1, 1);
                padded(day / 7 + 1, 2, fill)
            }
            Field::IsoWeek => padded(time::iso_week(self.date()?).1, 2, fill),
            Field::Century => {
                let century = match (self.days, self.year) {
                    (None, year) => year / 100,
                    (Some(_), year) if year > 0 => (year - 1) / 100 + 1,
                    (Some(_), year) => year / 100 - 1,
                };
                padded(century, 2, fill)
            }
            Field::Julian => (self.date()? + 2_440_588).to_string(),
            Field::Quarter => {
                if self.month == 0 {
                    String::new()
                } else {
                    ((self.month - 1) / 3 + 1).to_string()
                }
            }
            Field::ZoneName => {
                if self.zoned {
                    cased("UTC", case)
                } else {
                    String::new()
                }
            }
            Field::ZoneHours => {
                if self.zoned || self.days.is_some() {
                    "+00".to_owned()
                } else {
                    String::new()
                }
            }
            Field::ZoneMinutes => "00".to_owned(),
            Field::ZoneOffset => "+00".to_owned(),
        })
    }
}
