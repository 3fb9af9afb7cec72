//! Files of rows: CSV (RFC 4180; an empty field is NULL, `""` an empty text), TSV (PostgreSQL's COPY: `\N`, `\t`, `\n`, `\\`) and
//! JSON lines (one object per line; what an object does not name takes its default). JSON values have the forms of the server's
//! answers, in which a day is a number: only the column's type tells it from a number.

use serde_json::{Map, Value};

use crate::answer::Column;
use crate::args::Format;
use crate::render::cell_text;
use crate::variables::{plain_name, quoted_name};

use super::value;

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Where it starts, counted from 1.
    pub(super) line: usize,
    /// Names as SQL.
    pub(super) columns: Vec<String>,
    pub(super) cells: Vec<Option<String>>,
}

impl Record {
    /// About what it takes in a statement.
    pub(super) fn bytes(&self) -> usize {
        self.cells.iter().map(|cell| cell.as_ref().map_or(6, |text| text.len() + 4)).sum()
    }

    /// `('a', NULL)`
    pub(super) fn values(&self) -> String {
        let cells: Vec<String> = self.cells.iter().map(|cell| value(cell.as_deref())).collect();
        format!("({})", cells.join(", "))
    }
}

/// The rows of a file, in order.
pub(super) struct Records<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    format: Format,
    columns: Vec<String>,
    /// The table's columns, as far as they are known.
    schema: &'a [Column],
    /// Why what follows the text cannot be read.
    broken: Option<String>,
}

/// The lines of a file up to the first that is not UTF-8, and what is wrong with that one.
pub(super) fn readable(bytes: &[u8]) -> (&str, Option<String>) {
    let mut chunks = bytes.utf8_chunks();
    let Some(chunk) = chunks.next() else { return ("", None) };
    let Some(byte) = chunk.invalid().first() else { return (chunk.valid(), None) };
    let lines = chunk.valid().rfind('\n').and_then(|end| chunk.valid().get(..=end)).unwrap_or_default();
    let line = lines.matches('\n').count() + 1;
    (lines, Some(format!("line {line}: the byte 0x{byte:02x} is not UTF-8")))
}

impl<'a> Records<'a> {
    /// Reads the header, if the columns are not given and the format has one.
    pub(super) fn new(
        text: &'a str,
        format: Format,
        columns: Option<Vec<String>>,
        schema: &'a [Column],
        broken: Option<String>,
    ) -> Result<Self, String> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut records = Self { text, at: 0, line: 1, format, columns: Vec::new(), schema, broken };
        match (format, columns) {
            (_, Some(columns)) => records.columns = columns,
            (Format::Jsonl, None) => {}
            (_, None) => {
                let header = records.fields()?.ok_or("the file is empty; its first line names the columns")?;
                records.columns = header.into_iter().map(|name| quoted_name(&name.unwrap_or_default())).collect();
            }
        }
        Ok(records)
    }

    /// Bytes that were read.
    pub(super) fn done(&self) -> u64 {
        self.at as u64
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// What is said where the text ends before the file does.
    fn end(&mut self) -> Result<(), String> {
        self.broken.take().map_or(Ok(()), Err)
    }

    /// The next line without its end; `None` at the end.
    fn take_line(&mut self) -> Result<Option<&'a str>, String> {
        let rest = self.rest();
        if rest.is_empty() {
            return self.end().map(|()| None);
        }
        let end = rest.find('\n').map_or(rest.len(), |end| end + 1);
        self.at += end;
        self.line += 1;
        Ok(rest.get(..end).map(|line| line.trim_end_matches('\n').trim_end_matches('\r')))
    }

    /// The fields of the next line.
    fn fields(&mut self) -> Result<Option<Vec<Option<String>>>, String> {
        match self.format {
            Format::Csv => self.csv(),
            _ => Ok(self.take_line()?.map(|line| line.split('\t').map(tab_field).collect())),
        }
    }

    fn csv(&mut self) -> Result<Option<Vec<Option<String>>>, String> {
        let rest = self.rest();
        if rest.is_empty() {
            return self.end().map(|()| None);
        }
        let first_line = self.line;
        let mut fields = Vec::new();
        let (mut field, mut is_text) = (String::new(), false);
        let mut characters = rest.char_indices().peekable();
        let mut length = rest.len();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' if field.is_empty() && !is_text => {
                    is_text = true;
                    loop {
                        match characters.next() {
                            Some((_, '"')) if characters.peek().is_some_and(|(_, next)| *next == '"') => {
                                field.push('"');
                                characters.next();
                            }
                            Some((_, '"')) => break,
                            Some((_, inner)) => {
                                self.line += usize::from(inner == '\n');
                                field.push(inner);
                            }
                            None => {
                                self.end()?;
                                return Err(format!("line {first_line}: a quote is never closed"));
                            }
                        }
                    }
                }
                ',' => {
                    fields.push((is_text || !field.is_empty()).then(|| std::mem::take(&mut field)));
                    is_text = false;
                }
                '\r' if characters.peek().is_some_and(|(_, next)| *next == '\n') => {}
                '\n' => {
                    length = at + 1;
                    break;
                }
                other => field.push(other),
            }
        }
        fields.push((is_text || !field.is_empty()).then_some(field));
        self.at += length;
        self.line += 1;
        Ok(Some(fields))
    }

    fn json(&mut self) -> Result<Option<Record>, String> {
        loop {
            let line = self.line;
            let Some(text) = self.take_line()? else { return Ok(None) };
            if text.trim().is_empty() {
                continue;
            }
            let object: Map<String, Value> =
                serde_json::from_str(text).map_err(|error| format!("line {line}: no JSON object: {error}"))?;
            let cell = |name: &str| object.get(name).and_then(|value| cell_text(value, self.column(name)));
            if !self.columns.is_empty() {
                let cells = self.columns.iter().map(|name| cell(&plain_name(name))).collect();
                return Ok(Some(Record { line, columns: self.columns.clone(), cells }));
            }
            let columns = object.keys().map(|name| quoted_name(name)).collect();
            return Ok(Some(Record { line, columns, cells: object.keys().map(|name| cell(name)).collect() }));
        }
    }

    fn column(&self, name: &str) -> Option<&'a Column> {
        self.schema.iter().find(|column| column.name == name)
    }

    fn read(&mut self) -> Result<Option<Record>, String> {
        if self.format == Format::Jsonl {
            return self.json();
        }
        let line = self.line;
        let Some(cells) = self.fields()? else { return Ok(None) };
        if cells.len() != self.columns.len() {
            return Err(format!("line {line}: {} fields, but {} columns", cells.len(), self.columns.len()));
        }
        Ok(Some(Record { line, columns: self.columns.clone(), cells }))
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record, String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}

fn tab_field(field: &str) -> Option<String> {
    if field == "\\N" {
        return None;
    }
    let mut out = String::with_capacity(field.len());
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('t') => out.push('\t'),
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn read(text: &str, format: Format) -> Result<Vec<Record>, String> {
        Records::new(text, format, None, &[], None)?.collect()
    }

    #[test]
    fn csv_tells_null_from_an_empty_text() {
        let records = read("id,body\r\n1,\n2,\"\"\r\n\"3\",\"a \"\"b\"\",\nc\"\n4,x", Format::Csv).unwrap();
        let values: Vec<String> = records.iter().map(Record::values).collect();
        assert_eq!(values, ["('1', NULL)", "('2', '')", "('3', 'a \"b\",\nc')", "('4', 'x')"]);
        assert_eq!(records.iter().map(|record| record.line).collect::<Vec<_>>(), [2, 3, 4, 6]);
        assert_eq!(records[0].columns, ["\"id\"", "\"body\""]);
    }

    #[test]
    fn tsv_is_read_as_copy_writes_it() {
        let records = read("a\tb\n1\t\\N\n\t x\\ty\\\\\\n\n", Format::Tsv).unwrap();
        assert_eq!(records[0].cells, [Some("1".to_owned()), None]);
        assert_eq!(records[1].cells, [Some(String::new()), Some(" x\ty\\\n".to_owned())]);
    }

    #[test]
    fn json_lines_name_their_own_columns() {
        let records =
            read("{\"id\":9007199254740993,\"b\":null}\n\n{\"it's\":{\"a\":[1]},\"c\":true}", Format::Jsonl).unwrap();
        assert_eq!(records[0].values(), "('9007199254740993', NULL)");
        assert_eq!((records[1].line, records[1].values().as_str()), (3, "('{\"a\":[1]}', 'true')"));
        assert_eq!(records[1].columns, ["\"it's\"", "\"c\""]);
        let named = Records::new("{\"b\":1}", Format::Jsonl, Some(vec!["a".into(), "B".into()]), &[], None).unwrap();
        assert_eq!(named.collect::<Result<Vec<_>, _>>().unwrap()[0].cells, [None, Some("1".to_owned())]);
    }

    #[test]
    fn json_values_are_read_in_the_forms_of_answers() {
        let schema: Vec<Column> = serde_json::from_str(
            r#"[{"name":"day","data_type":"Date"},{"name":"n","data_type":"BigInt"},{"name":"b","data_type":"Bytes"},
                {"name":"days","data_type":{"Array":"Date"}},{"name":"j","data_type":"Json"}]"#,
        )
        .unwrap();
        let text = r#"{"day":20455,"n":20455,"b":[0,255],"days":[20455,null],"j":[0,255]}
{"day":"2026-01-02","n":"20455","b":"\\x00ff","days":"{}","j":{"day":20455}}"#;
        let records: Vec<Record> =
            Records::new(text, Format::Jsonl, None, &schema, None).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(
            records[0].values(),
            "('2026-01-02', '20455', '\\x00ff', '{2026-01-02,NULL}', '[0,255]')",
            "by the column's type"
        );
        assert_eq!(records[1].values(), r#"('2026-01-02', '20455', '\x00ff', '{}', '{"day":20455}')"#, "or as texts");
    }

    #[test]
    fn what_does_not_fit_is_named_with_its_line() {
        assert_eq!(read("a,b\n1,2\n3\n", Format::Csv).unwrap_err(), "line 3: 1 fields, but 2 columns");
        assert_eq!(read("a\n\"x", Format::Csv).unwrap_err(), "line 2: a quote is never closed");
        assert!(read("[1]", Format::Jsonl).unwrap_err().starts_with("line 1: no JSON object"));
        assert!(read("", Format::Csv).unwrap_err().contains("empty"));
    }

    #[test]
    fn a_line_that_is_no_utf8_ends_the_text_before_it() {
        assert_eq!(readable("é\nü".as_bytes()), ("é\nü", None));
        assert_eq!(readable(b""), ("", None));
        let (lines, broken) = readable(b"a\n\xc3\xa9\nx\xe9y\nz\n");
        assert_eq!((lines, broken.as_deref()), ("a\né\n", Some("line 3: the byte 0xe9 is not UTF-8")));
        let (lines, broken) = readable(b"a\xff\n1\n");
        assert_eq!(
            Records::new(lines, Format::Csv, None, &[], broken).err().unwrap(),
            "line 1: the byte 0xff is not UTF-8"
        );
        let (lines, broken) = readable(b"a\n1\n\"2\n\xff\"\n3\n");
        let mut records = Records::new(lines, Format::Csv, None, &[], broken).unwrap();
        assert_eq!(records.next().unwrap().unwrap().cells, [Some("1".to_owned())]);
        assert_eq!(records.next(), Some(Err("line 4: the byte 0xff is not UTF-8".to_owned())), "within a quoted text");
        assert_eq!(Records::new("a\n", Format::Csv, None, &[], None).unwrap().next(), None);
    }
}
