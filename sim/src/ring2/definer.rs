//! A client that makes, uses and drops a table, again and again, each step on another node: a definition is usable everywhere once
//! it is answered, and what was dropped is gone everywhere. Every other time it makes a user, too ([`keeper`]).

use std::rc::Rc;

use serde_json::json;

use super::keeper;
use super::session::{Reply, Session, changed, number, rows_of};
use super::setup;
use super::shared::Run;

/// SQLSTATE of a table that does not exist.
const UNDEFINED_TABLE: &str = "42P01";

/// Carries out the definer's rounds.
pub async fn define(run: Rc<Run>) {
    let mut session = setup::root(&run, "definer");
    for (round, pause) in run.plan.definitions.iter().enumerate() {
        run.pause(*pause).await;
        let outcome = one_round(&run, &mut session, i64::try_from(round).unwrap_or(0)).await;
        if run.is_broken() {
            return;
        }
        if let Err(reason) = outcome {
            return run.violation(format!("definer, round {round}, node {}: {reason}", session.node() + 1));
        }
        run.mark("tables_made_and_dropped");
        if round.is_multiple_of(2) {
            continue;
        }
        if let Err(reason) = keeper::one_round(&run, &mut session, i64::try_from(round).unwrap_or(0)).await {
            return run.violation(format!("keeper, round {round}: {reason}"));
        }
    }
}

/// One table, from its definition to its end. Its name is always the same, its columns are not.
async fn one_round(run: &Rc<Run>, session: &mut Session, round: i64) -> Result<(), String> {
    let kind = if round % 3 == 0 { "SHARED" } else { "USER" };
    let column = if round % 2 == 0 { "v" } else { "other" };
    change(session, &format!("CREATE {kind} TABLE w.passing (id BIGINT PRIMARY KEY, {column} BIGINT NOT NULL)"))
        .await?;
    session.turn_away();
    let answer = change(session, &format!("INSERT INTO w.passing (id, {column}) VALUES (1, {round})")).await?;
    if let Some(count) = answer.filter(|count| *count != 1) {
        return Err(format!("{count} rows were inserted; it should be 1"));
    }
    session.turn_away();
    let rows = session.rows(&format!("SELECT {column} FROM w.passing"), &json!([])).await;
    let Some(rows) = unless_broken(run, rows)? else { return Ok(()) };
    let values: Vec<i64> = rows.iter().map(|row| number(row, 0)).collect();
    if values != [round] {
        return Err(format!("the new table holds {values:?}; it should be [{round}]"));
    }
    change(session, "DROP TABLE w.passing").await?;
    session.turn_away();
    match session.insist("SELECT id FROM w.passing", &json!([]), None, None).await {
        Reply::Refused { state, .. } if state == UNDEFINED_TABLE => Ok(()),
        Reply::Refused { state, message } => {
            Err(format!("a dropped table was read and refused with {state} {message}"))
        }
        Reply::Done(answer) => Err(format!("a dropped table was read: {:?}", rows_of(&answer))),
        Reply::NotNow | Reply::Lost | Reply::Open => Ok(()),
    }
}

/// A statement under a request id, until it is answered; how many rows it changed. None once a promise is broken.
pub(super) async fn change(session: &mut Session, sql: &str) -> Result<Option<u64>, String> {
    let request = session.request_id();
    match session.insist(sql, &json!([]), Some(&request), None).await {
        Reply::Done(answer) => Ok(Some(changed(&answer))),
        Reply::Refused { state, message } => Err(format!("{sql} was refused: {state} {message}")),
        Reply::NotNow | Reply::Lost | Reply::Open => Ok(None),
    }
}

pub(super) fn unless_broken<T>(run: &Run, outcome: Result<T, String>) -> Result<Option<T>, String> {
    if run.is_broken() { Ok(None) } else { outcome.map(Some) }
}
