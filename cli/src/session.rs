//! Running pieces of input, one after the other, on one connection.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::answer::StatementResult;
use crate::args::{Format, Server};
use crate::command::{self, Command, Expanded, Go};
use crate::connection::{Canceller, Connection, Target};
use crate::consume::{Follow, Sink, follow};
use crate::copy;
use crate::describe::{self, Listing};
use crate::failure::Failure;
use crate::output::Output;
use crate::profile::Profile;
use crate::progress::Progress;
use crate::render::{self, MessageFormat, failure_text};
use crate::show::{Look, Shown};
use crate::statements::{Piece, offset_in, sent, split};
use crate::stream::{Collected, Envelope};
use crate::terminal::{Interrupt, Style, complain};
use crate::variables::{Variables, substitute};
use crate::{help, password, timing};

/// Files that may include one another, at most so deep.
const DEEPEST_INCLUDE: usize = 16;

/// A connection and how its answers are shown.
pub(crate) struct Session {
    pub(crate) connection: Connection,
    pub(crate) out: Output,
    pub(crate) look: Look,
    pub(crate) has_timing: bool,
    pub(crate) variables: Variables,
    /// The last statement that was run, as it was written.
    pub(crate) last: Option<String>,
    /// What the last error would have liked instead.
    pub(crate) fixes: Vec<String>,
    pub(crate) interrupt: Interrupt,
    pub(crate) canceller: Canceller,
    /// How the connection was asked for.
    pub(crate) server: Server,
    /// Someone types.
    pub(crate) is_interactive: bool,
    /// What there is may have changed.
    pub(crate) is_catalog_stale: Arc<AtomicBool>,
    pub(crate) included: usize,
    /// A failure does not end a script.
    pub(crate) keeps_going: bool,
    /// One was shown.
    pub(crate) has_failed: bool,
}

impl Session {
    /// Runs every piece of an input; stops at the first that fails. `Break` when one of them says to leave.
    pub(crate) fn run(&mut self, input: &str) -> Result<ControlFlow<()>, Failure> {
        self.run_of(None, input)
    }

    /// The same for a file, whose name and line go before what fails.
    pub(crate) fn run_of(&mut self, file: Option<&str>, input: &str) -> Result<ControlFlow<()>, Failure> {
        for piece in split(input) {
            let (text, outcome) = match piece {
                Piece::Statement(text) | Piece::StatementWith(text, _) | Piece::Command(text)
                    if self.interrupt.is_raised() =>
                {
                    (text, Err(Failure::Cancelled))
                }
                Piece::Statement(statement) => {
                    (statement, self.run_statement(statement, &Go::Plain).map(ControlFlow::Continue))
                }
                Piece::StatementWith(statement, line) => {
                    let outcome = match command::parse(line) {
                        Ok(Command::Go(go)) => self.run_statement(statement, &go).map(ControlFlow::Continue),
                        Ok(_) => Err(Failure::Command(format!("\\{line} does not end a statement"))),
                        Err(message) => Err(Failure::Command(message)),
                    };
                    (statement, outcome)
                }
                Piece::Command(line) => {
                    let command = command::parse(line).map_err(Failure::Command);
                    (line, command.and_then(|command| self.run_command(command)))
                }
            };
            match outcome {
                Ok(ControlFlow::Continue(())) => {}
                Ok(flow) => return Ok(flow),
                Err(failure) => {
                    if let (Some(file), false) = (file, self.look.format == Format::Json) {
                        let before = input.get(..offset_in(input, text)).unwrap_or_default();
                        complain(&format!("{file}:{}:\n", before.matches('\n').count() + 1));
                    }
                    let can_go_on = matches!(failure, Failure::Statement { .. } | Failure::Command(_));
                    if !self.keeps_going || !can_go_on {
                        return Err(failure);
                    }
                    self.out.flush()?;
                    self.show_failure(&failure)?;
                    self.has_failed = true;
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn run_statement(&mut self, statement: &str, go: &Go) -> Result<(), Failure> {
        self.last = Some(statement.to_owned());
        let sql = substitute(&sent(statement), &self.variables);
        match go {
            Go::Plain => self.query(&sql).map(|_| ()),
            Go::Expanded => {
                let before = self.look.clone();
                self.look.expand(Expanded::On);
                let outcome = self.query(&sql);
                self.look = before;
                outcome.map(|_| ())
            }
            Go::Into(path) => self.with_output(Output::file(path)?, |session| session.query(&sql).map(|_| ())),
            Go::Set(prefix) => self.keep_row(&sql, prefix),
            Go::Watch { every, times } => self.watch(&sql, *every, *times),
        }
    }

    /// Runs something whose results go elsewhere.
    pub(crate) fn with_output<T>(
        &mut self,
        out: Output,
        run: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let look = Look { style: out.style(), is_paged: false, ..self.look.clone() };
        let (out, look) = (std::mem::replace(&mut self.out, out), std::mem::replace(&mut self.look, look));
        let outcome = run(self);
        let flushed = self.out.flush();
        (self.out, self.look) = (out, look);
        let done = outcome?;
        flushed?;
        Ok(done)
    }

    /// Runs a statement and shows its results; gives the number of rows of the last.
    pub(crate) fn query(&mut self, sql: &str) -> Result<u64, Failure> {
        let began = Instant::now();
        self.fixes.clear();
        let progress =
            Progress::begin(self.is_interactive || !self.out.is_standard() || self.look.format.is_for_programs());
        let mut shown = Shown::new(&mut self.out, &self.look, &progress, &self.interrupt);
        self.connection.asks_phases = self.has_timing;
        let outcome = self.connection.sql(sql, &mut shown);
        let (rows, was_only_read) = (shown.row_count, shown.was_only_read);
        drop(progress);
        let envelope = self.accepted(sql, outcome?)?;
        if !was_only_read {
            self.is_catalog_stale.store(true, Ordering::Relaxed);
        }
        self.report(&envelope, began)?;
        Ok(rows)
    }

    /// Runs a statement whose result is shown in another way, or not at all: that is for `take` to do.
    fn collect(
        &mut self,
        sql: &str,
        take: impl FnOnce(&mut Self, StatementResult) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        self.fixes.clear();
        let progress = Progress::begin(self.is_interactive);
        let mut rows = Collected::default();
        self.connection.asks_phases = self.has_timing;
        let outcome = self.connection.sql(sql, &mut rows);
        drop(progress);
        let envelope = self.accepted(sql, outcome?)?;
        take(self, rows.results.pop().unwrap_or_default())?;
        self.report(&envelope, began)
    }

    /// The answer, unless it is an error.
    fn accepted(&mut self, sql: &str, mut envelope: Envelope) -> Result<Envelope, Failure> {
        match envelope.error.take() {
            None => Ok(envelope),
            Some(error) => {
                self.fixes = error.fixes(sql);
                Err(Failure::Statement { statement: sql.to_owned(), error: Box::new(error) })
            }
        }
    }

    /// Says what an answer tells beside its results, which were shown.
    fn report(&mut self, envelope: &Envelope, began: Instant) -> Result<(), Failure> {
        let took = began.elapsed();
        if let Some(moment) = &envelope.as_of {
            self.note(&format!("as of {moment}; later changes may be missing"))?;
        }
        if self.has_timing {
            self.note(&timing::sentence(took, envelope.took, &envelope.phases))?;
        }
        Ok(self.out.flush()?)
    }

    /// Keeps the one row of a statement in variables.
    fn keep_row(&mut self, sql: &str, prefix: &str) -> Result<(), Failure> {
        self.collect(sql, |session, result| {
            let rows = result.rows.unwrap_or_default();
            let [row] = rows.as_slice() else {
                return Err(Failure::Command(format!("\\gset takes one row, not {}", rows.len())));
            };
            for (column, value) in result.schema.iter().zip(row) {
                let name = format!("{prefix}{}", column.name);
                match render::cell_text(value, Some(column)) {
                    Some(text) => session.variables.insert(name, text),
                    None => session.variables.remove(&name),
                };
            }
            Ok(())
        })
    }

    fn watch(&mut self, sql: &str, every: Duration, times: Option<u64>) -> Result<(), Failure> {
        let mut run = 0_u64;
        loop {
            run += 1;
            if !self.look.format.is_for_programs() {
                let head = format!("{} (every {} s)", now(), every.as_secs_f64());
                writeln!(self.out, "{}", self.look.style.paint("2", &head))?;
            }
            match self.query(sql) {
                Ok(_) => {}
                Err(Failure::Cancelled) => return Ok(()),
                Err(failure) => return Err(failure),
            }
            if times.is_some_and(|times| run >= times) || !self.interrupt.pause(every) {
                return Ok(());
            }
        }
    }

    fn run_command(&mut self, command: Command) -> Result<ControlFlow<()>, Failure> {
        match command {
            Command::Quit => return Ok(ControlFlow::Break(())),
            Command::Help => self.say(command::HELP)?,
            Command::StatementHelp(topic) => self.say(help::statement(&topic).map_err(Failure::Command)?.trim_end())?,
            Command::List(listing, pattern) => self.list(listing, pattern.as_deref())?,
            Command::Describe(table) => self.describe(&table)?,
            Command::As { user, statement } => {
                self.run_statement(&command::execute_as_sql(&user, &statement), &Go::Plain)?
            }
            Command::Consume { topic, group, from, format } => {
                let message =
                    format.map(|format| MessageFormat::parse(&format)).transpose().map_err(Failure::Command)?;
                self.follow(&Follow { topic, group, from, limit: None, message })?;
            }
            Command::Timing(wanted) => {
                self.has_timing = wanted.unwrap_or(!self.has_timing);
                self.say(&format!("timing is {}", on_off(self.has_timing)))?;
            }
            Command::Expanded(wanted) => {
                let toggled = if self.look.expanded == Expanded::Off { Expanded::On } else { Expanded::Off };
                self.look.expand(wanted.unwrap_or(toggled));
                let state = match self.look.expanded {
                    Expanded::On => "on",
                    Expanded::Off => "off",
                    Expanded::Auto => "when a table would be too wide",
                };
                self.say(&format!("rows as lists of columns: {state}"))?;
            }
            Command::Pager(wanted) => {
                self.look.is_paged = wanted.unwrap_or(!self.look.is_paged);
                self.say(&format!("long results through a pager: {}", on_off(self.look.is_paged)))?;
            }
            Command::Format(wanted) => {
                if let Some(format) = wanted {
                    (self.look.format, self.look.unasked) = (format, None);
                }
                let name = format!("{:?}", self.look.format).to_lowercase();
                if !self.look.format.is_for_programs() || wanted.is_none() {
                    self.say(&format!("rows as {name}"))?;
                }
            }
            Command::Output(path) => {
                self.out.flush()?;
                self.out = path.map_or_else(|| Ok(Output::standard()), |path| Output::file(&path))?;
                self.look.style = self.out.style();
            }
            Command::Include(path) => return self.include(&path),
            Command::Edit(path) => return self.edit(path),
            Command::Go(go) => {
                let last = self.last.clone().ok_or_else(|| Failure::Command("no statement was run yet".to_owned()))?;
                self.run_statement(&last, &go)?;
            }
            Command::PrintLast => {
                let last = self.last.clone().unwrap_or_default();
                self.say(&last)?;
            }
            Command::Set(None) => {
                for (name, value) in self.variables.clone() {
                    self.say(&format!("{name} = {}", command::literal(&value)))?;
                }
            }
            Command::Set(Some((name, value))) => {
                self.variables.insert(name, value);
            }
            Command::Unset(name) => {
                self.variables.remove(&name);
            }
            Command::Echo(text) => {
                let text = substitute(&text, &self.variables);
                self.say(&text)?;
            }
            Command::Copy(what) => copy::run(self, &what)?,
            Command::Explain { analyze, statement } => self.explain(analyze, &statement)?,
            Command::Use(namespace) => self.use_namespace(&namespace)?,
            Command::Connect(profile) => self.connect(profile)?,
            Command::ConnectionInfo => {
                let text = format!(
                    "{} at {}, namespace {}{}",
                    self.connection.user(),
                    self.connection.base(),
                    self.connection.namespace(),
                    if self.connection.is_in_transaction() { ", in a transaction" } else { "" }
                );
                self.say(&text)?;
            }
            Command::Password(user) => self.change_password(user)?,
            Command::Refresh => self.is_catalog_stale.store(true, Ordering::Relaxed),
            Command::Shell(line) => {
                let status = self.interrupt.shielded(|| std::process::Command::new("sh").arg("-c").arg(&line).status());
                match status {
                    Ok(status) if status.success() => {}
                    Ok(status) => return Err(Failure::Command(format!("{line}: {status}"))),
                    Err(error) => return Err(Failure::Command(format!("cannot run sh: {error}"))),
                }
            }
        }
        self.out.flush()?;
        Ok(ControlFlow::Continue(()))
    }

    /// A line for people, beside the rows.
    pub(crate) fn say(&mut self, text: &str) -> Result<(), Failure> {
        if self.look.format == Format::Arrow {
            // No line can stand in a stream.
            eprintln!("{text}");
            return Ok(());
        }
        Ok(writeln!(self.out, "{text}")?)
    }

    /// A line about what was done. It does not belong among rows that a program reads.
    pub(crate) fn note(&mut self, text: &str) -> Result<(), Failure> {
        if self.look.format.is_for_programs() {
            self.out.flush()?;
            eprintln!("{text}");
            return Ok(());
        }
        self.say(text)
    }

    /// Draws how a statement is run; where rows are not drawn, they are EXPLAIN's.
    fn explain(&mut self, analyze: bool, statement: &str) -> Result<(), Failure> {
        let (plain, drawn) = if analyze {
            ("EXPLAIN ANALYZE", "EXPLAIN (ANALYZE, FORMAT JSON)")
        } else {
            ("EXPLAIN", "EXPLAIN (FORMAT JSON)")
        };
        let explained = format!("{plain} {statement}");
        if self.look.format.is_for_programs() {
            return self.run_statement(&explained, &Go::Plain);
        }
        self.last = Some(explained);
        let sql = substitute(&format!("{drawn} {statement}"), &self.variables);
        let outcome = self.collect(&sql, |session, result| {
            let cell = result.rows.iter().flatten().flatten().next().and_then(Value::as_str);
            let document: Option<Value> = cell.and_then(|text| serde_json::from_str(text).ok());
            match document.and_then(|document| render::plan(&document, session.look.style)) {
                Some(text) => {
                    let progress = Progress::default();
                    Ok(Shown::new(&mut session.out, &session.look, &progress, &session.interrupt).text(&text)?)
                }
                None => session.show(&result),
            }
        });
        for fix in &mut self.fixes {
            *fix = fix.replacen(drawn, plain, 1);
        }
        outcome
    }

    fn list(&mut self, listing: Listing, pattern: Option<&str>) -> Result<(), Failure> {
        if listing == Listing::Groups {
            let result = describe::groups(&mut self.connection, pattern)?;
            return self.show(&result);
        }
        for sql in describe::list_sql(listing, pattern) {
            self.query(&sql)?;
        }
        Ok(())
    }

    /// Shows a result that was made here.
    fn show(&mut self, result: &StatementResult) -> Result<(), Failure> {
        let progress = Progress::default();
        Ok(Shown::new(&mut self.out, &self.look, &progress, &self.interrupt).result(result)?)
    }

    fn describe(&mut self, table: &str) -> Result<(), Failure> {
        if self.look.format.is_for_programs() {
            if self.query(&describe::columns_sql(table))? == 0 {
                return Err(describe::no_table(&mut self.connection, table));
            }
            return Ok(());
        }
        let text = describe::describe(&mut self.connection, table, self.look.style)?;
        Ok(self.out.write_all(text.as_bytes())?)
    }

    fn include(&mut self, path: &Path) -> Result<ControlFlow<()>, Failure> {
        if self.included >= DEEPEST_INCLUDE {
            return Err(Failure::Command(format!("files include one another more than {DEEPEST_INCLUDE} deep")));
        }
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::Command(format!("cannot read {}: {error}", path.display())))?;
        self.included += 1;
        let outcome = self.run_of(Some(&path.display().to_string()), &text);
        self.included -= 1;
        outcome
    }

    /// Lets a person edit the last statement, or a file, and runs what became of it.
    fn edit(&mut self, path: Option<PathBuf>) -> Result<ControlFlow<()>, Failure> {
        let failed = |error: std::io::Error| Failure::Command(format!("cannot edit: {error}"));
        let temporary = tempfile::Builder::new().prefix("highwater-").suffix(".sql").tempfile().map_err(failed)?;
        let is_own = path.is_none();
        let path = path.unwrap_or_else(|| temporary.path().to_owned());
        let before = self.last.as_ref().map_or(String::new(), |last| format!("{last};\n"));
        if is_own {
            std::fs::write(&path, &before).map_err(failed)?;
        }
        let set = |name| std::env::var(name).ok().filter(|editor: &String| !editor.trim().is_empty());
        let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
        let status = self.interrupt.shielded(|| {
            std::process::Command::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(&path).status()
        });
        if !status.map_err(failed)?.success() {
            return Err(Failure::Command(format!("{editor} failed; nothing was run ($EDITOR names another editor)")));
        }
        let text = std::fs::read_to_string(&path).map_err(failed)?;
        if is_own && text == before {
            self.say("unchanged, not run")?;
            return Ok(ControlFlow::Continue(()));
        }
        self.say(text.trim_end())?;
        self.run(&text)
    }

    fn use_namespace(&mut self, namespace: &str) -> Result<(), Failure> {
        let before = self.connection.namespace().to_owned();
        self.connection.use_namespace(namespace);
        // The server says whether there is one, if it lets this user look.
        let sql = format!("SELECT 1 FROM system.namespaces WHERE namespace_id = {}", command::literal(namespace));
        if self.connection.query(&sql).is_ok_and(|result| result.rows.is_some_and(|rows| rows.is_empty())) {
            self.connection.use_namespace(&before);
            return Err(Failure::Command(format!(
                "there is no namespace {namespace}; \\dn shows those that there are"
            )));
        }
        Ok(())
    }

    fn connect(&mut self, profile: Option<String>) -> Result<(), Failure> {
        let target = match profile {
            None => self.connection.target().clone(),
            Some(name) => {
                let server = Server {
                    profile: Some(name),
                    url: None,
                    user: None,
                    password: None,
                    namespace: None,
                    cacert: None,
                    displaced: Profile::default(),
                    ..self.server.clone()
                };
                let target = server.target(self.is_interactive)?;
                self.server = server;
                target
            }
        };
        self.connection = Connection::open(target, self.canceller.clone())?;
        self.is_catalog_stale.store(true, Ordering::Relaxed);
        self.say(&format!("{} at {}", self.connection.user().to_owned(), self.connection.base().to_owned()))
    }

    fn change_password(&mut self, user: Option<String>) -> Result<(), Failure> {
        let own = self.connection.user().to_owned();
        let user = user.unwrap_or_else(|| own.clone());
        if !self.is_interactive {
            return Err(Failure::Command(
                "\\password asks on a terminal; ALTER USER ... SET PASSWORD works everywhere".to_owned(),
            ));
        }
        let new = password::ask_new(&format!("New password of {user}: "))?;
        let sql = format!("ALTER USER {} SET PASSWORD {}", command::literal(&user), command::literal(&new));
        self.connection.query(&sql).map_err(|failure| match failure {
            // The statement holds the password: it is not shown.
            Failure::Statement { error, .. } => Failure::Command(error.message),
            other => other,
        })?;
        if user == own {
            let target = Target { password: new, ..self.connection.target().clone() };
            self.connection = Connection::open(target, self.canceller.clone())?;
        }
        self.say(&format!("the password of {user} is changed"))
    }

    /// Prints messages until Ctrl-C or the limit.
    pub(crate) fn follow(&mut self, what: &Follow) -> Result<(), Failure> {
        let mut sink = Sink { out: &mut self.out, format: self.look.format, style: self.look.style };
        follow(&mut self.connection, what, &mut sink, &self.interrupt)
    }

    /// Shows a failure: to a program that reads documents as one of them, else where people see it, with what Tab would make of it.
    pub(crate) fn show_failure(&mut self, failure: &Failure) -> Result<(), Failure> {
        if self.look.format == Format::Json && !self.is_interactive {
            writeln!(self.out, "{}", failure.to_json())?;
            return Ok(self.out.flush()?);
        }
        complain(&failure_text(failure, Style::of_stderr()));
        if self.is_interactive && !self.fixes.is_empty() {
            let hint = Style::of_stderr().paint("2", "Tab writes the statement as it was probably meant");
            complain(&format!("{hint}\n"));
        }
        Ok(())
    }
}

fn on_off(is_on: bool) -> &'static str {
    if is_on { "on" } else { "off" }
}

/// The time, in UTC.
fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    render::timestamp(i64::try_from(since.as_secs() * 1_000_000).unwrap_or_default())
}
