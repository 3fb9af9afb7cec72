//! A writer: changes and reads its own rows, and holds every answer against its model of them.

use std::rc::Rc;

use highwater_sim::model::{Change, Rows};
use highwater_sim::plan::{Action, Manner, Operation};
use serde_json::{Value, json};

use super::session::{Reply, Session, changed, number, rows_of, text};
use super::setup;
use super::shared::{Run, pause};

/// A body that several blocks of a table hold; four of them fit into an entry of the log.
const LONG: usize = 6_000;

/// The body of a row: follows from user, key and version, is now and then empty or very long, and else long enough to fill tables.
pub fn body(user: &str, key: i64, version: i64) -> String {
    let length = match (key * 13 + version * 5).rem_euclid(41) {
        0 => return String::new(),
        1 => LONG,
        _ => usize::try_from((key * 31 + version * 17).rem_euclid(180)).unwrap_or(0),
    };
    let unit = format!("{user}/{key}/{version}/");
    unit.chars().cycle().take(unit.len() + length).collect()
}

/// The body of rows that one statement gave the same body.
pub fn range_body(user: &str, version: i64) -> String {
    format!("{user}/range/{version}")
}

/// Whether a body is one that this user gave to this key in this version.
pub fn is_body(found: &str, user: &str, key: i64, version: i64) -> bool {
    found == body(user, key, version) || found == range_body(user, version)
}

/// Carries out a writer's operations.
pub async fn write(run: Rc<Run>, number: usize) {
    let user = setup::writer(number);
    let mut writer = Writer { session: setup::session(&run, &user), run: Rc::clone(&run), user, version: 0 };
    for operation in run.plan.writers.get(number).into_iter().flatten().filter(|operation| !operation.is_left_out) {
        run.pause(operation.pause).await;
        if let Err(reason) = writer.operate(operation).await {
            run.violation(format!("{}: {operation:?}: {reason}", writer.user));
        }
        if run.is_broken() {
            return;
        }
    }
}

/// A change that a statement makes, with what is expected of it.
struct Statement {
    sql: String,
    params: Value,
    changes: Vec<(Change, i64, i64)>,
    /// The SQLSTATE with which it must be refused, if it must.
    refused: Option<&'static str>,
    keys: Vec<i64>,
}

struct Writer {
    run: Rc<Run>,
    session: Session,
    user: String,
    /// Of the last statement.
    version: i64,
}

impl Writer {
    fn model<T>(&self, look: impl FnOnce(&mut Rows) -> T) -> T {
        look(self.run.rows.borrow_mut().entry(self.user.clone()).or_default())
    }

    async fn operate(&mut self, operation: &Operation) -> Result<(), String> {
        match &operation.action {
            Action::Get(key) => self.read(*key, *key + 1, true).await,
            Action::Scan(from, to) => self.read(*from, *to, false).await,
            Action::Insert(_) | Action::Update(_) | Action::UpdateRange(..) | Action::Delete(_) => {
                let statement = self.statement(&operation.action);
                let unclear = self.model(|rows| statement.keys.iter().any(|key| rows.is_unclear(*key)));
                if unclear { Ok(()) } else { self.change(statement, operation.manner).await }
            }
            Action::Add(_) | Action::Look(_) | Action::Set(_) | Action::Peek(_) => Ok(()),
        }
    }

    /// A read of own rows sees exactly what this user's acknowledged writes left.
    async fn read(&mut self, from: i64, to: i64, by_key: bool) -> Result<(), String> {
        let expected = self.model(|rows| rows.range(from, to));
        let rows = if by_key {
            self.session.rows("SELECT id, v, body FROM w.items WHERE id = $1", &json!([from])).await
        } else {
            let sql = "SELECT id, v, body FROM w.items WHERE id >= $1 AND id < $2 ORDER BY id";
            self.session.rows(sql, &json!([from, to])).await
        };
        let Some(rows) = self.unless_broken(rows)? else { return Ok(()) };
        self.run.mark("reads_checked");
        self.run.read_at(self.session.node());
        self.model(|model| compare(&self.user, model, &expected, &rows))
    }

    fn unless_broken<T>(&self, outcome: Result<T, String>) -> Result<Option<T>, String> {
        if self.run.is_broken() { Ok(None) } else { outcome.map(Some) }
    }

    fn statement(&mut self, action: &Action) -> Statement {
        self.version += 1;
        let version = self.version;
        let present = |key: i64| self.model(|rows| rows.get(key));
        match action {
            Action::Insert(keys) => {
                let places: Vec<String> =
                    (0..keys.len()).map(|at| format!("(${}, ${}, ${})", at * 3 + 1, at * 3 + 2, at * 3 + 3)).collect();
                let params: Vec<Value> = keys
                    .iter()
                    .flat_map(|key| [json!(key), json!(version), json!(body(&self.user, *key, version))])
                    .collect();
                let taken = keys.iter().any(|key| present(*key).is_some());
                Statement {
                    sql: format!("INSERT INTO w.items (id, v, body) VALUES {}", places.join(", ")),
                    params: json!(params),
                    changes: keys.iter().map(|key| (Change::Insert, *key, version)).collect(),
                    refused: taken.then_some("23505"),
                    keys: keys.clone(),
                }
            }
            Action::UpdateRange(from, to) => Statement {
                sql: "UPDATE w.items SET v = $1, body = $2 WHERE id >= $3 AND id < $4".to_owned(),
                params: json!([version, range_body(&self.user, version), from, to]),
                changes: self
                    .model(|rows| rows.range(*from, *to))
                    .iter()
                    .map(|(key, _)| (Change::Update, *key, version))
                    .collect(),
                refused: None,
                keys: (*from..*to).collect(),
            },
            Action::Delete(key) => Statement {
                sql: "DELETE FROM w.items WHERE id = $1".to_owned(),
                params: json!([key]),
                changes: present(*key).iter().map(|old| (Change::Delete, *key, *old)).collect(),
                refused: None,
                keys: vec![*key],
            },
            Action::Update(key)
            | Action::Get(key)
            | Action::Scan(key, _)
            | Action::Add(key)
            | Action::Look(key)
            | Action::Set(key)
            | Action::Peek(key) => Statement {
                sql: "UPDATE w.items SET v = $2, body = $3 WHERE id = $1".to_owned(),
                params: json!([key, version, body(&self.user, *key, version)]),
                changes: present(*key).iter().map(|_| (Change::Update, *key, version)).collect(),
                refused: None,
                keys: vec![*key],
            },
        }
    }

    async fn change(&mut self, statement: Statement, manner: Manner) -> Result<(), String> {
        let reply = match manner {
            Manner::Retry | Manner::Impatient(_) => {
                let id = self.session.request_id();
                let patience = if let Manner::Impatient(patience) = manner { Some(patience) } else { None };
                self.session.insist(&statement.sql, &statement.params, Some(&id), patience).await
            }
            Manner::Once => loop {
                let reply = self.session.sql(&statement.sql, &statement.params, None, None).await;
                if !matches!(reply, Reply::NotNow) || self.run.is_broken() {
                    break reply;
                }
                pause(5_000).await;
            },
        };
        if self.run.is_broken() {
            return Ok(());
        }
        match (reply, statement.refused) {
            (Reply::Done(answer), None) => {
                let count = changed(&answer);
                if count != statement.changes.len() as u64 {
                    return Err(format!("{count} rows were changed; it should be {}", statement.changes.len()));
                }
                if count > 0 {
                    self.run.acknowledge_write();
                    self.run.acknowledged_at(self.session.node());
                }
                self.model(|rows| rows.apply(&statement.changes));
                Ok(())
            }
            (Reply::Done(_), Some(state)) => Err(format!("it was done; it should be refused with {state}")),
            (Reply::Refused { state, .. }, Some(expected)) if state == expected => {
                self.run.mark("refusals_expected");
                Ok(())
            }
            (Reply::Refused { state, message }, _) => Err(format!("it was refused: {state} {message}")),
            (_, Some(_)) => Ok(()),
            (Reply::Open, None) => {
                self.run.mark("outcomes_open");
                self.model(|rows| rows.give_up(statement.keys));
                Ok(())
            }
            (Reply::Lost | Reply::NotNow, None) => self.look_up(statement).await,
        }
    }

    /// The answer is lost for good: the rows tell whether the statement was applied, wholly or not at all.
    async fn look_up(&mut self, statement: Statement) -> Result<(), String> {
        let (Some(from), Some(last)) = (statement.keys.iter().min(), statement.keys.iter().max()) else {
            return Ok(());
        };
        let sql = "SELECT id, v, body FROM w.items WHERE id >= $1 AND id < $2 ORDER BY id";
        let found = self.session.rows(sql, &json!([from, last + 1])).await;
        let Some(found) = self.unless_broken(found)? else { return Ok(()) };
        let version_of = |key: i64| found.iter().find(|row| number(row, 0) == key).map(|row| number(row, 1));
        let is_there = |(change, key, version): &(Change, i64, i64)| match change {
            Change::Insert | Change::Update => version_of(*key) == Some(*version),
            Change::Delete => version_of(*key).is_none(),
        };
        let there = statement.changes.iter().filter(|change| is_there(change)).count();
        if there == statement.changes.len() && there > 0 {
            self.run.mark("lost_and_applied");
            self.model(|rows| rows.apply(&statement.changes));
        } else if there == 0 {
            self.run.mark("lost_and_not_applied");
        } else {
            return Err(format!("of {} changes of one statement {there} are there", statement.changes.len()));
        }
        let expected = self.model(|rows| rows.range(*from, *last + 1));
        self.model(|model| compare(&self.user, model, &expected, &found))
    }
}

/// Rows as they were read, against those that are expected; keys of which nothing is known are left out.
pub fn compare(user: &str, model: &Rows, expected: &[(i64, i64)], found: &[Vec<Value>]) -> Result<(), String> {
    let known = |key: &i64| !model.is_unclear(*key);
    let pairs: Vec<(i64, i64)> =
        found.iter().map(|row| (number(row, 0), number(row, 1))).filter(|(key, _)| known(key)).collect();
    let expected: Vec<(i64, i64)> = expected.iter().copied().filter(|(key, _)| known(key)).collect();
    if pairs != expected {
        return Err(format!("read (key, version) {pairs:?}; it should be {expected:?}"));
    }
    for row in found {
        let (key, version) = (number(row, 0), number(row, 1));
        if known(&key) && !is_body(text(row, 2), user, key, version) {
            return Err(format!("the body of key {key} version {version} is {:?}", text(row, 2)));
        }
    }
    Ok(())
}

/// Everything that a user reads of its rows on a node, against its model.
pub async fn check_all(run: &Rc<Run>, user: &str, node: usize) -> Result<(), String> {
    let mut session = setup::session(run, user).at(node);
    let answer = session.insist("SELECT id, v, body FROM w.items ORDER BY id", &json!([]), None, None).await;
    let Reply::Done(answer) = answer else { return Err(format!("{user}: the rows cannot be read: {answer:?}")) };
    let model = run.rows.borrow().get(user).cloned().unwrap_or_default();
    compare(user, &model, &model.all(), &rows_of(&answer)).map_err(|reason| format!("{user}: {reason}"))
}
