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
use crate::consumers::{Group, consume, partitions};
use crate::failure::{Failure, exit};
use crate::lane::Lane;
use crate::ledger::Ledger;
use crate::measure::{Recorder, Sheet, lock};
use crate::plan::Plan;
use crate::readback;
use crate::report::{self, Facts};
use crate::schema::Schema;
use crate::stage::{Stage, Timing};
use crate::violation::Verdict;
use crate::writers::{Inserts, Puts, Selects};

/// How often the end of a consume is looked for.
const DRAIN_STEP: Duration = Duration::from_millis(20);

/// Does what the arguments ask for and gives the exit code.
pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    args.check()?;
    let nodes = Nodes::new(args.urls()?, login(args)?, args.timeout, args.give_up);
    let schema = Schema::new(&args.namespace, args.users);
    let plan = Plan { seed: args.seed, users: args.users, rows: args.rows, payload_bytes: args.payload_bytes };
    let stop = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register_conditional_shutdown(SIGINT, 130, Arc::clone(&stop))?;
    signal_hook::flag::register(SIGINT, Arc::clone(&stop))?;
    for absent in nodes.check()? {
        eprintln!("warning: {absent}");
    }
    if args.setup {
        schema.set_up(&mut nodes.client(0), &plan, args.partitions, &random_hex()?, &stop)?;
    }
    let mut code = exit::OK;
    let nodes = match args.workload {
        None => nodes,
        Some(workload) => {
            schema.probe(&mut nodes.client(0), &stop)?;
            let arrivals = args.rate.map(|rate| {
                let nanos = (args.warmup + args.seconds).as_nanos() as u64;
                Arrivals::poisson(args.seed, rate, nanos)
            });
            let timing = Timing { warmup: args.warmup, seconds: args.seconds, arrivals: arrivals.transpose()? };
            let run = random_hex()?;
            let has_ledger = args.verify && workload != Workload::Select;
            let stage = Stage::new(nodes, schema.clone(), plan, run, has_ledger, Arc::clone(&stop), timing);
            code = load(args, workload, &stage)?;
            stage.nodes
        }
    };
    if args.cleanup {
        schema.clean_up(&mut nodes.client(0), &AtomicBool::new(false))?;
    }
    Ok(code)
}

/// Runs the load and the checks, and prints the report.
fn load(args: &Args, workload: Workload, stage: &Stage) -> Result<u8, Failure> {
    let group = match workload {
        Workload::Insert | Workload::Put | Workload::Update | Workload::Select => None,
        Workload::Consume => Some(Group {
            name: args.group.clone().unwrap_or_else(|| format!("load-{}", stage.run)),
            partitions: partitions(stage, &mut stage.nodes.client(0))?,
            members: args.connections,
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
    print(args, &facts, &total, &progress.seconds, verdict.as_ref())?;
    let is_broken = verdict.is_some_and(|verdict| verdict.violations > 0);
    let is_empty = !facts.is_cut_short && total.0.values().all(|tally| tally.done == 0);
    if is_empty {
        eprintln!("error: not one operation was done in the measured time");
    }
    Ok(if is_broken || is_empty { exit::VIOLATION } else { exit::OK })
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
            if self.args.json {
                self.seconds.push(report::second_json(at, seconds, &sheet, is_warmup, waiting));
                std::io::stderr().write_all(lines.as_bytes())?;
            } else {
                say(&lines)?;
            }
            self.last = now;
        }
        Ok(())
    }
}

fn print(
    args: &Args,
    facts: &Facts,
    total: &Sheet,
    seconds: &[Value],
    verdict: Option<&Verdict>,
) -> Result<(), Failure> {
    if args.json {
        return say(&format!("{:#}\n", report::document(facts, total, seconds, verdict)));
    }
    say(&report::table(facts, total))?;
    verdict.map_or(Ok(()), |verdict| say(&verdict.text()))
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
        "workload": format!("{workload:?}").to_lowercase(), "nodes": args.nodes, "connections": args.connections,
        "rate": args.rate, "seconds": args.seconds.as_secs_f64(), "warmup": args.warmup.as_secs_f64(), "rows": args.rows,
        "payload_bytes": args.payload_bytes, "users": args.users, "seed": args.seed, "producers": args.producers,
        "batch": args.batch, "verify": args.verify, "threads": args.threads, "request_ids": args.request_ids,
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
