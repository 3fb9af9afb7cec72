//! From arguments to an exit code: set-up, threads, the line per second, the checks, the report.

use std::io::{Read as _, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use signal_hook::consts::SIGINT;

use crate::args::{Args, Workload};
use crate::arrivals::Arrivals;
use crate::client::{Login, Nodes};
use crate::consumers::{Group, consume, starts};
use crate::failure::{Failure, exit};
use crate::folder;
use crate::lane::Lane;
use crate::ledger::Ledger;
use crate::measure::{Recorder, Sheet, Tally, lock};
use crate::mixture::Mixture;
use crate::plan::Plan;
use crate::postgres::Postgres;
use crate::readback;
use crate::report::{self, Facts};
use crate::schema::Schema;
use crate::stage::{Stage, Timing};
use crate::sweep::{Objective, Outcome, Sweep};
use crate::violation::Verdict;
use crate::writers::{Inserts, Puts, Selects, WRONG_ROW};

/// How often the end of a consume is looked for.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// Does what the arguments ask for and gives the exit code.
pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    args.check()?;
    let nodes = match &args.postgres {
        Some(url) => Nodes::of_postgres(Postgres::parse(url, &args.namespace)?, args.timeout, args.give_up),
        None => Nodes::new(args.urls()?, login(args)?, args.timeout, args.give_up).sharing(args.streams as usize),
    };
    let postgres = nodes.postgres();
    let schema = Schema::new(&args.namespace, args.users);
    let plan = Plan { seed: args.seed, users: args.users, rows: args.rows, payload_bytes: args.payload_bytes };
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&stop))?;
    signal_hook::flag::register(SIGINT, Arc::clone(&stop))?;
    for absent in nodes.check()? {
        eprintln!("warning: {absent}");
    }
    if let (true, Some(postgres)) = (args.setup, &postgres) {
        postgres.set_up(&plan)?;
    } else if args.setup {
        schema.set_up(&mut nodes.client(0), &plan, args.partitions, &random_hex()?, &stop)?;
    }
    let mut code = exit::OK;
    let nodes = match args.workload {
        None => nodes,
        Some(workload) => {
            match &postgres {
                Some(postgres) => postgres.probe()?,
                None => schema.probe(&mut nodes.client(0), &stop)?,
            }
            let (of_run, nodes) = match args.sweep {
                Some(objective) => sweep(args, workload, objective, nodes, &schema, plan, &stop)?,
                None => {
                    let stage = stage(args, workload, args.rate, nodes, &schema, plan, &stop)?;
                    (load(args, workload, &stage)?, stage.nodes)
                }
            };
            code = finish(args, &of_run)?;
            nodes
        }
    };
    if let (true, Some(postgres)) = (args.cleanup, &postgres) {
        postgres.clean_up()?;
    } else if args.cleanup {
        schema.clean_up(&mut nodes.client(0), &AtomicBool::new(false))?;
    }
    Ok(code)
}

/// A run at a rate, or in a closed loop.
fn stage(
    args: &Args,
    workload: Workload,
    rate: Option<f64>,
    nodes: Nodes,
    schema: &Schema,
    plan: Plan,
    stop: &Arc<AtomicBool>,
) -> Result<Stage, Failure> {
    let nanos = (args.warmup + args.seconds).as_nanos() as u64;
    let arrivals = rate.map(|rate| Arrivals::poisson(args.seed, rate, nanos));
    let timing = Timing { warmup: args.warmup, seconds: args.seconds, arrivals: arrivals.transpose()? };
    let has_ledger = args.verify && matches!(workload, Workload::Insert | Workload::Consume);
    Ok(Stage::new(nodes, schema.clone(), plan, random_hex()?, has_ledger, Arc::clone(stop), timing))
}

/// What a run gave.
struct OfRun {
    facts: Facts,
    total: Sheet,
    seconds: Vec<Value>,
    verdict: Option<Verdict>,
    sweep: Option<Sweep>,
}

/// Tries rates until the highest that keeps the objective is known; gives its run, or the last one's.
fn sweep(
    args: &Args,
    workload: Workload,
    objective: Objective,
    mut nodes: Nodes,
    schema: &Schema,
    plan: Plan,
    stop: &Arc<AtomicBool>,
) -> Result<(OfRun, Nodes), Failure> {
    let mut sweep = Sweep::new(objective, args.rate.unwrap_or(100.0), args.precision);
    let mut shown: Option<OfRun> = None;
    while let Some(rate) = sweep.next().filter(|_| !stop.load(Ordering::Relaxed)) {
        let stage = stage(args, workload, Some(rate), nodes, schema, plan, stop)?;
        let mut of_run = load(args, workload, &stage)?;
        let scheduled = stage.scheduled().unwrap_or_default();
        nodes = stage.nodes;
        if of_run.facts.is_cut_short {
            break;
        }
        let mut all = Tally::default();
        of_run.total.0.values().for_each(|tally| all.merge(tally));
        let per_second = |count: u64| count as f64 / of_run.facts.seconds.max(1e-3);
        let outcome = Outcome {
            scheduled: per_second(scheduled),
            achieved: per_second(all.done),
            millis: all.millis(objective.quantile),
            p50: all.millis(0.5),
            errors: all.errors.values().sum(),
        };
        let step = sweep.tried(rate, outcome);
        let line = sweep.line(&step);
        if args.json {
            std::io::stderr().write_all(line.as_bytes())?
        } else {
            say(&line)?
        }
        if let Value::Object(settings) = &mut of_run.facts.settings {
            settings.insert("rate".into(), json!(rate));
        }
        if shown.is_none() || step.holds {
            shown = Some(of_run);
        }
    }
    let mut of_run = shown.ok_or_else(|| Failure::usage("the sweep was ended before its first rate was tried"))?;
    of_run.sweep = Some(sweep);
    Ok((of_run, nodes))
}

/// Prints a run and writes its folder: the exit code.
fn finish(args: &Args, of_run: &OfRun) -> Result<u8, Failure> {
    let OfRun { facts, total, seconds, verdict, sweep } = of_run;
    let mut document = report::document(facts, total, seconds, verdict.as_ref());
    if let (Some(sweep), Value::Object(fields)) = (sweep, &mut document) {
        fields.insert("sweep".into(), sweep.to_json());
    }
    if let Some(folder) = &args.out {
        folder::write(folder, &document, total)?;
    }
    if args.json {
        say(&format!("{document:#}\n"))?;
    } else {
        say(&report::table(facts, total))?;
        if let Some(verdict) = verdict {
            say(&verdict.text())?;
        }
        if let Some(sweep) = sweep {
            say(&match sweep.best() {
                Some(best) => format!("\nthe highest rate that held: {:.0} per second\n", best.rate),
                None => "\nno rate held\n".to_owned(),
            })?;
        }
    }
    let is_broken = verdict.as_ref().is_some_and(|verdict| verdict.violations > 0);
    let is_empty = !facts.is_cut_short && total.0.values().all(|tally| tally.done == 0);
    if is_empty {
        eprintln!("error: not one operation was done in the measured time");
    }
    if total.0.values().any(|tally| tally.errors.contains_key(WRONG_ROW)) {
        eprintln!(
            "hint: rows of --seed {}, --rows {}, --users {} and --payload-bytes {} were looked for; if --setup had other \
             settings, give the same, or make the rows anew with --cleanup and --setup",
            args.seed, args.rows, args.users, args.payload_bytes
        );
    }
    let is_missed = sweep.as_ref().is_some_and(|sweep| sweep.best().is_none());
    Ok(if is_broken || is_empty || is_missed { exit::VIOLATION } else { exit::OK })
}

/// Runs the load and the checks.
fn load(args: &Args, workload: Workload, stage: &Stage) -> Result<OfRun, Failure> {
    let group = match workload {
        Workload::Insert | Workload::Put | Workload::Update | Workload::Select | Workload::Mixed => None,
        Workload::Consume => Some(Group {
            name: args.group.clone().unwrap_or_else(|| format!("load-{}", stage.run)),
            starts: starts(stage, &mut stage.nodes.client(0), args.producers > 0)?,
            members: args.connections,
            takes_all: args.producers == 0,
            batch: args.batch,
            consumption: Mutex::default(),
            is_over: AtomicBool::new(false),
        }),
    };
    let writers = if group.is_some() { args.producers } else { args.connections };
    let lanes = args.threads.min(writers);
    let recorders: Vec<Recorder> =
        (0..lanes + group.as_ref().map_or(0, |group| group.members)).map(|_| Recorder::default()).collect();
    let wrong = Mutex::new(Verdict::default());
    let mut progress = Progress { args, stage, recorders: &recorders, last: 0, seconds: Vec::new() };
    let (ledger, end) = std::thread::scope(|scope| -> Result<(Ledger, u64), Failure> {
        let mut producers = Vec::new();
        let mut consumers = Vec::new();
        for (number, recorder) in (0_u32..).zip(&recorders) {
            if let Some(group) = group.as_ref().filter(|_| number >= lanes) {
                let (member, home) = (number - lanes, writers + number - lanes);
                let client = stage.nodes.client(home as usize);
                consumers.push(scope.spawn(move || consume(stage, client, recorder, group, member)));
                continue;
            }
            let homes = (number..writers).step_by(lanes as usize).map(|home| home as usize);
            let wrong = &wrong;
            producers.push(scope.spawn(move || match workload {
                Workload::Insert | Workload::Consume => {
                    Ok(Lane::new(stage, recorder, Inserts::new(stage), homes)?.run()?.ledger)
                }
                Workload::Put => idle(Lane::new(stage, recorder, Puts::new(stage, args.request_ids), homes)?.run()),
                Workload::Update => {
                    idle(Lane::new(stage, recorder, Puts::again(stage, args.request_ids), homes)?.run())
                }
                Workload::Mixed => {
                    let work = Mixture::new(stage, &args.mix, args.request_ids, wrong);
                    Ok(Lane::new(stage, recorder, work, homes)?.run()?.into_ledger())
                }
                Workload::Select => idle(Lane::new(stage, recorder, Selects::new(stage, wrong), homes)?.run()),
            }));
        }
        let shown = progress.show_until_end();
        let end = stage.now().min(stage.bounds().1);
        let ledger = join(producers);
        if let (Some(group), Ok(ledger)) = (&group, &ledger)
            && stage.has_ledger
        {
            drain(group, ledger, args.drain);
        }
        if let Some(group) = &group {
            group.is_over.store(true, Ordering::Relaxed);
        }
        consumers.into_iter().for_each(|thread| drop(thread.join()));
        shown?;
        Ok((ledger?, end))
    })?;
    let mut total = Sheet::default();
    recorders.iter().for_each(|recorder| recorder.add_total(&mut total));
    let verdict = match (args.verify, &group) {
        (false, _) => None,
        (true, Some(group)) => Some(lock(&group.consumption).check(&ledger)),
        (true, None) if workload == Workload::Select => {
            let mut verdict = lock(&wrong).clone();
            verdict.fact("rows read", total.0.values().map(|tally| tally.done as usize).sum());
            Some(verdict)
        }
        (true, None) => Some(ledger.check(&readback::rows(stage, &mut stage.nodes.client(0))?)),
    };
    let facts = Facts {
        settings: settings(args, workload),
        run: stage.run.clone(),
        seconds: end.saturating_sub(stage.bounds().0) as f64 / 1e9,
        is_cut_short: stage.stop.load(Ordering::Relaxed),
        is_scheduled: stage.is_scheduled(),
    };
    Ok(OfRun { facts, total, seconds: progress.seconds, verdict, sweep: None })
}

/// For work that leaves no ledger.
fn idle<W>(ended: std::io::Result<W>) -> std::io::Result<Ledger> {
    ended.map(|_| Ledger::default())
}

/// The producers' inserts in one ledger.
fn join(producers: Vec<ScopedJoinHandle<'_, std::io::Result<Ledger>>>) -> Result<Ledger, Failure> {
    let mut all = Ledger::default();
    for producer in producers {
        match producer.join() {
            Ok(ledger) => all.merge(ledger?),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
    Ok(all)
}

/// Waits until every acknowledged insert was consumed and committed, or for `patience` without one more.
fn drain(group: &Group, ledger: &Ledger, patience: Duration) {
    let open = || lock(&group.consumption).open(ledger);
    let (mut left, mut since) = (open(), Instant::now());
    while left > 0 && since.elapsed() < patience {
        std::thread::sleep(DRAIN_STEP);
        let now = open();
        if now < left {
            (left, since) = (now, Instant::now());
        }
    }
}

/// The lines of the seconds.
struct Progress<'a> {
    args: &'a Args,
    stage: &'a Stage,
    recorders: &'a [Recorder],
    /// Nanoseconds at which the last line ended.
    last: u64,
    seconds: Vec<Value>,
}

impl Progress<'_> {
    /// A line at the end of every second, until the load is over.
    fn show_until_end(&mut self) -> Result<(), Failure> {
        let (warm_until, end) = self.stage.bounds();
        while self.stage.is_running() {
            let next = ((self.last / 1_000_000_000 + 1) * 1_000_000_000).min(end);
            crate::client::sleep(Duration::from_nanos(next.saturating_sub(self.stage.now())), &self.stage.stop);
            let now = self.stage.now();
            let mut sheet = Sheet::default();
            self.recorders.iter().for_each(|recorder| sheet.merge(&recorder.take_second()));
            let (at, seconds) = (now as f64 / 1e9, now.saturating_sub(self.last) as f64 / 1e9);
            let (is_warmup, waiting) = (self.last.midpoint(now) < warm_until, self.stage.waiting());
            let lines = report::second_lines(at, seconds, &sheet, is_warmup, waiting);
            self.seconds.push(report::second_json(at, seconds, &sheet, is_warmup, waiting));
            if self.args.json || self.args.sweep.is_some() {
                std::io::stderr().write_all(lines.as_bytes())?;
            } else {
                say(&lines)?;
            }
            self.last = now;
        }
        Ok(())
    }
}

/// A reader that closed the pipe (`| head`) has seen enough.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}

fn settings(args: &Args, workload: Workload) -> Value {
    json!({
        "workload": format!("{workload:?}").to_lowercase(), "nodes": if args.postgres.is_some() { Vec::new() } else { args.nodes.clone() }, "postgres": args.postgres.is_some(), "connections": args.connections,
        "rate": args.rate, "seconds": args.seconds.as_secs_f64(), "warmup": args.warmup.as_secs_f64(), "rows": args.rows,
        "payload_bytes": args.payload_bytes, "users": args.users, "seed": args.seed, "producers": args.producers,
        "batch": args.batch, "mix": args.mix.to_string(), "verify": args.verify, "threads": args.threads, "streams": args.streams, "request_ids": args.request_ids,
    })
}

/// How to log in: with a token, with a password, or with the one that the server keeps beside its data for root.
fn login(args: &Args) -> Result<Login, Failure> {
    let user = args.user.clone();
    if let Some(token) = &args.token {
        return Ok(Login::Token(token.clone()));
    }
    if let Some(password) = &args.password {
        return Ok(Login::Password { user, password: password.clone() });
    }
    let how = "give one with --password or in HIGHWATER_PASSWORD, or name the server's data folder with --data-dir";
    if user != "root" {
        return Err(Failure::Usage { message: format!("no password for user {user:?}"), hint: Some(how.into()) });
    }
    let file = args.data_dir.join("root-password");
    match std::fs::read_to_string(&file) {
        Ok(text) => Ok(Login::Password { user, password: text.trim_end_matches(['\r', '\n']).to_owned() }),
        Err(error) => Err(Failure::Usage {
            message: format!("no password for root: none was given, and {} cannot be read: {error}", file.display()),
            hint: Some(how.into()),
        }),
    }
}

/// 64 random bits, for names that no other run has and for passwords that nobody needs to know.
fn random_hex() -> Result<String, Failure> {
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}
