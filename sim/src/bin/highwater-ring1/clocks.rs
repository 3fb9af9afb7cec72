//! Log times of groups, as the simulated driver knows them; they outlive the process, since they come from the log.

use std::collections::BTreeMap;

use highwater_engine::{Expiry, GroupId};

/// The log time of every group in microseconds; 0 for groups whose time nobody has told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clocks(BTreeMap<GroupId, u64>);

impl Clocks {
    /// A group's time.
    pub fn now(&self, group: GroupId) -> u64 {
        self.0.get(&group).copied().unwrap_or(0)
    }

    /// Lets a group's time go on.
    pub fn advance(&mut self, group: GroupId, micros: u64) {
        *self.0.entry(group).or_default() += micros;
    }

    /// Every group with a time.
    pub fn iter(&self) -> impl Iterator<Item = (GroupId, u64)> + '_ {
        self.0.iter().map(|(group, micros)| (*group, *micros))
    }

    /// Whether a value of this key that expires then has expired. The key begins with its group's four bytes, big-endian.
    pub fn has_expired(&self, key: &[u8], expires_at: Expiry) -> bool {
        let group = key.first_chunk::<4>().map(|bytes| GroupId(u32::from_be_bytes(*bytes)));
        group.and_then(|group| self.0.get(&group)).is_some_and(|now| expires_at.0 <= *now)
    }
}
