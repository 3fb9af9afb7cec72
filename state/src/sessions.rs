//! The session table: the first answer to every request id, so that a retry is answered, never applied again.
//!
//! ```text
//! session answer := version u8 (1) | postcard(statement hash u64, until i64, outcome)
//! session's end  := empty
//! ```
//!
//! An answer is kept until `max(time in the id, log time) + ten minutes` of log time; an id whose time is more than ten
//! minutes before log time is refused. So whoever finds no answer either never applied, or is told that it is too late to
//! tell. Only log time decides; an entry removes a bounded number of ended answers, oldest first.

use highwater_runtime::{Env, sometimes};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Micros;
use serde::{Deserialize, Serialize};

use crate::command::{RequestHead, RequestId};
use crate::error::{Abort, StateError};
use crate::keys::{Keys, Space};
use crate::outcome::Outcome;
use crate::reader::Reader;
use crate::stored;
use crate::txn::Txn;

/// How long an answer is kept, and how old an id may be, in microseconds of log time.
pub const KEPT_MICROS: Micros = 10 * 60 * 1_000_000;
/// How long planted bug 28 keeps an answer, in microseconds of log time.
const SHORT_MICROS: Micros = 50_000;
/// How far in the future the time of an id may be, in microseconds after log time.
pub const FUTURE_MICROS: Micros = 60 * 1_000_000;
/// Most ended answers that one entry removes.
pub const ENDED_PER_ENTRY: usize = 32;

#[derive(Serialize, Deserialize)]
struct Answer {
    statement_hash: u64,
    until: Micros,
    outcome: Outcome,
}

/// The stored answer of a request that was applied before; `None` for a new one.
///
/// # Errors
/// A refusal of an id that is used for another statement, too old, or from the future.
pub(crate) async fn recall<E: Env>(
    txn: &mut Txn<'_, E>,
    head: &RequestHead,
    log_time: Micros,
) -> Result<Option<Outcome>, Abort> {
    let Some(request) = head.request.filter(|_| !txn.mutant(26)) else { return Ok(None) };
    let key = txn.keys().session(&head.principal, request);
    if let Some(bytes) = txn.get(&key).await? {
        let answer: Answer = stored::decode(txn.group(), "a stored answer", &bytes)?;
        if answer.statement_hash != head.statement_hash {
            return Err(Diag::new(SqlState::INVALID_PARAMETER, "this request id was used for another statement")
                .hint("Make a new request id for every statement; repeat one only to retry the same request.")
                .into());
        }
        sometimes("answers_given_again");
        return Ok(Some(answer.outcome));
    }
    let time = time_of(request);
    if time.saturating_add(KEPT_MICROS) < log_time {
        return Err(Diag::new(SqlState::REQUEST_EXPIRED, "the request id is more than ten minutes old: whether it was applied can no longer be told")
            .hint("Read the data to see whether the first attempt took effect, then send what is missing with a new request id.")
            .into());
    }
    if time > log_time.saturating_add(FUTURE_MICROS) {
        return Err(Diag::new(
            SqlState::INVALID_PARAMETER,
            "the time in the request id is more than one minute in the future",
        )
        .hint("Check the client's clock; a request id is a ULID or UUIDv7 made when the request is first sent.")
        .into());
    }
    Ok(None)
}

/// The stored answer of a request under this hash, as the store has it.
pub(crate) async fn find<E: Env>(
    reader: &Reader<E>,
    keys: Keys,
    head: &RequestHead,
) -> Result<Option<Outcome>, StateError> {
    let Some(request) = head.request else { return Ok(None) };
    let Some(bytes) = reader.get(&keys.session(&head.principal, request)).await? else { return Ok(None) };
    let answer: Answer = stored::decode(keys.group(), "a stored answer", &bytes)?;
    Ok(Some(answer.outcome).filter(|_| answer.statement_hash == head.statement_hash))
}

/// Keeps the answer of a request. Gives the time when it ends, if the request had an id.
pub(crate) fn remember<E: Env>(
    txn: &mut Txn<'_, E>,
    head: &RequestHead,
    outcome: &Outcome,
    log_time: Micros,
) -> Result<Option<Micros>, Abort> {
    let Some(request) = head.request else { return Ok(None) };
    let kept = if txn.mutant(28) { SHORT_MICROS } else { KEPT_MICROS };
    let until = time_of(request).max(log_time).saturating_add(kept);
    let keys = txn.keys();
    let key = keys.session(&head.principal, request);
    let answer = Answer { statement_hash: head.statement_hash, until, outcome: outcome.clone() };
    txn.put(keys.session_end(until, &key), Vec::new())?;
    txn.put(key, stored::encode(&answer))?;
    Ok(Some(until))
}

/// Removes ended answers, at most [`ENDED_PER_ENTRY`]. Gives the end of the first that stays; the maximum when there is none.
pub(crate) async fn expire<E: Env>(txn: &mut Txn<'_, E>, log_time: Micros) -> Result<Micros, Abort> {
    let keys = txn.keys();
    for (count, (key, _)) in
        txn.scan(&keys.space(Space::SessionEnd), ENDED_PER_ENTRY + 1).await?.into_iter().enumerate()
    {
        let end = Keys::end_time(&key).unwrap_or(Micros::MIN);
        if end >= log_time || count == ENDED_PER_ENTRY {
            return Ok(end);
        }
        if let Some(session) = keys.session_of_end(&key) {
            sometimes("answers_ended");
            txn.delete(session)?;
        }
        txn.delete(key.to_vec())?;
    }
    Ok(Micros::MAX)
}

/// When the first of the answers that the store holds ends; the maximum when there is none.
pub(crate) async fn first_end<E: Env>(reader: &Reader<E>, keys: Keys) -> Result<Micros, StateError> {
    let mut scan = reader.scan(&keys.space(Space::SessionEnd)).await?;
    Ok(scan.next().await?.and_then(|(key, _)| Keys::end_time(&key)).unwrap_or(Micros::MAX))
}

/// The time in an id: its top 48 bits are milliseconds since 1970.
fn time_of(request: RequestId) -> Micros {
    let millis = (request.id >> 80) as u64;
    millis.cast_signed().saturating_mul(1000)
}
