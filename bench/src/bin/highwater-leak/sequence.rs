//! What takes several requests: transactions in sessions, and copies of tables.

use highwater_bench::generate::expression::{pick, word};
use highwater_runtime::rng::Rng;
use serde_json::Value;

use crate::act::{Act, Way, generated, sql};
use crate::failure::Failure;
use crate::house::{Role, User};
use crate::verdict::rows;
use crate::{Trial, short};

/// What of a user's rows must be as before when a transaction was rolled back.
const OWN_ROWS: &str = "SELECT id, s, v, n, k FROM people UNION ALL SELECT id, s, NULL, NULL, k FROM orders";

fn text_of(act: &Act) -> &str {
    match &act.way {
        Way::Sql { sql, .. } => sql,
        Way::Post { .. } => "",
    }
}

impl Trial<'_> {
    fn counted(&mut self, form: &'static str) {
        *self.tally.forms.entry(form).or_default() += 1;
        self.tally.statements += 1;
    }

    /// A transaction of several requests. What is rolled back leaves no trace, and nobody else gets into it.
    pub(crate) fn session(&mut self, rng: &mut Rng, user: &User, number: u64) -> Result<(), Failure> {
        self.read_again(user, number)?;
        *self.tally.forms.entry("sessions").or_default() += 1;
        let before = self.house.run(user, OWN_ROWS, &[], None)?;
        let begun = self.house.run(user, word(rng, &["BEGIN", "BEGIN", "BEGIN READ ONLY"]), &[], None)?;
        let answer: Value = serde_json::from_str(&begun.text).unwrap_or_default();
        let Some(session) = answer.get("session_id").and_then(Value::as_str).map(str::to_owned) else {
            self.violation(number, user, &format!("BEGIN gives no session: {}", short(&begun.text)));
            return Ok(());
        };
        let house = self.house;
        for _ in 0..2 + rng.below(5) {
            let act = match rng.below(9) {
                0 => sql(user, "savepoints", "SAVEPOINT a".to_owned()),
                1 | 2 => sql(user, "savepoints", word(rng, &["ROLLBACK TO a", "RELEASE a"]).to_owned()),
                _ => generated(rng, user, false),
            };
            if rng.chance(0.15)
                && let Some(other) = pick(rng, &house.users).filter(|other| other.owner != user.owner)
            {
                self.counted("another's session");
                let act = sql(other, "another's session", "SELECT s FROM people".to_owned());
                let reply = house.run_within(other, &session, text_of(&act))?;
                self.judged(other, number, &act, &reply);
                if reply.status == 200 {
                    self.violation(number, other, "it came into another user's session");
                }
            }
            self.counted("in sessions");
            let reply = house.run_within(user, &session, text_of(&act))?;
            self.judged(user, number, &act, &reply);
        }
        let end = word(rng, &["COMMIT", "COMMIT", "ROLLBACK"]);
        let reply = house.run_within(user, &session, end)?;
        let is_committed = reply.status == 200 && reply.text.contains("\"COMMIT\"");
        if end == "ROLLBACK" && is_committed {
            self.violation(number, user, "ROLLBACK was answered as COMMIT");
        }
        let after = house.run(user, OWN_ROWS, &[], None)?;
        if !is_committed && rows(&before, false) != rows(&after, false) {
            let what = format!(
                "{end}, answered with {}, left a trace\n  before {}\n  after  {}",
                short(&reply.text),
                short(&before.text),
                short(&after.text)
            );
            self.violation(number, user, &what);
        }
        Ok(())
    }

    /// CREATE TABLE ... AS by a dba: the copy has the own rows, and in a USER table nobody else sees them.
    pub(crate) fn copy(&mut self, rng: &mut Rng, user: &User, number: u64) -> Result<(), Failure> {
        self.counted("CREATE TABLE ... AS");
        let name = format!("copy_{}_{number}", user.name);
        let text = format!("CREATE USER TABLE own.{name} PRIMARY KEY (id) AS SELECT id, s FROM own.people");
        let act = sql(user, "CREATE TABLE ... AS", text).only(user.role >= Role::Dba);
        let reply = self.house.run(user, text_of(&act), &[], None)?;
        self.judged(user, number, &act, &reply);
        if reply.status != 200 {
            return Ok(());
        }
        let house = self.house;
        let readers = [Some(user), pick(rng, &house.users), pick(rng, &house.users)];
        for reader in readers.into_iter().flatten() {
            self.counted("reads of a copy");
            let act = sql(reader, "reads of a copy", format!("SELECT id, s FROM own.{name}"));
            let reply = house.run(reader, text_of(&act), &[], None)?;
            self.judged(reader, number, &act, &reply);
            let count = rows(&reply, false).len() - 1;
            if (count > 0) != (reader.owner == user.owner) && reply.status == 200 {
                self.violation(number, reader, &format!("{count} rows in the copy that {} made", user.name));
            }
        }
        let dropped = house.run(user, &format!("DROP TABLE own.{name}"), &[], None)?;
        if dropped.status != 200 {
            self.violation(number, user, &format!("the copy cannot be dropped: {}", short(&dropped.text)));
        }
        Ok(())
    }
}
