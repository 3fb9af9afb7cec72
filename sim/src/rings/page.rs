//! The table of planted bugs on a page of the documentation.

use std::path::Path;

/// The table stands between these lines.
const BEGIN: &str = "<!-- campaign: begin -->";
const END: &str = "<!-- campaign: end -->";

/// What stands there when nothing was noticed.
pub const NOT_FOUND: &str = "NOT FOUND";

/// Those of the planted bugs that are looked for: all, or only some.
pub fn chosen(planted: &[u32], only: &[u32]) -> Vec<u32> {
    planted.iter().copied().filter(|number| only.is_empty() || only.contains(number)).collect()
}

/// So many characters of the first line of what was found, fit for a table.
pub fn brief(what: &str, most: usize) -> String {
    let line = what.lines().next().unwrap_or_default().replace('|', "/");
    if line.chars().count() > most { format!("{}...", line.chars().take(most).collect::<String>()) } else { line }
}

/// The page before, in and behind the table.
fn parts(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (table, after) = rest.split_once(END)?;
    Some((before, table, after))
}

fn missing() -> std::io::Error {
    std::io::Error::other(format!("no line '{BEGIN}' and '{END}' to write between"))
}

/// Says what is wrong with a page.
fn told<T>(page: &Path, outcome: std::io::Result<T>) -> Option<T> {
    outcome.map_err(|error| highwater_sim::say!("{}: {error}", page.display())).ok()
}

/// The table that a page has. Says why there is none, so that nobody looks for every bug and then cannot write it down.
pub fn read(page: &Path) -> Option<String> {
    let table = std::fs::read_to_string(page)
        .and_then(|text| parts(&text).map(|(_, table, _)| table.to_owned()).ok_or_else(missing));
    told(page, table)
}

/// Puts a table in the place of the one that a page has. Says if that cannot be done, and that it was not.
pub fn write(page: &Path, table: &str) -> bool {
    let written = std::fs::read_to_string(page).and_then(|text| {
        let (before, _, after) = parts(&text).ok_or_else(missing)?;
        std::fs::write(page, format!("{before}{BEGIN}\n\n{table}\n{END}{after}"))
    });
    told(page, written).is_some()
}
