//! Functions in FROM: generate_series and unnest. Their arguments see the relations on their left.

use std::sync::Arc;

use sqlparser::ast::{self, Spanned, TableFactor};

use super::super::tree::{passed, plain};
use super::super::{placed, refuse_at, visible};
use super::{Reader, renamed};
use crate::bind::expr::{Binder, Clause, Typed};
use crate::bind::names::{name_of, object_of};
use crate::bind::scope::{Outer, Relation, Scope, Source};
use crate::cast::Coercion;
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::Expr;
use crate::lexer::char_span;
use crate::plan::{From, FunctionCall, OutputColumn, QueryPlan, Relation as Tree, TableFunction};
use crate::value::{DataType, Value};

/// A function as it is written.
pub(super) struct Called<'a> {
    function: TableFunction,
    name: String,
    args: Vec<&'a ast::Expr>,
    alias: Option<&'a ast::TableAlias>,
    ordinality: bool,
    span: Option<Span>,
}

/// The function that a part of FROM calls, if it calls one.
pub(super) fn called(factor: &TableFactor) -> Result<Option<Called<'_>>, Diag> {
    let place = || factor.span();
    let (name, args, alias, ordinality) = match factor {
        TableFactor::Table { name, args: Some(args), alias, with_ordinality, .. } => {
            if args.settings.is_some() {
                return Err(refuse_at("SETTINGS", place()));
            }
            (name, args.args.as_slice(), alias, *with_ordinality)
        }
        TableFactor::Function { name, args, alias, with_ordinality, .. } => {
            (name, args.as_slice(), alias, *with_ordinality)
        }
        TableFactor::UNNEST { alias, array_exprs, with_offset: false, with_ordinality, .. } => {
            return Ok(Some(Called {
                function: TableFunction::Unnest,
                name: "unnest".to_owned(),
                args: array_exprs.iter().collect(),
                alias: alias.as_ref(),
                ordinality: *with_ordinality,
                span: char_span(place()),
            }));
        }
        _ => return Ok(None),
    };
    let name = object_of(name)?;
    let function = match name.name.value.as_str() {
        "generate_series" if name.namespace.is_none() => TableFunction::Series,
        "unnest" if name.namespace.is_none() => TableFunction::Unnest,
        other => {
            let diag = Diag::new(SqlState::UNDEFINED_FUNCTION, format!("there is no function \"{other}\" for FROM"));
            return Err(diag.hint("generate_series and unnest stand in FROM.").at(name.span()));
        }
    };
    let mut exprs = Vec::with_capacity(args.len());
    for arg in args {
        let ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) = arg else {
            return Err(refuse_at("this form of argument", place()));
        };
        exprs.push(expr);
    }
    let (span, alias) = (Some(name.span()), alias.as_ref());
    Ok(Some(Called { function, name: name.name.value, args: exprs, alias, ordinality, span }))
}

impl<'a> Reader<'a, '_> {
    /// The rows of a function, and what its arguments see of the relations on its left.
    pub(super) fn function(
        &mut self,
        call: &Called<'_>,
        sees: usize,
    ) -> Result<(Relation<'a>, Vec<(u16, Expr)>), Diag> {
        let sight = self.sight(sees, self.relations.len(), &[]);
        let outer = Outer::new(&sight);
        let scope = Scope { env: Some(self.env.clone()), outer: Some(&outer), ..Scope::nothing() };
        let mut none = Vec::new();
        let mut binder = Binder::new(&scope, self.params, Clause::On, &mut none);
        let bound = arguments(&mut binder, call);
        let asks = !scope.asked.subqueries.borrow().is_empty();
        let before = scope.asked.once.take();
        drop(scope);
        let seen = outer.seen.into_inner();
        self.asked = sight.asked;
        let (args, data_type) = bound?;
        if asks {
            return Err(placed(
                Diag::not_supported("this kind of subquery in an argument of a function in FROM"),
                call.span,
            ));
        }
        let called = call.alias.map(|alias| name_of(&alias.name)).transpose()?.map(|name| name.value);
        let name = called.unwrap_or_else(|| call.name.clone());
        let mut projection: Vec<OutputColumn> = vec![passed(&name, Expr::Column(0, data_type))];
        if call.ordinality {
            projection.push(OutputColumn { not_null: true, ..passed("ordinality", Expr::Column(1, DataType::BigInt)) });
        }
        let function = FunctionCall { function: call.function, args, ordinality: call.ordinality };
        let from = From::Tree(Box::new(Tree::Function(Box::new(function))));
        let plan = QueryPlan { before, ..plain(from, None, projection) };
        let columns = visible(&plan.projection);
        let mut relation = Relation::query(Source::Query(Arc::new(plan)), columns, Some(name));
        renamed(&mut relation, call.alias)?;
        Ok((relation, seen))
    }
}

/// The arguments in their types, and the type of the values.
fn arguments(binder: &mut Binder<'_, '_>, call: &Called<'_>) -> Result<(Vec<Expr>, DataType), Diag> {
    let wrong = |message: &str| placed(Diag::new(SqlState::UNDEFINED_FUNCTION, message), call.span);
    let mut args = call.args.iter().map(|arg| binder.open(arg)).collect::<Result<Vec<Typed>, Diag>>()?;
    match call.function {
        TableFunction::Unnest => {
            let [one] = args.as_slice() else { return Err(wrong("unnest in FROM takes one array")) };
            match one.data_type {
                Some(DataType::Array(element)) => Ok((vec![eval::fold(one.expr.clone())], element.data_type())),
                _ => Err(wrong("unnest takes an array")),
            }
        }
        TableFunction::Series => {
            if !(2..=3).contains(&args.len()) {
                return Err(wrong("generate_series takes a first value, a last value and a step"));
            }
            let step = if args.len() == 3 { args.pop() } else { None };
            let is_time = |typed: &Typed| {
                matches!(typed.data_type, Some(DataType::Date | DataType::Timestamp | DataType::DateTime))
            };
            if args.iter().any(is_time) {
                let zoned = args.iter().any(|typed| typed.data_type == Some(DataType::DateTime));
                let wanted = if zoned { DataType::DateTime } else { DataType::Timestamp };
                let Some(step) = step else { return Err(wrong("generate_series of points in time takes a step")) };
                let mut all = Vec::with_capacity(3);
                for (typed, wanted) in args.into_iter().map(|typed| (typed, wanted)).chain([(step, DataType::Interval)])
                {
                    let typed = binder.coerced(typed, wanted, Coercion::Assignment, |from| {
                        format!("generate_series of points in time does not take a value of type {from} here")
                    })?;
                    all.push(eval::fold(typed.expr));
                }
                return Ok((all, wanted));
            }
            args.extend(step);
            let count = args.len();
            let (mut values, data_type) = binder.in_common(args, "generate_series")?;
            let is_number = |of: DataType| of.is_integer() || matches!(of, DataType::Decimal { .. });
            let (values, data_type) = match data_type {
                DataType::Text => {
                    // Nothing has decided: parameters.
                    let made = std::mem::take(&mut values).into_iter().map(|typed| Typed { data_type: None, ..typed });
                    let made = made
                        .map(|typed| binder.coerced(typed, DataType::BigInt, Coercion::Implicit, |_| String::new()));
                    (made.collect::<Result<Vec<Typed>, Diag>>()?, DataType::BigInt)
                }
                DataType::SmallInt => {
                    let made = std::mem::take(&mut values)
                        .into_iter()
                        .map(|typed| binder.coerced(typed, DataType::Int, Coercion::Implicit, |_| String::new()));
                    (made.collect::<Result<Vec<Typed>, Diag>>()?, DataType::Int)
                }
                other if is_number(other) => (values, other),
                other => return Err(wrong(&format!("generate_series does not take values of type {other}"))),
            };
            let mut exprs: Vec<Expr> = values.into_iter().map(|typed| eval::fold(typed.expr)).collect();
            if count == 2 {
                let one = Expr::Literal(Value::Int(1), DataType::Int);
                exprs.push(eval::fold(Expr::Cast { expr: Box::new(one), to: data_type, assignment: false }));
            }
            Ok((exprs, data_type))
        }
    }
}
