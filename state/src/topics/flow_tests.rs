//! The whole way of a message: writes on the groups of the rows, an unkind network, partitions on other groups.
//!
//! The promise: a message exists if and only if its change does, once, in the order of its key; and a replay or a restart of
//! any group ends where the first run did.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use highwater_engine::{LogIndex, Store};
use highwater_runtime::inproc::InProcEnv;
use highwater_sql::catalog::{
    CatalogDelta, CatalogVersion, Check, ColumnId, ObjectId, Operation, PayloadMode, Role, Source, Table, TableKind,
};
use highwater_sql::expr::{BinaryOp, Expr};
use highwater_sql::plan::{KeyBounds, StartPosition, TableAccess, WriteKind, WritePlan};
use highwater_sql::value::{DataType, Value};
use quickcheck::{Arbitrary, Gen, QuickCheck};
use serde_json::json;

use super::fixtures::{run, source, store, table, topic};
use crate::command::{Command, Deltas, Envelope, RequestHead, WriteCommand};
use crate::group::GroupState;
use crate::outcome::Outcome;
use crate::placement::Layout;

const LAYOUT: Layout = Layout { user_shards: 2, shared_shards: 2, stores: 1 };
const TABLE: ObjectId = ObjectId(1);
const TOPIC: ObjectId = ObjectId(7);
const PARTITIONS: u32 = 5;
const USERS: [&str; 4] = ["ann", "bob", "cat", "dan"];

/// A write: of the rows of a user, by key.
#[derive(Clone, Debug)]
enum Write {
    /// All rows or none; stars below -5 break a CHECK.
    Insert(Vec<(i64, i32)>),
    Update(i64, i32),
    Delete(i64),
}

#[derive(Clone, Debug)]
enum Step {
    Write {
        user: u8,
        write: Write,
    },
    /// Ship a range; `behind` and `twice` are the network's and the shipper's weather.
    Ship {
        source: u8,
        destination: u8,
        max_bytes: u16,
        behind: u8,
        twice: bool,
    },
    Trim {
        source: u8,
        destination: u8,
    },
    /// A group's process ends and starts again.
    Restart(u8),
}

impl Arbitrary for Step {
    fn arbitrary(g: &mut Gen) -> Self {
        let (source, destination) = (u8::arbitrary(g) % 2 + 1, u8::arbitrary(g) % 2 + 3);
        let key = |g: &mut Gen| i64::from(u8::arbitrary(g) % 6);
        let stars = |g: &mut Gen| i32::from(u8::arbitrary(g) % 14) - 7;
        match u8::arbitrary(g) % 16 {
            0..=9 => {
                let write = match u8::arbitrary(g) % 4 {
                    0 | 1 => {
                        let count = usize::arbitrary(g) % 3 + 1;
                        Write::Insert((0..count).map(|_| (key(g), stars(g))).collect())
                    }
                    2 => Write::Update(key(g), stars(g)),
                    _ => Write::Delete(key(g)),
                };
                Self::Write { user: u8::arbitrary(g) % 4, write }
            }
            10..=13 => Self::Ship {
                source,
                destination,
                max_bytes: u16::arbitrary(g) % 1024,
                behind: u8::arbitrary(g) % 3,
                twice: bool::arbitrary(g),
            },
            14 => Self::Trim { source, destination },
            _ => Self::Restart(u8::arbitrary(g) % 4 + 1),
        }
    }
}

fn stars_column() -> Expr {
    Expr::Column(1, DataType::Int)
}

fn int(value: i32) -> Expr {
    Expr::Literal(Value::Int(value), DataType::Int)
}

fn bigint(value: i64) -> Expr {
    Expr::Literal(Value::BigInt(value), DataType::BigInt)
}

fn binary(op: BinaryOp, left: Expr, right: Expr, data_type: DataType) -> Expr {
    Expr::Binary { op, left: Box::new(left), right: Box::new(right), data_type }
}

/// USER table (id, stars) with CHECK (stars > -6).
fn messages() -> Table {
    let expr = binary(BinaryOp::Greater, stars_column(), int(-6), DataType::Boolean);
    let check = Check { name: "messages_check".into(), expr, text: "stars > -6".into() };
    let columns = [("id", DataType::BigInt), ("stars", DataType::Int)];
    Table { kind: TableKind::User, checks: vec![check], ..table(TABLE.0, "messages", &columns, &[0]) }
}

/// `10 / stars >= 0`: an error for 0, false for negative stars.
fn filter() -> Expr {
    let quotient = binary(BinaryOp::Divide, int(10), stars_column(), DataType::Int);
    binary(BinaryOp::GreaterOrEqual, quotient, int(0), DataType::Boolean)
}

fn sources() -> Vec<Source> {
    [Operation::Insert, Operation::Update, Operation::Delete]
        .map(|operation| Source { filter: Some(filter()), ..source(TABLE.0, operation, PayloadMode::Diff) })
        .to_vec()
}

/// Groups on stores of their own, driven by entries that are kept for a replay.
struct Cluster {
    groups: BTreeMap<u32, (Rc<Store<InProcEnv>>, GroupState<InProcEnv>)>,
    entries: BTreeMap<u32, Vec<Vec<u8>>>,
    stamp: i64,
}

impl Cluster {
    async fn new(env: &InProcEnv) -> Self {
        let mut cluster = Self { groups: BTreeMap::new(), entries: BTreeMap::new(), stamp: 1_767_225_600_000_000 };
        let deltas = vec![
            CatalogDelta::PutTable(Arc::new(messages())),
            CatalogDelta::PutTopic(topic(TOPIC.0, "events", PARTITIONS, sources())),
        ];
        for group in 1..=4 {
            let store = store(env, group).await;
            let state = GroupState::open(Rc::clone(&store), group, LAYOUT).await.unwrap();
            cluster.groups.insert(group, (store, state));
            let catalog = Command::Catalog { to: CatalogVersion(1), from: CatalogVersion(0), deltas: deltas.clone() };
            assert_eq!(cluster.apply(group, catalog).await, Outcome::Done);
        }
        cluster
    }

    async fn apply(&mut self, group: u32, command: Command) -> Outcome {
        self.stamp += 1_000;
        let data = Envelope { stamp: self.stamp, seed: 1, command }.encode();
        self.entries.entry(group).or_default().push(data.clone());
        let (_, state) = self.groups.get_mut(&group).unwrap();
        state.apply(state.applied().next(), &data).await.unwrap().outcome
    }

    async fn restart(&mut self, group: u32) {
        let (store, state) = self.groups.remove(&group).unwrap();
        let (applied, chain) = (state.applied(), state.view().chain());
        drop(state);
        let state = GroupState::open(Rc::clone(&store), group, LAYOUT).await.unwrap();
        assert_eq!((state.applied(), state.view().chain()), (applied, chain));
        self.groups.insert(group, (store, state));
    }

    async fn write(&mut self, user: &str, write: &Write) -> Outcome {
        let key = |id: i64| TableAccess::Bounds(vec![KeyBounds { equal: vec![bigint(id)], lower: None, upper: None }]);
        let kind = match write {
            Write::Insert(rows) => WriteKind::Insert {
                columns: vec![ColumnId(1), ColumnId(2)],
                rows: rows.iter().map(|(id, stars)| vec![Some(bigint(*id)), Some(int(*stars))]).collect(),
                conflict: None,
            },
            Write::Update(id, stars) => WriteKind::Update {
                assignments: vec![(ColumnId(2), Some(int(*stars)))],
                access: key(*id),
                filter: None,
            },
            Write::Delete(id) => WriteKind::Delete { access: key(*id), filter: None },
        };
        let head =
            RequestHead { principal: user.into(), role: Role::User, auth_epoch: 0, request: None, statement_hash: 0 };
        let plan = WritePlan { table: TABLE, table_version: 1, kind, returning: vec![] };
        let command = WriteCommand { head, user: user.into(), plan, params: Vec::new() };
        self.apply(LAYOUT.user_group(user), Command::Write(command)).await
    }

    /// Ships one range; whether there was one.
    async fn ship(&mut self, source: u32, destination: u32, max_bytes: usize, behind: u64, twice: bool) -> bool {
        let inbox = self.groups[&destination].1.view().inbox(source);
        let view = self.groups[&source].1.view();
        let range = view.outbox_range(destination, inbox.saturating_sub(behind), max_bytes).await.unwrap();
        if range.records.is_empty() {
            return false;
        }
        let catalog = view.catalog().version;
        let deltas =
            Command::Deltas(Deltas { source, from: range.from, to: range.to, catalog, records: range.records });
        for _ in 0..=u8::from(twice) {
            let Outcome::Inbox { upto } = self.apply(destination, deltas.clone()).await else { panic!("not an inbox") };
            assert_eq!(upto, self.groups[&destination].1.view().inbox(source));
            assert!(upto >= inbox);
        }
        true
    }
}

/// A message as a consumer sees it: operation and payload.
type Seen = (Operation, serde_json::Value);

/// Rows by (user, id), and the messages that each must have caused.
#[derive(Default)]
struct Model {
    rows: BTreeMap<(usize, i64), i32>,
    messages: BTreeMap<(usize, i64), Vec<Seen>>,
}

impl Model {
    /// Whether the write goes through; its effects if so.
    fn write(&mut self, user: usize, write: &Write) -> bool {
        let changes: Vec<(i64, Option<i32>, Option<i32>)> = match write {
            Write::Insert(rows) => rows.iter().map(|(id, stars)| (*id, None, Some(*stars))).collect(),
            Write::Update(id, stars) => {
                self.rows.get(&(user, *id)).map(|old| (*id, Some(*old), Some(*stars))).into_iter().collect()
            }
            Write::Delete(id) => self.rows.get(&(user, *id)).map(|old| (*id, Some(*old), None)).into_iter().collect(),
        };
        let mut rows = self.rows.clone();
        let mut caused = Vec::new();
        for (id, old, new) in changes {
            let taken = old.is_none() && rows.contains_key(&(user, id));
            // A row with 0 stars cannot be stored, so the old row's division never fails.
            if taken || new.is_some_and(|stars| stars <= -6 || stars == 0) {
                return false;
            }
            let row = |stars: i32| json!({"id": id.to_string(), "stars": stars});
            let key = json!({"id": id.to_string()});
            let (operation, payload) = match (old, new) {
                (Some(old), Some(new)) if old == new => (Operation::Update, json!({"key": key, "old": {}, "new": {}})),
                (Some(old), Some(new)) => {
                    (Operation::Update, json!({"key": key, "old": {"stars": old}, "new": {"stars": new}}))
                }
                (old, new) => {
                    let operation = if old.is_none() { Operation::Insert } else { Operation::Delete };
                    (operation, json!({"key": key, "old": old.map(row), "new": new.map(row)}))
                }
            };
            // 10 / -11.. would round to 0; stars are above -6, so every negative quotient is below 0.
            if new.or(old).unwrap() > 0 {
                caused.push((id, (operation, payload)));
            }
            match new {
                Some(stars) => rows.insert((user, id), stars),
                None => rows.remove(&(user, id)),
            };
        }
        self.rows = rows;
        for (id, seen) in caused {
            self.messages.entry((user, id)).or_default().push(seen);
        }
        true
    }
}

async fn messages_are_what_changes_were(env: &InProcEnv, steps: &[Step]) {
    let mut cluster = Cluster::new(env).await;
    let mut model = Model::default();
    for step in steps {
        match step {
            Step::Write { user, write } => {
                let user = usize::from(*user);
                let outcome = cluster.write(USERS[user], write).await;
                let went_through = matches!(outcome, Outcome::Written(_));
                assert_eq!(went_through, model.write(user, write), "{write:?}: {outcome:?}");
            }
            Step::Ship { source, destination, max_bytes, behind, twice } => {
                let (source, destination) = (u32::from(*source), u32::from(*destination));
                cluster.ship(source, destination, usize::from(*max_bytes), u64::from(*behind), *twice).await;
            }
            Step::Trim { source, destination } => {
                let upto = cluster.groups[&u32::from(*destination)].1.view().inbox(u32::from(*source));
                let trim = Command::Trim { destination: u32::from(*destination), upto };
                assert_eq!(cluster.apply(u32::from(*source), trim).await, Outcome::Done);
            }
            Step::Restart(group) => cluster.restart(u32::from(*group)).await,
        }
    }
    for source in 1..=2 {
        for destination in 3..=4 {
            while cluster.ship(source, destination, 200, 0, false).await {}
            let view = cluster.groups[&source].1.view();
            assert_eq!(view.outbox_head(destination), cluster.groups[&destination].1.view().inbox(source));
        }
    }

    let mut found: BTreeMap<(usize, i64), Vec<Seen>> = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let home = LAYOUT.topic_group(TOPIC, partition, 1);
        let view = cluster.groups[&home].1.view();
        let consumed = view.messages(TOPIC, partition, StartPosition::Earliest, u32::MAX, u32::MAX).await.unwrap();
        for message in consumed.messages {
            let user = USERS.iter().position(|name| message.user.as_deref() == Some(*name)).unwrap();
            let id = message.key.unwrap().parse().unwrap();
            found
                .entry((user, id))
                .or_default()
                .push((message.operation, serde_json::from_slice(&message.payload).unwrap()));
        }
    }
    assert_eq!(found, model.messages);

    for (group, entries) in &cluster.entries {
        // Another name for the replica's folder; its keys carry the group's number as the first one's do.
        let store = store(env, group + 100).await;
        let mut replica = GroupState::open(store, *group, LAYOUT).await.unwrap();
        for (index, data) in (1..).zip(entries) {
            replica.apply(LogIndex(index), data).await.unwrap();
        }
        assert_eq!(replica.view().chain(), cluster.groups[group].1.view().chain());
    }
}

#[test]
fn a_message_exists_if_and_only_if_its_change_does_once_and_in_the_order_of_its_key() {
    fn holds(steps: Vec<Step>) -> bool {
        run(async |env| messages_are_what_changes_were(&env, &steps).await);
        true
    }
    QuickCheck::new().tests(60).quickcheck(holds as fn(Vec<Step>) -> bool);
}

#[test]
fn a_refused_write_leaves_no_record() {
    run(async |env| {
        let mut cluster = Cluster::new(&env).await;
        let group = LAYOUT.user_group("ann");
        for (write, state) in [
            (Write::Insert(vec![(1, 5), (2, -7)]), "23514"),
            (Write::Insert(vec![(1, 5), (2, 0)]), "22012"),
            (Write::Insert(vec![(1, 5), (1, 5)]), "23505"),
        ] {
            let Outcome::Refused(diag) = cluster.write("ann", &write).await else { panic!("{write:?} went through") };
            assert_eq!(diag.sqlstate.as_str(), state);
            assert_eq!(cluster.groups[&group].1.view().outbox_heads().count(), 0);
        }
        assert_eq!(cluster.write("ann", &Write::Insert(vec![(1, 5)])).await, Outcome::Written(1));
        assert_eq!(cluster.groups[&group].1.view().outbox_heads().count(), 1);
    });
}

#[test]
fn a_dropped_source_sends_no_more_and_a_new_one_sends_what_follows() {
    run(async |env| {
        let mut cluster = Cluster::new(&env).await;
        let group = LAYOUT.user_group("ann");
        let heads = |cluster: &Cluster| cluster.groups[&group].1.view().outbox_heads().map(|(_, head)| head).max();
        cluster.write("ann", &Write::Insert(vec![(1, 5)])).await;
        let before = heads(&cluster);
        assert!(before.is_some());
        for (version, sources, sends) in [(1, Vec::new(), false), (2, sources(), true)] {
            let deltas = vec![CatalogDelta::PutTopic(topic(TOPIC.0, "events", PARTITIONS, sources))];
            let change = Command::Catalog { from: CatalogVersion(version), to: CatalogVersion(version + 1), deltas };
            assert_eq!(cluster.apply(group, change).await, Outcome::Done);
            let id = i64::try_from(version).unwrap() + 1;
            assert_eq!(cluster.write("ann", &Write::Insert(vec![(id, 5)])).await, Outcome::Written(1));
            assert_eq!(heads(&cluster) > before, sends);
        }
    });
}
