//! ALTER TABLE: what rows that are there show, what is held to new rules, and what depends on what.

use highwater_sql::catalog::{Check, Column, ColumnId, Operation, Source};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::expr::{BinaryOp, Expr, Function};
use highwater_sql::plan::{Ddl, TableAccess, TableChange, WriteKind};
use highwater_sql::value::{DataType, Row, Value};

use super::cluster::{Cluster, START, binary, code, ids, insert, literal, source, update, with_tables};
use crate::outcome::Outcome;

impl Cluster {
    async fn values(&self, column: &str) -> Vec<Value> {
        let position = self.table("mine").columns.iter().position(|known| known.name == column).unwrap();
        let row = |(row, _): (Row, u64)| row[position].clone();
        self.rows_with_seq("ann", "mine").await.into_iter().map(row).collect()
    }
}

fn add(column: Column) -> TableChange {
    TableChange::AddColumn(Box::new(column))
}

fn state(result: Result<(), Diag>) -> SqlState {
    result.unwrap_err().sqlstate
}

fn n_above(least: i32) -> Expr {
    binary(BinaryOp::Greater, Expr::Column(3, DataType::Int), literal(Value::Int(least)), DataType::Boolean)
}

#[test]
fn rows_that_are_there_show_the_default_that_a_column_was_added_with() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a"), (2, "b")])).await;
        let new =
            Column { default: Some(literal(Value::Int(5))), nullable: false, ..Column::new(0, "stars", DataType::Int) };
        cluster.alter("mine", add(new)).await.unwrap();
        let five = || Value::Int(5);
        assert_eq!(cluster.values("stars").await, [five(), five()]);
        let stars = cluster.table("mine").columns[4].id;
        let six = TableChange::SetDefault { column: stars, default: Some((literal(Value::Int(6)), "6".into())) };
        cluster.alter("mine", six).await.unwrap();
        cluster.write("ann", "mine", insert(&[(3, "c")])).await;
        cluster.alter("mine", TableChange::DropNotNull(stars)).await.unwrap();
        cluster.write("ann", "mine", update(ids(1, 1), stars.0, literal(Value::Null))).await;
        assert_eq!(cluster.values("stars").await, [Value::Null, five(), Value::Int(6)]);
        cluster.write("ann", "mine", update(TableAccess::Full, 3, literal(Value::Text("x".into())))).await;
        assert_eq!(cluster.values("stars").await, [Value::Null, five(), Value::Int(6)]);
    });
}

#[test]
fn several_changes_are_made_together_or_not_at_all() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        let (table, next) = (cluster.table("mine"), cluster.table("mine").next_column);
        let new = || add(Column { default: Some(literal(Value::Int(5))), ..Column::new(0, "stars", DataType::Int) });
        let rename = |to: &str| TableChange::RenameColumn { column: ColumnId(next), to: to.into() };
        let list = vec![new(), rename("points"), new(), TableChange::DropColumn(ColumnId(2))];
        cluster.alter("mine", TableChange::Several(list)).await.unwrap();
        let names: Vec<String> = cluster.table("mine").columns.iter().map(|column| column.name.clone()).collect();
        let before = table.columns.iter().filter(|column| column.id != ColumnId(2)).map(|column| column.name.clone());
        assert_eq!(names, before.chain(["points".into(), "stars".into()]).collect::<Vec<_>>());
        assert_eq!(cluster.values("points").await, [Value::Int(5)]);

        let version = cluster.table("mine").version;
        let taken = TableChange::RenameColumn { column: ColumnId(3), to: "stars".into() };
        let list = vec![TableChange::DropColumn(ColumnId(next)), taken];
        assert_eq!(state(cluster.alter("mine", TableChange::Several(list)).await), SqlState::DUPLICATE_COLUMN);
        let list = vec![TableChange::DropColumn(ColumnId(next)), TableChange::SetNotNull(ColumnId(3))];
        assert_eq!(state(cluster.alter("mine", TableChange::Several(list)).await), SqlState::NOT_SUPPORTED);
        assert_eq!(cluster.table("mine").version, version, "nothing of a refused list was made");
    });
}

#[test]
fn a_change_of_type_takes_the_default_along() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        let new = Column { default: Some(literal(Value::Int(5))), ..Column::new(0, "stars", DataType::Int) };
        cluster.alter("mine", add(new)).await.unwrap();
        let stars = |cluster: &Cluster| cluster.table("mine").columns.last().unwrap().id;
        let to = |column, data_type| TableChange::SetType { column, data_type, max_chars: None };
        cluster.alter("mine", to(stars(&cluster), DataType::Text)).await.unwrap();
        cluster.write("ann", "mine", insert(&[(2, "b")])).await;
        let five = || Value::Text("5".into());
        assert_eq!(cluster.values("stars").await, [five(), five()]);
        let word = Some((literal(Value::Text("many".into())), "'many'".into()));
        cluster.alter("mine", TableChange::SetDefault { column: stars(&cluster), default: word }).await.unwrap();
        let diag = cluster.alter("mine", to(stars(&cluster), DataType::Json)).await.unwrap_err();
        assert!(diag.message.starts_with("the DEFAULT of column \"stars\" does not convert to"), "{diag:?}");
    });
}

#[test]
fn a_default_of_now_is_evaluated_once() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        let now = Expr::Function { function: Function::Now, args: vec![], data_type: DataType::DateTime };
        let new = Column { default: Some(now), ..Column::new(0, "at", DataType::DateTime) };
        cluster.alter("mine", add(new)).await.unwrap();
        cluster.now += 1_000_000;
        cluster.write("ann", "mine", insert(&[(2, "b")])).await;
        assert_eq!(cluster.values("at").await, [Value::DateTime(START), Value::DateTime(START + 1_000_000)]);
    });
}

#[test]
fn a_column_that_must_be_given_is_added_only_to_a_table_without_rows() {
    with_tables(async |mut cluster| {
        let new = || add(Column { nullable: false, ..Column::new(0, "must", DataType::Int) });
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        assert_eq!(state(cluster.alter("mine", new()).await), SqlState::NOT_NULL_VIOLATION);
        assert_eq!(cluster.table("mine").columns.len(), 4);
        cluster.write("ann", "mine", WriteKind::Truncate).await;
        cluster.alter("mine", new()).await.unwrap();
        assert_eq!(code(cluster.write("ann", "mine", insert(&[(1, "a")])).await), "23502");
    });
}

#[test]
fn a_renamed_column_and_table_keep_their_rows() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        let to = "text".to_owned();
        cluster.alter("mine", TableChange::RenameColumn { column: ColumnId(3), to: to.clone() }).await.unwrap();
        assert_eq!(cluster.values("text").await, [Value::Text("a".into())]);
        let again = TableChange::RenameColumn { column: ColumnId(4), to };
        assert_eq!(state(cluster.alter("mine", again).await), SqlState::DUPLICATE_COLUMN);
        assert_eq!(state(cluster.alter("mine", TableChange::Rename("ours".into())).await), SqlState::DUPLICATE_TABLE);
        cluster.alter("mine", TableChange::Rename("yours".into())).await.unwrap();
        assert_eq!(cluster.rows("ann", "yours").await, ["1:a:7"]);
    });
}

#[test]
fn a_renamed_column_is_renamed_in_the_routes_of_topics_and_nothing_else_of_them_changes() {
    with_tables(async |mut cluster| {
        let mine = cluster.table("mine").id;
        let topic = cluster.create_topic(mine, &[Operation::Delete]).await;
        let source = Source {
            filter: Some(n_above(0)),
            filter_text: Some("n > 0 AND mine.n < 99".into()),
            partition_by: Some(Expr::Column(3, DataType::Int)),
            partition_by_text: Some("n".into()),
            ..source(mine, Operation::Insert)
        };
        cluster.define(Ddl::AddSource { topic, table_version: 1, source: source.clone() }).await;
        cluster.alter("mine", TableChange::RenameColumn { column: ColumnId(4), to: "Stars".to_owned() }).await.unwrap();
        let sources = cluster.groups[&crate::placement::META].view().catalog().topics[&topic].sources.clone();
        let renamed = Source {
            filter_text: Some("\"Stars\" > 0 AND mine.\"Stars\" < 99".into()),
            partition_by_text: Some("\"Stars\"".into()),
            ..source
        };
        assert_eq!(sources, [super::cluster::source(mine, Operation::Delete), renamed]);
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        cluster.ship(super::cluster::USERS).await;
        let view = cluster.groups[&super::cluster::SHARED].view();
        let start = highwater_sql::plan::StartPosition::Earliest;
        assert_eq!(view.messages(topic, 0, start, 10, 1 << 20).await.unwrap().messages.len(), 1);
    });
}

#[test]
fn a_dropped_column_is_gone_and_one_of_the_same_name_does_not_bring_its_values_back() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        cluster.alter("mine", TableChange::DropColumn(ColumnId(3))).await.unwrap();
        cluster.alter("mine", add(Column::new(0, "body", DataType::Text))).await.unwrap();
        assert_eq!(cluster.values("body").await, [Value::Null]);
        assert_eq!(cluster.values("n").await, [Value::Int(7)]);
        // The check on n stands behind the dropped column.
        assert_eq!(code(cluster.write("ann", "mine", update(ids(1, 1), 4, literal(Value::Int(-1)))).await), "23514");
    });
}

#[test]
fn what_depends_on_a_column_refuses_its_removal_and_its_type_and_is_named() {
    with_tables(async |mut cluster| {
        let mine = cluster.table("mine").id;
        let topic = cluster.create_topic(mine, &[]).await;
        let filter = binary(
            BinaryOp::Equal,
            Expr::Column(2, DataType::Text),
            literal(Value::Text("a".into())),
            DataType::Boolean,
        );
        let source = Source { filter: Some(filter), ..source(mine, Operation::Insert) };
        cluster.define(Ddl::AddSource { topic, table_version: 1, source }).await;
        cluster.change("mine", cluster.index_ddl("mine", "by_n", &[4], false)).await.unwrap();
        for (id, dependents) in [
            (1, "These do: the primary key."),
            (3, "These do: a source of topic \"app.events\"."),
            (4, "These do: index \"by_n\", constraint \"mine_check\"."),
        ] {
            let column = ColumnId(id);
            let to_json = TableChange::SetType { column, data_type: DataType::Json, max_chars: None };
            let refused =
                [(TableChange::DropColumn(column), SqlState::DEPENDENT_OBJECTS), (to_json, SqlState::NOT_SUPPORTED)];
            for (change, sqlstate) in refused {
                let diag = cluster.alter("mine", change).await.unwrap_err();
                assert_eq!(diag.sqlstate, sqlstate);
                assert_eq!(diag.detail.as_deref(), Some(dependents));
            }
        }
        // The source speaks of the column behind the one that goes.
        cluster.alter("mine", TableChange::DropColumn(ColumnId(2))).await.unwrap();
        for body in ["a", "b"] {
            cluster.write("ann", "mine", insert(&[(i64::from(body.as_bytes()[0]), body)])).await;
        }
        cluster.ship(super::cluster::USERS).await;
        let view = cluster.groups[&super::cluster::SHARED].view();
        let start = highwater_sql::plan::StartPosition::Earliest;
        assert_eq!(view.messages(topic, 0, start, 10, 1 << 20).await.unwrap().messages.len(), 1);
    });
}

#[test]
fn not_null_holds_for_new_rows_at_once_and_for_old_ones_or_not_at_all() {
    with_tables(async |mut cluster| {
        let null_body = || WriteKind::Insert {
            columns: vec![ColumnId(1)],
            rows: vec![vec![Some(literal(Value::BigInt(9)))]],
            conflict: None,
        };
        cluster.write("ann", "mine", insert(&[(1, "a"), (2, "b"), (3, "c")])).await;
        cluster.write("ann", "mine", null_body()).await;
        let diag = cluster.alter("mine", TableChange::SetNotNull(ColumnId(3))).await.unwrap_err();
        assert_eq!(diag.sqlstate, SqlState::NOT_NULL_VIOLATION);
        assert_eq!(diag.detail.as_deref(), Some("It is in a row of user \"ann\"."));
        assert!(cluster.table("mine").columns[2].nullable);
        cluster.write("ann", "mine", update(ids(9, 9), 3, literal(Value::Text("d".into())))).await;
        let table = cluster.table("mine");
        let (id, version) = (table.id, table.version);
        let change = TableChange::SetNotNull(ColumnId(3));
        cluster.define(Ddl::AlterTable { table: id, table_version: version, change }).await;
        assert_eq!(code(cluster.write("ann", "mine", update(ids(1, 1), 3, literal(Value::Null))).await), "23502");
        while !cluster.pass("mine", 1).await {}
        assert_eq!(cluster.end_pass("mine").await, Some(Ok(())));
        assert!(!cluster.table("mine").columns[2].nullable);
    });
}

#[test]
fn a_check_is_added_when_every_row_holds_it() {
    with_tables(async |mut cluster| {
        cluster.write("ann", "mine", insert(&[(1, "a"), (2, "b"), (3, "c")])).await;
        let check = |least| {
            TableChange::AddCheck(Check { name: "enough".into(), expr: n_above(least), text: format!("n > {least}") })
        };
        assert_eq!(state(cluster.alter("mine", check(7)).await), SqlState::CHECK_VIOLATION);
        assert_eq!(cluster.table("mine").checks.len(), 1);
        cluster.alter("mine", check(6)).await.unwrap();
        assert_eq!(code(cluster.write("ann", "mine", update(ids(1, 1), 4, literal(Value::Int(6)))).await), "23514");
        assert_eq!(state(cluster.alter("mine", check(1)).await), SqlState::DUPLICATE_OBJECT);
        cluster.alter("mine", TableChange::DropConstraint("enough".into())).await.unwrap();
        assert_eq!(
            cluster.write("ann", "mine", update(ids(1, 1), 4, literal(Value::Int(6)))).await,
            Outcome::Written(1)
        );
    });
}

#[test]
fn a_change_of_type_converts_rows_when_they_are_read_step_by_step() {
    with_tables(async |mut cluster| {
        cluster.alter("mine", add(Column::new(0, "x", DataType::Double))).await.unwrap();
        let id = |cluster: &Cluster| cluster.table("mine").columns[4].id;
        let set = |cluster: &Cluster, value| update(TableAccess::Full, id(cluster).0, literal(value));
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        let kind = set(&cluster, Value::Double(1.6));
        cluster.write("ann", "mine", kind).await;
        let to =
            |cluster: &Cluster, data_type| TableChange::SetType { column: id(cluster), data_type, max_chars: None };
        let change = to(&cluster, DataType::Int);
        cluster.alter("mine", change).await.unwrap();
        assert_eq!(cluster.values("x").await, [Value::Int(2)]);
        let change = to(&cluster, DataType::Double);
        cluster.alter("mine", change).await.unwrap();
        // What was rounded stays rounded, what was written since is as written.
        assert_eq!(cluster.values("x").await, [Value::Double(2.0)]);
        cluster.write("ann", "mine", insert(&[(2, "b")])).await;
        let kind = update(ids(2, 2), id(&cluster).0, literal(Value::Double(1.6)));
        cluster.write("ann", "mine", kind).await;
        assert_eq!(cluster.values("x").await, [Value::Double(2.0), Value::Double(1.6)]);
        let change = to(&cluster, DataType::Text);
        cluster.alter("mine", change).await.unwrap();
        assert_eq!(cluster.values("x").await, [Value::Text("2".into()), Value::Text("1.6".into())]);
    });
}

#[test]
fn a_type_that_a_row_does_not_convert_to_is_refused_and_nothing_changes() {
    with_tables(async |mut cluster| {
        cluster.alter("mine", add(Column::new(0, "x", DataType::BigInt))).await.unwrap();
        let id = cluster.table("mine").columns[4].id;
        cluster.write("ann", "mine", insert(&[(1, "a")])).await;
        cluster.write("ann", "mine", update(ids(1, 1), id.0, literal(Value::BigInt(1 << 40)))).await;
        let change = TableChange::SetType { column: id, data_type: DataType::Int, max_chars: None };
        assert_eq!(state(cluster.alter("mine", change).await), SqlState::OUT_OF_RANGE);
        assert_eq!(cluster.values("x").await, [Value::BigInt(1 << 40)]);
        let shorter =
            |most| TableChange::SetType { column: ColumnId(3), data_type: DataType::Text, max_chars: Some(most) };
        cluster.write("ann", "mine", update(ids(1, 1), 3, literal(Value::Text("four".into())))).await;
        assert_eq!(state(cluster.alter("mine", shorter(3)).await), SqlState::STRING_TRUNCATION);
        cluster.alter("mine", shorter(4)).await.unwrap();
        let five = update(ids(1, 1), 3, literal(Value::Text("fiver".into())));
        assert_eq!(code(cluster.write("ann", "mine", five).await), "22001");
    });
}

#[test]
fn a_change_that_was_bound_to_another_definition_is_bound_anew() {
    with_tables(async |mut cluster| {
        let table = cluster.table("mine").id;
        let change = TableChange::Comment(Some("of each user".into()));
        let ddl = |version| Ddl::AlterTable { table, table_version: version, change: change.clone() };
        assert!(matches!(cluster.ddl("root", ddl(2)).await, Outcome::StaleCatalog { .. }));
        cluster.define(ddl(1)).await;
        assert_eq!(cluster.table("mine").comment.as_deref(), Some("of each user"));
        let old = cluster.write_command("ann", "mine", insert(&[(1, "a")]));
        let mut old = old;
        old.plan.table_version = 1;
        let outcome = cluster.apply(super::cluster::USERS, crate::command::Command::Write(old)).await;
        assert!(matches!(outcome, Outcome::StaleCatalog { .. }));
    });
}
