//! Running a query that reads more than one table: joins, subqueries, set operations and windows over rows of tables.
//!
//! Pure but for its [`Source`], which reads tables and gives the core away: every loop here pauses after a bounded number of steps.
//! Rows flow in batches; what a relation holds for longer (the built side of a join, the rows of a window, what a subquery answered)
//! is bounded together with all others of the statement and refused beyond, never cut. Deterministic: rows come in an order that
//! depends on the rows read alone.

mod apply;
mod discard;
mod index;
mod join;
mod kept;
mod lateral;
mod lookup;
mod recursion;
mod series;
mod set;
mod statistics;
mod window;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use crate::catalog::Role;
use crate::diag::{Diag, SqlState};
use crate::eval::{self, EvalContext, Patterns};
use crate::expr::Expr;
use crate::memory::Share;
use crate::pipeline::{Flow, Pipeline, PipelineLimits, Steps};
use crate::plan::{FIRST_SLOT, From, Once, QueryPlan, RETURNED_ROWS, Relation};
use crate::value::{Micros, Row, Value};

use self::apply::ApplyRows;
pub(crate) use self::apply::MANY_RUNS;
use self::index::Index;
use self::join::JoinRows;
use self::kept::Repeated;
use self::lateral::LateralRows;
use self::series::SeriesRows;
pub use self::statistics::{Counted, Statistics};

/// Volatile values set apart for each pipeline: far from each other, also in the 22 bits that SNOWFLAKE_ID takes.
const PIPELINE_ORDINALS: u64 = (1 << 32) + 99_991;
/// Rows that travel together.
const BATCH: usize = 512;
/// Steps between two pauses.
const STEPS: u32 = 512;

/// Where rows of tables come from, and who else wants the core.
pub trait Source {
    /// Why a query ends without a result.
    type Error: std::convert::From<Diag>;

    /// The result of a SELECT over a table or a system table (`plan.from`), all of its steps included, and what each of them gave.
    fn read(
        &self,
        plan: &Arc<QueryPlan>,
        params: &Arc<Vec<Value>>,
    ) -> impl Future<Output = Result<(Vec<Row>, Steps), Self::Error>>;

    /// Gives the core away if the time slice is over.
    ///
    /// # Errors
    /// Past the statement's deadline.
    fn pause(&self) -> impl Future<Output = Result<(), Self::Error>>;

    /// A clock for EXPLAIN ANALYZE, in microseconds.
    fn micros(&self) -> u64;

    /// Whether an error says that a query would hold too much, so that another way of running it may do.
    fn is_too_much(_error: &Self::Error) -> bool {
        false
    }
}

/// What expressions may know besides their row.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// NOW().
    pub now: Micros,
    /// The effective user.
    pub user: String,
    /// Its role.
    pub role: Role,
    /// Where volatile values come from.
    pub seed: u128,
    /// How much may be held.
    pub limits: PipelineLimits,
}

/// Values of parameters: the statement's, then those of enclosing queries.
type Params = Arc<Vec<Value>>;
/// An answer that is on its way: queries nest, so futures are boxed where they do.
type Later<'f, T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + 'f>>;

/// One running statement.
pub struct Executor<'s, S: Source> {
    source: &'s S,
    around: &'s Surroundings,
    held: Rc<Cell<(usize, usize)>>,
    shared: RefCell<BTreeMap<u32, Kept>>,
    indexes: RefCell<BTreeMap<u32, Rc<Index>>>,
    /// What the last round of a recursive query gave.
    working: RefCell<BTreeMap<u32, Rc<Vec<Row>>>>,
    ordinal: Cell<u64>,
    /// Queries in queries that are under way.
    depth: Cell<u32>,
    /// Regular expressions that were used.
    patterns: Patterns,
    statistics: Option<RefCell<Statistics>>,
    /// Runs of a subquery after which what it looks up is read at once.
    many_runs: u64,
    /// Parts under way that run again and again.
    repeats: Cell<u32>,
    /// What is kept of them from run to run.
    repeated: RefCell<Repeated>,
}

/// The rows of a common table expression.
#[derive(Debug)]
struct Kept {
    rows: Rc<Vec<Row>>,
    _held: Held,
}

/// Rows and bytes that are held until this is dropped.
#[derive(Debug)]
struct Held {
    all: Rc<Cell<(usize, usize)>>,
    own: Cell<(usize, usize)>,
    share: RefCell<Share>,
    limits: PipelineLimits,
}

impl Held {
    /// Counts one more row; `what` names what is held.
    fn add(&self, what: &str, bytes: usize) -> Result<(), Diag> {
        if !self.share.borrow_mut().grow(bytes) {
            return Err(self.limits.pool.refusal());
        }
        let ((rows, sum), (own_rows, own_sum)) = (self.all.get(), self.own.get());
        self.all.set((rows + 1, sum.saturating_add(bytes)));
        self.own.set((own_rows + 1, own_sum.saturating_add(bytes)));
        if rows >= self.limits.max_rows {
            return Err(Diag::new(
                SqlState::PROGRAM_LIMIT,
                format!("the query holds more than {} rows for {what}", self.limits.max_rows),
            )
            .hint("Narrow it with conditions on one of its tables, or join on columns of a key."));
        }
        if sum.saturating_add(bytes) > self.limits.max_bytes {
            return Err(Diag::new(
                SqlState::PROGRAM_LIMIT,
                format!("the query needs more than {} bytes of memory for {what}", self.limits.max_bytes),
            )
            .hint("Select fewer columns or rows, or read in parts."));
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let ((rows, bytes), (own_rows, own_bytes)) = (self.all.get(), self.own.get());
        self.all.set((rows.saturating_sub(own_rows), bytes.saturating_sub(own_bytes)));
    }
}

fn size(row: &[Value]) -> usize {
    size_of::<Row>() + row.iter().map(Value::size).sum::<usize>()
}

/// An open relation.
enum Rows<'p> {
    /// They are all here.
    Here(std::vec::IntoIter<Row>),
    /// They are all here, and others read them too.
    Common(Rc<Vec<Row>>, usize),
    Filter(Box<Rows<'p>>, &'p Expr, Params),
    Join(Box<JoinRows<'p>>),
    Apply(Box<ApplyRows<'p>>),
    Lateral(Box<LateralRows<'p>>),
    Series(Box<SeriesRows>),
    /// Made as they are asked for.
    Items(Box<dyn Iterator<Item = Row>>),
    /// One after the other.
    Chain(Vec<Rows<'p>>),
    /// Counted for EXPLAIN ANALYZE.
    Watched(Box<Rows<'p>>, usize),
}

/// Counts steps towards the next pause.
#[derive(Default)]
struct Pace(u32);

impl Pace {
    async fn step<S: Source>(&mut self, source: &S) -> Result<(), S::Error> {
        self.0 += 1;
        if self.0 >= STEPS {
            self.0 = 0;
            source.pause().await?;
        }
        Ok(())
    }
}

impl<'s, S: Source> Executor<'s, S> {
    /// A statement's executor; `watched` counts for EXPLAIN ANALYZE.
    #[must_use]
    pub fn new(source: &'s S, around: &'s Surroundings, watched: bool) -> Self {
        Self {
            source,
            around,
            held: Rc::default(),
            shared: RefCell::default(),
            indexes: RefCell::default(),
            working: RefCell::default(),
            ordinal: Cell::new(0),
            depth: Cell::new(0),
            patterns: Patterns::default(),
            statistics: watched.then(RefCell::default),
            many_runs: apply::MANY_RUNS,
            repeats: Cell::new(0),
            repeated: RefCell::default(),
        }
    }

    /// The same with another number of runs after which a subquery reads at once what it looks up.
    #[must_use]
    pub fn with_many_runs(self, many_runs: u64) -> Self {
        Self { many_runs, ..self }
    }

    /// The result of a query.
    ///
    /// # Errors
    /// What the source and evaluation give; 54000 and 53200 beyond the limits; 21000 for a subquery of several rows that stands for
    /// one value.
    pub fn query<'f>(&'f self, plan: &'f Arc<QueryPlan>, params: Params) -> Later<'f, Vec<Row>, S::Error> {
        Box::pin(async move {
            let began = self.statistics.as_ref().map(|_| self.source.micros());
            self.depth.set(self.depth.get() + 1);
            let (rows, steps) = self.run(plan, params).await?;
            self.depth.set(self.depth.get() - 1);
            if self.depth.get() == 0 {
                self.forget_kept(&BTreeSet::new()).await?;
                self.forget_indexes().await?;
                self.forget_repeated().await?;
            }
            self.note(statistics::address(plan.as_ref()), began, &rows, steps);
            Ok(rows)
        })
    }

    /// The parameters with the values of those subqueries of a plan that look at none of its rows.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn values_before(&self, plan: &QueryPlan, params: Params) -> Result<Params, S::Error> {
        self.before(&plan.before, params).await
    }

    /// The result of a query over rows of a change ([`crate::plan::RETURNED_ROWS`]).
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn query_over(
        &self,
        rows: Vec<Row>,
        plan: &Arc<QueryPlan>,
        params: Params,
    ) -> Result<Vec<Row>, S::Error> {
        self.working.borrow_mut().insert(RETURNED_ROWS, Rc::new(rows));
        self.query(plan, params).await
    }

    /// Counts a run of a part of the statement that began then.
    fn note(&self, part: usize, began: Option<u64>, rows: &[Row], steps: Steps) {
        if let (Some(statistics), Some(began)) = (&self.statistics, began) {
            let micros = self.source.micros().saturating_sub(began);
            let mut statistics = statistics.borrow_mut();
            statistics.note(part, rows.len(), micros, true);
            statistics.weigh(part, rows.iter().map(|row| size(row)).sum());
            statistics.note_steps(part, steps);
        }
    }

    /// What was counted, if it was.
    #[must_use]
    pub fn into_statistics(self) -> Statistics {
        self.statistics.map(RefCell::into_inner).unwrap_or_default()
    }

    async fn run(&self, plan: &Arc<QueryPlan>, params: Params) -> Result<(Vec<Row>, Steps), S::Error> {
        let params = if plan.before.is_empty() { params } else { self.before(&plan.before, params).await? };
        let relation = match &plan.from {
            From::Table { .. } | From::System(_) => return self.source.read(plan, &params).await,
            From::Nothing | From::Explain(_) => None,
            From::Tree(relation) => Some(relation.as_ref()),
        };
        let began = self.statistics.as_ref().map(|_| self.source.micros());
        let context = self.context(&params);
        let mut pipeline = Pipeline::new(plan, context, self.around.limits.clone())?;
        // What another pipeline of the statement draws is something else.
        self.ordinal.set(self.ordinal.get().wrapping_add(PIPELINE_ORDINALS));
        match relation {
            None => {
                pipeline.push(&[])?;
            }
            Some(_) if pipeline.is_done() => {}
            Some(relation) => {
                let mut rows = self.open(relation, &params).await?;
                let mut pace = Pace::default();
                'all: while let Some(batch) = self.next(&mut rows).await? {
                    for row in batch {
                        if matches!(pipeline.push(&row)?, Flow::Done) {
                            break 'all;
                        }
                        pace.step(self.source).await?;
                    }
                    self.source.pause().await?;
                }
                self.shut(rows).await?;
            }
        }
        let micros = began.map_or(0, |began| self.source.micros().saturating_sub(began));
        let (rows, steps) = pipeline.finish_in_portions(async || self.source.pause().await).await?;
        Ok((rows, Steps { micros, ..steps }))
    }

    /// Subqueries that look at no row of the query.
    async fn before(&self, before: &[Once], params: Params) -> Result<Params, S::Error> {
        let mut params = params;
        for once in before {
            let value = match self.kept_value(&once.plan, &params) {
                Some(value) => value,
                None => {
                    let rows = self.query(&once.plan, Arc::clone(&params)).await?;
                    let value = if once.exists { Value::Boolean(!rows.is_empty()) } else { apply::single(rows)? };
                    self.keep_value(&once.plan, &value, &params);
                    value
                }
            };
            params = with_slots(&params, [(once.slot, value)]);
        }
        Ok(params)
    }

    /// The context of this statement's expressions.
    fn context<'c>(&'c self, params: &'c Params) -> EvalContext<'c> {
        let around = self.around;
        EvalContext::new(around.now, &around.user, around.role, params, around.seed)
            .resumed_at(self.ordinal.get())
            .keeping(&self.patterns)
    }

    fn evaluate(&self, expr: &Expr, row: &[Value], params: &Params) -> Result<Value, Diag> {
        let context = self.context(params);
        let value = eval::evaluate(expr, row, &context);
        self.ordinal.set(context.ordinal());
        value
    }

    fn is_true(&self, condition: &Expr, row: &[Value], params: &Params) -> Result<bool, Diag> {
        let context = self.context(params);
        let holds = eval::is_true(condition, row, &context);
        self.ordinal.set(context.ordinal());
        holds
    }

    fn hold(&self) -> Held {
        let limits = self.around.limits.clone();
        let share = RefCell::new(limits.pool.share());
        Held { all: Rc::clone(&self.held), own: Cell::default(), share, limits }
    }

    /// Opens a relation; what must be complete before its first row is read here.
    fn open<'f, 'p: 'f>(&'f self, relation: &'p Relation, params: &'f Params) -> Later<'f, Rows<'p>, S::Error> {
        Box::pin(async move {
            let began = self.statistics.as_ref().map(|_| self.source.micros());
            let rows = match relation {
                Relation::Block(plan) => match Rc::try_unwrap(self.block(plan, params).await?) {
                    Ok(rows) => Rows::Here(rows.into_iter()),
                    Err(kept) => Rows::Common(kept, 0),
                },
                Relation::Often(often) => Rows::Here(self.often(often, params).await?.into_iter()),
                Relation::Shared { id, plan, .. } => Rows::Common(self.shared(*id, plan, params).await?, 0),
                Relation::Indexed { id, scan, keys, probes } => {
                    Rows::Here(self.indexed(*id, scan, keys, probes, params).await?.into_iter())
                }
                Relation::Values(rows) => {
                    let rows = rows.iter().map(|row| {
                        row.iter().map(|expr| self.evaluate(expr, &[], params)).collect::<Result<Row, Diag>>()
                    });
                    Rows::Here(rows.collect::<Result<Vec<Row>, Diag>>()?.into_iter())
                }
                Relation::Join(join) => Rows::Join(Box::new(self.open_join(join, params).await?)),
                Relation::Filter { input, condition } => {
                    Rows::Filter(Box::new(self.open(input, params).await?), condition, Arc::clone(params))
                }
                Relation::Apply { input, subqueries } => {
                    let none = Rows::Here(Vec::new().into_iter());
                    let mut apply = ApplyRows::new(none, subqueries, Arc::clone(params), self.hold());
                    apply.input = match self.narrowed(&mut apply, input, params).await? {
                        Some(rows) => Rows::Here(rows.into_iter()),
                        None => self.open(input, params).await?,
                    };
                    Rows::Apply(Box::new(apply))
                }
                Relation::Window { input, calls } => {
                    let input = self.open(input, params).await?;
                    Rows::Here(self.windows(input, calls, params).await?.into_iter())
                }
                Relation::Set(set) => self.open_set(set, params).await?,
                Relation::Function(call) => self.open_function(call, params)?,
                Relation::Recursive(recursive) => Rows::Here(self.recursive(recursive, params).await?.into_iter()),
                Relation::Working { id, .. } => {
                    Rows::Common(self.working.borrow().get(id).cloned().unwrap_or_default(), 0)
                }
                Relation::Lateral(lateral) => {
                    let left = self.open(&lateral.left, params).await?;
                    Rows::Lateral(Box::new(LateralRows::new(lateral, left, Arc::clone(params))))
                }
            };
            let Some(began) = began else { return Ok(rows) };
            let at = statistics::address(relation);
            if let Some(statistics) = &self.statistics {
                let micros = self.source.micros().saturating_sub(began);
                statistics.borrow_mut().note(at, 0, micros, true);
            }
            Ok(Rows::Watched(Box::new(rows), at))
        })
    }

    /// The next rows of a relation, never an empty batch; `None` behind the last.
    fn next<'f, 'p: 'f>(&'f self, rows: &'f mut Rows<'p>) -> Later<'f, Option<Vec<Row>>, S::Error> {
        Box::pin(async move {
            match rows {
                Rows::Here(rows) => {
                    let batch: Vec<Row> = rows.by_ref().take(BATCH).collect();
                    Ok((!batch.is_empty()).then_some(batch))
                }
                Rows::Items(rows) => {
                    let batch: Vec<Row> = rows.by_ref().take(BATCH).collect();
                    Ok((!batch.is_empty()).then_some(batch))
                }
                Rows::Common(rows, at) => {
                    let batch: Vec<Row> = rows.iter().skip(*at).take(BATCH).cloned().collect();
                    *at += batch.len();
                    Ok((!batch.is_empty()).then_some(batch))
                }
                Rows::Filter(input, condition, params) => {
                    let mut pace = Pace::default();
                    while let Some(batch) = self.next(input).await? {
                        let mut kept = Vec::with_capacity(batch.len());
                        for row in batch {
                            pace.step(self.source).await?;
                            if self.is_true(condition, &row, params)? {
                                kept.push(row);
                            }
                        }
                        if !kept.is_empty() {
                            return Ok(Some(kept));
                        }
                        self.source.pause().await?;
                    }
                    Ok(None)
                }
                Rows::Join(join) => self.next_joined(join).await,
                Rows::Apply(apply) => self.next_applied(apply).await,
                Rows::Lateral(lateral) => self.next_lateral(lateral).await,
                Rows::Series(series) => Ok(series.next(BATCH, &self.context(&Params::default()))?),
                Rows::Chain(parts) => {
                    while let Some(first) = parts.first_mut() {
                        if let Some(batch) = self.next(first).await? {
                            return Ok(Some(batch));
                        }
                        parts.remove(0);
                    }
                    Ok(None)
                }
                Rows::Watched(inner, at) => {
                    let began = self.source.micros();
                    let batch = self.next(inner).await?;
                    if let Some(statistics) = &self.statistics {
                        let micros = self.source.micros().saturating_sub(began);
                        statistics.borrow_mut().note(*at, batch.as_ref().map_or(0, Vec::len), micros, false);
                    }
                    Ok(batch)
                }
            }
        })
    }

    /// Everything that is left of a relation.
    async fn all(&self, mut rows: Rows<'_>, what: &str, held: &Held) -> Result<Vec<Row>, S::Error> {
        let (mut all, mut pace) = (Vec::new(), Pace::default());
        while let Some(batch) = self.next(&mut rows).await? {
            for row in &batch {
                held.add(what, size(row))?;
                pace.step(self.source).await?;
            }
            all.extend(batch);
            self.source.pause().await?;
        }
        self.shut(rows).await?;
        Ok(all)
    }

    /// The rows of a common table expression.
    async fn shared(&self, id: u32, plan: &Arc<QueryPlan>, params: &Params) -> Result<Rc<Vec<Row>>, S::Error> {
        if let Some(kept) = self.shared.borrow().get(&id) {
            return Ok(Rc::clone(&kept.rows));
        }
        let rows = self.query(plan, Arc::clone(params)).await?;
        let held = self.hold();
        let mut pace = Pace::default();
        for row in &rows {
            held.add("a common table expression", size(row))?;
            pace.step(self.source).await?;
        }
        let rows = Rc::new(rows);
        self.shared.borrow_mut().insert(id, Kept { rows: Rc::clone(&rows), _held: held });
        Ok(rows)
    }
}

/// The parameters with these values of an enclosing query.
fn with_slots(params: &Params, values: impl IntoIterator<Item = (u16, Value)>) -> Params {
    let mut all = Vec::with_capacity(params.len().max(usize::from(FIRST_SLOT)) + 4);
    all.extend(params.iter().cloned());
    for (slot, value) in values {
        let at = usize::from(slot);
        if all.len() <= at {
            all.resize(at + 1, Value::Null);
        }
        if let Some(place) = all.get_mut(at) {
            *place = value;
        }
    }
    Arc::new(all)
}
