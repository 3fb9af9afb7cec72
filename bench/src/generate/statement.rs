//! Statements: queries of every form, and changes of rows.

use highwater_runtime::rng::Rng;

use crate::generate::expression::{Scope, expression, pick, predicate, word};
use crate::generate::tables::{Column, TABLES, Table, Ty, literal};
use crate::generate::wide;

/// A generated statement.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Its text.
    pub sql: String,
    /// What it is an example of.
    pub form: &'static str,
    /// It reads.
    pub is_query: bool,
    /// It joins tables.
    pub joins: bool,
    /// It says in which order all of its rows come.
    pub is_ordered: bool,
    /// The table that it changes.
    pub target: Option<&'static str>,
}

/// A query's text, what its columns yield, and whether it joins.
pub(super) struct Query {
    pub(super) sql: String,
    pub(super) types: Vec<Ty>,
    pub(super) joins: bool,
}

/// The next statement.
pub fn statement(rng: &mut Rng) -> Statement {
    if rng.chance(0.25) { change(rng) } else { query(rng) }
}

fn query(rng: &mut Rng) -> Statement {
    let (form, mut query) = match rng.below(15) {
        0..=2 => ("rows", rows(rng, true)),
        3 | 4 => ("joins", rows(rng, false)),
        5 | 6 => ("groups", groups(rng)),
        7 => ("set operations", set_operation(rng)),
        8 => ("WITH", with(rng)),
        9 => ("derived tables", derived(rng)),
        10 => ("windows", windows(rng)),
        11 => ("grouping sets", wide::grouping_sets(rng)),
        12 => ("WITH RECURSIVE", wide::recursion(rng)),
        13 => ("LATERAL", wide::lateral(rng)),
        _ => ("subqueries", subqueries(rng)),
    };
    // PostgreSQL before 18 takes grouped columns that a join makes equal for equal in every grouping set, and leaves out one as a key.
    let is_ordered = rng.chance(0.5) && (form != "grouping sets" || !query.joins);
    if is_ordered {
        let mut items = Vec::new();
        for place in 1..=query.types.len() {
            items.push(format!(
                "{place}{}{}",
                word(rng, &["", "", " DESC", " ASC"]),
                word(rng, &["", "", " NULLS FIRST", " NULLS LAST"])
            ));
        }
        query.sql += &format!(" ORDER BY {}", items.join(", "));
        if rng.chance(0.4) {
            query.sql += &format!(" LIMIT {}", rng.below(12));
            if rng.chance(0.4) {
                query.sql += &format!(" OFFSET {}", rng.below(5));
            }
        }
    }
    Statement { sql: query.sql, form, is_query: true, joins: query.joins, is_ordered, target: None }
}

/// FROM with one table or several, what is in scope behind it, and whether it joins.
pub(super) fn from(rng: &mut Rng, single: bool) -> (String, Scope, bool) {
    let tables = if single { 1 } else { 2 + rng.below(2) };
    let (mut text, mut scope) = (String::new(), Scope::new());
    for number in 0..tables {
        let Some(table) = pick(rng, &TABLES) else { continue };
        let alias = format!("t{number}");
        let own: Scope = table.columns.iter().map(|column| (format!("{alias}.{}", column.name), column.ty)).collect();
        if number == 0 {
            text = format!("{} {alias}", table.name);
        } else if tables == 2 && rng.chance(0.1) {
            text += &format!(" CROSS JOIN {} {alias}", table.name);
        } else if tables == 2 && rng.chance(0.1) {
            text += &format!(", {} {alias}", table.name);
        } else {
            let kind = word(rng, &["JOIN", "INNER JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"]);
            let column = |rng: &mut Rng, scope: &Scope| {
                let ints: Vec<&String> = scope.iter().filter(|(_, ty)| *ty == Ty::Int).map(|(name, _)| name).collect();
                pick(rng, &ints).map_or("0", |name| name.as_str()).to_owned()
            };
            let mut on = format!("{} = {}", column(rng, &scope), column(rng, &own));
            // PostgreSQL makes full joins of equalities only.
            if kind != "FULL JOIN" && rng.chance(0.3) {
                let both: Scope = scope.iter().chain(&own).cloned().collect();
                on += &format!(" AND {}", predicate(rng, &both, 1));
            }
            text += &format!(" {kind} {} {alias} ON {on}", table.name);
        }
        scope.extend(own);
    }
    (text, scope, tables > 1)
}

pub(super) fn condition(rng: &mut Rng, scope: &Scope, often: f64) -> String {
    if rng.chance(often) { format!(" WHERE {}", predicate(rng, scope, 2)) } else { String::new() }
}

pub(super) fn types(rng: &mut Rng, most: u64) -> Vec<Ty> {
    (0..1 + rng.below(most)).filter_map(|_| pick(rng, &Ty::ALL).copied()).collect()
}

/// Expressions of these types, named `c0`, `c1` ...
pub(super) fn items(rng: &mut Rng, scope: &Scope, types: &[Ty]) -> String {
    let items: Vec<String> =
        types.iter().enumerate().map(|(place, ty)| format!("{} AS c{place}", expression(rng, scope, *ty, 2))).collect();
    items.join(", ")
}

fn block(rng: &mut Rng, single: bool, types: &[Ty]) -> Query {
    let (from, scope, joins) = from(rng, single);
    let items = items(rng, &scope, types);
    let distinct = if rng.chance(0.15) { "DISTINCT " } else { "" };
    let condition = condition(rng, &scope, 0.6);
    Query { sql: format!("SELECT {distinct}{items} FROM {from}{condition}"), types: types.to_vec(), joins }
}

fn rows(rng: &mut Rng, single: bool) -> Query {
    let types = types(rng, 4);
    block(rng, single, &types)
}

pub(super) fn aggregate(rng: &mut Rng, scope: &Scope, ty: Ty) -> String {
    let of = expression(rng, scope, ty, 1);
    let distinct = if rng.chance(0.2) { "DISTINCT " } else { "" };
    let call = match (ty, rng.below(4)) {
        (_, 0) => format!("count({distinct}{of})"),
        (Ty::Int | Ty::Decimal, 1) => format!("sum({distinct}{of})"),
        (Ty::Int | Ty::Decimal | Ty::Double, 2) => format!("avg({of})"),
        (Ty::Double, 1) => format!("sum({of})"),
        (Ty::Text, 1) => format!("string_agg({of}, ',' ORDER BY {of})"),
        // PostgreSQL does not take a literal alone for a TEXT here.
        (Ty::Text, 2) => format!("array_agg({distinct}CAST({of} AS TEXT) ORDER BY CAST({of} AS TEXT))"),
        (Ty::Date, 2) => format!("array_agg({distinct}{of} ORDER BY {of})"),
        (Ty::Bool, _) => format!("{}({of})", word(rng, &["bool_and", "bool_or"])),
        (Ty::Span, 1) => format!("sum({of})"),
        (Ty::Int, 3) => format!("{}({of})", word(rng, &["stddev_samp", "stddev_pop", "var_samp", "var_pop"])),
        // PostgreSQL has no least of these.
        (Ty::Uuid | Ty::Bytes, _) => format!("count({distinct}{of})"),
        (Ty::List | Ty::Words | Ty::Sums | Ty::Days, 1) => format!("count({distinct}{of})"),
        _ => format!("{}({of})", word(rng, &["min", "max"])),
    };
    if rng.chance(0.2) { format!("{call} FILTER (WHERE {})", predicate(rng, scope, 1)) } else { call }
}

fn groups(rng: &mut Rng) -> Query {
    let single = rng.chance(0.6);
    let (from, scope, joins) = from(rng, single);
    let keys = rng.below(3);
    let (mut parts, mut all, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for place in 0..keys {
        let ty = pick(rng, &Ty::ALL).copied().unwrap_or(Ty::Int);
        let columns: Scope = scope.iter().filter(|(_, of)| *of == ty).cloned().collect();
        let Some((column, _)) = pick(rng, &columns).cloned() else { continue };
        // An expression over a constant alone would be a key that PostgreSQL takes for a position or refuses.
        parts.push(column);
        places.push((place + 1).to_string());
        all.push(ty);
    }
    let places: Vec<String> = (1..=all.len()).map(|place| place.to_string()).collect();
    for _ in 0..1 + rng.below(3) {
        let ty = pick(rng, &Ty::ALL).copied().unwrap_or(Ty::Int);
        parts.push(aggregate(rng, &scope, ty));
        all.push(Ty::Int);
    }
    let mut sql = format!("SELECT {} FROM {from}{}", parts.join(", "), condition(rng, &scope, 0.5));
    if !places.is_empty() {
        sql += &format!(" GROUP BY {}", places.join(", "));
    }
    if rng.chance(0.3) {
        let of = aggregate(rng, &scope, Ty::Int);
        sql += &format!(" HAVING {of} {} {}", word(rng, &["<", ">", "<>", ">="]), literal(Ty::Int, rng));
    }
    Query { sql, types: all, joins }
}

fn set_operation(rng: &mut Rng) -> Query {
    let types = types(rng, 3);
    let (left, right) = (block(rng, true, &types), block(rng, true, &types));
    let word = word(rng, &["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"]);
    Query { sql: format!("{} {word} {}", left.sql, right.sql), types, joins: false }
}

fn named(alias: &str, types: &[Ty]) -> Scope {
    types.iter().enumerate().map(|(place, ty)| (format!("{alias}.c{place}"), *ty)).collect()
}

fn with(rng: &mut Rng) -> Query {
    let mut inner_types = types(rng, 3);
    inner_types.push(Ty::Int);
    let single = rng.chance(0.6);
    let inner = block(rng, single, &inner_types);
    let mut scope = named("q", &inner_types);
    let key = format!("q.c{}", inner_types.len() - 1);
    let (from, joins) = if rng.chance(0.5) {
        scope.extend([("o.id".to_owned(), Ty::Int), ("o.s".to_owned(), Ty::Text)]);
        (format!("q {} orders o ON o.k = {key}", word(rng, &["JOIN", "LEFT JOIN"])), true)
    } else {
        ("q".to_owned(), inner.joins)
    };
    let types = types(rng, 3);
    let items = items(rng, &scope, &types);
    let condition = condition(rng, &scope, 0.5);
    Query { sql: format!("WITH q AS ({}) SELECT {items} FROM {from}{condition}", inner.sql), types, joins }
}

fn derived(rng: &mut Rng) -> Query {
    let inner_types = types(rng, 4);
    let single = rng.chance(0.6);
    let inner = block(rng, single, &inner_types);
    let scope = named("q", &inner_types);
    let types = types(rng, 3);
    let items = items(rng, &scope, &types);
    let condition = condition(rng, &scope, 0.5);
    Query { sql: format!("SELECT {items} FROM ({}) q{condition}", inner.sql), types, joins: inner.joins }
}

/// Window functions over an order that leaves no choice.
fn windows(rng: &mut Rng) -> Query {
    let people = TABLES.first();
    let scope: Scope = people
        .map(|table| table.columns.iter().map(|column| (format!("t0.{}", column.name), column.ty)).collect())
        .unwrap_or_default();
    let mut parts = vec!["t0.id".to_owned()];
    for _ in 0..1 + rng.below(2) {
        let partition = match rng.below(3) {
            0 => String::new(),
            _ => format!("PARTITION BY {} ", word(rng, &["t0.k", "t0.o", "t0.s", "t0.k, t0.o"])),
        };
        let int = expression(rng, &scope, Ty::Int, 1);
        parts.push(match rng.below(8) {
            0 => format!("row_number() OVER ({partition}ORDER BY t0.id)"),
            1 => format!(
                "{}() OVER ({partition}ORDER BY t0.k)",
                word(rng, &["rank", "dense_rank", "percent_rank", "cume_dist"])
            ),
            2 => format!("{}({int}) OVER ({partition}ORDER BY t0.id DESC)", word(rng, &["lag", "lead"])),
            3 => format!("{}({int}) OVER ({partition}ORDER BY t0.id)", word(rng, &["first_value", "last_value"])),
            4 => format!("sum({int}) OVER ({partition}ORDER BY t0.n)"),
            5 => format!("count(*) OVER ({})", partition.trim_end()),
            6 => format!(
                "sum({int}) OVER ({partition}ORDER BY t0.id ROWS BETWEEN {} AND {})",
                word(rng, &["2 PRECEDING", "UNBOUNDED PRECEDING", "CURRENT ROW"]),
                word(rng, &["CURRENT ROW", "1 FOLLOWING", "UNBOUNDED FOLLOWING"])
            ),
            _ => format!("ntile({}) OVER ({partition}ORDER BY t0.id)", 1 + rng.below(4)),
        });
    }
    let condition = condition(rng, &scope, 0.4);
    let types = vec![Ty::Int; parts.len()];
    Query { sql: format!("SELECT {} FROM people t0{condition}", parts.join(", ")), types, joins: false }
}

fn subqueries(rng: &mut Rng) -> Query {
    let scope: Scope = TABLES
        .first()
        .map(|table| table.columns.iter().map(|column| (format!("t0.{}", column.name), column.ty)).collect())
        .unwrap_or_default();
    let inner: Scope = [("i.id", Ty::Int), ("i.k", Ty::Int), ("i.s", Ty::Text), ("i.price", Ty::Decimal)]
        .map(|(name, ty)| (name.to_owned(), ty))
        .to_vec();
    let filter = predicate(rng, &inner, 1);
    let types = types(rng, 2);
    let items = items(rng, &scope, &types);
    let condition = match rng.below(7) {
        0 => format!("EXISTS (SELECT 1 FROM orders i WHERE i.person = t0.id AND {filter})"),
        1 => format!("NOT EXISTS (SELECT 1 FROM orders i WHERE i.k = t0.k AND {filter})"),
        2 => format!("t0.id IN (SELECT i.person FROM orders i WHERE {filter})"),
        3 => format!("t0.k NOT IN (SELECT i.k FROM orders i WHERE {filter})"),
        4 => "t0.k < (SELECT max(i.k) FROM orders i WHERE i.person = t0.id)".to_owned(),
        5 => format!("t0.k {} ANY (SELECT i.k FROM orders i WHERE {filter})", word(rng, &["=", "<", ">="])),
        _ => format!("t0.n {} ALL (SELECT i.k FROM orders i WHERE i.person = t0.id)", word(rng, &["<>", "<", ">="])),
    };
    let scalar = if rng.chance(0.4) {
        let of = word(rng, &["count(*)", "min(i.s)", "sum(i.price)"]);
        format!(", (SELECT {of} FROM orders i WHERE i.person = t0.id)")
    } else {
        String::new()
    };
    let mut types = types;
    if !scalar.is_empty() {
        types.push(Ty::Int);
    }
    Query { sql: format!("SELECT {items}{scalar} FROM people t0 WHERE {condition}"), types, joins: true }
}

fn change(rng: &mut Rng) -> Statement {
    let Some(table) = pick(rng, &TABLES) else { return query(rng) };
    let of = |(table, sql): (&'static Table, String), form| (table, form, sql);
    let (table, form, mut sql) = match rng.below(8) {
        0..=2 => {
            let (form, sql) = insert(rng, table);
            (table, form, sql)
        }
        3 => (table, "UPDATE", update(rng, table)),
        4 => (table, "DELETE", format!("DELETE FROM {} WHERE {}", table.name, narrow(rng, table))),
        5 => of(wide::insert_select(rng), "INSERT ... SELECT"),
        6 => of(wide::update(rng), "UPDATE by others"),
        _ => of(wide::delete(rng), "DELETE by others"),
    };
    if rng.chance(0.4) {
        // With its name: PostgreSQL sees the columns of the other tables, too.
        let scope: Scope =
            own(table).into_iter().map(|(column, ty)| (format!("{}.{column}", table.name), ty)).collect();
        let types = types(rng, 2);
        sql += " RETURNING ";
        sql += &if rng.chance(0.3) { format!("{}.*", table.name) } else { items(rng, &scope, &types) };
        if rng.chance(0.3) {
            sql += &format!(", {}", returned(rng, table));
        }
    }
    Statement { sql, form, is_query: false, joins: false, is_ordered: false, target: Some(table.name) }
}

/// A subquery of RETURNING: of other rows, by values of the changed one or not.
fn returned(rng: &mut Rng, table: &Table) -> String {
    let first = table.columns.first().map_or("", |column| column.name);
    let (name, other) = (table.name, word(rng, &["people", "orders"]));
    match rng.below(5) {
        0 => format!("(SELECT count(*) FROM {name} i)"),
        // What a spread table has beside the changed row is on every shard.
        1 if !table.is_spread => format!("(SELECT count(*) FROM {name} i WHERE i.{first} < {name}.{first})"),
        1 | 2 => format!("(SELECT min(i.s) FROM {other} i WHERE i.id >= {name}.{first})"),
        3 => format!("EXISTS (SELECT 1 FROM {other} i WHERE i.id = {name}.{first})"),
        _ => format!("{name}.{first} IN (SELECT i.k FROM {other} i)"),
    }
}

fn own(table: &Table) -> Scope {
    table.columns.iter().map(|column| (column.name.to_owned(), column.ty)).collect()
}

/// A condition that leaves most rows alone, and fixes the shard where it must.
fn narrow(rng: &mut Rng, table: &Table) -> String {
    let first = table.columns.first().map_or("", |column| column.name);
    let choice =
        if table.is_spread { format!("{first} = {}", rng.below(7)) } else { format!("{first} % 5 = {}", rng.below(5)) };
    format!("{choice} AND {}", predicate(rng, &own(table), 2))
}

fn insert(rng: &mut Rng, table: &Table) -> (&'static str, String) {
    let count = if table.is_spread { 1 } else { 1 + rng.below(3) };
    let rows: Vec<String> = (0..count)
        .map(|_| {
            let values: Vec<String> = table
                .columns
                .iter()
                .enumerate()
                .map(|(place, column)| match (place, column.ty) {
                    (0, Ty::Int) => rng.below(if table.is_spread { 7 } else { 120 }).to_string(),
                    _ => column.value(rng),
                })
                .collect();
            format!("({})", values.join(", "))
        })
        .collect();
    let mut sql = format!("INSERT INTO {} VALUES {}", table.name, rows.join(", "));
    if rng.chance(0.3) {
        let key: Vec<&str> = table.columns.iter().take(table.key).map(|column| column.name).collect();
        sql += &format!(" ON CONFLICT ({}) DO ", key.join(", "));
        if rng.chance(0.4) {
            sql += "NOTHING";
        } else if let Some(column) = table.columns.last() {
            sql += &format!("UPDATE SET {0} = excluded.{0}", column.name);
            if rng.chance(0.3) {
                sql += &format!(" WHERE {}.{} IS NOT NULL", table.name, column.name);
            }
        }
        return ("ON CONFLICT", sql);
    }
    ("INSERT", sql)
}

fn update(rng: &mut Rng, table: &Table) -> String {
    let scope = own(table);
    let rest: Vec<&Column> = table.columns.iter().skip(table.key).collect();
    let mut assigned: Vec<&str> = Vec::new();
    let mut parts = Vec::new();
    for _ in 0..1 + rng.below(2) {
        let Some(column) = pick(rng, &rest).copied() else { continue };
        if assigned.contains(&column.name) {
            continue;
        }
        assigned.push(column.name);
        parts.push(format!("{} = {}", column.name, expression(rng, &scope, column.ty, 2)));
    }
    format!("UPDATE {} SET {} WHERE {}", table.name, parts.join(", "), narrow(rng, table))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_statements_and_every_form_comes() {
        let texts = |seed| {
            let mut rng = Rng::new(seed);
            (0..1000).map(|_| statement(&mut rng)).collect::<Vec<_>>()
        };
        let (one, two) = (texts(1), texts(1));
        assert!(one.iter().zip(&two).all(|(a, b)| a.sql == b.sql));
        assert!(texts(2).iter().zip(&one).any(|(a, b)| a.sql != b.sql));
        let forms: std::collections::BTreeSet<_> = one.iter().map(|statement| statement.form).collect();
        assert_eq!(forms.len(), 18, "{forms:?}");
    }
}
