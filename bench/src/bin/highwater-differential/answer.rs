//! What a server answered, and what two answers have to do with each other.

use std::cmp::Ordering;

use crate::cell::{Cell, Kind};
use crate::rules::Rule;

/// Highwater's answer to one statement.
#[derive(Clone, Debug)]
pub(crate) enum Ours {
    /// A query's columns and rows.
    Rows(Vec<Kind>, Vec<Vec<Cell>>),
    /// Rows that a statement changed.
    Changed(u64),
    /// SQLSTATE and sentence.
    Error(String, String),
}

/// PostgreSQL's answer to one statement.
#[derive(Clone, Debug)]
pub(crate) enum Theirs {
    /// Texts of the rows; `None` is NULL. A statement without a result has none, and the number of rows that it changed.
    Rows(Vec<Vec<Option<String>>>, u64),
    /// SQLSTATE.
    Error(String),
}

/// What comparing found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The same.
    Same,
    /// Not the same, for a reason that is written down.
    Allowed(Rule),
    /// Highwater does not support the statement.
    Unsupported,
    /// Not the same.
    Different,
}

/// Compares two answers to `statement`; `ordered` tells whether the order of rows counts.
pub(crate) fn compare(ours: &Ours, theirs: &Theirs, ordered: bool) -> Verdict {
    match (ours, theirs) {
        (Ours::Error(state, _), _) if state == "0A000" => Verdict::Unsupported,
        (Ours::Error(a, _), Theirs::Error(b)) if a == b => Verdict::Same,
        (Ours::Error(a, _), Theirs::Error(b)) if a.get(..2) == b.get(..2) => Verdict::Allowed(Rule::ErrorCode),
        (Ours::Error(a, _), Theirs::Error(b)) if depends_on_order(a) && depends_on_order(b) => {
            Verdict::Allowed(Rule::FirstError)
        }
        (Ours::Error(state, _), Theirs::Rows(..)) | (Ours::Rows(..) | Ours::Changed(_), Theirs::Error(state))
            if state.starts_with("22") && state != "22001" =>
        {
            Verdict::Allowed(Rule::Evaluation)
        }
        (Ours::Error(..), _) | (_, Theirs::Error(_)) => Verdict::Different,
        (Ours::Changed(ours), Theirs::Rows(rows, theirs)) if rows.is_empty() && ours == theirs => Verdict::Same,
        (Ours::Changed(_), Theirs::Rows(..)) => Verdict::Different,
        (Ours::Rows(kinds, ours), Theirs::Rows(theirs, _)) => rows(kinds, ours, theirs, ordered),
    }
}

/// Errors of which a statement may have several, so that the first one met decides.
fn depends_on_order(state: &str) -> bool {
    state.starts_with("22") || state.starts_with("23")
}

fn rows(kinds: &[Kind], ours: &[Vec<Cell>], theirs: &[Vec<Option<String>>], ordered: bool) -> Verdict {
    if ours.len() != theirs.len() {
        return Verdict::Different;
    }
    let mut other = Vec::with_capacity(theirs.len());
    for row in theirs {
        if row.len() != kinds.len() {
            return Verdict::Different;
        }
        let cells = kinds.iter().zip(row).map(|(kind, text)| Cell::theirs(*kind, text.as_deref()));
        match cells.collect::<Option<Vec<Cell>>>() {
            Some(cells) => other.push(cells),
            None => return Verdict::Different,
        }
    }
    let mut mine = ours.to_vec();
    if !ordered {
        mine.sort_by(|a, b| order(kinds, a, b));
        other.sort_by(|a, b| order(kinds, a, b));
    }
    let mut verdict = Verdict::Same;
    for (a, b) in mine.iter().flatten().zip(other.iter().flatten()) {
        match cell(a, b) {
            Verdict::Same => {}
            Verdict::Allowed(rule) => verdict = Verdict::Allowed(rule),
            verdict => return verdict,
        }
    }
    verdict
}

fn order(kinds: &[Kind], a: &[Cell], b: &[Cell]) -> Ordering {
    // Doubles last: their last digits may differ, which must not put rows into another order.
    let columns = |floats: bool| {
        let of_kind = move |kind: &Kind| matches!(kind, Kind::Float | Kind::Real) == floats;
        kinds.iter().zip(a.iter().zip(b)).filter(move |(kind, _)| of_kind(kind)).map(|(_, (x, y))| x.order(y))
    };
    columns(false).chain(columns(true)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
}

fn cell(ours: &Cell, theirs: &Cell) -> Verdict {
    if ours == theirs {
        return Verdict::Same;
    }
    match (ours, theirs) {
        (Cell::Float(a), Cell::Float(b)) if a.is_nan() && b.is_nan() => Verdict::Same,
        (Cell::Float(a), Cell::Float(b)) if near(*a, *b, 1e-12) => Verdict::Allowed(Rule::Doubles),
        (Cell::Real(a), Cell::Real(b)) if near(*a, *b, 1e-5) => Verdict::Allowed(Rule::Reals),
        (Cell::Span(a, _), Cell::Span(b, _)) if a == b => Verdict::Allowed(Rule::Spans),
        (Cell::Exact(a), Cell::Exact(b)) if a.contains('.') || b.contains('.') => {
            match (a.parse::<f64>(), b.parse::<f64>()) {
                (Ok(a), Ok(b)) if near(a, b, 1e-14) => Verdict::Allowed(Rule::Quotients),
                _ => Verdict::Different,
            }
        }
        _ => Verdict::Different,
    }
}

fn near(a: f64, b: f64, share: f64) -> bool {
    (a - b).abs() <= share * a.abs().max(b.abs()).max(1e-6)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::*;

    fn one(kind: Kind, ours: Cell, theirs: &str) -> Verdict {
        let ours = Ours::Rows(vec![kind], vec![vec![ours]]);
        compare(&ours, &Theirs::Rows(vec![vec![Some(theirs.to_owned())]], 1), true)
    }

    #[test]
    fn only_what_is_written_down_is_let_pass() {
        assert_eq!(one(Kind::Float, Cell::Float(0.3), "0.30000000000000004"), Verdict::Allowed(Rule::Doubles));
        assert_eq!(one(Kind::Float, Cell::Float(0.3), "0.300001"), Verdict::Different);
        let third = Cell::Exact("0.3333333333333333333333333333".to_owned());
        assert_eq!(one(Kind::Exact, third, "0.33333333333333333333"), Verdict::Allowed(Rule::Quotients));
        assert_eq!(one(Kind::Exact, Cell::Exact("3".to_owned()), "4"), Verdict::Different);
        let error = |state: &str| Ours::Error(state.to_owned(), String::new());
        let theirs = |state: &str| Theirs::Error(state.to_owned());
        assert_eq!(compare(&error("23505"), &theirs("23505"), true), Verdict::Same);
        assert_eq!(compare(&error("23505"), &theirs("42601"), true), Verdict::Different);
        assert_eq!(compare(&error("0A000"), &theirs("42601"), true), Verdict::Unsupported);
        assert_eq!(compare(&Ours::Changed(1), &Theirs::Rows(vec![], 2), true), Verdict::Different);
    }

    #[test]
    fn the_order_of_rows_counts_only_where_the_statement_gives_one() {
        let ours = Ours::Rows(vec![Kind::Exact], vec![vec![Cell::Exact("1".into())], vec![Cell::Exact("2".into())]]);
        let theirs = Theirs::Rows(vec![vec![Some("2".to_owned())], vec![Some("1".to_owned())]], 2);
        assert_eq!(compare(&ours, &theirs, true), Verdict::Different);
        assert_eq!(compare(&ours, &theirs, false), Verdict::Same);
    }
}
