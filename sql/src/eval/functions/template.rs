//! Templates of `to_char`, `to_date` and `to_timestamp`: PostgreSQL's patterns for dates, times and intervals.
//!
//! A template is cut into fields and literal text once, then written or read. Names of months and days are English.

mod read;
mod write;

pub(super) use read::{read, read_date};
pub(super) use write::{ordinal, write_interval, write_timestamp};

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
    let (mut fill, mut is_translated) = (true, false);
    while let Some(first) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("FM").or_else(|| rest.strip_prefix("fm")) {
            fill = false;
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("FX").or_else(|| rest.strip_prefix("fx")) {
            rest = after;
            continue;
        }
        if let Some(after) = rest.strip_prefix("TM") {
            is_translated = true;
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
            // A translated name (here always the English one) is of no known width.
            let is_name = matches!(field, Field::MonthName | Field::DayName);
            parts.push(Part::Field { field, case, fill: fill && !(is_translated && is_name), ordinal });
            (fill, is_translated) = (true, false);
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
