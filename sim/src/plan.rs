//! The plan of a run: everything that is decided before it starts. Equal seeds give equal plans.
//!
//! Times are virtual. A client's operation comes `pause` microseconds after the answer to the one before; a crash comes when
//! so many writes were acknowledged, so that crashes are spread over the work however fast it goes.

use std::fmt;

use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::rng::Rng;

/// Users with rows of their own.
pub const WRITERS: usize = 4;
/// Clients that add to shared counters.
pub const ADDERS: usize = 2;
/// Shared counters.
pub const COUNTERS: i64 = 3;
/// Consumers of the group that acks by hand.
pub const CONSUMERS: usize = 2;
/// Partitions of the topic that the users' rows feed.
pub const PARTITIONS: u32 = 4;
/// Keys that a writer uses, from 0.
pub const KEYS: i64 = 48;

/// What a writer does to its own rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// One statement with these keys; refused if one is taken.
    Insert(Vec<i64>),
    /// One key.
    Update(i64),
    /// Keys from the first up to below the second, in one statement.
    UpdateRange(i64, i64),
    /// One key.
    Delete(i64),
    /// Reads one key.
    Get(i64),
    /// Reads keys from the first up to below the second.
    Scan(i64, i64),
    /// Adds 1 to a shared counter (adders only).
    Add(i64),
    /// Reads a shared counter (adders only).
    Look(i64),
}

/// How a client treats a lost answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Without a request id: an unknown outcome is looked up, never sent again.
    Once,
    /// With a request id: sent again under it until there is an answer.
    Retry,
    /// As retry, and gives up on the first answer after so many microseconds.
    Impatient(u64),
}

/// One operation of a writer or an adder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Microseconds of pause before it.
    pub pause: u64,
    /// What.
    pub action: Action,
    /// How.
    pub manner: Manner,
}

/// When the server's machine or process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Once so many writes were acknowledged.
    pub after_writes: u64,
    /// And so many microseconds have passed.
    pub delay: u64,
    /// At the completion of the so-manieth I/O from then on; at once if `None`.
    pub at_completion: Option<u64>,
    /// Power, or the process only.
    pub kind: CrashKind,
    /// Microseconds until the restart.
    pub down: u64,
    /// Crashes while recovering: each at so many I/O completions after the restart before it.
    pub during_recovery: Vec<(u64, CrashKind)>,
}

/// Everything that is decided before a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Where it came from.
    pub seed: u64,
    /// Rates of the server's disk, from the end of the set-up on.
    pub faults: Faults,
    /// A crash while the data folder is made: at this I/O completion.
    pub crash_at_birth: Option<(u64, CrashKind)>,
    /// In order of `after_writes`; at least three.
    pub crashes: Vec<Crash>,
    /// One list per writer.
    pub writers: Vec<Vec<Operation>>,
    /// One list per adder.
    pub adders: Vec<Vec<Operation>>,
    /// Microseconds between two consumes of one consumer.
    pub consume_pause: u64,
    /// Messages of one consume at most.
    pub consume_limit: u64,
    /// Probability that an ack is held back behind later ones.
    pub ack_delayed: f64,
    /// Probability that an ack is sent twice.
    pub ack_repeated: f64,
    /// Microseconds between two looks of the watcher.
    pub watch_pause: u64,
}

/// Writes that the crashes are spread over; every plan has more.
const SPREAD: u64 = 220;

impl Plan {
    /// The plan of a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x0051_3A7E_D00D);
        let faults = draw_faults(seed, &mut rng);
        let crash_at_birth = rng.chance(0.3).then(|| (rng.below(60), draw_kind(&mut rng)));
        let mut crashes: Vec<Crash> = (0..3 + rng.below(3)).map(|_| draw_crash(&mut rng)).collect();
        crashes.sort_by_key(|crash| crash.after_writes);
        let hurry = 500 + rng.below(20_000);
        let once = pick(&mut rng, &[0.0, 0.2, 0.4]);
        let impatient = pick(&mut rng, &[0.0, 0.05, 0.2]);
        let mut manners = Manners { once, impatient, hurry };
        let writers = (0..WRITERS).map(|_| draw_writer(&mut rng, &mut manners)).collect();
        let adders = (0..ADDERS).map(|_| draw_adder(&mut rng, &mut manners)).collect();
        Self {
            seed,
            faults,
            crash_at_birth,
            crashes,
            writers,
            adders,
            consume_pause: 5_000 + rng.below(60_000),
            consume_limit: 1 + rng.below(30),
            ack_delayed: pick(&mut rng, &[0.2, 0.5, 0.8]),
            ack_repeated: pick(&mut rng, &[0.0, 0.2]),
            watch_pause: 60_000 + rng.below(120_000),
        }
    }
}

fn pick<T: Copy + Default>(rng: &mut Rng, choices: &[T]) -> T {
    let at = usize::try_from(rng.below(choices.len() as u64)).unwrap_or(0);
    choices.get(at).copied().unwrap_or_default()
}

/// Rates for one seed: each kind is off in some seeds, so that every run stresses another mixture.
fn draw_faults(seed: u64, rng: &mut Rng) -> Faults {
    let errors = rng.chance(0.5);
    let mut rate = |choices: &[f64]| if errors { pick(rng, choices) } else { 0.0 };
    Faults {
        sync_error: rate(&[0.0, 0.002, 0.01]),
        short_read: rate(&[0.0, 0.0005, 0.003]),
        read_error: rate(&[0.0, 0.0, 0.001]),
        write_error: rate(&[0.0, 0.0, 0.0005]),
        no_space: rate(&[0.0, 0.0, 0.003]),
        ..Faults::crashes(seed)
    }
}

fn draw_kind(rng: &mut Rng) -> CrashKind {
    if rng.chance(0.7) { CrashKind::Power } else { CrashKind::Process }
}

fn draw_crash(rng: &mut Rng) -> Crash {
    let mut during_recovery = Vec::new();
    while during_recovery.len() < 3 && rng.chance(0.3) {
        during_recovery.push((rng.below(90), draw_kind(rng)));
    }
    Crash {
        after_writes: 5 + rng.below(SPREAD),
        delay: rng.below(40_000),
        at_completion: rng.chance(0.6).then(|| rng.below(40)),
        kind: draw_kind(rng),
        down: 1_000 + rng.below(100_000),
        during_recovery,
    }
}

struct Manners {
    once: f64,
    impatient: f64,
    hurry: u64,
}

impl Manners {
    fn draw(&mut self, rng: &mut Rng) -> Manner {
        if rng.chance(self.once) {
            Manner::Once
        } else if rng.chance(self.impatient) {
            Manner::Impatient(2_000 + rng.below(40_000))
        } else {
            Manner::Retry
        }
    }

    fn pause(&self, rng: &mut Rng) -> u64 {
        // Bursts and quiet moments.
        if rng.chance(0.5) { 0 } else { rng.below(self.hurry) }
    }
}

fn draw_writer(rng: &mut Rng, manners: &mut Manners) -> Vec<Operation> {
    let key = |rng: &mut Rng| i64::try_from(rng.below(KEYS.unsigned_abs())).unwrap_or(0);
    let mut taken = std::collections::BTreeSet::new();
    let mut operations = Vec::new();
    for _ in 0..82 {
        let present = |rng: &mut Rng, taken: &std::collections::BTreeSet<i64>| {
            let at = usize::try_from(rng.below(taken.len() as u64)).unwrap_or(0);
            taken.iter().nth(at).copied().unwrap_or(0)
        };
        let action = match rng.below(100) {
            0..40 => {
                let count = if rng.chance(0.2) { 2 + rng.below(3) } else { 1 };
                let mut keys = std::collections::BTreeSet::new();
                for _ in 0..count {
                    // A taken key now and then: the statement must be refused whole.
                    let fresh = (0..20).map(|_| key(rng)).find(|key| !taken.contains(key) && !keys.contains(key));
                    keys.insert(if rng.chance(0.05) { key(rng) } else { fresh.unwrap_or_else(|| key(rng)) });
                }
                taken.extend(keys.iter().copied());
                Action::Insert(keys.into_iter().collect())
            }
            40..68 => Action::Update(present(rng, &taken)),
            68..72 => {
                let from = key(rng);
                Action::UpdateRange(from, from + 8)
            }
            72..84 => {
                let key = present(rng, &taken);
                taken.remove(&key);
                Action::Delete(key)
            }
            84..93 => Action::Get(key(rng)),
            _ => {
                let from = key(rng);
                Action::Scan(from, from + 1 + i64::try_from(rng.below(20)).unwrap_or(0))
            }
        };
        operations.push(Operation { pause: manners.pause(rng), action, manner: manners.draw(rng) });
    }
    operations
}

fn draw_adder(rng: &mut Rng, manners: &mut Manners) -> Vec<Operation> {
    let mut operations = Vec::new();
    for _ in 0..40 {
        let counter = i64::try_from(rng.below(COUNTERS.unsigned_abs())).unwrap_or(0);
        let action = if rng.chance(0.85) { Action::Add(counter) } else { Action::Look(counter) };
        operations.push(Operation { pause: manners.pause(rng), action, manner: manners.draw(rng) });
    }
    operations
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "{:#?}", self.faults)?;
        if let Some((at, kind)) = self.crash_at_birth {
            writeln!(f, "crash at birth: {kind:?} at I/O completion {at}")?;
        }
        for crash in &self.crashes {
            let when = crash.at_completion.map_or_else(|| "at once".to_owned(), |at| format!("at I/O completion {at}"));
            writeln!(
                f,
                "crash after {:>4} writes and {:>6} us, {when}: {:?}, down {} us, then {:?}",
                crash.after_writes, crash.delay, crash.kind, crash.down, crash.during_recovery
            )?;
        }
        let lists =
            self.writers.iter().map(|list| ("writer", list)).chain(self.adders.iter().map(|list| ("adder", list)));
        for (number, (who, list)) in lists.enumerate() {
            for operation in list {
                writeln!(
                    f,
                    "{who} {number} +{:>6} us  {:?}  {:?}",
                    operation.pause, operation.action, operation.manner
                )?;
            }
        }
        writeln!(
            f,
            "consume every {} us, at most {}; acks delayed {}, repeated {}; watch every {} us",
            self.consume_pause, self.consume_limit, self.ack_delayed, self.ack_repeated, self.watch_pause
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_seed_has_one_plan() {
        assert_eq!(Plan::draw(7), Plan::draw(7));
        assert_ne!(Plan::draw(7), Plan::draw(8));
    }

    #[test]
    fn every_plan_has_three_crashes_and_writes_enough() {
        for seed in 0..300 {
            let plan = Plan::draw(seed);
            assert!(plan.crashes.len() >= 3);
            let writes = |list: &Vec<Operation>| {
                list.iter()
                    .filter(|operation| {
                        !matches!(operation.action, Action::Get(_) | Action::Scan(..) | Action::Look(_))
                    })
                    .count()
            };
            let all: usize = plan.writers.iter().chain(&plan.adders).map(writes).sum();
            assert!(all > 280, "seed {seed}: {all}");
        }
    }

    #[test]
    fn every_fault_is_off_in_some_plans_and_on_in_others() {
        let rates: Vec<Faults> = (0..200).map(|seed| Plan::draw(seed).faults).collect();
        let kinds: [fn(&Faults) -> f64; 10] = [
            |faults| faults.lose_unsynced,
            |faults| faults.keep_subset,
            |faults| faults.torn_block,
            |faults| faults.lose_names,
            |faults| faults.sync_error,
            |faults| faults.short_read,
            |faults| faults.reorder,
            |faults| faults.stall,
            |faults| faults.read_error,
            |faults| faults.write_error,
        ];
        for (number, kind) in kinds.iter().enumerate() {
            assert!(rates.iter().any(|faults| kind(faults) == 0.0), "kind {number} is never off");
            assert!(rates.iter().any(|faults| kind(faults) > 0.0), "kind {number} is never on");
        }
    }
}
