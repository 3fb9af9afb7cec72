//! RETURNING, ON CONFLICT and TRUNCATE.

use highwater_sql::catalog::{ColumnId, Operation};
use highwater_sql::expr::{BinaryOp, Expr};
use highwater_sql::plan::{ConflictAction, ConflictTarget, OnConflict, TableAccess, WriteKind};
use highwater_sql::value::{DataType, Row, Value};

use super::cluster::{Cluster, SHARED, USERS, binary, code, delete, ids, insert, literal, update, with_tables};
use crate::command::Command;
use crate::outcome::Outcome;

impl Cluster {
    /// A write of ann's that returns `id`, `body` and `_seq`.
    async fn returning(&mut self, kind: WriteKind) -> (u64, Vec<Row>) {
        let mut command = self.write_command("ann", "mine", kind);
        command.plan.returning =
            vec![Expr::Column(0, DataType::BigInt), Expr::Column(2, DataType::Text), Expr::Column(4, DataType::BigInt)];
        match self.apply(USERS, Command::Write(command)).await {
            Outcome::Returned { changed, rows } => (changed, rows),
            other => panic!("{other:?}"),
        }
    }
}

fn on_conflict(kind: WriteKind, target: ConflictTarget, action: ConflictAction) -> WriteKind {
    let WriteKind::Insert { columns, rows, .. } = kind else { panic!("an INSERT") };
    WriteKind::Insert { columns, rows, conflict: Some(OnConflict { target, action }) }
}

/// `DO UPDATE SET body = excluded.body, n = n + 1 WHERE filter`
fn take_body(filter: Option<Expr>) -> ConflictAction {
    let n = binary(BinaryOp::Add, Expr::Column(3, DataType::Int), literal(Value::Int(1)), DataType::Int);
    ConflictAction::Update {
        assignments: vec![(ColumnId(3), Some(Expr::Column(6, DataType::Text))), (ColumnId(4), Some(n))],
        filter,
    }
}

fn returned(id: i64, body: &str, seq: u64) -> Row {
    vec![Value::BigInt(id), Value::Text(body.into()), Value::BigInt(seq.cast_signed())]
}

#[test]
fn a_write_returns_the_rows_as_they_are_after_it_and_a_delete_as_they_were() {
    with_tables(async |mut cluster| {
        let (changed, rows) = cluster.returning(insert(&[(1, "a"), (2, "b")])).await;
        let seqs: Vec<u64> = cluster.rows_with_seq("ann", "mine").await.iter().map(|(_, seq)| *seq).collect();
        assert_eq!((changed, rows), (2, vec![returned(1, "a", seqs[0]), returned(2, "b", seqs[1])]));
        let (changed, rows) = cluster.returning(update(ids(2, 2), 3, literal(Value::Text("c".into())))).await;
        let seq = cluster.rows_with_seq("ann", "mine").await[1].1;
        assert!(seq > seqs[1]);
        assert_eq!((changed, rows), (1, vec![returned(2, "c", seq)]));
        assert_eq!(cluster.returning(delete(ids(2, 9))).await, (1, vec![returned(2, "c", seq)]));
        assert_eq!(cluster.returning(delete(ids(2, 9))).await, (0, vec![]));
    });
}

#[test]
fn a_retried_write_returns_what_it_returned_first() {
    with_tables(async |mut cluster| {
        let mut command = cluster.write_command("ann", "mine", insert(&[(1, "a")]));
        command.plan.returning = vec![Expr::Column(4, DataType::BigInt)];
        let id = cluster.id_at(0, 7);
        command.head.request = Some(crate::command::RequestId { id, ordinal: 0 });
        let first = cluster.apply(USERS, Command::Write(command.clone())).await;
        assert!(matches!(first, Outcome::Returned { changed: 1, .. }));
        cluster.write("ann", "mine", delete(TableAccess::Full)).await;
        assert_eq!(cluster.apply(USERS, Command::Write(command)).await, first);
        assert_eq!(cluster.rows("ann", "mine").await, Vec::<String>::new());
    });
}

#[test]
fn a_write_that_returns_too_much_is_refused_and_changes_nothing() {
    with_tables(async |mut cluster| {
        let rows: Vec<(i64, &str)> = (0..9).map(|id| (id, "a")).collect();
        let mut command = cluster.write_command("ann", "mine", insert(&rows));
        command.plan.returning = vec![literal(Value::Text("x".repeat(1 << 19)))];
        assert_eq!(code(cluster.apply(USERS, Command::Write(command)).await), "54000");
        assert_eq!(cluster.rows("ann", "mine").await, Vec::<String>::new());
    });
}

#[test]
fn do_nothing_leaves_out_what_is_there_and_twice_in_the_statement() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "old")])).await;
        for target in [ConflictTarget::Any, ConflictTarget::Key] {
            let kind = on_conflict(insert(&[(1, "new"), (2, "b"), (2, "c")]), target, ConflictAction::Nothing);
            let (changed, rows) = cluster.returning(kind).await;
            assert_eq!(changed as usize, rows.len());
            assert_eq!(cluster.rows("ann", "mine").await, ["1:old:7", "2:b:7"]);
        }
    });
}

#[test]
fn do_update_changes_the_row_that_is_there_from_it_and_from_what_was_to_be_inserted() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "old"), (2, "old")])).await;
        let not_two =
            binary(BinaryOp::Less, Expr::Column(4, DataType::BigInt), literal(Value::BigInt(2)), DataType::Boolean);
        let rows = insert(&[(1, "new"), (2, "new"), (3, "new")]);
        let (changed, rows) = cluster.returning(on_conflict(rows, ConflictTarget::Key, take_body(Some(not_two)))).await;
        assert_eq!((changed, rows.len()), (2, 2));
        assert_eq!(cluster.rows("ann", "mine").await, ["1:new:8", "2:old:7", "3:new:7"]);
    });
}

#[test]
fn do_update_holds_the_new_row_to_every_rule() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "old")])).await;
        let set_n =
            |n| ConflictAction::Update { assignments: vec![(ColumnId(4), Some(literal(Value::Int(n))))], filter: None };
        let kind = |n| on_conflict(insert(&[(1, "new")]), ConflictTarget::Key, set_n(n));
        assert_eq!(code(cluster.write("ann", "mine", kind(-1)).await), "23514");
        assert_eq!(cluster.write("ann", "mine", kind(1)).await, Outcome::Written(1));
    });
}

#[test]
fn a_statement_does_not_change_a_row_twice() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "old")])).await;
        for rows in [[(1, "a"), (1, "b")], [(2, "a"), (2, "b")]] {
            let kind = on_conflict(insert(&rows), ConflictTarget::Key, take_body(None));
            assert_eq!(code(cluster.write("ann", "mine", kind).await), "21000");
        }
        assert_eq!(cluster.rows("ann", "mine").await, ["1:old:7"]);
    });
}

#[test]
fn messages_of_an_upsert_say_for_each_row_what_happened() {
    with_tables(async |mut cluster| {
        let mine = cluster.table("mine").id;
        let topic = cluster.create_topic(mine, &[Operation::Insert, Operation::Update]).await;
        cluster.write("ann", "mine", insert(&[(1, "old")])).await;
        let kind = on_conflict(insert(&[(2, "new"), (1, "new")]), ConflictTarget::Key, take_body(None));
        assert_eq!(cluster.write("ann", "mine", kind).await, Outcome::Written(2));
        cluster.ship(USERS).await;
        let view = cluster.groups[&SHARED].view();
        let messages =
            view.messages(topic, 0, highwater_sql::plan::StartPosition::Earliest, 10, 1 << 20).await.unwrap();
        let shown: Vec<_> = messages.messages.iter().map(|m| (m.key.clone().unwrap(), m.operation)).collect();
        let key = |id: u32| format!("{id}");
        assert_eq!(shown, [(key(1), Operation::Insert), (key(2), Operation::Insert), (key(1), Operation::Update)]);
    });
}

#[test]
fn truncate_removes_all_rows_of_the_user_and_nobody_elses() {
    with_tables(async |mut cluster| {
        for user in ["ann", "bob"] {
            cluster.write(user, "mine", insert(&[(1, "a"), (2, "b")])).await;
        }
        assert_eq!(cluster.write("ann", "mine", WriteKind::Truncate).await, Outcome::Written(0));
        assert_eq!(cluster.rows("ann", "mine").await, Vec::<String>::new());
        assert_eq!(cluster.rows("bob", "mine").await, ["1:a:7", "2:b:7"]);
        assert_eq!(cluster.write("ann", "mine", insert(&[(1, "again")])).await, Outcome::Written(1));
    });
}

#[test]
fn truncate_is_refused_where_a_topic_carries_deletions() {
    with_tables(async |mut cluster| {
        let mine = cluster.table("mine").id;
        cluster.create_topic(mine, &[Operation::Delete]).await;
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        assert_eq!(code(cluster.write("ann", "mine", WriteKind::Truncate).await), "0A000");
        assert_eq!(cluster.rows("ann", "mine").await, ["1:a:7"]);
    });
}
