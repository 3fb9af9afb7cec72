//! Subqueries in expressions: a value, EXISTS, IN, ANY and ALL.
//!
//! One that looks at no row of its query becomes a parameter, computed once before. Any other becomes a column behind the row that
//! it looks at.

use std::cell::RefCell;
use std::sync::Arc;

use sqlparser::ast;

use super::at_once::at_once;
use super::{Output, placed, query_of, start_of, tree};
use crate::bind::expr::{Binder, Clause, SUBQUERY_BASE, Typed, made, refused};
use crate::bind::scope::{Aggregates, Env, Outer};
use crate::diag::{Diag, Span, SqlState};
use crate::expr::{BinaryOp, Expr, UnaryOp};
use crate::plan::{Meaning, Once, QueryPlan, Subquery};
use crate::value::{DataType, Value};

fn count(number: i64) -> Expr {
    Expr::Literal(Value::BigInt(number), DataType::BigInt)
}

impl Binder<'_, '_> {
    /// The query below this expression, and what it sees of the row here.
    fn below(&mut self, query: &ast::Query) -> Result<(QueryPlan, Vec<(u16, Expr)>), Diag> {
        let place = start_of(query);
        let Some(env) = &self.scope.env else {
            let diag = Diag::not_supported(format_args!("a subquery in {}", self.clause.name()));
            let hint = (self.clause == Clause::Check).then_some("A CHECK looks at one row, and at nothing else.");
            let diag = placed(diag, place);
            return Err(hint.map_or(diag.clone(), |hint| diag.hint(hint)));
        };
        let env = super::from::deeper(env, place)?;
        let env = Env { barrier: env.barrier.and("a subquery of an expression"), ..env };
        let takes_aggregates =
            matches!(self.clause, Clause::Select | Clause::Having | Clause::OrderBy) && !self.inside_aggregate;
        let aggregates =
            takes_aggregates.then(|| Aggregates { first: self.aggregates.len(), calls: RefCell::default() });
        let outer = Outer { aggregates, ..Outer::new(self.scope) };
        let Output { plan, .. } = query_of(query, &env, Some(&outer), self.params)?;
        self.aggregates.extend(outer.aggregates.into_iter().flat_map(|asked| asked.calls.into_inner()));
        Ok((plan, outer.seen.into_inner()))
    }

    fn correlated(&mut self, plan: QueryPlan, outer: Vec<(u16, Expr)>, meaning: Meaning) -> Subquery {
        let at_once = at_once(&plan, || self.params.number());
        Subquery { plan: Arc::new(plan), outer, meaning, lookup: None, at_once }
    }

    /// A subquery's value per row.
    fn applied(&mut self, subquery: Subquery, data_type: DataType, span: Option<Span>) -> Result<Typed, Diag> {
        let mut subqueries = self.scope.asked.subqueries.borrow_mut();
        let number = u32::try_from(subqueries.len()).unwrap_or(u32::MAX - SUBQUERY_BASE);
        subqueries.push(subquery);
        made(Expr::Column(SUBQUERY_BASE.saturating_add(number), data_type), Some(data_type), 1, span)
    }

    fn once(&mut self, plan: QueryPlan, exists: bool, data_type: DataType, span: Option<Span>) -> Result<Typed, Diag> {
        let slot = self.params.slot().map_err(|diag| placed(diag, span))?;
        self.scope.asked.once.borrow_mut().push(Once { slot, plan: Arc::new(plan), exists });
        made(Expr::Param(slot, data_type), Some(data_type), 1, span)
    }

    /// `(SELECT ...)` as a value.
    #[inline(never)]
    pub(in crate::bind) fn scalar_subquery(&mut self, query: &ast::Query) -> Result<Typed, Diag> {
        let span = start_of(query);
        let (mut plan, outer) = self.below(query)?;
        let data_type = match plan.projection.as_slice() {
            [one] => one.data_type,
            columns => {
                return Err(placed(
                    Diag::new(
                        SqlState::SYNTAX_ERROR,
                        format!("a subquery used as a value has one column, this one has {}", columns.len()),
                    ),
                    span,
                ));
            }
        };
        // Two rows tell that there is more than one.
        plan.limit.get_or_insert_with(|| count(2));
        if outer.is_empty() {
            return self.once(plan, false, data_type, span);
        }
        let subquery = self.correlated(plan, outer, Meaning::Scalar);
        self.applied(subquery, data_type, span)
    }

    /// `[NOT] EXISTS (SELECT ...)`
    #[inline(never)]
    pub(in crate::bind) fn exists(&mut self, query: &ast::Query, negated: bool) -> Result<Typed, Diag> {
        let span = start_of(query);
        let (mut plan, outer) = self.below(query)?;
        plan.limit.get_or_insert_with(|| count(1));
        let found = if outer.is_empty() {
            self.once(plan, true, DataType::Boolean, span)?
        } else {
            let subquery = self.correlated(plan, outer, Meaning::Exists);
            self.applied(subquery, DataType::Boolean, span)?
        };
        not(found, negated)
    }

    /// `left [NOT] IN (SELECT ...)`
    #[inline(never)]
    pub(in crate::bind) fn in_subquery(
        &mut self,
        left: &ast::Expr,
        query: &ast::Query,
        negated: bool,
    ) -> Result<Typed, Diag> {
        let found = self.compared(left, BinaryOp::Equal, query, false)?;
        not(found, negated)
    }

    /// `left op ANY (SELECT ...)` or ALL.
    #[inline(never)]
    pub(in crate::bind) fn quantified(
        &mut self,
        left: &ast::Expr,
        op: &ast::BinaryOperator,
        query: &ast::Query,
        all: bool,
    ) -> Result<Typed, Diag> {
        let op = match op {
            ast::BinaryOperator::Eq => BinaryOp::Equal,
            ast::BinaryOperator::NotEq => BinaryOp::NotEqual,
            ast::BinaryOperator::Lt => BinaryOp::Less,
            ast::BinaryOperator::LtEq => BinaryOp::LessOrEqual,
            ast::BinaryOperator::Gt => BinaryOp::Greater,
            ast::BinaryOperator::GtEq => BinaryOp::GreaterOrEqual,
            other => return Err(refused(&format!("{other} with ANY or ALL"), left)),
        };
        self.compared(left, op, query, all)
    }

    fn compared(&mut self, left: &ast::Expr, op: BinaryOp, query: &ast::Query, all: bool) -> Result<Typed, Diag> {
        let written: Vec<&ast::Expr> = match left {
            ast::Expr::Tuple(exprs) => exprs.iter().collect(),
            one => vec![one],
        };
        if written.len() > 1 && op != BinaryOp::Equal {
            return Err(refused("a row of values compared otherwise than by IN", left));
        }
        let lefts = written.iter().map(|expr| self.open(expr)).collect::<Result<Vec<Typed>, Diag>>()?;
        let span = start_of(query);
        let (plan, outer) = self.below(query)?;
        if plan.projection.len() != lefts.len() {
            let diag = Diag::new(
                SqlState::SYNTAX_ERROR,
                format!("the subquery has {} columns, not {}", plan.projection.len(), lefts.len()),
            );
            return Err(placed(diag, span));
        }
        let mut pairs = Vec::with_capacity(lefts.len());
        for ((left, column), at) in lefts.into_iter().zip(&plan.projection).zip(0_u32..) {
            let right = Typed::leaf(Expr::Column(at, column.data_type), Some(column.data_type), span);
            let pair = self.operation(op, left, right)?;
            let Expr::Binary { left, right, .. } = pair.expr else {
                return Err(Diag::new(SqlState::INTERNAL, "a comparison that is none"));
            };
            pairs.push(tree::alike((*left).clone(), (*right).clone()).unwrap_or((*left, *right)));
        }
        let meaning = Meaning::Compare { pairs, op, all };
        let subquery = self.correlated(plan, outer, meaning);
        self.applied(subquery, DataType::Boolean, span)
    }
}

fn not(value: Typed, negated: bool) -> Result<Typed, Diag> {
    if !negated {
        return Ok(value);
    }
    let (depth, span) = (value.depth, value.span);
    let expr = Expr::Unary { op: UnaryOp::Not, expr: Box::new(value.expr) };
    made(expr, Some(DataType::Boolean), depth, span)
}

/// The subquery with what it sees of the outer row changed by `make`.
pub(super) fn seeing(subquery: &Subquery, make: &mut dyn FnMut(&Expr) -> Result<Expr, Diag>) -> Result<Subquery, Diag> {
    let outer = subquery.outer.iter().map(|(slot, expr)| Ok((*slot, make(expr)?))).collect::<Result<_, Diag>>()?;
    let meaning = match &subquery.meaning {
        Meaning::Scalar => Meaning::Scalar,
        Meaning::Exists => Meaning::Exists,
        Meaning::Compare { pairs, op, all } => Meaning::Compare {
            pairs: pairs.iter().map(|(left, right)| Ok((make(left)?, right.clone()))).collect::<Result<_, Diag>>()?,
            op: *op,
            all: *all,
        },
    };
    let (plan, at_once) = (Arc::clone(&subquery.plan), subquery.at_once.clone());
    Ok(Subquery { plan, outer, meaning, lookup: None, at_once })
}

/// Shows every expression of a subquery that is over the outer row.
pub(in crate::bind) fn each_seen<'s>(subquery: &'s Subquery, see: &mut dyn FnMut(&'s Expr)) {
    subquery.outer.iter().for_each(|(_, expr)| see(expr));
    if let Meaning::Compare { pairs, .. } = &subquery.meaning {
        pairs.iter().for_each(|(left, _)| see(left));
    }
}
