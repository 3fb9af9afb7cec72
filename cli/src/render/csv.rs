//! CSV after RFC 4180, with one addition: NULL is empty, an empty text is `""`.

/// One line with its end.
pub(crate) fn csv_line(cells: impl Iterator<Item = Option<String>>) -> String {
    let fields: Vec<String> = cells.map(|text| text.map_or(String::new(), |text| field(&text))).collect();
    // A lone NULL would be an empty line, which readers skip; it stays one all the same, as PostgreSQL's does.
    fields.join(",") + "\n"
}

fn field(text: &str) -> String {
    if text.is_empty() || text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
