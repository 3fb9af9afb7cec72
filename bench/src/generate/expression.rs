//! Expressions of a wanted type over what is in scope.

use highwater_runtime::rng::Rng;

use crate::generate::tables::{Ty, literal};

/// What an expression may name: how it is written, and what it yields.
pub type Scope = Vec<(String, Ty)>;

/// One of several, chosen by chance.
pub fn pick<'a, T>(rng: &mut Rng, of: &'a [T]) -> Option<&'a T> {
    of.get(usize::try_from(rng.below(of.len() as u64)).unwrap_or(0))
}

/// One of several words.
pub fn word(rng: &mut Rng, of: &[&'static str]) -> &'static str {
    pick(rng, of).copied().unwrap_or("")
}

/// An expression of a type, at most so many operators deep.
pub fn expression(rng: &mut Rng, scope: &Scope, ty: Ty, depth: u32) -> String {
    if depth == 0 || rng.chance(0.25) {
        return leaf(rng, scope, ty);
    }
    let mut make = |ty| expression(rng, scope, ty, depth - 1);
    if matches!(ty, Ty::Bool) {
        return predicate(rng, scope, depth);
    }
    let (a, b) = (make(ty), make(ty));
    match rng.below(10) {
        0 => {
            let when = predicate(rng, scope, depth - 1);
            format!("CASE WHEN {when} THEN {a} ELSE {b} END")
        }
        1 => format!("coalesce({a}, {b})"),
        2 => format!("nullif({a}, {b})"),
        3 if ty != Ty::Text => format!("{}({a}, {b})", word(rng, &["greatest", "least"])),
        _ => match ty {
            Ty::Int => integer(rng, scope, a, &b, depth),
            Ty::Decimal => decimal(rng, scope, a, &b, depth),
            Ty::Double => double(rng, scope, a, &b, depth),
            Ty::Text => text(rng, scope, a, &b, depth),
            Ty::Time => match rng.below(6) {
                0 | 1 => {
                    format!("date_trunc('{}', {a})", word(rng, &["hour", "day", "month", "year", "week", "quarter"]))
                }
                2 => format!("({a} {} {})", word(rng, &["+", "-"]), expression(rng, scope, Ty::Span, depth - 1)),
                3 => format!("CAST({} AS TIMESTAMP)", expression(rng, scope, Ty::Date, depth - 1)),
                _ => a,
            },
            Ty::Date => match rng.below(4) {
                0 => format!("({a} + {})", rng.below(60)),
                1 => format!("CAST({} AS DATE)", expression(rng, scope, Ty::Time, depth - 1)),
                _ => a,
            },
            Ty::Span => match rng.below(6) {
                0 => format!("({a} + {b})"),
                1 => format!("({} - {})", leaf(rng, scope, Ty::Time), leaf(rng, scope, Ty::Time)),
                2 => format!("({a} * {})", rng.below(4)),
                3 => format!("{}({a})", word(rng, &["justify_days", "justify_hours"])),
                4 => format!("age({}, {})", leaf(rng, scope, Ty::Time), leaf(rng, scope, Ty::Time)),
                _ => a,
            },
            Ty::Bytes => match rng.below(3) {
                0 => format!("({a} || {b})"),
                1 => format!("substring({a} FROM 1 FOR {})", rng.below(3)),
                _ => a,
            },
            Ty::List | Ty::Words | Ty::Sums | Ty::Days => list(rng, scope, ty, a, &b),
            Ty::Bool | Ty::Uuid => a,
        },
    }
}

/// A column or a value.
fn leaf(rng: &mut Rng, scope: &Scope, ty: Ty) -> String {
    let fitting: Vec<&String> = scope.iter().filter(|(_, of)| *of == ty).map(|(name, _)| name).collect();
    match pick(rng, &fitting) {
        Some(name) if rng.chance(0.75) => (*name).clone(),
        _ => literal(ty, rng),
    }
}

/// An array made of two others and of values.
fn list(rng: &mut Rng, scope: &Scope, ty: Ty, a: String, b: &str) -> String {
    let item = |rng: &mut Rng| {
        let item = ty.item().map_or_else(String::new, |item| leaf(rng, scope, item));
        format!("CAST({item} AS {})", ty.item_name())
    };
    match rng.below(14) {
        0 => format!("array_append({a}, {})", item(rng)),
        1 => format!("array_prepend({}, {a})", item(rng)),
        2 => format!("array_cat({a}, {b})"),
        3 => format!("({a} || {b})"),
        4 => format!("({a} || {})", item(rng)),
        5 => format!("({} || {a})", item(rng)),
        6 => format!("ARRAY[{}, {}]", item(rng), item(rng)),
        7 => format!("array_remove({a}, {})", item(rng)),
        8 => format!("array_replace({a}, {}, {})", item(rng), item(rng)),
        9 => format!("({a})[{}:{}]", rng.below(3), rng.below(4)),
        10 => format!("({a})[{}:]", rng.below(3)),
        11 => format!("ARRAY(SELECT item FROM (VALUES ({}), ({})) AS made (item) ORDER BY item)", item(rng), item(rng)),
        12 => format!("CAST(CAST({a} AS TEXT) AS {}[])", ty.item_name()),
        _ => a,
    }
}

/// A test of an array.
fn test_of_list(rng: &mut Rng, scope: &Scope, depth: u32) -> String {
    let ty = word_of(rng);
    let (a, b) = (expression(rng, scope, ty, depth), expression(rng, scope, ty, depth));
    let item = ty.item().map_or_else(String::new, |item| leaf(rng, scope, item));
    let item = format!("CAST({item} AS {})", ty.item_name());
    match rng.below(7) {
        0 => format!("({a} @> {b})"),
        1 => format!("({a} <@ {b})"),
        2 => format!("({a} && {b})"),
        3 => format!("({item} {} ({a}))", word(rng, &["= ANY", "<> ALL", "< ANY", ">= ALL", "<> ANY"])),
        4 => format!("(array_position({a}, {item}) {} {})", word(rng, &["=", ">"]), rng.below(3)),
        5 => format!("(({a})[{}] {} {item})", rng.below(4), word(rng, &["=", "<>", "<"])),
        _ => format!("(cardinality(array_positions({a}, {item})) = {})", rng.below(3)),
    }
}

fn word_of(rng: &mut Rng) -> Ty {
    pick(rng, &[Ty::List, Ty::Words, Ty::Sums, Ty::Days]).copied().unwrap_or(Ty::List)
}

/// A comparison of rows.
fn test_of_rows(rng: &mut Rng, scope: &Scope, depth: u32) -> String {
    let types: Vec<Ty> = (0..2 + rng.below(2)).map(|_| pick(rng, &Ty::ALL).copied().unwrap_or(Ty::Int)).collect();
    let mut row = |leafs: bool| {
        let values: Vec<String> = types
            .iter()
            .map(|ty| if leafs { literal(*ty, rng) } else { expression(rng, scope, *ty, depth.min(1)) })
            .collect();
        format!("({})", values.join(", "))
    };
    let (a, b, c) = (row(false), row(true), row(true));
    match rng.below(4) {
        0 => format!("({a} {} {b})", word(rng, &["=", "<>"])),
        1 => format!("({a} {} ({b}, {c}))", word(rng, &["IN", "NOT IN"])),
        _ => format!("({a} {} {b})", word(rng, &["<", "<=", ">", ">="])),
    }
}

fn integer(rng: &mut Rng, scope: &Scope, a: String, b: &str, depth: u32) -> String {
    match rng.below(9) {
        0 | 1 => format!("({a} + {b})"),
        2 => format!("({a} - {b})"),
        // Products of products would leave the range of SMALLINT.
        3 => format!("({} * {})", leaf(rng, scope, Ty::Int), literal(Ty::Int, rng)),
        4 => format!("({a} / nullif({b}, 0))"),
        5 => format!("({a} % nullif({b}, 0))"),
        6 => format!("abs({a})"),
        7 => match rng.below(8) {
            0 => format!(
                "CAST(extract({} FROM {}) AS INT)",
                word(rng, &["year", "month", "day", "dow", "doy", "week", "quarter"]),
                expression(rng, scope, Ty::Date, depth - 1)
            ),
            1 => format!(
                "CAST(extract({} FROM {}) AS INT)",
                word(rng, &["hour", "minute", "day", "isodow"]),
                expression(rng, scope, Ty::Time, depth - 1)
            ),
            2 | 3 => {
                let ty = word_of(rng);
                let list = expression(rng, scope, ty, depth - 1);
                match rng.below(3) {
                    0 => format!("cardinality({list})"),
                    1 => format!("{}({list}, 1)", word(rng, &["array_length", "array_upper", "array_lower"])),
                    _ => format!("array_ndims({list})"),
                }
            }
            4 => format!("({})[{}]", expression(rng, scope, Ty::List, depth - 1), 1 + rng.below(3)),
            5 => format!("octet_length({})", expression(rng, scope, Ty::Bytes, depth - 1)),
            6 => format!("strpos({}, {})", expression(rng, scope, Ty::Text, depth - 1), literal(Ty::Text, rng)),
            _ => format!("length({})", expression(rng, scope, Ty::Text, depth - 1)),
        },
        _ => format!("(- {a})"),
    }
}

fn decimal(rng: &mut Rng, scope: &Scope, a: String, b: &str, depth: u32) -> String {
    match rng.below(8) {
        0 | 1 => format!("({a} + {b})"),
        2 => format!("({a} - {b})"),
        3 => format!("({} * {})", leaf(rng, scope, Ty::Decimal), literal(Ty::Int, rng)),
        4 => format!("({a} / nullif({}, 0))", leaf(rng, scope, Ty::Int)),
        5 => format!("round({a}, {})", rng.below(3)),
        6 => format!("{}({a})", word(rng, &["abs", "floor", "ceil", "sign"])),
        _ => format!("CAST({} AS DECIMAL(12, 3))", expression(rng, scope, Ty::Int, depth - 1)),
    }
}

fn double(rng: &mut Rng, scope: &Scope, a: String, b: &str, depth: u32) -> String {
    match rng.below(8) {
        0 => format!("({a} + {b})"),
        1 => format!("({a} - {b})"),
        2 => format!("({a} * {b})"),
        3 => format!("({a} / nullif({}, CAST(0 AS DOUBLE PRECISION)))", leaf(rng, scope, Ty::Double)),
        4 => format!("sqrt(abs({a}))"),
        5 => format!("{}({a})", word(rng, &["abs", "floor", "ceil", "sign"])),
        6 => format!("power({}, CAST(2 AS DOUBLE PRECISION))", leaf(rng, scope, Ty::Double)),
        _ => format!("CAST({} AS DOUBLE PRECISION)", expression(rng, scope, Ty::Int, depth - 1)),
    }
}

fn text(rng: &mut Rng, scope: &Scope, a: String, b: &str, depth: u32) -> String {
    match rng.below(22) {
        0 | 1 => format!("({a} || {b})"),
        2 => format!("{}({a})", word(rng, &["upper", "lower", "trim", "ltrim", "rtrim", "md5"])),
        3 => format!("substring({a} FROM {} FOR {})", 1 + rng.below(3), rng.below(4)),
        4 => format!("replace({a}, {}, {})", literal(Ty::Text, rng), literal(Ty::Text, rng)),
        5 => format!("{}({a}, {})", word(rng, &["left", "right"]), literal(Ty::Int, rng)),
        6 => format!("{}({a}, {}, '*')", word(rng, &["lpad", "rpad"]), rng.below(6)),
        7 => format!("CAST({} AS TEXT)", expression(rng, scope, Ty::Int, depth - 1)),
        8 => format!("concat({a}, {b})"),
        9 => format!("concat_ws('-', {a}, {b})"),
        10 => format!("split_part({a}, 'b', {})", 1 + rng.below(2)),
        11 => format!(
            "regexp_replace({a}, '{}', '#'{})",
            word(rng, &["[a-c]+", "^.", "b$", "(a)(b)?"]),
            word(rng, &["", ", 'g'", ", 'i'"])
        ),
        12 => format!(
            "to_char({}, '{}')",
            leaf(rng, scope, Ty::Time),
            word(rng, &["YYYY-MM-DD HH24:MI:SS", "DD Mon YY", "Day, FMDDth FMMonth", "HH12:MI AM", "IYYY-IW Q DDD"])
        ),
        13 => format!("{}({a})", word(rng, &["initcap", "reverse", "quote_literal"])),
        14 => format!("translate({a}, 'abz', 'xy')"),
        15 => format!("overlay({a} PLACING 'zz' FROM 2 FOR 1)"),
        16 => format!("CAST({} AS TEXT)", {
            let ty = pick(
                rng,
                &[Ty::Date, Ty::Span, Ty::Uuid, Ty::Time, Ty::Bool, Ty::List, Ty::Words, Ty::Sums, Ty::Days, Ty::Bytes],
            )
            .copied()
            .unwrap_or(Ty::Date);
            expression(rng, scope, ty, depth - 1)
        }),
        17 => format!("encode({}, '{}')", leaf(rng, scope, Ty::Bytes), word(rng, &["hex", "base64"])),
        18 => format!("format('%s-%s', {a}, {b})"),
        19 => {
            let ty = word_of(rng);
            let null = word(rng, &["", ", '*'"]);
            format!("array_to_string({}, '-'{null})", expression(rng, scope, ty, depth - 1))
        }
        20 => format!("({})[{}]", expression(rng, scope, Ty::Words, depth - 1), 1 + rng.below(3)),
        _ => a,
    }
}

/// A condition.
pub fn predicate(rng: &mut Rng, scope: &Scope, depth: u32) -> String {
    if depth == 0 {
        return leaf(rng, scope, Ty::Bool);
    }
    let ty = pick(rng, &Ty::ALL).copied().unwrap_or(Ty::Int);
    match rng.below(17) {
        0 | 1 => format!("({} AND {})", predicate(rng, scope, depth - 1), predicate(rng, scope, depth - 1)),
        2 => format!("({} OR {})", predicate(rng, scope, depth - 1), predicate(rng, scope, depth - 1)),
        3 => format!("(NOT {})", predicate(rng, scope, depth - 1)),
        4 => format!("({} IS {}NULL)", expression(rng, scope, ty, depth - 1), word(rng, &["", "NOT "])),
        5 => {
            let list: Vec<String> = (0..1 + rng.below(4)).map(|_| literal(ty, rng)).collect();
            let negated = word(rng, &["", "NOT "]);
            format!("({} {negated}IN ({}))", expression(rng, scope, ty, depth - 1), list.join(", "))
        }
        6 => format!(
            "({} BETWEEN {} AND {})",
            expression(rng, scope, ty, depth - 1),
            literal(ty, rng),
            expression(rng, scope, ty, 0)
        ),
        7 => {
            let pattern = word(rng, &["'a%'", "'%b%'", "'_'", "'%'", "'x\\_%'", "'%a'", "'Z%'"]);
            let like = word(rng, &["LIKE", "NOT LIKE", "ILIKE"]);
            format!("({} {like} {pattern})", expression(rng, scope, Ty::Text, depth - 1))
        }
        8 => {
            let (a, b) = (expression(rng, scope, ty, depth - 1), expression(rng, scope, ty, depth - 1));
            format!("({a} IS {}DISTINCT FROM {b})", word(rng, &["", "NOT "]))
        }
        10 => {
            let operator = word(rng, &["~", "~*", "!~", "!~*"]);
            format!("({} {operator} {})", leaf(rng, scope, Ty::Text), word(rng, &["'^a'", "'b+'", "'[x-z]_'", "'^$'"]))
        }
        11 => {
            let any = word(rng, &["= ANY", "<> ALL", "< ANY"]);
            format!("({} {any} ({}))", leaf(rng, scope, Ty::Int), expression(rng, scope, Ty::List, depth - 1))
        }
        12 => test_of_list(rng, scope, depth - 1),
        13 => test_of_rows(rng, scope, depth - 1),
        9 => {
            let test = word(rng, &["TRUE", "FALSE", "UNKNOWN", "NOT TRUE", "NOT FALSE", "NOT UNKNOWN"]);
            format!("({} IS {test})", predicate(rng, scope, depth - 1))
        }
        _ => {
            let (a, b) = (expression(rng, scope, ty, depth - 1), expression(rng, scope, ty, depth - 1));
            format!("({a} {} {b})", word(rng, &["=", "<>", "<", "<=", ">", ">="]))
        }
    }
}
