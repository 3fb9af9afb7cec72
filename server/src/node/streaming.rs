//! Rows that are answered while they are read: a scan with filter and projection, page by page.
//!
//! The core that hosts a group reads ahead of the front end by [`AHEAD`] pages and then waits, so that a result of any size holds a
//! few pages of each of its groups in memory, however slowly it is taken. All pages of a group are of one snapshot; every group's is
//! taken before the first row is answered. What must see all rows before it gives one (ORDER BY, aggregates) goes another way, and so
//! do results that fit into the first pages: they are whole before they are answered.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use futures_lite::future;
use highwater_runtime::Env;
use highwater_runtime::queue::{self, Receiver, ReplySlot, Sender};
use highwater_sql::catalog::TableKind;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{self, EvalContext};
use highwater_sql::expr::Expr;
use highwater_sql::pipeline::Pipeline;
use highwater_sql::plan::{Distinct, From, QueryPlan, TableAccess};
use highwater_sql::value::{DataType, Row, Value};

use super::answer::StatementResult;
use super::execute::{Failure, Run};
use super::mesh::{Question, ReadPart, ReadRefusal, TableRead};
use super::query::{row_count, schema_of};
use super::token::{ReadToken, Shown};
use super::write::groups_of_access;
use super::{Node, reads};

/// Source rows of one page.
const PAGE_ROWS: usize = 512;
/// Bytes of one page's source rows, and of what is made of them, more or less.
const PAGE_BYTES: usize = 128 << 10;
/// Pages that wait for the front end.
const AHEAD: usize = 2;
/// Pages of a group that are held at most: the one that is answered first, those that wait and one that is made.
const PAGES: usize = AHEAD + 2;
/// LIMIT up to which a result is not worth a stream.
const SMALL_LIMIT: u64 = 256;
/// Pause between two looks at whether the node's time to stop is over, in microseconds.
const LOOK_MICROS: u64 = 200_000;

/// The rows behind the first page of a result, as they come. Clones are the same rows: who takes a page has it alone.
#[derive(Clone)]
pub struct RowStream(Rc<RefCell<Option<Parts>>>);

pub(super) type Pages = Receiver<Result<Vec<Row>, Diag>>;

impl std::fmt::Debug for RowStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RowStream")
    }
}

impl RowStream {
    /// The next page; `None` after the last. An error ends the rows: what came before is a part of the result.
    pub async fn next(&self) -> Option<Result<Vec<Row>, Diag>> {
        let mut parts = self.0.borrow_mut().take()?;
        let page = parts.next().await.transpose();
        if matches!(page, Some(Ok(_))) {
            self.0.borrow_mut().replace(parts);
        }
        page
    }
}

/// The rows of several groups, one group after the other.
struct Parts {
    waiting: VecDeque<Part>,
    /// Rows that OFFSET still leaves out.
    skip: u64,
    /// Rows that LIMIT still lets through.
    left: u64,
}

/// What is left of one group's rows.
struct Part {
    first: Vec<Row>,
    rest: Option<Pages>,
}

impl Parts {
    /// The next page that is not empty; `None` after the last.
    async fn next(&mut self) -> Result<Option<Vec<Row>>, Diag> {
        while self.left > 0 {
            let Some(part) = self.waiting.front_mut() else { return Ok(None) };
            let Some(page) = part.next().await? else {
                self.waiting.pop_front();
                continue;
            };
            let page = self.cut(page);
            if !page.is_empty() {
                return Ok(Some(page));
            }
        }
        // Who reads for rows that nobody wants any more is told so.
        self.waiting.clear();
        Ok(None)
    }

    /// What is here of the parts that have ended before one that goes on, and of that one.
    fn here(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        while let Some(part) = self.waiting.front_mut() {
            let first = std::mem::take(&mut part.first);
            let goes_on = part.rest.is_some();
            rows.extend(self.cut(first));
            if goes_on {
                break;
            }
            self.waiting.pop_front();
        }
        rows
    }

    fn is_over(&self) -> bool {
        self.waiting.is_empty() || self.left == 0
    }

    /// Rows without those before OFFSET and beyond LIMIT.
    fn cut(&mut self, mut rows: Vec<Row>) -> Vec<Row> {
        let skipped = self.skip.min(rows.len() as u64);
        self.skip -= skipped;
        rows.drain(..usize::try_from(skipped).unwrap_or(usize::MAX));
        rows.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= rows.len() as u64;
        rows
    }
}

impl Part {
    async fn next(&mut self) -> Result<Option<Vec<Row>>, Diag> {
        if !self.first.is_empty() {
            return Ok(Some(std::mem::take(&mut self.first)));
        }
        let Some(rest) = &self.rest else { return Ok(None) };
        // An empty page is the mark of the end: a sender that is gone without it was cut off.
        match rest.recv().await {
            Some(Ok(rows)) if rows.is_empty() => Ok(None),
            Some(page) => page.map(Some),
            None => Err(super::outcome_unknown()),
        }
    }
}

/// What a scan came to when its first page was full, or all was read.
pub(crate) struct Scanned {
    /// The first rows.
    pub(super) rows: Vec<Row>,
    /// The others, if there may be any.
    pub(super) rest: Option<Pages>,
    /// What they show.
    pub(super) shown: Shown,
}

impl Node {
    /// The result as a stream, if the statement allows it and its front end takes one.
    pub(super) async fn stream(
        &self,
        run: &Run,
        plan: &Arc<QueryPlan>,
        token: &mut ReadToken,
    ) -> Result<Option<StatementResult>, Failure> {
        let Some(groups) = self.streamable(run, plan)? else { return Ok(None) };
        let context = EvalContext::new(run.now, &run.user, run.role, &run.params, 0);
        let (skip, left) = cut_of(plan, &context)?;
        // Every group gives what could be in the result; what of it is, is known where all come together.
        let plan = match groups.as_slice() {
            [_] => Arc::clone(plan),
            _ => Arc::new(uncut(plan, skip.saturating_add(left))),
        };
        let is_one = groups.len() == 1;
        let mut parts = Parts {
            waiting: VecDeque::with_capacity(groups.len()),
            skip: if is_one { 0 } else { skip },
            left: if is_one { u64::MAX } else { left },
        };
        for (group, at) in groups.into_iter().zip(0_u128..) {
            let Scanned { rows, rest, shown } = self.scan_of(run, &plan, group, at, token.mark(group)).await?;
            token.showed(group, shown, run.read_consistency());
            parts.waiting.push_back(Part { first: rows, rest });
        }
        let (schema, as_user) = (schema_of(&plan.projection), run.user.clone());
        let first = parts.here();
        Ok(Some(if parts.is_over() {
            StatementResult::Rows { schema, rows: first, as_user, held: None }
        } else {
            StatementResult::Stream { schema, first, rest: RowStream(Rc::new(RefCell::new(Some(parts)))), as_user }
        }))
    }

    /// A scan of a group, the one at this place of several.
    async fn scan_of(
        &self,
        run: &Run,
        plan: &Arc<QueryPlan>,
        group: u32,
        at: u128,
        at_least: u64,
    ) -> Result<Scanned, Failure> {
        let read = TableRead {
            within: None,
            consistency: run.read_consistency(),
            group,
            plan: Arc::clone(plan),
            params: Arc::clone(&run.params),
            head: run.head.clone(),
            user: run.user.clone(),
            role: run.role,
            now: run.now,
            catalog: run.catalog.version,
            at_least,
            part: ReadPart::Whole,
            // Each group has volatile values of its own, and so has each of its pages.
            seed: run.seed ^ (at << 112),
            deadline: run.errand.deadline,
        };
        let scanned = if self.is_elsewhere(group) {
            self.scan_of_home(&read).await
        } else if self.is_here(group) {
            let (slot, answer) = queue::reply();
            scan(self, read, slot);
            answer.await.map_err(|_| super::shutting_down())?
        } else {
            self.ask(group, |reply| Question::Scan(Box::new(read), reply)).await?
        };
        scanned.map_err(|refusal| match refusal {
            ReadRefusal::StaleCatalog => Failure::Stale,
            ReadRefusal::Failed(diag) => Failure::Diag(diag),
        })
    }

    /// The groups that a statement reads rows of in any order, as many as there are.
    fn streamable(&self, run: &Run, plan: &QueryPlan) -> Result<Option<Vec<u32>>, Diag> {
        let QueryPlan {
            before,
            unused: _,
            from,
            filter: _,
            aggregate,
            having,
            projection: _,
            distinct,
            order_by,
            limit,
            offset: _,
        } = plan;
        let From::Table { table, access } = from else { return Ok(None) };
        let needs_all = !before.is_empty()
            || aggregate.is_some()
            || having.is_some()
            || *distinct != Distinct::No
            || !order_by.is_empty();
        if !run.streams || run.around.within.is_some() || needs_all || is_lookup(access, table.primary_key.len()) {
            return Ok(None);
        }
        let context = EvalContext::new(run.now, &run.user, run.role, &run.params, 0);
        let limit = limit.as_ref().map(|limit| row_count(limit, &context)).transpose()?.flatten();
        if limit.is_some_and(|limit| limit <= SMALL_LIMIT) {
            return Ok(None);
        }
        Ok(match table.kind {
            TableKind::User | TableKind::Stream => Some(vec![self.layout().user_group(&run.user)]),
            TableKind::Shared if table.partition_columns == 0 => Some(vec![self.layout().table_group(table.id)]),
            TableKind::Shared => {
                let groups = groups_of_access(self.layout(), table, access, &context)?
                    .unwrap_or_else(|| self.layout().shared_groups().collect());
                // The pages of all groups together are held, and a query holds no more than its limit.
                let most = self.settings().pipeline.max_bytes / (PAGES * PAGE_BYTES);
                Some(groups).filter(|groups| groups.len() <= most)
            }
        })
    }
}

/// How many rows OFFSET leaves out and LIMIT lets through.
fn cut_of(plan: &QueryPlan, context: &EvalContext<'_>) -> Result<(u64, u64), Diag> {
    let count =
        |expr: &Option<Expr>| expr.as_ref().map(|expr| row_count(expr, context)).transpose().map(Option::flatten);
    Ok((count(&plan.offset)?.unwrap_or(0), count(&plan.limit)?.unwrap_or(u64::MAX)))
}

/// The statement without OFFSET, of at most so many rows.
fn uncut(plan: &QueryPlan, most: u64) -> QueryPlan {
    let limit = i64::try_from(most).ok().map(|most| Expr::Literal(Value::BigInt(most), DataType::BigInt));
    QueryPlan { limit, offset: None, ..plan.clone() }
}

/// Whether few rows are looked up by their keys.
fn is_lookup(access: &TableAccess, key_columns: usize) -> bool {
    match access {
        // An index gives few rows, and in an order of its own.
        TableAccess::Index { .. } => true,
        TableAccess::Full => false,
        // Of an array of alternatives nobody knows how many it has.
        TableAccess::Bounds(bounds) => bounds.iter().all(|bounds| {
            bounds.equal.len() == key_columns
                && bounds.equal.iter().all(|expr| eval::data_type(expr).element().is_none())
        }),
    }
}

/// Reads a table of a group of this core in a task of its own, which answers when the first page is full or all was read.
pub(super) fn scan(node: &Node, read: TableRead, reply: ReplySlot<Result<Scanned, ReadRefusal>>) {
    let node = node.clone();
    node.env().clone().spawn("scan", async move {
        let Ok(_in_flight) = node.enter_for_another() else {
            reply.fill(Err(ReadRefusal::Failed(super::shutting_down())));
            return;
        };
        let mut pages = match Pager::open(&node, &read).await {
            Ok(pages) => pages,
            Err(refusal) => return reply.fill(Err(refusal)),
        };
        let shown = pages.cursor.shown;
        let first = match pages.next(&node, &read).await {
            Ok(first) => first,
            Err(diag) => return reply.fill(Err(ReadRefusal::Failed(diag))),
        };
        if pages.is_done {
            return reply.fill(Ok(Scanned { rows: first, rest: None, shown }));
        }
        let (sender, rest) = queue::bounded(AHEAD);
        reply.fill(Ok(Scanned { rows: first, rest: Some(rest), shown }));
        let ended = send_rest(&node, &read, &mut pages, &sender).await;
        let last = match ended {
            Ok(()) => Ok(Vec::new()),
            Err(diag) => {
                if diag.sqlstate == SqlState::TIMEOUT {
                    tracing::debug!(%diag, "an answer that was being sent was broken off");
                } else {
                    tracing::warn!(%diag, "an answer that was being sent was broken off");
                }
                Err(diag)
            }
        };
        let _ = future::or(async { sender.send(last).await.is_ok() }, time_is_over(&node)).await;
    });
}

/// Sends the other pages, as fast as they are taken.
async fn send_rest(
    node: &Node,
    read: &TableRead,
    pages: &mut Pager,
    sender: &Sender<Result<Vec<Row>, Diag>>,
) -> Result<(), Diag> {
    while !pages.is_done {
        let page = pages.next(node, read).await?;
        if page.is_empty() {
            continue;
        }
        let is_taken = future::or(async { sender.send(Ok(page)).await.is_ok() }, time_is_over(node)).await;
        if !is_taken {
            let gone = || Diag::new(SqlState::TIMEOUT, "whoever asked has gone, or did not take the answer in time");
            return Err(if node.is_closing() { super::shutting_down() } else { gone() });
        }
    }
    Ok(())
}

/// Waits until the node stops and its time for what is in flight is over; false.
async fn time_is_over(node: &Node) -> bool {
    let mut since = None;
    loop {
        node.env().sleep(LOOK_MICROS).await;
        let now = node.env().now();
        if node.is_closing() && now.micros_since(*since.get_or_insert(now)) >= node.settings().shutdown_micros {
            return false;
        }
    }
}

/// Pages of a scan.
struct Pager {
    cursor: reads::OpenTable,
    /// The statement without LIMIT and OFFSET, which count over all pages.
    plan: QueryPlan,
    skip: u64,
    left: u64,
    is_done: bool,
    /// Pages so far: each has volatile values of its own.
    pages: u64,
}

impl Pager {
    async fn open(node: &Node, read: &TableRead) -> Result<Self, ReadRefusal> {
        let cursor = reads::open_table(node, read).await?;
        let plan = read.plan.as_ref();
        let context = EvalContext::new(read.now, &read.user, read.role, &read.params, 0);
        let (skip, left) = cut_of(plan, &context).map_err(ReadRefusal::Failed)?;
        let plan = QueryPlan { limit: None, offset: None, ..plan.clone() };
        Ok(Self { cursor, plan, skip, left, is_done: left == 0, pages: 0 })
    }

    /// The result's rows of the next page of source rows; perhaps none.
    async fn next(&mut self, node: &Node, read: &TableRead) -> Result<Vec<Row>, Diag> {
        let seed = read.seed ^ (u128::from(self.pages) << 64);
        self.pages += 1;
        let context = EvalContext::new(read.now, &read.user, read.role, &read.params, seed);
        let mut pipeline = Pipeline::new(&self.plan, context, node.settings().pipeline.clone())?;
        let (mut taken, mut bytes) = (0, 0);
        // What is made of a row may be far larger than the row.
        while taken < PAGE_ROWS && bytes < PAGE_BYTES && pipeline.held_bytes() < PAGE_BYTES && !self.is_done {
            match self.cursor.next(node).await? {
                Some(row) => {
                    taken += 1;
                    bytes += row.iter().map(Value::size).sum::<usize>();
                    pipeline.push(&row)?;
                }
                None => self.is_done = true,
            }
        }
        node.env().yield_if_needed().await;
        let mut rows = pipeline.finish()?;
        let skipped = self.skip.min(rows.len() as u64);
        self.skip -= skipped;
        rows.drain(..usize::try_from(skipped).unwrap_or(usize::MAX));
        rows.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= rows.len() as u64;
        self.is_done |= self.left == 0;
        Ok(rows)
    }
}
