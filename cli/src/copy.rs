//! `\copy`: rows from a file into a table, and from a table or a query into a file.
//!
//! An import sends INSERTs of many rows. A statement writes all of its rows or none; one that is refused is halved until
//! the row at fault is found, so that everything before it is written, and nothing after it.

use std::io::Read as _;

use crate::answer::Column;
use crate::args::Format;
use crate::command::{Copy, literal};
use crate::failure::Failure;
use crate::output::Output;
use crate::progress::Progress;
use crate::session::Session;
use crate::show::Look;

use self::records::{Record, Records, readable};

mod records;

/// Rows of one INSERT.
const MOST_ROWS: usize = 500;
/// Bytes of one INSERT, well below what the server takes.
const MOST_BYTES: usize = 256 * 1024;

/// Copies.
pub(crate) fn run(session: &mut Session, copy: &Copy) -> Result<(), Failure> {
    if copy.is_import { import(session, copy) } else { export(session, copy) }
}

fn export(session: &mut Session, copy: &Copy) -> Result<(), Failure> {
    let is_query = copy.what.contains(char::is_whitespace);
    let sql = if is_query { copy.what.clone() } else { format!("SELECT * FROM {}", copy.what) };
    let table = if is_query { "result".to_owned() } else { copy.what.clone() };
    let out = match &copy.file {
        Some(path) => Output::file(path)?,
        None => Output::standard(),
    };
    let mut rows = 0;
    session.with_output(out, |session| {
        session.look = Look { format: copy.format, unasked: None, table, ..session.look.clone() };
        rows = session.query(&sql)?;
        Ok(())
    })?;
    match &copy.file {
        Some(_) => session.note(&format!("copied {rows} row(s)")),
        None => Ok(()),
    }
}

fn import(session: &mut Session, copy: &Copy) -> Result<(), Failure> {
    let bytes = match &copy.file {
        Some(path) => {
            std::fs::read(path).map_err(|error| Failure::Command(format!("cannot read {}: {error}", path.display())))?
        }
        None => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::Command(format!("cannot read standard input: {error}")))?;
            bytes
        }
    };
    let progress = Progress::begin(true);
    let mut import = Import { session, table: &copy.what, written: 0, progress: &progress };
    let outcome = import.all(&bytes, copy);
    let written = import.written;
    drop(progress);
    match outcome {
        Ok(()) => {
            session.is_catalog_stale.store(true, std::sync::atomic::Ordering::Relaxed);
            session.note(&format!("copied {written} row(s)"))
        }
        Err(Failure::Command(message)) => {
            Err(Failure::Command(format!("{message}; {written} row(s) before it were written")))
        }
        Err(failure) => Err(failure),
    }
}

struct Import<'a> {
    session: &'a mut Session,
    table: &'a str,
    written: u64,
    progress: &'a Progress,
}

impl Import<'_> {
    fn all(&mut self, bytes: &[u8], copy: &Copy) -> Result<(), Failure> {
        let schema = if copy.format == Format::Jsonl { self.schema()? } else { Vec::new() };
        let (text, broken) = readable(bytes);
        let mut records =
            Records::new(text, copy.format, copy.columns.clone(), &schema, broken).map_err(Failure::Command)?;
        let mut batch: Vec<Record> = Vec::new();
        let whole = bytes.len() as u64;
        let mut bytes = 0;
        while let Some(record) = records.next() {
            let record = match record {
                Ok(record) => record,
                Err(message) => {
                    // What stands before it is written; a row of it that is refused is the first at fault.
                    self.write(&batch)?;
                    return Err(Failure::Command(message));
                }
            };
            let is_other = batch.first().is_some_and(|first| first.columns != record.columns);
            if is_other || batch.len() >= MOST_ROWS || bytes + record.bytes() > MOST_BYTES {
                self.write(&batch)?;
                self.progress.bytes(records.done(), whole);
                batch.clear();
                bytes = 0;
            }
            bytes += record.bytes();
            batch.push(record);
        }
        self.write(&batch)
    }

    /// The table's columns. Who may write but not read goes without: then the values are sent as they are written.
    fn schema(&mut self) -> Result<Vec<Column>, Failure> {
        match self.session.connection.query(&format!("SELECT * FROM {} LIMIT 0", self.table)) {
            Ok(result) => Ok(result.schema),
            Err(Failure::Statement { .. }) => Ok(Vec::new()),
            Err(failure) => Err(failure),
        }
    }

    fn write(&mut self, rows: &[Record]) -> Result<(), Failure> {
        let Some(first) = rows.first() else { return Ok(()) };
        let values: Vec<String> = rows.iter().map(Record::values).collect();
        let columns = first.columns.join(", ");
        let sql = format!("INSERT INTO {} ({columns}) VALUES {}", self.table, values.join(", "));
        match self.session.connection.query(&sql) {
            Ok(_) => {
                self.written += rows.len() as u64;
                self.progress.rows(rows.len() as u64);
                Ok(())
            }
            Err(Failure::Statement { error, .. }) => {
                if rows.len() == 1 {
                    return Err(Failure::Command(format!("line {}: {}", first.line, error.message)));
                }
                let (before, after) = rows.split_at(rows.len() / 2);
                self.write(before)?;
                self.write(after)
            }
            Err(failure) => Err(failure),
        }
    }
}

/// One value of a record as SQL.
fn value(text: Option<&str>) -> String {
    text.map_or_else(|| "NULL".to_owned(), literal)
}
