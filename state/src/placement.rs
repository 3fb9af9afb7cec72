//! Which group holds what. Pure functions of the layout, the same on every node and for a cluster's life.

use highwater_sql::catalog::ObjectId;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

/// Numbers that are fixed when a cluster is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Groups that hold users' rows.
    pub user_shards: u32,
    /// Groups that hold shared tables and topic partitions.
    pub shared_shards: u32,
    /// Stores of this node's data folder.
    pub stores: u32,
}

/// What a group is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupRole {
    /// Definitions, users, jobs.
    Meta,
    /// The user shard of this number.
    User(u32),
    /// The shared shard of this number.
    Shared(u32),
}

/// The meta group's number. User shards follow from 1, then shared shards.
pub const META: u32 = 0;

impl Layout {
    /// All groups, meta first.
    pub fn groups(&self) -> impl Iterator<Item = u32> + use<> {
        0..1 + self.user_shards + self.shared_shards
    }

    /// What a group is for; `None` beyond the last.
    #[must_use]
    pub fn role(&self, group: u32) -> Option<GroupRole> {
        match group {
            META => Some(GroupRole::Meta),
            g if g <= self.user_shards => Some(GroupRole::User(g - 1)),
            g if g <= self.user_shards + self.shared_shards => Some(GroupRole::Shared(g - 1 - self.user_shards)),
            _ => None,
        }
    }

    /// The store that holds a group.
    #[must_use]
    pub fn store_of(&self, group: u32) -> u32 {
        match self.role(group) {
            Some(GroupRole::User(shard) | GroupRole::Shared(shard)) => shard % self.stores.max(1),
            Some(GroupRole::Meta) | None => 0,
        }
    }

    /// The group of a user's rows: XXH3-64, seed 0, of the user id's UTF-8 bytes.
    #[must_use]
    pub fn user_group(&self, user: &str) -> u32 {
        1 + bucket(xxh3_64(user.as_bytes()), self.user_shards)
    }

    /// All user shards.
    pub fn user_groups(&self) -> impl Iterator<Item = u32> + use<> {
        1..1 + self.user_shards
    }

    /// All shared shards.
    pub fn shared_groups(&self) -> impl Iterator<Item = u32> + use<> {
        1 + self.user_shards..1 + self.user_shards + self.shared_shards
    }

    /// The group of a SHARED table that is not partitioned.
    #[must_use]
    pub fn table_group(&self, table: ObjectId) -> u32 {
        self.shared_group(xxh3_64(&table.0.to_be_bytes()))
    }

    /// The group of a row of a partitioned SHARED table; `encoded` is the memcomparable encoding of its partition columns.
    #[must_use]
    pub fn partitioned_group(&self, table: ObjectId, encoded: &[u8]) -> u32 {
        let mut bytes = table.0.to_be_bytes().to_vec();
        bytes.extend_from_slice(encoded);
        self.shared_group(xxh3_64(&bytes))
    }

    /// The group of a topic's partition, with its consumer groups, offsets and claims.
    #[must_use]
    pub fn topic_group(&self, topic: ObjectId, partition: u32, incarnation: u64) -> u32 {
        let mut bytes = [0; 20];
        let (id, rest) = bytes.split_at_mut(8);
        let (number, life) = rest.split_at_mut(4);
        id.copy_from_slice(&topic.0.to_be_bytes());
        number.copy_from_slice(&partition.to_be_bytes());
        life.copy_from_slice(&incarnation.to_be_bytes());
        self.shared_group(xxh3_64(&bytes))
    }

    fn shared_group(&self, hash: u64) -> u32 {
        1 + self.user_shards + bucket(hash, self.shared_shards)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the remainder is below a u32")]
fn bucket(hash: u64, shards: u32) -> u32 {
    (hash % u64::from(shards.max(1))) as u32
}
