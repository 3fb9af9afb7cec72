//! POST /v1/api/sql.

use highwater_net::api::{ApiError, Cell, Column, ErrorCode, Param, SqlAnswer, SqlRequest, StatementResult as Sent};
use highwater_net::http::{Request, Response};
use highwater_runtime::Env;
use highwater_sql::bind::ParamValue;
use highwater_sql::diag::{Diag, SqlState};

use super::{Service, request_id};
use crate::node::{
    Answer, ErrorKind, ExecuteError, ExecuteRequest, Identity, Node, ResultColumn, StatementResult, TraceId,
};

impl Service {
    /// Runs the statements of a request.
    pub(super) async fn sql(
        &self,
        node: &Node,
        identity: Identity,
        request: &Request,
        trace: TraceId,
    ) -> Result<Response, ApiError> {
        let started = self.env().now();
        refuse_multipart(request)?;
        let asked = SqlRequest::decode_within(&request.body, &self.sql_limits())?;
        let execute = ExecuteRequest {
            identity,
            sql: asked.sql,
            params: asked.params.into_iter().map(given).collect(),
            namespace: asked.namespace_id,
            request_id: asked.request_id.as_deref().map(request_id::parse).transpose()?,
            token: read_token(request)?,
            deadline: Some(started.after_micros(self.config().sql_statement_timeout.micros())),
            trace,
        };
        let answer = node.execute(execute).await.map_err(|error| api_error(&error))?;
        Ok(Response::json(200, &success(answer, self.took(started))))
    }
}

/// A parameter as the binder takes it: numbers keep every digit until their type is known.
fn given(param: Param) -> ParamValue {
    match param {
        Param::Null => ParamValue::Null,
        Param::Boolean(value) => ParamValue::Boolean(value),
        Param::Number(digits) => ParamValue::Number(digits),
        Param::Text(text) => ParamValue::Text(text),
    }
}

/// Multipart requests carry files; there are none yet.
fn refuse_multipart(request: &Request) -> Result<(), ApiError> {
    let content_type = request.header("content-type").unwrap_or_default();
    if content_type.trim_start().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/")) {
        return Err(Diag::not_supported("uploading files with multipart/form-data")
            .hint("Send the statement as JSON: {\"sql\": ..., \"params\": [...]}.")
            .into());
    }
    Ok(())
}

fn read_token(request: &Request) -> Result<Option<String>, ApiError> {
    match request.headers.get("x-highwater-token").map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Some(Err(_)) => Err(ApiError::new(
            ErrorCode::InvalidParameter,
            "the header X-Highwater-Token holds no token of this cluster",
        )),
    }
}

/// The error of an envelope for a failed text.
fn api_error(error: &ExecuteError) -> ApiError {
    let mut api = ApiError::from(&error.diag);
    match error.kind {
        ErrorKind::Statement => {}
        ErrorKind::Empty => api.code = ErrorCode::EmptySql,
        ErrorKind::ParamsWithBatch => api.code = ErrorCode::ParamsWithBatch,
        ErrorKind::Parse if error.statement.is_some() => api.code = ErrorCode::BatchParseError,
        ErrorKind::Parse if error.diag.sqlstate == SqlState::SYNTAX_ERROR => api.code = ErrorCode::InvalidSql,
        ErrorKind::Parse => {}
    }
    match error.statement {
        Some(number) => api.in_statement(number),
        None => api,
    }
}

/// The envelope of a success; `took` in milliseconds.
fn success(answer: Answer, took: f64) -> SqlAnswer<Cell> {
    let results = answer.results.into_iter().map(|result| match result {
        StatementResult::Rows { schema, rows, as_user } => {
            let schema = (0..).zip(schema).map(|(index, column)| described(index, column)).collect();
            let rows = rows.into_iter().map(|row| row.into_iter().map(Cell).collect()).collect();
            Sent::rows(schema, rows, Some(as_user))
        }
        StatementResult::Message { message, row_count, as_user } => Sent::message(message, row_count, Some(as_user)),
    });
    SqlAnswer::success(results.collect(), took, Some(answer.token))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use highwater_sql::diag::Span;
    use highwater_sql::value::{DataType, Value};

    #[test]
    fn an_answer_has_the_shape_that_clients_know() {
        let column = |name: &str, data_type, primary_key| ResultColumn {
            name: name.into(),
            data_type,
            primary_key,
            not_null: primary_key,
            unique: primary_key,
        };
        let answer = Answer {
            results: vec![
                StatementResult::Rows {
                    schema: vec![
                        column("id", DataType::BigInt, true),
                        column("t", DataType::Decimal { precision: 10, scale: 2 }, false),
                    ],
                    rows: vec![vec![Value::BigInt(1), Value::Null]],
                    as_user: "root".into(),
                },
                StatementResult::Message { message: "Inserted 1 row(s)".into(), row_count: 1, as_user: "root".into() },
            ],
            token: "T".into(),
        };
        let text = serde_json::to_string(&success(answer, 1.25)).unwrap();
        assert_eq!(
            text,
            r#"{"status":"success","results":[{"schema":[{"name":"id","data_type":"BigInt","index":0,"flags":["pk","nn","uq"]},"#.to_owned()
                + r#"{"name":"t","data_type":{"Decimal":{"precision":10,"scale":2}},"index":1}],"rows":[["1",null]],"row_count":1,"as_user":"root"},"#
                + r#"{"row_count":1,"message":"Inserted 1 row(s)","as_user":"root"}],"took":1.25,"token":"T"}"#
        );
    }

    #[test]
    fn a_failure_names_its_statement_code_and_place() {
        let failed = |kind, sqlstate, statement| {
            let diag = Diag::new(sqlstate, "no such thing").at(Span { start: 4, end: 6 }).hint("Try another.");
            api_error(&ExecuteError { diag, statement, kind })
        };
        let error = failed(ErrorKind::Statement, SqlState::UNDEFINED_TABLE, Some(2));
        assert_eq!(error.code, ErrorCode::TableNotFound);
        assert_eq!(error.message, "Statement 2 failed: no such thing");
        let details = error.body().parsed_details().unwrap();
        assert_eq!((details.sqlstate.as_str(), details.position, details.end), ("42P01", Some(5), Some(7)));
        assert_eq!(failed(ErrorKind::Empty, SqlState::SYNTAX_ERROR, None).code, ErrorCode::EmptySql);
        assert_eq!(failed(ErrorKind::Parse, SqlState::SYNTAX_ERROR, None).code, ErrorCode::InvalidSql);
        assert_eq!(failed(ErrorKind::Parse, SqlState::NOT_SUPPORTED, None).code, ErrorCode::SqlExecutionError);
        assert_eq!(failed(ErrorKind::Parse, SqlState::SYNTAX_ERROR, Some(1)).code, ErrorCode::BatchParseError);
        assert_eq!(
            failed(ErrorKind::ParamsWithBatch, SqlState::INVALID_PARAMETER, None).code,
            ErrorCode::ParamsWithBatch
        );
        assert_eq!(failed(ErrorKind::Statement, SqlState::OVERLOADED, None).status(), 429);
    }
}
