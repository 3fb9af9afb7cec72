//! Templates of `to_char`, `to_date` and `to_timestamp`: PostgreSQL's patterns for dates, times and intervals.
//!
//! A template is cut into fields and literal text once, then written or read. Names of months and days are English.

use super::calendar::{Parts, out_of_range};
use crate::datetime::{Civil, DAY, HOUR, MINUTE, SECOND, civil, days_from_date, days_of_month};
use crate::diag::{Diag, SqlState};
use crate::eval::operators::check_length;
use crate::interval::Interval;
use crate::value::Micros;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const ROMAN_MONTHS: [&str; 12] = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"];

/// What a pattern of a template stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Hour12,
    Hour24,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    /// So many digits of the fraction.
    Fraction(usize),
    SecondOfDay,
    /// AM or PM, with periods or without.
    Meridiem {
        dotted: bool,
    },
    /// The year with a comma after its thousands.
    YearComma,
    /// The last so many digits of the year.
    Year(usize),
    IsoYear(usize),
    /// BC or AD, with periods or without.
    Era {
        dotted: bool,
    },
    MonthName,
    MonthShort,
    Month,
    RomanMonth,
    DayName,
    DayShort,
    DayOfYear,
    IsoDayOfYear,
    Day,
    DayOfWeek,
    IsoDayOfWeek,
    WeekOfMonth,
    WeekOfYear,
    IsoWeek,
    Century,
    Julian,
    Quarter,
    ZoneName,
    ZoneHours,
    ZoneMinutes,
    ZoneOffset,
}

/// Patterns in the order in which they are tried: the longest of a beginning first.
const FIELDS: &[(&str, Field)] = &[
    ("A.D.", Field::Era { dotted: true }),
    ("A.M.", Field::Meridiem { dotted: true }),
    ("AD", Field::Era { dotted: false }),
    ("AM", Field::Meridiem { dotted: false }),
    ("B.C.", Field::Era { dotted: true }),
    ("BC", Field::Era { dotted: false }),
    ("CC", Field::Century),
    ("DAY", Field::DayName),
    ("DDD", Field::DayOfYear),
    ("DD", Field::Day),
    ("DY", Field::DayShort),
    ("D", Field::DayOfWeek),
    ("FF1", Field::Fraction(1)),
    ("FF2", Field::Fraction(2)),
    ("FF3", Field::Fraction(3)),
    ("FF4", Field::Fraction(4)),
    ("FF5", Field::Fraction(5)),
    ("FF6", Field::Fraction(6)),
    ("HH24", Field::Hour24),
    ("HH12", Field::Hour12),
    ("HH", Field::Hour12),
    ("IDDD", Field::IsoDayOfYear),
    ("ID", Field::IsoDayOfWeek),
    ("IW", Field::IsoWeek),
    ("IYYY", Field::IsoYear(4)),
    ("IYY", Field::IsoYear(3)),
    ("IY", Field::IsoYear(2)),
    ("I", Field::IsoYear(1)),
    ("J", Field::Julian),
    ("MI", Field::Minute),
    ("MM", Field::Month),
    ("MONTH", Field::MonthName),
    ("MON", Field::MonthShort),
    ("MS", Field::Millisecond),
    ("OF", Field::ZoneOffset),
    ("P.M.", Field::Meridiem { dotted: true }),
    ("PM", Field::Meridiem { dotted: false }),
    ("Q", Field::Quarter),
    ("RM", Field::RomanMonth),
    ("SSSSS", Field::SecondOfDay),
    ("SSSS", Field::SecondOfDay),
    ("SS", Field::Second),
    ("TZH", Field::ZoneHours),
    ("TZM", Field::ZoneMinutes),
    ("TZ", Field::ZoneName),
    ("US", Field::Microsecond),
    ("WW", Field::WeekOfYear),
    ("W", Field::WeekOfMonth),
    ("Y,YYY", Field::YearComma),
    ("YYYY", Field::Year(4)),
    ("YYY", Field::Year(3)),
    ("YY", Field::Year(2)),
    ("Y", Field::Year(1)),
];

/// How a pattern of letters is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Upper,
    Capital,
    Lower,
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Field {
        field: Field,
        case: Case,
        /// FM: without padding.
        fill: bool,
        /// TH or th behind it.
        ordinal: Option<Case>,
    },
}

/// The field at the front of a template, how it is written, and what follows.
fn field_at(text: &str) -> Option<(Field, Case, &str)> {
    for (pattern, field) in FIELDS {
        let Some((head, rest)) = text.split_at_checked(pattern.len()) else { continue };
        let case = if head == *pattern {
            // A name's first two letters tell upper case from capitals; `D` alone is a number.
            Case::Upper
        } else if head == pattern.to_ascii_lowercase() {
            Case::Lower
        } else if matches!(field, Field::MonthName | Field::MonthShort | Field::DayName | Field::DayShort)
            && head.starts_with(|first: char| first.is_ascii_uppercase())
            && head.get(1..) == Some(pattern.to_ascii_lowercase().get(1..).unwrap_or_default())
        {
            Case::Capital
        } else {
            continue;
        };
        return Some((*field, case, rest));
    }
    None
}

fn parse(template: &str) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut literal = String::new();
    let mut rest = template;
    let mut fill = true;
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            fill = false;
            rest = after;
            continue;
        }
        if let Some(after) = ["FX", "fx", "TM"].iter().find_map(|prefix| rest.strip_prefix(prefix)) {
            rest = after;
            continue;
        }
        if let Some((field, case, after)) = field_at(rest) {
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            let (ordinal, after) = if let Some(after) = after.strip_prefix("TH") {
                (Some(Case::Upper), after)
            } else if let Some(after) = after.strip_prefix("th") {
                (Some(Case::Lower), after)
            } else {
                (None, after)
            };
            parts.push(Part::Field { field, case, fill, ordinal });
            fill = true;
            rest = after;
            continue;
        }
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
        match first {
            '"' => {
                let mut escaped = false;
                while let Some(next) = rest.chars().next() {
                    rest = rest.get(next.len_utf8()..).unwrap_or_default();
                    match next {
                        '\\' if !escaped => escaped = true,
                        '"' if !escaped => break,
                        other => {
                            literal.push(other);
                            escaped = false;
                        }
                    }
                }
            }
            '\\' => match rest.strip_prefix('"') {
                Some(after) => {
                    literal.push('"');
                    rest = after;
                }
                None => literal.push('\\'),
            },
            other => literal.push(other),
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Literal(literal));
    }
    parts
}

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
pub(super) fn write_timestamp(at: Micros, zoned: bool, template: &str) -> Result<String, Diag> {
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
pub(super) fn write_interval(span: Interval, template: &str) -> Result<String, Diag> {
    let Parts { years, months, days, hours, minutes, micros } = super::calendar::parts(span);
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
pub(super) fn ordinal(digits: &str) -> &'static str {
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
                let year = super::time::iso_week(self.date()?).0;
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
                let (_, week) = super::time::iso_week(days);
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
            Field::IsoWeek => padded(super::time::iso_week(self.date()?).1, 2, fill),
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
pub(super) fn read(text: &str, template: &str) -> Result<Micros, Diag> {
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
pub(super) fn read_date(text: &str, template: &str) -> Result<i32, Diag> {
    i32::try_from(read(text, template)?.div_euclid(DAY)).map_err(|_| out_of_range())
}
