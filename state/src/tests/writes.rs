//! INSERT, UPDATE and DELETE.

use highwater_sql::catalog::{ColumnId, TableKind};
use highwater_sql::diag::SqlState;
use highwater_sql::expr::{BinaryOp, Expr, Function};
use highwater_sql::plan::{Ddl, TableAccess, WriteKind};
use highwater_sql::value::{DataType, Value};

use super::cluster::{
    Cluster, LAYOUT, SECOND, SHARED, START, USERS, binary, code, delete, ids, insert, literal, refused, spec, update,
    with_tables,
};
use crate::command::Command;
use crate::outcome::Outcome;

fn insert_column(column: u32, value: Value) -> WriteKind {
    let row = vec![Some(literal(Value::BigInt(1))), Some(literal(value))];
    WriteKind::Insert { columns: vec![ColumnId(1), ColumnId(column)], rows: vec![row], conflict: None }
}

#[test]
fn inserted_rows_are_read_back_with_their_defaults_in_key_order() {
    with_tables(async |mut cluster| {
        assert_eq!(cluster.write("ann", "mine", insert(&[(2, "b"), (-1, "a")])).await, Outcome::Written(2));
        assert_eq!(cluster.rows("ann", "mine").await, ["-1:a:7", "2:b:7"]);
        let (row, _) = &cluster.rows_with_seq("ann", "mine").await[0];
        assert_eq!(row[1], Value::Text("lobby".into()));
    });
}

#[test]
fn the_word_default_gives_the_default() {
    with_tables(async |mut cluster| {
        let kind = WriteKind::Insert {
            columns: vec![ColumnId(1), ColumnId(4)],
            rows: vec![vec![Some(literal(Value::BigInt(1))), None]],
            conflict: None,
        };
        assert_eq!(cluster.write("ann", "mine", kind).await, Outcome::Written(1));
        let zero = update(TableAccess::Full, 4, literal(Value::Int(0)));
        assert_eq!(cluster.write("ann", "mine", zero).await, Outcome::Written(1));
        assert_eq!(cluster.rows("ann", "mine").await, ["1:NULL:0"]);
        let again =
            WriteKind::Update { assignments: vec![(ColumnId(4), None)], access: TableAccess::Full, filter: None };
        assert_eq!(cluster.write("ann", "mine", again).await, Outcome::Written(1));
        assert_eq!(cluster.rows("ann", "mine").await, ["1:NULL:7"]);
    });
}

#[test]
fn each_user_has_rows_and_keys_of_its_own() {
    with_tables(async |mut cluster| {
        assert_eq!(cluster.write("ann", "mine", insert(&[(1, "ann")])).await, Outcome::Written(1));
        assert_eq!(cluster.write("bob", "mine", insert(&[(1, "bob")])).await, Outcome::Written(1));
        assert_eq!(cluster.write("ann", "mine", delete(TableAccess::Full)).await, Outcome::Written(1));
        assert_eq!(cluster.rows("ann", "mine").await, Vec::<String>::new());
        assert_eq!(cluster.rows("bob", "mine").await, ["1:bob:7"]);
    });
}

#[test]
fn a_duplicate_key_is_refused_with_its_name_and_value_and_nothing_of_the_statement_stays() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(5, "old")])).await;
        let diag = refused(cluster.write("ann", "mine", insert(&[(4, "new"), (5, "new")])).await);
        assert_eq!(diag.sqlstate, SqlState::UNIQUE_VIOLATION);
        assert_eq!(diag.message, "duplicate key in table app.mine");
        assert_eq!(diag.detail.as_deref(), Some("Key (id)=(5) already exists."));
        assert_eq!(cluster.rows("ann", "mine").await, ["5:old:7"]);
    });
}

#[test]
fn a_key_twice_in_one_statement_is_refused() {
    with_tables(async |mut cluster| {
        assert_eq!(code(cluster.write("ann", "mine", insert(&[(1, "a"), (1, "b")])).await), "23505");
        assert_eq!(cluster.rows("ann", "mine").await, Vec::<String>::new());
    });
}

#[test]
fn rules_of_a_row_are_enforced_on_insert_and_on_update() {
    with_tables(async |mut cluster| {
        let cases = [
            (2, Value::Null, "23502", "column \"room\" of table app.mine cannot be NULL"),
            (3, Value::Text("sixsix".into()), "22001", "value too long for VARCHAR(5) for column \"body\""),
            (4, Value::Int(-1), "23514", "the row violates check constraint \"mine_check\" of table app.mine"),
            (3, Value::Int(1), "XX000", "the statement gives a INT for column \"body\", which is TEXT"),
        ];
        for (column, value, sqlstate, message) in &cases {
            let diag = refused(cluster.write("ann", "mine", insert_column(*column, value.clone())).await);
            assert_eq!((diag.sqlstate.as_str(), diag.message.as_str()), (*sqlstate, *message));
        }
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        for (column, value, sqlstate, _) in cases {
            assert_eq!(
                code(cluster.write("ann", "mine", update(TableAccess::Full, column, literal(value))).await),
                sqlstate
            );
        }
        assert_eq!(cluster.rows("ann", "mine").await, ["1:a:7"]);
    });
}

#[test]
fn a_check_that_is_null_passes() {
    with_tables(async |mut cluster| {
        assert_eq!(cluster.write("ann", "mine", insert_column(4, Value::Null)).await, Outcome::Written(1));
    });
}

#[test]
fn a_null_key_is_refused_by_its_columns_name() {
    with_tables(async |mut cluster| {
        let kind = WriteKind::Insert { columns: vec![], rows: vec![vec![]], conflict: None };
        let diag = refused(cluster.write("ann", "mine", kind).await);
        assert_eq!(
            (diag.sqlstate.as_str(), diag.message.as_str()),
            ("23502", "column \"id\" of table app.mine cannot be NULL")
        );
    });
}

#[test]
fn update_and_delete_touch_the_keys_of_their_access_that_the_filter_takes() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a"), (2, "b"), (3, "a"), (4, "a")])).await;
        let filter = binary(
            BinaryOp::Equal,
            Expr::Column(2, DataType::Text),
            literal(Value::Text("a".into())),
            DataType::Boolean,
        );
        let plus = binary(BinaryOp::Add, Expr::Column(3, DataType::Int), literal(Value::Int(1)), DataType::Int);
        let kind = WriteKind::Update {
            assignments: vec![(ColumnId(4), Some(plus))],
            access: ids(1, 3),
            filter: Some(filter.clone()),
        };
        assert_eq!(cluster.write("ann", "mine", kind).await, Outcome::Written(2));
        assert_eq!(cluster.rows("ann", "mine").await, ["1:a:8", "2:b:7", "3:a:8", "4:a:7"]);
        assert_eq!(cluster.write("ann", "mine", delete(ids(2, 2))).await, Outcome::Written(1));
        let kind = WriteKind::Delete { access: TableAccess::Full, filter: Some(filter) };
        assert_eq!(cluster.write("ann", "mine", kind).await, Outcome::Written(3));
        assert_eq!(cluster.write("ann", "mine", delete(TableAccess::Full)).await, Outcome::Written(0));
    });
}

#[test]
fn an_update_of_keys_shifts_them_or_is_refused_whole() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a"), (2, "b"), (3, "c")])).await;
        let plus =
            |by| binary(BinaryOp::Add, Expr::Column(0, DataType::BigInt), literal(Value::BigInt(by)), DataType::BigInt);
        assert_eq!(cluster.write("ann", "mine", update(TableAccess::Full, 1, plus(1))).await, Outcome::Written(3));
        assert_eq!(cluster.rows("ann", "mine").await, ["2:a:7", "3:b:7", "4:c:7"]);
        assert_eq!(code(cluster.write("ann", "mine", update(ids(2, 2), 1, plus(1))).await), "23505");
        assert_eq!(
            code(cluster.write("ann", "mine", update(TableAccess::Full, 1, literal(Value::BigInt(9)))).await),
            "23505"
        );
        assert_eq!(cluster.rows("ann", "mine").await, ["2:a:7", "3:b:7", "4:c:7"]);
    });
}

#[test]
fn an_error_in_an_expression_changes_nothing() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a"), (2, "b")])).await;
        let divide = binary(
            BinaryOp::Divide,
            literal(Value::BigInt(1)),
            binary(BinaryOp::Subtract, Expr::Column(0, DataType::BigInt), literal(Value::BigInt(2)), DataType::BigInt),
            DataType::BigInt,
        );
        let kind = WriteKind::Update {
            assignments: vec![(ColumnId(1), Some(divide))],
            access: TableAccess::Full,
            filter: None,
        };
        assert_eq!(code(cluster.write("ann", "mine", kind).await), "22012");
        assert_eq!(cluster.rows("ann", "mine").await, ["1:a:7", "2:b:7"]);
    });
}

#[test]
fn every_changed_row_gets_a_seq_that_is_unique_and_rises() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a"), (2, "b")])).await;
        cluster.now -= 5 * SECOND;
        cluster.write("ann", "mine", insert(&[(3, "c")])).await;
        cluster.now += 6 * SECOND;
        cluster.write("ann", "mine", update(ids(1, 1), 3, literal(Value::Text("x".into())))).await;
        let seqs: Vec<u64> = cluster.rows_with_seq("ann", "mine").await.into_iter().map(|(_, seq)| seq).collect();
        let base = |micros: i64| u64::try_from((micros - 1_704_067_200_000_000) / 1000).unwrap() << 22;
        assert_eq!(seqs, [base(START + SECOND), base(START) + 1, base(START) + 2]);
    });
}

#[test]
fn a_refused_statement_uses_up_no_seq() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a"), (1, "b")])).await;
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        let (_, seq) = cluster.rows_with_seq("ann", "mine").await.remove(0);
        assert_eq!(seq & ((1 << 22) - 1), 0);
    });
}

#[test]
fn now_is_log_time_and_volatile_values_come_from_the_seed() {
    with_tables(async |mut cluster| {
        let id = Expr::Function { function: Function::SnowflakeId, args: vec![], data_type: DataType::BigInt };
        let rows = vec![vec![Some(id.clone())], vec![Some(id)]];
        let kind = WriteKind::Insert { columns: vec![ColumnId(1)], rows, conflict: None };
        assert_eq!(cluster.write("ann", "mine", kind).await, Outcome::Written(2));
        let ids: Vec<i64> =
            cluster.rows_with_seq("ann", "mine").await.iter().map(|(row, _)| row[0].as_i64().unwrap()).collect();
        assert!(ids.iter().all(|id| (id >> 22) * 1000 + 1_704_067_200_000_000 == START), "{ids:?}");
        assert_ne!(ids[0], ids[1]);
    });
}

#[test]
fn a_shared_table_is_written_by_service_and_up() {
    with_tables(async |mut cluster| {
        assert_eq!(code(cluster.write("ann", "ours", insert(&[(1, "a")])).await), "42501");
        assert_eq!(cluster.write("svc", "ours", insert(&[(1, "a")])).await, Outcome::Written(1));
        assert_eq!(cluster.rows("", "ours").await, ["1:a:7"]);
    });
}

#[test]
fn nobody_acts_as_a_user_of_its_own_or_a_higher_role() {
    with_tables(async |mut cluster| {
        for (actor, target, expected) in [
            ("svc", "ann", None),
            ("dba", "svc", None),
            ("root", "dba", None),
            ("ann", "bob", Some("42501")),
            ("svc", "dba", Some("42501")),
        ] {
            let mut command = cluster.write_command(actor, "mine", insert(&[(1, actor)]));
            command.user = target.into();
            let outcome = cluster.apply(USERS, Command::Write(command)).await;
            match expected {
                None => assert_eq!(outcome, Outcome::Written(1), "{actor} as {target}"),
                Some(sqlstate) => assert_eq!(code(outcome), sqlstate, "{actor} as {target}"),
            }
        }
    });
}

#[test]
fn a_command_planned_against_another_definition_is_stale() {
    with_tables(async |mut cluster| {
        let at = cluster.groups[&USERS].view().catalog().version;
        let mut command = cluster.write_command("ann", "mine", insert(&[(1, "a")]));
        command.plan.table_version += 1;
        assert_eq!(cluster.apply(USERS, Command::Write(command.clone())).await, Outcome::StaleCatalog { at });
        command.plan.table.0 += 1000;
        assert_eq!(cluster.apply(USERS, Command::Write(command)).await, Outcome::StaleCatalog { at });
    });
}

#[test]
fn a_write_that_came_to_the_wrong_group_changes_nothing() {
    with_tables(async |mut cluster| {
        let command = cluster.write_command("svc", "ours", insert(&[(1, "a")]));
        assert_eq!(code(cluster.apply(USERS, Command::Write(command)).await), "XX000");
        let command = cluster.write_command("ann", "mine", insert(&[(1, "a")]));
        assert_eq!(code(cluster.apply(SHARED, Command::Write(command)).await), "XX000");
    });
}

#[test]
fn rows_of_several_partitions_in_one_statement_are_not_supported() {
    super::cluster::run(async |env| {
        let mut cluster = Cluster::with_tables(&env).await;
        cluster
            .create_table(highwater_sql::plan::TableSpec { partition_columns: 1, ..spec("parted", TableKind::Shared) })
            .await;
        // The same table in a cluster of many shards: group 2 holds some of the keys only.
        let layout = crate::placement::Layout { shared_shards: 8, ..LAYOUT };
        let mut group = crate::group::GroupState::open(cluster.store.clone(), SHARED, layout).await.unwrap();
        let table = cluster.table("parted");
        let home = |id: i64| {
            let key = highwater_sql::key::encode_key(&[Value::BigInt(id)]).unwrap();
            layout.partitioned_group(table.id, &key)
        };
        let here = (0..).find(|id| home(*id) == SHARED).unwrap();
        let there = (0..).find(|id| home(*id) != SHARED).unwrap();
        let mut outcomes = Vec::new();
        for rows in [vec![(here, "a")], vec![(here + 1000, "a"), (there, "b")]] {
            let rows: Vec<_> = rows.into_iter().filter(|(id, _)| home(*id) == SHARED || *id == there).collect();
            let command = Command::Write(cluster.write_command("svc", "parted", insert(&rows)));
            let data = crate::command::Envelope { stamp: START, seed: 1, command }.encode();
            outcomes.push(group.apply(group.applied().next(), &data).await.unwrap().outcome);
        }
        assert_eq!(outcomes[0], Outcome::Written(1));
        assert_eq!(code(outcomes.remove(1)), "0A000");
    });
}

#[test]
fn a_statement_beyond_the_limit_of_rows_is_refused_and_says_what_to_do() {
    with_tables(async |mut cluster| {
        for (first, end) in [(0, 70_000), (70_000, 140_000), (140_000, 200_001)] {
            let rows: Vec<(i64, &str)> = (first..end).map(|id| (id, "")).collect();
            assert_eq!(cluster.write("ann", "mine", insert(&rows)).await, Outcome::Written(rows.len() as u64));
        }
        let diag = refused(cluster.write("ann", "mine", delete(TableAccess::Full)).await);
        assert_eq!(diag.sqlstate, SqlState::PROGRAM_LIMIT);
        assert_eq!(diag.message, "the statement reads more than 200000 rows and index entries; nothing was changed");
        assert!(diag.hint.is_some());
        assert_eq!(cluster.write("ann", "mine", delete(ids(0, 30_000))).await, Outcome::Written(30_001));
    });
}

#[test]
fn dropping_a_table_takes_its_rows_and_a_new_one_of_that_name_is_empty() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        let old = cluster.write_command("ann", "mine", insert(&[(2, "b")]));
        cluster.define(Ddl::DropTable { namespace: "app".into(), name: "mine".into(), if_exists: false }).await;
        cluster.create_table(spec("mine", TableKind::User)).await;
        assert_eq!(cluster.rows("ann", "mine").await, Vec::<String>::new());
        let rows = crate::keys::Keys::new(USERS).space(crate::keys::Space::Row);
        assert!(cluster.contents(USERS).await.iter().all(|(key, _)| !rows.contains(key)));
        let outcome = cluster.apply(USERS, Command::Write(old)).await;
        assert!(matches!(outcome, Outcome::StaleCatalog { .. }), "{outcome:?}");
    });
}
