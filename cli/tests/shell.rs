//! The program as it is run: arguments and input in, output and exit code out, against a small server in this test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test of a client program: it starts the program and listens on a socket"
)]

#[path = "support/program.rs"]
mod program;
#[path = "support/server.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod server;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use program::{Outcome, highwater, run as run_with, with_password};
use server::{Server, plain, refuse, success, texts};

#[test]
fn statements_run_in_order_and_print_tables() {
    let server = Server::start(plain);
    let outcome = highwater(&server.url, &["--format", "table", "-c", "SELECT 1; INSERT x", "-c", "SELECT 2"], "");
    let table = " n\n───\n 7\n(1 row)\n";
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    assert_eq!(outcome.out, format!("{table}done\n{table}"));
    assert_eq!(server.statements(), ["SELECT 1", "INSERT x", "SELECT 2"]);
    assert!(server.seen.lock().unwrap().iter().skip(1).all(|(_, token, _)| token == "Bearer t1"), "one login");
}

#[test]
fn a_failing_statement_is_drawn_and_ends_the_run() {
    let server = Server::start(plain);
    let outcome = highwater(&server.url, &["-c", "INSERT x; fail here; INSERT y", "-c", "INSERT z"], "");
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""));
    assert_eq!(outcome.err, "done\nerror: it failed (42601)\n  1 | fail here\n      ^^^^\nhint: do not fail\n");
    assert_eq!(server.statements(), ["INSERT x", "fail here"]);
}

#[test]
fn a_failure_that_nobody_reads_has_its_exit_code() {
    let server = Server::start(plain);
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(["-c", "fail here"]).env("HIGHWATER_URL", &server.url).env("HIGHWATER_PASSWORD", "secret");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = command.stdin(Stdio::null()).stderr(writer).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_run_that_keeps_going_tells_in_the_end() {
    let server = Server::start(plain);
    let outcome = highwater(&server.url, &["--keep-going", "-c", "fail 1; \\nope\nINSERT y"], "");
    assert_eq!((outcome.code, outcome.out.as_str()), (1, ""));
    assert!(
        outcome.err.ends_with("done\n")
            && outcome.err.contains("it failed")
            && outcome.err.contains("no command \\nope"),
        "{}",
        outcome.err
    );
    assert_eq!(server.statements(), ["fail 1", "INSERT y"]);
}

#[test]
fn json_is_one_document_per_statement() {
    let server = Server::start(plain);
    let outcome = highwater(&server.url, &["--json", "-c", "SELECT 1; INSERT x; fail"], "");
    assert_eq!((outcome.code, outcome.err.as_str()), (1, ""));
    assert_eq!(
        outcome.out,
        concat!(
            r#"{"status":"success","schema":[{"name":"n","data_type":"BigInt","index":0}],"rows":[["7"]],"row_count":1,"as_user":"root"}"#,
            "\n",
            r#"{"status":"success","row_count":1,"message":"done"}"#,
            "\n",
            r#"{"status":"error","error":{"code":"INVALID_SQL","message":"it failed","details":{"sqlstate":"42601","position":1,"end":5,"hint":"do not fail"}}}"#,
            "\n"
        )
    );
}

#[test]
fn json_errors_of_the_shell_are_documents_too() {
    let server = Server::start(plain);
    let refusing = Server::start(refuse);
    let nobody = "http://127.0.0.1:1";
    let script = "SELECT 1;\n\\nosuch\nSELECT 2;";
    for (url, args, input, code, name, said) in [
        (nobody, &["-c", "SELECT 1"][..], "", 3, "NO_CONNECTION", "no answer from http://127.0.0.1:1"),
        (&refusing.url, &["-c", "SELECT 1"], "", 4, "LOGIN_REFUSED", "wrong user or password"),
        (&server.url, &["-c", "\\nosuch"], "", 1, "COMMAND_FAILED", "\\nosuch"),
        (&server.url, &["-f", "/nonexistent.sql"], "", 2, "WRONG_USAGE", "/nonexistent.sql"),
        (&server.url, &[], script, 1, "COMMAND_FAILED", "\\nosuch"),
        (&server.url, &["--keep-going"], "\\nosuch", 1, "COMMAND_FAILED", "\\nosuch"),
    ] {
        let outcome = highwater(url, &[&["--json"], args].concat(), input);
        assert_eq!((outcome.code, outcome.err.as_str()), (code, ""), "{args:?}: {}", outcome.out);
        let last: Value = serde_json::from_str(outcome.out.lines().last().unwrap()).unwrap();
        assert_eq!((&last["status"], &last["error"]["code"]), (&json!("error"), &json!(name)), "{args:?}");
        assert!(last["error"]["message"].as_str().unwrap().contains(said), "{args:?}: {last}");
    }
    let outcome = highwater(nobody, &["--json", "-c", "SELECT 1"], "");
    let document: Value = serde_json::from_str(&outcome.out).unwrap();
    assert!(document["error"]["details"]["hint"].as_str().unwrap().contains("highwaterd"), "{document}");
    let outcome = highwater(&server.url, &["-c", "\\format json\nfail"], "");
    assert_eq!((outcome.code, outcome.err.as_str(), outcome.out.lines().count()), (1, "", 1), "{}", outcome.out);
}

#[test]
fn without_a_terminal_rows_are_tab_separated_unless_told() {
    let server = Server::start(plain);
    let outcome = highwater(&server.url, &["-c", "INSERT x; SELECT 1"], "");
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (0, "n\n7\n", "done\n"));
    let table = " n\n───\n 7\n(1 row)\n";
    for args in [&["--format", "table", "-c", "SELECT 1"][..], &["-c", "\\format table\nSELECT 1"]] {
        let outcome = highwater(&server.url, args, "");
        assert!(outcome.out.ends_with(table), "{}", outcome.out);
    }
    let list = "n │ 7\n";
    let outcome = highwater(&server.url, &["-c", "SELECT 1 \\gx\nSELECT 2"], "");
    assert!(outcome.out.contains(list) && outcome.out.ends_with("\nn\n7\n"), "lists are drawn: {}", outcome.out);
    for args in [&["--csv", "-c", "\\x\nSELECT 1"][..], &["-c", "\\format csv\n\\x\nSELECT 1"]] {
        let outcome = highwater(&server.url, args, "");
        assert!(outcome.out.ends_with("n\n7\n"), "but not where a format was asked for: {}", outcome.out);
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(highwater(&server.url, &["-o", file.path().to_str().unwrap(), "-c", "SELECT 1"], "").code, 0);
    assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "n\n7\n");
}

#[test]
fn csv_has_rows_only() {
    let server = Server::start(plain);
    let outcome = highwater(&server.url, &["--csv", "-c", "INSERT x; SELECT 1"], "");
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (0, "n\n7\n", "done\n"));
}

#[test]
fn files_and_standard_input_are_scripts() {
    let server = Server::start(plain);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.sql");
    std::fs::write(&file, "-- comment\nINSERT ';';\n\\dt\nINSERT b").unwrap();
    let outcome = highwater(&server.url, &["-f", file.to_str().unwrap(), "-f", "-"], "INSERT c;\n\\q\nINSERT d;");
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let tables = "SELECT namespace_id, table_name, table_type FROM system.tables ORDER BY namespace_id, table_name";
    assert_eq!(server.statements(), ["INSERT ';'", tables, "INSERT b", "INSERT c"]);
    assert_eq!(highwater(&server.url, &[], "INSERT e").err, "done\n", "without a terminal the input is a script");
    let failing = folder.path().join("b.sql");
    std::fs::write(&failing, "INSERT a;\n\nfail\n here;").unwrap();
    let outcome = highwater(&server.url, &["-f", failing.to_str().unwrap()], "");
    assert!(
        outcome.code == 1 && outcome.err.starts_with(&format!("done\n{}:3:\nerror: it failed", failing.display())),
        "{}",
        outcome.err
    );
    let script = "SELECT 1;\n\nfail 4;\n";
    for args in [&[][..], &["-f", "-"]] {
        let outcome = highwater(&server.url, args, script);
        assert!(outcome.code == 1 && outcome.err.starts_with("stdin:3:\nerror: it failed"), "{}", outcome.err);
    }
    let missing = highwater(&server.url, &["-f", "/nonexistent.sql"], "");
    assert!(missing.code == 2 && missing.err.contains("/nonexistent.sql"), "{}", missing.err);
}

#[test]
fn commands_of_the_prompt_work_as_arguments() {
    let server = Server::start(plain);
    let outcome = highwater(
        &server.url,
        &["-c", "\\as alice INSERT 'x;y';", "-c", "\\dt App.T", "-c", "\\timing", "-c", "\\x", "-c", "SELECT 1"],
        "",
    );
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert_eq!(server.statements()[0], "EXECUTE AS 'alice' (INSERT 'x;y')");
    assert!(server.statements()[1].contains("WHERE namespace_id = 'app' AND table_name = 't' ORDER BY"));
    assert!(
        outcome.out.contains("timing is on")
            && outcome.out.contains("─[ 1 ]─")
            && outcome.out.contains("n │ 7\n")
            && outcome.out.contains("\nTime: ")
    );
    for (args, rows) in [(&[][..], "n\n7\n"), (&["--json"], "}\n")] {
        let timed = highwater(&server.url, &[args, &["-c", "\\timing\nSELECT 1"]].concat(), "");
        assert!(timed.out.ends_with(rows) && timed.err.starts_with("Time: "), "{}{}", timed.out, timed.err);
    }
    let missing = highwater(&server.url, &["-c", "\\d missing"], "");
    assert!(missing.code == 1 && missing.err.contains("there is no table missing"), "{}", missing.err);
    assert_eq!(highwater(&server.url, &["-c", "\\nope"], "").code, 1);
}

#[test]
fn variables_formats_and_files_work_together() {
    let server = Server::start(plain);
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let script = format!(
        "\\format table\nSELECT n \\gset got_\nINSERT :got_n, :'who';\n\\o {}\nSELECT 1;\n\\o\n\\format tsv\nSELECT 2;\nSELECT 3 \\g {}\n\\echo :who\n",
        path("out.txt"),
        path("g.tsv")
    );
    let outcome = highwater(&server.url, &["-v", "who=o'neil", "-f", "-"], &script);
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""));
    assert_eq!(server.statements(), ["SELECT n", "INSERT 7, 'o''neil'", "SELECT 1", "SELECT 2", "SELECT 3"]);
    assert_eq!(outcome.out, "rows as table\ndone\nn\n7\no'neil\n");
    assert_eq!(std::fs::read_to_string(path("out.txt")).unwrap(), " n\n───\n 7\n(1 row)\n");
    assert_eq!(std::fs::read_to_string(path("g.tsv")).unwrap(), "n\n7\n");
    std::fs::write(path("self.sql"), format!("\\i {}", path("self.sql"))).unwrap();
    let outcome = highwater(&server.url, &["-f", &path("self.sql")], "");
    assert!(outcome.code == 1 && outcome.err.contains("more than 16 deep"), "{}", outcome.err);
}

/// Refuses rows with 13 in them.
fn superstitious(path: &str, token: &str, body: &Value, number: usize) -> (u16, Value) {
    if body["sql"].as_str().unwrap().contains("'13'") {
        let error = json!({"code": "SQL_EXECUTION_ERROR", "message": "no such luck", "details": "{}"});
        return (400, json!({"status": "error", "results": [], "took": 0.1, "error": error}));
    }
    plain(path, token, body, number)
}

#[test]
fn files_are_copied_into_tables_up_to_the_row_that_is_refused() {
    let server = Server::start(superstitious);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    std::fs::write(&file, "id,body\n1,\"a,b\"\n2,\n").unwrap();
    let copy = format!("\\copy app.t FROM {}", file.display());
    let outcome = highwater(&server.url, &["-c", &copy], "");
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (0, "", "copied 2 row(s)\n"));
    assert_eq!(server.statements(), ["INSERT INTO app.t (\"id\", \"body\") VALUES ('1', 'a,b'), ('2', NULL)"]);

    let rows: String = (1..=20).map(|row| format!("{row},x\n")).collect();
    std::fs::write(&file, format!("id,body\n{rows}")).unwrap();
    let outcome = highwater(&server.url, &["-c", &copy], "");
    assert_eq!(outcome.code, 1);
    assert_eq!(outcome.err, "error: line 14: no such luck; 12 row(s) before it were written\n");
    let outcome = highwater(&server.url, &["-c", "\\copy t (a) FROM stdin tsv"], "");
    assert_eq!(outcome.err, "copied 0 row(s)\n", "standard input is the file");
    let out = folder.path().join("out.jsonl");
    let outcome = highwater(&server.url, &["-c", &format!("\\copy app.t TO {}", out.display())], "");
    assert_eq!((outcome.code, outcome.out.as_str(), outcome.err.as_str()), (0, "", "copied 1 row(s)\n"));
    assert_eq!(std::fs::read_to_string(&out).unwrap(), "{\"n\":\"7\"}\n");
}

#[test]
fn what_stands_before_a_line_that_cannot_be_read_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, rows, message) in [
        ("a.csv", "id,body\n1,x\n2,\"y\n3,z\n", "('1', 'x')", "line 3: a quote is never closed"),
        ("b.csv", "id,body\n1,x\n2\n3,z\n", "('1', 'x')", "line 3: 1 fields, but 2 columns"),
        ("c.tsv", "id\tbody\n1\tx\n2\ty\n3\n", "('1', 'x'), ('2', 'y')", "line 4: 1 fields, but 2 columns"),
        ("d.jsonl", "{\"id\":1,\"body\":\"x\"}\n{\"id\"", "('1', 'x')", "line 2: no JSON object"),
    ] {
        let server = Server::start(superstitious);
        let file = folder.path().join(name);
        std::fs::write(&file, text).unwrap();
        let outcome = highwater(&server.url, &["-c", &format!("\\copy app.t FROM {}", file.display())], "");
        assert_eq!(outcome.code, 1, "{name}");
        let written = format!("; {} row(s) before it were written\n", rows.matches('(').count());
        assert!(outcome.err.starts_with(&format!("error: {message}")), "{}", outcome.err);
        assert!(outcome.err.ends_with(&written), "{}", outcome.err);
        let inserts: Vec<String> = server.statements().into_iter().filter(|sql| sql.starts_with("INSERT")).collect();
        assert_eq!(inserts, [format!("INSERT INTO app.t (\"id\", \"body\") VALUES {rows}")], "{name}");
    }
    for (args, input) in [("FROM stdin", &b"id\n1\n2\n\xe9\n3\n"[..]), ("(id) FROM stdin tsv", b"1\n2\n\"\n\xe9")] {
        let server = Server::start(superstitious);
        let copy = format!("\\copy app.t {args}");
        let output = run_with(&server.url, &["-c", &copy], input, Some("secret"), folder.path());
        let written = Outcome::of(&output).err;
        let rows = if input.len() > 10 { 2 } else { 3 };
        assert_eq!(
            written,
            format!("error: line 4: the byte 0xe9 is not UTF-8; {rows} row(s) before it were written\n")
        );
        assert_eq!(server.statements().len(), 1);
    }
    let server = Server::start(superstitious);
    let file = folder.path().join("e.csv");
    std::fs::write(&file, "id\n12\n13\n14\n\"").unwrap();
    let outcome = highwater(&server.url, &["-c", &format!("\\copy app.t FROM {}", file.display())], "");
    assert_eq!(outcome.err, "error: line 3: no such luck; 1 row(s) before it were written\n", "the first at fault");
}

#[test]
fn profiles_keep_servers_with_their_passwords() {
    let server = Server::start(plain);
    let folder = tempfile::tempdir().unwrap();
    let profiles = folder.path().join("profiles.toml");
    let run = |args: &[&str], password: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command.args(args).env_clear().env("HIGHWATER_PROFILES", &profiles).stdin(Stdio::null());
        command.envs(password.map(|password| ("HIGHWATER_PASSWORD", password)));
        Outcome::of(&command.output().unwrap())
    };
    let added = run(&["ctx", "add", "here", "--url", &server.url, "--user", "ann", "-n", "app"], Some("secret"));
    assert_eq!(added.code, 0, "{}", added.err);
    let listed = run(&["ctx"], None).out;
    assert_eq!(listed, format!("* here  {} as ann, namespace app, with its password\n", server.url));
    assert_eq!(run(&["-c", "INSERT x"], None).err, "done\n", "the first one is in use");
    assert_eq!(server.paths("/v1/api/sql")[0]["namespace_id"], "app");
    assert_eq!(server.paths("/v1/api/auth/login")[0]["user"], "ann");
    let other = run(&["--url", "http://127.0.0.1:1", "-c", "x"], None);
    assert!(other.code == 2 && other.err.contains("no password"), "its password is for its server: {}", other.err);
    std::fs::set_permissions(&profiles, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let open = run(&["-c", "INSERT x"], None);
    assert!(open.code == 2 && open.err.contains("open to others") && open.err.contains("chmod 600"), "{}", open.err);
    std::fs::set_permissions(&profiles, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let again = run(&["ctx", "add", "here", "--url", &server.url], None).out;
    assert!(again.contains("in place of the one before") && !added.out.contains("in place"), "{again}");
    for nameless in ["", " "] {
        let refused = run(&["ctx", "add", nameless, "--url", &server.url], None);
        assert!(refused.code == 2 && refused.err.contains("needs a name"), "{}", refused.err);
    }
    assert_eq!(run(&["ctx", "remove", "here"], None).code, 0);
    assert_eq!(run(&["ctx", "use", "here"], None).code, 2);
}

#[test]
fn arguments_beat_a_named_profile_which_beats_the_environment_which_beats_the_profile_in_use() {
    let (mine, of_environment, other) = (Server::start(plain), Server::start(plain), Server::start(plain));
    let folder = tempfile::tempdir().unwrap();
    let profiles = folder.path().join("profiles.toml");
    let text = format!(
        "current = \"p1\"\n[profile.p1]\nurl = \"{0}\"\nuser = \"ann\"\npassword = \"secret\"\n[profile.bare]\nurl = \"{0}\"\nuser = \"ann\"\n",
        mine.url
    );
    std::fs::write(&profiles, text).unwrap();
    std::fs::set_permissions(&profiles, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let environment = [("HIGHWATER_URL", of_environment.url.as_str()), ("HIGHWATER_USER", "eve")];
    let at = |args: &[&str], environment: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command.args(args).args(["-c", "\\conninfo"]).env_clear().env("HIGHWATER_PROFILES", &profiles);
        let output = command.envs(environment.iter().copied()).stdin(Stdio::null()).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let with = |password| [&environment[..], &[("HIGHWATER_PASSWORD", password)]].concat();
    let is = |user: &str, server: &Server| format!("{user} at {}, namespace default\n", server.url);
    assert_eq!(
        at(&["--profile", "p1"], &with("wrong")),
        is("ann", &mine),
        "address, user and password are the profile's"
    );
    assert_eq!(at(&["--profile", "p1", "-u", "bob", "-p", "secret"], &with("wrong")), is("bob", &mine));
    let elsewhere = ["--profile", "p1", "--url", &other.url, "-p", "secret"];
    assert_eq!(at(&elsewhere, &with("wrong")), is("ann", &other));
    assert_eq!(at(&[], &with("secret")), is("eve", &of_environment));
    assert_eq!(at(&[], &[&with("secret")[..], &[("HIGHWATER_PROFILE", "p1")]].concat()), is("eve", &of_environment));
    assert_eq!(at(&[], &[]), is("ann", &mine));
    assert_eq!(at(&["--profile", "bare"], &[("HIGHWATER_PASSWORD", "secret")]), is("ann", &mine));
    let said = at(&["--profile", "bare"], &with("secret"));
    assert!(said.contains("no password for user \"ann\""), "the environment's password is eve's: {said}");
}

/// Healthy, and a dba.
fn healthy(path: &str, _: &str, body: &Value, _: usize) -> (u16, Value) {
    match (path, body["sql"].as_str()) {
        ("/health", _) => (200, json!({"status": "healthy", "version": env!("CARGO_PKG_VERSION")})),
        ("/ready", _) => (200, json!({"status": "ready"})),
        ("/v1/api/cluster/health", _) => (200, json!({"status": "degraded", "reason": "one is gone", "nodes": []})),
        (_, Some("SELECT NOW(), CURRENT_ROLE")) => success(
            json!({"schema": [{"name": "now", "data_type": "Timestamp"}, {"name": "role", "data_type": "Text"}], "rows": [[0, "dba"]], "row_count": 1}),
        ),
        _ => texts(&["x"], &[]),
    }
}

#[test]
fn the_doctor_says_what_is_wrong_and_what_to_do() {
    let server = Server::start(healthy);
    let outcome = highwater(&server.url, &["doctor"], "");
    assert_eq!((outcome.code, outcome.err.as_str()), (0, ""), "{}", outcome.out);
    for line in [
        "ok       login",
        "ok       version",
        "ok       machine     Linux ",
        "highwaterd --check-config",
        "warning  cluster     degraded",
        "warning  clock",
        "NTP",
        "ok       rights      role dba",
    ] {
        assert!(outcome.out.contains(line), "{line}: {}", outcome.out);
    }
    let folder = tempfile::tempdir().unwrap();
    let data = with_password(&server.url, &["doctor"], "", Some("secret"), folder.path()).out;
    assert!(data.contains(&format!("free for {}", folder.path().display())), "{data}");
    let outcome = highwater("http://127.0.0.1:1", &["doctor", "--format", "json"], "");
    assert_eq!(outcome.code, 5);
    let last: Value = serde_json::from_str(outcome.out.lines().last().unwrap()).unwrap();
    assert_eq!((&last["check"], &last["outcome"]), (&json!("connection"), &json!("error")));
    assert!(last["advice"].as_str().unwrap().contains("highwaterd"), "{last}");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.json");
    assert_eq!(highwater(&server.url, &["bundle", file.to_str().unwrap()], "").code, 0);
    let bundle = std::fs::read_to_string(&file).unwrap();
    assert!(bundle.contains("\"doctor\"") && bundle.contains("\"stats\"") && !bundle.contains("secret"), "{bundle}");
}

#[test]
fn a_bundle_without_a_server_says_what_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.json");
    let outcome = highwater("http://127.0.0.1:1", &["bundle", file.to_str().unwrap()], "");
    assert!(outcome.code == 3 && outcome.err.contains("no answer from http://127.0.0.1:1"), "{}", outcome.err);
    assert!(outcome.out.contains("settings and figures are missing"), "{}", outcome.out);
    assert!(std::fs::read_to_string(&file).unwrap().contains("\"doctor\""));
}

/// The address of something that answers whatever comes with these bytes.
fn answering(bytes: &'static [u8]) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _some = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(bytes).unwrap();
        // Until the other side has seen it and closes.
        let _gone = std::io::copy(&mut stream, &mut std::io::sink());
    });
    address.to_string()
}

#[test]
fn a_server_that_speaks_another_protocol_is_told_from_one_that_is_away() {
    let plain = answering(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let outcome = highwater(&format!("https://{plain}"), &["--insecure", "-c", "SELECT 1"], "");
    assert!(outcome.code == 3 && outcome.err.contains(&format!("--url http://{plain}")), "{}", outcome.err);
    // The alert with which TLS refuses what is none.
    let encrypted = answering(&[21, 3, 3, 0, 2, 2, 10]);
    let outcome = highwater(&format!("http://{encrypted}"), &["-c", "SELECT 1"], "");
    assert!(outcome.code == 3 && outcome.err.contains(&format!("--url https://{encrypted}")), "{}", outcome.err);
}

/// The address of a server that lets in, and breaks off in the middle of its answer to a statement, which has this header.
fn breaking_off(header: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let token = r#"{"access_token":"t"}"#;
        let answer = r#"{"status":"success","results":[{"schema":[{"name":"n","data_type":"BigInt"}],"rows":[["1"],"#;
        for (length, header, body) in [(token.len(), "x: y", token), (1000, header, answer)] {
            // A request that is not read to its end would reset the connection.
            let (mut request, mut bytes) = (Vec::new(), [0; 4096]);
            while !request.ends_with(b"}") {
                let count = stream.read(&mut bytes).unwrap();
                request.extend_from_slice(&bytes[..count]);
            }
            write!(stream, "HTTP/1.1 200 OK\r\n{header}\r\ncontent-length: {length}\r\n\r\n{body}").unwrap();
        }
    });
    format!("http://{address}")
}

#[test]
fn an_answer_that_breaks_off_names_the_request_for_the_servers_log() {
    for (header, request) in [("X-Request-Id: 5f0e", " (request 5f0e)"), ("x: y", "")] {
        let outcome = highwater(&breaking_off(header), &["--csv", "-c", "SELECT 1"], "");
        assert_eq!((outcome.code, outcome.out.as_str()), (3, "n\n1\n"));
        let said = format!("; the statement may have failed there: the server's log has the reason{request}\nhint: ");
        assert!(outcome.err.contains("broke off") && outcome.err.contains(&said), "{}", outcome.err);
    }
    let outcome = highwater(&breaking_off("x: y"), &["--json", "-c", "SELECT 1"], "");
    let document: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!((outcome.code, &document["error"]["code"]), (3, &json!("NO_CONNECTION")));
}

/// Has a topic and no tables.
fn with_topic(_: &str, _: &str, body: &Value, _: usize) -> (u16, Value) {
    let sql = body["sql"].as_str().unwrap();
    if sql.contains("system.topics") && sql.contains("'app.ev'") {
        texts(&["topic_id"], &[&["app.ev"]])
    } else {
        texts(&["x"], &[])
    }
}

#[test]
fn a_topic_is_told_from_a_table_that_is_not_there() {
    let server = Server::start(with_topic);
    for format in ["table", "csv"] {
        let outcome = highwater(&server.url, &["--format", format, "-c", "\\d app.ev"], "");
        assert!(outcome.code == 1 && outcome.err.contains("app.ev is a topic"), "{}", outcome.err);
        assert!(outcome.err.contains("\\dT app.ev"), "{}", outcome.err);
        let outcome = highwater(&server.url, &["--format", format, "-c", "\\d app.nothing"], "");
        assert!(outcome.code == 1 && outcome.err.contains("there is no table app.nothing"), "{}", outcome.err);
    }
}

#[test]
fn completions_and_the_manual_are_made() {
    for (args, wanted) in [
        (&["completions", "bash"][..], "_highwater"),
        (&["completions", "zsh"], "#compdef highwater"),
        (&["completions", "fish"], "complete -c highwater"),
        (&["man"], ".TH highwater"),
    ] {
        let outcome = highwater("http://127.0.0.1:1", args, "");
        assert!(outcome.code == 0 && outcome.out.contains(wanted), "{args:?}: {}", outcome.err);
    }
}

#[test]
fn the_password_is_found_beside_the_data() {
    let server = Server::start(plain);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("root-password"), "secret\n").unwrap();
    assert_eq!(with_password(&server.url, &["-c", "x"], "", None, folder.path()).code, 0);
    let outcome = with_password(&server.url, &["-c", "x"], "", None, Path::new("/nonexistent"));
    assert_eq!(outcome.code, 2);
    assert!(
        outcome.err.contains("/nonexistent/root-password") && outcome.err.contains("HIGHWATER_PASSWORD"),
        "{}",
        outcome.err
    );
}

#[test]
fn a_refused_login_and_a_missing_server_have_their_own_codes() {
    let server = Server::start(refuse);
    let outcome = highwater(&server.url, &["-c", "SELECT 1"], "");
    assert!(outcome.code == 4 && outcome.err.contains("wrong user or password"), "{}", outcome.err);
    let outcome = highwater("http://127.0.0.1:1", &["-c", "SELECT 1"], "");
    assert!(
        outcome.code == 3 && outcome.err.contains("127.0.0.1:1") && outcome.err.contains("highwaterd"),
        "{}",
        outcome.err
    );
    assert_eq!(highwater("ftp://x", &["-c", "SELECT 1"], "").code, 2);
    assert_eq!(highwater(&server.url, &["--nonsense"], "").code, 2);
    let help = highwater(&server.url, &["--help"], "");
    assert!(help.code == 0 && help.out.contains("Examples:"));
}

/// Refuses the first token.
fn expiring(path: &str, token: &str, body: &Value, number: usize) -> (u16, Value) {
    if token == "Bearer t1" {
        return (
            401,
            json!({"status": "error", "results": [], "took": 0, "error": {"code": "TOKEN_EXPIRED", "message": "expired"}}),
        );
    }
    plain(path, token, body, number)
}

#[test]
fn an_expired_token_is_renewed_without_a_word() {
    let server = Server::start(expiring);
    let outcome = highwater(&server.url, &["-c", "INSERT x"], "");
    assert_eq!((outcome.code, outcome.err.as_str()), (0, "done\n"), "{}", outcome.err);
}

/// Two partitions with three messages each.
fn topic(path: &str, _: &str, body: &Value, _: usize) -> (u16, Value) {
    if path == "/v1/api/topics/ack" {
        return (200, json!({"success": true, "acknowledged_offset": body["upto_offset"]}));
    }
    let partition = body["partition_id"].as_u64().unwrap();
    if body["topic_id"] != "app.events" || partition > 1 {
        return (404, json!({"error": "no such topic or partition", "code": "NOT_FOUND"}));
    }
    let first = body["start"]["Offset"].as_u64().unwrap_or(0);
    let limit = body["limit"].as_u64().unwrap();
    let messages: Vec<Value> = (first..3)
        .take(usize::try_from(limit).unwrap())
        .map(|offset| {
            json!({"topic_id": "app.events", "partition_id": partition, "offset": offset, "payload": "eyJhIjoxfQ==",
                "key": offset.to_string(), "timestamp_ms": 0, "user": "u", "op": "Insert"})
        })
        .collect();
    let next = first + messages.len() as u64;
    (200, json!({"messages": messages, "next_offset": next, "has_more": next < 3}))
}

#[test]
fn a_topic_is_followed_over_all_partitions_up_to_the_limit() {
    let server = Server::start(topic);
    let outcome =
        highwater(&server.url, &["--consume", "--topic", "app.events", "--from", "earliest", "--limit", "5"], "");
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    let lines: Vec<&str> = outcome.out.lines().collect();
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0], "0:0 1970-01-01 00:00:00Z insert user=u key=0 {\"a\":1}");
    assert!(lines[4].starts_with("1:1 "));
    assert!(server.paths("/v1/api/topics/ack").is_empty(), "without a group nothing is acked");
}

#[test]
fn a_member_of_a_group_acks_what_was_printed() {
    let server = Server::start(topic);
    let args = ["--consume", "--topic", "app.events", "--group", "g", "--from", "earliest", "--limit", "4", "--json"];
    let outcome = highwater(&server.url, &args, "");
    assert_eq!(outcome.code, 0, "{}", outcome.err);
    assert_eq!(
        outcome.out.lines().next().unwrap(),
        r#"{"topic_id":"app.events","partition_id":0,"offset":0,"op":"Insert","key":"0","user":"u","timestamp_ms":0,"payload":{"a":1}}"#
    );
    let acks = server.paths("/v1/api/topics/ack");
    assert_eq!(
        acks,
        [
            json!({"topic_id": "app.events", "group_id": "g", "partition_id": 0, "upto_offset": 2}),
            json!({"topic_id": "app.events", "group_id": "g", "partition_id": 1, "upto_offset": 0}),
        ]
    );
    let outcome = highwater(&server.url, &["--consume", "--topic", "app.nope"], "");
    assert!(outcome.code == 1 && outcome.err.contains("app.nope: no such topic"), "{}", outcome.err);
}

/// `SELECT`s are not answered.
fn silent(path: &str, token: &str, body: &Value, number: usize) -> (u16, Value) {
    if body["sql"].as_str().unwrap().starts_with("SELECT") {
        return (0, Value::Null);
    }
    plain(path, token, body, number)
}

/// Runs a script that Ctrl-C cuts off in its statement `SELECT 1`.
fn cut_off(args: &[&str], input: &str) -> (Outcome, Vec<String>) {
    let server = Server::start(silent);
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(args).env_clear().env("HIGHWATER_URL", &server.url).env("HIGHWATER_PASSWORD", "secret");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    server.wait_for("SELECT 1");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    server.wait_for("closed");
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let code = output.status.code().expect("it ends by itself, not by the signal");
    (Outcome { code, out: text(&output.stdout), err: text(&output.stderr) }, server.statements())
}

#[test]
fn ctrl_c_in_a_script_cancels_the_statement_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.sql");
    let script = "INSERT x;\n\nSELECT 1;\nINSERT y;\n";
    std::fs::write(&file, script).unwrap();
    let note = "error: cancelled; if it was a write, it may have been done all the same\n";
    let name = file.to_str().unwrap();
    for (args, input, place) in [
        (&["--keep-going", "-c", "INSERT x", "-c", "SELECT 1", "-c", "INSERT y"][..], "", String::new()),
        (&["-f", name], "", format!("{name}:3:\n")),
        (&[], script, "stdin:3:\n".to_owned()),
    ] {
        let (outcome, statements) = cut_off(args, input);
        assert_eq!((outcome.code, outcome.err), (130, format!("done\n{place}{note}")), "{args:?}");
        assert_eq!(statements, ["INSERT x", "SELECT 1"], "{args:?}");
    }
    let (outcome, _) = cut_off(&["--json", "-c", "SELECT 1"], "");
    assert_eq!((outcome.code, outcome.err.as_str()), (130, ""));
    let document: Value = serde_json::from_str(&outcome.out).unwrap();
    assert_eq!((&document["status"], &document["error"]["code"]), (&json!("error"), &json!("CANCELLED")));
}

#[test]
fn ctrl_c_ends_a_consume_well() {
    let server = Server::start(topic);
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.args(["--consume", "--topic", "app.events", "--from", "earliest"]).env_clear();
    command.env("HIGHWATER_URL", &server.url).env("HIGHWATER_PASSWORD", "secret");
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..6 {
        lines.next().unwrap().unwrap();
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(lines.next().is_none(), "nothing is printed twice");
}
