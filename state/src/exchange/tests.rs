//! The promises of the exchange between simulated groups: whatever the network does, each record arrives once and in order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;

use highwater_runtime::inproc::InProcEnv;
use highwater_sql::catalog::{Catalog, CatalogVersion, ObjectId, Operation};
use highwater_sql::diag::SqlState;
use quickcheck::{Arbitrary, Gen, QuickCheck};

use super::position::{OUTBOX_LIMIT_BYTES, OutboxPosition};
use super::positions::Positions;
use super::{inbox, outbox, record_bytes};
use crate::command::{Deltas, TopicRecord};
use crate::error::Abort;
use crate::topics::fixtures::{Bench, run, topic};
use crate::topics::{Outgoing, partition};

const TOPIC: u64 = 7;
const PARTITIONS: u32 = 3;

fn catalog() -> Catalog {
    let mut catalog = Catalog { version: CatalogVersion(5), ..Catalog::default() };
    catalog.topics.insert(ObjectId(TOPIC), topic(TOPIC, "events", PARTITIONS, Vec::new()));
    catalog
}

fn record(partition: u32, key: &str, payload: &str) -> TopicRecord {
    TopicRecord {
        topic: ObjectId(TOPIC),
        partition,
        key: Some(key.to_owned()),
        payload: payload.as_bytes().to_vec(),
        timestamp: 1,
        user: None,
        operation: Operation::Insert,
    }
}

fn to(destination: u32, records: Vec<TopicRecord>) -> Outgoing {
    let mut outgoing = Outgoing::new();
    for record in records {
        outgoing.push(destination, record);
    }
    outgoing
}

fn range(source: u32, from: u64, to: u64, records: Vec<TopicRecord>) -> Deltas {
    Deltas { source, from, to, catalog: CatalogVersion(5), records }
}

/// What a partition of the destination holds, oldest first.
async fn payloads(group: &Bench, partition: u32) -> Vec<String> {
    let messages = group.messages(ObjectId(TOPIC), partition).await;
    messages.into_iter().map(|(_, message)| String::from_utf8(message.payload).unwrap()).collect()
}

impl Bench {
    async fn append(&mut self, outgoing: Outgoing) -> Result<u64, Abort> {
        let catalog = catalog();
        self.apply(async |txn| outbox::append(txn, &catalog, outgoing).await.map(|()| txn.index().0)).await
    }

    async fn take(&mut self, deltas: &Deltas) -> Result<u64, Abort> {
        let catalog = catalog();
        self.apply(async |txn| inbox::take(txn, &catalog, 1, deltas).await).await
    }

    async fn trim(&mut self, destination: u32, upto: u64) -> Result<(), Abort> {
        self.apply(async |txn| outbox::trim(txn, destination, upto).await).await
    }

    async fn position(&self, destination: u32) -> OutboxPosition {
        Positions::load(&self.reader(), self.keys).await.unwrap().outbox(destination)
    }

    async fn range(&self, destination: u32, after: u64, max_bytes: usize) -> super::OutboxRange {
        outbox::range(&self.reader(), self.keys, destination, after, max_bytes).await.unwrap()
    }
}

#[test]
fn a_range_taken_once_is_dropped_the_next_time() {
    run(async |env: InProcEnv| {
        let mut group = Bench::new(&env, 9).await;
        let deltas = range(1, 0, 4, vec![record(0, "k", "a"), record(0, "k", "b")]);
        assert_eq!(group.take(&deltas).await, Ok(4));
        assert_eq!(group.take(&deltas).await, Ok(4));
        assert_eq!(payloads(&group, 0).await, ["a", "b"]);
    });
}

#[test]
fn a_range_that_would_leave_a_gap_is_refused_with_the_place_to_go_on() {
    run(async |env: InProcEnv| {
        let mut group = Bench::new(&env, 9).await;
        group.take(&range(1, 0, 4, vec![record(0, "k", "a")])).await.unwrap();
        assert_eq!(group.take(&range(1, 6, 8, vec![record(0, "k", "c")])).await, Ok(4));
        assert_eq!(group.take(&range(1, 2, 8, vec![record(0, "k", "c")])).await, Ok(4), "an overlap too");
        assert_eq!(payloads(&group, 0).await, ["a"]);
    });
}

#[test]
fn sources_have_inboxes_of_their_own() {
    run(async |env: InProcEnv| {
        let mut group = Bench::new(&env, 9).await;
        group.take(&range(1, 0, 4, vec![record(0, "k", "a")])).await.unwrap();
        assert_eq!(group.take(&range(2, 0, 1, vec![record(0, "k", "b")])).await, Ok(1));
        let positions = Positions::load(&group.reader(), group.keys).await.unwrap();
        assert_eq!((positions.inbox(1), positions.inbox(2), positions.inbox(3)), (4, 1, 0));
        assert_eq!(payloads(&group, 0).await, ["a", "b"]);
    });
}

#[test]
fn a_range_of_a_newer_catalog_waits_for_it() {
    run(async |env: InProcEnv| {
        let mut group = Bench::new(&env, 9).await;
        let deltas = Deltas { catalog: CatalogVersion(6), ..range(1, 0, 4, vec![record(0, "k", "a")]) };
        assert_eq!(group.take(&deltas).await, Err(Abort::Stale));
        assert_eq!(payloads(&group, 0).await, Vec::<String>::new());
    });
}

#[test]
fn records_of_a_dropped_topic_are_dropped_and_the_inbox_goes_on() {
    run(async |env: InProcEnv| {
        let mut group = Bench::new(&env, 9).await;
        let gone = TopicRecord { topic: ObjectId(99), ..record(0, "k", "x") };
        let outside = record(PARTITIONS, "k", "x");
        assert_eq!(group.take(&range(1, 0, 4, vec![gone, record(0, "k", "a"), outside])).await, Ok(4));
        assert_eq!(payloads(&group, 0).await, ["a"]);
    });
}

#[test]
fn a_range_holds_whole_entries_and_always_one() {
    run(async |env: InProcEnv| {
        let mut group = Bench::new(&env, 1).await;
        for entry in ["a", "b", "c"] {
            let records = (0..3).map(|n| record(0, "k", &format!("{entry}{n}"))).collect();
            group.append(to(9, records)).await.unwrap();
        }
        let entry_bytes = 3 * record_bytes(&record(0, "k", "a0")) as usize;
        let texts = |range: &super::OutboxRange| {
            range.records.iter().map(|r| String::from_utf8(r.payload.clone()).unwrap()).collect::<Vec<_>>().join(" ")
        };
        let first = group.range(9, 0, 1).await;
        assert_eq!((first.from, first.to, texts(&first).as_str()), (0, 1, "a0 a1 a2"));
        let two = group.range(9, 0, 2 * entry_bytes).await;
        assert_eq!((two.from, two.to, texts(&two).as_str()), (0, 2, "a0 a1 a2 b0 b1 b2"));
        let almost = group.range(9, 0, 2 * entry_bytes - 1).await;
        assert_eq!((almost.to, almost.records.len()), (1, 3));
        let rest = group.range(9, 1, usize::MAX).await;
        assert_eq!((rest.from, rest.to, texts(&rest).as_str()), (1, 3, "b0 b1 b2 c0 c1 c2"));
        let nothing = group.range(9, 3, usize::MAX).await;
        assert_eq!((nothing.from, nothing.to, nothing.records.len()), (3, 3, 0));
        let other = group.range(8, 0, usize::MAX).await;
        assert_eq!((other.to, other.records.len()), (0, 0));
    });
}

#[test]
fn a_trim_forgets_what_arrived_and_frees_its_bytes() {
    run(async |env: InProcEnv| {
        let mut group = Bench::new(&env, 1).await;
        for entry in ["a", "b", "c"] {
            group.append(to(9, vec![record(0, "k", entry)])).await.unwrap();
        }
        let one = record_bytes(&record(0, "k", "a"));
        assert_eq!(group.position(9).await.waiting_bytes(), 3 * one);
        group.trim(9, 2).await.unwrap();
        let position = group.position(9).await;
        assert_eq!((position.head, position.trimmed, position.waiting_bytes()), (3, 2, one));
        let left = group.range(9, 0, usize::MAX).await;
        assert_eq!(
            (left.from, left.to, left.records.len()),
            (2, 3, 1),
            "a range never begins before what was forgotten"
        );
        group.trim(9, 1).await.unwrap();
        assert_eq!(group.position(9).await, position, "a lower trim changes nothing");
        group.trim(9, 3).await.unwrap();
        assert_eq!(group.position(9).await.waiting_bytes(), 0);
        assert!(!group.position(9).await.waiting());
    });
}

#[test]
fn a_trim_beyond_what_was_made_is_refused() {
    run(async |env: InProcEnv| {
        let mut group = Bench::new(&env, 1).await;
        group.append(to(9, vec![record(0, "k", "a")])).await.unwrap();
        assert!(matches!(group.trim(9, 2).await, Err(Abort::Refused(diag)) if diag.sqlstate == SqlState::INTERNAL));
        assert_eq!(group.range(9, 0, usize::MAX).await.records.len(), 1);
        assert_eq!(group.trim(8, 0).await, Ok(()), "nothing to forget is fine");
    });
}

#[test]
fn a_full_outbox_refuses_the_write_and_names_the_topic() {
    run(async |env: InProcEnv| {
        let mut group = Bench::new(&env, 1).await;
        let big = "x".repeat(10 << 20);
        for _ in 0..6 {
            group.append(to(9, vec![record(0, "k", &big)])).await.unwrap();
        }
        let Err(Abort::Refused(diag)) = group.append(to(9, vec![record(0, "k", &big)])).await else {
            panic!("not refused")
        };
        assert_eq!(diag.sqlstate, SqlState::OVERLOADED);
        assert!(diag.message.contains("app.events") && diag.message.contains("group 9"), "{}", diag.message);
        assert!(group.position(9).await.waiting_bytes() <= OUTBOX_LIMIT_BYTES);
        assert!(group.append(to(8, vec![record(0, "k", &big)])).await.is_ok(), "other destinations go on");
        group.trim(9, 1).await.unwrap();
        assert!(group.append(to(9, vec![record(0, "k", &big)])).await.is_ok());
    });
}

#[test]
fn a_record_counts_at_least_what_its_encoded_form_has() {
    fn holds(
        topic: u64,
        partition: u32,
        key: Option<String>,
        payload: Vec<u8>,
        timestamp: i64,
        user: Option<String>,
    ) -> bool {
        let record = TopicRecord {
            topic: ObjectId(topic),
            partition,
            key,
            payload,
            timestamp,
            user,
            operation: Operation::Delete,
        };
        postcard::to_allocvec(&record).unwrap().len() as u64 <= record_bytes(&record)
    }
    QuickCheck::new().quickcheck(holds as fn(u64, u32, Option<String>, Vec<u8>, i64, Option<String>) -> bool);
    assert!(holds(u64::MAX, u32::MAX, Some("k".repeat(70_000)), vec![0; 70_000], i64::MIN, Some("u".repeat(70_000))));
}

/// A step of a run with two sources and two destinations.
#[derive(Clone, Debug)]
enum Step {
    /// A source derives records for both destinations, each for (destination, partition).
    Write { source: u8, places: Vec<(bool, u8)> },
    /// A shipper that believes the inbox to be `behind` entries back sends a range.
    Send { source: u8, destination: u8, behind: u8, max_bytes: u16 },
    /// The network delivers one of the sent ranges, perhaps again, perhaps out of order.
    Deliver { which: u16, keep: bool },
    /// The source learns where the inbox stands, and forgets.
    Trim { source: u8, destination: u8 },
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let (source, destination) = (u8::arbitrary(g) % 2, u8::arbitrary(g) % 2);
        match u8::arbitrary(g) % 10 {
            0..=3 => {
                let count = usize::arbitrary(g) % 5;
                let places = (0..count).map(|_| (bool::arbitrary(g), u8::arbitrary(g) % PARTITIONS as u8)).collect();
                Self::Write { source, places }
            }
            4..=5 => {
                Self::Send { source, destination, behind: u8::arbitrary(g) % 4, max_bytes: u16::arbitrary(g) % 512 }
            }
            6..=8 => Self::Deliver { which: u16::arbitrary(g), keep: bool::arbitrary(g) },
            _ => Self::Trim { source, destination },
        }
    }
}

async fn inbox_of(group: &Bench, source: u32) -> u64 {
    Positions::load(&group.reader(), group.keys).await.unwrap().inbox(source)
}

/// Runs the steps, then delivers what is left; every record must then be there once, per source in order.
async fn every_record_arrives_once_in_order(env: InProcEnv, steps: Vec<Step>) {
    let mut sources = [Bench::new(&env, 1).await, Bench::new(&env, 2).await];
    let mut destinations = [Bench::new(&env, 3).await, Bench::new(&env, 4).await];
    let mut expected: BTreeMap<(usize, u32, usize), Vec<String>> = BTreeMap::new();
    let mut network: Vec<(usize, Deltas)> = Vec::new();
    let mut number = 0;
    for step in steps {
        match step {
            Step::Write { source, places } => {
                let source = usize::from(source);
                let mut outgoing = Outgoing::new();
                for (destination, partition) in places {
                    let (destination, partition) = (usize::from(destination), u32::from(partition));
                    let payload = format!("{source}:{number}");
                    number += 1;
                    outgoing.push(destination as u32 + 3, record(partition, "k", &payload));
                    expected.entry((destination, partition, source)).or_default().push(payload);
                }
                sources[source].append(outgoing).await.unwrap();
            }
            Step::Send { source, destination, behind, max_bytes } => {
                let (source, destination) = (usize::from(source), usize::from(destination));
                let inbox = inbox_of(&destinations[destination], source as u32 + 1).await;
                let after = inbox.saturating_sub(u64::from(behind));
                let sent = sources[source].range(destination as u32 + 3, after, usize::from(max_bytes)).await;
                network.push((destination, range(source as u32 + 1, sent.from, sent.to, sent.records)));
            }
            Step::Deliver { which, keep } => {
                if let Some(at) = usize::from(which).checked_rem(network.len()) {
                    let (destination, deltas) = if keep { network[at].clone() } else { network.swap_remove(at) };
                    destinations[destination].take(&deltas).await.unwrap();
                }
            }
            Step::Trim { source, destination } => {
                let inbox = inbox_of(&destinations[usize::from(destination)], u32::from(source) + 1).await;
                sources[usize::from(source)].trim(u32::from(destination) + 3, inbox).await.unwrap();
            }
        }
    }
    for source in &sources {
        for destination in &mut destinations {
            loop {
                let (from, to) = (source.keys.group(), destination.keys.group());
                let sent = source.range(to, inbox_of(destination, from).await, 100).await;
                if sent.to == sent.from {
                    break;
                }
                let deltas = range(from, sent.from, sent.to, sent.records);
                assert_eq!(destination.take(&deltas).await, Ok(deltas.to));
            }
        }
    }
    for (at, destination) in destinations.iter().enumerate() {
        for partition in 0..PARTITIONS {
            let found = payloads(destination, partition).await;
            for source in 0..2 {
                let of_source: Vec<_> =
                    found.iter().filter(|text| text.starts_with(&format!("{source}:"))).cloned().collect();
                assert_eq!(of_source, expected.remove(&(at, partition, source)).unwrap_or_default());
            }
            let head = destination.head(ObjectId(TOPIC), partition).await;
            assert_eq!((head.start, head.end), (0, found.len() as u64));
        }
    }
}

#[test]
fn lost_repeated_and_reordered_deliveries_end_with_every_record_once_and_in_source_order() {
    fn holds(steps: Vec<Step>) -> bool {
        run(async |env: InProcEnv| every_record_arrives_once_in_order(env, steps.clone()).await);
        true
    }
    QuickCheck::new().tests(150).quickcheck(holds as fn(Vec<Step>) -> bool);
}

#[test]
fn a_partition_without_a_message_has_an_empty_head() {
    run(async |env: InProcEnv| {
        let mut group = Bench::new(&env, 9).await;
        let head = group.apply(async |txn| partition::head(txn, ObjectId(TOPIC), 0).await).await;
        assert_eq!(head, Ok(partition::Head::default()));
    });
}
