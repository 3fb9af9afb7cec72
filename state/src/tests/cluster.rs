//! A cluster of three groups on one store: meta, one user shard, one shared shard. Every entry is kept, as a log would.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use highwater_engine::{GroupId, Incarnation, LogBatch, LogIndex, Store, StoreOptions, Term};
use highwater_runtime::disk::Faults;
use highwater_runtime::inproc::{InProcEnv, Sim};
use highwater_sql::catalog::{
    AccessLevel, Check, Column, ColumnId, IndexColumn, IndexState, ObjectId, Operation, PayloadMode, Role, Source,
    Table, TableKind,
};
use highwater_sql::diag::Diag;
use highwater_sql::expr::{BinaryOp, Expr};
use highwater_sql::key::{KeyRange, encode_index};
use highwater_sql::plan::{Ddl, IndexSpec, KeyBounds, TableAccess, TableChange, TableSpec, WriteKind, WritePlan};
use highwater_sql::row::decode_row;
use highwater_sql::value::{DataType, Micros, Row, Value};

use crate::StateError;
use crate::command::{BackfillCommand, Command, Deltas, Envelope, MetaCommand, RequestHead, RequestId, WriteCommand};
use crate::group::{Applied, GroupState};
use crate::keys::{Keys, Space};
use crate::outcome::Outcome;
use crate::placement::{Layout, META};
use crate::reader::Reader;

pub const LAYOUT: Layout = Layout { user_shards: 1, shared_shards: 1, stores: 1 };
/// The group of every user's rows.
pub const USERS: u32 = 1;
/// The group of every shared table and topic partition.
pub const SHARED: u32 = 2;
pub const START: Micros = 1_767_225_600_000_000;
pub const SECOND: Micros = 1_000_000;

pub struct Cluster {
    pub store: Rc<Store<InProcEnv>>,
    pub groups: BTreeMap<u32, GroupState<InProcEnv>>,
    /// The leader's clock.
    pub now: Micros,
    pub seed: u128,
    /// Every entry of each group, from index 1.
    pub entries: BTreeMap<u32, Vec<Vec<u8>>>,
    /// How far the rows of a table with a change under way have been gone through.
    pub passing: Passing,
}

/// How far a job has come.
#[derive(Default)]
pub struct Passing {
    job: String,
    after: Option<Vec<u8>>,
    done: Option<Result<(), Diag>>,
}

/// Runs a test's body on an in-process node.
pub fn run<F: AsyncFnOnce(InProcEnv)>(body: F) {
    Sim::new(1, Faults::none()).run(|env| body(env)).unwrap();
}

/// Runs a test's body on a bootstrapped cluster.
pub fn with_cluster<F: AsyncFnOnce(Cluster)>(body: F) {
    run(async |env| body(Cluster::bootstrapped(&env).await).await);
}

/// Runs a test's body on a cluster with users ann and bob (user), svc (service) and dba, and tables app.mine (USER) and
/// app.ours (SHARED).
pub fn with_tables<F: AsyncFnOnce(Cluster)>(body: F) {
    run(async |env| body(Cluster::with_tables(&env).await).await);
}

pub fn column(id: u32, name: &str, data_type: DataType, nullable: bool) -> Column {
    Column { nullable, ..Column::new(id, name, data_type) }
}

pub fn literal(value: Value) -> Expr {
    let data_type = value.data_type().unwrap_or(DataType::Int);
    Expr::Literal(value, data_type)
}

pub fn binary(op: BinaryOp, left: Expr, right: Expr, data_type: DataType) -> Expr {
    Expr::Binary { op, left: Box::new(left), right: Box::new(right), data_type }
}

/// `id BIGINT PRIMARY KEY, room TEXT NOT NULL DEFAULT 'lobby', body VARCHAR(5), n INT DEFAULT 7 CHECK (n >= 0)`
pub fn spec(name: &str, kind: TableKind) -> TableSpec {
    let n_is_not_negative =
        binary(BinaryOp::GreaterOrEqual, Expr::Column(3, DataType::Int), literal(Value::Int(0)), DataType::Boolean);
    TableSpec {
        namespace: "app".into(),
        name: name.into(),
        kind,
        access_level: AccessLevel::Private,
        columns: vec![
            column(1, "id", DataType::BigInt, false),
            Column { default: Some(literal(Value::Text("lobby".into()))), ..column(2, "room", DataType::Text, false) },
            Column { max_chars: Some(5), ..column(3, "body", DataType::Text, true) },
            Column { default: Some(literal(Value::Int(7))), ..column(4, "n", DataType::Int, true) },
        ],
        primary_key: vec![0],
        partition_columns: 0,
        checks: vec![Check { name: format!("{name}_check"), expr: n_is_not_negative, text: "n >= 0".into() }],
        ttl_seconds: None,
        indexes: vec![],
    }
}

/// INSERT of `id` and `body`.
pub fn insert(rows: &[(i64, &str)]) -> WriteKind {
    let row = |(id, body): &(i64, &str)| {
        vec![Some(literal(Value::BigInt(*id))), Some(literal(Value::Text((*body).to_owned())))]
    };
    WriteKind::Insert { columns: vec![ColumnId(1), ColumnId(3)], rows: rows.iter().map(row).collect(), conflict: None }
}

/// The key bounds `id = ?` or `id BETWEEN ? AND ?`.
pub fn ids(from: i64, to: i64) -> TableAccess {
    let bound = |id| (literal(Value::BigInt(id)), true);
    TableAccess::Bounds(vec![if from == to {
        KeyBounds { equal: vec![literal(Value::BigInt(from))], lower: None, upper: None }
    } else {
        KeyBounds { equal: vec![], lower: Some(bound(from)), upper: Some(bound(to)) }
    }])
}

/// UPDATE ... SET column = value.
pub fn update(access: TableAccess, column: u32, value: Expr) -> WriteKind {
    WriteKind::Update { assignments: vec![(ColumnId(column), Some(value))], access, filter: None }
}

pub fn delete(access: TableAccess) -> WriteKind {
    WriteKind::Delete { access, filter: None }
}

pub fn source(table: ObjectId, operation: Operation) -> Source {
    Source {
        table,
        operation,
        filter: None,
        filter_text: None,
        partition_by: None,
        partition_by_text: None,
        payload: PayloadMode::Full,
    }
}

pub fn refused(outcome: Outcome) -> Diag {
    match outcome {
        Outcome::Refused(diag) => *diag,
        other => panic!("not refused: {other:?}"),
    }
}

pub fn code(outcome: Outcome) -> String {
    refused(outcome).sqlstate.to_string()
}

impl Cluster {
    pub async fn open(env: &InProcEnv) -> Self {
        let store = Store::open(env.clone(), Path::new("/store"), options()).await.unwrap().0;
        let mut groups = BTreeMap::new();
        for group in LAYOUT.groups() {
            groups.insert(group, GroupState::open(Rc::clone(&store), group, LAYOUT).await.unwrap());
        }
        Self { store, groups, now: START, seed: 0, entries: BTreeMap::new(), passing: Passing::default() }
    }

    pub async fn bootstrapped(env: &InProcEnv) -> Self {
        let mut cluster = Self::open(env).await;
        let outcome = cluster.meta(bootstrap()).await;
        assert!(matches!(outcome, Outcome::Defined { .. }), "{outcome:?}");
        cluster
    }

    pub async fn with_tables(env: &InProcEnv) -> Self {
        let mut cluster = Self::bootstrapped(env).await;
        for (name, role) in [("ann", Role::User), ("bob", Role::User), ("svc", Role::Service), ("dba", Role::Dba)] {
            cluster.create_user(name, role).await;
        }
        cluster.define(Ddl::CreateNamespace { name: "app".into(), if_not_exists: false }).await;
        cluster.create_table(spec("mine", TableKind::User)).await;
        cluster.create_table(spec("ours", TableKind::Shared)).await;
        cluster
    }

    /// Logs and applies one entry.
    pub async fn try_apply(&mut self, group: u32, command: Command) -> Result<Applied, StateError> {
        self.seed += 1;
        let data = Envelope { stamp: self.now, seed: self.seed, command }.encode();
        self.log(group, &data).await;
        let state = self.groups.get_mut(&group).unwrap();
        state.apply(state.applied().next(), &data).await
    }

    pub async fn log(&mut self, group: u32, data: &[u8]) {
        let entries = self.entries.entry(group).or_default();
        entries.push(data.to_vec());
        let index = LogIndex(entries.len() as u64);
        let mut batch = LogBatch::new();
        if index.0 == 1 {
            batch.push_start(GroupId(group), Incarnation(1), LogIndex(0), Term(0));
        }
        batch.push_entries(
            GroupId(group),
            Incarnation(1),
            index,
            std::iter::once((Term(1), Bytes::copy_from_slice(data))),
        );
        self.store.append(batch).await.unwrap();
    }

    pub async fn apply(&mut self, group: u32, command: Command) -> Outcome {
        self.try_apply(group, command).await.unwrap().outcome
    }

    /// A meta command, and what it changed taken by the data groups.
    pub async fn meta(&mut self, command: MetaCommand) -> Outcome {
        let outcome = self.apply(META, Command::Meta(command)).await;
        let newest = self.groups[&META].view().catalog().clone();
        for group in [USERS, SHARED] {
            let known = self.groups[&group].view().catalog().clone();
            if known.version < newest.version {
                let deltas = known.changes_to(&newest);
                let taken =
                    self.apply(group, Command::Catalog { to: newest.version, from: known.version, deltas }).await;
                assert_eq!(taken, Outcome::Done);
                assert_eq!(**self.groups[&group].view().catalog(), *newest);
            }
        }
        outcome
    }

    /// The head of a user's request, with the rights that meta knows.
    pub fn head(&self, principal: &str) -> RequestHead {
        let user = self.groups[&META].view().catalog().users.get(principal).cloned();
        RequestHead {
            principal: principal.into(),
            role: user.as_ref().map_or(Role::User, |user| user.role),
            auth_epoch: user.as_ref().map_or(0, |user| user.auth_epoch),
            request: None,
            statement_hash: 0,
        }
    }

    pub async fn ddl(&mut self, principal: &str, ddl: Ddl) -> Outcome {
        let head = self.head(principal);
        self.meta(MetaCommand::Ddl { head, ddl }).await
    }

    /// DDL by root, which must go well; gives the message.
    pub async fn define(&mut self, ddl: Ddl) -> String {
        match self.ddl("root", ddl).await {
            Outcome::Defined { message, .. } => message,
            other => panic!("{other:?}"),
        }
    }

    pub async fn create_table(&mut self, table: TableSpec) -> ObjectId {
        let (namespace, name) = (table.namespace.clone(), table.name.clone());
        self.define(Ddl::CreateTable { table, if_not_exists: false }).await;
        self.table_in(&namespace, &name).id
    }

    /// Goes through at most `rows` further rows of the table whose change is under way; true when all have been, or one failed.
    pub async fn pass(&mut self, table: &str, rows: u32) -> bool {
        let table = self.table(table);
        let Some(pending) = table.pending.clone() else { return false };
        if self.passing.job != pending.job {
            self.passing = Passing { job: pending.job, ..Passing::default() };
        }
        if self.passing.done.is_some() {
            return true;
        }
        let after = self.passing.after.clone();
        let command = BackfillCommand { table: table.id, table_version: table.version, after, rows };
        let group = if table.kind == TableKind::Shared { SHARED } else { USERS };
        match self.apply(group, Command::Backfill(command)).await {
            Outcome::Backfilled { next: None, .. } => self.passing.done = Some(Ok(())),
            Outcome::Backfilled { next, .. } => self.passing.after = next,
            Outcome::Refused(diag) => self.passing.done = Some(Err(*diag)),
            other => panic!("{other:?}"),
        }
        self.passing.done.is_some()
    }

    /// Ends the change under way as the rows have it; nothing while they have not all been gone through.
    pub async fn end_pass(&mut self, table: &str) -> Option<Result<(), Diag>> {
        let job = self.table(table).pending.clone()?.job;
        let done = self.passing.done.clone().filter(|_| self.passing.job == job)?;
        let failure = done.as_ref().err().map(ToString::to_string);
        let ended = self.meta(MetaCommand::FinishJob { job, failure }).await;
        assert!(matches!(ended, Outcome::Defined { .. }), "{ended:?}");
        Some(done)
    }

    /// DDL by root, carried to its end: two rows at a time.
    pub async fn change(&mut self, table: &str, ddl: Ddl) -> Result<(), Diag> {
        let outcome = self.ddl("root", ddl).await;
        match outcome {
            Outcome::Defined { job: None, .. } => return Ok(()),
            Outcome::Defined { job: Some(_), .. } => {}
            other => return Err(refused(other)),
        }
        while !self.pass(table, 2).await {}
        self.end_pass(table).await.unwrap()
    }

    /// ALTER TABLE of a table of namespace app.
    pub async fn alter(&mut self, table: &str, change: TableChange) -> Result<(), Diag> {
        let known = self.table(table);
        let new_name = match &change {
            TableChange::Rename(to) => to.clone(),
            _ => table.to_owned(),
        };
        self.change(&new_name, Ddl::AlterTable { table: known.id, table_version: known.version, change }).await
    }

    /// CREATE INDEX over columns by their ids.
    pub fn index_ddl(&self, table: &str, name: &str, columns: &[u32], unique: bool) -> Ddl {
        let known = self.table(table);
        let part = |id: &u32| IndexColumn { column: ColumnId(*id), descending: false };
        let columns = columns.iter().map(part).collect();
        let index = IndexSpec { name: name.into(), columns, unique, constraint: false };
        Ddl::CreateIndex { table: known.id, table_version: known.version, index, if_not_exists: false }
    }

    /// Every public index of every table holds exactly one entry per row, one that is being built nothing else, and nothing is left of
    /// others.
    pub async fn check_indexes(&self) {
        for (group, state) in &self.groups {
            let (view, keys) = (state.view(), Keys::new(*group));
            let contents = self.contents(*group).await;
            let entries: BTreeMap<&Bytes, &Bytes> = contents
                .iter()
                .filter(|(key, _)| keys.space(Space::Index).contains(key))
                .map(|(key, value)| (key, value))
                .collect();
            let mut known = 0;
            for table in view.catalog().tables.values() {
                let is_owned = table.kind != TableKind::Shared;
                for (key, value) in contents.iter().filter(|(key, _)| keys.rows_of_table(table.id).contains(key)) {
                    let (row, _) = decode_row(table, value).unwrap();
                    let (user, row_key) = keys.row_parts(table.id, is_owned, key).unwrap();
                    for index in &table.indexes {
                        let values = index.columns.iter().map(|part| &row[table.position(part.column).unwrap()]);
                        let mut entry = encode_index(values).unwrap();
                        if !index.unique || entry.has_null {
                            entry.bytes.extend_from_slice(row_key);
                        }
                        let key = Bytes::from(keys.index_entry(table.id, index.id, user.as_deref(), &entry.bytes));
                        match entries.get(&key) {
                            Some(found) if found.as_ref() == row_key => known += 1,
                            Some(_) | None => {
                                assert_eq!(index.state, IndexState::Building, "{} lacks {row:?}", index.name)
                            }
                        }
                    }
                }
            }
            assert_eq!(entries.len(), known, "entries without a row in group {group}");
        }
    }

    /// A topic app.events whose sources are the given operations of a table.
    pub async fn create_topic(&mut self, table: ObjectId, operations: &[Operation]) -> ObjectId {
        let (namespace, name) = ("app".to_owned(), "events".to_owned());
        self.define(Ddl::CreateTopic {
            namespace,
            name,
            if_not_exists: false,
            partitions: 1,
            retention_seconds: None,
            retention_bytes: None,
        })
        .await;
        let topic = self.groups[&META].view().catalog().topic("app", "events").unwrap().id;
        for operation in operations {
            self.define(Ddl::AddSource { topic, table_version: 1, source: source(table, *operation) }).await;
        }
        topic
    }

    pub async fn create_user(&mut self, name: &str, role: Role) {
        let head = self.head("root");
        let verifier = Some("SCRAM".into());
        let command =
            MetaCommand::CreateUser { head, name: name.into(), verifier, role, email: None, if_not_exists: false };
        let outcome = self.meta(command).await;
        assert!(matches!(outcome, Outcome::Defined { .. }), "{outcome:?}");
    }

    pub fn table_in(&self, namespace: &str, name: &str) -> std::sync::Arc<Table> {
        self.groups[&META].view().catalog().table(namespace, name).expect("the table exists").clone()
    }

    /// A table of namespace app.
    pub fn table(&self, name: &str) -> std::sync::Arc<Table> {
        self.table_in("app", name)
    }

    pub fn write_command(&self, principal: &str, table: &str, kind: WriteKind) -> WriteCommand {
        let table = self.table(table);
        WriteCommand {
            head: self.head(principal),
            user: principal.into(),
            plan: WritePlan { table: table.id, table_version: table.version, kind, returning: vec![] },
            params: vec![],
        }
    }

    pub fn group_of(&self, table: &str) -> u32 {
        if self.table(table).kind == TableKind::Shared { SHARED } else { USERS }
    }

    pub async fn write(&mut self, principal: &str, table: &str, kind: WriteKind) -> Outcome {
        let command = self.write_command(principal, table, kind);
        self.apply(self.group_of(table), Command::Write(command)).await
    }

    pub async fn request(&mut self, principal: &str, table: &str, id: u128, hash: u64, kind: WriteKind) -> Outcome {
        let mut command = self.write_command(principal, table, kind);
        command.head.request = Some(RequestId { id, ordinal: 0 });
        command.head.statement_hash = hash;
        self.apply(self.group_of(table), Command::Write(command)).await
    }

    /// A request id whose time is `micros` after the leader's clock.
    pub fn id_at(&self, micros: Micros, random: u128) -> u128 {
        (u128::try_from((self.now + micros) / 1000).unwrap() << 80) | random
    }

    pub async fn rows_with_seq(&self, user: &str, table: &str) -> Vec<(Row, u64)> {
        let table = self.table(table);
        let user = (table.kind != TableKind::Shared).then_some(user);
        let view = self.groups[&if user.is_some() { USERS } else { SHARED }].view();
        let mut cursor = view.rows(&table, user, &[KeyRange::full()]).await;
        let mut rows = Vec::new();
        while let Some(row) = cursor.next().await.unwrap() {
            rows.push(row);
        }
        rows
    }

    /// `id:body:n` of every row, in key order.
    pub async fn rows(&self, user: &str, table: &str) -> Vec<String> {
        let shown = |(row, _): (Row, u64)| format!("{}:{}:{}", row[0], row[2], row[3]);
        self.rows_with_seq(user, table).await.into_iter().map(shown).collect()
    }

    /// Ships everything in a group's outbox to the shared shard.
    pub async fn ship(&mut self, from: u32) {
        let after = self.groups[&SHARED].view().inbox(from);
        let view = self.groups[&from].view();
        let range = view.outbox_range(SHARED, after, 1 << 20).await.unwrap();
        let (catalog, source) = (view.catalog().version, from);
        let deltas = Deltas { source, from: range.from, to: range.to, catalog, records: range.records };
        assert_eq!(self.apply(SHARED, Command::Deltas(deltas)).await, Outcome::Inbox { upto: range.to });
    }

    /// Every key and value of a group.
    pub async fn contents(&self, group: u32) -> Vec<(Bytes, Bytes)> {
        let reader = Reader::latest(&self.store);
        let mut scan = reader.scan(&crate::keys::Keys::new(group).all()).await.unwrap();
        let mut pairs = Vec::new();
        while let Some(pair) = scan.next().await.unwrap() {
            pairs.push(pair);
        }
        pairs
    }

    pub fn chains(&self) -> Vec<u128> {
        self.groups.values().map(|group| group.view().chain()).collect()
    }
}

pub fn bootstrap() -> MetaCommand {
    MetaCommand::Bootstrap { cluster_id: 77, layout: LAYOUT, token_key: [9; 32], root_verifier: "SCRAM-ROOT".into() }
}

/// A store that flushes and compacts under a test's few writes, with room for a test's largest entry.
pub fn options() -> StoreOptions {
    StoreOptions { segment_bytes: 2 << 20, log_limit_bytes: 64 << 20, ..StoreOptions::small() }
}
