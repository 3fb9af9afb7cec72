//! Predicates with a syntax of their own: IS, IN, BETWEEN, LIKE.

use sqlparser::ast;

use super::super::literal;
use super::{Binder, Typed, join, made, refused, too_deep};
use crate::cast::{self, Coercion};
use crate::diag::{Diag, Span, SqlState};
use crate::eval;
use crate::expr::{BinaryOp, Expr, Function, UnaryOp};
use crate::lexer::char_span;
use crate::value::{DataType, Value};

impl Binder<'_, '_> {
    #[inline(never)]
    pub(super) fn is_null(&mut self, operand: &ast::Expr, negated: bool) -> Result<Typed, Diag> {
        let operand = match self.open(operand)? {
            // Another place may know its type: `$1 IS NULL OR day = $1`.
            open if matches!(open.expr, Expr::Param(..)) => open,
            open => self.settled(open)?,
        };
        made(
            Expr::IsNull { expr: Box::new(operand.expr), negated },
            Some(DataType::Boolean),
            operand.depth,
            operand.span,
        )
    }

    #[inline(never)]
    pub(super) fn is_bool(&mut self, operand: &ast::Expr, value: Option<bool>, negated: bool) -> Result<Typed, Diag> {
        let open = self.open(operand)?;
        let inner = self.coerced(open, DataType::Boolean, Coercion::Implicit, |from| {
            format!("IS TRUE, FALSE and UNKNOWN take a BOOLEAN, not a value of type {from}")
        })?;
        made(
            Expr::IsBool { expr: Box::new(inner.expr), value, negated },
            Some(DataType::Boolean),
            inner.depth,
            inner.span,
        )
    }

    #[inline(never)]
    pub(super) fn is_distinct(&mut self, left: &ast::Expr, right: &ast::Expr, negated: bool) -> Result<Typed, Diag> {
        let left = self.open(left)?;
        let right = self.open(right)?;
        let pair = self.operation(BinaryOp::Equal, left, right)?;
        match pair.expr {
            Expr::Binary { left, right, .. } => Ok(Typed { expr: Expr::IsDistinct { left, right, negated }, ..pair }),
            _ => Err(too_deep()),
        }
    }

    #[inline(never)]
    pub(super) fn in_list(&mut self, operand: &ast::Expr, list: &[ast::Expr], negated: bool) -> Result<Typed, Diag> {
        let operand = self.open(operand)?;
        let items = list.iter().map(|item| self.open(item)).collect::<Result<Vec<Typed>, Diag>>()?;
        self.in_items(operand, items, negated)
    }

    #[inline(never)]
    fn in_items(&mut self, mut operand: Typed, mut items: Vec<Typed>, negated: bool) -> Result<Typed, Diag> {
        if operand.data_type.is_none() {
            let wanted = items.iter().find_map(|item| item.data_type).unwrap_or(DataType::Text);
            operand = self.given(operand, wanted)?;
        }
        (operand, items) = self.in_reals(operand, items)?;
        let mut depth = operand.depth;
        let mut candidates = Vec::with_capacity(items.len());
        for item in items.drain(..) {
            let (left, right, _) = eval::resolve_operator(BinaryOp::Equal, operand.data_type, item.data_type)
                .map_err(|error| item.place(error.into()))?;
            debug_assert_eq!(Some(left), operand.data_type, "comparison keeps the known side's type");
            let item = self.coerced(item, right, Coercion::Implicit, |from| {
                format!("a value of type {from} does not fit this IN list")
            })?;
            depth = depth.max(item.depth);
            candidates.push(item.expr);
        }
        let expr = Expr::InList { expr: Box::new(operand.expr), list: candidates, negated };
        made(expr, Some(DataType::Boolean), depth, operand.span)
    }

    /// PostgreSQL makes an array of several items without columns: where that is one of REALs, numbers become REALs before they
    /// are compared.
    #[inline(never)]
    fn in_reals(&mut self, operand: Typed, items: Vec<Typed>) -> Result<(Typed, Vec<Typed>), Diag> {
        let constant = |item: &Typed| eval::is_constant(&item.expr);
        let of_array = items.iter().filter(|item| constant(item));
        let types: Vec<DataType> = of_array.clone().chain([&operand]).filter_map(|item| item.data_type).collect();
        if of_array.count() < 2 || cast::common_type(&types) != Some(DataType::Float) {
            return Ok((operand, items));
        }
        let mut real = |item: Typed| self.coerced(item, DataType::Float, Coercion::Implicit, |_| String::new());
        let operand = real(operand)?;
        let items = items.into_iter().map(|item| if constant(&item) { real(item) } else { Ok(item) });
        Ok((operand, items.collect::<Result<_, Diag>>()?))
    }

    #[inline(never)]
    pub(super) fn between(
        &mut self,
        operand: &ast::Expr,
        negated: bool,
        low: &ast::Expr,
        high: &ast::Expr,
    ) -> Result<Typed, Diag> {
        let operand = self.open(operand)?;
        let low = self.open(low)?;
        let high = self.open(high)?;
        let operand = match (operand.data_type, low.data_type.or(high.data_type)) {
            (None, Some(wanted)) => self.given(operand, wanted)?,
            (None, None) => self.settled(operand)?,
            (Some(_), _) => operand,
        };
        let (first, second, both) = if negated {
            (BinaryOp::Less, BinaryOp::Greater, BinaryOp::Or)
        } else {
            (BinaryOp::GreaterOrEqual, BinaryOp::LessOrEqual, BinaryOp::And)
        };
        let lower = self.operation(first, operand.clone(), low)?;
        let upper = self.operation(second, operand, high)?;
        self.operation(both, lower, upper)
    }

    #[inline(never)]
    pub(super) fn like(
        &mut self,
        operand: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::Expr>,
        case_insensitive: bool,
        negated: bool,
    ) -> Result<Typed, Diag> {
        let refusal = |from: DataType| format!("LIKE takes TEXT, not a value of type {from}");
        let operand = self.open(operand)?;
        let operand = self.coerced(operand, DataType::Text, Coercion::Implicit, refusal)?;
        let pattern = self.open(pattern)?;
        let pattern = self.coerced(pattern, DataType::Text, Coercion::Implicit, refusal)?;
        let escape = match escape {
            None => None,
            Some(given) => match given {
                ast::Expr::Value(value) => Some(one_char(value)?),
                other => return Err(refused("ESCAPE with an expression", other)),
            },
        };
        let depth = operand.depth.max(pattern.depth);
        let span = join(operand.span, pattern.span);
        let expr = Expr::Like {
            expr: Box::new(operand.expr),
            pattern: Box::new(pattern.expr),
            escape,
            case_insensitive,
            negated,
        };
        made(expr, Some(DataType::Boolean), depth, span)
    }
}

/// The array behind LIKE ANY or, `true`, LIKE ALL.
pub(super) fn patterns(any: bool, pattern: &ast::Expr) -> Option<(&ast::Expr, bool)> {
    match pattern {
        pattern if any => (!super::is_subquery(pattern)).then_some((pattern, false)),
        // LIKE ALL is read as a function of that name.
        ast::Expr::Function(function) if function.name.to_string().eq_ignore_ascii_case("all") => {
            let ast::FunctionArguments::List(list) = &function.args else { return None };
            match list.args.as_slice() {
                [ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(array))] if list.clauses.is_empty() => {
                    (!super::is_subquery(array)).then_some((array, true))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

impl Binder<'_, '_> {
    /// `text [NOT] [I]LIKE ANY|ALL (array)`
    #[inline(never)]
    pub(super) fn like_each(
        &mut self,
        operand: &ast::Expr,
        patterns: &ast::Expr,
        all: bool,
        case_insensitive: bool,
        negated: bool,
    ) -> Result<Typed, Diag> {
        let operand = self.open(operand)?;
        let refusal = |from: DataType| format!("LIKE takes TEXT, not a value of type {from}");
        let operand = self.coerced(operand, DataType::Text, Coercion::Implicit, refusal)?;
        let patterns = self.open(patterns)?;
        if let Some(data_type) = patterns.data_type.filter(|data_type| data_type.element().is_none()) {
            let word = if all { "ALL" } else { "ANY" };
            return Err(patterns.place(
                Diag::new(
                    SqlState::DATATYPE_MISMATCH,
                    format!("LIKE {word} takes an array, not a value of type {data_type}"),
                )
                .hint("Write ARRAY['a%', 'b%']."),
            ));
        }
        let wanted = DataType::Array(crate::value::Element::Text);
        let patterns = self.coerced(patterns, wanted, Coercion::Implicit, |from| {
            format!("LIKE takes an array of TEXT, not a value of type {from}")
        })?;
        let depth = operand.depth.max(patterns.depth);
        let span = join(operand.span, patterns.span);
        let function = Function::LikeEach { case_insensitive, negated, all };
        let args = vec![operand.expr, patterns.expr];
        made(Expr::Function { function, args, data_type: DataType::Boolean }, Some(DataType::Boolean), depth, span)
    }

    /// `text [NOT] SIMILAR TO pattern [ESCAPE c]`
    #[inline(never)]
    pub(super) fn similar(
        &mut self,
        operand: &ast::Expr,
        pattern: &ast::Expr,
        escape: Option<&ast::Expr>,
        negated: bool,
    ) -> Result<Typed, Diag> {
        let refusal = |from: DataType| format!("SIMILAR TO takes TEXT, not a value of type {from}");
        let operand = self.open(operand)?;
        let operand = self.coerced(operand, DataType::Text, Coercion::Implicit, refusal)?;
        let pattern = self.open(pattern)?;
        let pattern = self.coerced(pattern, DataType::Text, Coercion::Implicit, refusal)?;
        let depth = operand.depth.max(pattern.depth);
        let span = join(operand.span, pattern.span);
        let mut args = vec![operand.expr, pattern.expr];
        match escape {
            None => {}
            Some(ast::Expr::Value(escape)) => {
                args.push(Expr::Literal(Value::Text(one_char(escape)?.to_string()), DataType::Text));
            }
            Some(other) => return Err(refused("ESCAPE with an expression", other)),
        }
        self.truth(Function::Similar, args, depth, span, negated)
    }

    /// `text IS [NOT] JSON [VALUE|SCALAR|ARRAY|OBJECT]`
    #[inline(never)]
    pub(super) fn is_json(
        &mut self,
        operand: &ast::Expr,
        kind: Option<&ast::JsonPredicateType>,
        negated: bool,
    ) -> Result<Typed, Diag> {
        let operand = self.typed(operand)?;
        if !matches!(operand.data_type, Some(DataType::Text | DataType::Json)) {
            return Err(operand.place(Diag::new(SqlState::DATATYPE_MISMATCH, "IS JSON takes TEXT or JSON")));
        }
        let kind = kind.map_or_else(|| "value".to_owned(), |kind| kind.to_string().to_lowercase());
        let args = vec![operand.expr, Expr::Literal(Value::Text(kind), DataType::Text)];
        self.truth(Function::IsJson, args, operand.depth, operand.span, negated)
    }

    /// A function that answers a BOOLEAN, or its contrary.
    fn truth(
        &mut self,
        function: Function,
        args: Vec<Expr>,
        depth: u32,
        span: Option<Span>,
        negated: bool,
    ) -> Result<Typed, Diag> {
        let data_type = DataType::Boolean;
        let truth = made(Expr::Function { function, args, data_type }, Some(data_type), depth, span)?;
        if !negated {
            return Ok(truth);
        }
        made(Expr::Unary { op: UnaryOp::Not, expr: Box::new(truth.expr) }, Some(data_type), truth.depth, span)
    }
}

fn one_char(value: &ast::ValueWithSpan) -> Result<char, Diag> {
    let place = |diag: Diag| match char_span(value.span) {
        Some(span) => diag.at(span),
        None => diag,
    };
    let text = literal::text_of(&value.value)
        .ok_or_else(|| place(Diag::not_supported("ESCAPE with anything but a literal")))?;
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) => Ok(character),
        (None, _) => Err(place(Diag::not_supported("LIKE without an escape character"))),
        (Some(_), Some(_)) => Err(place(Diag::new(SqlState::INVALID_PARAMETER, "ESCAPE takes one character"))),
    }
}
