//! Highwater, spoken to over HTTP.

use std::path::Path;

use highwater_bench::daemon::{Daemon, PASSWORD};
use serde_json::{Value, json};

use crate::answer::Ours;
use crate::cell::{Cell, Kind};
use crate::failure::Failure;

/// A server of our own, ended when dropped.
pub(crate) struct Highwater {
    daemon: Daemon,
    token: String,
}

impl Highwater {
    /// Starts `highwaterd` with an empty folder.
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self, Failure> {
        let daemon = Daemon::start(program, folder, &["--cores", "1", "--user-shards", "2", "--shared-shards", "4"])?;
        let token = daemon.login("root", PASSWORD)?;
        Ok(Self { daemon, token })
    }

    /// Runs one statement.
    pub(crate) fn run(&self, sql: &str) -> Result<Ours, Failure> {
        let answer = self.daemon.post("/v1/api/sql", Some(&self.token), &json!({ "sql": sql }))?.json()?;
        let strange = || Failure::highwater(format!("an answer that cannot be read to {sql}: {answer}"));
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            let details: Value = error
                .get("details")
                .and_then(Value::as_str)
                .and_then(|details| serde_json::from_str(details).ok())
                .unwrap_or_default();
            let state = details.get("sqlstate").and_then(Value::as_str).unwrap_or("?????");
            let message = error.get("message").and_then(Value::as_str).unwrap_or_default();
            return Ok(Ours::Error(state.to_owned(), message.to_owned()));
        }
        let result = answer.get("results").and_then(|results| results.get(0)).ok_or_else(strange)?;
        let Some(schema) = result.get("schema").and_then(Value::as_array) else {
            return Ok(Ours::Changed(result.get("row_count").and_then(Value::as_u64).unwrap_or(0)));
        };
        let kinds: Vec<Kind> = schema.iter().map(|column| Kind::of(&column["data_type"])).collect();
        let mut rows = Vec::new();
        for row in result.get("rows").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
            let values = row.as_array().ok_or_else(strange)?;
            let cells = kinds.iter().zip(values).map(|(kind, value)| Cell::ours(*kind, value));
            rows.push(cells.collect::<Option<Vec<Cell>>>().ok_or_else(strange)?);
        }
        Ok(Ours::Rows(kinds, rows))
    }
}
