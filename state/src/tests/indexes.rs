//! Indexes: built while writes go on, equal to the rows at every step, and what is unique.

use highwater_sql::catalog::{ColumnId, IndexState};
use highwater_sql::catalog::{IndexColumn, Role, TableKind};
use highwater_sql::diag::SqlState;
use highwater_sql::eval::EvalContext;
use highwater_sql::plan::{
    ConflictAction, ConflictTarget, Ddl, IndexSpec, KeyBounds, OnConflict, TableAccess, TableSpec, WriteKind,
};
use highwater_sql::value::Value;

use super::cluster::{Cluster, SHARED, USERS, code, delete, ids, insert, literal, refused, spec, update, with_tables};
use crate::command::MetaCommand;
use crate::outcome::Outcome;

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

fn equal(value: Value) -> Vec<KeyBounds> {
    vec![KeyBounds { equal: vec![literal(value)], lower: None, upper: None }]
}

impl Cluster {
    /// `id:body` of a user's rows that an index finds.
    async fn found(&self, user: &str, table: &str, index: &str, bounds: Vec<KeyBounds>) -> Vec<String> {
        let table = self.table(table);
        let index = table.indexes.iter().find(|known| known.name == index).unwrap().id;
        let (user, group) = if table.kind == TableKind::Shared { (None, SHARED) } else { (Some(user), USERS) };
        let context = EvalContext::new(self.now, "", Role::User, &[], 0);
        let access = TableAccess::Index { index, bounds };
        let view = self.groups[&group].view();
        let mut cursor = view.rows_of(&table, user, &access, &context).await.unwrap();
        let mut found = Vec::new();
        while let Some((row, _)) = cursor.next().await.unwrap() {
            found.push(format!("{}:{}", row[0], row[2]));
        }
        found
    }
}

#[test]
fn an_index_is_built_over_the_rows_that_are_there_and_kept_by_every_write() {
    with_tables(async |mut cluster| {
        for user in ["ann", "bob"] {
            cluster.write(user, "mine", insert(&[(1, "b"), (2, "a"), (3, "b"), (4, "c"), (5, "a")])).await;
        }
        cluster.change("mine", cluster.index_ddl("mine", "by_body", &[3], false)).await.unwrap();
        assert_eq!(cluster.table("mine").indexes[0].state, IndexState::Public);
        cluster.check_indexes().await;
        assert_eq!(cluster.found("ann", "mine", "by_body", equal(text("b"))).await, ["1:b", "3:b"]);
        cluster.write("ann", "mine", update(ids(1, 1), 3, literal(text("a")))).await;
        cluster.write("ann", "mine", delete(ids(2, 2))).await;
        cluster.write("ann", "mine", insert(&[(9, "b")])).await;
        cluster.check_indexes().await;
        assert_eq!(cluster.found("ann", "mine", "by_body", equal(text("b"))).await, ["3:b", "9:b"]);
        assert_eq!(cluster.found("ann", "mine", "by_body", equal(text("a"))).await, ["1:a", "5:a"]);
        assert_eq!(cluster.found("bob", "mine", "by_body", equal(text("b"))).await, ["1:b", "3:b"]);
        let from_b = vec![KeyBounds { equal: vec![], lower: Some((literal(text("b")), false)), upper: None }];
        assert_eq!(cluster.found("ann", "mine", "by_body", from_b).await, ["4:c"]);
    });
}

#[test]
fn writes_go_on_while_an_index_is_built() {
    with_tables(async |mut cluster| {
        cluster.write("svc", "ours", insert(&[(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")])).await;
        cluster.define(cluster.index_ddl("ours", "by_body", &[3, 1], false)).await;
        assert!(!cluster.pass("ours", 2).await);
        cluster.check_indexes().await;
        cluster.write("svc", "ours", update(ids(1, 1), 3, literal(text("x")))).await;
        cluster.write("svc", "ours", update(ids(4, 4), 3, literal(text("y")))).await;
        cluster.write("svc", "ours", delete(ids(5, 5))).await;
        cluster.write("svc", "ours", insert(&[(6, "f"), (0, "z")])).await;
        cluster.check_indexes().await;
        while !cluster.pass("ours", 2).await {}
        assert_eq!(cluster.end_pass("ours").await, Some(Ok(())));
        cluster.check_indexes().await;
        assert_eq!(cluster.table("ours").indexes[0].state, IndexState::Public);
    });
}

#[test]
fn an_index_is_not_read_before_it_is_public() {
    with_tables(async |mut cluster| {
        cluster.define(cluster.index_ddl("ours", "by_body", &[3], false)).await;
        let index = cluster.table("ours").indexes[0].id;
        let access = TableAccess::Index { index, bounds: equal(text("a")) };
        let outcome = cluster.write("svc", "ours", delete(access)).await;
        assert!(matches!(outcome, Outcome::StaleCatalog { .. }), "{outcome:?}");
    });
}

#[test]
fn a_unique_index_refuses_equal_values_but_not_nulls_and_names_itself() {
    with_tables(async |mut cluster| {
        cluster.change("mine", cluster.index_ddl("mine", "one_body", &[3], true)).await.unwrap();
        assert_eq!(cluster.write("ann", "mine", insert(&[(1, "a")])).await, Outcome::Written(1));
        assert_eq!(
            cluster.write("bob", "mine", insert(&[(1, "a")])).await,
            Outcome::Written(1),
            "bob has rows of his own"
        );
        let diag = refused(cluster.write("ann", "mine", insert(&[(2, "b"), (3, "a")])).await);
        assert_eq!(diag.sqlstate, SqlState::UNIQUE_VIOLATION);
        assert_eq!(diag.message, "duplicate values for unique index \"one_body\" of table app.mine");
        assert_eq!(diag.detail.as_deref(), Some("Key (body)=(a) already exists."));
        let none = |id| WriteKind::Insert {
            columns: vec![ColumnId(1)],
            rows: vec![vec![Some(literal(Value::BigInt(id)))]],
            conflict: None,
        };
        for id in 4..6 {
            assert_eq!(cluster.write("ann", "mine", none(id)).await, Outcome::Written(1));
        }
        assert_eq!(code(cluster.write("ann", "mine", update(ids(4, 4), 3, literal(text("a")))).await), "23505");
        cluster.check_indexes().await;
        assert_eq!(cluster.rows("ann", "mine").await, ["1:a:7", "4:NULL:7", "5:NULL:7"]);
    });
}

#[test]
fn unique_values_may_be_exchanged_within_one_statement() {
    with_tables(async |mut cluster| {
        cluster.change("mine", cluster.index_ddl("mine", "one_n", &[4], true)).await.unwrap();
        let row = |id, n| vec![Some(literal(Value::BigInt(id))), Some(literal(Value::Int(n)))];
        let rows = vec![row(1, 2), row(2, 1)];
        let kind = WriteKind::Insert { columns: vec![ColumnId(1), ColumnId(4)], rows, conflict: None };
        assert_eq!(cluster.write("ann", "mine", kind).await, Outcome::Written(2));
        use highwater_sql::expr::{BinaryOp, Expr};
        use highwater_sql::value::DataType;
        let n = Expr::Column(3, DataType::Int);
        let other = super::cluster::binary(BinaryOp::Subtract, literal(Value::Int(3)), n, DataType::Int);
        assert_eq!(cluster.write("ann", "mine", update(TableAccess::Full, 4, other)).await, Outcome::Written(2));
        cluster.check_indexes().await;
        assert_eq!(cluster.rows("ann", "mine").await, ["1:NULL:1", "2:NULL:2"]);
    });
}

#[test]
fn a_build_that_meets_duplicates_fails_with_the_reason_and_removes_the_index() {
    with_tables(async |mut cluster| {
        cluster.write("svc", "ours", insert(&[(1, "a"), (2, "b"), (3, "c"), (4, "a")])).await;
        let diag = cluster.change("ours", cluster.index_ddl("ours", "one_body", &[3], true)).await.unwrap_err();
        assert_eq!(diag.sqlstate, SqlState::UNIQUE_VIOLATION);
        assert_eq!(diag.detail.as_deref(), Some("Key (body)=(a) already exists."));
        let table = cluster.table("ours");
        assert_eq!((table.indexes.len(), &table.pending), (0, &None));
        cluster.check_indexes().await;
        assert_eq!(cluster.write("svc", "ours", insert(&[(5, "a")])).await, Outcome::Written(1));
        cluster.write("svc", "ours", delete(ids(4, 5))).await;
        cluster.change("ours", cluster.index_ddl("ours", "one_body", &[3], true)).await.unwrap();
        cluster.check_indexes().await;
    });
}

#[test]
fn a_row_that_goes_while_a_unique_index_is_built_leaves_the_entry_of_another() {
    with_tables(async |mut cluster| {
        cluster.write("svc", "ours", insert(&[(1, "a"), (9, "z")])).await;
        cluster.define(cluster.index_ddl("ours", "one_body", &[3], true)).await;
        cluster.write("svc", "ours", insert(&[(0, "a")])).await;
        cluster.write("svc", "ours", delete(ids(1, 1))).await;
        while !cluster.pass("ours", 1).await {}
        assert_eq!(cluster.end_pass("ours").await, Some(Ok(())));
        cluster.check_indexes().await;
        assert_eq!(code(cluster.write("svc", "ours", insert(&[(2, "a")])).await), "23505");
    });
}

#[test]
fn on_conflict_finds_the_row_by_a_unique_index() {
    with_tables(async |mut cluster| {
        cluster.change("mine", cluster.index_ddl("mine", "one_body", &[3], true)).await.unwrap();
        let index = cluster.table("mine").indexes[0].id;
        cluster.write("ann", "mine", insert(&[(1, "a"), (2, "b")])).await;
        let with = |target, action| {
            let WriteKind::Insert { columns, rows, .. } = insert(&[(9, "a")]) else { unreachable!() };
            WriteKind::Insert { columns, rows, conflict: Some(OnConflict { target, action }) }
        };
        let set = |n| ConflictAction::Update {
            assignments: vec![(ColumnId(4), Some(literal(Value::Int(n)))), (ColumnId(3), Some(literal(text("c"))))],
            filter: None,
        };
        let nothing = with(ConflictTarget::Any, ConflictAction::Nothing);
        assert_eq!(cluster.write("ann", "mine", nothing).await, Outcome::Written(0));
        let by_key = with(ConflictTarget::Key, ConflictAction::Nothing);
        assert_eq!(code(cluster.write("ann", "mine", by_key).await), "23505");
        let by_index = with(ConflictTarget::Index(index), set(3));
        assert_eq!(cluster.write("ann", "mine", by_index).await, Outcome::Written(1));
        assert_eq!(cluster.rows("ann", "mine").await, ["1:c:3", "2:b:7"]);
        cluster.check_indexes().await;
    });
}

#[test]
fn updates_and_deletes_find_rows_by_an_index() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "b"), (2, "a"), (3, "b")])).await;
        cluster.change("mine", cluster.index_ddl("mine", "by_body", &[3], false)).await.unwrap();
        let index = cluster.table("mine").indexes[0].id;
        let by = |value| TableAccess::Index { index, bounds: equal(text(value)) };
        assert_eq!(cluster.write("ann", "mine", update(by("b"), 3, literal(text("c")))).await, Outcome::Written(2));
        assert_eq!(cluster.write("ann", "mine", delete(by("a"))).await, Outcome::Written(1));
        assert_eq!(cluster.rows("ann", "mine").await, ["1:c:7", "3:c:7"]);
        cluster.check_indexes().await;
    });
}

#[test]
fn nothing_is_left_of_indexes_that_are_dropped_and_of_truncated_and_dropped_tables() {
    with_tables(async |mut cluster| {
        for name in ["by_body", "by_n"] {
            let column = if name == "by_n" { 4 } else { 3 };
            cluster.change("mine", cluster.index_ddl("mine", name, &[column], false)).await.unwrap();
        }
        for user in ["ann", "bob"] {
            cluster.write(user, "mine", insert(&[(1, "a"), (2, "b")])).await;
        }
        let drop_index = |name: &str| Ddl::DropIndex { namespace: "app".into(), name: name.into(), if_exists: false };
        cluster.change("mine", drop_index("by_n")).await.unwrap();
        cluster.check_indexes().await;
        cluster.write("ann", "mine", WriteKind::Truncate).await;
        cluster.check_indexes().await;
        assert_eq!(cluster.found("bob", "mine", "by_body", equal(text("a"))).await, ["1:a"]);
        cluster.define(Ddl::DropTable { namespace: "app".into(), name: "mine".into(), if_exists: false }).await;
        cluster.check_indexes().await;
        assert_eq!(code(cluster.ddl("root", drop_index("by_body")).await), "42704");
    });
}

#[test]
fn indexes_that_cannot_be_are_refused() {
    with_tables(async |mut cluster| {
        let part = |id| IndexColumn { column: ColumnId(id), descending: false };
        let parted = TableSpec { partition_columns: 1, ..spec("parted", TableKind::Shared) };
        cluster.create_table(parted.clone()).await;
        let diag = cluster.change("parted", cluster.index_ddl("parted", "u", &[3], true)).await.unwrap_err();
        assert_eq!(diag.sqlstate, SqlState::NOT_SUPPORTED);
        cluster.change("parted", cluster.index_ddl("parted", "u", &[3, 1], true)).await.unwrap();
        let again = cluster.change("ours", cluster.index_ddl("ours", "u", &[3], false)).await.unwrap_err();
        assert_eq!(again.sqlstate, SqlState::DUPLICATE_TABLE);
        let stream = TableSpec { ttl_seconds: Some(9), ..spec("events", TableKind::Stream) };
        cluster.create_table(stream).await;
        let diag = cluster.change("events", cluster.index_ddl("events", "e", &[3], false)).await.unwrap_err();
        assert_eq!(diag.sqlstate, SqlState::NOT_SUPPORTED);
        let unique = IndexSpec { name: "p".into(), columns: vec![part(3)], unique: true, constraint: true };
        let table = TableSpec { indexes: vec![unique], name: "parted2".into(), ..parted };
        assert_eq!(code(cluster.ddl("root", Ddl::CreateTable { table, if_not_exists: false }).await), "0A000");
    });
}

#[test]
fn a_table_is_changed_once_at_a_time() {
    with_tables(async |mut cluster| {
        cluster.define(cluster.index_ddl("ours", "first", &[3], false)).await;
        let second = cluster.index_ddl("ours", "second", &[4], false);
        assert_eq!(code(cluster.ddl("root", second).await), "55000");
        cluster.define(Ddl::DropTable { namespace: "app".into(), name: "ours".into(), if_exists: false }).await;
        let jobs = cluster.groups[&0].view().jobs().await.unwrap();
        let outcome =
            cluster.meta(MetaCommand::FinishJob { job: jobs[0].id.clone(), failure: Some("dropped".into()) }).await;
        assert_eq!(outcome, Outcome::Done);
    });
}
