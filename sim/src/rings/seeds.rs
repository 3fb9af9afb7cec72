//! Many seeds on several threads, until the first that finds something, and what they add up to. Part of each binary that simulates
//! in one process; a seed runs on one thread alone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Which seeds are run, and how.
#[derive(Clone, Copy)]
pub struct Plan {
    /// The first.
    pub from: u64,
    /// How many.
    pub seeds: u64,
    /// Stop after so many seconds.
    pub seconds: Option<u64>,
    /// Threads.
    pub jobs: usize,
    /// One seed in so many is run twice; 0 for none.
    pub twice: u64,
}

/// What one seed gave. Two runs of a seed must give the same.
pub trait Outcome: PartialEq {
    /// The broken promise, if one was broken.
    fn violation(&self) -> Option<&str>;
    /// How often what happened.
    fn counters(&self) -> impl Iterator<Item = (&str, u64)>;
}

/// What many seeds gave.
pub struct Sums {
    /// Seeds that were run.
    pub seeds: u64,
    /// Seeds that were run twice, with equal results.
    pub twice: u64,
    /// The lowest seed that found something, and what.
    pub found: Option<(u64, String)>,
    /// Sums of all counters, and in how many seeds each was above zero.
    pub totals: BTreeMap<String, (u64, u64)>,
    /// How long it took.
    pub took: Duration,
}

impl Sums {
    /// Prints every counter, a line each.
    pub fn print(&self) {
        for (name, (count, in_seeds)) in &self.totals {
            let share = *in_seeds as f64 * 100.0 / self.seeds.max(1) as f64;
            highwater_sim::say!("  {name:<46} {count:>12} in all, in {in_seeds} seeds ({share:.1} %)");
        }
    }

    /// Whether this happened in some seed.
    pub fn met(&self, name: &str) -> bool {
        self.totals.get(name).is_some_and(|(_, seeds)| *seeds > 0)
    }
}

/// Locks, whatever happened to who held the lock before.
pub fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on so many threads and waits for all.
pub fn in_parallel(jobs: usize, work: &(impl Fn() + Sync)) {
    std::thread::scope(|scope| {
        for _ in 1..jobs.max(1) {
            scope.spawn(work);
        }
        work();
    });
}

/// Runs seeds until the first that finds something. `told` is given each seed's outcome, and what was found.
pub fn run<O: Outcome>(
    plan: &Plan,
    one: impl Fn(u64) -> O + Sync,
    told: impl Fn(u64, &O, Option<&str>) + Sync,
) -> Sums {
    let began = Instant::now();
    let (next, stop) = (AtomicU64::new(plan.from), AtomicBool::new(false));
    let sums = Mutex::new(Sums { seeds: 0, twice: 0, found: None, totals: BTreeMap::new(), took: Duration::ZERO });
    let end = plan.from.saturating_add(plan.seeds);
    let work = || loop {
        let late = plan.seconds.is_some_and(|limit| began.elapsed() >= Duration::from_secs(limit));
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if late || seed >= end || stop.load(Ordering::Relaxed) {
            return;
        }
        let outcome = one(seed);
        let again = plan.twice > 0 && (seed - plan.from).is_multiple_of(plan.twice);
        let differs = again && one(seed) != outcome;
        let differs = differs.then_some("two runs of the seed differ");
        let violation = outcome.violation().or(differs);
        let mut sums = locked(&sums);
        sums.seeds += 1;
        sums.twice += u64::from(again);
        for (name, count) in outcome.counters() {
            let total = sums.totals.entry(name.to_owned()).or_default();
            total.0 += count;
            total.1 += u64::from(count > 0);
        }
        told(seed, &outcome, violation);
        if let Some(what) = violation {
            stop.store(true, Ordering::Relaxed);
            if sums.found.as_ref().is_none_or(|(known, _)| seed < *known) {
                sums.found = Some((seed, what.to_owned()));
            }
        }
    };
    in_parallel(plan.jobs, &work);
    let mut sums = sums.into_inner().unwrap_or_else(PoisonError::into_inner);
    sums.took = began.elapsed();
    sums
}

/// Says how it ended, and whether that is success: with a planted bug, finding something is.
pub fn verdict(held: &str, found: Option<&str>, mutant: Option<u32>) -> bool {
    match (found, mutant) {
        (None, None) => highwater_sim::say!("{held}"),
        (Some(what), None) => highwater_sim::say!("BROKEN: {what}"),
        (Some(what), Some(number)) => highwater_sim::say!("planted bug {number} found: {what}"),
        (None, Some(number)) => highwater_sim::say!("planted bug {number} NOT FOUND"),
    }
    found.is_some() == mutant.is_some()
}

/// Whether planted bugs are in this build; says so if they are not.
pub fn has_planted_bugs() -> bool {
    if !cfg!(feature = "mutants") {
        highwater_sim::say!("this build has no planted bugs in it; build it with --features mutants");
    }
    cfg!(feature = "mutants")
}
