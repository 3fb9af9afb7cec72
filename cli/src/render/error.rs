//! Errors: what, where in the statement, and what to do.

use crate::answer::{ErrorBody, ErrorDetails};
use crate::failure::Failure;
use crate::terminal::Style;

use super::cell;

const RED: &str = "1;31";
const BOLD: &str = "1";
/// A line of a statement is shown around the place, at most so many columns of it.
const LINE_WIDTH: usize = 100;

/// Any failure, with its hint.
pub(crate) fn failure_text(failure: &Failure, style: Style) -> String {
    if let Failure::Statement { statement, error } = failure {
        return statement_error(statement, error, style);
    }
    let mut out = format!("{} {failure}\n", style.paint(RED, "error:"));
    if let Some(hint) = failure.hint() {
        out.push_str(&format!("{} {hint}\n", style.paint(BOLD, "hint:")));
    }
    out
}

/// A statement's error, with the line and a caret under the place.
fn statement_error(statement: &str, error: &ErrorBody, style: Style) -> String {
    let details = error.details();
    let code = details.sqlstate.as_deref().unwrap_or(&error.code);
    let code = if code.is_empty() { String::new() } else { format!(" ({code})") };
    let mut out = format!("{} {}{code}\n", style.paint(RED, "error:"), readable(&error.message));
    out.push_str(&place(statement, &details, style).unwrap_or_default());
    if let Some(detail) = &details.detail {
        out.push_str(&format!("{} {}\n", style.paint(BOLD, "detail:"), readable(detail)));
    }
    if let Some(hint) = &details.hint {
        out.push_str(&format!("{} {}\n", style.paint(BOLD, "hint:"), readable(hint)));
    } else if !details.suggestions.is_empty() {
        out.push_str(&format!(
            "{} did you mean {}?\n",
            style.paint(BOLD, "hint:"),
            readable(&details.suggestions.join(", "))
        ));
    }
    out
}

/// The server's text; line ends stay, other control characters are shown as escapes.
fn readable(text: &str) -> String {
    text.lines().map(cell::on_one_line).collect::<Vec<_>>().join("\n")
}

/// The line that holds the place's first character, and carets under the part of the place that lies in it.
fn place(statement: &str, details: &ErrorDetails, style: Style) -> Option<String> {
    let start = details.position?.checked_sub(1)?;
    let end = details.end.and_then(|end| end.checked_sub(1)).unwrap_or(start + 1).max(start + 1);
    let mut before = 0;
    for (number, line) in statement.split('\n').enumerate() {
        let characters: Vec<char> =
            line.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
        // A place at the very end of the text lies just behind the last line.
        if start <= before + characters.len() {
            let column = start - before;
            let until = (end - before).clamp(column + 1, characters.len().max(column + 1));
            return Some(draw(number + 1, &characters, column, until, style));
        }
        before += characters.len() + 1;
    }
    None
}

fn draw(number: usize, line: &[char], column: usize, until: usize, style: Style) -> String {
    let from = if line.len() > LINE_WIDTH { column.saturating_sub(LINE_WIDTH / 2) } else { 0 };
    let to = line.len().min(from + LINE_WIDTH);
    let text = |from: usize, to: usize| {
        line.get(from.min(line.len())..to.min(line.len())).unwrap_or_default().iter().collect::<String>()
    };
    let cut = if from > 0 { "…" } else { "" };
    let shown = format!("{cut}{}{}", text(from, to), if to < line.len() { "…" } else { "" });
    let gutter = format!("{number:>3} | ");
    let indent = cell::width(&gutter) + cell::width(cut) + cell::width(&text(from, column));
    let carets = cell::width(&text(column, until.min(to.max(column + 1)))).max(1);
    format!("{gutter}{shown}\n{}{}\n", " ".repeat(indent), style.paint(RED, &"^".repeat(carets)))
}
