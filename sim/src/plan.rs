//! The plan of a run: everything that is decided before it starts. Equal seeds give equal plans.
//!
//! Times are virtual. A client's operation comes `pause` microseconds after the answer to the one before; a crash comes when
//! so many writes were acknowledged, so that crashes are spread over the work however fast it goes.

use std::fmt;

use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::rng::Rng;

use crate::trouble::{Surroundings, Target, draw_target};

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
/// Clients that set and read shared registers.
pub const SETTERS: usize = 3;
/// Shared registers.
pub const REGISTERS: i64 = 4;
/// Keys that a writer uses, from 0.
pub const KEYS: i64 = 48;

/// Groups of the simulated database: that of the metadata, three of users' rows, three of shared ones.
pub const GROUPS: u32 = 7;

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
    /// Sets a shared register to a value that nobody else sets (setters only).
    Set(i64),
    /// Reads a shared register (setters only).
    Peek(i64),
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
    /// It was left out.
    pub is_left_out: bool,
}

/// When a server's machine or process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crash {
    /// Whose.
    pub target: Target,
    /// Once so many writes were acknowledged.
    pub after_writes: u64,
    /// And so many microseconds have passed.
    pub delay: u64,
    /// At the completion of the so-manieth I/O from then on; at once if `None`.
    pub at_completion: Option<u64>,
    /// Power, or the process only.
    pub kind: CrashKind,
    /// \[P8\] Instead, the process is asked to stop, at once.
    pub is_asked: bool,
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
    /// Servers: 1, 3 or 5.
    pub nodes: usize,
    /// What only clusters have.
    pub surroundings: Surroundings,
    /// Rates of the servers' disks, from the end of the set-up on.
    pub faults: Faults,
    /// A crash while a data folder is made: at this I/O completion.
    pub crash_at_birth: Option<(u64, CrashKind)>,
    /// In order of `after_writes`; at least three.
    pub crashes: Vec<Crash>,
    /// One list per writer.
    pub writers: Vec<Vec<Operation>>,
    /// One list per adder.
    pub adders: Vec<Vec<Operation>>,
    /// One list per setter.
    pub setters: Vec<Vec<Operation>>,
    /// Microseconds of pause before each round of the definer.
    pub definitions: Vec<u64>,
    /// Microseconds of pause before each round of the shaper.
    pub shapes: Vec<u64>,
    /// Microseconds of pause before each payment, one list per payer.
    pub payments: [Vec<u64>; 2],
    /// Probability that a client asks another node though the last one answered.
    pub wander: f64,
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
    /// Something was left out: a run may then show little.
    pub is_partial: bool,
}

/// Writes that the crashes are spread over; every plan has more.
const SPREAD: u64 = 220;

impl Plan {
    /// The plan of a seed, for so many servers, or for one, three or five as the seed will have it.
    #[must_use]
    pub fn draw(seed: u64, nodes: Option<usize>) -> Self {
        let mut cluster = Rng::new(seed.wrapping_mul(0xD134_2543_DE82_EF95) ^ 0x00C1_0572);
        let drawn = if cluster.chance(0.7) { 3 } else { 1 };
        let mut larger = Rng::new(seed.wrapping_mul(0xFF51_AFD7_ED55_8CCD) ^ 0x5_0DE5);
        let drawn = if drawn == 3 && larger.chance(0.15) { 5 } else { drawn };
        let nodes = nodes.unwrap_or(drawn);
        let mut surroundings = Surroundings::draw(&mut cluster, nodes, SPREAD);
        let mut administrator = Rng::new(seed.wrapping_mul(0xA076_1D64_78BD_642F) ^ 0x0AD1_2157);
        surroundings.draw_orders(&mut administrator, nodes, GROUPS, SPREAD);
        let mut shaper = Rng::new(seed.wrapping_mul(0xC2B2_AE3D_27D4_EB4F) ^ 0x005A_9E0F);
        let mut rng = Rng::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x0051_3A7E_D00D);
        let faults = draw_faults(seed, &mut rng);
        let crash_at_birth = rng.chance(0.3).then(|| (rng.below(60), draw_kind(&mut rng)));
        let mut crashes: Vec<Crash> = (0..3 + rng.below(3)).map(|_| draw_crash(&mut rng)).collect();
        // Not one of the first three: those must be crashes.
        for crash in crashes.iter_mut().skip(3) {
            crash.is_asked = cluster.chance(0.7);
        }
        crashes.sort_by_key(|crash| crash.after_writes);
        if nodes > 1 {
            for crash in &mut crashes {
                crash.target = if cluster.chance(0.15) { Target::All } else { draw_target(&mut cluster, nodes) };
                // Long enough that the others elect and go on, now and then.
                if cluster.chance(0.5) {
                    crash.down += 500_000 + cluster.below(5_000_000);
                }
            }
        }
        let hurry = 500 + rng.below(20_000);
        let once = pick(&mut rng, &[0.0, 0.2, 0.4]);
        let impatient = pick(&mut rng, &[0.0, 0.05, 0.2]);
        let mut manners = Manners { once, impatient, hurry };
        let writers = (0..WRITERS).map(|_| draw_writer(&mut rng, &mut manners)).collect();
        let adders = (0..ADDERS).map(|_| draw_adder(&mut rng, &mut manners)).collect();
        let setters = (0..SETTERS).map(|_| draw_setter(&mut cluster, &mut manners)).collect();
        Self {
            seed,
            nodes,
            surroundings,
            setters,
            definitions: (0..3 + cluster.below(6)).map(|_| cluster.below(400_000)).collect(),
            shapes: (0..1 + shaper.below(3)).map(|_| shaper.below(2_000_000)).collect(),
            payments: [(), ()].map(|()| (0..6 + shaper.below(14)).map(|_| shaper.below(500_000)).collect()),
            wander: pick(&mut cluster, &[0.0, 0.1, 0.5]),
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
            is_partial: false,
        }
    }

    /// The parts that may be left out, by name: crashes, troubles, clients, and what is wrong with disks, links and clocks.
    #[must_use]
    pub fn parts(&self) -> Vec<String> {
        let numbered = |name: &str, count: usize| (0..count).map(|at| format!("{name}{at}")).collect::<Vec<_>>();
        let mut parts: Vec<String> =
            ["disk", "links", "clocks", "birth", "dead", "wander", "definer", "shaper", "payers"]
                .into_iter()
                .map(str::to_owned)
                .collect();
        parts.extend(["rot", "probes"].map(str::to_owned));
        parts.extend(numbered("trouble", self.surroundings.disturbances.len()));
        parts.extend(numbered("order", self.surroundings.orders.len()));
        parts.extend(numbered("crash", self.crashes.len()));
        parts.extend(numbered("writer", self.writers.len()));
        parts.extend(numbered("adder", self.adders.len()));
        parts.extend(numbered("setter", self.setters.len()));
        parts
    }

    /// The operations of a client, as parts that may be left out: the client's name, a dot, a number. None of what is no client.
    #[must_use]
    pub fn operations_of(&self, client: &str) -> Vec<String> {
        let count = self.clone().list(client).map_or(0, |list| list.len());
        (0..count).map(|at| format!("{client}.{at}")).collect()
    }

    fn list(&mut self, client: &str) -> Option<&mut Vec<Operation>> {
        let name = client.trim_end_matches(|digit: char| digit.is_ascii_digit());
        let number = client.get(name.len()..)?.parse::<usize>().ok()?;
        let lists = match name {
            "writer" => &mut self.writers,
            "adder" => &mut self.adders,
            "setter" => &mut self.setters,
            _ => return None,
        };
        lists.get_mut(number)
    }

    /// `client` with the dot behind it.
    fn operation(&mut self, client: &str, at: usize) -> Option<&mut Operation> {
        self.list(client.strip_suffix('.')?)?.get_mut(at)
    }

    /// Leaves a part out. What is left keeps its number: an event that is left out comes never, a client has nothing to do.
    ///
    /// # Errors
    /// There is no such part.
    pub fn leave_out(&mut self, part: &str) -> Result<(), String> {
        let unknown = || format!("the plan has no part '{part}'; it has {}", self.parts().join(", "));
        let name = part.trim_end_matches(|digit: char| digit.is_ascii_digit());
        let number = part.get(name.len()..).and_then(|digits| digits.parse::<usize>().ok());
        let error = unknown();
        match (name, number) {
            ("disk", None) => self.faults = Faults::none(),
            ("links", None) => {
                self.surroundings.links.clear();
                self.surroundings.client_link = highwater_runtime::network::Link::sound();
            }
            ("clocks", None) => self.surroundings.skews.clear(),
            ("birth", None) => self.crash_at_birth = None,
            ("dead", None) => self.surroundings.stays_down = None,
            ("wander", None) => self.wander = 0.0,
            ("definer", None) => self.definitions.clear(),
            ("shaper", None) => self.shapes.clear(),
            ("payers", None) => self.payments.iter_mut().for_each(Vec::clear),
            ("rot", None) => self.surroundings.rots = false,
            ("probes", None) => self.surroundings.probes = false,
            ("order", Some(at)) => self.surroundings.orders.get_mut(at).ok_or(error)?.after_writes = u64::MAX,
            ("trouble", Some(at)) => {
                self.surroundings.disturbances.get_mut(at).ok_or(error)?.after_writes = u64::MAX;
            }
            ("crash", Some(at)) => self.crashes.get_mut(at).ok_or(error)?.after_writes = u64::MAX,
            ("writer", Some(at)) => self.writers.get_mut(at).ok_or(error)?.clear(),
            ("adder", Some(at)) => self.adders.get_mut(at).ok_or(error)?.clear(),
            ("setter", Some(at)) => self.setters.get_mut(at).ok_or(error)?.clear(),
            (client, Some(at)) if client.contains('.') => self.operation(client, at).ok_or(error)?.is_left_out = true,
            _ => return Err(error),
        }
        self.is_partial = true;
        Ok(())
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
        target: Target::Node(0),
        after_writes: 5 + rng.below(SPREAD),
        delay: rng.below(40_000),
        at_completion: rng.chance(0.6).then(|| rng.below(40)),
        kind: draw_kind(rng),
        is_asked: false,
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
        operations.push(Operation { pause: manners.pause(rng), action, manner: manners.draw(rng), is_left_out: false });
    }
    operations
}

fn draw_adder(rng: &mut Rng, manners: &mut Manners) -> Vec<Operation> {
    let mut operations = Vec::new();
    for _ in 0..40 {
        let counter = i64::try_from(rng.below(COUNTERS.unsigned_abs())).unwrap_or(0);
        let action = if rng.chance(0.85) { Action::Add(counter) } else { Action::Look(counter) };
        operations.push(Operation { pause: manners.pause(rng), action, manner: manners.draw(rng), is_left_out: false });
    }
    operations
}

fn draw_setter(rng: &mut Rng, manners: &mut Manners) -> Vec<Operation> {
    let mut operations = Vec::new();
    for _ in 0..40 {
        let register = i64::try_from(rng.below(REGISTERS.unsigned_abs())).unwrap_or(0);
        let action = if rng.chance(0.5) { Action::Set(register) } else { Action::Peek(register) };
        operations.push(Operation { pause: manners.pause(rng), action, manner: manners.draw(rng), is_left_out: false });
    }
    operations
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, {} node(s)", self.seed, self.nodes)?;
        writeln!(f, "{:#?}", self.faults)?;
        if let Some((at, kind)) = self.crash_at_birth {
            writeln!(f, "crash at birth: {kind:?} at I/O completion {at}")?;
        }
        for crash in &self.crashes {
            let when = crash.at_completion.map_or_else(|| "at once".to_owned(), |at| format!("at I/O completion {at}"));
            let when = if crash.is_asked { "asked to stop instead".to_owned() } else { when };
            writeln!(
                f,
                "crash after {:>4} writes and {:>6} us, {when}: {:?} of {:?}, down {} us, then {:?}",
                crash.after_writes, crash.delay, crash.kind, crash.target, crash.down, crash.during_recovery
            )?;
        }
        if self.nodes > 1 {
            for trouble in &self.surroundings.disturbances {
                writeln!(
                    f,
                    "trouble after {:>4} writes and {:>6} us, for {} us: {:?}",
                    trouble.after_writes, trouble.delay, trouble.lasts, trouble.trouble
                )?;
            }
            for ordered in &self.surroundings.orders {
                writeln!(f, "order after {:>4} writes: {:?}", ordered.after_writes, ordered.order)?;
            }
            for (from, to, link) in &self.surroundings.links {
                writeln!(f, "from node {from} to node {to}: {link:?}")?;
            }
            let Surroundings { client_link, skews, stays_down, loses_disk, bad_disk, keeps_log, rots, probes, .. } =
                &self.surroundings;
            writeln!(f, "to and from clients: {client_link:?}\nclocks: {skews:?}")?;
            writeln!(
                f,
                "stays down: {stays_down:?}, having lost its disk: {loses_disk}; errors on the disk of node {bad_disk}, bits turned over: {rots}; wander {}; clients aim at who is cut off: {probes}",
                self.wander
            )?;
            writeln!(f, "the log is kept for those who lack it: {keeps_log}")?;
        }
        let named =
            |name, lists: &Vec<Vec<Operation>>| lists.iter().map(|list| (name, list.clone())).collect::<Vec<_>>();
        let lists = [named("writer", &self.writers), named("adder", &self.adders), named("setter", &self.setters)];
        let lists = lists.into_iter().flatten();
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
        assert_eq!(Plan::draw(7, None), Plan::draw(7, None));
        assert_ne!(Plan::draw(7, None), Plan::draw(8, None));
        assert_eq!(Plan::draw(7, Some(1)).writers, Plan::draw(7, Some(3)).writers);
    }

    #[test]
    fn there_are_lone_nodes_and_clusters_and_every_kind_of_crash_in_them() {
        let plans: Vec<Plan> = (0..100).map(|seed| Plan::draw(seed, None)).collect();
        let clusters: Vec<&Plan> = plans.iter().filter(|plan| plan.nodes > 1).collect();
        assert!(clusters.iter().any(|plan| plan.nodes == 5));
        assert!((50..90).contains(&clusters.len()));
        let hits = |target: Target| clusters.iter().any(|plan| plan.crashes.iter().any(|crash| crash.target == target));
        assert!(hits(Target::All) && hits(Target::Leader) && (0..3).all(|node| hits(Target::Node(node))));
    }

    #[test]
    fn servers_are_asked_to_stop_in_some_plans() {
        let asked = |seed| Plan::draw(seed, None).crashes.iter().any(|crash| crash.is_asked);
        assert!((30..80).contains(&(0..100).filter(|seed| asked(*seed)).count()));
    }

    #[test]
    fn every_part_of_a_plan_can_be_left_out() {
        let mut plan = Plan::draw(5, Some(3));
        for part in plan.parts() {
            plan.leave_out(&part).unwrap();
        }
        assert!(plan.is_partial && plan.writers.iter().all(Vec::is_empty) && plan.faults == Faults::none());
        let mut plan = Plan::draw(5, Some(3));
        assert!(plan.operations_of("disk").is_empty() && plan.operations_of("adder0").len() == 40);
        plan.leave_out("writer1.3").unwrap();
        assert!(plan.writers[1][3].is_left_out && !plan.writers[0][3].is_left_out);
        for unknown in ["crash", "crash99", "disk0", "", "7", "writer1.99", "writer9.1", "crash0.1", ".1"] {
            assert!(plan.leave_out(unknown).is_err(), "{unknown}");
        }
    }

    #[test]
    fn every_plan_has_three_crashes_and_writes_enough() {
        for seed in 0..300 {
            let plan = Plan::draw(seed, None);
            assert!(plan.crashes.iter().filter(|crash| !crash.is_asked).count() >= 3);
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
        let rates: Vec<Faults> = (0..200).map(|seed| Plan::draw(seed, None).faults).collect();
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
