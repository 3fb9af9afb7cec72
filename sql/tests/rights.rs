//! Rights and parameters, through the front's public face.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

mod support;

use highwater_sql::access::authorize;
use highwater_sql::bind::{BindContext, ParamValue, bind, coerce_params};
use highwater_sql::catalog::Role;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::parse::parse;
use highwater_sql::plan::Bound;
use highwater_sql::value::Value;
use support::fixture;

fn bound(sql: &str, user: &str, role: Role) -> Result<Bound, Diag> {
    let catalog = fixture::catalog();
    bind(&parse(sql)?[0], &BindContext { catalog: &catalog, namespace: "app", user, role })
}

/// Whether this user may run the statement.
fn may(user: &str, role: Role, sql: &str) -> bool {
    let outcome = bound(sql, user, role).and_then(|bound| authorize(&bound, role, user, &fixture::catalog()));
    match outcome {
        Ok(()) => true,
        Err(diag) => {
            assert_eq!(diag.sqlstate, SqlState::INSUFFICIENT_PRIVILEGE, "{sql}: {diag}");
            false
        }
    }
}

const CALLERS: [(&str, Role); 4] =
    [("alice", Role::User), ("worker", Role::Service), ("admin", Role::Dba), ("root", Role::System)];

/// Which of user, service, dba and system may.
fn who(sql: &str) -> [bool; 4] {
    CALLERS.map(|(user, role)| may(user, role, sql))
}

#[test]
fn everyone_reads_and_writes_the_own_rows_only() {
    for sql in [
        "SELECT * FROM messages",
        "INSERT INTO messages (room, body) VALUES (1, 'x')",
        "DELETE FROM messages",
        "SELECT 1",
    ] {
        assert_eq!(who(sql), [true; 4], "{sql}");
    }
}

#[test]
fn the_cluster_is_seen_and_moved_by_dba_and_system_only() {
    for sql in [
        "CLUSTER LIST",
        "CLUSTER LIST GROUPS",
        "CLUSTER TRANSFER LEADER 1 TO 2",
        "CLUSTER MOVE SHARD 1 TO 2",
        "CLUSTER JOIN 4",
        "CLUSTER LEAVE 4",
        "CLUSTER REBALANCE",
    ] {
        assert_eq!(who(sql), [false, false, true, true], "{sql}");
    }
}

#[test]
fn shared_tables_open_by_access_level_and_take_writes_from_service_up() {
    assert_eq!(who("SELECT * FROM ids"), [true, true, true, true]);
    assert_eq!(who("SELECT * FROM prices"), [false, true, true, true]);
    assert_eq!(who("SELECT * FROM other.secrets"), [false, false, true, true]);
    assert_eq!(who("INSERT INTO ids (id) VALUES ('a')"), [false, true, true, true]);
    assert_eq!(who("UPDATE prices SET price = 1"), [false, true, true, true]);
    assert_eq!(who("DELETE FROM other.secrets"), [false, false, true, true]);
}

#[test]
fn definitions_and_system_tables_are_for_dba_and_system() {
    for sql in [
        "CREATE NAMESPACE x",
        "DROP NAMESPACE other",
        "CREATE TABLE t (a INT PRIMARY KEY)",
        "DROP TABLE messages",
        "CREATE TOPIC x",
        "ALTER TOPIC changes ADD SOURCE messages ON INSERT",
        "ALTER TOPIC log DROP SOURCE messages",
        "CLEAR TOPIC changes",
        "DROP TOPIC changes",
        "SELECT * FROM system.users",
        "SHOW TABLES",
        "DESCRIBE messages",
    ] {
        assert_eq!(who(sql), [false, false, true, true], "{sql}");
    }
}

#[test]
fn topics_are_consumed_from_service_up() {
    for sql in ["CONSUME FROM changes", "CONSUME FROM changes GROUP 'g'", "ACK changes GROUP 'g' UPTO OFFSET 1"] {
        assert_eq!(who(sql), [false, true, true, true], "{sql}");
    }
}

#[test]
fn nobody_acts_upwards_or_sideways_but_system() {
    assert_eq!(who("EXECUTE AS 'alice' (SELECT 1)"), [true, true, true, true]);
    assert_eq!(who("EXECUTE AS 'bob' (SELECT 1)"), [false, true, true, true]);
    assert_eq!(who("EXECUTE AS 'worker' (SELECT 1)"), [false, true, true, true]);
    assert_eq!(who("EXECUTE AS 'admin' (SELECT 1)"), [false, false, true, true]);
    assert_eq!(who("EXECUTE AS 'root' (SELECT 1)"), [false, false, false, true]);
    assert!(!may("other_worker", Role::Service, "EXECUTE AS 'worker' (SELECT 1)"));
}

#[test]
fn a_user_does_not_learn_who_exists() {
    let diag = bound("EXECUTE AS 'bobb' (SELECT 1)", "alice", Role::User).unwrap_err();
    assert_eq!(diag.sqlstate, SqlState::INSUFFICIENT_PRIVILEGE);
    assert!(diag.suggestions.is_empty());
    let diag = bound("EXECUTE AS 'bobb' (SELECT 1)", "worker", Role::Service).unwrap_err();
    assert_eq!(diag.sqlstate, SqlState::UNDEFINED_OBJECT);
    assert!(diag.suggestions.is_empty());
    assert!(!may("alice", Role::User, "DROP USER nobody"));
    assert!(!may("alice", Role::User, "ALTER USER nobody SET EMAIL 'x'"));
}

#[test]
fn users_are_managed_from_dba_up_and_never_above_the_own_role() {
    assert_eq!(who("CREATE USER x ROLE user"), [false, false, true, true]);
    assert_eq!(who("CREATE USER x ROLE dba"), [false, false, true, true]);
    assert_eq!(who("CREATE USER x ROLE system"), [false, false, false, true]);
    assert_eq!(who("ALTER USER bob SET ROLE system"), [false, false, false, true]);
    assert_eq!(who("ALTER USER root SET PASSWORD 'x'"), [false, false, false, true]);
    assert_eq!(who("ALTER USER alice SET PASSWORD 'x'"), [true, false, true, true]);
    assert_eq!(who("ALTER USER alice SET EMAIL 'x'"), [true, false, true, true]);
    assert_eq!(who("ALTER USER alice SET ROLE dba"), [false, false, true, true]);
    assert_eq!(who("DROP USER bob"), [false, false, true, true]);
    let catalog = fixture::catalog();
    let own = bound("DROP USER root", "root", Role::System).unwrap();
    assert_eq!(authorize(&own, Role::System, "root", &catalog).unwrap_err().sqlstate, SqlState::OBJECT_STATE);
    assert!(!may("admin", Role::Dba, "DROP USER root"));
}

fn coerced(sql: &str, params: Vec<ParamValue>) -> Result<Vec<Value>, Diag> {
    coerce_params(&bound(sql, "root", Role::System)?, params, sql, None)
}

fn number(digits: &str) -> ParamValue {
    ParamValue::Number(digits.to_owned())
}

fn text(text: &str) -> ParamValue {
    ParamValue::Text(text.to_owned())
}

#[test]
fn parameters_become_values_of_the_inferred_types() {
    let insert =
        "INSERT INTO prices (region, sku, day, price, extra, weight, active) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let values = coerced(
        insert,
        vec![
            text("eu"),
            number("5"),
            text("7"),
            number("9.95"),
            text("{\"a\": 1}"),
            number("1e3"),
            ParamValue::Boolean(true),
        ],
    )
    .unwrap();
    assert_eq!(
        values,
        vec![
            Value::Text("eu".to_owned()),
            Value::Int(5),
            Value::SmallInt(7),
            Value::Decimal("9.95".parse().unwrap()),
            Value::Json("{\"a\":1}".to_owned()),
            Value::Double(1000.0),
            Value::Boolean(true)
        ]
    );
    assert_eq!(
        coerced("SELECT $1, $2::TIMESTAMP", vec![ParamValue::Null, number("17")]).unwrap(),
        vec![Value::Null, Value::Timestamp(17)]
    );
    assert_eq!(coerced("SELECT $1", vec![number("1.50")]).unwrap(), vec![Value::Text("1.50".to_owned())]);
}

#[test]
fn a_wrong_parameter_is_named() {
    let one = |param: ParamValue| coerced("SELECT * FROM messages WHERE room = $1", vec![param]).unwrap_err();
    for (param, state) in [
        (text("abc"), SqlState::INVALID_TEXT),
        (number("3000000000"), SqlState::OUT_OF_RANGE),
        (ParamValue::Boolean(true), SqlState::DATATYPE_MISMATCH),
        (text("1\0"), SqlState::INVALID_ENCODING),
    ] {
        let diag = one(param);
        assert_eq!(diag.sqlstate, state, "{diag}");
        assert!(diag.message.starts_with("parameter $1: "), "{diag}");
    }
}

#[test]
fn the_number_of_parameters_must_fit() {
    let sql = "SELECT * FROM messages WHERE room = $1 AND likes > $2";
    let few = coerced(sql, vec![number("1")]).unwrap_err();
    assert_eq!(
        (few.sqlstate, few.message.as_str()),
        (SqlState::UNDEFINED_PARAMETER, "there is no value for parameter $2")
    );
    let many = coerced(sql, vec![number("1"), number("1"), number("1")]).unwrap_err();
    assert_eq!(many.sqlstate, SqlState::TOO_MANY_ARGUMENTS);
    assert_eq!(coerced("SELECT 1", vec![]).unwrap(), Vec::<Value>::new());
}

#[test]
fn a_statement_tells_what_it_is() {
    let statements = parse("select 1; Insert into t values (1) ; SHOW tables; execute as 'a' (delete from t)").unwrap();
    let words: Vec<(&str, bool)> =
        statements.iter().map(|statement| (statement.keyword(), statement.is_query())).collect();
    assert_eq!(words, [("SELECT", true), ("INSERT", false), ("SHOW", true), ("DELETE", false)]);
    let spans: Vec<(u32, u32)> =
        statements.iter().map(|statement| (statement.text_span.start, statement.text_span.end)).collect();
    assert_eq!(spans, [(0, 8), (10, 34), (37, 48), (50, 80)]);
}

#[test]
fn every_table_that_a_query_names_in_any_place_is_asked_for() {
    let places = [
        "SELECT x.a FROM (SELECT 1 AS a FROM {}) x",
        "SELECT 1 FROM ids JOIN {} t ON true",
        "SELECT 1 FROM {} t RIGHT JOIN ids ON true",
        "SELECT 1 FROM ids, {} t",
        "SELECT 1 FROM ids LEFT JOIN (SELECT 1 FROM {}) t ON true",
        "SELECT (SELECT count(*) FROM {})",
        "SELECT (SELECT count(*) FROM {} WHERE ids.id = 'a') FROM ids",
        "SELECT 1 FROM ids WHERE EXISTS (SELECT 1 FROM {})",
        "SELECT 1 FROM ids WHERE 1 IN (SELECT 1 FROM {})",
        "SELECT 1 FROM ids WHERE false AND 1 IN (SELECT 1 FROM {})",
        "SELECT 1 WHERE 1 > ALL (SELECT 1 FROM {})",
        "SELECT count(*) FROM ids GROUP BY id HAVING count(*) > (SELECT count(*) FROM {})",
        "SELECT 1 FROM ids ORDER BY (SELECT count(*) FROM {})",
        "SELECT sum((SELECT count(*) FROM {})) OVER () FROM ids",
        "SELECT 1 FROM ids JOIN ids o ON EXISTS (SELECT 1 FROM {})",
        "WITH w AS (SELECT 1 FROM {}) SELECT 1",
        "WITH w AS (SELECT 1 FROM {}), v AS (SELECT * FROM w) SELECT * FROM v",
        "SELECT 1 UNION SELECT 1 FROM {}",
        "(SELECT 1 FROM {} LIMIT 0) EXCEPT SELECT 1",
        "SELECT 1 FROM (VALUES ((SELECT count(*) FROM {}))) v",
        "SELECT 1 FROM ids WHERE EXISTS (SELECT 1 FROM ids o WHERE o.id = ids.id AND o.id IN (SELECT 'a' FROM {}))",
        "SELECT 1 FROM {} LIMIT 0",
        "EXPLAIN SELECT 1 FROM {}",
        "EXPLAIN ANALYZE SELECT (SELECT count(*) FROM {})",
    ];
    for place in places {
        for (table, allowed) in [
            ("ids", [true; 4]),
            ("messages", [true; 4]),
            ("prices", [false, true, true, true]),
            ("other.secrets", [false, false, true, true]),
            ("system.users", [false, false, true, true]),
        ] {
            let sql = place.replace("{}", table);
            assert_eq!(who(&sql), allowed, "{sql}");
        }
    }
    assert_eq!(who("EXPLAIN DELETE FROM prices"), [false, true, true, true]);
    // A name that stands for a query hides the table of that name, and its right.
    assert_eq!(who("WITH prices AS (SELECT 1) SELECT * FROM prices"), [true; 4]);
    // Each of these names the one before twice: the walk sees each once.
    let chain: Vec<String> =
        (1..40).map(|n| format!("w{n} AS (SELECT a.x FROM w{} a JOIN w{} b ON true)", n - 1, n - 1)).collect();
    assert_eq!(
        who(&format!("WITH w0 AS (SELECT 1 AS x FROM prices), {} SELECT 1", chain.join(", "))),
        [false, true, true, true]
    );
}
