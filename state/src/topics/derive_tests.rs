//! The promises of derivation: which changes become messages, where they go, and what an error does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use highwater_sql::catalog::{Catalog, ObjectId, Operation, PayloadMode, Role, Source, Table, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::EvalContext;
use highwater_sql::expr::{BinaryOp, Expr};
use highwater_sql::value::{DataType, Row, Value};

use super::derive::{Derivation, Derived, Outgoing, key_partition, partition_of};
use super::fixtures::{source, table, topic};
use super::payload::RowChange;
use crate::command::TopicRecord;
use crate::placement::Layout;

const LAYOUT: Layout = Layout { user_shards: 2, shared_shards: 4, stores: 1 };

fn messages(kind: TableKind) -> Table {
    let columns = [("id", DataType::BigInt), ("stars", DataType::Int)];
    Table { kind, ..table(1, "messages", &columns, &[0]) }
}

fn row(id: i64, stars: i32) -> Row {
    vec![Value::BigInt(id), Value::Int(stars)]
}

fn stars() -> Expr {
    Expr::Column(1, DataType::Int)
}

fn number(value: i32) -> Expr {
    Expr::Literal(Value::Int(value), DataType::Int)
}

fn binary(op: BinaryOp, left: Expr, right: Expr, data_type: DataType) -> Expr {
    Expr::Binary { op, left: Box::new(left), right: Box::new(right), data_type }
}

/// What a change of `table` derives under these sources of one topic with 8 partitions.
fn derive(table: &Table, sources: Vec<Source>, change: &RowChange<'_>) -> Result<Vec<(u32, TopicRecord)>, Diag> {
    let mut catalog = Catalog::default();
    catalog.topics.insert(ObjectId(7), topic(7, "events", 8, sources));
    let mut outgoing = Outgoing::new();
    let context = EvalContext::new(42, "ann", Role::User, &[], 0);
    Derivation::of(&catalog, &LAYOUT, table, change.operation()).derive(&context, 42, change, &mut outgoing)?;
    let records = |(group, derived): (u32, Derived)| derived.records.into_iter().map(move |record| (group, record));
    Ok(outgoing.into_destinations().flat_map(records).collect())
}

fn on(operation: Operation) -> Source {
    source(1, operation, PayloadMode::Key)
}

#[test]
fn a_change_goes_to_the_sources_of_its_operation_only() {
    let table = messages(TableKind::Shared);
    let (old, new) = (row(1, 1), row(1, 2));
    let sources = vec![on(Operation::Insert), on(Operation::Delete)];
    assert_eq!(derive(&table, sources.clone(), &RowChange::Insert { new: &new }).unwrap().len(), 1);
    assert_eq!(derive(&table, sources.clone(), &RowChange::Update { old: &old, new: &new }).unwrap().len(), 0);
    let deleted = derive(&table, sources, &RowChange::Delete { old: &old }).unwrap();
    assert_eq!(deleted[0].1.operation, Operation::Delete);
}

#[test]
fn a_record_says_what_happened_when_to_whom_and_goes_to_its_partitions_group() {
    let new = row(5, 1);
    let derived =
        derive(&messages(TableKind::User), vec![on(Operation::Insert)], &RowChange::Insert { new: &new }).unwrap();
    let partition = key_partition(Some("ann"), "5", 8);
    let record = TopicRecord {
        topic: ObjectId(7),
        partition,
        key: Some("5".into()),
        payload: br#"{"id":"5"}"#.to_vec(),
        timestamp: 42,
        user: Some("ann".into()),
        operation: Operation::Insert,
    };
    assert_eq!(derived, [(LAYOUT.topic_group(ObjectId(7), partition, 1), record)]);
}

#[test]
fn a_shared_row_belongs_to_nobody() {
    let new = row(5, 1);
    let derived =
        derive(&messages(TableKind::Shared), vec![on(Operation::Insert)], &RowChange::Insert { new: &new }).unwrap();
    assert_eq!((derived[0].1.user.clone(), derived[0].1.partition), (None, key_partition(None, "5", 8)));
}

#[test]
fn a_filter_looks_at_the_new_row_and_at_the_old_one_of_a_delete() {
    let table = messages(TableKind::Shared);
    let filter = || Some(binary(BinaryOp::Greater, stars(), number(3), DataType::Boolean));
    let sources = |operation| vec![Source { filter: filter(), ..on(operation) }];
    let (low, high) = (row(1, 1), row(1, 5));
    let count = |sources, change: RowChange<'_>| derive(&table, sources, &change).unwrap().len();
    assert_eq!(count(sources(Operation::Insert), RowChange::Insert { new: &low }), 0);
    assert_eq!(count(sources(Operation::Insert), RowChange::Insert { new: &high }), 1);
    assert_eq!(count(sources(Operation::Update), RowChange::Update { old: &low, new: &high }), 1);
    assert_eq!(count(sources(Operation::Update), RowChange::Update { old: &high, new: &low }), 0);
    assert_eq!(count(sources(Operation::Delete), RowChange::Delete { old: &high }), 1);
    let unknown = vec![Value::BigInt(1), Value::Null];
    assert_eq!(count(sources(Operation::Insert), RowChange::Insert { new: &unknown }), 0, "NULL is not true");
}

#[test]
fn partition_by_chooses_the_partition_by_its_values_text() {
    let new = row(1, 5);
    let by_stars = Source { partition_by: Some(stars()), ..on(Operation::Insert) };
    let derived = derive(&messages(TableKind::User), vec![by_stars], &RowChange::Insert { new: &new }).unwrap();
    assert_eq!(derived[0].1.partition, partition_of(b"5", 8));
}

#[test]
fn an_error_in_a_source_refuses_the_write_and_names_the_source() {
    let quotient = binary(BinaryOp::Divide, number(1), stars(), DataType::Int);
    let filter = binary(BinaryOp::Greater, quotient.clone(), number(0), DataType::Boolean);
    let table = messages(TableKind::Shared);
    let zero = row(1, 0);
    for (part, source) in [
        ("WHERE", Source { filter: Some(filter), ..on(Operation::Insert) }),
        ("PARTITION BY", Source { partition_by: Some(quotient), ..on(Operation::Insert) }),
    ] {
        let diag = derive(&table, vec![source], &RowChange::Insert { new: &zero }).unwrap_err();
        assert_eq!(diag.sqlstate, SqlState::DIVISION_BY_ZERO);
        let names = format!("the {part} of topic app.events's source app.messages ON INSERT failed: ");
        assert!(diag.message.starts_with(&names), "{}", diag.message);
    }
}

#[test]
fn partitions_are_fixed_for_ever() {
    assert_eq!(partition_of(b"", 1_000_000), 603_138);
    assert_eq!(key_partition(None, "5", 1), 0);
    assert_ne!(key_partition(Some("a"), "bc", u32::MAX), key_partition(Some("ab"), "c", u32::MAX));
}

#[test]
fn a_statement_whose_messages_would_not_fit_into_one_entry_is_refused() {
    let table = table(1, "files", &[("id", DataType::BigInt), ("body", DataType::Text)], &[0]);
    let mut catalog = Catalog::default();
    let full = source(1, Operation::Insert, PayloadMode::Full);
    catalog.topics.insert(ObjectId(7), topic(7, "events", 1, vec![full]));
    let context = EvalContext::new(42, "ann", Role::User, &[], 0);
    let derivation = Derivation::of(&catalog, &LAYOUT, &table, Operation::Insert);
    let row = vec![Value::BigInt(1), Value::Text("x".repeat(7 << 20))];
    let change = RowChange::Insert { new: &row };
    let mut outgoing = Outgoing::new();
    assert_eq!(derivation.derive(&context, 42, &change, &mut outgoing), Ok(()));
    let diag = derivation.derive(&context, 42, &change, &mut outgoing).unwrap_err();
    assert_eq!(diag.sqlstate, SqlState::PROGRAM_LIMIT);
    assert!(diag.message.contains("app.events"), "{}", diag.message);
}
