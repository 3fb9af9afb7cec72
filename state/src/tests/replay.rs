//! Determinism: the same entries give the same state, however often, and through crashes.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use highwater_engine::{GroupId, Incarnation, IngestOptions, KeyRange, LogIndex, Store, Term};
use highwater_runtime::disk::{CrashKind, Faults};
use highwater_runtime::inproc::{InProcEnv, Sim};
use highwater_sql::catalog::{Column, ColumnId, Operation, Role, TableKind};
use highwater_sql::expr::Expr;
use highwater_sql::plan::{
    ConflictAction, ConflictTarget, Ddl, OnConflict, StartPosition, TableAccess, TableChange, TableSpec, WriteKind,
};
use highwater_sql::value::{DataType, Value};
use quickcheck::{Arbitrary, Gen, QuickCheck};

use super::cluster::{
    Cluster, LAYOUT, Passing, SECOND, SHARED, START, USERS, delete, ids, insert, literal, options, run, spec, update,
};
use crate::command::{AckCommand, Command, ConsumeCommand, MetaCommand, RequestId};
use crate::group::GroupState;
use crate::keys::Keys;
use crate::outcome::Outcome;

/// Something that a cluster does, drawn from few values so that things meet.
#[derive(Clone, Debug)]
enum Act {
    Insert(u8, u8, bool),
    Update(u8, u8, u8),
    Delete(u8, u8, u8),
    Publish(u8),
    Consume(u8),
    Ack(u8),
    Ship,
    Clock(u32),
    CreateTable(u8),
    DropTable(u8),
    ClearTopic,
    AlterUser(u8),
    Noop(u8),
    Flush,
    Upsert(u8, u8),
    Truncate,
    CreateIndex(u8),
    DropIndex(u8),
    Pass(u8),
    EndPass,
    AddColumn(u8),
    DropColumn,
}

impl Arbitrary for Act {
    fn arbitrary(g: &mut Gen) -> Self {
        let (a, b, c) = (u8::arbitrary(g), u8::arbitrary(g) % 24, u8::arbitrary(g) % 24);
        match u8::arbitrary(g) % 36 {
            0..=5 => Self::Insert(a, b, bool::arbitrary(g)),
            6..=7 => Self::Update(a, b, c),
            8 => Self::Delete(a, b, c),
            9..=11 => Self::Publish(b),
            12..=13 => Self::Consume(a % 3),
            14 => Self::Ack(b),
            15..=16 => Self::Ship,
            17 => Self::Clock(u32::arbitrary(g) % 400),
            18 => Self::CreateTable(a % 3),
            19 => Self::DropTable(a % 3),
            20 => Self::ClearTopic,
            21 => Self::AlterUser(a % 2),
            22 => Self::Noop(a % 3),
            24..=26 => Self::Upsert(a, b),
            27 => Self::Truncate,
            28..=29 => Self::CreateIndex(a % 3),
            30 => Self::DropIndex(a % 3),
            31..=32 => Self::Pass(b),
            33 => Self::EndPass,
            34 => Self::AddColumn(a),
            35 => Self::DropColumn,
            _ => Self::Flush,
        }
    }
}

fn user(n: u8) -> &'static str {
    if n.is_multiple_of(2) { "ann" } else { "bob" }
}

impl Cluster {
    async fn act(&mut self, act: &Act) {
        self.now += 1000;
        match *act {
            Act::Insert(who, id, request) => {
                let kind = insert(&[(i64::from(id), "a"), (i64::from(id) + 1, "b")]);
                let id = if request { Some(self.id_at(0, u128::from(id))) } else { None };
                let mut command = self.write_command(user(who), if who > 200 { "events" } else { "mine" }, kind);
                command.head.request = id.map(|id| RequestId { id, ordinal: 0 });
                self.apply(USERS, Command::Write(command)).await;
            }
            Act::Update(who, from, to) => {
                let text = literal(Value::Text(format!("{from}")));
                self.write(user(who), "mine", update(ids(i64::from(from), i64::from(to)), 3, text)).await;
            }
            Act::Delete(who, from, to) => {
                self.write(user(who), "mine", delete(ids(i64::from(from), i64::from(to)))).await;
            }
            Act::Publish(id) => {
                self.write("svc", "ours", insert(&[(i64::from(id), "m")])).await;
                self.write("svc", "ours", delete(TableAccess::Full)).await;
            }
            Act::Consume(consumer) => {
                let command = ConsumeCommand {
                    head: self.head("svc"),
                    topic: self.topic(),
                    partition: 0,
                    group: "g".into(),
                    start: StartPosition::Earliest,
                    limit: 3,
                    max_bytes: 1 << 20,
                    auto_ack: consumer == 0,
                    consumer_id: format!("c{consumer}"),
                    visibility_micros: 5_000_000,
                };
                self.apply(SHARED, Command::Consume(command)).await;
            }
            Act::Ack(upto) => {
                let head = self.head("svc");
                let (topic, group, consumer_id) = (self.topic(), "g".to_owned(), "c1".to_owned());
                let command = AckCommand { head, topic, partition: 0, group, consumer_id, upto: u64::from(upto) };
                self.apply(SHARED, Command::Ack(command)).await;
            }
            Act::Ship => {
                for source in [USERS, SHARED] {
                    self.ship(source).await;
                    let upto = self.groups[&SHARED].view().inbox(source);
                    self.apply(source, Command::Trim { destination: SHARED, upto }).await;
                }
            }
            Act::Clock(seconds) => self.now += i64::from(seconds) * SECOND,
            Act::CreateTable(n) => {
                let table = spec(&format!("t{n}"), TableKind::Shared);
                self.ddl("dba", Ddl::CreateTable { table, if_not_exists: n == 0 }).await;
            }
            Act::DropTable(n) => {
                self.ddl("dba", Ddl::DropTable { namespace: "app".into(), name: format!("t{n}"), if_exists: n == 0 })
                    .await;
            }
            Act::ClearTopic => {
                let topic = self.topic();
                self.ddl("dba", Ddl::ClearTopic { topic }).await;
            }
            Act::AlterUser(n) => {
                let head = self.head("root");
                let (name, role) = (user(n).to_owned(), if n == 0 { Role::User } else { Role::Service });
                self.meta(MetaCommand::AlterUser { head, name, verifier: None, role: Some(role), email: None }).await;
            }
            Act::Noop(group) => {
                self.log_noop(u32::from(group)).await;
            }
            Act::Flush => self.store.flush().await.unwrap(),
            Act::Upsert(who, id) => {
                let text = format!("{}", who % 5);
                let WriteKind::Insert { columns, rows, .. } = insert(&[(i64::from(id), &text)]) else { return };
                let excluded = Expr::Column(self.table("mine").columns.len() as u32 + 2, DataType::Text);
                let action = ConflictAction::Update { assignments: vec![(ColumnId(3), Some(excluded))], filter: None };
                let conflict = Some(OnConflict { target: ConflictTarget::Key, action });
                self.write(user(who), "mine", WriteKind::Insert { columns, rows, conflict }).await;
            }
            Act::Truncate => {
                self.write("svc", "ours", WriteKind::Truncate).await;
            }
            Act::CreateIndex(n) => {
                let columns: &[u32] = [&[3][..], &[4, 3], &[3]][usize::from(n)];
                let ddl = self.index_ddl("mine", &format!("i{n}"), columns, n == 2);
                self.ddl("dba", ddl).await;
            }
            Act::DropIndex(n) => {
                let (namespace, name) = ("app".to_owned(), format!("i{n}"));
                self.ddl("dba", Ddl::DropIndex { namespace, name, if_exists: true }).await;
            }
            Act::Pass(rows) => {
                self.pass("mine", u32::from(rows)).await;
            }
            Act::EndPass => {
                self.end_pass("mine").await;
            }
            Act::AddColumn(n) => {
                let default = (n % 2 == 0).then(|| literal(Value::Int(i32::from(n))));
                let column = Column { default, ..Column::new(0, "more", DataType::Int) };
                self.alter_mine(TableChange::AddColumn(Box::new(column))).await;
            }
            Act::DropColumn => {
                let more =
                    self.table("mine").columns.iter().find(|column| column.name == "more").map(|column| column.id);
                if let Some(column) = more {
                    self.alter_mine(TableChange::DropColumn(column)).await;
                }
            }
        }
    }

    async fn alter_mine(&mut self, change: TableChange) {
        let mine = self.table("mine");
        self.ddl("dba", Ddl::AlterTable { table: mine.id, table_version: mine.version, change }).await;
    }

    async fn log_noop(&mut self, group: u32) {
        self.log(group, &[]).await;
        let state = self.groups.get_mut(&group).unwrap();
        assert_eq!(state.apply(state.applied().next(), &[]).await.unwrap().outcome, Outcome::Done);
    }

    fn topic(&self) -> highwater_sql::catalog::ObjectId {
        self.groups[&SHARED].view().catalog().topic("app", "events").unwrap().id
    }

    async fn busy(env: &InProcEnv) -> Self {
        let mut cluster = Self::with_tables(env).await;
        cluster.create_table(TableSpec { ttl_seconds: Some(300), ..spec("events", TableKind::Stream) }).await;
        let (mine, ours) = (cluster.table("mine").id, cluster.table("ours").id);
        let topic = cluster.create_topic(mine, &[Operation::Insert, Operation::Update, Operation::Delete]).await;
        let source = super::cluster::source(ours, Operation::Insert);
        cluster.define(Ddl::AddSource { topic, table_version: 1, source }).await;
        cluster
    }
}

type Contents = Vec<Vec<(Bytes, Bytes)>>;

async fn all_contents(cluster: &Cluster) -> Contents {
    let mut contents = Vec::new();
    for group in LAYOUT.groups() {
        contents.push(cluster.contents(group).await);
    }
    contents
}

/// Applies what `entries` hold beyond what the groups of a store have, reopening a group now and then.
async fn replay(store: Rc<Store<InProcEnv>>, entries: &BTreeMap<u32, Vec<Vec<u8>>>, reopen_every: usize) -> Cluster {
    let mut groups = BTreeMap::new();
    for group in LAYOUT.groups() {
        let mut state = GroupState::open(Rc::clone(&store), group, LAYOUT).await.unwrap();
        let applied = usize::try_from(state.applied().0).unwrap();
        for (n, data) in entries.get(&group).into_iter().flatten().enumerate().skip(applied) {
            state.apply(LogIndex(n as u64 + 1), data).await.unwrap();
            if (n + 1) % reopen_every == 0 {
                state = GroupState::open(Rc::clone(&store), group, LAYOUT).await.unwrap();
            }
        }
        groups.insert(group, state);
    }
    Cluster { store, groups, now: START, seed: 0, entries: BTreeMap::new(), passing: Passing::default() }
}

#[test]
fn indexes_are_what_the_rows_make_them_after_every_step() {
    fn holds(acts: Vec<Act>) -> bool {
        run(async |env| {
            let mut cluster = Cluster::busy(&env).await;
            cluster.act(&Act::CreateIndex(0)).await;
            for act in &acts {
                cluster.act(act).await;
                cluster.check_indexes().await;
            }
        });
        true
    }
    QuickCheck::new().tests(40).quickcheck(holds as fn(Vec<Act>) -> bool);
}

#[test]
fn a_log_replayed_on_another_store_gives_equal_chains_and_contents() {
    fn holds(acts: Vec<Act>, reopen_every: u8) -> bool {
        let mut equal = false;
        run(async |env| {
            let mut cluster = Cluster::busy(&env).await;
            for act in &acts {
                cluster.act(act).await;
            }
            let other = Store::open(env.clone(), Path::new("/other"), options()).await.unwrap().0;
            let replica = replay(other, &cluster.entries, usize::from(reopen_every) + 1).await;
            equal =
                replica.chains() == cluster.chains() && all_contents(&replica).await == all_contents(&cluster).await;
        });
        equal
    }
    QuickCheck::new().tests(40).quickcheck(holds as fn(Vec<Act>, u8) -> bool);
}

#[test]
fn after_power_cuts_the_rest_of_the_log_leads_to_the_same_state() {
    fn holds(acts: Vec<Act>, seed: u16, cuts: u8) -> bool {
        let mut sim = Sim::new(u64::from(seed), Faults::crashes(u64::from(seed)));
        let (entries, chains, contents) = sim
            .run(async |env| {
                let mut cluster = Cluster::busy(&env).await;
                for act in &acts {
                    cluster.act(act).await;
                }
                (cluster.entries.clone(), cluster.chains(), all_contents(&cluster).await)
            })
            .unwrap();
        for cut in 0..=cuts % 3 {
            sim.crash(if cut == 1 { CrashKind::Process } else { CrashKind::Power });
            let survived = sim
                .run(async |env| {
                    let (store, recovery) = Store::open(env, Path::new("/store"), options()).await.unwrap();
                    // Every entry was durable before it was applied.
                    let logged = |group: &u32| recovery.groups.get(&GroupId(*group)).map(|group| group.last_index.0);
                    let complete = entries.iter().all(|(group, entries)| logged(group) == Some(entries.len() as u64));
                    let replica = replay(store, &entries, usize::from(cut) + 2).await;
                    complete && replica.chains() == chains && all_contents(&replica).await == contents
                })
                .unwrap();
            if !survived {
                return false;
            }
        }
        true
    }
    QuickCheck::new().tests(40).quickcheck(holds as fn(Vec<Act>, u16, u8) -> bool);
}

#[test]
fn a_state_that_comes_by_snapshot_is_the_same_and_goes_on_the_same() {
    fn holds(before: Vec<Act>, behind: Vec<Act>, after: Vec<Act>) -> bool {
        let mut equal = false;
        run(async |env| {
            let mut cluster = Cluster::busy(&env).await;
            for act in &before {
                cluster.act(act).await;
            }
            // A replica that is left behind here.
            let other = Store::open(env.clone(), Path::new("/other"), options()).await.unwrap().0;
            drop(replay(Rc::clone(&other), &cluster.entries, 1000).await);
            for act in &behind {
                cluster.act(act).await;
            }
            let mut cuts = Vec::new();
            for (group, state) in &cluster.groups {
                let (view, folder) = (state.view(), format!("/cut-{group}"));
                let span = Keys::new(*group).all();
                let range = KeyRange::new(span.start, span.end);
                let prepared = cluster.store.export(&range, view.snapshot(), Path::new(&folder)).await.unwrap();
                cuts.push((GroupId(*group), prepared, range, view.applied(), view.chain()));
            }
            for act in &after {
                cluster.act(act).await;
            }
            for (group, prepared, range, applied, chain) in cuts {
                let (incarnation, term) = (Incarnation(1), Term(1));
                let options = IngestOptions { range, incarnation, applied, term, any_database: false };
                other.ingest(group, &prepared, &options).await.unwrap();
                let came = GroupState::open(Rc::clone(&other), group.0, LAYOUT).await.unwrap();
                assert_eq!((came.applied(), came.view().chain()), (applied, chain));
            }
            let replica = replay(other, &cluster.entries, 1000).await;
            equal =
                replica.chains() == cluster.chains() && all_contents(&replica).await == all_contents(&cluster).await;
        });
        equal
    }
    QuickCheck::new().tests(30).quickcheck(holds as fn(Vec<Act>, Vec<Act>, Vec<Act>) -> bool);
}

#[test]
fn a_chain_tells_that_an_entry_was_another() {
    run(async |env| {
        let mut cluster = Cluster::busy(&env).await;
        cluster.act(&Act::Insert(0, 1, true)).await;
        let mut entries = cluster.entries.clone();
        let last = entries.get_mut(&USERS).unwrap();
        let other =
            crate::command::Envelope { seed: 0, ..crate::command::Envelope::decode(last.last().unwrap()).unwrap() };
        *last.last_mut().unwrap() = crate::command::Envelope { stamp: other.stamp + 1000, ..other }.encode();
        let store = Store::open(env.clone(), Path::new("/other"), options()).await.unwrap().0;
        let replica = replay(store, &entries, 1000).await;
        assert_ne!(replica.chains()[1], cluster.chains()[1]);
        assert_eq!(replica.chains()[0], cluster.chains()[0]);
    });
}
