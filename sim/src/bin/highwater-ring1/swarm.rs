//! What one seed is about: sizes, weights and rates, each drawn anew, so that every seed stresses another mixture.

use bytes::Bytes;
use highwater_engine::{CompactionPolicy, Expiry, GroupId, KeyRange, StoreOptions, WriteBatch};
use highwater_runtime::disk::Faults;
use highwater_runtime::rng::Rng;

/// An expiry that no log time reaches, in microseconds.
const FAR_AWAY: u64 = 1 << 60;

/// When an entry is made: what its content depends on.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// A number that tells entries apart.
    pub stamp: u64,
    /// The entry's index.
    pub index: u64,
    /// The group's log time, microseconds.
    pub now: u64,
    /// Everything that is written expires.
    pub fades: bool,
}

/// Everything that is decided before a seed is run.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// The store's sizes.
    pub options: StoreOptions,
    /// Number of groups.
    pub groups: u64,
    /// Number of keys of each group.
    pub keys: u64,
    /// Longest usual value, bytes.
    pub value: u64,
    /// Lives of the process.
    pub lives: u64,
    /// Steps of each life, about.
    pub steps: u64,
    /// One in so many operations of a batch deletes a range; 0 for none.
    pub range_deletes: u64,
    /// One in so many operations of a batch deletes a key; 0 for none.
    pub deletes: u64,
    /// Percent of appends that leave a tail uncommitted.
    pub tails: u64,
    /// Percent of entries that are only deferred.
    pub deferred: u64,
    /// Percent of appends after which Raft lets go of what is applied.
    pub releases: u64,
    /// Snapshots held at once, at most.
    pub snapshots: usize,
    /// Whether the engine's own places of misbehaviour are on.
    pub buggify: bool,
    /// Whether the disk damages silently in this seed.
    pub damaged: bool,
    /// What the disk does in ordinary lives.
    pub faults: Faults,
    /// Percent of life ends after which a bit of the disk has turned over.
    pub rot: u64,
    /// Percent of segments of a life in which the disk is nearly full.
    pub full: u64,
    /// One in so many values expires; 0 for none.
    pub expiring: u64,
    /// How long values live, microseconds of log time, about.
    pub lifetime: u64,
    /// Percent of steps at which a while begins or ends in which everything that is written expires, over what does not.
    pub fading: u64,
    /// The last group is written once in so many times that others are, and its log is let go seldom; 0 for a group like others.
    pub quiet: u64,
    /// The last group is a stream: its keys rise, all its values expire, and it is trimmed from below.
    pub stream: bool,
    /// Percent of steps at which a range is exported or replaced.
    pub transfers: u64,
    /// The driver takes no more than [`highwater_engine::Store::admission`] allows.
    pub polite: bool,
}

impl Swarm {
    /// The mixture of a seed.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed ^ 0x0051_AA77);
        let pick = |rng: &mut Rng, choices: &[u64]| {
            let at = usize::try_from(rng.below(choices.len() as u64)).unwrap_or(0);
            choices.get(at).copied().unwrap_or(0)
        };
        let size = |rng: &mut Rng, choices: &[u64]| usize::try_from(pick(rng, choices)).unwrap_or(0);
        let segment_bytes = pick(&mut rng, &[64 << 10, 64 << 10, 128 << 10]);
        let options = StoreOptions {
            memtable_bytes: size(&mut rng, &[4 << 10, 8 << 10, 16 << 10]),
            frozen_memtables: size(&mut rng, &[1, 2, 3]),
            segment_bytes,
            log_limit_bytes: pick(&mut rng, &[256 << 10, 512 << 10, 1 << 20]).max(4 * segment_bytes),
            spare_segments: size(&mut rng, &[0, 1, 2]),
            tail_cache_bytes: size(&mut rng, &[0, 4 << 10, 16 << 10]),
            seal_after_micros: pick(&mut rng, &[2_000, 20_000, 50_000]),
            block_bytes: size(&mut rng, &[512, 1 << 10, 4 << 10]),
            table_bytes: pick(&mut rng, &[4 << 10, 8 << 10, 16 << 10]),
            level_zero_trigger: size(&mut rng, &[1, 2, 4]),
            level_zero_stop: size(&mut rng, &[6, 12]),
            level_one_bytes: pick(&mut rng, &[8 << 10, 32 << 10]),
            level_ratio: pick(&mut rng, &[2, 4]),
            cache_bytes: size(&mut rng, &[0, 8 << 10, 64 << 10]),
            manifest_bytes: pick(&mut rng, &[8 << 10, 16 << 10, 32 << 10]),
            time_window_micros: pick(&mut rng, &[0, 50, 200]),
            // Groups are told apart by 4 bytes, their ranges of ten keys by 8. A generator of its own: it came last.
            filter_prefix_bytes: size(&mut Rng::new(seed ^ 0x00F1_17E2), &[0, 0, 4, 8]),
            scrub_period_micros: pick(&mut rng, &[0, 100_000, 1_000_000]),
            compaction_policy: if rng.below(3) == 0 {
                CompactionPolicy::LazyLeveled
            } else {
                CompactionPolicy::Leveled
            },
            ..StoreOptions::small()
        };
        let failing = rng.below(3) == 0;
        let damaged = rng.below(4) == 0;
        let mut rate = |choices: &[f64], on: bool| {
            let at = usize::try_from(rng.below(choices.len() as u64)).unwrap_or(0);
            choices.get(at).copied().filter(|_| on).unwrap_or(0.0)
        };
        let faults = Faults {
            read_error: rate(&[0.0, 0.001, 0.005], failing),
            write_error: rate(&[0.0, 0.001, 0.003], failing),
            sync_error: rate(&[0.0, 0.002, 0.01], failing),
            no_space: rate(&[0.0, 0.002, 0.01], failing),
            short_read: rate(&[0.0, 0.001, 0.005], failing),
            bit_rot: rate(&[0.0, 0.0, 0.002], damaged),
            misdirected_write: rate(&[0.0, 0.001, 0.003], damaged),
            lost_write: rate(&[0.0, 0.001, 0.003], damaged),
            ..Faults::crashes(seed)
        };
        Self {
            groups: 1 + rng.below(4),
            keys: pick(&mut rng, &[10, 40, 150]),
            value: pick(&mut rng, &[40, 200, 200, 1000]),
            lives: 3 + rng.below(3),
            steps: pick(&mut rng, &[40, 80, 160]),
            range_deletes: pick(&mut rng, &[0, 10, 30]),
            deletes: pick(&mut rng, &[0, 4, 8]),
            tails: pick(&mut rng, &[0, 20, 50]),
            deferred: pick(&mut rng, &[0, 0, 10]),
            releases: pick(&mut rng, &[10, 50, 100]),
            snapshots: size(&mut rng, &[1, 2, 4]),
            buggify: rng.below(2) == 0,
            rot: if damaged { pick(&mut rng, &[0, 30, 70]) } else { 0 },
            full: if failing { pick(&mut rng, &[0, 0, 30]) } else { 0 },
            expiring: pick(&mut rng, &[0, 2, 10]),
            lifetime: pick(&mut rng, &[100, 400, 2000]),
            stream: rng.below(3) == 0,
            transfers: pick(&mut rng, &[0, 2, 5]),
            polite: rng.below(3) == 0,
            fading: pick(&mut rng, &[0, 0, 4]),
            quiet: pick(&mut rng, &[0, 0, 20]),
            options,
            damaged,
            faults,
        }
    }

    /// One of the groups.
    pub fn group(&self, rng: &mut Rng) -> GroupId {
        GroupId(1 + u32::try_from(rng.below(self.groups)).unwrap_or(0))
    }

    /// One of the groups, to be written or let go.
    pub fn busy_group(&self, rng: &mut Rng) -> GroupId {
        let group = self.group(rng);
        let is_quiet = self.quiet > 0 && self.groups > 1 && u64::from(group.0) == self.groups;
        if is_quiet && rng.below(self.quiet) > 0 { GroupId(1) } else { group }
    }

    /// A key of a group.
    pub fn key(&self, rng: &mut Rng, group: GroupId) -> Bytes {
        Self::key_at(group, rng.below(self.keys))
    }

    /// The key of a number. Groups are told by four bytes, as the store's clocks tell them.
    pub fn key_at(group: GroupId, number: u64) -> Bytes {
        Self::named(group, &format!("/{number:04}"))
    }

    /// A key of a group by its name.
    pub fn named(group: GroupId, name: &str) -> Bytes {
        Bytes::from([&group.0.to_be_bytes(), name.as_bytes()].concat())
    }

    /// All keys of a group.
    pub fn range(group: GroupId) -> KeyRange {
        KeyRange::prefix(group.0.to_be_bytes().to_vec())
    }

    /// Ten neighbouring keys of a group, about.
    pub fn narrow_range(group: GroupId, tens: u64) -> KeyRange {
        KeyRange::prefix(Self::named(group, &format!("/{tens:03}")))
    }

    /// An encoded batch of a group.
    pub fn batch(&self, rng: &mut Rng, group: GroupId, at: Moment) -> Bytes {
        let mut batch = WriteBatch::new();
        if self.stream && u64::from(group.0) == self.groups {
            self.extend_stream(rng, group, at, &mut batch);
            return Bytes::from(batch.encode());
        }
        if at.fades {
            batch.put_expiring(Self::named(group, "/count"), at.stamp.to_string(), Expiry(at.now + 1));
        } else {
            batch.put(Self::named(group, "/count"), at.stamp.to_string());
        }
        for _ in 0..rng.below(6) {
            let number = rng.below(self.keys);
            let key = Self::key_at(group, number);
            if at.fades {
                batch.put_expiring(key, self.value_of(rng, at.stamp), Expiry(at.now + rng.below(self.lifetime / 4)));
            } else if self.range_deletes > 0 && rng.below(self.range_deletes) == 0 {
                if rng.below(6) == 0 {
                    batch.delete_range(Self::key_at(group, 0), Self::key_at(group, self.keys));
                } else {
                    batch.delete_range(key, Self::key_at(group, number + rng.below(self.keys / 3 + 2)));
                }
            } else if self.deletes > 0 && rng.below(self.deletes) == 0 {
                batch.delete(key);
            } else {
                let value = self.value_of(rng, at.stamp);
                if self.expiring > 0 && rng.below(self.expiring) == 0 {
                    let until = if rng.below(8) == 0 { FAR_AWAY } else { at.now + rng.below(self.lifetime) };
                    batch.put_expiring(key, value, Expiry(until));
                } else {
                    batch.put(key, value);
                }
            }
        }
        Bytes::from(batch.encode())
    }

    fn value_of(&self, rng: &mut Rng, stamp: u64) -> Vec<u8> {
        let longest = if rng.below(20) == 0 { self.value * 4 } else { self.value };
        let len = usize::try_from(rng.below(longest + 1)).unwrap_or(0);
        // Half of it repeats, so that compression has something to do.
        let text = format!("{stamp}:{:x}:", rng.next());
        text.bytes().cycle().take(len).collect()
    }

    /// Retention by time, and by range deletes from below.
    fn extend_stream(&self, rng: &mut Rng, group: GroupId, at: Moment, batch: &mut WriteBatch) {
        let offset = |index: u64, part| Self::named(group, &format!("/s{index:06}/{part}"));
        for part in 0..=rng.below(4) {
            let until = Expiry(at.now + self.lifetime + rng.below(self.lifetime / 4));
            batch.put_expiring(offset(at.index, part), self.value_of(rng, at.stamp), until);
        }
        if self.range_deletes > 0 && rng.below(self.range_deletes) == 0 {
            batch.delete_range(offset(0, 0), offset(at.index.saturating_sub(10), 0));
        }
    }
}
