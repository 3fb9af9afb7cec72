//! The evaluation half of SQL: a filter over rows, stored rows, keys, and a grouped read.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use highwater_sql::catalog::{AccessLevel, Column, ObjectId, Role, Table, TableKind};
use highwater_sql::eval::{EvalContext, is_true};
use highwater_sql::expr::{AggregateCall, AggregateFunction, BinaryOp, Expr};
use highwater_sql::key::{decode_key, encode_key};
use highwater_sql::memory::Pool;
use highwater_sql::pipeline::{Pipeline, PipelineLimits};
use highwater_sql::plan::{Aggregate, Distinct, From, OutputColumn, QueryPlan, TableSpec};
use highwater_sql::row::{decode_row, encode_row};
use highwater_sql::value::{DataType, Row, Value};

const TYPES: [DataType; 4] = [DataType::BigInt, DataType::BigInt, DataType::Text, DataType::Timestamp];

fn table() -> Table {
    let column = |(id, data_type): (u32, DataType)| Column::new(id, format!("c{id}"), data_type);
    TableSpec {
        namespace: "app".into(),
        name: "messages".into(),
        kind: TableKind::User,
        access_level: AccessLevel::Private,
        columns: (1..).zip(TYPES).map(column).collect(),
        primary_key: vec![0],
        partition_columns: 0,
        checks: Vec::new(),
        ttl_seconds: None,
        indexes: Vec::new(),
    }
    .into_table(ObjectId(1), 0)
}

fn row(id: i64) -> Row {
    vec![
        Value::BigInt(id),
        Value::BigInt(id % 16),
        Value::Text(format!("message number {id}, of a usual length for a chat")),
        Value::Timestamp(1_767_323_045_000_000 + id),
    ]
}

fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    Expr::Binary { op, left: Box::new(left), right: Box::new(right), data_type: DataType::Boolean }
}

/// `c2 = 3 AND c3 LIKE '%number%'`
fn filter() -> Expr {
    let like = Expr::Like {
        expr: Box::new(Expr::Column(2, DataType::Text)),
        pattern: Box::new(Expr::Literal(Value::Text("%number%".into()), DataType::Text)),
        escape: None,
        case_insensitive: false,
        negated: false,
    };
    let room =
        binary(BinaryOp::Equal, Expr::Column(1, DataType::BigInt), Expr::Literal(Value::BigInt(3), DataType::BigInt));
    binary(BinaryOp::And, room, like)
}

fn grouped() -> QueryPlan {
    let column = |at| OutputColumn {
        name: "c".into(),
        expr: Expr::Column(at, DataType::BigInt),
        data_type: DataType::BigInt,
        primary_key: false,
        not_null: false,
        unique: false,
    };
    let call = AggregateCall {
        function: AggregateFunction::CountStar,
        args: Vec::new(),
        distinct: false,
        data_type: DataType::BigInt,
        order: Vec::new(),
        filtered: false,
    };
    QueryPlan {
        before: Vec::new(),
        unused: Vec::new(),
        from: From::Nothing,
        filter: None,
        aggregate: Some(Aggregate { keys: vec![Expr::Column(1, DataType::BigInt)], calls: vec![call], sets: vec![] }),
        having: None,
        distinct: Distinct::No,
        projection: vec![column(0), column(1)],
        order_by: Vec::new(),
        limit: None,
        offset: None,
    }
}

fn benches(c: &mut Criterion) {
    let table = table();
    let rows: Vec<Row> = (0..1_000).map(row).collect();
    let context = || EvalContext::new(0, "alice", Role::User, &[], 1);

    let filter = filter();
    c.bench_function("filter 1000 rows", |b| {
        let context = context();
        b.iter(|| rows.iter().filter(|row| is_true(black_box(&filter), row, &context) == Ok(true)).count());
    });

    c.bench_function("encode row", |b| b.iter(|| encode_row(&table, black_box(&row(7)), 1)));
    let stored = encode_row(&table, &row(7), 1);
    c.bench_function("decode row", |b| b.iter(|| decode_row(&table, black_box(&stored))));

    let key = [Value::Text("room-17".into()), Value::BigInt(42)];
    c.bench_function("encode key", |b| b.iter(|| encode_key(black_box(&key))));
    let types = [DataType::Text, DataType::BigInt];
    let bytes = encode_key(&key).unwrap_or_default();
    c.bench_function("decode key", |b| b.iter(|| decode_key(&types, black_box(&bytes))));

    let plan = grouped();
    let limits = PipelineLimits { max_rows: 10_000, max_bytes: 64 << 20, pool: Pool::unbounded() };
    c.bench_function("group 1000 rows", |b| {
        b.iter(|| {
            let mut pipeline = Pipeline::new(&plan, context(), limits.clone())?;
            for row in &rows {
                pipeline.push(row)?;
            }
            pipeline.finish()
        });
    });
}

criterion_group!(sql_eval, benches);
criterion_main!(sql_eval);
