//! A diagnostic as a terminal would show it.

use highwater_sql::diag::Diag;

/// State and message, the line with a caret run, detail, hint and suggestions.
pub fn draw(sql: &str, diag: &Diag) -> String {
    let mut out = format!("{} {}", diag.sqlstate, diag.message);
    if let Some(span) = diag.span {
        let characters: Vec<char> = sql.chars().collect();
        let start = usize::try_from(span.start).unwrap().min(characters.len());
        let end = usize::try_from(span.end).unwrap().clamp(start, characters.len());
        let line_start = characters[..start].iter().rposition(|character| *character == '\n').map_or(0, |at| at + 1);
        let line_end = characters[start..]
            .iter()
            .position(|character| *character == '\n')
            .map_or(characters.len(), |at| start + at);
        let line: String = characters[line_start..line_end].iter().collect();
        let width = end.min(line_end).saturating_sub(start).max(1);
        out.push_str(&format!("\n  {line}\n  {}{}", " ".repeat(start - line_start), "^".repeat(width)));
    } else {
        out.push_str("\n  (no place)");
    }
    for (word, text) in [("detail", &diag.detail), ("hint", &diag.hint)] {
        if let Some(text) = text {
            out.push_str(&format!("\n  {word}: {text}"));
        }
    }
    if !diag.suggestions.is_empty() {
        out.push_str(&format!("\n  meant: {}", diag.suggestions.join(", ")));
    }
    out
}
