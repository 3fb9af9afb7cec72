//! What all clients of one cluster share, who they are, and what they work on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread::JoinHandle;

use serde_json::json;
use xxhash_rust::xxh3::xxh3_64;

use crate::client::{Client, Reply, Site};
use crate::cluster::USER_SHARDS;
use crate::gate::{Crew, Gate};
use crate::history::History;
use crate::{Failure, consumers, readers, registers, writers};

/// Partitions of the topic.
pub const PARTITIONS: u32 = 4;
/// Users with a writer and a reader each; the last ones write without request ids.
const WRITERS: usize = 10;
const WITHOUT_IDS: usize = 3;
/// Clients of the shared registers.
const SETTERS: u32 = 3;
/// Registers of a round.
pub const REGISTERS: i64 = 2;
/// Consumers of the group that acks by hand.
const CONSUMERS: u32 = 2;

/// What the clients of one cluster share.
pub struct Stage {
    pub site: Site,
    pub history: History,
    pub gate: Gate,
    /// Users whose rows are written and read; their groups alternate.
    pub writers: Vec<String>,
    /// Users whose rows are written to see since when that works again, one per group of users' rows, in order.
    pub probes: Vec<String>,
    /// Bytes of a row's text.
    pub body: usize,
    /// The first register of the present round.
    first_register: AtomicI64,
}

/// A user of this kind in this user shard, as the server places it.
fn user_in(kind: &str, shard: u32) -> String {
    (0_u32..)
        .map(|number| format!("{kind}{number}"))
        .find(|name| xxh3_64(name.as_bytes()) % u64::from(USER_SHARDS) == u64::from(shard))
        .unwrap_or_default()
}

impl Stage {
    pub fn new(site: Site, body: usize) -> Self {
        let name = |kind: &str, number: usize| {
            let shard = u32::try_from(number).unwrap_or(0) % USER_SHARDS;
            user_in(&format!("{kind}-{number}-"), shard)
        };
        Self {
            site,
            history: History::new(),
            gate: Gate::default(),
            writers: (0..WRITERS).map(|number| name("writer", number)).collect(),
            probes: (0..USER_SHARDS as usize).map(|number| name("probe", number)).collect(),
            body,
            first_register: AtomicI64::new(0),
        }
    }

    /// Everyone who has rows.
    pub fn owners(&self) -> impl Iterator<Item = &String> {
        self.writers.iter().chain(&self.probes)
    }

    /// Makes what the clients work on.
    pub fn set_up(&self) -> Result<(), Failure> {
        let mut root = Client::new(&self.site, "root", 0);
        let mut run = |sql: &str| match root.sql(sql, &json!([]), None) {
            Reply::Done(_) => Ok(()),
            other => Err(Failure::from(format!("{sql}: {other:?}"))),
        };
        run("CREATE NAMESPACE k")?;
        // The id makes a row that was inserted twice visible: it is there twice.
        run(
            "CREATE USER TABLE k.rows (n BIGINT, id BIGINT DEFAULT SNOWFLAKE_ID(), body TEXT NOT NULL, PRIMARY KEY (n, id))",
        )?;
        run("CREATE TABLE k.registers (id BIGINT PRIMARY KEY, v BIGINT NOT NULL) PARTITION BY (id)")?;
        run(&format!("CREATE TOPIC k.events PARTITIONS {PARTITIONS}"))?;
        run("ALTER TOPIC k.events ADD SOURCE k.rows ON INSERT WITH (payload = 'key')")?;
        let password = crate::client::PASSWORD;
        for user in self.owners() {
            run(&format!("CREATE USER \"{user}\" WITH PASSWORD '{password}' ROLE user"))?;
        }
        run(&format!("CREATE USER service WITH PASSWORD '{password}' ROLE service"))
    }

    /// Starts every client; answers their threads, and how many there are of the load and of all.
    pub fn enter(self: &Arc<Self>) -> (Vec<JoinHandle<()>>, usize) {
        let mut threads = Vec::new();
        let mut start = |work: Box<dyn FnOnce(&Self) + Send>| {
            let stage = Arc::clone(self);
            threads.push(std::thread::spawn(move || work(&stage)));
        };
        for number in 0..self.writers.len() {
            let with_ids = number + WITHOUT_IDS < self.writers.len();
            start(Box::new(move |stage| writers::write(stage, number, with_ids)));
        }
        for number in 0..2 {
            start(Box::new(move |stage| readers::read(stage, number, number == 1)));
        }
        for number in 0..SETTERS {
            start(Box::new(move |stage| registers::operate(stage, number)));
        }
        let load = self.writers.len() + 2 + SETTERS as usize;
        for number in 0..CONSUMERS {
            start(Box::new(move |stage| consumers::ack_by_hand(stage, number)));
        }
        start(Box::new(consumers::ack_at_once));
        (threads, load)
    }

    /// Registers of the present round.
    pub fn registers(&self) -> std::ops::Range<i64> {
        let first = self.first_register.load(Ordering::SeqCst);
        first..first + REGISTERS
    }

    /// Makes the registers of the next round, while nobody works.
    pub fn next_registers(&self) -> Result<(), Failure> {
        let next = self.registers().end;
        let mut root = Client::new(&self.site, "root", 0);
        for id in next..next + REGISTERS {
            match root.sql("INSERT INTO k.registers VALUES ($1, 0)", &json!([id]), None) {
                Reply::Done(_) => {}
                other => return Err(format!("register {id}: {other:?}").into()),
            }
        }
        self.first_register.store(next, Ordering::SeqCst);
        Ok(())
    }

    /// Passes the gate; a broken promise is the end of all work.
    pub fn goes_on(&self, crew: Crew) -> bool {
        !self.history.is_broken() && self.gate.pass(crew)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_groups_alternate_and_names_differ() {
        let stage = Stage::new(Site(vec![1]), 10);
        let shard = |user: &String| xxh3_64(user.as_bytes()) % u64::from(USER_SHARDS);
        assert_eq!(stage.writers.iter().map(shard).collect::<Vec<_>>(), [0, 1].repeat(5));
        assert_eq!(stage.probes.iter().map(shard).collect::<Vec<_>>(), [0, 1]);
        let mut names: Vec<&String> = stage.owners().collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 12);
    }
}
