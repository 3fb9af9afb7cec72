//! Running pieces of input, one after the other, on one connection.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::Instant;

use serde_json::{Map, Value};

use crate::answer::StatementResult;
use crate::args::Format;
use crate::command::{self, Command};
use crate::connection::Connection;
use crate::consume::{Follow, Sink, follow};
use crate::failure::Failure;
use crate::render;
use crate::statements::{Piece, split};
use crate::terminal::{Interrupt, Style};

/// A connection and how its answers are shown.
pub(crate) struct Session<'a> {
    pub(crate) connection: Connection,
    pub(crate) out: &'a mut dyn Write,
    pub(crate) format: Format,
    pub(crate) style: Style,
    pub(crate) has_timing: bool,
    pub(crate) is_expanded: bool,
    pub(crate) interrupt: Interrupt,
}

impl Session<'_> {
    /// Runs every piece of an input; stops at the first that fails. `Break` when one of them says to leave.
    pub(crate) fn run(&mut self, input: &str) -> Result<ControlFlow<()>, Failure> {
        for piece in split(input) {
            let flow = match piece {
                Piece::Statement(statement) => self.run_statement(statement).map(ControlFlow::Continue)?,
                Piece::Command(line) => self.run_command(&command::parse(line).map_err(Failure::Command)?)?,
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn run_statement(&mut self, statement: &str) -> Result<(), Failure> {
        self.query(statement).map(|_| ())
    }

    /// Runs a statement and shows its results; gives the number of rows of the last.
    fn query(&mut self, statement: &str) -> Result<u64, Failure> {
        let began = Instant::now();
        let answer = self.connection.sql(statement)?;
        let took = began.elapsed();
        if let Some(error) = answer.error {
            if self.format == Format::Json {
                writeln!(self.out, "{}", error.to_json())?;
            }
            return Err(Failure::Statement { statement: statement.to_owned(), error: Box::new(error) });
        }
        let mut rows = 0;
        for result in &answer.results {
            rows = self.show(result)?;
        }
        if self.has_timing && self.format == Format::Table {
            writeln!(self.out, "time: {:.3} ms (server {:.3} ms)", took.as_secs_f64() * 1000.0, answer.took)?;
        }
        self.out.flush()?;
        Ok(rows)
    }

    fn show(&mut self, result: &Value) -> Result<u64, Failure> {
        if self.format == Format::Json {
            let mut document = Map::new();
            document.insert("status".into(), "success".into());
            document
                .extend(result.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())));
            writeln!(self.out, "{}", Value::Object(document))?;
        }
        let result: StatementResult = serde_json::from_value(result.clone())
            .map_err(|error| Failure::Command(format!("the server's result cannot be read: {error}")))?;
        let text = match (self.format, &result.rows, &result.message) {
            (Format::Json, _, _) => String::new(),
            (Format::Csv, Some(_), _) => render::csv(&result),
            (Format::Table, Some(_), _) if self.is_expanded => render::expanded(&result, self.style),
            (Format::Table, Some(_), _) => render::table(&result, self.style),
            // CSV goes to programs: what is no row does not belong there.
            (Format::Csv, None, Some(message)) => {
                eprintln!("{message}");
                String::new()
            }
            (Format::Table, None, Some(message)) => format!("{message}\n"),
            (Format::Csv | Format::Table, None, None) => String::new(),
        };
        self.out.write_all(text.as_bytes())?;
        Ok(result.row_count)
    }

    fn run_command(&mut self, command: &Command) -> Result<ControlFlow<()>, Failure> {
        match command {
            Command::Quit => return Ok(ControlFlow::Break(())),
            Command::Help => writeln!(self.out, "{}", command::HELP)?,
            Command::Tables => {
                self.query(command::TABLES_SQL)?;
            }
            Command::Describe { namespace, table } => self.describe(namespace.as_deref(), table)?,
            Command::As { user, statement } => self.run_statement(&command::execute_as_sql(user, statement))?,
            Command::Consume { topic, group, from } => {
                let what = Follow { topic: topic.clone(), group: group.clone(), from: *from, limit: None };
                self.follow(&what)?;
            }
            Command::Timing => {
                self.has_timing = !self.has_timing;
                writeln!(self.out, "timing is {}", on_off(self.has_timing))?;
            }
            Command::Expanded => {
                self.is_expanded = !self.is_expanded;
                writeln!(self.out, "rows as lists of columns: {}", on_off(self.is_expanded))?;
            }
        }
        self.out.flush()?;
        Ok(ControlFlow::Continue(()))
    }

    fn describe(&mut self, namespace: Option<&str>, table: &str) -> Result<(), Failure> {
        let rows = self.query(&command::describe_sql(namespace, table))?;
        if rows == 0 {
            let name = namespace.map_or_else(|| table.to_owned(), |namespace| format!("{namespace}.{table}"));
            return Err(Failure::Command(format!("there is no table {name}; \\dt shows those that there are")));
        }
        Ok(())
    }

    /// Prints messages until Ctrl-C or the limit.
    pub(crate) fn follow(&mut self, what: &Follow) -> Result<(), Failure> {
        let mut sink = Sink { out: &mut *self.out, format: self.format, style: self.style };
        follow(&mut self.connection, what, &mut sink, &self.interrupt)
    }
}

fn on_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}
