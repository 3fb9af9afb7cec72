//! RETURNING with subqueries.
//!
//! Where the group that is written has all that they read, the command makes the answer, at the state that it meets. Elsewhere it is made here:
//! subqueries that look at no changed row are read before the change; the others read what the change cannot touch, behind it, for the rows
//! that it gives.

use std::cell::RefCell;
use std::sync::Arc;

use highwater_sql::catalog::ObjectId;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::execute::Executor;
use highwater_sql::plan::{From, QueryPlan, WritePlan};
use highwater_sql::value::{Row, Value};

use super::Node;
use super::execute::{Failure, Run};
use super::query::Reading;
use super::token::ReadToken;

/// What is made here of the rows that a change gives.
pub(super) struct AnswerHere {
    query: Arc<QueryPlan>,
    /// With the values of what was read before the change.
    params: Arc<Vec<Value>>,
}

impl Node {
    /// The change as it is logged for a group, and what is then made here of the rows that it gives.
    pub(super) async fn with_answer_here(
        &self,
        run: &Run,
        group: u32,
        plan: WritePlan,
        token: &mut ReadToken,
    ) -> Result<(WritePlan, Option<AnswerHere>), Failure> {
        let Some(query) = plan.returned() else { return Ok((plan, None)) };
        if self.has_all(run, group, query)? {
            return Ok((plan, None));
        }
        let later = QueryPlan { before: Vec::new(), ..QueryPlan::clone(query) };
        if reads(&later, plan.table) {
            let what = "a subquery in RETURNING that reads the changed table by values of the changed rows, beside what is on other shards,";
            return Err(Diag::not_supported(what).hint("Read the rest with a SELECT of its own.").into());
        }
        let around = self.surroundings(run);
        let source = Reading { node: self, run, token: RefCell::new(token) };
        let params = Executor::new(&source, &around, false).values_before(query, Arc::clone(&run.params)).await?;
        let kind = plan.change().clone();
        Ok((WritePlan { kind, ..plan }, Some(AnswerHere { query: Arc::new(later), params })))
    }

    /// The answer of a change that has been made.
    pub(super) async fn answer_of_rows(
        &self,
        run: &Run,
        rows: Vec<Row>,
        answer: AnswerHere,
        token: &mut ReadToken,
    ) -> Result<Vec<Row>, Failure> {
        let around = self.surroundings(run);
        let source = Reading { node: self, run, token: RefCell::new(token) };
        let answer = Executor::new(&source, &around, false).query_over(rows, &answer.query, answer.params).await;
        let is_made = "The change was made: only its answer could not be.";
        answer.map_err(|failure| match failure {
            Failure::Diag(why) => why.detail(is_made).into(),
            // Not to be planned again: it would be made twice.
            Failure::Stale => {
                let why = "definitions have changed while the rows of RETURNING were read";
                Diag::new(SqlState::INTERNAL, why).detail(is_made).into()
            }
        })
    }
}

/// Whether a query reads a table.
fn reads(query: &QueryPlan, table: ObjectId) -> bool {
    let mut found = false;
    query.each_plan(&mut |part| found |= matches!(&part.from, From::Table { table: read, .. } if read.id == table));
    found
}
