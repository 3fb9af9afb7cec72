//! What a seed draws before it runs: sizes, limits, and how often each thing happens. Every seed is another world: in some
//! nothing is lost and nodes crash all the time, in others a slow disk meets a network that repeats itself.

use highwater_raft::Limits;

use crate::dice::Dice;

/// One kind of step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// One message arrives.
    #[default]
    Deliver,
    /// One node's timer ticks.
    Tick,
    /// A node's oldest write becomes durable.
    Write,
    /// A node applies some of what is committed.
    Apply,
    /// A node's driver takes what is ready.
    Drive,
    /// A command is proposed.
    Propose,
    /// A linearizable read is asked for.
    Read,
    /// A read of the log for a follower completes.
    LogRead,
    /// A snapshot that a member wants is cut and sent.
    Snapshot,
    /// A driver learns how a snapshot's transfer ended.
    Report,
    /// A node's state is flushed, and its log perhaps cut.
    Compact,
    /// A node loses power.
    Crash,
    /// A node starts again.
    Restart,
    /// Links fail: a group of nodes, one node, one link, or one direction.
    Partition,
    /// All links work again.
    Heal,
    /// A change of membership is proposed.
    Change,
    /// Leadership is handed over, or that is given up.
    Transfer,
    /// The leader may let its group sleep.
    Hibernate,
    /// A node is told that its leader's node is dead, rightly or wrongly.
    Alarm,
    /// A node campaigns without a reason.
    Campaign,
    /// An old message arrives once more.
    Stale,
    /// A node loses its disk for good; another, with another id, comes in its place.
    LoseDisk,
}

/// All of them, in the order of their weights.
pub const ACTIONS: [Action; 22] = [
    Action::Deliver,
    Action::Tick,
    Action::Write,
    Action::Apply,
    Action::Drive,
    Action::Propose,
    Action::Read,
    Action::LogRead,
    Action::Snapshot,
    Action::Report,
    Action::Compact,
    Action::Crash,
    Action::Restart,
    Action::Partition,
    Action::Heal,
    Action::Change,
    Action::Transfer,
    Action::Hibernate,
    Action::Alarm,
    Action::Campaign,
    Action::Stale,
    Action::LoseDisk,
];

/// A seed's world.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// Machines; some of them may be in no membership.
    pub slots: usize,
    /// Voters at the start.
    pub voters: usize,
    /// Learners at the start.
    pub learners: usize,
    /// Sums of the weights of [`ACTIONS`] up to each.
    pub weights: Vec<u32>,
    /// Messages lost, of a thousand.
    pub loss: u32,
    /// Messages doubled, of a thousand.
    pub doubled: u32,
    /// Messages that overtake others, of a thousand.
    pub overtaking: u32,
    /// Steps after which a driver does not look for work at once, of a thousand.
    pub lag: u32,
    /// Largest command in bytes.
    pub command: usize,
    /// Entries applied at one time, at most.
    pub apply: usize,
    /// Whether a crash keeps some of the writes that were under way.
    pub crash_keeps: bool,
    /// Machines whose clocks are slow, as bits.
    pub slow: usize,
    /// How often a flush cuts the log, of a thousand.
    pub cut: u32,
}

impl Swarm {
    /// Draws the world of a seed.
    pub fn draw(dice: &mut Dice) -> Self {
        let slots = dice.between(3, 8);
        let voters = dice.pick(&[3, 3, 3, 4, 5, 5, 6, 7]).min(slots);
        let learners = if slots > voters { dice.below((slots - voters + 1).min(3)) } else { 0 };
        let stormy = dice.chance(500);
        let mut weight = |action: Action| -> u32 {
            let (low, high, never) = match action {
                Action::Tick if stormy => (100, 500, 0),
                Action::Crash if stormy => (4, 40, 100),
                Action::Restart if stormy => (20, 100, 0),
                Action::Partition if stormy => (4, 30, 100),
                Action::Campaign | Action::Transfer if stormy => (4, 30, 200),
                Action::Deliver => (300, 700, 0),
                Action::Tick => (40, 200, 0),
                Action::Write => (60, 400, 0),
                Action::Apply => (60, 300, 0),
                Action::Drive => (100, 300, 0),
                Action::Propose => (20, 150, 50),
                Action::Read => (10, 80, 200),
                Action::LogRead | Action::Snapshot | Action::Report => (20, 100, 0),
                Action::Compact => (2, 40, 200),
                Action::Crash => (1, 12, 250),
                Action::Restart => (5, 40, 0),
                Action::Partition => (1, 10, 300),
                Action::Heal => (1, 12, 0),
                Action::Change => (1, 20, 350),
                Action::Transfer | Action::Campaign => (1, 8, 400),
                Action::Hibernate => (2, 20, 500),
                Action::Alarm => (1, 10, 300),
                Action::Stale => (2, 30, 400),
                Action::LoseDisk => (1, 2, 800),
            };
            if dice.chance(never) { 0 } else { dice.between(low, high) as u32 }
        };
        let mut sum = 0;
        let weights = ACTIONS.iter().map(|action| {
            sum += weight(*action);
            sum
        });
        let weights = weights.collect();
        Self {
            slots,
            voters,
            learners,
            weights,
            loss: if dice.chance(400) { 0 } else { dice.between(1, 300) as u32 },
            doubled: if dice.chance(500) { 0 } else { dice.between(1, 300) as u32 },
            overtaking: if dice.chance(300) { 0 } else { dice.between(1, 500) as u32 },
            lag: if dice.chance(500) { 0 } else { dice.between(1, 800) as u32 },
            command: dice.pick(&[1, 8, 64]),
            apply: dice.pick(&[1, 4, 100]),
            crash_keeps: dice.chance(600),
            slow: if dice.chance(500) { dice.below(1 << slots) } else { 0 },
            cut: dice.pick(&[0, 200, 900]),
        }
    }

    /// Draws the limits of the group's replicas into `config`.
    pub fn limit(dice: &mut Dice, limits: &mut Limits) {
        limits.heartbeat_ticks = dice.between(1, 3) as u32;
        limits.election_ticks = dice.between(5, 12) as u32;
        limits.max_uncommitted_bytes = dice.pick(&[64, 500, 10_000]);
        limits.max_ready_bytes = dice.pick(&[1, 50, 10_000]);
        limits.max_message_bytes = dice.pick(&[1, 30, 100, 10_000]);
        limits.max_inflight_messages = dice.pick(&[1, 2, 5, 64]);
        limits.max_inflight_bytes = dice.pick(&[10, 200, 100_000]);
        limits.max_retained_bytes = dice.pick(&[1, 100, 100_000]);
        limits.max_pending_reads = dice.pick(&[2, 20]);
    }

    /// Draws the next step.
    pub fn action(&self, dice: &mut Dice) -> Action {
        let total = self.weights.last().copied().unwrap_or(0);
        let drawn = dice.below(total as usize) as u32;
        let at = self.weights.partition_point(|sum| *sum <= drawn);
        ACTIONS.get(at).copied().unwrap_or_default()
    }
}
