//! A user that comes, gets another password and goes, again and again under one name: when that is answered, no node takes a token from
//! before, neither to read nor to write, and every node knows the new password.

use std::rc::Rc;

use serde_json::{Value, json};

use super::definer::{change, unless_broken};
use super::session::{Reply, Session, number};
use super::shared::{Run, pause};

/// What the user writes to.
pub const TABLE: &str = "CREATE USER TABLE w.kept (id BIGINT PRIMARY KEY)";
/// The user.
const USER: &str = "kept";
/// Nodes at which an ended token is tried.
const TRIES: u32 = 3;
/// How long a change of the user waits for a node that is cut off, in microseconds: only such a one does not hear of it.
const WAITS: u64 = 1_500_000;
/// Pause between two looks for one, in microseconds.
const LOOK: u64 = 50_000;
const READ: &str = "SELECT id FROM w.kept ORDER BY id";
const WRITE: &str = "INSERT INTO w.kept (id) VALUES ($1)";

/// One life of the user. `root` makes the definitions.
pub async fn one_round(run: &Rc<Run>, root: &mut Session, round: i64) -> Result<(), String> {
    let (first, second) = (format!("the-first-of-{round}"), format!("the-second-of-{round}"));
    change(root, &format!("CREATE USER {USER} WITH PASSWORD '{first}' ROLE user")).await?;
    let mut session = Session::new(run, USER, USER, first);
    let request = session.request_id();
    let written = session.insist(WRITE, &json!([round]), Some(&request), None).await;
    if let Reply::Refused { state, message } = written {
        return Err(format!("a new user's insert was refused: {state} {message}"));
    }
    trouble(run).await;
    root.turn_away();
    change(root, &format!("ALTER USER {USER} SET PASSWORD '{second}'")).await?;
    ended(run, &mut session, round, "after a new password").await?;

    let mut session = Session::new(run, USER, USER, second);
    let rows = session.rows(READ, &json!([])).await;
    let Some(rows) = unless_broken(run, rows)? else { return Ok(()) };
    if rows.last().is_none_or(|row| number(row, 0) != round) {
        return Err(format!("the user's rows are {rows:?}; the last should be {round}"));
    }
    trouble(run).await;
    root.turn_away();
    change(root, &format!("DROP USER {USER}")).await?;
    ended(run, &mut session, round, "after the user was dropped").await
}

/// Waits for a while until a node is in trouble, if that can be.
async fn trouble(run: &Run) {
    let mut waited = 0;
    while run.founders() > 1 && run.aim().is_none() && waited < WAITS {
        pause(LOOK).await;
        waited += LOOK;
    }
}

/// The session's token is worth nothing any more, on whichever node. The one in trouble is asked first: what it is asked while it is cut
/// off it may answer once it is not, and before it has heard.
async fn ended(run: &Run, session: &mut Session, round: i64, when: &str) -> Result<(), String> {
    let Some(token) = session.token() else { return Ok(()) };
    for at in 0..TRIES {
        match run.aim().filter(|_| at == 0) {
            Some(aim) => session.turn_to(aim.node),
            None => session.turn_away(),
        }
        let (sql, params): (&str, Value) =
            if at.is_multiple_of(2) { (READ, json!([])) } else { (WRITE, json!([-1 - round])) };
        if session.takes(&token, sql, &params).await? {
            return Err(format!("{sql} was answered by node {} with a token from before {when}", session.node() + 1));
        }
        if run.is_broken() {
            return Ok(());
        }
        run.mark("tokens_ended");
    }
    Ok(())
}
