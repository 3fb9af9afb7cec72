//! Every crash point of short workloads, each with every surviving set of what was not durable, as far as that can be counted.
//!
//! A workload is run once. Before each I/O completion takes effect the disk is cloned, which is the crash point before that completion; a
//! clone shares everything with its neighbours. Each outcome of each point is then made from its clone, without running anything
//! again, opened, checked whole, cut from power, and opened once more. Outcomes that leave the same disk under the same
//! acknowledgements are opened once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use highwater_engine::{EngineError, StoreOptions, StoreStats};
use highwater_runtime::disk::{AtRisk, CrashKind, Disk, Fate, Fault, Faults};
use highwater_runtime::inproc::{Sim, Stopped};
use highwater_runtime::rng::Rng;

use crate::model::LogModel;
use crate::recovered::{self, FOLDER, Halt};
use crate::seeds::{in_parallel, locked};
use crate::workload::{Progress, Workload};

/// Up to so many things at risk, every subset is tried.
pub const ALL_SUBSETS: usize = 10;
/// Beyond that, so many drawn subsets besides single keeps and single drops.
pub const DRAWN: usize = 256;
/// One in so many crash points is also reached by running the workload again.
const REPEATED: usize = 40;
/// At one in so many crash points recovery itself is cut short everywhere.
const RECOVERED: usize = 40;

/// What was done.
#[derive(Clone, Debug, Default)]
pub struct Effort {
    /// Crash points of the workload.
    pub points: u64,
    /// Outcomes of crashes: surviving sets.
    pub outcomes: u64,
    /// Of these, distinct ones, which were opened (twice each).
    pub states: u64,
    /// Crash points inside recoveries, and the outcomes there that were opened.
    pub recovery_points: u64,
    /// See above.
    pub recovery_states: u64,
    /// Runs with one failing operation each.
    pub faulty_runs: u64,
    /// Crash points that were reached a second time by running again, all equal.
    pub repeated: u64,
    /// Memtables flushed and compactions done in the workload.
    pub flushes: u64,
    /// See above.
    pub compactions: u64,
}

impl Effort {
    /// Adds another workload's.
    pub fn add(&mut self, other: &Self) {
        self.points += other.points;
        self.outcomes += other.outcomes;
        self.states += other.states;
        self.recovery_points += other.recovery_points;
        self.recovery_states += other.recovery_states;
        self.faulty_runs += other.faulty_runs;
        self.repeated += other.repeated;
        self.flushes += other.flushes;
        self.compactions += other.compactions;
    }

    /// Stores that were opened in one way or another.
    pub fn opened(&self) -> u64 {
        self.states + self.recovery_states + self.faulty_runs
    }
}

/// How to go about it.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Threads.
    pub jobs: usize,
    /// A planted bug.
    pub mutant: Option<u32>,
    /// Only every n-th crash point.
    pub every: usize,
    /// Only this crash point.
    pub only: Option<usize>,
}

/// A crash point: the disk before a completion, and how far the appends had come.
struct Point {
    disk: Disk,
    acknowledged: usize,
    started: usize,
}

fn quiet_sim(seed: u64, disk: Disk, mutant: Option<u32>) -> Sim {
    let mut sim = Sim::with_disk(seed, disk);
    sim.set_mutant(mutant);
    sim.set_time_limit(600_000_000);
    sim
}

/// Runs the workload and records all its crash points.
fn record(workload: &Rc<Workload>, mutant: Option<u32>) -> Result<(Vec<Point>, StoreStats), String> {
    let mut sim = quiet_sim(1, Disk::new(1, Faults::none()), mutant);
    let progress: Progress = Rc::default();
    let points: Rc<RefCell<Vec<Point>>> = Rc::default();
    let (seen, into) = (Rc::clone(&progress), Rc::clone(&points));
    sim.observe(move |disk| {
        let (acknowledged, started) = seen.get();
        into.borrow_mut().push(Point { disk: disk.clone(), acknowledged, started });
    });
    let work = Rc::clone(workload);
    let stats = sim
        .run(|env| async move { work.run(env, progress).await })
        .map_err(|stopped| format!("the workload stopped without a crash: {stopped}"))?
        .map_err(|error| format!("the workload failed without a crash: {error}"))?;
    if stats.flushes == 0 || stats.compactions == 0 {
        return Err(format!(
            "{}: {} flushes and {} compactions show nothing",
            workload.name, stats.flushes, stats.compactions
        ));
    }
    sim.crash(CrashKind::Process);
    let points = points.take();
    Ok((points, stats))
}

/// Every outcome that is tried at a point with these things at risk.
fn outcomes(at_risk: &[AtRisk], seed: u64) -> Vec<Vec<Fate>> {
    let count = at_risk.len();
    let kept = |kept: bool| if kept { Fate::Kept } else { Fate::Lost };
    let mut rng = Rng::new(seed);
    let mut all = Vec::new();
    if count <= ALL_SUBSETS {
        all.extend((0..1u64 << count).map(|set| (0..count).map(|at| kept(set >> at & 1 == 1)).collect::<Vec<_>>()));
    } else {
        all.push(vec![Fate::Lost; count]);
        all.push(vec![Fate::Kept; count]);
        for one in 0..count {
            all.push((0..count).map(|at| kept(at == one)).collect());
            all.push((0..count).map(|at| kept(at != one)).collect());
        }
        all.extend((0..DRAWN).map(|_| (0..count).map(|_| kept(rng.below(2) == 1)).collect::<Vec<_>>()));
    }
    // And each block torn once, among others as drawn.
    for (torn, _) in at_risk.iter().enumerate().filter(|(_, item)| matches!(item, AtRisk::Block(_))) {
        let mask = u8::try_from(1 + rng.below(254)).unwrap_or(1);
        let fate = |at| if at == torn { Fate::Torn(mask) } else { kept(rng.below(2) == 1) };
        all.push((0..count).map(fate).collect());
    }
    all
}

/// Opens what a crash has left, twice, with a power cut between, and checks it.
fn check(
    disk: Disk,
    workload: &Workload,
    point: (usize, usize),
    mutant: Option<u32>,
    close: bool,
) -> Result<(), String> {
    let (acknowledged, started) = point;
    let candidates: Vec<LogModel> = workload.models.get(acknowledged..=started).unwrap_or_default().to_vec();
    let mut sim = quiet_sim(7, disk, mutant);
    sim.disk().faults = Faults::none();
    let options = workload.options.clone();
    let (given, clocks) = (candidates.clone(), workload.clocks_at(started));
    let chosen = sim.run(|env| async move {
        let opened = recovered::open(env, options, &given, &clocks).await?;
        if close {
            opened.store.close().await?;
        }
        Ok::<usize, Halt>(opened.chosen)
    });
    let chosen = flat(chosen).map_err(|what| format!("first start: {what}"))?;
    sim.crash(CrashKind::Power);
    let candidate: Vec<LogModel> = candidates.get(chosen).cloned().into_iter().collect();
    let (options, clocks) = (workload.options.clone(), workload.clocks_at(started));
    let stats = sim.run(|env| async move {
        let opened = recovered::open(env, options, &candidate, &clocks).await?;
        opened.store.close().await?;
        Ok::<StoreStats, Halt>(opened.store.stats())
    });
    let stats = flat(stats).map_err(|what| format!("second start: {what}"))?;
    only_what_is_needed(&sim.disk(), &stats)
}

fn flat<T>(outcome: Result<Result<T, Halt>, Stopped>) -> Result<T, String> {
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(Halt::Violation(what))) => Err(what),
        Ok(Err(Halt::Refused(error) | Halt::RefusedLater(error))) => Err(format!("refused: {error}")),
        Ok(Err(Halt::Stuck(what))) => Err(format!("writes are refused for ever: {what}")),
        Err(stopped) => Err(stopped.to_string()),
    }
}

/// After a store was closed its folder holds what it needs, and nothing else.
pub fn only_what_is_needed(disk: &Disk, stats: &StoreStats) -> Result<(), String> {
    let files = disk.files().into_iter().filter(|(path, _)| path.starts_with(FOLDER));
    let names: Vec<String> = files.map(|(path, _)| path.display().to_string()).collect();
    let count = |part: &str| names.iter().filter(|name| name.contains(part)).count();
    let tables: usize = stats.tables.iter().sum();
    let segments = stats.log_segments + stats.spare_segments;
    let found = (count(".tbl"), count(".log"), count("MANIFEST-"));
    if found == (tables, segments, 1) && names.len() == tables + segments + 1 {
        return Ok(());
    }
    Err(format!(
        "orphans are left: {} tables, {} segments, {} manifests on the disk, the store knows of {tables}, {segments} and 1: {names:?}",
        found.0, found.1, found.2
    ))
}

/// Tries everything. An error says where a promise was broken.
pub fn run(workload: Workload, number: usize, plan: &Plan) -> (Effort, Result<(), String>) {
    let workload = Rc::new(workload);
    let mut effort = Effort::default();
    let (points, stats) = match record(&workload, plan.mutant) {
        Ok(recorded) => recorded,
        Err(what) => return (effort, Err(what)),
    };
    effort.flushes = stats.flushes;
    effort.compactions = stats.compactions;
    let Ok(workload) = Rc::try_unwrap(workload) else { return (effort, Err("the workload is still running".into())) };
    let outcome = every_outcome(&workload, number, &points, plan, &mut effort)
        .and_then(|()| every_recovery(&workload, number, &points, plan, &mut effort));
    let workload = Rc::new(workload);
    let outcome = outcome
        .and_then(|()| same_when_run_again(&workload, &points, plan, &mut effort))
        .and_then(|()| every_failing_operation(&workload, number, plan, &mut effort));
    (effort, outcome)
}

fn chosen_points(points: &[Point], plan: &Plan) -> Vec<usize> {
    (0..points.len()).filter(|at| plan.only.map_or(at % plan.every.max(1) == 0, |only| only == *at)).collect()
}

fn every_outcome(
    workload: &Workload,
    number: usize,
    points: &[Point],
    plan: &Plan,
    effort: &mut Effort,
) -> Result<(), String> {
    let chosen = chosen_points(points, plan);
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (total, opened) = (AtomicU64::new(0), AtomicU64::new(0));
    let seen: Mutex<BTreeSet<(u64, usize, usize, bool)>> = Mutex::default();
    let broken: Mutex<Option<(usize, String)>> = Mutex::default();
    let work = || {
        while let Some(at) = chosen.get(next.fetch_add(1, Ordering::Relaxed)).copied() {
            let Some(point) = points.get(at) else { return };
            for kind in [CrashKind::Power, CrashKind::Process] {
                let at_risk: Vec<AtRisk> = point.disk.at_risk(kind).into_iter().map(|item| item.what).collect();
                for (outcome, fates) in outcomes(&at_risk, at as u64).iter().enumerate() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    total.fetch_add(1, Ordering::Relaxed);
                    let mut disk = point.disk.clone();
                    disk.crash_into(kind, fates);
                    // After the end of the process alone, what is unsynced is still at risk: that is another state.
                    let volatile = !disk.at_risk(CrashKind::Power).is_empty();
                    let key = (disk.fingerprint(), point.acknowledged, point.started, volatile);
                    if !locked(&seen).insert(key) {
                        continue;
                    }
                    opened.fetch_add(1, Ordering::Relaxed);
                    let progress = (point.acknowledged, point.started);
                    if let Err(what) = check(disk, workload, progress, plan.mutant, key.0 & 1 == 0) {
                        stop.store(true, Ordering::Relaxed);
                        let place = format!(
                            "workload {number}, crash point {at}, {kind:?}, outcome {outcome} {fates:?}: {what}"
                        );
                        locked(&broken).get_or_insert((at, place));
                        return;
                    }
                }
            }
        }
    };
    in_parallel(plan.jobs, &work);
    effort.points += chosen.len() as u64;
    effort.outcomes += total.into_inner();
    effort.states += opened.into_inner();
    let broken = locked(&broken).take();
    broken.map_or(Ok(()), |(_, what)| Err(what))
}

/// Cuts recoveries short at each of their own I/O completions.
fn every_recovery(
    workload: &Workload,
    number: usize,
    points: &[Point],
    plan: &Plan,
    effort: &mut Effort,
) -> Result<(), String> {
    for at in chosen_points(points, plan).into_iter().filter(|at| at % RECOVERED == 7 || plan.only.is_some()) {
        let Some(point) = points.get(at) else { continue };
        let mut rng = Rng::new(at as u64 ^ 0x2EC0);
        let at_risk = point.disk.at_risk(CrashKind::Power).len();
        let mut disk = point.disk.clone();
        let fates: Vec<Fate> = (0..at_risk).map(|_| if rng.below(2) == 0 { Fate::Lost } else { Fate::Kept }).collect();
        disk.crash_into(CrashKind::Power, &fates);
        let candidates = workload.models.get(point.acknowledged..=point.started).unwrap_or_default().to_vec();
        let mut sim = quiet_sim(9, disk, plan.mutant);
        let inner: Rc<RefCell<Vec<Disk>>> = Rc::default();
        let into = Rc::clone(&inner);
        sim.observe(move |disk| into.borrow_mut().push(disk.clone()));
        let (options, clocks) = (workload.options.clone(), workload.clocks_at(point.started));
        let opened = sim.run(|env| async move {
            let opened = recovered::open(env, options, &candidates, &clocks).await?;
            opened.store.flush().await?;
            opened.store.close().await?;
            Ok::<(), Halt>(())
        });
        let place = |inside: usize, what: String| {
            format!("workload {number}, crash point {at} with {fates:?}, crash point {inside} of its recovery: {what}")
        };
        flat(opened).map_err(|what| place(0, what))?;
        sim.crash(CrashKind::Process);
        for (inside, disk) in inner.take().into_iter().enumerate() {
            effort.recovery_points += 1;
            let at_risk = disk.at_risk(CrashKind::Power).len();
            let drawn: Vec<Fate> =
                (0..at_risk).map(|_| if rng.below(2) == 0 { Fate::Lost } else { Fate::Kept }).collect();
            let fates = [vec![Fate::Lost; at_risk], vec![Fate::Kept; at_risk], drawn];
            for fates in fates.iter().take(if at_risk == 0 { 1 } else { 3 }) {
                let mut disk = disk.clone();
                disk.crash_into(CrashKind::Power, fates);
                effort.recovery_states += 1;
                check(disk, workload, (point.acknowledged, point.started), plan.mutant, false)
                    .map_err(|what| place(inside, what))?;
            }
        }
    }
    Ok(())
}

/// The recorded disks are those that running the workload up to a crash point leaves.
fn same_when_run_again(
    workload: &Rc<Workload>,
    points: &[Point],
    plan: &Plan,
    effort: &mut Effort,
) -> Result<(), String> {
    for at in chosen_points(points, plan).into_iter().filter(|at| at % REPEATED == 3) {
        let Some(point) = points.get(at) else { continue };
        let mut sim = quiet_sim(1, Disk::new(1, Faults::none()), plan.mutant);
        sim.crash_after(at as u64);
        let progress: Progress = Rc::default();
        let (work, seen) = (Rc::clone(workload), Rc::clone(&progress));
        let stopped = sim.run(|env| async move { work.run(env, seen).await.is_ok() });
        let same = stopped == Err(Stopped::CrashPoint)
            && progress.get() == (point.acknowledged, point.started)
            && sim.disk().fingerprint() == point.disk.fingerprint()
            && sim.disk().at_risk(CrashKind::Power) == point.disk.at_risk(CrashKind::Power);
        if !same {
            return Err(format!("crash point {at}: running again leaves another disk than was recorded ({stopped:?})"));
        }
        effort.repeated += 1;
    }
    Ok(())
}

/// Runs the workload once per operation that can fail, with that one failing.
fn every_failing_operation(
    workload: &Rc<Workload>,
    number: usize,
    plan: &Plan,
    effort: &mut Effort,
) -> Result<(), String> {
    if plan.only.is_some() {
        return Ok(());
    }
    let kinds = [Fault::ReadError, Fault::WriteError, Fault::SyncError, Fault::NoSpace, Fault::ShortRead];
    let sites = {
        let mut sim = quiet_sim(1, Disk::new(1, Faults::none()), plan.mutant);
        let work = Rc::clone(workload);
        let _ = sim.run(|env| async move { work.run(env, Rc::default()).await.is_ok() });
        let disk = sim.disk();
        kinds.map(|kind| (kind, disk.occasions(kind)))
    };
    for (kind, count) in sites {
        for occasion in (1..=count).filter(|at| (at % plan.every.max(1) as u64) == 0) {
            effort.faulty_runs += 1;
            failing(workload, plan.mutant, kind, occasion)
                .map_err(|what| format!("workload {number}, {} at opportunity {occasion}: {what}", kind.name()))?;
        }
    }
    Ok(())
}

fn failing(workload: &Rc<Workload>, mutant: Option<u32>, kind: Fault, occasion: u64) -> Result<(), String> {
    let mut sim = quiet_sim(1, Disk::new(1, Faults::none()), mutant);
    sim.disk().plan(kind, occasion);
    let progress: Progress = Rc::default();
    let (work, seen) = (Rc::clone(workload), Rc::clone(&progress));
    let outcome = sim.run(|env| async move { work.run(env, seen).await });
    let stops = matches!(kind, Fault::WriteError | Fault::SyncError);
    match outcome {
        Ok(Ok(_)) => {}
        Ok(Err(EngineError::Io { .. })) if matches!(kind, Fault::ReadError | Fault::ShortRead) => {}
        Ok(Err(EngineError::Io { action: "fill", .. })) if kind == Fault::WriteError => {}
        Ok(Err(EngineError::NoSpace { .. })) if kind == Fault::NoSpace => {}
        Err(Stopped::FailStop(_)) if stops => {}
        Ok(Err(error)) => return Err(format!("the store answers: {error}")),
        Err(stopped) => return Err(stopped.to_string()),
    }
    sim.crash(CrashKind::Power);
    let disk = sim.disk().clone();
    check(disk, workload, progress.get(), mutant, true)
}

/// The options of a workload, for the report.
pub fn sizes(options: &StoreOptions) -> String {
    format!("memtable {} bytes, segments {} bytes", options.memtable_bytes, options.segment_bytes)
}
