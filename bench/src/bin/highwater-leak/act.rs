//! What a user tries next, and what an answer to it may show.

use std::collections::{BTreeMap, BTreeSet};

use highwater_bench::generate::expression::{pick, word};
use highwater_bench::generate::statement::{Statement, statement};
use highwater_bench::generate::tables::TABLES;
use highwater_runtime::rng::Rng;
use serde_json::{Value, json};

use crate::house::{Role, Space, USERS, User};
use crate::mark::Owner;

/// What must come of it, as docs/rights.md has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// It may: whatever is wrong with it, it is not the rights.
    May,
    /// It may not: it must be refused.
    MayNot,
}

/// Where it is sent.
#[derive(Clone, Debug)]
pub(crate) enum Way {
    /// POST /v1/api/sql.
    Sql {
        /// The text.
        sql: String,
        /// Its parameters.
        params: Vec<Value>,
    },
    /// Another path.
    Post {
        /// The path.
        path: &'static str,
        /// The body.
        body: Value,
    },
}

/// Something that a user tries.
#[derive(Clone, Debug)]
pub(crate) struct Act {
    /// What it is an example of.
    pub(crate) form: &'static str,
    /// What is sent.
    pub(crate) way: Way,
    /// Whether it may.
    pub(crate) right: Right,
    /// Whose marks its answer may show.
    pub(crate) visible: BTreeSet<Owner>,
    /// It reads the user's own tables and nothing else: nobody else's changes may change its answer.
    pub(crate) is_own_read: bool,
    /// It may change the user's own rows.
    pub(crate) changes_own: bool,
    /// All columns decide the order of its rows.
    pub(crate) is_ordered: bool,
}

/// The next act of `user`.
pub(crate) fn act(rng: &mut Rng, user: &User) -> Act {
    match rng.below(100) {
        0..58 => generated(rng, user, false),
        58..64 => generated(rng, user, true),
        64..72 => failing(rng, user),
        72..78 => by_parameter(rng, user),
        78..82 => execute_as(rng, user),
        82..86 => topics(rng, user),
        86..89 => of_the_system(rng, user),
        89..92 => definitions(rng, user),
        92..95 => stream(rng, user),
        95..99 => batch(rng, user),
        _ => sql(user, "large answers", "SELECT id, body FROM big".to_owned()).own_read(),
    }
}

/// A statement that may be sent, and shows what its user may read anyway.
pub(crate) fn sql(user: &User, form: &'static str, text: String) -> Act {
    let mut visible = BTreeSet::from([user.owner]);
    // What may be read anyway: what a role sees of SHARED tables is no secret in an error's text.
    visible.extend(Space::SHARED.into_iter().filter(|space| space.readers() <= user.role).filter_map(Space::owner));
    let way = Way::Sql { sql: text, params: Vec::new() };
    Act { form, way, right: Right::May, visible, is_own_read: false, changes_own: false, is_ordered: false }
}

impl Act {
    fn own_read(mut self) -> Self {
        self.is_own_read = true;
        self
    }

    /// It may, or it must be refused.
    pub(crate) fn only(mut self, may: bool) -> Self {
        self.right = if may { Right::May } else { Right::MayNot };
        self
    }

    /// Everyone's marks may come: a topic on a USER table carries all users' rows, and what these took from SHARED tables; a dba reads
    /// the audit log.
    fn everyones(mut self) -> Self {
        self.visible.extend((0..USERS).map(Owner));
        self.visible.extend(Space::SHARED.into_iter().filter_map(Space::owner));
        self
    }
}

fn space(rng: &mut Rng) -> Space {
    match rng.below(20) {
        0..14 => Space::Own,
        14..17 => Space::Open,
        17..19 => Space::Closed,
        _ => Space::Vault,
    }
}

/// A statement's text with each of the generator's tables in a namespace of its own drawing; which ones were named. What goes into a
/// SHARED table comes from the same house: its rows must show nobody else's marks.
fn placed(rng: &mut Rng, statement: &Statement) -> (String, BTreeMap<&'static str, Space>) {
    let text = statement.sql.as_str();
    let target = statement.target.map(|name| (name, space(rng)));
    let mut used: BTreeMap<&'static str, Space> = target.into_iter().collect();
    let house = target.map(|(_, space)| space).filter(|space| *space != Space::Own);
    let (mut out, mut rest) = (String::with_capacity(text.len() + 32), text);
    let mut is_quoted = false;
    while let Some(character) = rest.chars().next() {
        let length = rest.find(|other: char| !(other.is_ascii_alphanumeric() || other == '_')).unwrap_or(rest.len());
        let (piece, behind) = rest.split_at(length.max(character.len_utf8()));
        let table = TABLES.iter().map(|table| table.name).find(|name| *name == piece);
        match table {
            Some(name) if !is_quoted && !behind.starts_with('.') => {
                let space = *used.entry(name).or_insert_with(|| house.unwrap_or_else(|| space(rng)));
                out += space.name();
                out.push('.');
            }
            _ => is_quoted ^= piece == "'",
        }
        out += piece;
        rest = behind;
    }
    (out, used)
}

/// A statement of the differential test.
pub(crate) fn generated(rng: &mut Rng, user: &User, explained: bool) -> Act {
    let statement = statement(rng);
    let (text, used) = placed(rng, &statement);
    let is_own = used.values().all(|space| *space == Space::Own);
    // The values of a change become rows of the changed table's owner.
    let target = statement.target.and_then(|name| used.get(name).copied());
    let owner = target.and_then(Space::owner).unwrap_or(user.owner);
    let readers = used.values().map(|space| space.readers()).max().unwrap_or(Role::User);
    let needed = readers.max(target.map_or(Role::User, Space::writers));
    let text = owner.mark(&text);
    let text = match (explained, statement.is_query) {
        (false, _) => text,
        (true, false) => format!("EXPLAIN {text}"),
        (true, true) => format!("{}{text}", word(rng, &["EXPLAIN ", "EXPLAIN ANALYZE "])),
    };
    let mut act = sql(user, if explained { "EXPLAIN" } else { statement.form }, text).only(needed <= user.role);
    // Its own text may be quoted back.
    act.visible.insert(owner);
    act.is_own_read = is_own && statement.is_query && !explained;
    act.changes_own = target == Some(Space::Own) && !explained;
    act.is_ordered = statement.is_ordered;
    act
}

/// Statements that fail over a value of a row, or may: errors quote values.
fn failing(rng: &mut Rng, user: &User) -> Act {
    let column = word(rng, &["s", "v"]);
    let (text, changes) = match rng.below(12) {
        0 => (format!("SELECT CAST({column} AS INT) FROM people"), false),
        1 => (format!("SELECT CAST({column} AS UUID) FROM people WHERE id > {}", rng.below(40)), false),
        2 => ("SELECT (SELECT c FROM places)".to_owned(), false),
        3 => (format!("INSERT INTO people (id, n, s) VALUES ({}, 1, 'ab')", rng.below(40)), true),
        4 => (format!("UPDATE people SET n = n + 100 WHERE id = {}", rng.below(40)), true),
        5 => ("UPDATE people SET v = v || v || v || v".to_owned(), true),
        6 => ("UPDATE orders SET s = NULL WHERE k = 3".to_owned(), true),
        7 => ("SELECT max(CAST(c AS DATE)) FROM places".to_owned(), false),
        8 => ("UPDATE places SET c = 'ab'".to_owned(), true),
        9 => ("SELECT s.nothing FROM people s".to_owned(), false),
        10 => ("SELECT CAST(CAST(u AS TEXT) AS DECIMAL) FROM things".to_owned(), false),
        _ => (format!("SELECT {column} FROM people WHERE CAST({column} AS TIMESTAMP) > now()"), false),
    };
    let mut act = sql(user, "errors", user.owner.mark(&text));
    act.changes_own = changes;
    act
}

/// The same texts by everyone: what a core keeps of a text must not be another user's.
fn by_parameter(rng: &mut Rng, user: &User) -> Act {
    let text = word(
        rng,
        &[
            "SELECT id, s FROM people WHERE id = $1",
            "SELECT p.s, o.s FROM people p JOIN orders o ON o.person = p.id WHERE o.k > $1",
            "SELECT count(*), min(s) FROM orders WHERE k >= $1",
            "SELECT body FROM big WHERE id = $1",
        ],
    );
    let mut act = sql(user, "parameters", text.to_owned()).own_read();
    act.way = Way::Sql { sql: text.to_owned(), params: vec![json!(rng.below(30))] };
    act
}

fn another(rng: &mut Rng) -> u8 {
    u8::try_from(rng.below(u64::from(USERS))).unwrap_or(0)
}

fn execute_as(rng: &mut Rng, user: &User) -> Act {
    let other = another(rng);
    let role = match other {
        0..15 => Role::User,
        15..18 => Role::Service,
        _ => Role::Dba,
    };
    let name = format!("u{other:02}");
    let inner =
        word(rng, &["SELECT s FROM people", "SELECT count(*) FROM orders", "SELECT body FROM big WHERE id < 3"]);
    let form = word(rng, &["EXECUTE AS", "EXECUTE AS USER"]);
    let may = user.name == name || role < user.role;
    let mut act = sql(user, "EXECUTE AS", format!("{form} '{name}' ({inner})")).only(may);
    if may {
        act.visible.insert(Owner(other));
    }
    act
}

fn topics(rng: &mut Rng, user: &User) -> Act {
    let may = user.role >= Role::Service;
    let mut act = match rng.below(5) {
        0 => sql(user, "topics", "CONSUME FROM own.events FROM EARLIEST LIMIT 20".to_owned()),
        1 => sql(user, "topics", format!("CONSUME FROM own.events GROUP 'g{}' LIMIT 20", rng.below(3))),
        2 => sql(user, "topics", "ACK own.events GROUP 'g0' UPTO OFFSET 0".to_owned()),
        3 => {
            let body = json!({"topic_id": "own.events", "group_id": "h", "start": "Earliest", "limit": 10});
            Act { way: Way::Post { path: "/v1/api/topics/consume", body }, ..sql(user, "topics", String::new()) }
        }
        _ => {
            let body = json!({"topic_id": "own.events", "group_id": "h", "partition_id": 0, "upto_offset": 1});
            Act { way: Way::Post { path: "/v1/api/topics/ack", body }, ..sql(user, "topics", String::new()) }
        }
    };
    act = act.only(may);
    if may { act.everyones() } else { act }
}

fn of_the_system(rng: &mut Rng, user: &User) -> Act {
    let text = word(
        rng,
        &[
            "SELECT * FROM system.users",
            "SELECT * FROM system.tables",
            "SELECT * FROM system.columns",
            "SELECT * FROM system.topic_offsets",
            "SELECT * FROM system.jobs",
            "SELECT * FROM system.audit_log LIMIT 50",
            "SHOW USERS",
            "SHOW TABLES",
            "DESCRIBE own.people",
            "SHOW TOPICS",
        ],
    );
    let act = sql(user, "system", text.to_owned()).only(user.role >= Role::Dba);
    if user.role >= Role::Dba { act.everyones() } else { act }
}

/// What would open the house; dbas are not asked.
fn definitions(rng: &mut Rng, user: &User) -> Act {
    if user.role >= Role::Dba {
        return of_the_system(rng, user);
    }
    let name = format!("u{:02}", another(rng));
    let text = match rng.below(9) {
        0 => "DROP TABLE own.people".to_owned(),
        1 => "ALTER TABLE closed.people SET (ACCESS_LEVEL = 'PUBLIC')".to_owned(),
        2 => "CREATE INDEX mine ON own.people (n)".to_owned(),
        3 => format!("ALTER USER {} SET ROLE dba", user.name),
        4 if name != user.name => format!("ALTER USER {name} SET PASSWORD 'another password'"),
        5 => format!("DROP USER {name}"),
        6 => "CREATE TOPIC own.mine".to_owned(),
        7 => "TRUNCATE TABLE closed.people".to_owned(),
        _ => "CREATE TABLE own.mine AS SELECT s FROM closed.people".to_owned(),
    };
    let may = text.starts_with("TRUNCATE") && user.role >= Role::Service;
    sql(user, "definitions", text).only(may)
}

fn stream(rng: &mut Rng, user: &User) -> Act {
    if rng.chance(0.4) {
        let letter = user.owner.letter();
        let text = format!("INSERT INTO feed VALUES ({}, '{letter}{letter}')", 5 + rng.below(1000));
        let mut act = sql(user, "STREAM", text);
        act.changes_own = true;
        return act;
    }
    sql(user, "STREAM", word(rng, &["SELECT id, body FROM feed", "SELECT count(*) FROM feed"]).to_owned()).own_read()
}

/// Several statements at once: what one of them may says nothing of the next.
fn batch(rng: &mut Rng, user: &User) -> Act {
    let first = generated(rng, user, false);
    let second = generated(rng, user, false);
    let third = execute_as(rng, user);
    let parts: Vec<&Act> = if rng.chance(0.2) { vec![&third, &first, &second] } else { vec![&first, &second] };
    let texts: Vec<&str> = parts
        .iter()
        .filter_map(|act| match &act.way {
            Way::Sql { sql, .. } => Some(sql.as_str()),
            Way::Post { .. } => None,
        })
        .collect();
    let joined = texts.join("; ");
    let text = match rng.below(10) {
        0..=4 => joined,
        5 | 6 => format!("BEGIN; {joined}; COMMIT"),
        7 => format!("BEGIN; {joined}; ROLLBACK"),
        8 => format!("BEGIN; {}; COMMIT", texts.join("; SAVEPOINT a; ")),
        _ => {
            format!("BEGIN; {}; COMMIT", texts.join("; SAVEPOINT a; ") + "; ROLLBACK TO a; SELECT count(*) FROM people")
        }
    };
    let mut act = sql(user, "batches", text).only(parts.iter().all(|part| part.right == Right::May));
    for part in &parts {
        act.visible.extend(&part.visible);
    }
    act.changes_own = parts.iter().any(|part| part.changes_own);
    act
}

/// A name that few have to share, for a column that is UNIQUE for each user.
pub(crate) fn name(rng: &mut Rng) -> &'static str {
    pick(rng, &["ann", "ben", "cid", "dan", "eve", "fay", "gus", "hal"]).copied().unwrap_or("ann")
}
