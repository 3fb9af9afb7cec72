//! Statements of wider forms: grouping sets, recursion, LATERAL; and changes whose rows other tables decide.
//!
//! Each is made so that what it means leaves no choice: a row to be changed is met by one row at most, a recursion ends, a limit has
//! an order of keys.

use highwater_runtime::rng::Rng;

use crate::generate::expression::{Scope, expression, pick, predicate, word};
use crate::generate::statement::{Query, aggregate, condition, from, items, types};
use crate::generate::tables::{Column, TABLES, Table, Ty};

/// The columns of a table under this name.
fn scope_of(table: &Table, alias: &str) -> Scope {
    table.columns.iter().map(|column| (format!("{alias}.{}", column.name), column.ty)).collect()
}

/// The tables that are not spread over shards.
fn whole(rng: &mut Rng) -> &'static Table {
    let known: Vec<&'static Table> = TABLES.iter().filter(|table| !table.is_spread).collect();
    pick(rng, &known).copied().unwrap_or(&TABLES[0])
}

/// GROUP BY with several grouping sets.
pub(super) fn grouping_sets(rng: &mut Rng) -> Query {
    let single = rng.chance(0.6);
    let (from, scope, joins) = from(rng, single);
    let mut keys: Vec<(String, Ty)> = Vec::new();
    for _ in 0..1 + rng.below(3) {
        if let Some(column) = pick(rng, &scope).filter(|column| !keys.contains(column)) {
            keys.push(column.clone());
        }
    }
    let names: Vec<&str> = keys.iter().map(|(name, _)| name.as_str()).collect();
    let all = names.join(", ");
    let first = names.first().copied().unwrap_or_default();
    let by = match rng.below(8) {
        0 | 1 => format!("ROLLUP ({all})"),
        2 => format!("CUBE ({all})"),
        3 => format!("{first}, ROLLUP ({all})"),
        4 => format!("GROUPING SETS (({all}), ({first}), ())"),
        5 => format!("GROUPING SETS (ROLLUP ({all}), CUBE ({first}))"),
        6 => format!("ROLLUP (({all}), {first})"),
        _ => format!("GROUPING SETS (({first}), {first}, ({all}))"),
    };
    let mut parts: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut yielded: Vec<Ty> = keys.iter().map(|(_, ty)| *ty).collect();
    if rng.chance(0.6) {
        parts.push(format!("GROUPING({all})"));
        yielded.push(Ty::Int);
    }
    for _ in 0..1 + rng.below(2) {
        let ty = pick(rng, &Ty::ALL).copied().unwrap_or(Ty::Int);
        parts.push(aggregate(rng, &scope, ty));
        yielded.push(Ty::Int);
    }
    let mut sql = format!("SELECT {} FROM {from}{} GROUP BY {by}", parts.join(", "), condition(rng, &scope, 0.4));
    if rng.chance(0.25) {
        sql += &format!(" HAVING {}", word(rng, &["count(*) > 1", "count(*) < 9"]));
        if rng.chance(0.5) {
            sql += &format!(" OR GROUPING({first}) = 1");
        }
    }
    Query { sql, types: yielded, joins }
}

/// WITH RECURSIVE: numbers that are counted up, or people and what hangs on them.
pub(super) fn recursion(rng: &mut Rng) -> Query {
    let union = word(rng, &["UNION", "UNION ALL"]);
    if rng.chance(0.5) {
        let (ty, name) =
            *pick(rng, &[(Ty::Text, "TEXT"), (Ty::Decimal, "NUMERIC"), (Ty::Bool, "BOOLEAN"), (Ty::Time, "TIMESTAMP")])
                .unwrap_or(&(Ty::Text, "TEXT"));
        let table = whole(rng);
        let outer = scope_of(table, "t0");
        let start = expression(rng, &outer, ty, 1);
        let start_where = predicate(rng, &outer, 1);
        let own: Scope = vec![("r.i".to_owned(), Ty::Int), ("r.c".to_owned(), ty)];
        let step = expression(rng, &own, ty, 1);
        let last = 2 + rng.below(4);
        let wanted = types(rng, 2);
        let items = items(rng, &own, &wanted);
        let condition = condition(rng, &own, 0.4);
        let sql = format!(
            "WITH RECURSIVE r (i, c) AS (SELECT 1, CAST({start} AS {name}) FROM {} t0 WHERE {start_where} {union} \
             SELECT r.i + 1, CAST({step} AS {name}) FROM r WHERE r.i < {last}) SELECT {items} FROM r{condition}",
            table.name
        );
        return Query { sql, types: wanted, joins: false };
    }
    let outer: Scope = vec![("p.id".to_owned(), Ty::Int), ("p.k".to_owned(), Ty::Int), ("p.s".to_owned(), Ty::Text)];
    let own: Scope = vec![
        ("r.id".to_owned(), Ty::Int),
        ("r.depth".to_owned(), Ty::Int),
        ("o.k".to_owned(), Ty::Int),
        ("o.s".to_owned(), Ty::Text),
    ];
    let (start, step) = (predicate(rng, &outer, 1), predicate(rng, &own, 1));
    let most = 1 + rng.below(3);
    let of_result: Scope = vec![("r.id".to_owned(), Ty::Int), ("r.depth".to_owned(), Ty::Int)];
    let (columns, yielded) = match rng.below(3) {
        0 => ("count(*), max(r.depth)".to_owned(), vec![Ty::Int, Ty::Int]),
        1 => ("r.depth, count(DISTINCT r.id)".to_owned(), vec![Ty::Int, Ty::Int]),
        _ => {
            let wanted = types(rng, 3);
            (items(rng, &of_result, &wanted), wanted)
        }
    };
    let group = if columns.starts_with("r.depth, count") { " GROUP BY r.depth" } else { "" };
    let sql = format!(
        "WITH RECURSIVE r (id, depth) AS (SELECT p.id, 0 FROM people p WHERE {start} {union} \
         SELECT o.id, r.depth + 1 FROM r JOIN orders o ON o.person = r.id WHERE r.depth < {most} AND {step}) \
         SELECT {columns} FROM r{group}"
    );
    Query { sql, types: yielded, joins: true }
}

/// A LATERAL subquery beside a table.
pub(super) fn lateral(rng: &mut Rng) -> Query {
    let (outer, inner) = (whole(rng), whole(rng));
    let mut scope = scope_of(outer, "t0");
    let of_inner = scope_of(inner, "i");
    let both: Scope = scope.iter().chain(&of_inner).cloned().collect();
    let int = |rng: &mut Rng, scope: &Scope| {
        let ints: Vec<&String> = scope.iter().filter(|(_, ty)| *ty == Ty::Int).map(|(name, _)| name).collect();
        pick(rng, &ints).map_or("0", |name| name.as_str()).to_owned()
    };
    let on = format!("{} = {}", int(rng, &of_inner), int(rng, &scope));
    let more = if rng.chance(0.4) { format!(" AND {}", predicate(rng, &both, 1)) } else { String::new() };
    let (columns, named, end) = if rng.chance(0.4) {
        let ty = pick(rng, &Ty::ALL).copied().unwrap_or(Ty::Int);
        (
            format!("{} AS c0, count(*) AS c1", aggregate(rng, &of_inner, ty)),
            vec![("q.c1".to_owned(), Ty::Int)],
            String::new(),
        )
    } else {
        let wanted = types(rng, 2);
        let columns = items(rng, &both, &wanted);
        let named = wanted.iter().enumerate().map(|(place, ty)| (format!("q.c{place}"), *ty)).collect();
        let limit = if rng.chance(0.5) { format!(" ORDER BY i.id LIMIT {}", 1 + rng.below(3)) } else { String::new() };
        (columns, named, limit)
    };
    let way = word(rng, &["CROSS JOIN", "LEFT JOIN", "JOIN", ","]);
    let behind = if way.ends_with("JOIN") && way != "CROSS JOIN" { " ON TRUE" } else { "" };
    scope.extend(named);
    let wanted = types(rng, 3);
    let items = items(rng, &scope, &wanted);
    let condition = condition(rng, &scope, 0.4);
    let sql = format!(
        "SELECT {items} FROM {} t0 {way} LATERAL (SELECT {columns} FROM {} i WHERE {on}{more}{end}) q{behind}{condition}",
        outer.name, inner.name
    );
    Query { sql, types: wanted, joins: true }
}

/// INSERT of what a query reads; the new keys are free, or all taken.
pub(super) fn insert_select(rng: &mut Rng) -> (&'static Table, String) {
    let target = pick(rng, &TABLES).unwrap_or(&TABLES[0]);
    let source = if target.is_spread { target } else { whole(rng) };
    let scope = scope_of(source, "t0");
    let beyond = 200 + rng.below(2000);
    let values: Vec<String> = target
        .columns
        .iter()
        .enumerate()
        .map(|(place, column)| match (place, target.is_spread) {
            (0, true) => rng.below(7).to_string(),
            (1, true) => format!("t0.c || '{beyond}'"),
            (0, false) => format!("t0.id + {beyond}"),
            _ => expression(rng, &scope, column.ty, 1),
        })
        .collect();
    let of_one_shard = if target.is_spread { format!("t0.a = {} AND ", rng.below(7)) } else { String::new() };
    let filter = predicate(rng, &scope, 2);
    let names: Vec<&str> = target.columns.iter().map(|column| column.name).collect();
    let listed = if rng.chance(0.5) { format!(" ({})", names.join(", ")) } else { String::new() };
    let select = format!("SELECT {} FROM {} t0 WHERE {of_one_shard}{filter}", values.join(", "), source.name);
    let conflict = word(rng, &["", "", " ON CONFLICT DO NOTHING"]);
    let sql = match rng.below(4) {
        0 if !target.is_spread => {
            format!("WITH w AS ({select}) INSERT INTO {}{listed} SELECT * FROM w{conflict}", target.name)
                .replace(&select, &numbered(&values, source, &filter))
        }
        _ => format!("INSERT INTO {}{listed} {select}{conflict}", target.name),
    };
    (target, sql)
}

/// The query of an INSERT with a name for each column, as one that WITH names needs.
fn numbered(values: &[String], source: &Table, filter: &str) -> String {
    let named: Vec<String> = values.iter().enumerate().map(|(place, value)| format!("{value} AS c{place}")).collect();
    format!("SELECT {} FROM {} t0 WHERE {filter}", named.join(", "), source.name)
}

/// Assignments to columns behind the key.
fn assignments(rng: &mut Rng, table: &Table, scope: &Scope) -> String {
    let rest: Vec<&Column> = table.columns.iter().skip(table.key).collect();
    let Some(column) = pick(rng, &rest) else { return String::new() };
    format!("{} = {}", column.name, expression(rng, scope, column.ty, 2))
}

/// UPDATE with FROM or with subqueries. Of the other table one row at most meets each row.
pub(super) fn update(rng: &mut Rng) -> (&'static Table, String) {
    let (target, other) = (whole(rng), whole(rng));
    let name = target.name;
    let own = scope_of(target, name);
    let others = scope_of(other, "x");
    let both: Scope = own.iter().chain(&others).cloned().collect();
    let narrow = format!("{name}.id % 4 = {}", rng.below(4));
    let sql = match rng.below(5) {
        0 | 1 => {
            let set = assignments(rng, target, &both);
            let filter = predicate(rng, &both, 1);
            format!("UPDATE {name} SET {set} FROM {} x WHERE x.id = {name}.id AND {narrow} AND {filter}", other.name)
        }
        2 => {
            let set = assignments(rng, target, &own);
            let filter = predicate(rng, &others, 1);
            format!(
                "UPDATE {name} SET {set} WHERE {narrow} AND {name}.id IN (SELECT x.id FROM {} x WHERE {filter})",
                other.name
            )
        }
        3 => {
            let rest: Vec<&Column> = target
                .columns
                .iter()
                .skip(1)
                .filter(|column| !matches!(column.ty, Ty::Uuid | Ty::Bytes | Ty::Bool))
                .collect();
            let (column, ty) = pick(rng, &rest).map_or(("k", Ty::Int), |column| (column.name, column.ty));
            let of = expression(rng, &others, ty, 1);
            format!(
                "UPDATE {name} SET {column} = (SELECT max({of}) FROM {} x WHERE x.id = {name}.id) WHERE {narrow}",
                other.name
            )
        }
        _ => {
            let set = assignments(rng, target, &own);
            let filter = predicate(rng, &others, 1);
            let test = word(rng, &["", "NOT "]);
            format!(
                "WITH w AS (SELECT x.id FROM {} x WHERE {filter}) UPDATE {name} SET {set} \
                 WHERE {narrow} AND {test}EXISTS (SELECT 1 FROM w WHERE w.id = {name}.id)",
                other.name
            )
        }
    };
    (target, sql)
}

/// DELETE with USING or with subqueries.
pub(super) fn delete(rng: &mut Rng) -> (&'static Table, String) {
    let (target, other) = (whole(rng), whole(rng));
    let name = target.name;
    let others = scope_of(other, "x");
    let both: Scope = scope_of(target, name).iter().chain(&others).cloned().collect();
    let narrow = format!("{name}.id % 6 = {}", rng.below(6));
    let sql = match rng.below(4) {
        0 | 1 => {
            let filter = predicate(rng, &both, 1);
            let on = word(rng, &["x.id = ", "x.id + 1 = "]);
            format!("DELETE FROM {name} USING {} x WHERE {on}{name}.id AND {narrow} AND {filter}", other.name)
        }
        2 => {
            let filter = predicate(rng, &others, 1);
            let test = word(rng, &["EXISTS", "NOT EXISTS"]);
            format!(
                "DELETE FROM {name} WHERE {narrow} AND {test} (SELECT 1 FROM {} x WHERE x.id = {name}.id AND {filter})",
                other.name
            )
        }
        _ => {
            let filter = predicate(rng, &others, 1);
            format!(
                "WITH w AS (SELECT x.id FROM {} x WHERE {filter}) DELETE FROM {name} USING w WHERE w.id = {name}.id AND {narrow}",
                other.name
            )
        }
    };
    (target, sql)
}
