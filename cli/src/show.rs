//! Showing results as they come: what is drawn as a whole is collected first, everything else is written row by row.

use std::io::{self, Write as _};

use serde_json::{Map, Value};

use crate::answer::{Column, StatementResult};
use crate::args::Format;
use crate::command::Expanded;
use crate::failure::Unwritable;
use crate::output::{Output, page};
use crate::progress::Progress;
use crate::render::{self, ArrowStream, Lines};
use crate::stream::{Ending, Rows};
use crate::terminal::{Interrupt, Style, complain};

/// How results look.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    pub(crate) format: Format,
    /// The format as long as nobody asked for one.
    pub(crate) unasked: Option<Format>,
    pub(crate) expanded: Expanded,
    pub(crate) style: Style,
    /// What is longer than the terminal goes through a pager.
    pub(crate) is_paged: bool,
    /// The table that INSERTs name.
    pub(crate) table: String,
}

impl Look {
    /// Rows as lists of columns, or not: drawn, unless somebody asked for a format.
    pub(crate) fn expand(&mut self, expanded: Expanded) {
        self.expanded = expanded;
        if let Some(unasked) = self.unasked {
            self.format = if expanded == Expanded::Off { unasked } else { Format::Table };
        }
    }
}

/// Shows the results of one answer.
pub(crate) struct Shown<'a> {
    out: &'a mut Output,
    look: &'a Look,
    progress: &'a Progress,
    interrupt: &'a Interrupt,
    lines: Lines,
    /// The result that is being written as Arrow.
    arrow: Option<ArrowStream>,
    /// Of formats that are drawn as a whole.
    collected: StatementResult,
    document: Map<String, Value>,
    /// Rows of the last result.
    pub(crate) row_count: u64,
    /// All results were queries'.
    pub(crate) was_only_read: bool,
}

impl<'a> Shown<'a> {
    pub(crate) fn new(out: &'a mut Output, look: &'a Look, progress: &'a Progress, interrupt: &'a Interrupt) -> Self {
        Self {
            out,
            look,
            progress,
            interrupt,
            lines: Lines::new(look.format, &look.table),
            arrow: None,
            collected: StatementResult::default(),
            document: Map::new(),
            row_count: 0,
            was_only_read: true,
        }
    }

    /// A whole result.
    pub(crate) fn result(&mut self, result: &StatementResult) -> io::Result<()> {
        let schema: Vec<Value> = result.schema.iter().map(Column::to_json).collect();
        self.begin(&schema, &result.schema)?;
        for row in result.rows.iter().flatten() {
            self.row(row.clone())?;
        }
        let fields = Map::from_iter([("row_count".to_owned(), Value::from(result.row_count))]);
        self.end(Ending { is_query: true, row_count: result.row_count, message: None, fields })
    }

    fn is_by_line(&self) -> bool {
        match self.look.format {
            Format::Csv | Format::Tsv | Format::Jsonl | Format::Insert | Format::Markdown => true,
            Format::Table | Format::Box | Format::Vertical | Format::Json | Format::Arrow => false,
        }
    }

    /// Writes; a progress line would stand in its way on the terminal.
    fn write(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        let bytes = text.as_ref();
        if self.out.is_standard() && self.look.style.width.is_some() && !bytes.is_empty() {
            self.progress.hide();
        }
        self.out.write_all(bytes)
    }

    /// Lets the stream take something, and writes what it made of it.
    fn stream(&mut self, take: impl FnOnce(&mut ArrowStream) -> Result<(), Unwritable>) -> io::Result<()> {
        let Some(arrow) = &mut self.arrow else { return Ok(()) };
        take(arrow)?;
        let bytes = arrow.take();
        self.write(bytes)
    }

    fn draw(&mut self) -> io::Result<()> {
        let result = &self.collected;
        let drawn = |style: Style| match (self.look.format, self.look.expanded) {
            (Format::Vertical, _) | (_, Expanded::On) => render::expanded(result, style),
            (_, Expanded::Auto) if render::is_too_wide(result, style) => render::expanded(result, style),
            (Format::Box, _) => render::boxed(result, style),
            _ => render::table(result, style),
        };
        let text = drawn(self.look.style);
        // A pager scrolls sideways: nothing is cut for it.
        let whole = self.is_for_pager(&text).then(|| drawn(Style { width: None, ..self.look.style }));
        if let Some(whole) = whole
            && self.paged(&whole)?
        {
            return Ok(());
        }
        self.write(text)
    }

    /// A text that was drawn elsewhere.
    pub(crate) fn text(&mut self, text: &str) -> io::Result<()> {
        if self.is_for_pager(text) && self.paged(text)? { Ok(()) } else { self.write(text) }
    }

    fn is_for_pager(&self, text: &str) -> bool {
        let is_long = self.look.style.height.is_some_and(|height| text.lines().count() >= height);
        self.look.is_paged && is_long && self.out.is_standard()
    }

    /// Shows a text in a pager; `false` when there is none.
    fn paged(&mut self, text: &str) -> io::Result<bool> {
        self.progress.hide();
        self.out.flush()?;
        Ok(page(text, self.interrupt))
    }
}

impl Rows for Shown<'_> {
    fn begin(&mut self, schema: &[Value], columns: &[Column]) -> io::Result<()> {
        self.collected = StatementResult { schema: columns.to_vec(), ..StatementResult::default() };
        self.document = Map::new();
        if self.look.format == Format::Json {
            self.document.insert("status".into(), "success".into());
            if !schema.is_empty() {
                self.document.insert("schema".into(), schema.into());
            }
        }
        if self.look.format == Format::Arrow && !columns.is_empty() {
            self.out.begin_stream()?;
            self.arrow = Some(ArrowStream::begin(columns)?);
        }
        if self.is_by_line() && !columns.is_empty() {
            let header = self.lines.header(columns);
            self.write(header)?;
        }
        Ok(())
    }

    fn row(&mut self, row: Vec<Value>) -> io::Result<()> {
        self.progress.row();
        if self.is_by_line() {
            let line = self.lines.row(row);
            return self.write(line);
        }
        if self.look.format == Format::Arrow {
            return self.stream(|arrow| arrow.row(row));
        }
        self.collected.rows.get_or_insert_default().push(row);
        Ok(())
    }

    fn end(&mut self, ending: Ending) -> io::Result<()> {
        self.row_count = ending.row_count;
        self.was_only_read &= ending.is_query;
        if self.look.format == Format::Json {
            if ending.is_query {
                let rows = std::mem::take(&mut self.collected.rows).unwrap_or_default();
                self.document.insert("rows".into(), rows.into_iter().map(Value::from).collect());
            }
            self.document.extend(ending.fields);
            let text = format!("{}\n", Value::Object(std::mem::take(&mut self.document)));
            return self.write(text);
        }
        if ending.is_query {
            let written = self.stream(ArrowStream::end);
            self.arrow = None;
            written?;
            return if self.is_by_line() || self.look.format == Format::Arrow {
                Ok(())
            } else {
                self.collected.rows.get_or_insert_default();
                self.draw()
            };
        }
        match ending.message {
            // Rows go to programs: what is no row does not belong among them.
            Some(message) if self.look.format.is_for_programs() => {
                self.progress.hide();
                complain(&format!("{message}\n"));
                Ok(())
            }
            Some(message) => self.write(format!("{message}\n")),
            None => Ok(()),
        }
    }
}
