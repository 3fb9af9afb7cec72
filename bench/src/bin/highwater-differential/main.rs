//! `highwater-differential`: the same generated statements to Highwater and to PostgreSQL, and every difference.
//!
//! Both servers are started for the run and ended with it. Statements are drawn from a seed: queries of all forms, and changes of
//! rows, over tables with NULLs, constraints and keys. What differs must be one of the differences that are written down, or the
//! run fails and shows it.

#![expect(clippy::disallowed_methods, reason = "a program of its own, with folders of its own")]

mod answer;
mod cell;
mod failure;
mod highwater;
mod postgres;
mod rules;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use highwater_bench::daemon::Daemon;
use highwater_bench::generate::statement::{Statement, statement};
use highwater_bench::generate::tables::{TABLES, Table};
use highwater_runtime::rng::Rng;

use crate::answer::{Ours, Theirs, Verdict, compare};
use crate::failure::Failure;
use crate::highwater::Highwater;
use crate::postgres::Postgres;
use crate::rules::Rule;

/// Statements after which all tables are filled anew.
const REFILL: u64 = 100;

/// Give the same generated statements to Highwater and to PostgreSQL, and compare the answers.
#[derive(Debug, Parser)]
#[command(
    name = "highwater-differential",
    version,
    after_help = "Needs PostgreSQL's programs (Debian: postgresql-15) and, as root, its user \"postgres\".\n\n\
    Exit code 0: nothing differs but what is written down; 1: something does; 2: nothing could be compared."
)]
struct Args {
    /// How many statements.
    #[arg(long, default_value_t = 10_000)]
    statements: u64,
    /// What they are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Differences that are shown, at most.
    #[arg(long, default_value_t = 20)]
    show: usize,
    /// Unsupported statements fail the run too.
    #[arg(long)]
    all_supported: bool,
    /// The server; unless told, the one beside this program.
    #[arg(long)]
    highwaterd: Option<PathBuf>,
    /// Folder of initdb and pg_ctl.
    #[arg(long, default_value = "/usr/lib/postgresql/15/bin")]
    postgres: PathBuf,
    /// Rows that are shown of each answer.
    #[arg(long, default_value_t = 8)]
    rows: usize,
    /// Show every statement with both answers.
    #[arg(long)]
    trace: bool,
}

/// What was counted.
#[derive(Default)]
struct Tally {
    statements: u64,
    queries: u64,
    /// Queries that returned rows.
    with_rows: u64,
    /// Queries that join.
    joins: u64,
    /// Statements that both refused.
    refused: u64,
    forms: BTreeMap<&'static str, u64>,
    rules: BTreeMap<Rule, u64>,
    /// Sentences of what is unsupported.
    unsupported: BTreeMap<String, u64>,
    different: u64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(tally) => {
            report(&tally);
            let unsupported = args.all_supported && !tally.unsupported.is_empty();
            if tally.different == 0 && !unsupported { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(failure) => {
            eprintln!("highwater-differential: {failure}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<Tally, Failure> {
    let folder = std::env::temp_dir().join(format!("highwater-differential-{}", std::process::id()));
    let outcome = run_in(args, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    outcome
}

fn run_in(args: &Args, folder: &std::path::Path) -> Result<Tally, Failure> {
    let program = match &args.highwaterd {
        Some(program) => program.clone(),
        None => Daemon::beside_this()?,
    };
    std::fs::create_dir_all(folder)?;
    let ours = Highwater::start(&program, &folder.join("highwater"))?;
    let mut theirs = Postgres::start(&args.postgres, &folder.join("postgres"))?;
    eprintln!("beside {}, seed {}", theirs.version()?, args.seed);
    let mut rng = Rng::new(args.seed);
    for table in &TABLES {
        let (here, there) = table.create();
        set_up(&ours, &mut theirs, &here, &there)?;
    }
    let mut tally = Tally::default();
    let mut diverged = true;
    for number in 0..args.statements {
        if diverged || number.is_multiple_of(REFILL) {
            refill(&ours, &mut theirs, &mut rng)?;
        }
        if number.is_multiple_of(REFILL) {
            index(&ours, number.is_multiple_of(2 * REFILL))?;
        }
        let statement = statement(&mut rng);
        let (mine, other) = (ours.run(&statement.sql)?, theirs.run(&statement.sql)?);
        let verdict = compare(&mine, &other, statement.is_ordered);
        tally.take(&statement, &mine, verdict);
        // What one did and the other did not must not make all that follows differ.
        diverged = !statement.is_query && verdict != Verdict::Same;
        let shown = usize::try_from(tally.different).is_ok_and(|different| different <= args.show);
        if args.trace || (verdict == Verdict::Different && shown) {
            println!(
                "{number} {verdict:?}\n  {};\n  Highwater:  {}\n  PostgreSQL: {}",
                statement.sql,
                tell(&mine, args.rows),
                tell_theirs(&other, args.rows)
            );
        }
        if number % 1000 == 999 {
            eprintln!("{} statements, {} differ", number + 1, tally.different);
        }
    }
    Ok(tally)
}

fn set_up(ours: &Highwater, theirs: &mut Postgres, here: &str, there: &str) -> Result<(), Failure> {
    if let Ours::Error(state, message) = ours.run(here)? {
        return Err(Failure::highwater(format!("{here}: {message} ({state})")));
    }
    if let Theirs::Error(state) = theirs.run(there)? {
        return Err(Failure::postgres(format!("{there}: {state}")));
    }
    Ok(())
}

/// Makes Highwater's secondary indexes, or drops them: every other portion of the statements has them.
fn index(ours: &Highwater, is_wanted: bool) -> Result<(), Failure> {
    for (create, drop) in TABLES.iter().flat_map(Table::index) {
        let sql = if is_wanted { create } else { drop };
        if let Ours::Error(state, message) = ours.run(&sql)? {
            return Err(Failure::highwater(format!("{sql}: {message} ({state})")));
        }
    }
    Ok(())
}

/// Empties all tables and fills them with new rows.
fn refill(ours: &Highwater, theirs: &mut Postgres, rng: &mut Rng) -> Result<(), Failure> {
    for table in &TABLES {
        let parts: Vec<String> = match table.columns.first().filter(|_| table.is_spread) {
            Some(column) => (0..7).map(|value| format!(" WHERE {} = {value}", column.name)).collect(),
            None => vec![String::new()],
        };
        for part in parts {
            let sql = format!("DELETE FROM {}{part}", table.name);
            set_up(ours, theirs, &sql, &sql)?;
        }
        for sql in table.fill(rng) {
            set_up(ours, theirs, &sql, &sql)?;
        }
    }
    Ok(())
}

impl Tally {
    fn take(&mut self, statement: &Statement, ours: &Ours, verdict: Verdict) {
        self.statements += 1;
        *self.forms.entry(statement.form).or_default() += 1;
        if statement.is_query {
            self.queries += 1;
            self.joins += u64::from(statement.joins);
            self.with_rows += u64::from(matches!(ours, Ours::Rows(_, rows) if !rows.is_empty()));
        }
        self.refused += u64::from(matches!(ours, Ours::Error(..)) && verdict == Verdict::Same);
        match verdict {
            Verdict::Same => {}
            Verdict::Allowed(rule) => *self.rules.entry(rule).or_default() += 1,
            Verdict::Different => self.different += 1,
            Verdict::Unsupported => {
                let message = if let Ours::Error(_, message) = ours { message.clone() } else { String::new() };
                *self.unsupported.entry(message).or_default() += 1;
            }
        }
    }
}

fn tell(answer: &Ours, shown: usize) -> String {
    match answer {
        Ours::Rows(_, rows) => format!("{} rows: {:?}", rows.len(), rows.iter().take(shown).collect::<Vec<_>>()),
        Ours::Changed(count) => format!("{count} changed"),
        Ours::Error(state, message) => format!("{state} {message}"),
    }
}

fn tell_theirs(answer: &Theirs, shown: usize) -> String {
    match answer {
        Theirs::Rows(rows, count) => format!("{count} rows: {:?}", rows.iter().take(shown).collect::<Vec<_>>()),
        Theirs::Error(state) => state.clone(),
    }
}

fn report(tally: &Tally) {
    let share = |part: u64, of: u64| part * 100 / of.max(1);
    println!("{} statements, {} of them queries", tally.statements, tally.queries);
    println!("  queries that returned rows  {:>6}  {} %", tally.with_rows, share(tally.with_rows, tally.queries));
    println!("  queries that join           {:>6}  {} %", tally.joins, share(tally.joins, tally.queries));
    println!("  refused by both alike       {:>6}", tally.refused);
    println!("forms");
    for (form, count) in &tally.forms {
        println!("  {form:<26}  {count:>6}");
    }
    println!("differences that are meant");
    for rule in Rule::ALL {
        println!("  {:>6}  {}", tally.rules.get(&rule).copied().unwrap_or(0), rule.text());
    }
    println!("not supported by Highwater: {}", tally.unsupported.values().sum::<u64>());
    let mut unsupported: Vec<_> = tally.unsupported.iter().collect();
    unsupported.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (message, count) in unsupported.into_iter().take(20) {
        println!("  {count:>6}  {message}");
    }
    println!("other differences: {}", tally.different);
}
