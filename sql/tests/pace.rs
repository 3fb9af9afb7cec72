//! How long a query holds its core: what it does between two pauses depends on rows by the hundred, not on how many there are.
//!
//! Work is counted, not timed: every call of the allocator. Rows that are read, kept, compared by new keys or given back are
//! allocated, copied and freed one by one, so what handles many of them in one go shows.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use highwater_sql::bind::{BindContext, bind};
use highwater_sql::catalog::{Catalog, CatalogDelta, CatalogVersion, Namespace, Role};
use highwater_sql::diag::Diag;
use highwater_sql::execute::{Executor, Source, Surroundings};
use highwater_sql::memory::Pool;
use highwater_sql::parse::parse;
use highwater_sql::pipeline::{PipelineLimits, Steps};
use highwater_sql::plan::{Plan, QueryPlan};
use highwater_sql::value::{Row, Value};

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, counting the calls of each thread.
struct Counting;

// SAFETY: everything is the system's allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        CALLS.set(CALLS.get() + 1);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Nothing is read; what is done between two pauses is counted.
#[derive(Default)]
struct Watch {
    began: Cell<usize>,
    longest: Cell<usize>,
}

impl Watch {
    fn note(&self) {
        let now = CALLS.get();
        self.longest.set(self.longest.get().max(now - self.began.replace(now)));
    }
}

impl Source for Watch {
    type Error = Diag;

    async fn read(&self, _: &Arc<QueryPlan>, _: &Arc<Vec<Value>>) -> Result<(Vec<Row>, Steps), Diag> {
        panic!("there are no tables")
    }

    async fn pause(&self) -> Result<(), Diag> {
        self.note();
        Ok(())
    }

    fn micros(&self) -> u64 {
        0
    }
}

/// The longest stretch of a query, and its rows. What the rows themselves take when they are dropped is their reader's.
fn longest(sql: &str) -> (usize, usize) {
    let mut catalog = Catalog::default();
    catalog.advance(CatalogVersion(1), &[CatalogDelta::PutNamespace(Namespace { name: "app".into(), created_at: 0 })]);
    let context = BindContext { catalog: &catalog, namespace: "app", user: "alice", role: Role::Dba };
    let Plan::Query(plan) = bind(&parse(sql).unwrap()[0], &context).unwrap().plan else { panic!("no query: {sql}") };
    let limits = PipelineLimits { max_rows: 1_000_000, max_bytes: 1 << 30, pool: Pool::unbounded() };
    let around = Surroundings { now: 0, user: "alice".into(), role: Role::Dba, seed: 7, limits };
    let watch = Watch { began: Cell::new(CALLS.get()), longest: Cell::new(0) };
    let executor = Executor::new(&watch, &around, false);
    let rows = {
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(rows) = pin!(executor.query(&plan, Arc::default())).poll(&mut context) else {
            panic!("nothing here waits")
        };
        rows.unwrap_or_else(|diag| panic!("{sql}: {diag}"))
    };
    drop(executor);
    watch.note();
    (watch.longest.get(), rows.len())
}

/// Every step that must see all rows before it gives one; `{n}` is how many there are.
const QUERIES: &[&str] = &[
    "SELECT i FROM generate_series(1, {n}) s(i) ORDER BY i::TEXT DESC",
    "SELECT i::TEXT FROM generate_series(1, {n}) s(i) ORDER BY i % 7, i DESC LIMIT {n} OFFSET 3",
    "SELECT DISTINCT i::TEXT FROM generate_series(1, {n}) s(i)",
    "SELECT DISTINCT i::TEXT FROM generate_series(1, {n}) s(i) ORDER BY i::TEXT DESC LIMIT 5",
    "SELECT DISTINCT ON (i / 3) i / 3, i FROM generate_series(1, {n}) s(i) ORDER BY i / 3, i DESC",
    "SELECT i::TEXT, count(*) FROM generate_series(1, {n}) s(i) GROUP BY 1 HAVING count(*) > 1",
    "SELECT i::TEXT, count(DISTINCT i::TEXT), sum(i) FROM generate_series(1, {n}) s(i) GROUP BY 1 ORDER BY 3 DESC",
    "SELECT i::TEXT, count(*) FROM generate_series(1, {n}) s(i) GROUP BY 1 LIMIT 3",
    "SELECT i % 2, count(DISTINCT i::TEXT) FROM generate_series(1, {n}) s(i) GROUP BY 1 LIMIT 1",
    "SELECT count(DISTINCT i::TEXT) FROM generate_series(1, {n}) s(i)",
    "SELECT string_agg('x', '' ORDER BY i::TEXT) FROM generate_series(1, {n}) s(i)",
    "SELECT count(DISTINCT i::TEXT ORDER BY i::TEXT) FROM generate_series(1, {n}) s(i)",
    "SELECT i, row_number() OVER (PARTITION BY i % 5 ORDER BY i::TEXT), rank() OVER (ORDER BY i::TEXT) FROM generate_series(1, {n}) s(i)",
    "SELECT i::TEXT FROM generate_series(1, {n}) s(i) UNION SELECT j::TEXT FROM generate_series(1, {n}) t(j)",
    "SELECT i::TEXT FROM generate_series(1, {n}) s(i) INTERSECT SELECT j::TEXT FROM generate_series(1, {n}) t(j)",
    "SELECT i::TEXT FROM generate_series(1, {n}) s(i) EXCEPT ALL SELECT j::TEXT FROM generate_series(5, {n}) t(j)",
    "SELECT i FROM generate_series(1, {n}) s(i) JOIN generate_series(1, {n}) t(j) ON i::TEXT = j::TEXT",
    "SELECT i FROM generate_series(1, 3) s(i) JOIN generate_series(1, {n}) t(j) ON i::TEXT = j::TEXT LIMIT 2",
    "SELECT i, j FROM generate_series(1, {n}) s(i) FULL JOIN generate_series(5, {n}) t(j) ON i::TEXT = j::TEXT",
    "SELECT i FROM generate_series(1, {n}) s(i) WHERE i::TEXT IN (SELECT j::TEXT FROM generate_series(1, {n}) t(j))",
    "SELECT i FROM generate_series(1, 3) s(i) WHERE i::TEXT > ALL (SELECT ':' || j::TEXT FROM generate_series(1, {n}) t(j))",
    "WITH c AS (SELECT i::TEXT AS x FROM generate_series(1, {n}) s(i)) SELECT a.x FROM c a JOIN c b ON a.x = b.x LIMIT 1",
    "WITH RECURSIVE r(i) AS (SELECT i::TEXT FROM generate_series(1, {n}) s(i) UNION SELECT i FROM r) SELECT i FROM r",
    "SELECT i, x FROM generate_series(1, 5) s(i), LATERAL (SELECT j::TEXT AS x FROM generate_series(i, {n}) t(j) ORDER BY 1) l",
];

#[test]
fn what_a_query_does_between_two_pauses_does_not_grow_with_its_rows() {
    for sql in QUERIES {
        let (few, _) = longest(&sql.replace("{n}", "4000"));
        let (many, rows) = longest(&sql.replace("{n}", "32000"));
        assert!(many <= few * 3 / 2 + 512, "{sql}: {few} calls at 4,000 rows, {many} at 32,000 ({rows} rows)");
        assert!(many < 512 * 40, "{sql}: {many} calls in one go");
    }
}
