//! Apply: what a committed command costs, from the entry's bytes to the batch in the store.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use highwater_engine::{LogIndex, Store, StoreOptions};
use highwater_runtime::disk::Faults;
use highwater_runtime::inproc::{InProcEnv, Sim};
use highwater_sql::catalog::{
    AccessLevel, CatalogDelta, CatalogVersion, Column, ColumnId, ObjectId, Operation, PayloadMode, Role, Source,
    TableKind, Topic,
};
use highwater_sql::expr::{BinaryOp, Expr};
use highwater_sql::plan::{KeyBounds, TableAccess, TableSpec, WriteKind, WritePlan};
use highwater_sql::value::{DataType, Value};
use highwater_state::command::{Command, Envelope, RequestHead, RequestId, WriteCommand};
use highwater_state::group::GroupState;
use highwater_state::placement::Layout;

const LAYOUT: Layout = Layout { user_shards: 1, shared_shards: 1, stores: 1 };
const USERS: u32 = 1;
const TABLE: ObjectId = ObjectId(1);
const NOW: i64 = 1_767_225_600_000_000;

fn definitions(with_topic: bool) -> Command {
    let column = |(id, name, data_type): (u32, &str, DataType)| Column {
        nullable: id > 1,
        ..Column::new(id, name.to_owned(), data_type)
    };
    let columns = [(1, "id", DataType::BigInt), (2, "room", DataType::BigInt), (3, "body", DataType::Text)];
    let table = TableSpec {
        namespace: "app".into(),
        name: "messages".into(),
        kind: TableKind::User,
        access_level: AccessLevel::Private,
        columns: columns.into_iter().map(column).collect(),
        primary_key: vec![0],
        partition_columns: 0,
        checks: Vec::new(),
        ttl_seconds: None,
        indexes: Vec::new(),
    }
    .into_table(TABLE, 0);
    let mut deltas = vec![CatalogDelta::PutTable(Arc::new(table))];
    if with_topic {
        let source = |operation| Source {
            table: TABLE,
            operation,
            filter: None,
            filter_text: None,
            partition_by: None,
            partition_by_text: None,
            payload: PayloadMode::Full,
        };
        deltas.push(CatalogDelta::PutTopic(Arc::new(Topic {
            id: ObjectId(2),
            incarnation: 1,
            namespace: "app".into(),
            name: "events".into(),
            partitions: 4,
            retention_seconds: None,
            retention_bytes: None,
            sources: vec![source(Operation::Insert), source(Operation::Update)],
            clear_count: 0,
            created_at: 0,
            updated_at: 0,
        })));
    }
    Command::Catalog { to: CatalogVersion(1), from: CatalogVersion(0), deltas }
}

fn literal(value: Value, data_type: DataType) -> Expr {
    Expr::Literal(value, data_type)
}

fn write(kind: WriteKind, request: Option<u64>) -> Command {
    let id = |n: u64| (u128::from(NOW.unsigned_abs() / 1000) << 80) | u128::from(n);
    Command::Write(WriteCommand {
        head: RequestHead {
            principal: "ann".into(),
            role: Role::User,
            auth_epoch: 0,
            request: request.map(|n| RequestId { id: id(n), ordinal: 0 }),
            statement_hash: 1,
        },
        user: "ann".into(),
        plan: WritePlan { table: TABLE, table_version: 1, kind, returning: vec![] },
        params: Vec::new(),
    })
}

fn insert(first: u64, rows: u64) -> WriteKind {
    let row = |id: u64| {
        vec![
            Some(literal(Value::BigInt(id.cast_signed()), DataType::BigInt)),
            Some(literal(Value::BigInt((id % 16).cast_signed()), DataType::BigInt)),
            Some(literal(Value::Text("a message of a usual length for a chat".into()), DataType::Text)),
        ]
    };
    WriteKind::Insert {
        columns: vec![ColumnId(1), ColumnId(2), ColumnId(3)],
        rows: (first..first + rows).map(row).collect(),
        conflict: None,
    }
}

fn update_one(id: u64) -> WriteKind {
    let column = || Box::new(Expr::Column(1, DataType::BigInt));
    let one = Box::new(literal(Value::BigInt(1), DataType::BigInt));
    let plus_one = Expr::Binary { op: BinaryOp::Add, left: column(), right: one, data_type: DataType::BigInt };
    let key = literal(Value::BigInt(id.cast_signed()), DataType::BigInt);
    let access = TableAccess::Bounds(vec![KeyBounds { equal: vec![key], lower: None, upper: None }]);
    WriteKind::Update { assignments: vec![(ColumnId(2), Some(plus_one))], access, filter: None }
}

/// A user shard on the simulated disk; nothing is flushed. The simulation must outlive the group.
struct Bench {
    sim: Sim,
    group: Option<GroupState<InProcEnv>>,
}

impl Bench {
    fn new(with_topic: bool) -> Self {
        let mut sim = Sim::new(1, Faults::none());
        let options = StoreOptions {
            memtable_bytes: 1 << 40,
            segment_bytes: 1 << 20,
            log_limit_bytes: 1 << 30,
            ..StoreOptions::default()
        };
        let group = sim
            .run(|env| async move {
                let (store, _) = Store::open(env, Path::new("/store"), options).await.ok()?;
                GroupState::open(store, USERS, LAYOUT).await.ok()
            })
            .ok()
            .flatten();
        let mut bench = Self { sim, group };
        bench.apply(&entry(definitions(with_topic)));
        bench
    }

    fn apply(&mut self, entry: &[u8]) {
        let Some(mut group) = self.group.take() else { return };
        let entry = entry.to_vec();
        let applied = self.sim.run(|_| async move {
            let index = LogIndex(group.applied().0 + 1);
            black_box(group.apply(index, &entry).await.ok());
            group
        });
        self.group = applied.ok();
    }
}

fn entry(command: Command) -> Vec<u8> {
    Envelope { stamp: NOW, seed: 1, command }.encode()
}

fn apply(criterion: &mut Criterion) {
    let mut case = |name: &str, with_topic: bool, command: &dyn Fn(u64) -> Command| {
        let mut bench = Bench::new(with_topic);
        bench.apply(&entry(write(insert(1 << 40, 1000), None)));
        let mut n = 0;
        let mut next = || {
            n += 1;
            entry(command(n))
        };
        criterion.bench_function(name, |bencher| {
            bencher.iter_batched(&mut next, |entry| bench.apply(&entry), BatchSize::SmallInput);
        });
    };
    case("apply/insert one row", false, &|n| write(insert(n, 1), None));
    case("apply/insert one row with a request id", false, &|n| write(insert(n, 1), Some(n)));
    case("apply/insert one row with a topic", true, &|n| write(insert(n, 1), None));
    case("apply/insert 100 rows", false, &|n| write(insert(n * 100, 100), None));
    case("apply/update one row by key", false, &|n| write(update_one((1 << 40) + n % 1000), None));
}

criterion_group!(benches, apply);
criterion_main!(benches);
