//! Answers to statements as bytes: small ones whole, large ones in chunks that are made as the client takes them.
//!
//! A chunk is made when the one before it was taken: of the text of an answer never more than [`CHUNK`] and a row is in memory, however
//! slowly it is read. Rows may come while they are sent; what fails then breaks the connection off, so that nobody takes a part for
//! the whole.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use futures_lite::{Stream, StreamExt as _, stream};
use highwater_net::api::{Cell, Column, SqlAnswer, StatementResult as Sent};
use highwater_net::http::{Body, Response};
use highwater_runtime::gate::Pass;
use highwater_sql::value::Row;
use serde::Serialize;

use super::login::rfc3339;
use crate::node::{Answer, ResultColumn, StatementResult, TraceId};

/// Bytes of a chunk, more or less.
const CHUNK: usize = 64 << 10;
/// Rows above which an answer is sent in chunks.
const WHOLE_ROWS: usize = 256;

/// Rows that come in portions.
pub(super) type Portions = Pin<Box<dyn Stream<Item = io::Result<Vec<Row>>>>>;

/// A piece of an answer.
enum Piece {
    /// Text as it is.
    Text(String),
    /// The rows of a result, with commas, then their number behind `],"row_count":`.
    Rows(Portions),
}

/// What is left of an answer on its way.
struct Rest {
    trace: TraceId,
    pieces: VecDeque<Piece>,
    /// Rows of the result that is being sent.
    count: u64,
    /// Rows that were taken and not yet written.
    waiting: std::vec::IntoIter<Row>,
    /// The end of the answer, made last: how long it took.
    end: Option<Box<dyn FnOnce() -> String>>,
    /// Counts as a request at work until the last chunk.
    _pass: Pass,
}

/// The answer to statements that succeeded; `took` tells the milliseconds until it is called. `pass` is kept until the last byte is made.
/// An answer that breaks off is logged under the request's id.
pub(super) fn response(answer: Answer, took: impl FnOnce() -> f64 + 'static, trace: TraceId, pass: Pass) -> Response {
    let rows = answer.results.iter().map(rows_of).fold(0, usize::saturating_add);
    if rows <= WHOLE_ROWS && !answer.results.iter().any(is_large) {
        return Response::json(200, &success(answer, took()));
    }
    let (token, as_of, session) = (answer.token, answer.as_of, answer.session);
    let end = move || {
        let as_of = as_of.map_or_else(String::new, |time| format!(",\"as_of\":{}", json(&rfc3339(time))));
        let session = session.map_or_else(String::new, |session| format!(",\"session_id\":{}", json(&session)));
        format!("],\"took\":{},\"token\":{}{as_of}{session}}}", json(&took()), json(&token))
    };
    let mut pieces = VecDeque::from([Piece::Text(r#"{"status":"success","results":["#.into())]);
    for (at, result) in answer.results.into_iter().enumerate() {
        add(&mut pieces, if at == 0 { "" } else { "," }, result);
    }
    let rest = Rest { trace, pieces, count: 0, waiting: Vec::new().into_iter(), end: Some(Box::new(end)), _pass: pass };
    let body = Body::Chunks(Box::pin(chunks(rest)));
    Response { status: 200, headers: vec![("content-type", "application/json".into())], body, close: false }
}

/// The envelope of a success; `took` in milliseconds.
fn success(answer: Answer, took: f64) -> SqlAnswer<Cell> {
    let results = answer.results.into_iter().map(|result| match result {
        StatementResult::Rows { schema, rows, as_user, held: _ } => {
            let schema = (0..).zip(schema).map(|(index, column)| described(index, column)).collect();
            let rows = rows.into_iter().map(|row| row.into_iter().map(Cell).collect()).collect();
            Sent::rows(schema, rows, Some(as_user))
        }
        // Not among small answers.
        StatementResult::Stream { as_user, .. } => Sent::rows(Vec::new(), Vec::new(), Some(as_user)),
        StatementResult::Message { message, row_count, as_user } => Sent::message(message, row_count, Some(as_user)),
    });
    let as_of = answer.as_of.map(rfc3339);
    SqlAnswer { as_of, session_id: answer.session, ..SqlAnswer::success(results.collect(), took, Some(answer.token)) }
}

fn is_large(result: &StatementResult) -> bool {
    matches!(result, StatementResult::Rows { held: Some(_), .. })
}

fn rows_of(result: &StatementResult) -> usize {
    match result {
        StatementResult::Rows { rows, .. } => rows.len(),
        StatementResult::Stream { .. } => usize::MAX,
        StatementResult::Message { .. } => 0,
    }
}

/// The pieces of one result.
fn add(pieces: &mut VecDeque<Piece>, comma: &str, result: StatementResult) {
    let mut add_rows = |schema: Vec<ResultColumn>, portions: Portions, as_user: String| {
        let schema: Vec<Column> = (0..).zip(schema).map(|(index, column)| described(index, column)).collect();
        let schema = if schema.is_empty() { String::new() } else { format!("\"schema\":{},", json(&schema)) };
        pieces.push_back(Piece::Text(format!("{comma}{{{schema}\"rows\":[")));
        pieces.push_back(Piece::Rows(portions));
        pieces.push_back(Piece::Text(format!(",\"as_user\":{}}}", json(&as_user))));
    };
    match result {
        StatementResult::Rows { schema, rows, as_user, held } => {
            let held_to_the_end = stream::poll_fn(move |_| {
                let _ = &held;
                std::task::Poll::Ready(None)
            });
            add_rows(schema, Box::pin(stream::once(Ok(rows)).chain(held_to_the_end)), as_user);
        }
        StatementResult::Stream { schema, first, rest, as_user } => {
            let rest = stream::unfold(rest, |rest| async move {
                let page = rest.next().await?;
                Some((page.map_err(|diag| io::Error::other(diag.to_string())), rest))
            });
            add_rows(schema, Box::pin(stream::once(Ok(first)).chain(rest)), as_user);
        }
        StatementResult::Message { message, row_count, as_user } => {
            pieces.push_back(Piece::Text(format!(
                "{comma}{{\"row_count\":{row_count},\"message\":{},\"as_user\":{}}}",
                json(&message),
                json(&as_user)
            )));
        }
    }
}

fn described(index: u32, column: ResultColumn) -> Column {
    let flags = [(column.primary_key, "pk"), (column.not_null, "nn"), (column.unique, "uq")];
    Column {
        name: column.name,
        data_type: column.data_type.into(),
        index,
        flags: flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag.to_owned()).collect(),
    }
}

/// The answer's text, chunk by chunk.
fn chunks(rest: Rest) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(rest, |mut rest| async move {
        let mut text = Vec::with_capacity(1024);
        while text.len() < CHUNK {
            if let Some(row) = rest.waiting.next() {
                if rest.count > 0 {
                    text.push(b',');
                }
                rest.count += 1;
                let cells: Vec<Cell> = row.into_iter().map(Cell).collect();
                serde_json::to_writer(&mut text, &cells)?;
                continue;
            }
            match rest.pieces.front_mut() {
                Some(Piece::Text(piece)) => {
                    text.extend_from_slice(piece.as_bytes());
                    rest.pieces.pop_front();
                }
                Some(Piece::Rows(portions)) => match portions.next().await {
                    Some(rows) => {
                        let broken_off = |error: io::Error| {
                            let request_id = rest.trace;
                            tracing::warn!(%request_id, %error, "an answer broke off: its status had been sent");
                            error
                        };
                        rest.waiting = rows.map_err(broken_off)?.into_iter();
                    }
                    None => {
                        text.extend_from_slice(format!("],\"row_count\":{}", rest.count).as_bytes());
                        rest.count = 0;
                        rest.pieces.pop_front();
                    }
                },
                None => match rest.end.take() {
                    Some(end) => text.extend_from_slice(end().as_bytes()),
                    None => break,
                },
            }
        }
        Ok((!text.is_empty()).then(|| (Bytes::from(text), rest)))
    })
}

/// A value as JSON. None of those that are given here can fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".into())
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::disallowed_methods
    )]
    use super::*;
    use futures_lite::future::block_on;
    use highwater_runtime::gate::Gate;
    use highwater_sql::value::{DataType, Value};

    fn column(name: &str, data_type: DataType, primary_key: bool) -> ResultColumn {
        ResultColumn { name: name.into(), data_type, primary_key, not_null: primary_key, unique: primary_key }
    }

    fn rows(count: i64) -> StatementResult {
        let row = |number: i64| vec![Value::BigInt(number), Value::Text("x".repeat(number as usize % 50))];
        let schema = vec![column("id", DataType::BigInt, true), column("t", DataType::Text, false)];
        StatementResult::Rows { schema, rows: (0..count).map(row).collect(), as_user: "root".into(), held: None }
    }

    fn message() -> StatementResult {
        StatementResult::Message { message: "Inserted 1 row(s)".into(), row_count: 1, as_user: "root".into() }
    }

    #[test]
    fn an_answer_has_the_shape_that_clients_know() {
        let schema = vec![
            column("id", DataType::BigInt, true),
            column("t", DataType::Decimal { precision: 10, scale: 2 }, false),
        ];
        let rows = vec![vec![Value::BigInt(1), Value::Null]];
        let results = vec![StatementResult::Rows { schema, rows, as_user: "root".into(), held: None }, message()];
        let text =
            serde_json::to_string(&success(Answer { results, token: "T".into(), as_of: None, session: None }, 1.25))
                .unwrap();
        assert_eq!(
            text,
            r#"{"status":"success","results":[{"schema":[{"name":"id","data_type":"BigInt","index":0,"flags":["pk","nn","uq"]},"#.to_owned()
                + r#"{"name":"t","data_type":{"Decimal":{"precision":10,"scale":2}},"index":1}],"rows":[["1",null]],"row_count":1,"as_user":"root"},"#
                + r#"{"row_count":1,"message":"Inserted 1 row(s)","as_user":"root"}],"took":1.25,"token":"T"}"#
        );
    }

    #[test]
    fn a_large_answer_in_chunks_is_the_same_text() {
        for results in [vec![rows(5000)], vec![message(), rows(0), rows(300), message(), rows(1)]] {
            let answer = Answer { results, token: "T".into(), as_of: None, session: None };
            let whole = serde_json::to_string(&success(answer.clone(), 2.5)).unwrap();
            let gate = Gate::new(1, 0);
            let response = response(answer, || 2.5, TraceId(0), gate.try_enter().unwrap());
            let Body::Chunks(chunks) = response.body else { panic!("it is not sent in chunks") };
            let chunks: Vec<Bytes> = block_on(chunks.map(|chunk| chunk.unwrap()).collect());
            assert!(chunks.iter().all(|chunk| chunk.len() < CHUNK + 1024));
            assert_eq!(String::from_utf8(chunks.concat()).unwrap(), whole);
            assert_eq!(gate.taken(), 0);
        }
    }
}
