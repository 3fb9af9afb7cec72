//! The JSON of the interface: golden texts, round trips, and hostile bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::str::FromStr as _;

use highwater_net::api::*;
use highwater_sql::diag::{Diag, Span, SqlState};
use highwater_sql::interval::Interval;
use highwater_sql::value::{Array, DataType, Element, Value};
use quickcheck::{Arbitrary, Gen};
use rust_decimal::Decimal;

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

#[derive(Clone, Debug)]
struct Typed(DataType, Value);

impl Arbitrary for Typed {
    fn arbitrary(g: &mut Gen) -> Self {
        let typed = |data_type, value| Self(data_type, value);
        match u8::arbitrary(g) % 20 {
            0 => typed(DataType::Int, Value::Null),
            1 => typed(DataType::Boolean, Value::Boolean(bool::arbitrary(g))),
            2 => typed(DataType::SmallInt, Value::SmallInt(i16::arbitrary(g))),
            3 => typed(DataType::Int, Value::Int(i32::arbitrary(g))),
            4 => typed(DataType::BigInt, Value::BigInt(i64::arbitrary(g))),
            5 => typed(DataType::Double, Value::Double(f64::arbitrary(g))),
            6 => {
                let scale = u8::arbitrary(g) % 19;
                let value = Decimal::from_i128_with_scale(i128::from(i64::arbitrary(g)), u32::from(scale));
                typed(DataType::Decimal { precision: 28, scale }, Value::Decimal(value))
            }
            7 => typed(DataType::Text, Value::Text(String::arbitrary(g))),
            8 => typed(DataType::Bytes, Value::Bytes(Vec::arbitrary(g))),
            9 => typed(DataType::Json, Value::Json(json(&String::arbitrary(g)))),
            10 => typed(DataType::Float, Value::Float(f32::arbitrary(g))),
            11 => typed(DataType::Date, Value::Date(i32::arbitrary(g))),
            12 => typed(DataType::Time, Value::Time(i64::from(u32::arbitrary(g)))),
            13 => typed(DataType::DateTime, Value::DateTime(i64::arbitrary(g))),
            14 => {
                let (months, days, micros) = (i32::arbitrary(g), i32::arbitrary(g), i64::arbitrary(g));
                typed(DataType::Interval, Value::Interval(Interval { months, days, micros }))
            }
            15 => typed(DataType::Uuid, Value::Uuid(u128::arbitrary(g))),
            16 => typed(DataType::Embedding(2), Value::Embedding(vec![f32::from(i8::arbitrary(g)), 0.1])),
            17 => typed(
                DataType::Array(Element::Int),
                array(Element::Int, vec![Value::Int(i32::arbitrary(g)), Value::Null]),
            ),
            18 => typed(DataType::Array(Element::Text), array(Element::Text, vec![Value::Text(String::arbitrary(g))])),
            _ => typed(DataType::Timestamp, Value::Timestamp(i64::arbitrary(g))),
        }
    }
}

#[derive(Clone, Debug)]
struct AnyRequest(SqlRequest);

impl Arbitrary for AnyRequest {
    fn arbitrary(g: &mut Gen) -> Self {
        let params = (0..usize::arbitrary(g) % (MAX_PARAMS + 1)).map(|_| match u8::arbitrary(g) % 6 {
            0 => Param::Null,
            1 => Param::Boolean(bool::arbitrary(g)),
            2 => Param::Number(i64::arbitrary(g).to_string()),
            3 => Param::Number(format!("{}.{:010}", i64::arbitrary(g), u32::arbitrary(g))),
            4 => Param::Json(format!("[{}, null, [true]]", i32::arbitrary(g))),
            _ => Param::Text(String::arbitrary(g)),
        });
        Self(SqlRequest {
            params: params.collect(),
            sql: format!("SELECT {}", String::arbitrary(g)),
            namespace_id: Option::arbitrary(g),
            request_id: Option::arbitrary(g),
        })
    }
}

quickcheck::quickcheck! {
    fn a_cell_comes_back_as_the_value_it_was(typed: Typed) -> bool {
        let cell = serde_json::from_str(&json(&Cell(typed.1.clone()))).unwrap();
        let back = decode_cell(&cell, TypeName::from(typed.0)).unwrap();
        match (&typed.1, &back) {
            (Value::Double(sent), Value::Double(back)) => sent.to_bits() == back.to_bits() || (sent.is_nan() && back.is_nan()),
            (Value::Float(sent), Value::Float(back)) => sent.to_bits() == back.to_bits() || (sent.is_nan() && back.is_nan()),
            (sent, back) => sent == back,
        }
    }

    fn a_request_comes_back_with_every_digit(request: AnyRequest) -> bool {
        SqlRequest::decode(&request.0.encode()).as_ref() == Ok(&request.0)
    }

    fn no_body_disturbs_the_decoders(bytes: Vec<u8>) -> bool {
        let _ = SqlRequest::decode(&bytes);
        let _ = LoginRequest::decode(&bytes);
        let _ = ConsumeRequest::decode(&bytes);
        let _ = AckRequest::decode(&bytes);
        true
    }

    fn no_cut_or_changed_request_disturbs_the_decoders(request: AnyRequest, cut: usize, change: (usize, u8)) -> bool {
        let mut bytes = request.0.encode();
        let at = change.0 % bytes.len();
        bytes[at] = change.1;
        bytes.truncate(cut % (bytes.len() + 1));
        for param in SqlRequest::decode(&bytes).map(|request| request.params).unwrap_or_default() {
            let _ = param.into_value();
        }
        true
    }
}

#[test]
fn a_querys_answer_is_written_as_the_interface_says() {
    let column = |name: &str, data_type: DataType, index, flags: &[&str]| Column {
        name: name.into(),
        data_type: data_type.into(),
        index,
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
    };
    let schema = vec![
        column("id", DataType::BigInt, 0, &["pk", "nn", "uq"]),
        column("price", DataType::Decimal { precision: 10, scale: 2 }, 1, &[]),
    ];
    let rows = vec![
        vec![Cell(Value::BigInt(i64::MAX)), Cell(Value::Decimal(Decimal::from_str("12.50").unwrap()))],
        vec![Cell(Value::BigInt(-1)), Cell(Value::Null)],
    ];
    let answer =
        SqlAnswer::success(vec![StatementResult::rows(schema, rows, Some("root".into()))], 1.25, Some("t".into()));
    assert_eq!(
        json(&answer),
        concat!(
            r#"{"status":"success","results":[{"schema":["#,
            r#"{"name":"id","data_type":"BigInt","index":0,"flags":["pk","nn","uq"]},"#,
            r#"{"name":"price","data_type":{"Decimal":{"precision":10,"scale":2}},"index":1}],"#,
            r#""rows":[["9223372036854775807","12.50"],["-1",null]],"row_count":2,"as_user":"root"}],"took":1.25,"token":"t"}"#
        )
    );
    let read: SqlAnswer<serde_json::Value> = serde_json::from_str(&json(&answer)).unwrap();
    assert_eq!(json(&read), json(&answer));
}

fn array(element: Element, items: Vec<Value>) -> Value {
    Value::Array(Box::new(Array::new(element, items)))
}

#[test]
fn the_names_of_types_carry_what_belongs_to_them() {
    for (data_type, expected) in [
        (DataType::Float, r#""Float""#),
        (DataType::DateTime, r#""DateTime""#),
        (DataType::Embedding(384), r#"{"Embedding":384}"#),
        (DataType::Array(Element::Int), r#"{"Array":"Int"}"#),
        (DataType::Decimal { precision: 10, scale: 2 }, r#"{"Decimal":{"precision":10,"scale":2}}"#),
    ] {
        let name = TypeName::from(data_type);
        assert_eq!(json(&name), expected);
        assert_eq!(json(&data_type.wire_json()), expected);
        assert_eq!(serde_json::from_str::<TypeName>(expected).unwrap(), name);
        assert_eq!(DataType::from(name), data_type);
    }
    assert!(serde_json::from_str::<TypeName>(r#"{"Array":{"Array":"Int"}}"#).is_err());
}

#[test]
fn every_type_has_its_cell() {
    let cells = [
        (Value::Null, "null"),
        (Value::Boolean(true), "true"),
        (Value::SmallInt(-3), "-3"),
        (Value::Int(7), "7"),
        (Value::BigInt(7), "\"7\""),
        (Value::Double(1.5), "1.5"),
        (Value::Double(f64::NAN), "\"NaN\""),
        (Value::Double(f64::INFINITY), "\"Infinity\""),
        (Value::Double(f64::NEG_INFINITY), "\"-Infinity\""),
        (Value::Text("a\"b".into()), r#""a\"b""#),
        (Value::Bytes(vec![0, 255]), "[0,255]"),
        (Value::Json("{\"a\":1}".into()), r#""{\"a\":1}""#),
        (Value::Timestamp(1_700_000_000_000_000), "1700000000000000"),
        (Value::DateTime(1_700_000_000_000_000), "1700000000000000"),
        (Value::Float(0.1), "0.1"),
        (Value::Float(f32::NEG_INFINITY), "\"-Infinity\""),
        (Value::Date(19_000), "19000"),
        (Value::Time(1), "1"),
        (Value::Interval(Interval { months: 1, days: -2, micros: 1_500_000 }), "\"1 mon -2 days +00:00:01.5\""),
        (Value::Uuid(1), "\"00000000-0000-0000-0000-000000000001\""),
        (Value::Embedding(vec![1.0, 0.5]), "[1.0,0.5]"),
        (array(Element::BigInt, vec![Value::BigInt(1), Value::Null]), "[\"1\",null]"),
    ];
    for (value, expected) in cells {
        assert_eq!(json(&Cell(value)), expected);
    }
}

#[test]
fn a_statement_that_is_no_query_answers_a_message() {
    let answer = SqlAnswer::<Cell>::success(vec![StatementResult::message("Inserted 2 row(s)", 2, None)], 0.5, None);
    assert_eq!(
        json(&answer),
        r#"{"status":"success","results":[{"row_count":2,"message":"Inserted 2 row(s)"}],"took":0.5}"#
    );
}

#[test]
fn an_error_says_where_and_what_to_do() {
    let mut diag = Diag::new(SqlState::UNDEFINED_COLUMN, "column \"nmae\" does not exist")
        .hint("did you mean \"name\"?")
        .at(Span { start: 7, end: 11 });
    diag.suggestions.push("name".into());
    let error = ApiError::from(&diag).in_statement(2);
    assert_eq!(error.status(), 400);
    assert_eq!(error.message, "Statement 2 failed: column \"nmae\" does not exist");
    let body = error.body();
    assert_eq!(
        body.details.as_deref().unwrap(),
        r#"{"sqlstate":"42703","position":8,"end":12,"hint":"did you mean \"name\"?","suggestions":["name"]}"#
    );
    assert_eq!(body.parsed_details().unwrap(), *error.details.unwrap());
}

#[test]
fn every_sqlstate_has_a_code_and_a_status_of_the_interface() {
    for (name, sqlstate) in SqlState::ALL {
        let code = ErrorCode::of(*sqlstate);
        assert!([400, 401, 403, 404, 409, 429, 500, 503].contains(&code.status()), "{name}");
        assert_eq!(TopicError::from(&Diag::new(*sqlstate, "x")).code.status() >= 500, code.status() >= 500, "{name}");
    }
    assert_eq!(ErrorCode::of(SqlState::REQUEST_EXPIRED).status(), 409);
    assert_eq!(ErrorCode::of(SqlState::OVERLOADED), ErrorCode::RateLimitExceeded);
    let response = ApiError::new(ErrorCode::ClusterUnavailable, "no leader").response(0.0);
    assert!(response.headers.contains(&("retry-after", "1".to_owned())));
}

#[test]
fn numbers_keep_their_digits() {
    let value = |digits: &str| Param::Number(digits.into()).into_value();
    assert_eq!(value("9223372036854775807"), Ok(Value::BigInt(i64::MAX)));
    assert_eq!(value("9223372036854775808"), Ok(Value::Decimal(Decimal::from_str("9223372036854775808").unwrap())));
    assert_eq!(value("0.1000000000000000000000000001").unwrap().clone(), Value::Double(0.1));
    assert_eq!(value("1.10"), Ok(Value::Decimal(Decimal::from_str("1.10").unwrap())));
    assert_eq!(value("1e3"), Ok(Value::Double(1000.0)));
    assert_eq!(value("1e400").unwrap_err().sqlstate, SqlState::OUT_OF_RANGE);
    let request = SqlRequest::decode(br#"{"sql":"x","params":[1234567890123456789012345.678, -0, null]}"#).unwrap();
    assert_eq!(
        request.params,
        [Param::Number("1234567890123456789012345.678".into()), Param::Number("-0".into()), Param::Null]
    );
}

#[test]
fn arrays_and_objects_come_as_they_were_sent() {
    let request = SqlRequest::decode(br#"{"sql":"x","params":[[1, "a", null, 1.50], {"a": [2]}]}"#).unwrap();
    let sent = [Param::Json(r#"[1, "a", null, 1.50]"#.into()), Param::Json(r#"{"a": [2]}"#.into())];
    assert_eq!(request.params, sent);
    assert_eq!(sent[0].clone().into_value(), Ok(Value::Json(r#"[1,"a",null,1.50]"#.into())));
    let deep = Param::Json(format!("{}{}", "[".repeat(200), "]".repeat(200)));
    assert_eq!(deep.into_value().unwrap_err().sqlstate, SqlState::INVALID_TEXT);
}

#[test]
fn requests_that_cannot_be_are_refused_with_a_reason() {
    let refused = |body: &[u8]| {
        let error = SqlRequest::decode(body).unwrap_err();
        format!("{} {}", error.code.as_str(), error.message)
    };
    assert_eq!(refused(b"{\"sql\":\"SEL"), "INVALID_INPUT the body ends in the middle of its JSON (line 1, column 11)");
    assert_eq!(
        refused(b"{}"),
        "INVALID_INPUT the body is not what is expected here: missing field `sql` at line 1 column 2"
    );
    assert_eq!(refused(b"{\"sql\":\"\xff\"}"), "INVALID_INPUT the body is not valid UTF-8: byte 8 starts no character");
    assert_eq!(refused(b"{\"sql\":\" \\n\"}"), "EMPTY_SQL the SQL text is empty");
    assert_eq!(
        refused(b"{\"sql\":1}"),
        "INVALID_INPUT the body is not what is expected here: invalid type: integer `1`, expected a string at line 1 column 8"
    );
    let many = format!("{{\"sql\":\"x\",\"params\":[{}0]}}", "0,".repeat(MAX_PARAMS));
    assert_eq!(refused(many.as_bytes()), "INVALID_PARAMETER 51 parameters were given; at most 50 are allowed");
    let large = format!("{{\"sql\":\"x\",\"params\":[\"{}\"]}}", "x".repeat(MAX_PARAM_BYTES));
    assert!(refused(large.as_bytes()).starts_with("INVALID_PARAMETER parameter $1 has 524290 bytes"));
    let long = format!("{{\"sql\":\"{}\"}}", "x".repeat(MAX_SQL_BYTES + 1));
    assert_eq!(refused(long.as_bytes()), "INVALID_SQL the SQL text has 1048577 bytes; at most 1048576 are allowed");
}

#[test]
fn a_login_takes_either_name_and_nothing_unknown() {
    let login = |body: &str| LoginRequest::decode(body.as_bytes());
    assert_eq!(
        login(r#"{"user":"root","password":"p"}"#).unwrap(),
        login(r#"{"username":"root","password":"p"}"#).unwrap()
    );
    for refused in [
        r#"{"user":"root","password":"p","remember":true}"#,
        r#"{"user":"root","username":"root","password":"p"}"#,
        r#"{"user":"","password":"p"}"#,
        r#"{"user":"root"}"#,
        "[]",
    ] {
        let error = login(refused).unwrap_err();
        assert_eq!((error.error, error.response().status), (AuthCode::InvalidRequest, 400), "{refused}");
    }
    let error = AuthError { error: AuthCode::SetupRequired, message: "root has no password yet".into() };
    assert_eq!(
        (error.response().status, json(&error)),
        (428, r#"{"error":"setup_required","message":"root has no password yet"}"#.into())
    );
    assert!(!format!("{:?}", login(r#"{"user":"root","password":"secret"}"#).unwrap()).contains("secret"));
}

#[test]
fn topic_requests_have_defaults_and_messages_carry_base64() {
    let request = ConsumeRequest::decode(br#"{"topic_id":"app.events"}"#).unwrap();
    assert_eq!((request.start, request.limit, request.partition_id, request.group_id), (Start::Latest, 100, 0, None));
    let start =
        |text: &str| ConsumeRequest::decode(format!(r#"{{"topic_id":"t","start":{text}}}"#).as_bytes()).unwrap().start;
    assert_eq!(
        [start("\"Earliest\""), start("\"latest\""), start("{\"Offset\":5}")],
        [Start::Earliest, Start::Latest, Start::Offset(5)]
    );
    assert!(ConsumeRequest::decode(br#"{"topic_id":"t","start":{"Offset":-1}}"#).is_err());

    let message = TopicMessage {
        topic_id: "app.events".into(),
        partition_id: 1,
        offset: 9,
        payload: b"{\"a\":1}".to_vec(),
        key: None,
        timestamp_ms: 5,
        user: Some("u".into()),
        op: "Insert".into(),
    };
    let answer = ConsumeAnswer { messages: vec![message], next_offset: 10, has_more: false };
    assert_eq!(
        json(&answer),
        r#"{"messages":[{"topic_id":"app.events","partition_id":1,"offset":9,"payload":"eyJhIjoxfQ==","key":null,"timestamp_ms":5,"user":"u","op":"Insert"}],"next_offset":10,"has_more":false}"#
    );
    assert_eq!(serde_json::from_str::<ConsumeAnswer>(&json(&answer)).unwrap(), answer);

    let ack = AckRequest::decode(br#"{"topic_id":"t","group_id":"g","upto_offset":3}"#).unwrap();
    assert_eq!((ack.partition_id, ack.upto_offset), (0, 3));
    assert_eq!(json(&AckAnswer::of(4, Some(3))), r#"{"success":true,"acknowledged_offset":3,"committed_offset":3}"#);
    let error = TopicError::from(&Diag::new(SqlState::INSUFFICIENT_PRIVILEGE, "no"));
    assert_eq!((error.response().status, json(&error)), (403, r#"{"error":"no","code":"FORBIDDEN"}"#.into()));
}

#[test]
fn a_body_is_an_object_and_never_a_list_of_its_fields() {
    let sql = SqlRequest::decode(br#" ["SELECT 1"]"#).unwrap_err();
    assert!(sql.message.contains("must be an object"), "{sql:?}");
    assert!(LoginRequest::decode(br#"["root", "secret"]"#).unwrap_err().message.contains("must be an object"));
    assert!(ConsumeRequest::decode(br#"["app.ev"]"#).is_err());
}

#[test]
fn a_start_that_is_none_is_told_what_there_is() {
    for start in ["null", "5", "[]", "{}", "\"First\"", r#"{"Offset": -1}"#] {
        let error =
            ConsumeRequest::decode(format!(r#"{{"topic_id": "a.b", "start": {start}}}"#).as_bytes()).unwrap_err();
        assert!(error.error.contains(r#""Latest", "Earliest" or {"Offset": number}"#), "{start}: {error:?}");
    }
}
