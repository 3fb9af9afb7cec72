//! The prompt on a terminal: editing, completion, history, Ctrl-C and Ctrl-D, against a small server in the test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests of a client program: they start the program on a terminal and listen on a socket"
)]

#[path = "support/server.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod server;
#[path = "support/terminal.rs"]
mod terminal;

use std::path::Path;

use reedline::{History as _, SearchDirection, SearchQuery, SqliteBackedHistory};
use serde_json::{Value, json};

use server::{Server, plain, texts};
use terminal::Terminal;

const PROMPT: &str = "root=>";

/// As `plain`, with a catalog, a statement that never ends and one with a likely mistake.
fn talkative(path: &str, token: &str, body: &Value, number: usize) -> (u16, Value) {
    let sql = body["sql"].as_str().unwrap_or_default();
    if sql.starts_with("slow") {
        return (0, Value::Null);
    }
    if sql.contains("FROM system.tables") {
        return texts(&["namespace_id", "table_name", "table_type"], &[&["app", "messages", "user"]]);
    }
    if sql.contains("FROM system.columns") {
        let names = ["namespace_id", "table_name", "column_name", "data_type"];
        return texts(&names, &[&["app", "messages", "room", "INT"], &["app", "messages", "body", "TEXT"]]);
    }
    if sql.contains("FROM system.") {
        return texts(&["name"], &[]);
    }
    if sql.contains("bdy") {
        let details = json!({"sqlstate": "42703", "position": 8, "end": 11, "suggestions": ["body"]}).to_string();
        let error = json!({"code": "SQL_EXECUTION_ERROR", "message": "there is no column bdy", "details": details});
        return (400, json!({"status": "error", "results": [], "took": 0.1, "error": error}));
    }
    plain(path, token, body, number)
}

fn prompt(server: &Server, home: &Path) -> Terminal {
    let home = home.to_str().unwrap();
    let terminal = Terminal::start(
        &[],
        &[("HIGHWATER_URL", &server.url), ("HIGHWATER_PASSWORD", "secret"), ("HOME", home), ("NO_COLOR", "1")],
    );
    terminal.wait_for_last_line(PROMPT);
    terminal
}

#[test]
fn statements_are_edited_over_several_lines_until_they_are_finished() {
    let (server, home) = (Server::start(talkative), tempfile::tempdir().unwrap());
    let terminal = prompt(&server, home.path());
    terminal.send("SELECT (1x\x7f,\r");
    terminal.wait_for_last_line("->");
    terminal.send("';');\r");
    let screen = terminal.wait_for_text("(1 row)");
    assert!(screen.contains(" n\n───\n 7"), "{screen}");
    terminal.wait_for_last_line(PROMPT);
    assert_eq!(server.statements(), ["SELECT (1,\n';')"]);
    terminal.send("\\timing\r");
    terminal.wait_for_text("timing is on");
    terminal.wait_for_last_line(PROMPT);
    terminal.send("\x04");
    assert_eq!(terminal.end(), 0, "Ctrl-D leaves");
}

#[test]
fn tab_completes_from_what_the_server_has() {
    let (server, home) = (Server::start(talkative), tempfile::tempdir().unwrap());
    let terminal = prompt(&server, home.path());
    terminal.send("SEL\t");
    terminal.wait_for_last_line("root=> SELECT");
    terminal.send("* FROM mess\t");
    terminal.wait_for_last_line("root=> SELECT * FROM app.messages");
    terminal.send("WHERE bod\t");
    terminal.wait_for_last_line("root=> SELECT * FROM app.messages WHERE body");
    terminal.send(" = 'x' OR \t");
    terminal.wait_for_text("INT, app.messages");
    terminal.send("\t");
    terminal.wait_for_text("TEXT, app.messages");
    terminal.send("\x03");
    terminal.wait_for("a new prompt", |screen| screen.matches(PROMPT).count() == 2);
    terminal.send("\\q\r");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn tab_looks_at_what_follows_the_cursor() {
    let (server, home) = (Server::start(talkative), tempfile::tempdir().unwrap());
    let terminal = prompt(&server, home.path());
    terminal.send("SELECT  FROM app.messages\x01");
    terminal.send(&"\x1b[C".repeat("SELECT ".len()));
    terminal.send("roo\t");
    terminal.wait_for_last_line("root=> SELECT room FROM app.messages");
    terminal.send("\x03");
    terminal.wait_for("a new prompt", |screen| screen.matches(PROMPT).count() == 2);
    terminal.send("INSERT INTO app.messages (\t");
    terminal.wait_for_text("INT, app.messages");
    terminal.send("\x03");
    terminal.wait_for("a new prompt", |screen| screen.matches(PROMPT).count() == 3);
    terminal.send("UPDATE app.messages SET bo\t");
    terminal.wait_for_last_line("root=> UPDATE app.messages SET body");
}

#[test]
fn tab_writes_a_statement_as_it_was_meant() {
    let (server, home) = (Server::start(talkative), tempfile::tempdir().unwrap());
    let terminal = prompt(&server, home.path());
    terminal.send("SELECT bdy FROM app.messages;\r");
    terminal.wait_for_text("hint: did you mean body?");
    terminal.wait_for_last_line(PROMPT);
    terminal.send("\t");
    terminal.wait_for_last_line("root=> SELECT body FROM app.messages;");
    terminal.send("\r");
    terminal.wait_for_text("(1 row)");
    assert_eq!(server.statements().last().unwrap(), "SELECT body FROM app.messages");
}

#[test]
fn history_outlives_the_shell_and_is_its_owners_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let (server, home) = (Server::start(talkative), tempfile::tempdir().unwrap());
    let terminal = prompt(&server, home.path());
    terminal.send("SELECT 41;\r");
    terminal.wait_for_text("(1 row)");
    terminal.wait_for_last_line(PROMPT);
    terminal.send("\x1b[A");
    terminal.wait_for_last_line("root=> SELECT 41;");
    terminal.send("\x7f\x7f2;\r");
    terminal.wait_for("a second result", |screen| screen.matches("(1 row)").count() == 2);
    terminal.wait_for_last_line(PROMPT);
    terminal.send("\x04");
    assert_eq!(terminal.end(), 0);
    assert_eq!(server.statements(), ["SELECT 41", "SELECT 42"]);
    for file in std::fs::read_dir(home.path()).unwrap().map(Result::unwrap) {
        assert!(file.file_name().to_str().unwrap().starts_with(".highwater_history.db"), "{file:?}");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }

    let terminal = prompt(&server, home.path());
    terminal.send("\x1b[A\x1b[A");
    terminal.wait_for_last_line("root=> SELECT 41;");
}

#[test]
fn prompts_that_are_open_together_do_not_interfere() {
    let (server, home) = (Server::start(talkative), tempfile::tempdir().unwrap());
    let (first, second) = (prompt(&server, home.path()), prompt(&server, home.path()));
    for (terminal, statement) in [(&first, "SELECT 1;\r"), (&second, "SELECT 2;\r"), (&first, "SELECT 3;\r")] {
        terminal.send(statement);
        terminal.wait_for_text("(1 row)");
        terminal.wait_for_last_line(PROMPT);
    }
    server.wait_for("SELECT 3");
    first.wait_for("two results", |screen| screen.matches("(1 row)").count() == 2);
    first.wait_for_last_line(PROMPT);
    first.send("\x1b[A\x1b[A\x1b[A");
    first.wait_for_last_line("root=> SELECT 1;");
    first.send("\x03");
    first.wait_for("a new prompt", |screen| screen.ends_with(PROMPT) || screen.trim_end().ends_with(PROMPT));
    first.send("\x12SELECT 2");
    first.wait_for_text("nothing found for");
    let later = prompt(&server, home.path());
    later.send("\x12SELECT 2");
    later.wait_for_last_line("root=> (search \"SELECT 2\") SELECT 2;");
}

#[test]
fn the_history_knows_when_a_line_was_run_and_how_it_ended() {
    let (server, home) = (Server::start(talkative), tempfile::tempdir().unwrap());
    let terminal = prompt(&server, home.path());
    for (line, answer) in [("SELECT 1,\r2;\r", "(1 row)"), ("\r SELECT 2;\r", "(1 row)"), ("SELECT bdy;\r", "error: ")]
    {
        terminal.send(line);
        terminal.wait_for_text(answer);
        terminal.wait_for_last_line(PROMPT);
    }
    terminal.send("\x04");
    assert_eq!(terminal.end(), 0);
    let history = SqliteBackedHistory::with_file(home.path().join(".highwater_history.db"), None, None).unwrap();
    let kept = history.search(SearchQuery::everything(SearchDirection::Forward, None)).unwrap();
    let told: Vec<_> = kept.iter().map(|item| (item.command_line.as_str(), item.exit_status)).collect();
    assert_eq!(told, [("SELECT 1,\n2;", Some(0)), ("SELECT bdy;", Some(1))]);
    assert!(kept.iter().all(|item| item.start_timestamp.is_some() && item.duration.is_some()), "{kept:?}");
}

#[test]
fn a_history_that_cannot_be_kept_is_told_and_none_is_wanted_of_what_is_no_file() {
    let (server, home) = (Server::start(talkative), tempfile::tempdir().unwrap());
    let text = home.path().join("lines");
    std::fs::write(&text, "SELECT 1;\n").unwrap();
    for (path, is_told) in [(text.to_str().unwrap(), true), ("/dev/null", false), ("", false)] {
        let terminal = Terminal::start(
            &[],
            &[
                ("HIGHWATER_URL", &server.url),
                ("HIGHWATER_PASSWORD", "secret"),
                ("HIGHWATER_HISTORY", path),
                ("NO_COLOR", "1"),
            ],
        );
        let screen = terminal.wait_for_last_line(PROMPT);
        assert_eq!(screen.contains("no history is kept in"), is_told, "{screen}");
        terminal.send("SELECT 1;\r");
        terminal.wait_for_text("(1 row)");
    }
    assert_eq!(std::fs::read_to_string(&text).unwrap(), "SELECT 1;\n");
}

#[test]
fn rows_as_arrow_are_not_for_a_terminal() {
    let (server, home) = (Server::start(talkative), tempfile::tempdir().unwrap());
    let terminal = prompt(&server, home.path());
    terminal.send("\\format arrow\r");
    terminal.send("SELECT 1;\r");
    terminal.wait_for_text("rows as Arrow are bytes for a program, not for a terminal");
    terminal.wait_for_last_line(PROMPT);
    let file = home.path().join("a.arrows");
    terminal.send(&format!("SELECT 2 \\g {}\r", file.display()));
    server.wait_for("SELECT 2");
    terminal.wait_for("a third prompt", |screen| screen.matches(PROMPT).count() == 4);
    assert!(std::fs::read(file).unwrap().ends_with(&[255, 255, 255, 255, 0, 0, 0, 0]));
}

#[test]
fn ctrl_c_cancels_the_statement_and_not_the_shell() {
    let (server, home) = (Server::start(talkative), tempfile::tempdir().unwrap());
    let terminal = prompt(&server, home.path());
    terminal.send("half a statement\x03");
    terminal.wait_for("a new prompt", |screen| screen.matches(PROMPT).count() == 2);
    terminal.send("slow;\r");
    server.wait_for("slow");
    terminal.send("\x03");
    terminal.wait_for_text("error: cancelled");
    server.wait_for("closed");
    terminal.send("SELECT 3;\r");
    terminal.wait_for_text("(1 row)");
    terminal.wait_for_last_line(PROMPT);
    terminal.send("SELECT 4 \\watch 3600\r");
    terminal.wait_for("a second result", |screen| screen.matches("(1 row)").count() == 2);
    terminal.send("\x03");
    terminal.wait_for_last_line(PROMPT);
    terminal.send("\\q\r");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn a_password_is_asked_for_and_not_shown() {
    let (server, home) = (Server::start(talkative), tempfile::tempdir().unwrap());
    let terminal =
        Terminal::start(&["--user", "ann"], &[("HIGHWATER_URL", &server.url), ("HOME", home.path().to_str().unwrap())]);
    terminal.wait_for_text("Password of ann: ");
    terminal.send("secret\r");
    let screen = terminal.wait_for_text("ann=>");
    assert!(!screen.contains("secret"), "{screen}");
    terminal.send("\x04");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn long_results_go_through_the_pager_and_wide_ones_are_cut_without_it() {
    fn long(path: &str, token: &str, body: &Value, number: usize) -> (u16, Value) {
        let sql = body["sql"].as_str().unwrap_or_default();
        match sql {
            "SELECT long" => {
                let rows: Vec<Vec<String>> = (0..100).map(|row| vec![format!("row {row}")]).collect();
                let rows: Vec<Vec<&str>> = rows.iter().map(|row| row.iter().map(String::as_str).collect()).collect();
                let rows: Vec<&[&str]> = rows.iter().map(Vec::as_slice).collect();
                texts(&["t"], &rows)
            }
            "SELECT wide" => texts(&["a", "b"], &[&["a".repeat(90).as_str(), "b".repeat(90).as_str()]]),
            _ => plain(path, token, body, number),
        }
    }
    let (server, home) = (Server::start(long), tempfile::tempdir().unwrap());
    let terminal = Terminal::start(
        &[],
        &[
            ("HIGHWATER_URL", &server.url),
            ("HIGHWATER_PASSWORD", "secret"),
            ("HOME", home.path().to_str().unwrap()),
            ("PAGER", "sed -n '1p;$p;s/row 50/paged &/p'"),
        ],
    );
    terminal.wait_for_text(PROMPT);
    terminal.send("SELECT long;\r");
    let screen = terminal.wait_for_text("(100 rows)");
    assert!(screen.contains("paged row 50") && !screen.contains("row 51"), "{screen}");
    terminal.send("SELECT wide;\r");
    let screen = terminal.wait_for_text("long values are cut");
    assert!(screen.contains('…') && !screen.contains(&"b".repeat(60)), "{screen}");
    terminal.send("\\x auto\r");
    terminal.wait_for_text("when a table would be too wide");
    terminal.send("SELECT wide;\r");
    terminal.wait_for_text(&format!("b │ {}", "b".repeat(90)));
}
