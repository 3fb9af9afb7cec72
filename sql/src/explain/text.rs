//! Expressions in words near to SQL, for people; columns by the names of the rows below.

use crate::expr::{AggregateCall, BinaryOp, Expr, UnaryOp};
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
        Expr::Function { function, args, .. } => {
            let args: Vec<String> = args.iter().map(e).collect();
            format!("{}({})", format!("{function:?}").to_lowercase(), args.join(", "))
        }
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
    let args: Vec<String> = call.args.iter().map(|arg| shown(arg, names)).collect();
    let distinct = if call.distinct { "distinct " } else { "" };
    format!("{}({distinct}{})", format!("{:?}", call.function).to_lowercase(), args.join(", "))
}
