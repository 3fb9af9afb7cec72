//! POST /v1/api/sql.

use std::sync::Arc;

use highwater_net::api::{ApiError, ErrorCode, Param, SqlRequest};
use highwater_net::http::{Request, Response};
use highwater_runtime::Env;
use highwater_runtime::gate::Pass;
use highwater_sql::bind::ParamValue;
use highwater_sql::diag::{Diag, SqlState};

use super::{Service, answer, request_id};
use crate::node::{ErrorKind, ExecuteError, ExecuteRequest, Identity, Node, TraceId};

/// Whoever sends it is told how long the parts of the request took.
pub(super) const TIMING: &str = "x-highwater-timing";

impl Service {
    /// Runs the statements of a request, which has its place among those at work until its answer is made.
    pub(super) async fn sql(
        &self,
        node: &Node,
        identity: Identity,
        request: &Request,
        trace: TraceId,
        pass: Pass,
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
            streams: true,
            trace,
            session: session(request)?,
            timed: request.headers.contains_key(TIMING).then(Arc::default),
        };
        let timed = execute.timed.clone();
        // Boxed: what statements may lead to is deep, and connections have it within theirs.
        let answer = Box::pin(node.execute(execute)).await.map_err(|error| api_error(&error))?;
        let service = self.clone();
        let whole = self.env().now().micros_since(started);
        let response = answer::response(answer, move || service.took(started), trace, pass);
        Ok(match timed {
            Some(phases) => response.header("server-timing", phases.header(whole)),
            None => response,
        })
    }
}

/// A parameter as the binder takes it: numbers keep every digit until their type is known.
fn given(param: Param) -> ParamValue {
    match param {
        Param::Null => ParamValue::Null,
        Param::Boolean(value) => ParamValue::Boolean(value),
        Param::Number(digits) => ParamValue::Number(digits),
        Param::Text(text) => ParamValue::Text(text),
        Param::Json(text) => ParamValue::Json(text),
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

fn session(request: &Request) -> Result<Option<String>, ApiError> {
    match request.headers.get("x-highwater-session").map(|value| value.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
        Some(Err(_)) => {
            Err(ApiError::new(ErrorCode::InvalidParameter, "the header X-Highwater-Session holds no session_id"))
        }
    }
}

/// The error of an envelope for a failed text.
fn api_error(error: &ExecuteError) -> ApiError {
    let mut api = ApiError { session_id: error.session.clone(), ..ApiError::from(&error.diag) };
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use highwater_sql::diag::Span;

    #[test]
    fn a_failure_names_its_statement_code_and_place() {
        let failed = |kind, sqlstate, statement| {
            let diag = Diag::new(sqlstate, "no such thing").at(Span { start: 4, end: 6 }).hint("Try another.");
            api_error(&ExecuteError { diag, statement, kind, session: None })
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
