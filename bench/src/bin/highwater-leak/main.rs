//! `highwater-leak`: random statements by twenty users, none of which may show a row of another.
//!
//! A server is started for the run. Every user has rows in USER and STREAM tables, marked as its own; SHARED tables of all levels are marked too. Users
//! of the roles user, service and dba then try statements, and every answer is held against three rules: it shows no mark that the
//! user may not see, be it in rows, errors or plans; what docs/rights.md refuses is refused, and nothing else is; and what a
//! user reads of its own rows does not change by what others do in between.

#![expect(clippy::disallowed_methods, reason = "a program of its own, with folders and threads of its own")]

mod act;
mod failure;
mod house;
mod mark;
mod names;
mod sequence;
mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use highwater_bench::daemon::{Daemon, Reply};
use highwater_runtime::rng::Rng;

use crate::act::{Act, Right, Way, act};
use crate::failure::Failure;
use crate::house::{House, Space, USERS, User};
use crate::mark::Owner;
use crate::names::Names;
use crate::verdict::{Verdict, judge, rows};

/// Acts of one user after which its rows are made anew.
const REFILL: u64 = 120;
/// Acts of the first thread after which the SHARED tables are filled anew.
const REFILL_SHARED: u64 = 500;

/// Let twenty users run random statements, and look for what none of them may see.
#[derive(Debug, Parser)]
#[command(
    name = "highwater-leak",
    version,
    after_help = "Exit code 0: nothing leaked; 1: something did; 2: it could not be tried."
)]
struct Args {
    /// How many statements.
    #[arg(long, default_value_t = 10_000)]
    statements: u64,
    /// What they are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads that the users are divided among.
    #[arg(long, default_value_t = 8)]
    threads: usize,
    /// Violations that each thread shows, at most.
    #[arg(long, default_value_t = 10)]
    show: usize,
    /// The server; unless told, the one beside this program.
    #[arg(long)]
    highwaterd: Option<PathBuf>,
}

/// What was counted.
#[derive(Default)]
struct Tally {
    forms: BTreeMap<&'static str, u64>,
    statements: u64,
    succeeded: u64,
    failed: u64,
    refused: u64,
    /// Answers with marks, all of them of those who may be seen.
    marked: u64,
    /// Reads that were made again after others' changes.
    repeated: u64,
    violations: u64,
}

/// A read of a user's own rows, and its answer.
struct Remembered {
    act: Act,
    reply: Reply,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let folder = std::env::temp_dir().join(format!("highwater-leak-{}", std::process::id()));
    let outcome = run(&args, &folder);
    let _ = std::fs::remove_dir_all(&folder);
    match outcome {
        Ok(tally) => {
            report(&tally);
            if tally.violations == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) }
        }
        Err(failure) => {
            eprintln!("highwater-leak: {failure}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args, folder: &Path) -> Result<Tally, Failure> {
    let program = match &args.highwaterd {
        Some(program) => program.clone(),
        None => Daemon::beside_this()?,
    };
    let settings =
        ["--cores", "1", "--user-shards", "2", "--shared-shards", "4", "--set", "auth.scram_iterations=4096"];
    let house = House::build(Daemon::start(&program, folder, &settings)?)?;
    house.fill(&mut Rng::new(args.seed))?;
    eprintln!("{USERS} users, seed {}", args.seed);
    let lanes = args.threads.clamp(1, usize::from(USERS));
    let outcomes: Vec<Result<Tally, Failure>> = std::thread::scope(|scope| {
        let (house, args) = (&house, &args);
        let running: Vec<_> = (0..lanes).map(|lane| scope.spawn(move || work(house, args, lane, lanes))).collect();
        let ended = |lane: std::thread::ScopedJoinHandle<'_, Result<Tally, Failure>>| {
            lane.join().unwrap_or_else(|_| Err(Failure::SetUp("a thread broke off".into())))
        };
        running.into_iter().map(ended).collect()
    });
    let mut all = Tally::default();
    for outcome in outcomes {
        all.add(&outcome?);
    }
    Ok(all)
}

/// The acts of every `lanes`th user, drawn from the seed and the lane alone.
fn work(house: &House, args: &Args, lane: usize, lanes: usize) -> Result<Tally, Failure> {
    let mut rng = Rng::new(args.seed.wrapping_mul(1000).wrapping_add(lane as u64));
    let users: Vec<&User> = house.users.iter().skip(lane).step_by(lanes).collect();
    let mut trial =
        Trial { house, names: Names::default(), remembered: BTreeMap::new(), tally: Tally::default(), show: args.show };
    let mut acts = vec![0_u64; users.len()];
    let share = args.statements / lanes as u64 + u64::from((lane as u64) < args.statements % lanes as u64);
    for number in 0..share {
        if lane == 0 && number % REFILL_SHARED == REFILL_SHARED - 1 {
            for space in Space::SHARED {
                house.refill_shared(space, &mut rng)?;
            }
        }
        let place = usize::try_from(rng.below(users.len() as u64)).unwrap_or(0);
        let (Some(user), Some(count)) = (users.get(place), acts.get_mut(place)) else { continue };
        *count += 1;
        if count.is_multiple_of(REFILL) {
            trial.read_again(user, number)?;
            house.refill(user, &mut rng)?;
        }
        trial.statement(&mut rng, user, number)?;
        if lane == 0 && number % 500 == 499 {
            eprintln!("about {} statements", (number + 1) * lanes as u64);
        }
    }
    Ok(trial.tally)
}

impl Tally {
    fn add(&mut self, other: &Self) {
        for (form, count) in &other.forms {
            *self.forms.entry(form).or_default() += count;
        }
        self.statements += other.statements;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.refused += other.refused;
        self.marked += other.marked;
        self.repeated += other.repeated;
        self.violations += other.violations;
    }
}

struct Trial<'a> {
    house: &'a House,
    names: Names,
    remembered: BTreeMap<Owner, Remembered>,
    tally: Tally,
    show: usize,
}

impl Trial<'_> {
    fn statement(&mut self, rng: &mut Rng, user: &User, number: u64) -> Result<(), Failure> {
        self.tally.statements += 1;
        if rng.chance(0.05) {
            *self.tally.forms.entry("UNIQUE and request ids").or_default() += 1;
            if let Some(violation) = self.names.insert(rng, self.house, user)? {
                self.violation(number, user, &violation);
            }
            return Ok(());
        }
        if rng.chance(0.04) {
            return self.session(rng, user, number);
        }
        if rng.chance(0.004) {
            return self.copy(rng, user, number);
        }
        let act = act(rng, user);
        *self.tally.forms.entry(act.form).or_default() += 1;
        if act.changes_own {
            self.read_again(user, number)?;
        }
        let reply = self.send(user, &act)?;
        self.judged(user, number, &act, &reply);
        if act.is_own_read && reply.status == 200 && rng.chance(0.7) {
            self.remembered.insert(user.owner, Remembered { act, reply });
        }
        Ok(())
    }

    /// Holds an answer against the rules, and counts it.
    fn judged(&mut self, user: &User, number: u64, act: &Act, reply: &Reply) {
        let verdict = judge(act, reply);
        match &verdict {
            Verdict::Fine { marks } => self.tally.marked += u64::from(*marks),
            Verdict::Violation(what) => {
                self.violation(number, user, &format!("{what}\n  {}\n  {}", tell(act), short(&reply.text)))
            }
        }
        match (reply.status, act.right) {
            (200, _) => self.tally.succeeded += 1,
            (_, Right::MayNot) => self.tally.refused += 1,
            (_, Right::May) => self.tally.failed += 1,
        }
    }

    /// Reads again what the user read before, while its rows are still the same.
    fn read_again(&mut self, user: &User, number: u64) -> Result<(), Failure> {
        let Some(Remembered { act, reply }) = self.remembered.remove(&user.owner) else { return Ok(()) };
        let again = self.send(user, &act)?;
        if matches!(again.status, 429 | 503) {
            // There was no time or no room for it, which says nothing of what it reads.
            return Ok(());
        }
        self.tally.repeated += 1;
        if rows(&reply, act.is_ordered) != rows(&again, act.is_ordered) {
            let what = format!(
                "others' changes changed what it reads of its own\n  {}\n  before {}\n  after  {}",
                tell(&act),
                short(&reply.text),
                short(&again.text)
            );
            self.violation(number, user, &what);
        }
        Ok(())
    }

    fn send(&self, user: &User, act: &Act) -> Result<Reply, Failure> {
        match &act.way {
            Way::Sql { sql, params } => self.house.run(user, sql, params, None),
            Way::Post { path, body } => self.house.post(user, path, body),
        }
    }

    fn violation(&mut self, number: u64, user: &User, what: &str) {
        self.tally.violations += 1;
        if usize::try_from(self.tally.violations).is_ok_and(|count| count <= self.show) {
            println!("{number} {} ({:?}): {what}", user.name, user.role);
        }
    }
}

fn tell(act: &Act) -> String {
    match &act.way {
        Way::Sql { sql, params } if params.is_empty() => sql.clone(),
        Way::Sql { sql, params } => format!("{sql} with {params:?}"),
        Way::Post { path, body } => format!("{path} {body}"),
    }
}

fn short(text: &str) -> String {
    text.chars().take(600).collect()
}

fn report(tally: &Tally) {
    println!("{} statements by {USERS} users", tally.statements);
    println!("  succeeded                             {:>7}", tally.succeeded);
    println!("  failed for what was wrong with them   {:>7}", tally.failed);
    println!("  refused for want of a right           {:>7}", tally.refused);
    println!("  answers that showed marks             {:>7}", tally.marked);
    println!("  reads made again after others' writes {:>7}", tally.repeated);
    println!("forms");
    for (form, count) in &tally.forms {
        println!("  {form:<36}  {count:>7}");
    }
    println!("violations: {}", tally.violations);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }
}
