//! The calendar: instants as microseconds, their fields, and their text.
//!
//! Proleptic Gregorian, UTC only, no leap seconds. Every `i64` has fields and a text; parsing accepts what ISO 8601 and
//! PostgreSQL write. No clock and no time zone database in here.

use std::fmt;

use crate::value::Micros;

/// Microseconds of a second.
pub const SECOND: i64 = 1_000_000;
/// Microseconds of a minute.
pub const MINUTE: i64 = 60 * SECOND;
/// Microseconds of an hour.
pub const HOUR: i64 = 60 * MINUTE;
/// Microseconds of a day.
pub const DAY: i64 = 24 * HOUR;

/// An instant's fields. Year 0 is 1 BC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Astronomical year.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    /// Microseconds since midnight.
    pub micros: i64,
}

/// Why a text is no timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampError {
    /// It does not read as one.
    Malformed,
    /// A field or the whole is outside its range.
    OutOfRange,
}

/// Days from 1970-01-01 to this date; a month outside 1 to 12 counts on into the neighbouring years.
#[must_use]
pub fn days_from_date(year: i64, month: i64, day: i64) -> i64 {
    // Years start in March here, so that the leap day is the last day of a year and months have a regular pattern.
    let months = year * 12 + (month - 3);
    let year = months.div_euclid(12);
    let month = months.rem_euclid(12);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a day counted from 1970-01-01.
#[must_use]
pub fn date_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

/// The fields of an instant.
#[must_use]
pub fn civil(at: Micros) -> Civil {
    let (year, month, day) = date_from_days(at.div_euclid(DAY));
    Civil { year, month, day, micros: at.rem_euclid(DAY) }
}

/// The instant at this time of this date; `None` outside the range of [`Micros`].
#[must_use]
pub fn instant(year: i64, month: i64, day: i64, micros: i64) -> Option<Micros> {
    days_from_date(year, month, day).checked_mul(DAY)?.checked_add(micros)
}

/// Days of a month, 28 to 31.
#[must_use]
pub fn days_of_month(year: i64, month: i64) -> i64 {
    days_from_date(year, month + 1, 1) - days_from_date(year, month, 1)
}

/// Writes an instant as `2026-01-02 03:04:05.123456`, `zone` behind it: the fraction without trailing zeros, ` BC` for years
/// before 1.
///
/// # Errors
/// Only the writer's own.
pub fn write(at: Micros, between: char, zone: &str, f: &mut impl fmt::Write) -> fmt::Result {
    let Civil { year, month, day, micros } = civil(at);
    let shown = if year > 0 { year } else { 1 - year };
    write!(f, "{shown:04}-{month:02}-{day:02}{between}")?;
    write_time(micros, f)?;
    f.write_str(zone)?;
    if year > 0 { Ok(()) } else { f.write_str(" BC") }
}

/// Writes a day counted from 1970 as `2026-01-02`.
///
/// # Errors
/// Only the writer's own.
pub fn write_date(days: i64, f: &mut impl fmt::Write) -> fmt::Result {
    let (year, month, day) = date_from_days(days);
    let shown = if year > 0 { year } else { 1 - year };
    write!(f, "{shown:04}-{month:02}-{day:02}")?;
    if year > 0 { Ok(()) } else { f.write_str(" BC") }
}

/// Writes microseconds since midnight as `03:04:05.123456`.
///
/// # Errors
/// Only the writer's own.
pub fn write_time(micros: i64, f: &mut impl fmt::Write) -> fmt::Result {
    let (hour, minute, second) = (micros / HOUR, micros % HOUR / MINUTE, micros % MINUTE / SECOND);
    write!(f, "{hour:02}:{minute:02}:{second:02}")?;
    match micros % SECOND {
        0 => Ok(()),
        fraction => write!(f, ".{}", format!("{fraction:06}").trim_end_matches('0')),
    }
}

/// Reads a date as [`parse`] does, or `20260102`; a time behind it is read and left out, as PostgreSQL's DATE does.
///
/// # Errors
/// See [`TimestampError`].
pub fn parse_date(text: &str) -> Result<i32, TimestampError> {
    let local = parse_fields(text)?.0;
    i32::try_from(local.div_euclid(DAY)).map_err(|_| TimestampError::OutOfRange)
}

/// Reads a time of day: `03:04`, `03:04:05.5`, `3:04 PM`, `030405`, or the time of a timestamp. An offset is left out.
///
/// # Errors
/// See [`TimestampError`].
pub fn parse_time(text: &str) -> Result<i64, TimestampError> {
    let trimmed = text.trim_ascii();
    if trimmed.bytes().filter(|byte| *byte == b'-').count() > 1 {
        return Ok(parse_fields(text)?.0.rem_euclid(DAY));
    }
    let mut reader = Reader { rest: trimmed.as_bytes() };
    let micros = reader.clock()?.0;
    Ok(micros)
}

/// Reads `2026-01-02`, `2026-01-02 03:04`, `2026-01-02T03:04:05.123456Z`, `... +02:00`, `20260102`, `... BC` and the like;
/// without an offset it is UTC. A fraction beyond microseconds is rounded.
///
/// # Errors
/// See [`TimestampError`].
pub fn parse(text: &str) -> Result<Micros, TimestampError> {
    let (local, offset) = parse_fields(text)?;
    local.checked_sub(offset).ok_or(TimestampError::OutOfRange)
}

/// Microseconds of what is written, and the offset written behind it.
fn parse_fields(text: &str) -> Result<(Micros, i64), TimestampError> {
    let mut text = text.trim_ascii();
    if text.eq_ignore_ascii_case("epoch") {
        return Ok((0, 0));
    }
    let before_christ = match text.len().checked_sub(3).and_then(|at| text.split_at_checked(at)) {
        Some((rest, suffix)) if suffix.eq_ignore_ascii_case(" bc") => {
            text = rest.trim_ascii_end();
            true
        }
        _ => false,
    };
    let mut reader = Reader { rest: text.as_bytes() };
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (year, month, day) = if digits == 8 {
        let (number, _) = reader.number(8)?;
        (number / 10_000, number / 100 % 100, number % 100)
    } else {
        let (year, year_digits) = reader.number(7)?;
        reader.expect(b'-')?;
        let (month, _) = reader.number(2)?;
        reader.expect(b'-')?;
        let (day, _) = reader.number(2)?;
        if year_digits < 4 {
            return Err(TimestampError::Malformed);
        }
        (year, month, day)
    };
    if year == 0 || !(1..=12).contains(&month) {
        return Err(TimestampError::OutOfRange);
    }
    let year = if before_christ { 1 - year } else { year };
    if day < 1 || day > days_of_month(year, month) {
        return Err(TimestampError::OutOfRange);
    }
    let (micros, offset) = if reader.rest.is_empty() { (0, 0) } else { reader.time()? };
    Ok((instant(year, month, day, micros).ok_or(TimestampError::OutOfRange)?, offset))
}

struct Reader<'t> {
    rest: &'t [u8],
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn take(&mut self, wanted: u8) -> bool {
        match self.rest.split_first() {
            Some((first, rest)) if first.eq_ignore_ascii_case(&wanted) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn expect(&mut self, wanted: u8) -> Result<(), TimestampError> {
        if self.take(wanted) { Ok(()) } else { Err(TimestampError::Malformed) }
    }

    fn digit(&mut self) -> Option<i64> {
        let (first, rest) = self.rest.split_first()?;
        if !first.is_ascii_digit() {
            return None;
        }
        self.rest = rest;
        Some(i64::from(first - b'0'))
    }

    /// A number of one to `most` digits, and how many they were.
    fn number(&mut self, most: usize) -> Result<(i64, usize), TimestampError> {
        let mut value = 0;
        let mut digits = 0;
        while digits < most {
            let Some(digit) = self.digit() else { break };
            value = value * 10 + digit;
            digits += 1;
        }
        if digits == 0 { Err(TimestampError::Malformed) } else { Ok((value, digits)) }
    }

    fn spaces(&mut self) {
        while self.take(b' ') {}
    }

    /// Separator, time of day, offset, end: microseconds since midnight, and the offset.
    fn time(&mut self) -> Result<(i64, i64), TimestampError> {
        // A day may have an offset without a time of day.
        if matches!(self.peek(), Some(b'Z' | b'z' | b'+')) {
            let offset = self.offset()?;
            return if self.rest.is_empty() { Ok((0, offset)) } else { Err(TimestampError::Malformed) };
        }
        if !self.take(b'T') {
            self.expect(b' ')?;
            self.spaces();
        }
        if matches!(self.peek(), Some(b'Z' | b'z' | b'+')) {
            return self.time();
        }
        self.clock()
    }

    /// Time of day, AM or PM, offset, end.
    fn clock(&mut self) -> Result<(i64, i64), TimestampError> {
        let (mut hour, digits) = self.number(6)?;
        let minute: i64;
        let (mut second, mut fraction) = (0, 0);
        match digits {
            1 | 2 => {
                self.expect(b':')?;
                minute = self.number(2)?.0;
                if self.take(b':') {
                    second = self.number(2)?.0;
                    if self.take(b'.') {
                        fraction = self.fraction()?;
                    }
                }
            }
            4 => (hour, minute) = (hour / 100, hour % 100),
            6 => {
                (hour, minute, second) = (hour / 10_000, hour / 100 % 100, hour % 100);
                if self.take(b'.') {
                    fraction = self.fraction()?;
                }
            }
            _ => return Err(TimestampError::Malformed),
        }
        self.spaces();
        let half = match (self.peek(), self.rest.get(1)) {
            (Some(b'a' | b'A'), Some(b'm' | b'M')) => Some(0),
            (Some(b'p' | b'P'), Some(b'm' | b'M')) => Some(12),
            _ => None,
        };
        if let Some(half) = half {
            if !(1..=12).contains(&hour) {
                return Err(TimestampError::OutOfRange);
            }
            hour = hour % 12 + half;
            self.rest = self.rest.get(2..).unwrap_or_default();
            self.spaces();
        }
        let micros = hour * HOUR + minute * MINUTE + second * SECOND + fraction;
        if minute > 59 || second > 60 || micros > DAY {
            return Err(TimestampError::OutOfRange);
        }
        let offset = self.offset()?;
        if self.rest.is_empty() { Ok((micros, offset)) } else { Err(TimestampError::Malformed) }
    }

    fn fraction(&mut self) -> Result<i64, TimestampError> {
        let (mut fraction, mut digits) = (0, 0);
        while digits < 6 {
            let Some(digit) = self.digit() else { break };
            fraction = fraction * 10 + digit;
            digits += 1;
        }
        if digits == 0 {
            return Err(TimestampError::Malformed);
        }
        fraction *= 10_i64.pow(6 - digits);
        let rounding = i64::from(self.digit().is_some_and(|digit| digit >= 5));
        while self.digit().is_some() {}
        Ok(fraction + rounding)
    }

    /// `Z`, `UTC`, `+02`, `+0200`, `+02:00`, `-03:30:15`, or nothing.
    fn offset(&mut self) -> Result<i64, TimestampError> {
        let sign = match self.peek() {
            Some(b'+') => 1,
            Some(b'-') => -1,
            Some(b'Z' | b'z') => {
                self.take(b'Z');
                return Ok(0);
            }
            Some(_) if self.rest.eq_ignore_ascii_case(b"utc") => {
                self.rest = &[];
                return Ok(0);
            }
            _ => return Ok(0),
        };
        self.rest = self.rest.get(1..).unwrap_or_default();
        let (mut hours, digits) = self.number(4)?;
        let (mut minutes, mut seconds) = (0, 0);
        match digits {
            4 => {
                minutes = hours % 100;
                hours /= 100;
            }
            1 | 2 => {
                if self.take(b':') {
                    minutes = self.number(2)?.0;
                    if self.take(b':') {
                        seconds = self.number(2)?.0;
                    }
                }
            }
            _ => return Err(TimestampError::Malformed),
        }
        if hours > 15 || minutes > 59 || seconds > 59 {
            return Err(TimestampError::OutOfRange);
        }
        Ok(sign * (hours * HOUR + minutes * MINUTE + seconds * SECOND))
    }
}
