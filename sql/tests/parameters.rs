//! Parameters: which type each takes from the place where it stands, and what the values that a client sends become.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod support;

use highwater_sql::bind::{BindContext, ParamValue, bind, coerce_params};
use highwater_sql::catalog::{Catalog, Role};
use highwater_sql::diag::Diag;
use highwater_sql::parse::parse;
use highwater_sql::plan::Bound;
use support::fixture;

/// A table with a column of every type.
const ALL: &str = "CREATE TABLE app.every (
    id BIGINT PRIMARY KEY, b BOOLEAN, s SMALLINT, i INT, f REAL, d DOUBLE, n DECIMAL(10,2), t TEXT, y BYTES, j JSON, day DATE, at TIME,
    ts TIMESTAMP, tz TIMESTAMPTZ, span INTERVAL, u UUID, v EMBEDDING(3), ints INT[], texts TEXT[], days DATE[], sums DECIMAL(5,1)[])";

fn catalog() -> Catalog {
    let mut catalog = fixture::catalog();
    let table = bound(ALL, &catalog).unwrap();
    fixture::perform(table.plan, &mut catalog);
    catalog
}

fn bound(sql: &str, catalog: &Catalog) -> Result<Bound, Diag> {
    let context = BindContext { catalog, namespace: "app", user: "root", role: Role::System };
    bind(&parse(sql)?[0], &context)
}

/// Statements, and the types that their parameters take, in order.
const INFERRED: &[(&str, &str)] = &[
    // Beside a value.
    ("SELECT id FROM every WHERE id = $1", "BIGINT"),
    ("SELECT id FROM every WHERE $1 = s", "SMALLINT"),
    ("SELECT id FROM every WHERE n > $1", "DECIMAL"),
    ("SELECT id FROM every WHERE t < $1 AND t || $2 = $3", "TEXT, TEXT, TEXT"),
    ("SELECT id FROM every WHERE day BETWEEN $1 AND $2", "DATE, DATE"),
    ("SELECT id FROM every WHERE $1 BETWEEN s AND i", "SMALLINT"),
    ("SELECT id FROM every WHERE u IS DISTINCT FROM $1", "UUID"),
    ("SELECT id FROM every WHERE b = $1 OR $2", "BOOLEAN, BOOLEAN"),
    ("SELECT id FROM every WHERE NOT $1 AND $2 IS TRUE", "BOOLEAN, BOOLEAN"),
    ("SELECT id FROM every WHERE t LIKE $1 AND t ILIKE $2 AND t ~ $3", "TEXT, TEXT, TEXT"),
    ("SELECT i + $1, $2 * d, n - $3, f / $4, i % $5 FROM every", "INT, DOUBLE, DECIMAL, REAL, INT"),
    ("SELECT ts + $1, ts - $2, day - $3, span * $4 FROM every", "INTERVAL, TIMESTAMP, DATE, DOUBLE"),
    ("SELECT i & $1, i << $2 FROM every", "INT, INT"),
    ("SELECT -$1", "DOUBLE"),
    // In lists, arrays and rows.
    ("SELECT id FROM every WHERE s IN ($1, $2)", "SMALLINT, SMALLINT"),
    ("SELECT id FROM every WHERE $1 IN (i, 2)", "INT"),
    ("SELECT id FROM every WHERE $1 IN ($2, i)", "INT, INT"),
    ("SELECT id FROM every WHERE id = ANY($1)", "BIGINT[]"),
    ("SELECT id FROM every WHERE u <> ALL($1)", "UUID[]"),
    ("SELECT id FROM every WHERE n > ANY($1)", "DECIMAL[]"),
    ("SELECT id FROM every WHERE $1 = ANY(texts)", "TEXT"),
    ("SELECT id FROM every WHERE $1 = ANY(sums)", "DECIMAL"),
    ("SELECT id FROM every WHERE ints @> $1 AND ints && $2 AND $3 <@ days", "INT[], INT[], DATE[]"),
    ("SELECT id FROM every WHERE ints = $1", "INT[]"),
    ("SELECT ints[$1], ints[$2:$3] FROM every", "BIGINT, BIGINT, BIGINT"),
    ("SELECT ints || $1 FROM every", "INT[]"),
    ("SELECT ARRAY[i, $1], ARRAY[$2, day] FROM every", "INT, DATE"),
    ("SELECT array_append(ints, $1), array_prepend($2, days), array_position(texts, $3) FROM every", "INT, DATE, TEXT"),
    ("SELECT array_cat(ints, $1), array_remove(ints, $2), cardinality($3) FROM every", "INT[], INT, TEXT[]"),
    ("SELECT id FROM every WHERE (id, day) IN (($1, $2), ($3, $4))", "BIGINT, DATE, BIGINT, DATE"),
    ("SELECT id FROM every WHERE (id, day) = ($1, $2)", "BIGINT, DATE"),
    // Choices.
    ("SELECT CASE WHEN $1 THEN i ELSE $2 END FROM every", "BOOLEAN, INT"),
    ("SELECT CASE i WHEN $1 THEN $2 ELSE day END FROM every", "INT, DATE"),
    ("SELECT CASE $1 WHEN i THEN 1 END FROM every", "INT"),
    (
        "SELECT COALESCE($1, u), NULLIF(day, $2), NULLIF($3, n), GREATEST($4, ts, $5) FROM every",
        "UUID, DATE, DECIMAL(10,2), TIMESTAMP, TIMESTAMP",
    ),
    // Functions and casts.
    (
        "SELECT length($1), substring($2 FROM $3 FOR $4), round($5), sqrt($6)",
        "TEXT, TEXT, BIGINT, BIGINT, DOUBLE, DOUBLE",
    ),
    ("SELECT date_trunc($1, tz), extract(year FROM $2) FROM every", "TEXT, TIMESTAMP"),
    (
        "SELECT split_part(t, $1, $2), lpad(t, $3, $4), starts_with(t, $5) FROM every",
        "TEXT, BIGINT, BIGINT, TEXT, TEXT",
    ),
    ("SELECT cosine_distance(v, $1), l2_distance($2, v) FROM every", "EMBEDDING, EMBEDDING"),
    ("SELECT j -> $1, j #> $2, j ? $3, j @> $4 FROM every", "TEXT, TEXT[], TEXT, JSON"),
    (
        "SELECT $1::INT, CAST($2 AS UUID), $3::DATE[], $4::DECIMAL(5,2), $5::EMBEDDING(2)",
        "INT, UUID, DATE[], DECIMAL(5,2), EMBEDDING(2)",
    ),
    ("SELECT $1::INT, $1 + 1", "INT"),
    ("SELECT $1 AT TIME ZONE 'UTC', tz AT TIME ZONE $2 FROM every", "TIMESTAMPTZ, TEXT"),
    ("SELECT $1, $2 IS NULL, concat($3, $4)", "TEXT, TEXT, TEXT, TEXT"),
    // One parameter in several places: the place that knows the type says it.
    ("SELECT $1 FROM every WHERE id = $1", "BIGINT"),
    ("SELECT id FROM every WHERE $1 IS NULL OR day = $1", "DATE"),
    ("SELECT id FROM every WHERE ($1 IS NULL) OR (id = ANY($1))", "BIGINT[]"),
    ("SELECT $2, $1 FROM every WHERE i = $1 AND u = $2", "INT, UUID"),
    // Clauses.
    ("SELECT id FROM every LIMIT $1 OFFSET $2", "BIGINT, BIGINT"),
    ("SELECT id FROM every ORDER BY id FETCH FIRST $1 ROWS ONLY", "BIGINT"),
    ("SELECT s, count(*) FROM every GROUP BY s HAVING sum(i) > $1 ORDER BY s + $2", "BIGINT, SMALLINT"),
    (
        "SELECT count(*) FILTER (WHERE day > $1), sum(i) FILTER (WHERE $2), string_agg(t, $3) FROM every",
        "DATE, BOOLEAN, TEXT",
    ),
    ("SELECT a.id FROM every a JOIN every b ON a.id = b.id AND a.day > $1", "DATE"),
    ("SELECT lag(i, $1, $2) OVER (ORDER BY id) FROM every", "BIGINT, INT"),
    ("SELECT id FROM every WHERE id IN (SELECT id FROM every WHERE u = $1)", "UUID"),
    ("SELECT id FROM every WHERE $1 IN (SELECT day FROM every)", "DATE"),
    ("SELECT id FROM every WHERE $1 = (SELECT max(day) FROM every)", "DATE"),
    ("SELECT id FROM every WHERE $1 > ALL (SELECT s FROM every)", "SMALLINT"),
    ("WITH w AS (SELECT id FROM every WHERE ts > $1) SELECT id FROM w WHERE id = $2", "TIMESTAMP, BIGINT"),
    ("SELECT id FROM every UNION SELECT $1", "BIGINT"),
    ("SELECT day FROM every UNION ALL SELECT $1 UNION ALL SELECT $2", "DATE, DATE"),
    ("VALUES (1, $1), ($2, 'x')", "TEXT, INT"),
    ("SELECT v.a FROM (VALUES (1), ($1)) v (a)", "INT"),
    // Changes.
    (
        "INSERT INTO every (id, b, s, f, n, y, j, day, at, tz, span, u, v, ints) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        "BIGINT, BOOLEAN, SMALLINT, REAL, DECIMAL(10,2), BYTES, JSON, DATE, TIME, TIMESTAMPTZ, INTERVAL, UUID, EMBEDDING(3), INT[]",
    ),
    ("INSERT INTO every (id, i) VALUES ($1, $2 + 1), ($3, $4)", "BIGINT, INT, BIGINT, INT"),
    ("INSERT INTO every (id, t) VALUES ($1, lower($2)) RETURNING id + $3", "BIGINT, TEXT, BIGINT"),
    (
        "INSERT INTO every (id, i) VALUES ($1, 2) ON CONFLICT (id) DO UPDATE SET i = $2, t = $3 WHERE every.day < $4",
        "BIGINT, INT, TEXT, DATE",
    ),
    ("UPDATE every SET day = $1, i = i + $2, texts = texts || $3 WHERE id = $4", "DATE, INT, TEXT[], BIGINT"),
    ("UPDATE every SET (i, u) = ($1, $2) WHERE id = $3", "INT, UUID, BIGINT"),
    ("DELETE FROM every WHERE id = $1 OR tz < $2", "BIGINT, TIMESTAMPTZ"),
    // The system's own.
    ("CONSUME FROM changes LIMIT $1", "BIGINT"),
    ("EXPLAIN SELECT id FROM every WHERE day = $1", "DATE"),
];

#[test]
fn parameters_take_the_type_of_the_place_where_they_stand() {
    let catalog = catalog();
    let mut wrong = Vec::new();
    for (sql, wanted) in INFERRED {
        let found = match bound(sql, &catalog) {
            Ok(bound) => bound.parameters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
            Err(diag) => format!("{} {}", diag.sqlstate, diag.message),
        };
        if found != *wanted {
            wrong.push(format!("{sql}\n  wanted {wanted}\n  found  {found}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), INFERRED.len(), wrong.join("\n"));
}

/// A value of JSON as the HTTP interface takes it, for a parameter of a type: what it becomes.
const GIVEN: &[(&str, &str, &str)] = &[
    ("INT[]", "[1, null, -3]", "{1,NULL,-3}"),
    ("INT[]", "[]", "{}"),
    ("INT[]", "\"{1,2}\"", "{1,2}"),
    ("INT[]", "null", "NULL"),
    ("BIGINT[]", "[\"9007199254740993\", 1]", "{9007199254740993,1}"),
    ("DECIMAL(5,2)[]", "[\"1.005\", 2]", "{1.01,2.00}"),
    ("TEXT[]", r#"["a", "b c", "q\"u", "é\n", "", "NULL"]"#, "{a,\"b c\",\"q\\\"u\",\"é\n\",\"\",\"NULL\"}"),
    ("TEXT[]", "[1.50, true]", "{1.50,true}"),
    ("BOOLEAN[]", "[true, false, \"yes\"]", "{t,f,t}"),
    ("DOUBLE[]", "[1.5, \"NaN\", 1e300]", "{1.5,NaN,1e+300}"),
    ("DATE[]", "[\"2026-01-02\", 0]", "{2026-01-02,1970-01-01}"),
    ("TIMESTAMP[]", "[\"2026-01-02 03:04\", 1000000]", "{\"2026-01-02 03:04:00\",\"1970-01-01 00:00:01\"}"),
    ("TIME[]", "[\"03:04\", 1000000]", "{03:04:00,00:00:01}"),
    ("INTERVAL[]", "[\"1 day 2 hours\"]", "{\"1 day 02:00:00\"}"),
    ("UUID[]", "[\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\"]", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"),
    ("BYTES[]", "[[0, 255], \"\\\\x01\"]", "{\"\\\\x00ff\",\"\\\\x01\"}"),
    ("JSON[]", "[{\"a\": 1}, [2], \"{}\", 3]", "{\"{\\\"a\\\":1}\",[2],\"{}\",3}"),
    ("BYTES", "[0, 255]", "\\x00ff"),
    ("EMBEDDING(2)", "[1, 0.5]", "[1,0.5]"),
    ("EMBEDDING(2)", "\"[1, 0.5]\"", "[1,0.5]"),
    ("JSON", "{\"a\": [1, {\"b\": null}]}", "{\"a\":[1,{\"b\":null}]}"),
    ("JSON", "[1, 2]", "[1,2]"),
    // Refused, each with the element's place.
    ("INT[]", "[1, \"x\"]", "22P02 parameter $1: element 2: invalid input syntax for type INT: \"x\""),
    ("INT[]", "[1, true]", "42804 parameter $1: element 2: a boolean does not fit type INT"),
    ("INT[]", "[[1]]", "0A000 parameter $1: element 1: an array of arrays is not supported"),
    ("INT[]", "[1, 99999999999]", "22003 parameter $1: element 2: value 99999999999 is out of range for INT"),
    ("INT[]", "5", "42804 parameter $1: a number does not fit type INT[]"),
    ("INT[]", "{\"a\": 1}", "42804 parameter $1: a JSON object does not fit type INT[]"),
    ("TEXT[]", "[\"a\\u0000\"]", "22P02 parameter $1: the value is no valid JSON"),
    ("EMBEDDING(2)", "[1, 2, 3]", "22000 parameter $1: expected 2 dimensions, not 3"),
    ("EMBEDDING(2)", "[1, null]", "22023 parameter $1: element 2: an embedding holds finite numbers"),
    ("EMBEDDING(2)", "[]", "22000 parameter $1: an embedding has 1 to 16000 dimensions, not 0"),
    ("BYTES", "[256]", "42804 parameter $1: an array of other than numbers 0 to 255 does not fit type BYTES"),
    ("INT", "[1]", "42804 parameter $1: a JSON array does not fit type INT"),
    ("TEXT", "[1]", "42804 parameter $1: a JSON array does not fit type TEXT"),
];

/// The JSON as the parameter that the HTTP interface makes of it.
fn param(json: &str) -> ParamValue {
    match json.as_bytes()[0] {
        b'n' => ParamValue::Null,
        b't' | b'f' => ParamValue::Boolean(json == "true"),
        b'"' => ParamValue::Text(serde_json::from_str(json).unwrap()),
        b'[' | b'{' => ParamValue::Json(json.to_owned()),
        _ => ParamValue::Number(json.to_owned()),
    }
}

#[test]
fn values_of_json_become_values_of_the_parameters_type() {
    let catalog = catalog();
    for (data_type, json, wanted) in GIVEN {
        let sql = format!("SELECT $1::{data_type}");
        let bound = bound(&sql, &catalog).unwrap();
        let found = match coerce_params(&bound, vec![param(json)], &sql, None) {
            Ok(values) => values[0].to_string(),
            Err(diag) => format!("{} {}", diag.sqlstate, diag.message),
        };
        assert_eq!(found, *wanted, "{json} as {data_type}");
    }
}
