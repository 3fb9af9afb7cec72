//! A client that changes a table's shape while another one, its hand, writes the rows: indexes are made and dropped, columns come and
//! go. As nobody else writes, what the table holds is known at every answer, and every path to a row must show it.

use std::collections::BTreeMap;
use std::rc::Rc;

use futures_lite::future;
use serde_json::json;

use super::session::{Reply, Session, changed, number, rows_of};
use super::setup;
use super::shared::Run;

/// Rows that a table begins with.
const ROWS: i64 = 24;
/// Writes beside each change of the shape.
const WRITES: u64 = 6;
/// Rows that are looked up through the index.
const LOOKED_UP: usize = 4;
/// SQLSTATE of a value that is there already.
const UNIQUE_VIOLATION: &str = "23505";
/// SQLSTATE of an object that does not exist.
const UNDEFINED_OBJECT: &str = "42704";

/// The rows: each value is there once, and so is each number that the table gave.
#[derive(Default)]
struct Held {
    rows: BTreeMap<i64, i64>,
    numbers: BTreeMap<i64, i64>,
    next: i64,
}

impl Held {
    fn fresh(&mut self) -> i64 {
        self.next += 1;
        self.next
    }

    /// The table has given a row its number: one that rises from insert to insert.
    fn number(&mut self, id: i64, given: i64) -> Result<(), String> {
        match self.numbers.values().max() {
            Some(last) if *last >= given => Err(format!("row {id} was given the number {given} after {last}")),
            _ => {
                self.numbers.insert(id, given);
                Ok(())
            }
        }
    }
}

/// Carries out the shaper's rounds.
pub async fn shape(run: Rc<Run>) {
    let (mut session, mut hand) = (setup::root(&run, "shaper"), setup::root(&run, "hand"));
    for (round, pause) in run.plan.shapes.iter().enumerate() {
        run.pause(*pause).await;
        let outcome = one_round(&run, &mut session, &mut hand, round).await;
        if run.is_broken() {
            return;
        }
        if let Err(reason) = outcome {
            return run.violation(format!("shaper, round {round}: {reason}"));
        }
        run.mark("shapes_changed_under_load");
    }
}

async fn one_round(run: &Rc<Run>, session: &mut Session, hand: &mut Session, round: usize) -> Result<(), String> {
    let kind = if round.is_multiple_of(2) { "SHARED" } else { "USER" };
    let unique = if session.rng().chance(0.6) { "UNIQUE " } else { "" };
    change(session, &format!("CREATE {kind} TABLE w.shaped (id BIGINT PRIMARY KEY, v BIGINT NOT NULL, n BIGSERIAL)"))
        .await?;
    let mut held = Held { next: 100, ..Held::default() };
    for id in 0..ROWS {
        let value = held.fresh();
        held.rows.insert(id, value);
    }
    let rows: Vec<String> = held.rows.iter().map(|(id, value)| format!("({id}, {value})")).collect();
    session.turn_away();
    change(session, &format!("INSERT INTO w.shaped (id, v) VALUES {}", rows.join(", "))).await?;
    let given = session.rows("SELECT id, n FROM w.shaped ORDER BY n", &json!([])).await;
    let Some(given) = unless_broken(run, given)? else { return Ok(()) };
    given.iter().try_for_each(|row| held.number(number(row, 0), number(row, 1)))?;

    let statement = format!("CREATE {unique}INDEX shaped_v ON w.shaped (v)");
    beside(run, session, hand, &mut held, &statement).await?;
    paths_agree(run, session, &held).await?;
    if !unique.is_empty()
        && let Some(taken) = held.rows.values().next()
    {
        refused(run, hand, &format!("INSERT INTO w.shaped (id, v) VALUES (-1, {taken})"), UNIQUE_VIOLATION).await?;
    }

    beside(run, session, hand, &mut held, "ALTER TABLE w.shaped ADD COLUMN c BIGINT NOT NULL DEFAULT 5").await?;
    let rows = session.rows("SELECT id, c FROM w.shaped", &json!([])).await;
    let Some(rows) = unless_broken(run, rows)? else { return Ok(()) };
    if rows.len() != held.rows.len() || rows.iter().any(|row| number(row, 1) != 5) {
        return Err(format!("of {} rows these show the new column: {rows:?}", held.rows.len()));
    }
    // All rows have the same: the index cannot be, and nothing of it stays.
    refused(run, session, "CREATE UNIQUE INDEX shaped_c ON w.shaped (c)", UNIQUE_VIOLATION).await?;
    refused(run, hand, "DROP INDEX w.shaped_c", UNDEFINED_OBJECT).await?;
    beside(run, session, hand, &mut held, "ALTER TABLE w.shaped DROP COLUMN c").await?;
    paths_agree(run, session, &held).await?;

    beside(run, session, hand, &mut held, "DROP INDEX w.shaped_v").await?;
    paths_agree(run, session, &held).await?;
    if session.rng().chance(0.5) {
        change(session, "TRUNCATE TABLE w.shaped").await?;
        held.rows.clear();
        held.numbers.clear();
        paths_agree(run, session, &held).await?;
    }
    change(session, "DROP TABLE w.shaped").await
}

/// A change of the shape, with writes at the same time.
async fn beside(
    run: &Rc<Run>,
    session: &mut Session,
    hand: &mut Session,
    held: &mut Held,
    statement: &str,
) -> Result<(), String> {
    session.turn_away();
    let (shaped, wrote) = future::zip(change(session, statement), writes(run, hand, held)).await;
    shaped?;
    wrote
}

async fn writes(run: &Rc<Run>, hand: &mut Session, held: &mut Held) -> Result<(), String> {
    for _ in 0..WRITES {
        if run.is_broken() {
            return Ok(());
        }
        let value = held.fresh();
        let at = usize::try_from(hand.rng().below(held.rows.len().max(1) as u64)).unwrap_or(0);
        let victim = held.rows.keys().nth(at).copied().unwrap_or(0);
        let draw = hand.rng().below(10);
        let (sql, id, now) = match draw {
            0..5 => (format!("UPDATE w.shaped SET v = {value} WHERE id = {victim}"), victim, Some(value)),
            5..8 => (format!("INSERT INTO w.shaped (id, v) VALUES ({value}, {value}) RETURNING n"), value, Some(value)),
            _ => (format!("DELETE FROM w.shaped WHERE id = {victim}"), victim, None),
        };
        let request = hand.request_id();
        match hand.insist(&sql, &json!([]), Some(&request), None).await {
            Reply::Done(answer) if changed(&answer) == 1 => {
                if let Some(row) = rows_of(&answer).first() {
                    held.number(id, number(row, 0))?;
                }
            }
            Reply::Done(answer) => {
                return Err(format!("{sql} at node {} changed {} rows", hand.node() + 1, changed(&answer)));
            }
            Reply::Refused { state, message } => return Err(format!("{sql} was refused: {state} {message}")),
            Reply::NotNow | Reply::Lost | Reply::Open => return Ok(()),
        }
        match now {
            Some(value) => held.rows.insert(id, value),
            None => {
                held.numbers.remove(&id);
                held.rows.remove(&id)
            }
        };
    }
    Ok(())
}

/// The whole table, single values, a range, and values that are gone.
async fn paths_agree(run: &Rc<Run>, session: &mut Session, held: &Held) -> Result<(), String> {
    session.turn_away();
    let rows = session.rows("SELECT id, v, n FROM w.shaped ORDER BY id", &json!([])).await;
    let Some(rows) = unless_broken(run, rows)? else { return Ok(()) };
    let of = |place: usize| rows.iter().map(|row| (number(row, 0), number(row, place))).collect::<BTreeMap<i64, i64>>();
    if of(1) != held.rows || of(2) != held.numbers || rows.len() != held.rows.len() {
        let node = session.node() + 1;
        return Err(format!("node {node} shows {rows:?}; it should be {:?}, numbered {:?}", held.rows, held.numbers));
    }
    let gone = (101..=held.next).filter(|value| !held.rows.values().any(|held| held == value));
    let wanted: Vec<(i64, Option<i64>)> =
        held.rows.iter().map(|(id, value)| (*value, Some(*id))).chain(gone.map(|value| (value, None))).collect();
    for _ in 0..LOOKED_UP {
        let at = usize::try_from(session.rng().below(wanted.len().max(1) as u64)).unwrap_or(0);
        let Some((value, id)) = wanted.get(at) else { continue };
        let found = session.rows("SELECT id FROM w.shaped WHERE v = $1", &json!([value])).await;
        let Some(found) = unless_broken(run, found)? else { return Ok(()) };
        let ids: Vec<i64> = found.iter().map(|row| number(row, 0)).collect();
        if ids != Vec::from_iter(*id) {
            return Err(format!("node {}: v = {value} finds {ids:?}; it should be {id:?}", session.node() + 1));
        }
    }
    let middle = i64::midpoint(100, held.next);
    let counted = session.rows("SELECT count(*) FROM w.shaped WHERE v > $1", &json!([middle])).await;
    let Some(counted) = unless_broken(run, counted)? else { return Ok(()) };
    let (count, wanted) =
        (counted.first().map_or(-1, |row| number(row, 0)), held.rows.values().filter(|value| **value > middle).count());
    if usize::try_from(count).ok() != Some(wanted) {
        return Err(format!("node {}: {count} rows lie above {middle}; it should be {wanted}", session.node() + 1));
    }
    Ok(())
}

/// A statement under a request id, until it is done.
async fn change(session: &mut Session, sql: &str) -> Result<(), String> {
    let request = session.request_id();
    match session.insist(sql, &json!([]), Some(&request), None).await {
        Reply::Refused { state, message } => Err(format!("{sql} was refused: {state} {message}")),
        Reply::Done(_) | Reply::NotNow | Reply::Lost | Reply::Open => Ok(()),
    }
}

/// A statement that must be refused so, however often it is sent.
async fn refused(run: &Rc<Run>, session: &mut Session, sql: &str, with: &str) -> Result<(), String> {
    session.turn_away();
    let request = session.request_id();
    match session.insist(sql, &json!([]), Some(&request), None).await {
        Reply::Refused { state, .. } if state == with => {
            run.mark("changes_refused_as_they_should_be");
            Ok(())
        }
        Reply::Refused { state, message } => {
            Err(format!("{sql} was refused with {state} {message}; it should be {with}"))
        }
        Reply::Done(_) => Err(format!("{sql} was done; it should be refused with {with}")),
        Reply::NotNow | Reply::Lost | Reply::Open => Ok(()),
    }
}

fn unless_broken<T>(run: &Run, outcome: Result<T, String>) -> Result<Option<T>, String> {
    if run.is_broken() { Ok(None) } else { outcome.map(Some) }
}
