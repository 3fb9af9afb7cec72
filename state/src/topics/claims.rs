//! Claims: which offsets of one partition a consumer group has settled, and who holds the rest for how long.
//!
//! Owns the arithmetic of one (group, partition) as values in, values out; reading messages and storing rows is
//! [`super::consume`]'s. The line of offsets is cut like this:
//!
//! ```text
//!   settled for good   | settled, claimed and free ranges | free
//!   0 .................| floor ...........................| ...... end
//! ```
//!
//! Invariants ([`Progress::check`]): `floor` and `committed` never fall; settled ranges and claims are sorted, not empty,
//! do not overlap each other and lie at or above `floor`; settled ranges do not touch each other or `floor`.
//! Time is log time only: a claim is live while `now < until`.

use highwater_sql::plan::StartPosition;
use highwater_sql::value::Micros;
use serde::{Deserialize, Serialize};

/// Most claims that a group may hold open in one partition, counted as separate ranges.
pub const MAX_CLAIMS: usize = 512;

/// Most settled ranges kept above the committed prefix of one partition.
pub const MAX_SETTLED: usize = 512;

/// Most former owners that a claim remembers by name; beyond it everyone but the owner counts as one.
pub const MAX_FORMER_OWNERS: usize = 8;

/// A half-open range of offsets, `from` included, `to` not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offsets {
    /// First offset.
    pub from: u64,
    /// One past the last offset.
    pub to: u64,
}

impl Offsets {
    /// The range; an empty one when `to <= from`.
    #[must_use]
    pub const fn new(from: u64, to: u64) -> Self {
        Self { from, to }
    }

    /// Whether nothing is in it.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.to <= self.from
    }

    /// How many offsets are in it.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    /// Whether the offset is in it.
    #[must_use]
    pub const fn contains(&self, offset: u64) -> bool {
        self.from <= offset && offset < self.to
    }

    /// What both have in common; may be empty.
    #[must_use]
    pub fn common(&self, other: &Self) -> Self {
        Self { from: self.from.max(other.from), to: self.to.min(other.to) }
    }
}

/// A range that a consumer holds until a log time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// What is held.
    pub range: Offsets,
    /// Who holds it.
    pub owner: String,
    /// Log time at which it expires: live before, free for others from then on.
    pub until: Micros,
    /// Consumers whose expired claims on this range were handed on, sorted, at most [`MAX_FORMER_OWNERS`].
    pub former: Vec<String>,
    /// There were more former owners than are remembered by name.
    pub former_forgotten: bool,
}

impl Claim {
    /// Whether nobody else may have the range yet.
    #[must_use]
    pub const fn live(&self, now: Micros) -> bool {
        now < self.until
    }

    fn was_taken_from(&self, consumer: &str) -> bool {
        self.owner != consumer && (self.former_forgotten || self.former.iter().any(|name| name == consumer))
    }

    fn same_but_range(&self, other: &Self) -> bool {
        self.owner == other.owner
            && self.until == other.until
            && self.former == other.former
            && self.former_forgotten == other.former_forgotten
    }
}

/// Why a claim or an ack changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The ack names an offset that no message has yet.
    BeyondEnd {
        /// One past the last message.
        end: u64,
    },
    /// The acking consumer's claim expired and its range was given to another.
    HandedOn {
        /// Who has it now.
        owner: String,
        /// What was handed on.
        range: Offsets,
    },
    /// More than [`MAX_CLAIMS`] ranges would be claimed.
    TooManyClaims,
    /// More than [`MAX_SETTLED`] separate ranges would be settled above the committed prefix.
    TooManySettled,
}

/// How an ack goes wrong on purpose, to measure the simulation; never in a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedAck {
    /// Bug 32: offsets are simply overwritten.
    LastWriteWins,
    /// Bug 34: it is taken though the range was handed on.
    OfLostClaim,
    /// Bug 35: what others hold is settled too.
    OverClaims,
}

impl PlantedAck {
    /// Those with a number.
    pub const ALL: [(u32, Self); 3] = [(32, Self::LastWriteWins), (34, Self::OfLostClaim), (35, Self::OverClaims)];
}

/// How far a group has come in one partition. A stored format: fields are only appended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Everything below is settled, was before the group's start, or has left the log.
    pub floor: u64,
    /// The last offset of the longest settled prefix, as acks have moved it; `None` before the first that did.
    pub committed: Option<u64>,
    /// Settled ranges above `floor`.
    pub settled: Vec<Offsets>,
    /// Claimed ranges, live or expired.
    pub claims: Vec<Claim>,
    /// Log time of the last ack, or of the creation.
    pub updated_at: Micros,
}

/// What a partition's log holds: offsets from the first kept to one past the last.
pub type Log = Offsets;

impl Progress {
    /// A new group that starts at `start`; an offset below the log's first one starts there, one beyond the end waits for it.
    #[must_use]
    pub fn starting(start: StartPosition, log: Log, now: Micros) -> Self {
        Self {
            floor: start_offset(start, log),
            committed: None,
            settled: Vec::new(),
            claims: Vec::new(),
            updated_at: now,
        }
    }

    /// What this group could be given now, in offset order and at most `limit` offsets: neither settled nor under anyone's
    /// live claim. Expired claims are free for all, their former owner included.
    #[must_use]
    pub fn free(&self, log: Log, now: Micros, limit: u64) -> Vec<Offsets> {
        let mut free = Vec::new();
        let mut left = limit;
        let mut cursor = self.floor.max(log.from);
        for taken in self.taken(now) {
            if left == 0 {
                return free;
            }
            take(&mut free, &mut left, Offsets::new(cursor, taken.from.min(log.to)));
            cursor = cursor.max(taken.to);
        }
        take(&mut free, &mut left, Offsets::new(cursor, log.to));
        free
    }

    /// Gives `ranges` (a prefix of what [`Self::free`] returned for the same `now`) to `consumer` until `until`.
    ///
    /// # Errors
    /// [`Refusal::TooManyClaims`]; nothing has changed then.
    pub fn claim(&mut self, consumer: &str, ranges: &[Offsets], until: Micros) -> Result<(), Refusal> {
        let mut next: Vec<Claim> = self.claims.iter().flat_map(|claim| cut_claim(claim, ranges)).collect();
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            self.take_over(consumer, *range, until, &mut next);
        }
        next.sort_by_key(|claim| claim.range.from);
        next.dedup_by(|later, earlier| {
            let joins = earlier.range.to == later.range.from && earlier.same_but_range(later);
            if joins {
                earlier.range.to = later.range.to;
            }
            joins
        });
        if next.len() > MAX_CLAIMS {
            return Err(Refusal::TooManyClaims);
        }
        self.claims = next;
        Ok(())
    }

    /// Pushes claims of `consumer` that cover `range`: one per expired claim that it replaces, and the gaps between them.
    fn take_over(&self, consumer: &str, range: Offsets, until: Micros, into: &mut Vec<Claim>) {
        let fresh =
            |range| Claim { range, owner: consumer.to_owned(), until, former: Vec::new(), former_forgotten: false };
        let mut cursor = range.from;
        for old in &self.claims {
            let common = old.range.common(&range);
            if common.is_empty() {
                continue;
            }
            if cursor < common.from {
                into.push(fresh(Offsets::new(cursor, common.from)));
            }
            let mut claim = fresh(common);
            claim.former = old.former.iter().filter(|name| *name != consumer).cloned().collect();
            claim.former_forgotten = old.former_forgotten;
            if old.owner != consumer {
                if claim.former.len() < MAX_FORMER_OWNERS {
                    claim.former.push(old.owner.clone());
                    claim.former.sort();
                    claim.former.dedup();
                } else {
                    claim.former_forgotten = true;
                }
            }
            into.push(claim);
            cursor = common.to;
        }
        if cursor < range.to {
            into.push(fresh(Offsets::new(cursor, range.to)));
        }
    }

    /// Settles everything at or below `upto` except ranges under another consumer's live claim, and answers the committed
    /// offset after it. A lower ack moves nothing.
    ///
    /// # Errors
    /// [`Refusal::BeyondEnd`], [`Refusal::HandedOn`] (`upto` lies in a range that was `consumer`'s, expired and was given to
    /// another who has not settled it), [`Refusal::TooManySettled`]; nothing has changed then.
    pub fn ack(
        &mut self,
        consumer: &str,
        upto: u64,
        log: Log,
        now: Micros,
        planted: Option<PlantedAck>,
    ) -> Result<Option<u64>, Refusal> {
        if upto >= log.to {
            return Err(Refusal::BeyondEnd { end: log.to });
        }
        if planted == Some(PlantedAck::LastWriteWins) {
            *self = Self {
                floor: upto + 1,
                committed: Some(upto),
                settled: Vec::new(),
                claims: Vec::new(),
                updated_at: now,
            };
            return Ok(self.committed);
        }
        if upto < self.floor {
            return Ok(self.committed);
        }
        if let Some(claim) =
            self.claims.iter().find(|claim| claim.range.contains(upto) && claim.was_taken_from(consumer))
            && planted != Some(PlantedAck::OfLostClaim)
        {
            return Err(Refusal::HandedOn { owner: claim.owner.clone(), range: claim.range });
        }
        let mut ranges = Vec::new();
        let mut cursor = self.floor;
        let is_anothers =
            |claim: &&Claim| claim.owner != consumer && claim.live(now) && planted != Some(PlantedAck::OverClaims);
        for claim in self.claims.iter().filter(is_anothers) {
            push_range(&mut ranges, Offsets::new(cursor, claim.range.from.min(upto + 1)));
            cursor = cursor.max(claim.range.to);
        }
        push_range(&mut ranges, Offsets::new(cursor, upto + 1));
        self.settle(&ranges, log, now)?;
        Ok(self.committed)
    }

    /// Settles exactly `ranges`, which must be sorted: what an automatic ack does with what it delivered.
    ///
    /// # Errors
    /// [`Refusal::TooManySettled`]; nothing has changed then.
    pub fn settle(&mut self, ranges: &[Offsets], log: Log, now: Micros) -> Result<(), Refusal> {
        let mut all: Vec<Offsets> =
            self.settled.iter().chain(ranges).copied().filter(|range| !range.is_empty()).collect();
        all.sort_by_key(|range| range.from);
        let mut floor = self.floor.max(log.from);
        let mut settled: Vec<Offsets> = Vec::new();
        for range in all {
            match settled.last_mut() {
                _ if range.from <= floor => floor = floor.max(range.to),
                Some(last) if range.from <= last.to => last.to = last.to.max(range.to),
                Some(_) | None => settled.push(range),
            }
        }
        if settled.len() > MAX_SETTLED {
            return Err(Refusal::TooManySettled);
        }
        if floor > self.floor {
            self.committed = Some(floor - 1);
        }
        let below = [Offsets::new(0, floor)];
        self.claims = self
            .claims
            .iter()
            .flat_map(|claim| cut_claim(claim, ranges))
            .flat_map(|claim| cut_claim(&claim, &below))
            .collect();
        self.floor = floor;
        self.settled = settled;
        self.updated_at = now;
        Ok(())
    }

    /// The earliest log time at which a live claim expires, if any is live.
    #[must_use]
    pub fn next_expiry(&self, now: Micros) -> Option<Micros> {
        self.claims.iter().filter(|claim| claim.live(now)).map(|claim| claim.until).min()
    }

    /// Where the next consume looks first: the first offset that is neither settled nor under a live claim.
    #[must_use]
    pub fn next_offset(&self, log: Log, now: Micros) -> u64 {
        self.free(Offsets::new(log.from, u64::MAX), now, 1).first().map_or(self.floor, |range| range.from)
    }

    /// The invariants of the type, as a sentence when one is broken.
    ///
    /// # Errors
    /// Which one.
    pub fn check(&self) -> Result<(), &'static str> {
        if self.committed.is_some_and(|committed| committed >= self.floor) {
            return Err("the committed offset is not below the floor");
        }
        let mut edge = self.floor;
        let mut first = true;
        for range in &self.settled {
            if range.is_empty()
                || range.from < edge
                || (range.from == edge && !first)
                || (first && range.from == self.floor)
            {
                return Err("settled ranges are not sorted, apart and above the floor");
            }
            edge = range.to;
            first = false;
        }
        let mut edge = self.floor;
        for claim in &self.claims {
            if claim.range.is_empty() || claim.range.from < edge {
                return Err("claims are not sorted, apart and above the floor");
            }
            if self.settled.iter().any(|range| !range.common(&claim.range).is_empty()) {
                return Err("a claim covers a settled offset");
            }
            edge = claim.range.to;
        }
        if self.claims.len() > MAX_CLAIMS || self.settled.len() > MAX_SETTLED {
            return Err("more ranges than the limit");
        }
        Ok(())
    }

    /// What cannot be given to anyone at `now`, sorted.
    fn taken(&self, now: Micros) -> Vec<Offsets> {
        let live = self.claims.iter().filter(|claim| claim.live(now)).map(|claim| claim.range);
        let mut taken: Vec<Offsets> = self.settled.iter().copied().chain(live).collect();
        taken.sort_by_key(|range| range.from);
        taken
    }
}

/// The offset that a start position means for a log.
#[must_use]
pub fn start_offset(start: StartPosition, log: Log) -> u64 {
    match start {
        StartPosition::Latest => log.to,
        StartPosition::Earliest => log.from,
        StartPosition::Offset(offset) => offset.max(log.from),
    }
}

/// Appends what is left of the limit to `free`.
fn take(free: &mut Vec<Offsets>, left: &mut u64, range: Offsets) {
    let len = range.len().min(*left);
    push_range(free, Offsets::new(range.from, range.from.saturating_add(len)));
    *left -= len;
}

/// Appends a range unless it is empty; joins it to the one before when they touch.
fn push_range(ranges: &mut Vec<Offsets>, range: Offsets) {
    match ranges.last_mut() {
        _ if range.is_empty() => {}
        Some(last) if last.to == range.from => last.to = range.to,
        Some(_) | None => ranges.push(range),
    }
}

/// What is left of a claim outside `ranges` (sorted, apart).
fn cut_claim(claim: &Claim, ranges: &[Offsets]) -> Vec<Claim> {
    let mut left = Vec::new();
    let mut cursor = claim.range.from;
    let mut keep = |from: u64, to: u64| {
        if from < to {
            left.push(Claim { range: Offsets::new(from, to), ..claim.clone() });
        }
    };
    for range in ranges.iter().filter(|range| !range.common(&claim.range).is_empty()) {
        keep(cursor, range.from.min(claim.range.to));
        cursor = cursor.max(range.to);
    }
    keep(cursor, claim.range.to);
    left
}

#[cfg(test)]
#[path = "claims_tests.rs"]
mod tests;
