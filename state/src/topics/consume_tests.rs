//! The promises of consuming: commands in, outcomes out, over a group that gets its messages from another.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;

use highwater_engine::LogIndex;
use highwater_runtime::inproc::InProcEnv;
use highwater_sql::catalog::{CatalogDelta, CatalogVersion, ObjectId, Operation, Role, Topic};
use highwater_sql::diag::SqlState;
use highwater_sql::plan::StartPosition;
use highwater_sql::value::Micros;
use quickcheck::{Arbitrary, Gen, QuickCheck};

use crate::command::{AckCommand, Command, ConsumeCommand, Deltas, Envelope, RequestHead, RequestId, TopicRecord};
use crate::group::GroupState;
use crate::outcome::{Consumed, Outcome};
use crate::placement::Layout;
use crate::topics::GroupOffset;
use crate::topics::fixtures::{run, store, topic};

const TOPIC: ObjectId = ObjectId(7);
const LAYOUT: Layout = Layout { user_shards: 1, shared_shards: 1, stores: 1 };
/// The only shared shard: every partition lives here.
const HOME: u32 = 2;
const SECOND: Micros = 1_000_000;

/// A group with one topic of two partitions, driven by commands.
struct Group {
    state: GroupState<InProcEnv>,
    now: Micros,
    sent: u64,
    entries: Vec<Vec<u8>>,
}

fn head() -> RequestHead {
    RequestHead { principal: "worker".into(), role: Role::Service, auth_epoch: 0, request: None, statement_hash: 0 }
}

fn consume(consumer: &str, start: StartPosition, limit: u32, auto_ack: bool) -> ConsumeCommand {
    ConsumeCommand {
        head: head(),
        topic: TOPIC,
        partition: 0,
        group: "g".into(),
        start,
        limit,
        max_bytes: 1 << 20,
        auto_ack,
        consumer_id: consumer.into(),
        visibility_micros: 60_000_000,
    }
}

fn ack(consumer: &str, upto: u64) -> AckCommand {
    AckCommand { head: head(), topic: TOPIC, partition: 0, group: "g".into(), consumer_id: consumer.into(), upto }
}

impl Group {
    async fn new(env: &InProcEnv) -> Self {
        let state = GroupState::open(store(env, HOME).await, HOME, LAYOUT).await.unwrap();
        let mut group = Self { state, now: 1_767_225_600_000_000, sent: 0, entries: Vec::new() };
        group.define(vec![CatalogDelta::PutTopic(topic(7, "events", 2, Vec::new()))]).await;
        group
    }

    async fn apply(&mut self, command: Command) -> Outcome {
        let data = Envelope { stamp: self.now, seed: 1, command }.encode();
        self.entries.push(data.clone());
        self.state.apply(self.state.applied().next(), &data).await.unwrap().outcome
    }

    async fn define(&mut self, deltas: Vec<CatalogDelta>) {
        let from = self.state.view().catalog().version;
        let to = CatalogVersion(from.0 + 1);
        assert_eq!(self.apply(Command::Catalog { to, from, deltas }).await, Outcome::Done);
    }

    async fn redefine(&mut self, change: impl FnOnce(&mut Topic)) {
        let mut changed = Topic::clone(&self.state.view().catalog().topics[&TOPIC]);
        change(&mut changed);
        self.define(vec![CatalogDelta::PutTopic(Arc::new(changed))]).await;
    }

    /// Messages `m<offset>` for partition 0.
    async fn feed(&mut self, count: u64) {
        let first = self.state.view().partition_bounds(TOPIC, 0).await.unwrap().to;
        let record = |offset: u64| TopicRecord {
            topic: TOPIC,
            partition: 0,
            key: Some(format!("k{offset}")),
            payload: format!("m{offset}").into_bytes(),
            timestamp: self.now,
            user: Some("ann".into()),
            operation: Operation::Insert,
        };
        let records = (first..first + count).map(record).collect();
        let deltas = Deltas { source: 1, from: self.sent, to: self.sent + 1, catalog: CatalogVersion(1), records };
        self.sent += 1;
        assert_eq!(self.apply(Command::Deltas(deltas)).await, Outcome::Inbox { upto: self.sent });
    }

    async fn consume(&mut self, command: ConsumeCommand) -> Consumed {
        match self.apply(Command::Consume(command)).await {
            Outcome::Consumed(consumed) => consumed,
            other => panic!("{other:?}"),
        }
    }

    async fn offsets(&mut self, consumer: &str, limit: u32) -> Vec<u64> {
        let consumed = self.consume(consume(consumer, StartPosition::Earliest, limit, false)).await;
        consumed.messages.iter().map(|message| message.offset).collect()
    }

    async fn ack(&mut self, consumer: &str, upto: u64) -> Option<u64> {
        match self.apply(Command::Ack(ack(consumer, upto))).await {
            Outcome::Acked { committed } => committed,
            other => panic!("{other:?}"),
        }
    }

    async fn refused(&mut self, command: Command) -> (SqlState, String) {
        let chain_before = self.state.view().group_offsets().await.unwrap();
        match self.apply(command).await {
            Outcome::Refused(diag) => {
                assert_eq!(self.state.view().group_offsets().await.unwrap(), chain_before);
                (diag.sqlstate, diag.message)
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn messages_come_whole_and_in_order() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(3).await;
        let consumed = group.consume(consume("a", StartPosition::Earliest, 2, false)).await;
        assert_eq!(consumed.messages.len(), 2);
        assert_eq!((consumed.next_offset, consumed.has_more), (2, true));
        let first = &consumed.messages[0];
        assert_eq!((first.offset, first.key.as_deref(), first.payload.as_slice()), (0, Some("k0"), b"m0".as_slice()));
        assert_eq!(
            (first.timestamp, first.user.as_deref(), first.operation),
            (group.now, Some("ann"), Operation::Insert)
        );
        let rest = group.consume(consume("b", StartPosition::Earliest, 10, false)).await;
        assert_eq!((rest.messages.len(), rest.next_offset, rest.has_more), (1, 3, false));
    });
}

#[test]
fn a_first_consume_stores_its_start_even_when_nothing_is_returned() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(5).await;
        let first = group.consume(consume("a", StartPosition::Latest, 10, true)).await;
        assert_eq!((first.messages.len(), first.next_offset, first.has_more), (0, 5, false));
        group.feed(2).await;
        let then = group.consume(consume("a", StartPosition::Latest, 10, true)).await;
        assert_eq!(then.messages.iter().map(|message| message.offset).collect::<Vec<_>>(), [5, 6]);
    });
}

#[test]
fn a_consume_of_nothing_stores_the_start_too() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(5).await;
        assert!(!group.state.view().knows_group(TOPIC, 0, "g").await.unwrap());
        let first = group.consume(consume("a", StartPosition::Earliest, 0, true)).await;
        assert_eq!((first.messages.len(), first.next_offset, first.has_more), (0, 0, true));
        assert!(group.state.view().knows_group(TOPIC, 0, "g").await.unwrap());
        let then = group.consume(consume("a", StartPosition::Latest, 1, true)).await;
        assert_eq!(then.messages[0].offset, 0);
    });
}

#[test]
fn a_known_group_goes_on_whatever_from_says() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(5).await;
        group.consume(consume("a", StartPosition::Earliest, 2, true)).await;
        let then = group.consume(consume("a", StartPosition::Latest, 1, true)).await;
        assert_eq!(then.messages[0].offset, 2);
        let then = group.consume(consume("a", StartPosition::Offset(0), 1, true)).await;
        assert_eq!(then.messages[0].offset, 3);
    });
}

#[test]
fn an_automatic_ack_is_in_the_same_step() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(3).await;
        group.consume(consume("a", StartPosition::Earliest, 2, true)).await;
        let expected =
            GroupOffset { topic: TOPIC, partition: 0, group: "g".into(), last_acked: 1, updated_at: group.now };
        assert_eq!(group.state.view().group_offsets().await.unwrap(), [expected]);
    });
}

#[test]
fn there_is_no_offset_row_before_the_first_ack() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(3).await;
        group.offsets("a", 2).await;
        assert_eq!(group.state.view().group_offsets().await.unwrap(), []);
        assert_eq!(group.ack("a", 1).await, Some(1));
        assert_eq!(group.state.view().group_offsets().await.unwrap()[0].last_acked, 1);
    });
}

#[test]
fn a_claim_that_expires_is_delivered_again_and_its_late_ack_refused() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(3).await;
        assert_eq!(group.offsets("a", 2).await, [0, 1]);
        assert_eq!(group.offsets("b", 1).await, [2]);
        assert_eq!(group.offsets("b", 2).await, Vec::<u64>::new());
        group.now += 61 * SECOND;
        assert_eq!(group.offsets("b", 2).await, [0, 1]);
        let (state, message) = group.refused(Command::Ack(ack("a", 1))).await;
        assert_eq!(state, SqlState::OBJECT_STATE);
        assert!(message.contains("\"a\"") && message.contains("\"b\"") && message.contains("0 to 1"), "{message}");
        assert_eq!(group.ack("b", 1).await, Some(1));
    });
}

#[test]
fn a_lower_ack_is_answered_with_the_present_offset() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(5).await;
        assert_eq!(group.ack("a", 3).await, Some(3));
        let row = group.state.view().group_offsets().await.unwrap();
        group.now += SECOND;
        assert_eq!(group.ack("a", 1).await, Some(3));
        assert_eq!(group.state.view().group_offsets().await.unwrap(), row, "its row is as it was");
    });
}

#[test]
fn an_ack_beyond_the_end_is_refused_and_names_the_end() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        let (state, message) = group.refused(Command::Ack(ack("a", 0))).await;
        assert_eq!(state, SqlState::OUT_OF_RANGE);
        assert!(message.contains("is empty"), "{message}");
        group.feed(5).await;
        let (state, message) = group.refused(Command::Ack(ack("a", 5))).await;
        assert_eq!(state, SqlState::OUT_OF_RANGE);
        assert!(message.contains("app.events") && message.contains("last offset is 4"), "{message}");
    });
}

#[test]
fn what_does_not_exist_or_is_not_allowed_is_refused_by_name() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        let (state, message) = group.refused(Command::Ack(AckCommand { partition: 2, ..ack("a", 0) })).await;
        assert_eq!(
            (state, message.as_str()),
            (SqlState::UNDEFINED_OBJECT, "topic app.events has no partition 2; its partitions are 0 to 1")
        );
        let (state, _) = group.refused(Command::Ack(AckCommand { topic: ObjectId(8), ..ack("a", 0) })).await;
        assert_eq!(state, SqlState::UNDEFINED_OBJECT);
        let (state, _) = group.refused(Command::Ack(AckCommand { group: String::new(), ..ack("a", 0) })).await;
        assert_eq!(state, SqlState::INVALID_PARAMETER);
        let (state, _) = group.refused(Command::Ack(AckCommand { consumer_id: "x".repeat(257), ..ack("a", 0) })).await;
        assert_eq!(state, SqlState::INVALID_PARAMETER);
        let user = RequestHead { role: Role::User, ..head() };
        let (state, _) = group.refused(Command::Ack(AckCommand { head: user.clone(), ..ack("a", 0) })).await;
        assert_eq!(state, SqlState::INSUFFICIENT_PRIVILEGE);
        let start = StartPosition::Earliest;
        let (state, _) =
            group.refused(Command::Consume(ConsumeCommand { head: user, ..consume("a", start, 1, true) })).await;
        assert_eq!(state, SqlState::INSUFFICIENT_PRIVILEGE);
    });
}

#[test]
fn a_byte_budget_cuts_the_answer_but_never_below_one_message() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(300).await;
        let command = |max_bytes| ConsumeCommand { max_bytes, ..consume("a", StartPosition::Earliest, 1000, true) };
        assert_eq!(group.consume(command(0)).await.messages.len(), 1);
        let two = group.consume(command(5)).await;
        assert_eq!((two.messages.len(), two.next_offset, two.has_more), (2, 3, true));
        let rest = group.consume(command(u32::MAX)).await;
        assert_eq!((rest.messages.len(), rest.next_offset, rest.has_more), (297, 300, false));
    });
}

#[test]
fn reads_without_a_group_store_nothing() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(200).await;
        let (view, chain) = (group.state.view(), group.state.view().chain());
        let all = view.messages(TOPIC, 0, StartPosition::Earliest, 1000, u32::MAX).await.unwrap();
        assert_eq!((all.messages.len(), all.next_offset, all.has_more), (200, 200, false));
        let some = view.messages(TOPIC, 0, StartPosition::Offset(198), 1, u32::MAX).await.unwrap();
        assert_eq!((some.messages[0].offset, some.next_offset, some.has_more), (198, 199, true));
        let none = view.messages(TOPIC, 0, StartPosition::Latest, 1, u32::MAX).await.unwrap();
        assert_eq!((none.messages.len(), none.next_offset, none.has_more), (0, 200, false));
        let beyond = view.messages(TOPIC, 0, StartPosition::Offset(500), 1, u32::MAX).await.unwrap();
        assert_eq!((beyond.messages.len(), beyond.next_offset, beyond.has_more), (0, 500, false));
        let bytes = view.messages(TOPIC, 0, StartPosition::Earliest, 1000, 5).await.unwrap();
        assert_eq!((bytes.messages.len(), bytes.next_offset, bytes.has_more), (2, 2, true));
        let empty = view.messages(TOPIC, 1, StartPosition::Earliest, 1000, 5).await.unwrap();
        assert_eq!((empty.messages.len(), empty.next_offset, empty.has_more), (0, 0, false));
        assert_eq!(group.state.view().chain(), chain);
    });
}

#[test]
fn a_consume_is_worth_a_proposal_when_it_returns_something_or_makes_the_group() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        let now = group.now;
        assert!(group.state.view().deliverable(TOPIC, 0, "g", now).await.unwrap(), "unknown");
        group.consume(consume("a", StartPosition::Latest, 1, false)).await;
        assert!(!group.state.view().deliverable(TOPIC, 0, "g", now).await.unwrap());
        group.feed(1).await;
        assert!(group.state.view().deliverable(TOPIC, 0, "g", now).await.unwrap());
        group.offsets("a", 1).await;
        assert!(!group.state.view().deliverable(TOPIC, 0, "g", now).await.unwrap(), "claimed");
        assert_eq!(group.state.view().next_expiry(TOPIC, 0, "g", now).await.unwrap(), Some(now + 60 * SECOND));
        assert!(group.state.view().deliverable(TOPIC, 0, "g", now + 60 * SECOND).await.unwrap(), "expired");
    });
}

#[test]
fn a_clear_raises_the_start_to_the_end_and_forgets_groups() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(5).await;
        group.consume(consume("a", StartPosition::Earliest, 2, true)).await;
        group.redefine(|topic| topic.clear_count += 1).await;
        let head = group.state.view().head(TOPIC, 0).await.unwrap();
        assert_eq!((head.start, head.end, head.bytes), (5, 5, 0));
        assert_eq!(group.state.view().group_offsets().await.unwrap(), []);
        group.feed(2).await;
        let then = group.consume(consume("a", StartPosition::Earliest, 10, true)).await;
        assert_eq!(then.messages.iter().map(|message| message.offset).collect::<Vec<_>>(), [5, 6], "numbering goes on");
    });
}

#[test]
fn a_change_that_is_no_clear_keeps_messages_and_groups() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(5).await;
        group.ack("a", 1).await;
        group.redefine(|topic| topic.retention_seconds = Some(60)).await;
        assert_eq!(group.state.view().partition_bounds(TOPIC, 0).await.unwrap().len(), 5);
        assert_eq!(group.state.view().group_offsets().await.unwrap().len(), 1);
    });
}

#[test]
fn a_dropped_topic_leaves_nothing() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(5).await;
        group.offsets("a", 1).await;
        group.ack("a", 3).await;
        group.define(vec![CatalogDelta::DropTopic(TOPIC)]).await;
        let view = group.state.view();
        assert_eq!(view.head(TOPIC, 0).await.unwrap().end, 0);
        assert_eq!(view.progress(TOPIC, 0, "g").await.unwrap(), None);
        assert_eq!(view.messages(TOPIC, 0, StartPosition::Earliest, 9, 9).await.unwrap().messages, []);
    });
}

#[test]
fn retention_by_age_drops_old_messages_when_new_ones_come() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.redefine(|topic| topic.retention_seconds = Some(60)).await;
        group.feed(10).await;
        group.now += 61 * SECOND;
        group.feed(1).await;
        let log = group.state.view().partition_bounds(TOPIC, 0).await.unwrap();
        assert_eq!((log.from, log.to), (4, 11), "four for each new one");
        group.feed(2).await;
        let head = group.state.view().head(TOPIC, 0).await.unwrap();
        assert_eq!((head.start, head.end), (10, 13), "what is young stays");
        assert_eq!(group.offsets("a", 10).await, [10, 11, 12]);
    });
}

#[test]
fn retention_by_size_keeps_at_least_as_much_as_it_says() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(1).await;
        let one = group.state.view().head(TOPIC, 0).await.unwrap().bytes;
        group.redefine(|topic| topic.retention_bytes = Some(3 * one)).await;
        for _ in 0..8 {
            group.feed(1).await;
        }
        let head = group.state.view().head(TOPIC, 0).await.unwrap();
        assert_eq!((head.start, head.end, head.bytes), (6, 9, 3 * one));
    });
}

#[test]
fn a_retried_consume_gets_the_first_answer() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(4).await;
        let millis = u128::try_from(group.now / 1000).unwrap();
        let request = Some(RequestId { id: millis << 80, ordinal: 0 });
        let command = ConsumeCommand {
            head: RequestHead { request, ..head() },
            ..consume("a", StartPosition::Earliest, 2, true)
        };
        let first = group.consume(command.clone()).await;
        assert_eq!(group.consume(command).await, first);
        assert_eq!(group.consume(consume("a", StartPosition::Earliest, 2, true)).await.messages[0].offset, 2);
    });
}

#[test]
fn one_request_over_several_partitions_of_a_group_has_an_answer_for_each() {
    run(async |env| {
        let mut group = Group::new(&env).await;
        group.feed(4).await;
        let request = Some(RequestId { id: u128::try_from(group.now / 1000).unwrap() << 80, ordinal: 0 });
        let of_partition = |partition| ConsumeCommand {
            head: RequestHead { request, ..head() },
            partition,
            ..consume("a", StartPosition::Earliest, 2, true)
        };
        let first = group.consume(of_partition(0)).await;
        assert_eq!(first.messages.len(), 2);
        let second = group.consume(of_partition(1)).await;
        assert_eq!(second.messages.len(), 0, "partition 1 is empty");
        assert_eq!(group.consume(of_partition(0)).await, first);
        assert_eq!(group.consume(of_partition(1)).await, second);
    });
}

/// A step of a group with some consumers.
#[derive(Clone, Debug)]
enum Step {
    Feed(u8),
    Consume { who: u8, limit: u8, auto_ack: bool },
    Ack { who: u8, upto: u8 },
    Pass(u8),
    Clear,
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let who = u8::arbitrary(g) % 3;
        match u8::arbitrary(g) % 16 {
            0..=3 => Self::Feed(u8::arbitrary(g) % 6),
            4..=8 => Self::Consume { who, limit: u8::arbitrary(g) % 5, auto_ack: u8::arbitrary(g) % 4 == 0 },
            9..=12 => Self::Ack { who, upto: u8::arbitrary(g) % 64 },
            13..=14 => Self::Pass(u8::arbitrary(g) % 90),
            _ => Self::Clear,
        }
    }
}

/// Runs the steps and checks after each that the committed offset has not fallen and lies below the end; then everything that
/// was not settled can still be had. Answers the entries and the chain.
async fn offsets_never_fall(env: &InProcEnv, steps: &[Step]) -> (Vec<Vec<u8>>, u128) {
    let mut group = Group::new(env).await;
    let mut committed = None;
    for step in steps {
        match step {
            Step::Feed(count) => group.feed(u64::from(*count)).await,
            Step::Consume { who, limit, auto_ack } => {
                let command = consume(&who.to_string(), StartPosition::Earliest, u32::from(*limit), *auto_ack);
                let consumed = group.consume(command).await;
                let offsets: Vec<u64> = consumed.messages.iter().map(|message| message.offset).collect();
                assert!(
                    offsets.is_sorted() && offsets.iter().all(|offset| committed.is_none_or(|below| *offset > below))
                );
            }
            Step::Ack { who, upto } => {
                group.apply(Command::Ack(ack(&who.to_string(), u64::from(*upto)))).await;
            }
            Step::Pass(seconds) => group.now += Micros::from(*seconds) * SECOND,
            Step::Clear => {
                group.redefine(|topic| topic.clear_count += 1).await;
                committed = None;
            }
        }
        let view = group.state.view();
        let end = view.partition_bounds(TOPIC, 0).await.unwrap().to;
        let now = view.group_offsets().await.unwrap().first().map(|row| row.last_acked);
        assert!(now >= committed && now.is_none_or(|offset| offset < end), "{committed:?} -> {now:?}, end {end}");
        committed = now;
        if let Some(progress) = view.progress(TOPIC, 0, "g").await.unwrap() {
            progress.check().unwrap();
        }
    }
    (group.entries.clone(), group.state.view().chain())
}

#[test]
fn offsets_never_fall_and_a_replay_gives_an_equal_chain() {
    fn holds(steps: Vec<Step>) -> bool {
        run(async |env| {
            let (entries, chain) = offsets_never_fall(&env, &steps).await;
            let mut replica = GroupState::open(store(&env, HOME).await, HOME, LAYOUT).await.unwrap();
            for (index, data) in (1..).zip(&entries) {
                replica.apply(LogIndex(index), data).await.unwrap();
            }
            assert_eq!(replica.view().chain(), chain);
        });
        true
    }
    QuickCheck::new().tests(100).quickcheck(holds as fn(Vec<Step>) -> bool);
}
