//! One cell as text.

use std::fmt::Write as _;

use serde_json::Value;
use unicode_width::UnicodeWidthStr as _;

use crate::answer::Column;

/// The cell's text, whole and unescaped; `None` for NULL.
pub(crate) fn raw(cell: &Value, column: Option<&Column>) -> Option<String> {
    let type_name = column.map_or("", Column::type_name);
    Some(match cell {
        Value::Null => return None,
        Value::Bool(value) => value.to_string(),
        Value::String(text) => text.clone(),
        Value::Number(number) => match (type_name, number.as_i64()) {
            ("Timestamp" | "DateTime", Some(micros)) => timestamp(micros),
            ("Date", Some(days)) => date(days),
            ("Time", Some(micros)) => time_of_day(micros),
            _ => number.to_string(),
        },
        Value::Array(cells) if type_name == "Array" => {
            let element = column.and_then(Column::element);
            let items: Vec<String> = cells.iter().map(|cell| item(cell, element.as_ref())).collect();
            format!("{{{}}}", items.join(","))
        }
        Value::Array(bytes) if type_name == "Bytes" => {
            bytes.iter().filter_map(Value::as_u64).fold("\\x".to_owned(), |mut hex, byte| {
                let _ = write!(hex, "{byte:02x}");
                hex
            })
        }
        Value::Array(_) | Value::Object(_) => cell.to_string(),
    })
}

/// An element of an array, in quotes where commas, braces, quotes or white space would be misread.
fn item(cell: &Value, column: Option<&Column>) -> String {
    let Some(text) = raw(cell, column) else { return "NULL".to_owned() };
    let special = |c: char| matches!(c, '"' | '\\' | '{' | '}' | ',') || c.is_ascii_whitespace();
    if !text.is_empty() && !text.eq_ignore_ascii_case("null") && !text.contains(special) {
        return text;
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The text on one line: what would move the cursor or change the terminal is shown as an escape.
pub(crate) fn on_one_line(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut line, character| {
        match character {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            control if control.is_control() => {
                let _ = write!(line, "\\u{{{:x}}}", u32::from(control));
            }
            other => line.push(other),
        }
        line
    })
}

/// Columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The text, cut to so many columns if it is wider; a cut one ends with `…`.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut used = 1;
    let kept = text.chars().take_while(|character| {
        used += unicode_width::UnicodeWidthChar::width(*character).unwrap_or(0);
        used <= columns
    });
    let mut cut: String = kept.collect();
    cut.push('…');
    cut
}

/// `2026-11-22 01:02:03.000004Z`, the fraction without closing zeros.
pub(crate) fn timestamp(micros: i64) -> String {
    const DAY: i64 = 86_400_000_000;
    let (day, era) = day_and_era(micros.div_euclid(DAY));
    format!("{day} {}Z{era}", time_of_day(micros.rem_euclid(DAY)))
}

/// `2026-11-22`, from days since 1970.
fn date(days: i64) -> String {
    let (day, era) = day_and_era(days);
    day + era
}

/// A day, and ` BC` where that belongs: before the year 1 comes 1 BC, and the server reads no year 0.
fn day_and_era(days: i64) -> (String, &'static str) {
    let (year, month, day) = civil(days);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), era)
}

/// `01:02:03.000004`, from microseconds since midnight.
fn time_of_day(micros: i64) -> String {
    let second = micros / 1_000_000;
    let mut text = format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60);
    let fraction = micros % 1_000_000;
    if fraction != 0 {
        let _ = write!(text, ".{}", format!("{fraction:06}").trim_end_matches('0'));
    }
    text
}

/// Year, month and day of a number of days since 1970-01-01. Counts in years that begin in March.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    #[test]
    fn timestamps_are_written_in_utc() {
        assert_eq!(timestamp(0), "1970-01-01 00:00:00Z");
        assert_eq!(timestamp(1_795_309_323_000_004), "2026-11-22 01:02:03.000004Z");
        assert_eq!(timestamp(1_795_309_323_500_000), "2026-11-22 01:02:03.5Z");
        assert_eq!(timestamp(-1), "1969-12-31 23:59:59.999999Z");
        assert_eq!(timestamp(951_782_400_000_000), "2000-02-29 00:00:00Z");
        assert_eq!(timestamp(-62_167_219_200_000_000), "0001-01-01 00:00:00Z BC");
    }

    #[test]
    fn dates_times_and_arrays_read_as_in_sql() {
        let column = |data_type: &str| -> Column {
            serde_json::from_str(&format!(r#"{{"name":"c","data_type":{data_type}}}"#)).unwrap()
        };
        let shown =
            |cell: &str, data_type: &str| raw(&serde_json::from_str(cell).unwrap(), Some(&column(data_type))).unwrap();
        assert_eq!(shown("20779", r#""Date""#), "2026-11-22");
        assert_eq!(shown("3723000004", r#""Time""#), "01:02:03.000004");
        assert_eq!(
            shown(r#"["a","b c",null,"NULL","q\"\\"]"#, r#"{"Array":"Text"}"#),
            r#"{a,"b c",NULL,"NULL","q\"\\"}"#
        );
        assert_eq!(shown("[20779,null]", r#"{"Array":"Date"}"#), "{2026-11-22,NULL}");
        assert_eq!(shown("[1.0,0.5]", r#"{"Embedding":2}"#), "[1.0,0.5]");
    }

    #[test]
    fn what_would_disturb_the_terminal_is_escaped() {
        assert_eq!(on_one_line("a\nb\t\x1b[2Jé"), "a\\nb\\t\\u{1b}[2Jé");
    }

    #[test]
    fn texts_are_cut_by_columns() {
        assert_eq!(fit("abc", 3), "abc");
        assert_eq!(fit("abcd", 3), "ab…");
        assert_eq!(fit("日本語", 5), "日本…");
        assert_eq!(fit("日本語", 4), "日…");
    }
}
