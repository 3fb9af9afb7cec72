#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use crate::memory::Pool;
use quickcheck::quickcheck;

use super::*;
use crate::expr::{AggregateCall, AggregateFunction, BinaryOp};
use crate::plan::{Distinct, From, OutputColumn, SortKey};
use crate::value::{DataType, sort_compare};

const LIMITS: PipelineLimits = PipelineLimits { max_rows: 1_000, max_bytes: 1 << 20, pool: Pool::unbounded() };

fn column(at: u32) -> Expr {
    Expr::Column(at, DataType::Int)
}

fn int(value: i64) -> Expr {
    Expr::Literal(Value::BigInt(value), DataType::BigInt)
}

fn output(expr: Expr) -> OutputColumn {
    OutputColumn {
        name: "c".into(),
        expr,
        data_type: DataType::Int,
        primary_key: false,
        not_null: false,
        unique: false,
    }
}

fn plan(projection: Vec<Expr>) -> QueryPlan {
    QueryPlan {
        before: Vec::new(),
        unused: Vec::new(),
        from: From::Nothing,
        filter: None,
        aggregate: None,
        having: None,
        distinct: Distinct::No,
        projection: projection.into_iter().map(output).collect(),
        order_by: Vec::new(),
        limit: None,
        offset: None,
    }
}

fn by(at: u32, descending: bool, nulls_first: bool) -> SortKey {
    SortKey { expr: column(at), descending, nulls_first }
}

fn start(plan: &QueryPlan, limits: PipelineLimits) -> Result<Pipeline, Diag> {
    Pipeline::new(plan, EvalContext::new(0, "alice", Role::User, &[], 0), limits)
}

/// Pushes the rows until it is done; answers the result and how many rows were pushed.
fn run(plan: &QueryPlan, rows: &[Row]) -> Result<(Vec<Row>, usize), Diag> {
    let mut pipeline = start(plan, LIMITS)?;
    let mut pushed = 0;
    for row in rows {
        pushed += 1;
        if pipeline.push(row)? == Flow::Done {
            break;
        }
    }
    Ok((pipeline.finish()?, pushed))
}

fn rows(values: &[(Option<i32>, i32)]) -> Vec<Row> {
    values.iter().map(|(first, second)| vec![first.map_or(Value::Null, Value::Int), Value::Int(*second)]).collect()
}

fn second(rows: &[Row]) -> Vec<i64> {
    rows.iter().map(|row| row.last().unwrap().as_i64().unwrap()).collect()
}

#[test]
fn filters_and_projects_in_order_of_arrival() {
    let mut plan = plan(vec![column(1)]);
    plan.filter = Some(Expr::Binary {
        op: BinaryOp::Greater,
        left: Box::new(column(0)),
        right: Box::new(int(1)),
        data_type: DataType::Boolean,
    });
    let (found, _) = run(&plan, &rows(&[(Some(1), 10), (Some(3), 30), (None, 40), (Some(2), 20)])).unwrap();
    assert_eq!(second(&found), [30, 20]);
}

#[test]
fn a_limit_without_order_stops_early() {
    let mut plan = plan(vec![column(1)]);
    plan.limit = Some(int(2));
    plan.offset = Some(int(1));
    let input = rows(&[(None, 1), (None, 2), (None, 3), (None, 4), (None, 5)]);
    let (found, pushed) = run(&plan, &input).unwrap();
    assert_eq!((second(&found), pushed), (vec![2, 3], 3));
    plan.limit = Some(int(0));
    assert!(start(&plan, LIMITS).unwrap().is_done());
    assert_eq!(run(&plan, &input).unwrap(), (Vec::new(), 1));
}

#[test]
fn order_by_with_a_limit_keeps_only_what_it_needs() {
    let mut plan = plan(vec![column(0), column(1)]);
    plan.order_by = vec![by(0, false, false)];
    plan.limit = Some(int(2));
    plan.offset = Some(int(1));
    let mut pipeline =
        start(&plan, PipelineLimits { max_rows: 3, max_bytes: 1 << 20, pool: Pool::unbounded() }).unwrap();
    for at in (0..500).rev() {
        assert_eq!(pipeline.push(&[Value::Int(at), Value::Int(at * 10)]).unwrap(), Flow::More);
    }
    assert_eq!(second(&pipeline.finish().unwrap()), [10, 20]);
}

#[test]
fn nulls_stand_where_they_are_told() {
    let input = rows(&[(Some(1), 1), (None, 2), (Some(3), 3)]);
    let sorted = |descending, nulls_first| {
        let mut plan = plan(vec![column(1)]);
        plan.order_by = vec![by(0, descending, nulls_first)];
        second(&run(&plan, &input).unwrap().0)
    };
    assert_eq!(sorted(false, false), [1, 3, 2]);
    assert_eq!(sorted(false, true), [2, 1, 3]);
    assert_eq!(sorted(true, true), [2, 3, 1]);
    assert_eq!(sorted(true, false), [3, 1, 2]);
}

fn aggregate(keys: Vec<Expr>, function: AggregateFunction, args: Vec<Expr>) -> Option<Aggregate> {
    Some(Aggregate {
        sets: Vec::new(),
        keys,
        calls: vec![AggregateCall {
            function,
            args,
            distinct: false,
            data_type: DataType::BigInt,
            order: Vec::new(),
            filtered: false,
        }],
    })
}

#[test]
fn groups_come_in_the_order_of_their_keys_and_null_is_a_group() {
    let mut plan = plan(vec![column(0), column(1)]);
    plan.aggregate = aggregate(vec![column(0)], AggregateFunction::Sum, vec![column(1)]);
    let (found, _) = run(&plan, &rows(&[(Some(2), 1), (None, 2), (Some(1), 3), (None, 4), (Some(2), 5)])).unwrap();
    let wanted = [(Value::Int(1), 3), (Value::Int(2), 6), (Value::Null, 6)];
    assert_eq!(found, wanted.map(|(key, sum)| vec![key, Value::BigInt(sum)]));
}

#[test]
fn one_group_without_keys_is_there_without_rows() {
    let mut plan = plan(vec![column(0)]);
    plan.aggregate = aggregate(Vec::new(), AggregateFunction::CountStar, Vec::new());
    assert_eq!(run(&plan, &[]).unwrap().0, vec![vec![Value::BigInt(0)]]);
    plan.aggregate = aggregate(vec![column(0)], AggregateFunction::CountStar, Vec::new());
    assert_eq!(run(&plan, &[]).unwrap().0, Vec::<Row>::new());
}

#[test]
fn groups_are_ordered_and_limited_like_rows() {
    let mut plan = plan(vec![column(0), column(1)]);
    plan.aggregate = aggregate(vec![column(0)], AggregateFunction::CountStar, Vec::new());
    plan.order_by = vec![by(1, true, true)];
    plan.limit = Some(int(1));
    let (found, pushed) = run(&plan, &rows(&[(Some(1), 0), (Some(2), 0), (Some(2), 0)])).unwrap();
    assert_eq!((found, pushed), (vec![vec![Value::Int(2), Value::BigInt(2)]], 3));
}

#[test]
fn limits_are_refusals_that_say_what_to_do() {
    let mut plan = plan(vec![column(0)]);
    let small = PipelineLimits { max_rows: 2, max_bytes: 1 << 20, pool: Pool::unbounded() };
    let fill = |plan: &QueryPlan, limits| -> Diag {
        let mut pipeline = start(plan, limits).unwrap();
        (0..10).map(|at| pipeline.push(&[Value::Int(at), Value::Int(at)])).find_map(Result::err).unwrap()
    };
    let diag = fill(&plan, small.clone());
    assert_eq!(diag.sqlstate, SqlState::PROGRAM_LIMIT);
    assert!(diag.hint.is_some());
    assert_eq!(
        fill(&plan, PipelineLimits { max_rows: 100, max_bytes: 100, pool: Pool::unbounded() }).sqlstate,
        SqlState::PROGRAM_LIMIT
    );
    plan.order_by = vec![by(0, false, false)];
    assert_eq!(fill(&plan, small.clone()).sqlstate, SqlState::PROGRAM_LIMIT);
    plan.aggregate = aggregate(vec![column(0)], AggregateFunction::CountStar, Vec::new());
    assert_eq!(fill(&plan, small).sqlstate, SqlState::PROGRAM_LIMIT);
}

#[test]
fn limit_and_offset_are_checked_at_the_start() {
    let mut plan = plan(vec![column(0)]);
    plan.limit = Some(int(-1));
    assert_eq!(start(&plan, LIMITS).unwrap_err().sqlstate, SqlState::INVALID_LIMIT);
    plan.limit = Some(Expr::Literal(Value::Null, DataType::BigInt));
    plan.offset = Some(Expr::Literal(Value::Null, DataType::BigInt));
    assert_eq!(run(&plan, &rows(&[(Some(1), 1)])).unwrap().0.len(), 1);
    plan.offset = Some(Expr::Param(0, DataType::BigInt));
    assert_eq!(start(&plan, LIMITS).unwrap_err().sqlstate, SqlState::UNDEFINED_PARAMETER);
}

#[test]
fn an_error_in_a_row_is_the_querys_error() {
    let division = Expr::Binary {
        op: BinaryOp::Divide,
        left: Box::new(int(1)),
        right: Box::new(column(0)),
        data_type: DataType::BigInt,
    };
    let mut pipeline = start(&plan(vec![division]), LIMITS).unwrap();
    assert_eq!(pipeline.push(&[Value::Int(0)]).unwrap_err().sqlstate, SqlState::DIVISION_BY_ZERO);
}

quickcheck! {
    fn order_and_limit_are_a_stable_sort_and_a_cut(values: Vec<(Option<i8>, u8)>, limit: Option<u8>, offset: u8, descending: bool) -> bool {
        let mut plan = plan(vec![column(0), column(1)]);
        plan.order_by = vec![by(0, descending, descending)];
        plan.limit = limit.map(|limit| int(i64::from(limit % 16)));
        plan.offset = Some(int(i64::from(offset % 8)));
        let input: Vec<Row> = values.iter().enumerate()
            .map(|(at, (key, _))| vec![key.map_or(Value::Null, |key| Value::Int(i32::from(key) % 4)), Value::Int(i32::try_from(at).unwrap())])
            .collect();
        let mut wanted = input.clone();
        wanted.sort_by(|left, right| if descending { sort_compare(&right[0], &left[0]) } else { sort_compare(&left[0], &right[0]) });
        let wanted: Vec<Row> = wanted.into_iter().skip(usize::from(offset % 8)).take(limit.map_or(usize::MAX, |limit| usize::from(limit % 16))).collect();
        run(&plan, &input).unwrap().0 == wanted
    }
}

/// The result made by so many steps at a time, and how many portions it took.
fn in_portions(pipeline: Pipeline, steps: usize) -> (Vec<Row>, usize) {
    let mut finishing = pipeline.finishing();
    for portions in 1.. {
        if let Some(rows) = finishing.step(steps).unwrap() {
            return (rows, portions);
        }
    }
    unreachable!("portions are counted without end")
}

/// Every kind of work behind the last row.
fn kinds() -> Vec<QueryPlan> {
    let ordered = |distinct, limit: Option<i64>| QueryPlan {
        order_by: vec![by(0, true, false)],
        distinct,
        limit: limit.map(int),
        offset: Some(int(1)),
        ..plan(vec![column(0), column(1)])
    };
    let mut grouped = plan(vec![column(0), column(1)]);
    grouped.aggregate = aggregate(vec![column(0)], AggregateFunction::Sum, vec![column(1)]);
    let mut settled = grouped.clone();
    if let Some(aggregate) = &mut settled.aggregate {
        aggregate.calls[0].distinct = true;
    }
    let mut cut = settled.clone();
    cut.limit = Some(int(2));
    let mut in_order = settled.clone();
    if let Some(aggregate) = &mut in_order.aggregate {
        aggregate.calls[0].order = vec![crate::expr::SortDirection { descending: true, nulls_first: false }];
        aggregate.calls[0].args.push(column(1));
    }
    let distinct = QueryPlan { distinct: Distinct::Rows, ..plan(vec![column(0)]) };
    vec![
        ordered(Distinct::No, None),
        ordered(Distinct::No, Some(40)),
        ordered(Distinct::Rows, None),
        ordered(Distinct::On(1), Some(3)),
        distinct,
        grouped,
        settled,
        cut,
        in_order,
    ]
}

fn pushed(plan: &QueryPlan, rows: &[Row]) -> Pipeline {
    let mut pipeline =
        start(plan, PipelineLimits { max_rows: 1_000_000, max_bytes: 1 << 30, pool: Pool::unbounded() }).unwrap();
    for row in rows {
        pipeline.push(row).unwrap();
    }
    pipeline
}

quickcheck! {
    fn a_result_made_in_portions_is_the_one_made_in_one_go(values: Vec<(Option<i32>, i32)>, steps: u8) -> bool {
        let rows = rows(&values.iter().map(|(key, value)| (key.map(|key| key % 5), value % 7)).collect::<Vec<_>>());
        kinds().iter().all(|plan| {
            let whole = pushed(plan, &rows).finish().unwrap();
            in_portions(pushed(plan, &rows), usize::from(steps % 9) + 1).0 == whole
        })
    }
}

#[test]
fn a_portion_is_a_number_of_rows_whatever_the_number_of_all() {
    let rows = rows(&(0..20_000).map(|at| (Some(at * 7_919 % 20_011), at)).collect::<Vec<_>>());
    for (at, plan) in kinds().iter().enumerate() {
        let kept = match &plan.limit {
            // A heap of 41 rows is all that ORDER BY with this LIMIT keeps.
            Some(_) if plan.aggregate.is_none() && plan.distinct == Distinct::No => 41,
            _ => rows.len(),
        };
        let (_, portions) = in_portions(pushed(plan, &rows), 10);
        assert!(portions >= kept / 10, "plan {at}: {kept} rows in {portions} portions of 10");
    }
}
