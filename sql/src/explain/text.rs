//! Expressions in words near to SQL, for people; columns by the names of the rows below.

use crate::eval::name_of;
use crate::expr::{AggregateCall, AggregateFunction, BinaryOp, Expr, Function, SortDirection, UnaryOp};
use crate::plan::SortKey;
use crate::value::Value;

/// An expression over a row with these column names.
pub(super) fn shown(expr: &Expr, names: &[String]) -> String {
    let e = |expr: &Expr| shown(expr, names);
    let not = |negated: bool| if negated { "not " } else { "" };
    match expr {
        Expr::Literal(literal, _) => value(literal),
        Expr::Column(at, _) => names.get(*at as usize).cloned().unwrap_or_else(|| format!("column {}", at + 1)),
        Expr::Param(index, _) => format!("${}", u32::from(*index) + 1),
        Expr::Unary { op: UnaryOp::Not, expr } => format!("not {}", e(expr)),
        Expr::Unary { op: UnaryOp::Minus, expr } => format!("-{}", e(expr)),
        Expr::Unary { op: UnaryOp::BitNot, expr } => format!("~{}", e(expr)),
        Expr::Binary { op, left, right, .. } => format!("({} {} {})", e(left), word(*op), e(right)),
        Expr::IsNull { expr, negated } => format!("{} is {}null", e(expr), not(*negated)),
        Expr::InList { expr, list, negated } => {
            let few: Vec<String> = list.iter().take(5).map(e).collect();
            let more = if list.len() > 5 { ", ..." } else { "" };
            format!("{} {}in ({}{more})", e(expr), not(*negated), few.join(", "))
        }
        Expr::Like { expr, pattern, case_insensitive, negated, .. } => {
            let word = if *case_insensitive { "ilike" } else { "like" };
            format!("{} {}{word} {}", e(expr), not(*negated), e(pattern))
        }
        Expr::Case { branches, otherwise, .. } => {
            let branches: Vec<String> =
                branches.iter().map(|(when, then)| format!("when {} then {}", e(when), e(then))).collect();
            let otherwise = otherwise.as_ref().map_or_else(String::new, |other| format!(" else {}", e(other)));
            format!("case {}{otherwise} end", branches.join(" "))
        }
        Expr::Cast { expr, to, .. } => format!("{}::{to}", e(expr)),
        Expr::Function { function, args, .. } => called(*function, args, names),
        Expr::IsDistinct { left, right, negated } => {
            format!("{} is {}distinct from {}", e(left), not(*negated), e(right))
        }
        Expr::IsBool { expr, value, negated } => {
            let value = match value {
                Some(true) => "true",
                Some(false) => "false",
                None => "unknown",
            };
            format!("{} is {}{value}", e(expr), not(*negated))
        }
    }
}

/// A literal, shortened where it is long.
fn value(value: &Value) -> String {
    let text = value.to_string();
    let short =
        if text.chars().count() > 60 { format!("{}...", text.chars().take(57).collect::<String>()) } else { text };
    match value {
        Value::Text(_) | Value::Json(_) | Value::Bytes(_) | Value::Timestamp(_) => format!("'{short}'"),
        _ => short,
    }
}

fn word(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Subtract => "-",
        BinaryOp::Multiply => "*",
        BinaryOp::Divide => "/",
        BinaryOp::Modulo => "%",
        BinaryOp::Equal => "=",
        BinaryOp::NotEqual => "<>",
        BinaryOp::Less => "<",
        BinaryOp::LessOrEqual => "<=",
        BinaryOp::Greater => ">",
        BinaryOp::GreaterOrEqual => ">=",
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
        BinaryOp::Concat => "||",
        BinaryOp::JsonGet => "->",
        BinaryOp::JsonGetText => "->>",
        BinaryOp::JsonGetPath => "#>",
        BinaryOp::JsonGetPathText => "#>>",
        BinaryOp::Contains => "@>",
        BinaryOp::ContainedBy => "<@",
        BinaryOp::JsonHasKey => "?",
        BinaryOp::JsonHasAnyKey => "?|",
        BinaryOp::JsonHasAllKeys => "?&",
        BinaryOp::JsonDeletePath => "#-",
        BinaryOp::Overlaps => "&&",
        BinaryOp::Matches => "~",
        BinaryOp::MatchesInsensitive => "~*",
        BinaryOp::MatchesNot => "!~",
        BinaryOp::MatchesNotInsensitive => "!~*",
        BinaryOp::Power => "^",
        BinaryOp::BitAnd => "&",
        BinaryOp::BitOr => "|",
        BinaryOp::BitXor => "#",
        BinaryOp::ShiftLeft => "<<",
        BinaryOp::ShiftRight => ">>",
    }
}

/// An aggregate's call.
pub(super) fn aggregate(call: &AggregateCall, names: &[String]) -> String {
    let behind = call.order.len() + usize::from(call.filtered);
    let (args, others) = call.args.split_at(call.args.len().saturating_sub(behind));
    let (filter, keys) = others.split_at(usize::from(call.filtered).min(others.len()));
    let distinct = if call.distinct { "distinct " } else { "" };
    let mut text = match call.function {
        AggregateFunction::CountStar => "count(*".to_owned(),
        function => format!("{}({distinct}{}", name(&format!("{function:?}")), list(args, names)),
    };
    let keys: Vec<String> = keys
        .iter()
        .zip(&call.order)
        .map(|(key, direction)| format!("{}{}", shown(key, names), way(*direction)))
        .collect();
    if !keys.is_empty() {
        text = format!("{text} order by {}", keys.join(", "));
    }
    match filter {
        [filter] => format!("{text}) filter (where {})", shown(filter, names)),
        _ => format!("{text})"),
    }
}

/// Keys of an ORDER BY.
pub(super) fn sort_keys(keys: &[SortKey], names: &[String]) -> String {
    let key = |key: &SortKey| {
        let SortKey { expr, descending, nulls_first } = key;
        let direction = SortDirection { descending: *descending, nulls_first: *nulls_first };
        format!("{}{}", shown(expr, names), way(direction))
    };
    keys.iter().map(key).collect::<Vec<_>>().join(", ")
}

/// What stands behind a key of an ORDER BY.
fn way(direction: SortDirection) -> &'static str {
    match (direction.descending, direction.nulls_first) {
        (false, false) => "",
        (false, true) => " nulls first",
        (true, false) => " desc nulls last",
        (true, true) => " desc",
    }
}

/// A function's call as statements write it.
fn called(function: Function, args: &[Expr], names: &[String]) -> String {
    let each = |word: &str, which: &str| match args {
        [left, right] => format!("{} {word} {which} ({})", shown(left, names), shown(right, names)),
        _ => format!("{word} {which} ({})", list(args, names)),
    };
    let named = match function {
        Function::Any(op) => return each(word(op), "any"),
        Function::All(op) => return each(word(op), "all"),
        Function::LikeEach { case_insensitive, negated, all } => {
            let word = match (case_insensitive, negated) {
                (false, false) => "like",
                (false, true) => "not like",
                (true, false) => "ilike",
                (true, true) => "not ilike",
            };
            return each(word, if all { "all" } else { "any" });
        }
        function => {
            let usual = name(&format!("{function:?}"));
            name_of(function, &usual).map_or(usual, str::to_owned)
        }
    };
    format!("{named}({})", list(args, names))
}

fn list(args: &[Expr], names: &[String]) -> String {
    args.iter().map(|arg| shown(arg, names)).collect::<Vec<_>>().join(", ")
}

/// A function as statements write it, from its variant's name: `RowNumber` is row_number.
pub(super) fn name(variant: &str) -> String {
    let mut name = String::new();
    for letter in variant.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::value::DataType;

    #[test]
    fn functions_are_called_as_statements_call_them() {
        let column = |at: u32| Expr::Column(at, DataType::Int);
        let names = ["a".to_owned(), "b".to_owned(), "c".to_owned()];
        for (function, expected) in [
            (Function::LeftTrim, "ltrim(a, b)"),
            (Function::Length, "length(a, b)"),
            (Function::NullIf, "nullif(a, b)"),
            (Function::ArrayLower, "array_lower(a, b)"),
            (Function::Any(BinaryOp::LessOrEqual), "a <= any (b)"),
            (Function::LikeEach { case_insensitive: true, negated: true, all: true }, "a not ilike all (b)"),
        ] {
            assert_eq!(called(function, &[column(0), column(1)], &names), expected);
        }
        let call = |function, args: &[u32], order: Vec<SortDirection>, filtered| AggregateCall {
            function,
            args: args.iter().map(|at| column(*at)).collect(),
            distinct: function == AggregateFunction::Sum,
            data_type: DataType::Int,
            order,
            filtered,
        };
        let last = SortDirection { descending: true, nulls_first: false };
        for (call, expected) in [
            (call(AggregateFunction::CountStar, &[], vec![], false), "count(*)"),
            (call(AggregateFunction::CountStar, &[1], vec![], true), "count(*) filter (where b)"),
            (call(AggregateFunction::Sum, &[0], vec![], false), "sum(distinct a)"),
            (
                call(AggregateFunction::ArrayAgg, &[0, 1, 2], vec![last], true),
                "array_agg(a order by c desc nulls last) filter (where b)",
            ),
        ] {
            assert_eq!(aggregate(&call, &names), expected);
        }
    }
}
