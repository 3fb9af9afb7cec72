//! Dates and times read by a template.

use super::{DAYS, Field, MONTHS, Part, ROMAN_MONTHS, parse};
use crate::datetime::{DAY, HOUR, MINUTE, SECOND, days_from_date, days_of_month};
use crate::diag::{Diag, SqlState};
use crate::eval::functions::calendar::out_of_range;
use crate::value::Micros;

/// What was read of a text.
#[derive(Default)]
struct Read {
    year: Option<i64>,
    iso_year: Option<i64>,
    century: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    week: Option<i64>,
    iso_week: Option<i64>,
    iso_day: Option<i64>,
    week_of_month: Option<i64>,
    julian: Option<i64>,
    hour: i64,
    twelve: bool,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    fraction: i64,
    second_of_day: Option<i64>,
    before_christ: bool,
    zone: i64,
}

fn bad(text: &str, template: &str) -> Diag {
    let shown: String = text.chars().take(40).collect();
    Diag::new(SqlState::INVALID_DATETIME, format!("the text \"{shown}\" does not fit the template \"{template}\""))
}

fn out(text: &str) -> Diag {
    Diag::new(SqlState::INVALID_DATETIME, format!("date/time field value out of range: \"{text}\""))
}

/// `to_timestamp(text, template)` and `to_date`: microseconds since 1970.
pub(in crate::eval::functions) fn read(text: &str, template: &str) -> Result<Micros, Diag> {
    let refused = || bad(text, template);
    let mut read = Read::default();
    let mut rest = text.trim_start();
    let parts = parse(template);
    for (at, part) in parts.iter().enumerate() {
        match part {
            Part::Literal(literal) => rest = skip_literal(rest, literal),
            Part::Field { field, fill, ordinal, .. } => {
                // Before another number a field takes no more digits than it has.
                let exact = matches!(parts.get(at + 1), Some(Part::Field { field, .. }) if is_number(*field));
                rest = read.field(*field, rest.trim_start(), exact && *fill).ok_or_else(refused)?;
                if ordinal.is_some() {
                    rest = rest.get(2..).unwrap_or_default();
                }
            }
        }
    }
    read.instant().ok_or_else(|| out(text))
}

/// Separators of the template stand for any separators of the text, other characters for any one.
fn skip_literal<'t>(text: &'t str, literal: &str) -> &'t str {
    let separator = |c: char| c.is_ascii_punctuation() || c.is_whitespace();
    let mut rest = text;
    for character in literal.chars() {
        if character.is_whitespace() {
            rest = rest.trim_start();
            continue;
        }
        let Some(next) = rest.chars().next() else { break };
        if separator(character) {
            if separator(next) && next != '-' && next != '+' || next == character {
                rest = rest.get(next.len_utf8()..).unwrap_or_default();
            }
        } else {
            rest = rest.get(next.len_utf8()..).unwrap_or_default();
        }
    }
    rest
}

fn is_number(field: Field) -> bool {
    !matches!(
        field,
        Field::Meridiem { .. }
            | Field::Era { .. }
            | Field::MonthName
            | Field::MonthShort
            | Field::DayName
            | Field::DayShort
            | Field::RomanMonth
            | Field::ZoneName
            | Field::ZoneHours
            | Field::ZoneMinutes
            | Field::ZoneOffset
    )
}

/// So many digits at most, perhaps after a sign.
fn digits(text: &str, most: usize) -> Option<(i64, usize, &str)> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let length = unsigned.bytes().take(most).take_while(u8::is_ascii_digit).count();
    let (number, rest) = unsigned.split_at_checked(length)?;
    let number: i64 = number.parse().ok()?;
    Some((if negative { -number } else { number }, length, rest))
}

/// The word of a list at the front, its place, and what follows.
fn word<'t>(text: &'t str, words: &[&str]) -> Option<(usize, &'t str)> {
    words.iter().enumerate().find_map(|(at, word)| {
        let (head, rest) = text.split_at_checked(word.len())?;
        head.eq_ignore_ascii_case(word).then_some((at, rest))
    })
}

/// A fraction of a second in so many digits, in microseconds.
fn fraction(text: &str, most: usize) -> Option<(i64, &str)> {
    let (number, length, rest) = digits(text, most)?;
    Some((number * 10_i64.pow(u32::try_from(6_usize.checked_sub(length)?).ok()?), rest))
}

impl Read {
    /// Takes a field off the front of the text.
    fn field<'t>(&mut self, field: Field, text: &'t str, exact: bool) -> Option<&'t str> {
        let number = |width: usize| digits(text, width);
        let shorts = |names: &[&'static str]| -> Vec<&'static str> {
            names.iter().map(|name| name.get(..3).unwrap_or_default()).collect()
        };
        let within = |number: i64, low: i64, high: i64| (low..=high).contains(&number).then_some(number);
        Some(match field {
            Field::Hour24 => {
                let (hour, _, rest) = number(2)?;
                self.hour = within(hour, 0, 24)?;
                rest
            }
            Field::Hour12 => {
                let (hour, _, rest) = number(2)?;
                self.hour = within(hour, 1, 12)?;
                self.twelve = true;
                rest
            }
            Field::Minute => {
                let (minute, _, rest) = number(2)?;
                self.minute = within(minute, 0, 59)?;
                rest
            }
            Field::Second => {
                let (second, _, rest) = number(2)?;
                self.second = within(second, 0, 59)?;
                rest
            }
            Field::Millisecond => {
                let (micros, rest) = fraction(text, 3)?;
                self.fraction = micros;
                rest
            }
            Field::Microsecond => {
                let (micros, rest) = fraction(text, 6)?;
                self.fraction = micros;
                rest
            }
            Field::Fraction(most) => {
                let (micros, rest) = fraction(text, most)?;
                self.fraction = micros;
                rest
            }
            Field::SecondOfDay => {
                let (second, _, rest) = number(5)?;
                self.second_of_day = Some(within(second, 0, 86_399)?);
                rest
            }
            Field::Meridiem { .. } => {
                let (at, rest) = word(text, &["a.m.", "p.m.", "am", "pm"])?;
                self.afternoon = Some(at % 2 == 1);
                rest
            }
            Field::YearComma => {
                let (thousands, _, rest) = number(3)?;
                let (year, _, rest) = digits(rest.strip_prefix(',')?, 3)?;
                self.year = Some(thousands * 1_000 + year);
                rest
            }
            Field::Year(width) => {
                let (year, rest) = written_year(text, width, exact)?;
                self.year = Some(year);
                rest
            }
            Field::IsoYear(width) => {
                let (year, rest) = written_year(text, width, exact)?;
                self.iso_year = Some(year);
                rest
            }
            Field::Era { .. } => {
                let (at, rest) = word(text, &["a.d.", "b.c.", "ad", "bc"])?;
                self.before_christ = at % 2 == 1;
                rest
            }
            Field::MonthName | Field::MonthShort => {
                let (at, rest) = match word(text, &MONTHS) {
                    Some(found) if field == Field::MonthName => found,
                    _ => word(text, &shorts(&MONTHS))?,
                };
                self.month = Some(i64::try_from(at).ok()? + 1);
                rest
            }
            Field::Month => {
                let (month, _, rest) = number(2)?;
                self.month = Some(within(month, 1, 12)?);
                rest
            }
            Field::RomanMonth => {
                let length = text.bytes().take_while(u8::is_ascii_alphabetic).count();
                let (roman, rest) = text.split_at_checked(length)?;
                let at = ROMAN_MONTHS.iter().position(|known| known.eq_ignore_ascii_case(roman))?;
                self.month = Some(i64::try_from(at).ok()? + 1);
                rest
            }
            Field::DayName => word(text, &DAYS).or_else(|| word(text, &shorts(&DAYS)))?.1,
            Field::DayShort => word(text, &shorts(&DAYS))?.1,
            Field::DayOfYear | Field::IsoDayOfYear => {
                let (day, _, rest) = number(3)?;
                self.day_of_year = Some(within(day, 1, 366)?);
                rest
            }
            Field::Day => {
                let (day, _, rest) = number(2)?;
                self.day = Some(within(day, 1, 31)?);
                rest
            }
            Field::DayOfWeek => number(1)?.2,
            Field::IsoDayOfWeek => {
                let (day, _, rest) = number(1)?;
                self.iso_day = Some(within(day, 1, 7)?);
                rest
            }
            Field::WeekOfMonth => {
                let (week, _, rest) = number(1)?;
                self.week_of_month = Some(within(week, 1, 5)?);
                rest
            }
            Field::WeekOfYear => {
                let (week, _, rest) = number(2)?;
                self.week = Some(within(week, 1, 53)?);
                rest
            }
            Field::IsoWeek => {
                let (week, _, rest) = number(2)?;
                self.iso_week = Some(within(week, 1, 53)?);
                rest
            }
            Field::Century => {
                let (century, _, rest) = number(2)?;
                self.century = Some(century);
                rest
            }
            Field::Julian => {
                let (julian, _, rest) = number(9)?;
                self.julian = Some(julian);
                rest
            }
            Field::Quarter => number(1)?.2,
            Field::ZoneName => {
                let length = text.bytes().take_while(u8::is_ascii_alphabetic).count();
                let (name, rest) = text.split_at_checked(length)?;
                ["utc", "gmt", "z"].iter().any(|known| name.eq_ignore_ascii_case(known)).then_some(rest)?
            }
            Field::ZoneHours => {
                let (hours, _, rest) = number(2)?;
                let negative = text.starts_with('-');
                self.zone = if negative { -within(-hours, 0, 15)? } else { within(hours, 0, 15)? } * HOUR;
                rest
            }
            Field::ZoneMinutes => {
                let (minutes, _, rest) = number(2)?;
                let minutes = within(minutes, 0, 59)? * MINUTE;
                self.zone += if self.zone < 0 { -minutes } else { minutes };
                rest
            }
            Field::ZoneOffset => {
                let (hours, _, rest) = number(2)?;
                self.zone = within(hours, -15, 15)? * HOUR;
                match rest.strip_prefix(':') {
                    Some(after) => {
                        let (minutes, _, after) = digits(after, 2)?;
                        let minutes = within(minutes, 0, 59)? * MINUTE;
                        self.zone += if text.starts_with('-') { -minutes } else { minutes };
                        after
                    }
                    None => rest,
                }
            }
        })
    }

    /// The instant of what was read; what was not is the first of its kind, the year 1 before Christ.
    fn instant(&self) -> Option<Micros> {
        let days = self.days()?;
        let mut micros = match self.second_of_day {
            Some(second) => second * SECOND,
            None => {
                let hour = match (self.afternoon, self.twelve) {
                    (Some(afternoon), _) => self.hour % 12 + if afternoon { 12 } else { 0 },
                    (None, true) => self.hour % 12,
                    (None, false) => self.hour,
                };
                hour * HOUR + self.minute * MINUTE + self.second * SECOND
            }
        };
        if micros > DAY {
            return None;
        }
        micros += self.fraction;
        days.checked_mul(DAY)?.checked_add(micros)?.checked_sub(self.zone)
    }

    fn days(&self) -> Option<i64> {
        if let Some(julian) = self.julian {
            return julian.checked_sub(2_440_588);
        }
        if let Some(week) = self.iso_week {
            let year = self.iso_year.or(self.year).unwrap_or(0);
            let fourth = days_from_date(year, 1, 4);
            let monday = fourth - (fourth + 3).rem_euclid(7);
            return Some(monday + (week - 1) * 7 + self.iso_day.unwrap_or(1) - 1);
        }
        let mut year = match (self.year.or(self.iso_year), self.century) {
            (Some(year), _) => year,
            (None, Some(century)) => (century - 1) * 100 + 1,
            (None, None) => 0,
        };
        if self.before_christ && year > 0 {
            year = 1 - year;
        } else if year < 0 {
            year += 1;
        }
        if !(-4_713..=294_276).contains(&year) {
            return None;
        }
        let first = days_from_date(year, 1, 1);
        if let (Some(day), None, None) = (self.day_of_year, self.month, self.day) {
            let length = days_from_date(year + 1, 1, 1) - first;
            return (day <= length).then_some(first + day - 1);
        }
        if let (Some(week), None) = (self.week, self.day) {
            return Some(first + (week - 1) * 7);
        }
        let month = self.month.unwrap_or(1);
        let day = self.day.or(self.week_of_month.map(|week| (week - 1) * 7 + 1)).unwrap_or(1);
        (day <= days_of_month(year, month)).then(|| days_from_date(year, month, day))
    }
}

/// A year in so many digits; shorter ones are the nearest to 2020, as PostgreSQL reads them.
fn written_year(text: &str, width: usize, exact: bool) -> Option<(i64, &str)> {
    let most = if exact {
        width
    } else if width == 4 {
        6
    } else if width == 3 {
        4
    } else {
        width
    };
    let (year, length, rest) = digits(text, most)?;
    if width == 4 && length >= 4 || year < 0 {
        return Some((year, rest));
    }
    Some((
        match (width, year) {
            (4, year) if length > 2 => year,
            (_, year) if year < 70 => year + 2_000,
            (_, year) if year < 100 => year + 1_900,
            (_, year) if year < 520 => year + 2_000,
            (_, year) if year < 1_000 => year + 1_000,
            (_, year) => year,
        },
        rest,
    ))
}

/// The instant as a day.
pub(in crate::eval::functions) fn read_date(text: &str, template: &str) -> Result<i32, Diag> {
    i32::try_from(read(text, template)?.div_euclid(DAY)).map_err(|_| out_of_range())
}
