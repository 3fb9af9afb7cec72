//! Arrays: ARRAY[...], subscripts, ANY and ALL.

use sqlparser::ast::{self, SetExpr};
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Tokenizer;

use super::{Binder, Typed, join, made, operator, refused, too_deep};
use crate::cast::Coercion;
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::{Expr, Function};
use crate::lexer::DIALECT;
use crate::value::{DataType, Value};

/// How many columns a query has; `None` where only its tables tell.
fn columns(body: &SetExpr) -> Option<usize> {
    match body {
        SetExpr::Select(select) => {
            let plain = |item: &ast::SelectItem| {
                matches!(item, ast::SelectItem::UnnamedExpr(_) | ast::SelectItem::ExprWithAlias { .. })
            };
            select.projection.iter().all(plain).then_some(select.projection.len())
        }
        SetExpr::Values(values) => values.rows.first().map(|row| row.len()),
        SetExpr::SetOperation { left, .. } => columns(left),
        SetExpr::Query(query) => columns(&query.body),
        _ => None,
    }
}

/// What stands in `ARRAY[...]`, when no arrays do: a cast around it tells the type of each.
pub(super) fn elements(expr: &ast::Expr) -> Option<&[ast::Expr]> {
    match expr {
        ast::Expr::Array(array) if !array.elem.iter().any(|element| elements(element).is_some()) => Some(&array.elem),
        ast::Expr::Nested(inner) => elements(inner),
        _ => None,
    }
}

/// An empty array as a literal that takes the type that is wanted.
pub(super) fn empty() -> Typed {
    Typed::leaf(Expr::Literal(Value::Text("{}".to_owned()), DataType::Text), None, None)
}

impl Binder<'_, '_> {
    /// `ARRAY[a, b, ...]`
    #[inline(never)]
    pub(super) fn array(&mut self, elements: &[ast::Expr], expr: &ast::Expr) -> Result<Typed, Diag> {
        if elements.is_empty() {
            let mut diag = refused("", expr).hint("Write ARRAY[]::INT[], or '{}'.");
            diag.sqlstate = SqlState::INDETERMINATE_DATATYPE;
            diag.message = "the type of an empty array is not known".to_owned();
            return Err(diag);
        }
        let open = elements.iter().map(|element| self.open(element)).collect::<Result<Vec<_>, Diag>>()?;
        let span = open.iter().fold(None, |span, element| join(span, element.span));
        let (elements, element) = self.in_common(open, "ARRAY")?;
        let Some(data_type) = element.array() else {
            let what = if element.element().is_some() { "an array of arrays" } else { "an array of EMBEDDING" };
            return Err(refused(what, expr));
        };
        let depth = elements.iter().map(|element| element.depth).max().unwrap_or(0);
        let args = elements.into_iter().map(|element| element.expr).collect();
        made(Expr::Function { function: Function::ArrayOf, args, data_type }, Some(data_type), depth, span)
    }

    /// `ARRAY[a, b, ...]::type[]`: each element is cast.
    #[inline(never)]
    pub(super) fn array_of(&mut self, elements: &[ast::Expr], data_type: DataType) -> Result<Typed, Diag> {
        let wanted = data_type.element().ok_or_else(too_deep)?;
        let (mut args, mut depth, mut span) = (Vec::with_capacity(elements.len()), 0, None);
        for element in elements {
            let open = self.open(element)?;
            let cast = self.coerced(open, wanted, Coercion::Explicit, |from| {
                format!("a value of type {from} cannot be cast to {wanted}")
            })?;
            depth = depth.max(cast.depth);
            span = join(span, cast.span);
            args.push(cast.expr);
        }
        made(Expr::Function { function: Function::ArrayOf, args, data_type }, Some(data_type), depth, span)
    }

    /// `ARRAY(SELECT ...)`: the aggregate of the subquery's rows, an empty array where there are none.
    #[inline(never)]
    pub(in crate::bind) fn array_of_rows(&mut self, query: &ast::Query, span: Option<Span>) -> Result<Typed, Diag> {
        const AROUND: &str = "SELECT coalesce(array_agg(rows.item), '{}') FROM (SELECT 1) AS rows (item)";
        let unread = || Diag::new(SqlState::INTERNAL, "ARRAY(SELECT ...) is not what it is read as");
        match columns(&query.body) {
            Some(1) => {}
            Some(_) => {
                let diag = Diag::new(SqlState::SYNTAX_ERROR, "the subquery of an array has one column");
                return Err(span.map_or(diag.clone(), |span| diag.at(span)));
            }
            None => {
                let diag = Diag::not_supported("\"*\" in the subquery of an array").hint("Name the one column.");
                return Err(span.map_or(diag.clone(), |span| diag.at(span)));
            }
        }
        // Tokens without places: what is said of this text has the place of the call.
        let tokens = Tokenizer::new(&DIALECT, AROUND).tokenize().map_err(|_| unread())?;
        let mut around = Parser::new(&DIALECT).with_tokens(tokens).parse_query().map_err(|_| unread())?;
        let SetExpr::Select(select) = around.body.as_mut() else { return Err(unread()) };
        let Some(ast::TableFactor::Derived { subquery, .. }) = select.from.first_mut().map(|from| &mut from.relation)
        else {
            return Err(unread());
        };
        **subquery = query.clone();
        let place = |diag: Diag| match span {
            Some(span) => diag.at(span),
            None => diag,
        };
        self.scalar_subquery(&around).map(|typed| Typed { span, ..typed }).map_err(place)
    }

    /// `array[i]`, `array[from:to]`
    #[inline(never)]
    pub(super) fn subscripts(
        &mut self,
        root: &ast::Expr,
        chain: &[ast::AccessExpr],
        expr: &ast::Expr,
    ) -> Result<Typed, Diag> {
        // `table.column[1]` comes as a table with a member.
        let dots = chain.iter().take_while(|access| matches!(access, ast::AccessExpr::Dot(_))).count();
        let (members, chain) = chain.split_at(dots);
        let mut value = match (root, members) {
            (_, []) => self.open(root)?,
            (ast::Expr::Identifier(first), members) => {
                let member = |access: &ast::AccessExpr| match access {
                    ast::AccessExpr::Dot(ast::Expr::Identifier(name)) => Ok(name.clone()),
                    _ => Err(refused("a member access", expr)),
                };
                let rest = members.iter().map(member).collect::<Result<Vec<_>, Diag>>()?;
                self.qualified(&[std::slice::from_ref(first), rest.as_slice()].concat())?
            }
            _ => return Err(refused("a member access", expr)),
        };
        for access in chain {
            let subscript = match access {
                ast::AccessExpr::Subscript(subscript) => subscript,
                ast::AccessExpr::Dot(_) => return Err(refused("a member access", expr)),
            };
            let element = value.data_type.and_then(|data_type| data_type.element()).ok_or_else(|| {
                let name = value.data_type.map_or_else(|| "unknown".to_owned(), |data_type| data_type.to_string());
                let diag =
                    Diag::new(SqlState::DATATYPE_MISMATCH, format!("cannot subscript type {name}: it is no array"));
                let diag = if value.data_type == Some(DataType::Json) {
                    diag.hint("JSON is looked into with -> and ->>.")
                } else {
                    diag
                };
                value.place(diag)
            })?;
            let array_type = value.data_type.unwrap_or(element);
            let bound = |binder: &mut Self, bound: Option<&ast::Expr>, otherwise: i64| match bound {
                None => Ok(Typed::leaf(Expr::Literal(Value::BigInt(otherwise), DataType::BigInt), None, None)),
                Some(bound) => {
                    let open = binder.open(bound)?;
                    binder.coerced(open, DataType::BigInt, Coercion::Assignment, |from| {
                        format!("a subscript is an integer, not a value of type {from}")
                    })
                }
            };
            let (function, args, data_type) = match subscript {
                ast::Subscript::Index { index } => (Function::Subscript, vec![bound(self, Some(index), 0)?], element),
                ast::Subscript::Slice { lower_bound, upper_bound, stride: None } => (
                    Function::Slice,
                    vec![bound(self, lower_bound.as_ref(), 1)?, bound(self, upper_bound.as_ref(), i64::MAX)?],
                    array_type,
                ),
                ast::Subscript::Slice { .. } => return Err(refused("a slice with a stride", expr)),
            };
            let depth = args.iter().map(|arg| arg.depth).max().unwrap_or(0).max(value.depth);
            let span = value.span;
            let mut exprs = vec![value.expr];
            exprs.extend(args.into_iter().map(|arg| arg.expr));
            value = made(Expr::Function { function, args: exprs, data_type }, Some(data_type), depth, span)?;
        }
        Ok(value)
    }

    /// `left op ANY (array)` and ALL
    #[inline(never)]
    pub(super) fn any_or_all(
        &mut self,
        left: &ast::Expr,
        op: &ast::BinaryOperator,
        right: &ast::Expr,
        all: bool,
    ) -> Result<Typed, Diag> {
        let word = if all { "ALL" } else { "ANY" };
        let comparison = operator::operator(op).filter(|op| op.is_comparison());
        let Some(op) = comparison else { return Err(refused(&format!("{op} {word}"), left)) };
        let left = self.open(left)?;
        let right = self.open(right)?;
        let span = join(left.span, right.span);
        let element = match right.data_type {
            None => None,
            Some(data_type) => Some(data_type.element().ok_or_else(|| {
                right.place(
                    Diag::new(
                        SqlState::DATATYPE_MISMATCH,
                        format!("{word} takes an array, not a value of type {data_type}"),
                    )
                    .hint("A list of values stands in IN (...)."),
                )
            })?),
        };
        let place = |error: eval::FunctionError| {
            let diag = Diag::from(error);
            match span {
                Some(span) => diag.at(span),
                None => diag,
            }
        };
        let (left_type, element, _) = eval::resolve_operator(op, left.data_type, element).map_err(place)?;
        let array = element.array().ok_or_else(too_deep)?;
        let refusal = |from: DataType| format!("a value of type {from} does not fit {word}");
        let left = self.coerced(left, left_type, Coercion::Implicit, refusal)?;
        let right = self.coerced(right, array, Coercion::Implicit, refusal)?;
        let depth = left.depth.max(right.depth);
        let function = if all { Function::All(op) } else { Function::Any(op) };
        let args = vec![left.expr, right.expr];
        made(Expr::Function { function, args, data_type: DataType::Boolean }, Some(DataType::Boolean), depth, span)
    }
}
