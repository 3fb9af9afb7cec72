//! A report for people, and as JSON.

use serde_json::{Map, Value, json};

use crate::report::{Cell, Report, Section};

/// A cell for people.
fn shown(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => text.clone(),
        Cell::Number(number) => number.to_string(),
        Cell::Bytes(bytes) => size(*bytes),
        Cell::Ratio(ratio) => format!("{ratio:.2}"),
        Cell::Nothing => "-".to_owned(),
    }
}

/// Bytes in the largest unit that leaves at least one, with their exact number behind small ones only.
fn size(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        Some((unit, name)) if bytes.is_multiple_of(unit) => format!("{} {name}", bytes / unit),
        Some((unit, name)) => format!("{:.1} {name}", bytes as f64 / unit as f64),
        None => format!("{bytes} B"),
    }
}

/// The report for people.
pub(crate) fn human(report: &Report) -> String {
    let mut out = String::new();
    for section in &report.sections {
        match section {
            Section::Facts { title, facts } => {
                heading(&mut out, title);
                let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
                for (name, cell) in facts {
                    out.push_str(&format!("  {name:<width$}  {}\n", shown(cell)));
                }
            }
            Section::Rows { title, columns, rows } => {
                heading(&mut out, title);
                grid(&mut out, columns, rows);
            }
        }
        out.push('\n');
    }
    for note in &report.notes {
        out.push_str(&format!("note: {note}\n"));
    }
    for damage in &report.damages {
        out.push_str(&format!("DAMAGED: {} at byte {}: {}\n", damage.file.display(), damage.offset, damage.what));
    }
    match report.damages.len() {
        0 => out.push_str("no damage found\n"),
        1 => out.push_str("1 damaged place\n"),
        count => out.push_str(&format!("{count} damaged places\n")),
    }
    out
}

fn heading(out: &mut String, title: &str) {
    out.push_str(title);
    out.push('\n');
}

/// Columns as wide as their widest cell; numbers to the right. The last column is not padded.
fn grid(out: &mut String, columns: &[&'static str], rows: &[Vec<Cell>]) {
    if rows.is_empty() {
        out.push_str("  none\n");
        return;
    }
    let texts: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(shown).collect()).collect();
    let width = |at: usize, name: &str| {
        let widest = texts.iter().filter_map(|row| row.get(at)).map(|text| text.chars().count()).max().unwrap_or(0);
        widest.max(name.len())
    };
    let is_number = |at: usize| {
        let cells = || rows.iter().filter_map(|row| row.get(at));
        cells().all(|cell| !matches!(cell, Cell::Text(_))) && cells().any(|cell| *cell != Cell::Nothing)
    };
    let layout: Vec<(usize, bool)> =
        columns.iter().enumerate().map(|(at, name)| (width(at, name), is_number(at))).collect();
    let mut line = |cells: &mut dyn Iterator<Item = &str>| {
        let mut text = String::from(" ");
        for (cell, (width, right)) in cells.zip(&layout) {
            let width = *width;
            text.push_str(&if *right { format!(" {cell:>width$} ") } else { format!(" {cell:<width$} ") });
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut columns.iter().copied());
    for row in &texts {
        line(&mut row.iter().map(String::as_str));
    }
}

/// The report as one JSON document, on one line.
pub(crate) fn json(report: &Report) -> String {
    let value = |cell: &Cell| match cell {
        Cell::Text(text) => json!(text),
        Cell::Number(number) | Cell::Bytes(number) => json!(number),
        Cell::Ratio(ratio) => json!(ratio),
        Cell::Nothing => Value::Null,
    };
    let key = |name: &str| name.replace([' ', '-'], "_");
    let object = |pairs: &mut dyn Iterator<Item = (&'static str, &Cell)>| {
        Value::Object(pairs.map(|(name, cell)| (key(name), value(cell))).collect::<Map<_, _>>())
    };
    let section = |section: &Section| match section {
        Section::Facts { title, facts } => {
            json!({"title": title, "facts": object(&mut facts.iter().map(|(name, cell)| (*name, cell)))})
        }
        Section::Rows { title, columns, rows } => {
            let rows: Vec<Value> = rows.iter().map(|row| object(&mut columns.iter().copied().zip(row))).collect();
            json!({"title": title, "rows": rows})
        }
    };
    let damage = |damage: &crate::report::Damage| json!({"file": damage.file.display().to_string(), "offset": damage.offset, "what": damage.what});
    let document = json!({
        "command": report.command,
        "ok": report.damages.is_empty(),
        "sections": report.sections.iter().map(section).collect::<Vec<_>>(),
        "damage": report.damages.iter().map(damage).collect::<Vec<_>>(),
        "notes": report.notes,
    });
    format!("{document}\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn report() -> Report {
        let mut report = Report::new("log");
        report.facts("a store", vec![("blocks", Cell::Number(2)), ("bytes in all", Cell::Bytes(8192))]);
        let rows = vec![
            vec![Cell::Number(7), "x".into(), Cell::Nothing],
            vec![Cell::Number(10), "longer".into(), Cell::Bytes(1536)],
        ];
        report.rows("rows", &["id", "name", "size"], rows);
        report.rows("others", &["id"], Vec::new());
        report.damage(std::path::Path::new("f"), 4096, "torn");
        report
    }

    #[test]
    fn people_see_aligned_columns_and_every_damaged_place() {
        let expected = "a store\n  blocks        2\n  bytes in all  8 KiB\n\nrows\n  id  name    size\n   7  x       -\n  10  longer  1.5 KiB\n\nothers\n  none\n\nDAMAGED: f at byte 4096: torn\n1 damaged place\n";
        let shown: Vec<String> =
            human(&report()).lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let wanted: Vec<String> =
            expected.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(shown, wanted);
        assert!(human(&report()).contains("\n   7  x"), "numbers stand to the right");
    }

    #[test]
    fn json_has_exact_numbers_under_the_same_names() {
        let value: Value = serde_json::from_str(&json(&report())).unwrap();
        assert_eq!(value["sections"][0]["facts"], json!({"blocks": 2, "bytes_in_all": 8192}));
        assert_eq!(value["sections"][1]["rows"][1], json!({"id": 10, "name": "longer", "size": 1536}));
        assert_eq!(value["damage"], json!([{"file": "f", "offset": 4096, "what": "torn"}]));
        assert_eq!(value["ok"], json!(false));
    }
}
