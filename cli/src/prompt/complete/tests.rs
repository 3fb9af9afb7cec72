//! Completion given a catalog; `|` is the cursor.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::super::catalog::system_tables;
use super::*;

fn catalog() -> Catalog {
    let table = |namespace: &str, name: &str, kind: &str, columns: &[(&str, &str)]| Table {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        kind: kind.to_owned(),
        columns: columns.iter().map(|(name, data_type)| ((*name).to_owned(), (*data_type).to_owned())).collect(),
    };
    let mut tables = system_tables();
    tables.push(table(
        "app",
        "messages",
        "user",
        &[("id", "BIGINT"), ("room", "INT"), ("body", "TEXT"), ("Odd Name", "TEXT")],
    ));
    tables.push(table("app", "members", "shared", &[("id", "BIGINT"), ("email", "TEXT")]));
    tables.push(table("default", "notes", "user", &[("note_id", "BIGINT")]));
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Catalog {
        namespaces: texts(&["app", "default"]),
        tables,
        topics: texts(&["app.events", "app.mails"]),
        users: texts(&["ann", "root"]),
        groups: texts(&["mailer"]),
        settings: texts(&["http.addr"]),
    }
}

fn at(marked: &str) -> Vec<String> {
    let at = marked.find('|').unwrap();
    let text = marked.replacen('|', "", 1);
    let variables = ["room".to_owned(), "who".to_owned()];
    let place = Place { text: &text, at, namespace: "default", variables: &variables };
    let found = suggestions(&catalog(), &place);
    for suggested in &found {
        assert!(suggested.start <= at && text.is_char_boundary(suggested.start), "{suggested:?}");
    }
    found.into_iter().map(|suggested| suggested.text).collect()
}

#[track_caller]
fn offers(marked: &str, wanted: &[&str]) {
    let found = at(marked);
    for wanted in wanted {
        assert!(found.iter().any(|text| text == wanted), "{marked}: no {wanted} in {found:?}");
    }
}

#[track_caller]
fn offers_only(marked: &str, wanted: &[&str]) {
    assert_eq!(at(marked), wanted, "{marked}");
}

#[test]
fn a_statement_begins_with_its_first_word() {
    offers("|", &["SELECT", "CREATE", "CONSUME"]);
    offers_only("SEL|", &["SELECT"]);
    offers_only("sel|", &["select"]);
    offers_only("SELECT 1; cons|", &["consume"]);
}

#[test]
fn the_grammar_says_what_follows() {
    offers("CREATE |", &["NAMESPACE", "TOPIC", "TABLE", "USER"]);
    offers_only("CREATE TOPIC app.t PART|", &["PARTITIONS"]);
    offers("DROP TOPIC |", &["app.events", "app.mails", "IF"]);
    offers("DROP TABLE |", &["notes", "app.messages", "app."]);
    offers("DROP NAMESPACE |", &["app", "default"]);
    offers("DROP USER |", &["ann", "root"]);
    offers_only("CONSUME FROM app.ev|", &["events"]);
}

#[test]
fn tables_follow_from_and_into() {
    offers("SELECT * FROM |", &["notes", "app.messages", "app.members", "app.", "system."]);
    offers_only("SELECT * FROM app.me|", &["messages", "members"]);
    offers_only("INSERT INTO no|", &["notes"]);
    offers("SELECT * FROM mess|", &["app.messages"]);
    offers("SELECT * FROM app.messages, app.mem|", &["members"]);
    offers("SELECT * FROM system.top|", &["topics", "topic_offsets"]);
}

#[test]
fn columns_come_from_the_tables_that_are_named_anywhere() {
    offers("SELECT | FROM app.messages", &["id", "room", "body", "\"Odd Name\""]);
    offers_only("SELECT ro| FROM app.messages", &["room", "round("]);
    offers_only("SELECT m.b| FROM app.messages m", &["body"]);
    offers_only("SELECT m.| FROM app.members AS m JOIN app.messages x ON x.id = m.id", &["id", "email"]);
    offers_only("SELECT app.members.e| FROM app.members", &["email"]);
    offers("SELECT * FROM app.messages WHERE |", &["room", "AND", "NOT"]);
    offers_only("UPDATE notes SET note|", &["note_id"]);
    offers("SELECT coun|", &["count("]);
    offers_only("SELECT \"odd| FROM app.messages", &[]);
    offers_only("SELECT * FROM app.messages WHERE \"odd|", &["\"Odd Name\""]);
}

#[test]
fn columns_come_before_everything_else() {
    for marked in [
        "SELECT | FROM app.members",
        "SELECT id, | FROM app.members WHERE true",
        "INSERT INTO app.members (|",
        "INSERT INTO app.members (|)",
        "INSERT INTO app.members (|) VALUES (1)",
        "UPDATE app.members SET |",
        "UPDATE app.members SET | WHERE id = 1",
        "DELETE FROM app.members WHERE |",
    ] {
        let found = at(marked);
        assert_eq!(found[..2], ["id", "email"], "{marked}: {found:?}");
    }
    for alone in [
        "INSERT INTO app.members (e|",
        "INSERT INTO app.members (id, e|",
        "INSERT INTO app.members AS m (id, e|) VALUES (1, 'x')",
        "UPDATE app.members SET e|",
        "UPDATE app.members SET e| WHERE id = 1",
    ] {
        offers_only(alone, &["email"]);
    }
    offers("INSERT INTO app.members (SEL|", &["SELECT"]);
    offers("INSERT INTO app.members (id) VALUES (low|", &["lower("]);
    offers("INSERT INTO app.members (SELECT low|", &["lower("]);
}

#[test]
fn nothing_is_offered_inside_of_texts_comments_and_numbers() {
    for marked in ["SELECT 'sel|", "-- sel|", "/* sel|", "SELECT 12|", "SELECT $1|", "SELECT $$sel|"] {
        offers_only(marked, &[]);
    }
}

#[test]
fn commands_complete_their_names_and_arguments() {
    offers_only("\\tim|", &["timing"]);
    offers("\\d|", &["d", "dt", "dtopic"]);
    offers_only("\\d app.mem|", &["app.members"]);
    offers_only("\\consume app.e|", &["app.events"]);
    offers_only("\\consume app.events m|", &["mailer"]);
    offers_only("\\format js|", &["json", "jsonl"]);
    offers_only("\\h create top|", &["create topic"]);
    offers_only("\\use a|", &["app"]);
    offers_only("\\as an|", &["ann"]);
    offers("\\explain SELECT * FROM |", &["notes"]);
    offers_only("SELECT 1;\n\\x a|", &["auto"]);
}

#[test]
fn variables_follow_a_colon() {
    offers_only("SELECT :r|", &["room"]);
    offers_only("SELECT x::r|", &[]);
    offers_only("SELECT x::ti|", &["time", "timestamp"]);
}

#[test]
fn no_place_is_too_strange() {
    for text in [
        "",
        ";",
        "\\",
        "é",
        "SELECT é.日 FROM \"ä",
        "a.b.c.d.",
        ".",
        "FROM FROM",
        "\\d é",
        "日本;本",
        "SELECT (((",
        ":",
        "::",
    ] {
        for (at, _) in text.char_indices().chain([(text.len(), ' ')]) {
            let place = Place { text, at, namespace: "default", variables: &[] };
            for suggested in suggestions(&catalog(), &place) {
                assert!(suggested.start <= at && text.is_char_boundary(suggested.start), "{text} {at}");
            }
        }
    }
}
