#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use quickcheck::{Arbitrary, Gen, quickcheck};

use super::*;
use crate::catalog::Role;
use crate::decimal;
use crate::expr::{BinaryOp, Function};
use crate::interval::Interval;
use crate::testing::arbitrary_value;

const NOW: i64 = 1_767_323_045_123_456;

fn context(params: &[Value]) -> EvalContext<'_> {
    EvalContext::new(NOW, "alice", Role::Dba, params, 7)
}

fn literal(value: Value, data_type: DataType) -> Expr {
    Expr::Literal(value, data_type)
}

fn null() -> Expr {
    literal(Value::Null, DataType::Boolean)
}

fn boolean(value: bool) -> Expr {
    literal(Value::Boolean(value), DataType::Boolean)
}

fn int(value: i32) -> Expr {
    literal(Value::Int(value), DataType::Int)
}

fn text(value: &str) -> Expr {
    literal(Value::Text(value.into()), DataType::Text)
}

fn binary(op: BinaryOp, left: Expr, right: Expr) -> Expr {
    let (_, _, data_type) = resolve_operator(op, Some(data_type(&left)), Some(data_type(&right))).unwrap();
    Expr::Binary { op, left: Box::new(left), right: Box::new(right), data_type }
}

fn call(name: &str, args: Vec<Expr>) -> Result<Expr, FunctionError> {
    let types: Vec<_> =
        args.iter().map(|arg| Some(data_type(arg)).filter(|_| !matches!(arg, Expr::Literal(Value::Null, _)))).collect();
    let (function, casts, data_type) = resolve_function(name, &types)?;
    let args = args
        .into_iter()
        .zip(casts)
        .map(|(arg, to)| Expr::Cast { expr: Box::new(arg), to, assignment: false })
        .collect();
    Ok(Expr::Function { function, args, data_type })
}

fn eval(expr: &Expr) -> Result<Value, Diag> {
    evaluate(expr, &[], &context(&[]))
}

fn parse_type(name: &str) -> DataType {
    match name {
        "BOOLEAN" => DataType::Boolean,
        "SMALLINT" => DataType::SmallInt,
        "INT" => DataType::Int,
        "BIGINT" => DataType::BigInt,
        "DOUBLE" => DataType::Double,
        "TEXT" => DataType::Text,
        "BYTES" => DataType::Bytes,
        "JSON" => DataType::Json,
        "TIMESTAMP" => DataType::Timestamp,
        "REAL" => DataType::Float,
        "DATE" => DataType::Date,
        "TIME" => DataType::Time,
        "TIMESTAMPTZ" => DataType::DateTime,
        "INTERVAL" => DataType::Interval,
        "UUID" => DataType::Uuid,
        "NUMERIC" => DataType::DECIMAL,
        array if array.ends_with("[]") => parse_type(array.trim_end_matches("[]")).array().unwrap(),
        vector if vector.starts_with("EMBEDDING(") => {
            DataType::Embedding(vector.trim_start_matches("EMBEDDING(").trim_end_matches(')').parse().unwrap())
        }
        other => {
            let (precision, scale) =
                other.strip_prefix("DECIMAL(").unwrap().strip_suffix(')').unwrap().split_once(',').unwrap();
            DataType::Decimal { precision: precision.parse().unwrap(), scale: scale.parse().unwrap() }
        }
    }
}

/// `TYPE text`, or `NULL`.
fn operand(written: &str) -> Expr {
    if written == "NULL" {
        return null();
    }
    let (name, content) = written.split_once(' ').unwrap_or((written, ""));
    if name == "DECIMAL" {
        let value = Value::Decimal(decimal::parse(content).unwrap());
        let data_type = value.data_type().unwrap();
        return literal(value, data_type);
    }
    let data_type = parse_type(name);
    literal(cast::cast(Value::Text(content.into()), data_type, false).unwrap(), data_type)
}

/// Runs `left => right` lines: what a line's parts give, as text, must be its right side.
fn run_cases(file: &str, name: &str, run: impl Fn(&[&str]) -> Result<Value, Diag>) {
    let mut failures = Vec::new();
    for (number, line) in file.lines().enumerate().filter(|(_, line)| !line.starts_with('#') && !line.is_empty()) {
        let (left, wanted) = line.rsplit_once(" => ").or_else(|| Some((line.strip_suffix(" =>")?, ""))).unwrap();
        let parts: Vec<&str> = left.split(" | ").collect();
        let found = match run(&parts) {
            Ok(value) => value.to_string(),
            Err(diag) => format!("!{}", diag.sqlstate),
        };
        if found.trim_end() != wanted {
            failures.push(format!("{name}:{}: {line}\n    found {found}", number + 1));
        }
    }
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
}

#[test]
fn functions_give_what_the_case_file_says() {
    run_cases(include_str!("cases/functions.txt"), "functions.txt", |parts| {
        eval(&call(parts[0], parts[1..].iter().map(|part| operand(part)).collect())?)
    });
}

const EVERY_OPERATOR: [BinaryOp; 35] = [
    BinaryOp::Add,
    BinaryOp::Subtract,
    BinaryOp::Multiply,
    BinaryOp::Divide,
    BinaryOp::Modulo,
    BinaryOp::Equal,
    BinaryOp::NotEqual,
    BinaryOp::Less,
    BinaryOp::LessOrEqual,
    BinaryOp::Greater,
    BinaryOp::GreaterOrEqual,
    BinaryOp::And,
    BinaryOp::Or,
    BinaryOp::Concat,
    BinaryOp::JsonGet,
    BinaryOp::JsonGetText,
    BinaryOp::JsonGetPath,
    BinaryOp::JsonGetPathText,
    BinaryOp::Contains,
    BinaryOp::ContainedBy,
    BinaryOp::JsonHasKey,
    BinaryOp::JsonHasAnyKey,
    BinaryOp::JsonHasAllKeys,
    BinaryOp::JsonDeletePath,
    BinaryOp::Overlaps,
    BinaryOp::Matches,
    BinaryOp::MatchesInsensitive,
    BinaryOp::MatchesNot,
    BinaryOp::MatchesNotInsensitive,
    BinaryOp::Power,
    BinaryOp::BitAnd,
    BinaryOp::BitOr,
    BinaryOp::BitXor,
    BinaryOp::ShiftLeft,
    BinaryOp::ShiftRight,
];

#[test]
fn operators_give_what_the_case_file_says() {
    run_cases(include_str!("cases/operators.txt"), "operators.txt", |parts| {
        let op = *EVERY_OPERATOR.iter().find(|op| symbol(**op) == parts[1]).unwrap();
        let (left, right) = (operand(parts[0]), operand(parts[2]));
        let known = |expr: &Expr| Some(data_type(expr)).filter(|_| !matches!(expr, Expr::Literal(Value::Null, _)));
        let (to_left, to_right, data_type) = resolve_operator(op, known(&left), known(&right))?;
        let side = |expr: Expr, to: DataType| Box::new(Expr::Cast { expr: Box::new(expr), to, assignment: false });
        eval(&Expr::Binary { op, left: side(left, to_left), right: side(right, to_right), data_type })
    });
}

#[test]
fn casts_give_what_the_case_file_says() {
    run_cases(include_str!("cases/casts.txt"), "casts.txt", |parts| {
        eval(&Expr::Cast { expr: Box::new(operand(parts[0])), to: parse_type(parts[1]), assignment: false })
    });
}

#[test]
fn like_follows_its_pattern() {
    let cases = [
        ("abc", "abc", true),
        ("abc", "a%", true),
        ("abc", "_b_", true),
        ("abc", "c", false),
        ("", "%", true),
        ("", "_", false),
        ("abc", "%%c", true),
        ("aXbXc", "a%X_", true),
        ("a%c", "a\\%c", true),
        ("abc", "a\\%c", false),
        ("a\\c", "a\\\\c", true),
        ("žluť", "_lu_", true),
        ("mississippi", "%iss%ip%i", true),
        ("mississippi", "%iss%iss%iss%", false),
        ("ab", "a", false),
    ];
    for (given, pattern, wanted) in cases {
        let like = |negated| Expr::Like {
            expr: Box::new(text(given)),
            pattern: Box::new(text(pattern)),
            escape: None,
            case_insensitive: false,
            negated,
        };
        assert_eq!(eval(&like(false)).unwrap(), Value::Boolean(wanted), "{given} LIKE {pattern}");
        assert_eq!(eval(&like(true)).unwrap(), Value::Boolean(!wanted), "{given} NOT LIKE {pattern}");
    }
}

#[test]
fn like_takes_another_escape_and_folds_case_when_asked() {
    let like = |given: &str, pattern: &str, escape, case_insensitive| {
        eval(&Expr::Like {
            expr: Box::new(text(given)),
            pattern: Box::new(text(pattern)),
            escape,
            case_insensitive,
            negated: false,
        })
    };
    assert_eq!(like("50%", "50!%", Some('!'), false).unwrap(), Value::Boolean(true));
    assert_eq!(like("Straße", "STRASSE", None, true).unwrap(), Value::Boolean(false));
    assert_eq!(like("ÄPFEL", "ä%", None, true).unwrap(), Value::Boolean(true));
    assert_eq!(like("50%", "50X%", Some('X'), true).unwrap(), Value::Boolean(true));
    assert_eq!(like("ΟΔΟΣ", "οδος", None, true).unwrap(), Value::Boolean(false));
    assert_eq!(like("ΟΔΟΣ", "οδοσ", None, true).unwrap(), Value::Boolean(true));
    assert_eq!(like("a", "a\\", None, false).unwrap_err().sqlstate, SqlState::INVALID_PARAMETER);
    let unknown = Expr::Like {
        expr: Box::new(null()),
        pattern: Box::new(text("a")),
        escape: None,
        case_insensitive: false,
        negated: true,
    };
    assert_eq!(eval(&unknown).unwrap(), Value::Null);
}

#[test]
fn in_lists_know_null() {
    let in_list = |expr, list, negated| eval(&Expr::InList { expr: Box::new(expr), list, negated }).unwrap();
    assert_eq!(in_list(int(1), vec![int(2), int(1)], false), Value::Boolean(true));
    assert_eq!(in_list(int(1), vec![null(), int(1)], false), Value::Boolean(true));
    assert_eq!(in_list(int(1), vec![null(), int(2)], false), Value::Null);
    assert_eq!(in_list(int(1), vec![null(), int(2)], true), Value::Null);
    assert_eq!(in_list(int(1), vec![int(2)], true), Value::Boolean(true));
    assert_eq!(in_list(null(), vec![int(2)], false), Value::Null);
    assert_eq!(in_list(null(), vec![], false), Value::Boolean(false));
}

#[test]
fn logic_does_not_look_at_what_cannot_matter() {
    let fails = || binary(BinaryOp::Equal, binary(BinaryOp::Divide, int(1), int(0)), int(1));
    assert_eq!(eval(&binary(BinaryOp::And, boolean(false), fails())).unwrap(), Value::Boolean(false));
    assert_eq!(eval(&binary(BinaryOp::Or, boolean(true), fails())).unwrap(), Value::Boolean(true));
    assert_eq!(eval(&binary(BinaryOp::And, null(), fails())).unwrap_err().sqlstate, SqlState::DIVISION_BY_ZERO);
    let case = Expr::Case {
        branches: vec![(boolean(true), int(1)), (fails(), int(2))],
        otherwise: None,
        data_type: DataType::Int,
    };
    assert_eq!(eval(&case).unwrap(), Value::Int(1));
    let coalesce = call("coalesce", vec![boolean(true), fails()]).unwrap();
    assert_eq!(eval(&coalesce).unwrap(), Value::Boolean(true));
}

#[test]
fn case_without_a_match_is_its_else_or_null() {
    let case = |otherwise: Option<Expr>| Expr::Case {
        branches: vec![(null(), int(1)), (boolean(false), int(2))],
        otherwise: otherwise.map(Box::new),
        data_type: DataType::Int,
    };
    assert_eq!(eval(&case(Some(int(3)))).unwrap(), Value::Int(3));
    assert_eq!(eval(&case(None)).unwrap(), Value::Null);
}

#[test]
fn tests_for_null_and_truth_are_never_null() {
    let is_null = |expr, negated| eval(&Expr::IsNull { expr: Box::new(expr), negated }).unwrap();
    assert_eq!((is_null(null(), false), is_null(int(1), true)), (Value::Boolean(true), Value::Boolean(true)));
    let distinct = |left, right, negated| {
        eval(&Expr::IsDistinct { left: Box::new(left), right: Box::new(right), negated }).unwrap()
    };
    assert_eq!(distinct(null(), null(), false), Value::Boolean(false));
    assert_eq!(distinct(null(), int(1), false), Value::Boolean(true));
    assert_eq!(distinct(int(1), int(1), true), Value::Boolean(true));
    let is_bool = |expr, value, negated| eval(&Expr::IsBool { expr: Box::new(expr), value, negated }).unwrap();
    assert_eq!(is_bool(null(), None, false), Value::Boolean(true));
    assert_eq!(is_bool(null(), Some(true), false), Value::Boolean(false));
    assert_eq!(is_bool(null(), Some(true), true), Value::Boolean(true));
    assert_eq!(is_bool(boolean(false), Some(false), false), Value::Boolean(true));
}

#[test]
fn parameters_take_the_type_that_was_inferred() {
    let params = [Value::Text("17".into()), Value::BigInt(1_000_000)];
    let fraction = [Value::Double(1.5)];
    let rounded = evaluate(&Expr::Param(0, DataType::Int), &[], &context(&fraction));
    assert_eq!(rounded.unwrap_err().sqlstate, SqlState::INVALID_TEXT);
    let get = |at, data_type| evaluate(&Expr::Param(at, data_type), &[], &context(&params));
    assert_eq!(get(0, DataType::Int).unwrap(), Value::Int(17));
    assert_eq!(get(1, DataType::Timestamp).unwrap(), Value::Timestamp(1_000_000));
    assert_eq!(get(2, DataType::Int).unwrap_err().sqlstate, SqlState::UNDEFINED_PARAMETER);
    assert_eq!(get(0, DataType::Boolean).unwrap_err().detail.as_deref(), Some("in the value of parameter $1"));
}

#[test]
fn the_context_answers_for_time_and_user() {
    let value = |name| eval(&call(name, Vec::new()).unwrap()).unwrap();
    assert_eq!(value("now"), Value::DateTime(NOW));
    assert_eq!(value("localtimestamp"), Value::Timestamp(NOW));
    assert_eq!(value("current_date").to_string(), "2026-01-02");
    assert_eq!(value("localtime").to_string(), "03:04:05.123456");
    assert_eq!(value("current_user"), Value::Text("alice".into()));
    assert_eq!(value("current_role"), Value::Text("dba".into()));
}

/// These bytes are stored in rows and logs of every replica; a change of them is a change of format.
#[test]
fn volatile_values_are_fixed_by_time_seed_and_ordinal() {
    let context = context(&[]);
    let next = |name| evaluate(&call(name, Vec::new()).unwrap(), &[], &context).unwrap().to_string();
    let found: Vec<String> =
        ["snowflake_id", "snowflake_id", "uuid_v7", "uuid_v7", "ulid", "ulid"].into_iter().map(next).collect();
    assert_eq!(context.ordinal(), 6);
    assert_eq!(found, VOLATILE_GOLDEN);
}

const VOLATILE_GOLDEN: [&str; 6] = [
    "265314244226674403",
    "265314244226674404",
    "019b7ca9-8d03-7b48-81bb-8679a0b7b74c",
    "019b7ca9-8d03-7dea-95c3-09b5486dfb50",
    "01KDYAK38312K0VXYPNVNKS387",
    "01KDYAK383ES39JC361YT8871C",
];

#[test]
fn snowflake_ids_stay_positive_at_the_ends_of_time() {
    for now in [i64::MIN, -1, 0, 1_704_067_200_000_000, i64::MAX] {
        let context = EvalContext::new(now, "", Role::User, &[], 1);
        assert!(context.snowflake_id() >= 0, "{now}");
    }
}

#[test]
fn one_statement_never_gives_a_snowflake_id_twice() {
    let context = EvalContext::new(NOW, "", Role::User, &[], 99);
    let mut ids: Vec<i64> = (0..100_000).map(|_| context.snowflake_id()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 100_000);
}

#[test]
fn ids_carry_their_version_and_time() {
    let context = context(&[]);
    let uuid = Value::Uuid(context.uuid_v7()).to_string();
    let random = Value::Uuid(context.uuid_v4()).to_string();
    assert_eq!(&random[14..15], "4");
    assert!(matches!(&random[19..20], "8" | "9" | "a" | "b"));
    assert!((0..1_000).all(|_| (0.0..1.0).contains(&context.random())));
    assert_eq!((uuid.len(), &uuid[14..15]), (36, "7"));
    assert!(matches!(&uuid[19..20], "8" | "9" | "a" | "b"));
    assert_eq!(i64::from_str_radix(&uuid.replace('-', "")[..12], 16).unwrap(), NOW / 1_000);
    let ulid = context.ulid();
    assert_eq!(ulid.len(), 26);
    assert!(ulid.starts_with("01KDY"), "{ulid}");
}

#[test]
fn functions_are_found_by_name_and_types() {
    let resolve = |name, args: &[Option<DataType>]| resolve_function(name, args);
    use DataType::{BigInt, Bytes, Double, Int, Json, SmallInt, Text, Timestamp};
    assert_eq!(resolve("abs", &[Some(Int)]).unwrap(), (Function::Abs, vec![Int], Int));
    assert_eq!(resolve("abs", &[None]).unwrap(), (Function::Abs, vec![Double], Double));
    assert_eq!(resolve("mod", &[Some(SmallInt), Some(BigInt)]).unwrap(), (Function::Mod, vec![BigInt, BigInt], BigInt));
    assert_eq!(resolve("mod", &[Some(Int), None]).unwrap(), (Function::Mod, vec![Int, Int], Int));
    assert_eq!(resolve("length", &[None]).unwrap(), (Function::Length, vec![Text], Int));
    assert_eq!(resolve("substring", &[None, Some(Int)]).unwrap().1, vec![Text, BigInt]);
    assert_eq!(resolve("sha256", &[Some(Bytes)]).unwrap().1, vec![Bytes]);
    assert_eq!(resolve("coalesce", &[None, Some(Int), Some(BigInt)]).unwrap().2, BigInt);
    assert_eq!(resolve("coalesce", &[None]).unwrap().2, Text);
    assert_eq!(resolve("year", &[Some(Timestamp)]).unwrap(), (Function::DatePart, vec![Timestamp], Int));
    assert_eq!(implied_argument("year"), Some("year"));
    assert!(matches!(resolve("round", &[Some(Double), Some(Int)]), Err(FunctionError::NoMatch { .. })));
    assert!(matches!(resolve("greatest", &[Some(Json), Some(Json)]), Err(FunctionError::NoMatch { .. })));
    assert!(matches!(resolve("greatest", &[Some(Int), Some(Text)]), Err(FunctionError::NoMatch { .. })));
    assert!(matches!(resolve("lower", &[]), Err(FunctionError::NoMatch { .. })));
    assert!(matches!(resolve("unnest", &[None]), Err(FunctionError::NotSupported { .. })));
    let diag = Diag::from(resolve("lenght", &[None]).unwrap_err());
    assert_eq!((diag.sqlstate, diag.suggestions), (SqlState::UNDEFINED_FUNCTION, vec!["length".to_owned()]));
}

#[test]
fn names_are_sorted_and_every_function_has_one() {
    let names: Vec<_> = function_names().collect();
    assert!(names.is_sorted(), "{names:?}");
    assert!(aggregate_names().is_sorted());
}

#[test]
fn an_untyped_number_beside_a_decimal_keeps_its_digits() {
    let price = DataType::Decimal { precision: 10, scale: 2 };
    let (_, other, _) = resolve_operator(BinaryOp::Equal, Some(price), None).unwrap();
    let compared = cast::cast(Value::Text("1.005".into()), other, false).unwrap();
    assert_eq!(
        crate::value::compare(&Value::Decimal(decimal::parse("1.01").unwrap()), &compared),
        Some(std::cmp::Ordering::Greater)
    );
}

#[test]
fn operators_refuse_types_that_do_not_meet() {
    let refused = |op, left, right| Diag::from(resolve_operator(op, Some(left), Some(right)).unwrap_err());
    let diag = refused(BinaryOp::Equal, DataType::Text, DataType::Int);
    assert_eq!(
        (diag.sqlstate, diag.message.as_str()),
        (SqlState::UNDEFINED_FUNCTION, "operator does not exist: TEXT = INT")
    );
    refused(BinaryOp::Less, DataType::Json, DataType::Json);
    refused(BinaryOp::Add, DataType::Timestamp, DataType::Timestamp);
    refused(BinaryOp::And, DataType::Int, DataType::Boolean);
    refused(BinaryOp::JsonGet, DataType::Text, DataType::Text);
}

#[test]
fn constants_fold_and_what_changes_stays() {
    assert_eq!(fold(binary(BinaryOp::Add, int(1), int(2))), int(3));
    let overflow = binary(BinaryOp::Add, int(i32::MAX), int(1));
    assert_eq!(fold(overflow.clone()), overflow);
    for name in ["now", "current_date", "current_user", "random", "gen_random_uuid", "snowflake_id", "ulid", "uuid_v7"]
    {
        let expr = call(name, Vec::new()).unwrap();
        assert_eq!(fold(expr.clone()), expr);
        assert!(is_constant(&expr) && !is_immutable(&expr));
    }
    assert!(is_volatile(&call("concat", vec![call("ulid", Vec::new()).unwrap()]).unwrap()));
    let column = Expr::Column(0, DataType::Boolean);
    assert!(!is_constant(&column) && is_immutable(&column));
    assert_eq!(fold(binary(BinaryOp::And, boolean(true), column.clone())), column);
    assert_eq!(fold(binary(BinaryOp::And, column.clone(), boolean(false))), boolean(false));
    assert_eq!(fold(binary(BinaryOp::Or, column.clone(), boolean(true))), boolean(true));
    let half = binary(BinaryOp::Equal, Expr::Column(0, DataType::Int), binary(BinaryOp::Add, int(1), int(2)));
    assert_eq!(fold(half), binary(BinaryOp::Equal, Expr::Column(0, DataType::Int), int(3)));
}

/// Texts that functions take apart, and some that are nothing.
const TEXTS: &[&str] = &[
    "",
    "a",
    "aB c",
    "žluť",
    "month",
    "epoch",
    "week",
    "hex",
    "base64",
    "UTC",
    "Europe/Berlin",
    "+02:00",
    "YYYY-MM-DD HH24:MI:SS.US",
    "FMDay Month DDth Q IYYY IW J RM TZH",
    "S9G999D99",
    "FM0.999PR",
    "9.99EEEE",
    "RN",
    "2024-02-29 12:34:56",
    "-12,345.67",
    "(a)(b)?",
    "[[:alpha:]]+\\d{2,3}",
    "\\1\\&",
    "g",
    "i",
    "%s %I %L %2$-10s",
    "{",
    "a,b,,c",
    ",",
    "\u{10ffff}\u{301}",
];

fn any_value(data_type: DataType, g: &mut Gen) -> Value {
    let extremes = u8::arbitrary(g) % 3 == 0;
    match data_type {
        DataType::Text if u8::arbitrary(g) % 4 > 0 => Value::Text((*g.choose(TEXTS).unwrap()).to_owned()),
        DataType::Json => {
            let texts =
                ["null", "1.50", "\"a\"", "[1,[2],{\"a\":null}]", "{\"a\":{\"b\":[1,2]},\"a\":1}", "[]", "{}", "1e400"];
            Value::Json((*g.choose(&texts).unwrap()).to_owned())
        }
        DataType::SmallInt if extremes => Value::SmallInt(*g.choose(&[i16::MIN, -1, 0, 1, i16::MAX]).unwrap()),
        DataType::Int if extremes => Value::Int(*g.choose(&[i32::MIN, -1, 0, 1, 12, i32::MAX]).unwrap()),
        DataType::BigInt if extremes => Value::BigInt(*g.choose(&[i64::MIN, -1, 0, 1, 12, 2024, i64::MAX]).unwrap()),
        DataType::Double if extremes => Value::Double(
            *g.choose(&[f64::NAN, f64::INFINITY, f64::MIN, f64::MIN_POSITIVE, -0.0, 1e18, f64::MAX]).unwrap(),
        ),
        DataType::Timestamp if extremes => Value::Timestamp(*g.choose(&[i64::MIN, 0, NOW, i64::MAX]).unwrap()),
        DataType::DateTime if extremes => Value::DateTime(*g.choose(&[i64::MIN, 0, NOW, i64::MAX]).unwrap()),
        DataType::Date if extremes => Value::Date(*g.choose(&[i32::MIN, 0, 20_000, i32::MAX]).unwrap()),
        DataType::Interval if extremes => Value::Interval(Interval {
            months: *g.choose(&[i32::MIN, 0, i32::MAX]).unwrap(),
            days: *g.choose(&[i32::MIN, 0, i32::MAX]).unwrap(),
            micros: *g.choose(&[i64::MIN, 0, i64::MAX]).unwrap(),
        }),
        DataType::Decimal { .. } if extremes => {
            let numbers = [
                "-79228162514264337593543950335",
                "79228162514264337593543950335",
                "0",
                "0.0000000000000000000000000001",
            ];
            Value::Decimal(g.choose(&numbers).unwrap().parse().unwrap())
        }
        DataType::Embedding(_) => arbitrary_value(DataType::Embedding(2 + u32::from(bool::arbitrary(g))), g),
        other => arbitrary_value(other, g),
    }
}

fn any_operand(data_type: DataType, g: &mut Gen) -> Expr {
    literal(if u8::arbitrary(g) % 8 == 0 { Value::Null } else { any_value(data_type, g) }, data_type)
}

/// Evaluates twice: without a panic, with equal results, of the type that was promised.
fn keeps_its_promise(expr: &Expr) {
    let found = eval(expr);
    if let Ok(value) = &found
        && let Some(given) = value.data_type()
    {
        let promised = data_type(expr);
        assert!(given.same_kind(&promised), "{expr:?} gives {given}, not {promised}");
        assert!(value.size() <= 17 << 20, "{expr:?} gives {} bytes", value.size());
        let row = vec![value.clone()];
        let table = crate::testing::table(&[promised], &[]);
        let stored = crate::row::decode_row(&table, &crate::row::encode_row(&table, &row, 1)).unwrap().0;
        assert!(sort_compare(&stored[0], value).is_eq(), "{expr:?}");
    }
    assert_eq!(format!("{found:?}"), format!("{:?}", eval(expr)), "{expr:?}");
}

/// Whatever the values are, every function answers or refuses.
#[test]
fn no_value_makes_a_function_panic_or_break_its_promise() {
    let g = &mut Gen::new(20);
    for name in function_names() {
        for _ in 0..25 {
            let common = *g.choose(&crate::testing::TYPES).unwrap();
            for types in sample_arguments(name, common) {
                let args: Vec<Expr> = types.iter().map(|wanted| any_operand(*wanted, g)).collect();
                let known: Vec<_> = types.iter().copied().map(Some).collect();
                let Ok((function, casts, data_type)) = resolve_function(name, &known) else { continue };
                let mut given: Vec<Expr> = implied_argument(name).map(text).into_iter().collect();
                given.extend(args.into_iter().zip(casts).map(|(arg, to)| Expr::Cast {
                    expr: Box::new(arg),
                    to,
                    assignment: false,
                }));
                keeps_its_promise(&Expr::Function { function, args: given, data_type });
            }
        }
    }
}

#[test]
fn no_value_makes_an_operator_panic_or_break_its_promise() {
    let g = &mut Gen::new(20);
    for op in EVERY_OPERATOR {
        for left in crate::testing::TYPES {
            for right in crate::testing::TYPES {
                let Ok((to_left, to_right, data_type)) = resolve_operator(op, Some(left), Some(right)) else {
                    continue;
                };
                for _ in 0..6 {
                    let side = |from: DataType, to: DataType, g: &mut Gen| {
                        Box::new(Expr::Cast { expr: Box::new(any_operand(from, g)), to, assignment: false })
                    };
                    let (left, right) = (side(left, to_left, g), side(right, to_right, g));
                    keeps_its_promise(&Expr::Binary { op, left, right, data_type });
                }
            }
        }
    }
}

#[test]
fn no_value_makes_a_cast_panic_or_break_its_promise() {
    let g = &mut Gen::new(20);
    for from in crate::testing::TYPES {
        for to in crate::testing::TYPES {
            for _ in 0..8 {
                keeps_its_promise(&Expr::Cast { expr: Box::new(any_operand(from, g)), to, assignment: false });
                keeps_its_promise(&Expr::Cast { expr: Box::new(any_operand(from, g)), to, assignment: true });
            }
        }
    }
}

quickcheck! {
    /// What is written reads back as the same value, whatever its type.
    fn every_value_reads_back_from_its_text(pick: usize, row: crate::testing::AnyRow) -> bool {
        let at = pick % row.0.len();
        let (value, data_type) = (&row.0[at], crate::testing::TYPES[at]);
        let data_type = if matches!(data_type, DataType::Decimal { .. }) { DataType::DECIMAL } else { data_type };
        // Years of more than seven digits are written but not read, as are texts of bytes that are no UTF-8.
        let unread = |value: &Value| match value {
            Value::Timestamp(at) | Value::DateTime(at) => {
                value.to_string().len() > 36 || *at < i64::MIN + crate::datetime::DAY
            }
            Value::Date(days) => !(-2_000_000..=3_000_000).contains(days),
            _ => false,
        };
        let skipped = match value {
            Value::Array(array) => array.items().iter().any(unread),
            value => value.is_null() || unread(value),
        };
        skipped || cast::cast(Value::Text(cast::to_text(value)), data_type, false)
            .is_ok_and(|back| sort_compare(&back, value).is_eq())
    }

    fn no_pattern_makes_matching_panic(picks: Vec<u8>, text: String) -> bool {
        let alphabet = ["a", "b", "(", ")", "[", "]", "^", "-", "\\", "{", "1", ",", "}", "*", "?", "+", "|", ".", "$", "d", "[:alpha:]", "(?:", "&&", " ", "#"];
        let pattern: String = picks.iter().take(16).map(|pick| alphabet[usize::from(*pick) % alphabet.len()]).collect();
        let matched = |pattern: &str| eval(&call("regexp_match", vec![self::text(&text.replace('\0', "")), self::text(pattern)]).unwrap());
        let _ = (matched(&pattern), matched(&format!("(?x){pattern}")));
        true
    }

    fn folding_changes_no_value(left: Option<bool>, right: Option<bool>, row: Option<bool>) -> bool {
        let side = |value: Option<bool>| value.map_or_else(null, boolean);
        let column = || Expr::Column(0, DataType::Boolean);
        let expr = binary(BinaryOp::Or, binary(BinaryOp::And, side(left), column()), binary(BinaryOp::And, column(), side(right)));
        let row = [row.map_or(Value::Null, Value::Boolean)];
        evaluate(&expr, &row, &context(&[])) == evaluate(&fold(expr.clone()), &row, &context(&[]))
    }

    fn integer_arithmetic_is_exact_or_refused(left: i64, right: i64, small: (i16, i16)) -> bool {
        let eval = |op, left: Value, right: Value| {
            let types = (left.data_type().unwrap(), right.data_type().unwrap());
            eval(&binary(op, literal(left, types.0), literal(right, types.1))).ok()
        };
        eval(BinaryOp::Multiply, Value::BigInt(left), Value::BigInt(right)) == left.checked_mul(right).map(Value::BigInt)
            && eval(BinaryOp::Add, Value::SmallInt(small.0), Value::SmallInt(small.1)) == small.0.checked_add(small.1).map(Value::SmallInt)
            && eval(BinaryOp::Subtract, Value::SmallInt(small.0), Value::BigInt(right)) == i64::from(small.0).checked_sub(right).map(Value::BigInt)
    }

    fn a_quotient_times_its_divisor_is_near_the_dividend(left: i64, right: i64, scales: (u8, u8)) -> bool {
        let scaled = |number: i64, scale: u8| rust_decimal::Decimal::new(number, u32::from(scale % 10));
        let (dividend, divisor) = (scaled(left, scales.0), scaled(right, scales.1));
        if divisor.is_zero() {
            return decimal::divide(dividend, divisor).is_err();
        }
        let quotient = decimal::divide(dividend, divisor).unwrap();
        let (back, wanted) = (decimal::to_double(quotient) * decimal::to_double(divisor), decimal::to_double(dividend));
        (back - wanted).abs() <= wanted.abs() * 1e-14
    }

    fn every_timestamp_reads_back(at: i64) -> bool {
        let text = Value::Timestamp(at).to_string();
        // Years beyond six digits are written but not read.
        text.len() > 40 || crate::datetime::parse(&text) == Ok(at) || at < -210_000_000_000_000_000
    }

    fn every_double_reads_back(bits: u64) -> bool {
        let value = f64::from_bits(bits);
        let text = Value::Double(value).to_string();
        let back = cast::cast(Value::Text(text), DataType::Double, false).unwrap();
        crate::value::compare(&back, &Value::Double(value)) == Some(std::cmp::Ordering::Equal)
    }

    fn every_text_survives_json(text: String) -> bool {
        let text = text.replace('\0', "");
        let mut json = String::from("[");
        crate::json::push_string(&text, &mut json);
        json.push_str(", 1]");
        let compact = crate::json::compact(&json).unwrap();
        crate::json::element(&compact, 0).and_then(crate::json::text) == Some(text)
    }

    fn any_text_is_json_for_us_exactly_when_serde_says_so(picks: Vec<u8>) -> bool {
        let alphabet = ["{", "}", "[", "]", ",", ":", "\"a\"", "\"", "1", "-", "0", ".", "5e3", "true", "null", " ", "\\n", "\u{1}"];
        let text: String = picks.iter().take(12).map(|pick| alphabet[usize::from(*pick) % alphabet.len()]).collect();
        let theirs = serde_json::from_str::<serde_json::Value>(&text).is_ok();
        crate::json::compact(&text).is_ok() == theirs
    }

    fn calendar_days_count_on(days: i32) -> bool {
        let days = i64::from(days);
        let (year, month, day) = crate::datetime::date_from_days(days);
        crate::datetime::days_from_date(year, month, day) == days
            && (1..=12).contains(&month)
            && (1..=crate::datetime::days_of_month(year, month)).contains(&day)
    }
}
