//! The shell against a real `highwaterd`: this program is both. Started with [`SERVER`] set it is the daemon, so that the test
//! needs no binary of another package. The transcript of docs/shell.md is run as it stands; `UPDATE_GOLDEN=1` rewrites its answers.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test of real processes on a real folder"
)]

#[path = "support/terminal.rs"]
mod terminal;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, Int64Type, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{Array as _, RecordBatch};
use arrow_ipc::reader::StreamReader;
use terminal::Terminal;

/// Environment variable that makes this program the daemon.
const SERVER: &str = "SHELL_TEST_IS_SERVER";
const PASSWORD: &str = "correct horse";

fn main() -> ExitCode {
    if std::env::var_os(SERVER).is_some() {
        return highwater_server::daemon::main();
    }
    if std::env::args().any(|argument| argument == "--list") {
        println!("daemon: test");
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(&folder.path().join("data"), &[]);
    the_transcript_of_the_book_is_true(&server);
    rows_pass_through_files(&server, folder.path());
    the_doctor_finds_nothing(&server);
    a_user_sees_its_own(&server);
    the_prompt_completes_and_cancels(&server, folder.path());
    drop(server);
    statements_go_over_tls_to_a_server_that_is_believed(&folder.path().join("tls"));
    println!("highwater against highwaterd: ok");
    ExitCode::SUCCESS
}

/// A server; killed when dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HIGHWATER_")) {
            command.env_remove(name);
        }
        command.env(SERVER, "1").args(["--data-dir", folder.to_str().unwrap(), "--http-addr", "127.0.0.1:0"]);
        command.args(["--root-password", PASSWORD, "--set", "auth.scram_iterations=4096", "--cores", "1"]);
        command.args(["--user-shards", "2", "--shared-shards", "2"]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        while !banner.contains("\n  stop") {
            if lines.read_line(&mut banner).unwrap() == 0 {
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
                panic!("the server ended early: {:?}: {said}", child.wait().unwrap());
            }
        }
        // Nobody may block on a full pipe.
        let mut errors = child.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        let url = banner.lines().find_map(|line| line.trim().strip_prefix("HTTP")).unwrap().trim().to_owned();
        Self { child, url }
    }

    /// Exit code, and standard output and error together.
    fn shell(&self, user: &str, password: &str, args: &[&str], input: &str) -> (i32, String) {
        let (mut said, out) = std::io::pipe().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
        command.args(args).env_clear().env("HIGHWATER_URL", &self.url).env("HIGHWATER_USER", user);
        command.env("HIGHWATER_PASSWORD", password).stdin(Stdio::piped());
        let mut child = command.stderr(out.try_clone().unwrap()).stdout(out).spawn().unwrap();
        drop(command);
        let _ended_early = child.stdin.take().unwrap().write_all(input.as_bytes());
        let mut text = String::new();
        said.read_to_string(&mut text).unwrap();
        (child.wait().unwrap().code().unwrap(), text)
    }

    fn root(&self, args: &[&str], input: &str) -> (i32, String) {
        self.shell("root", PASSWORD, args, input)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn statements_go_over_tls_to_a_server_that_is_believed(folder: &Path) {
    let certificate = |name: &str| format!("{}/../net/tests/certificates/{name}", env!("CARGO_MANIFEST_DIR"));
    let cert = format!("http.tls_cert={}", certificate("cluster-node.pem"));
    let key = format!("http.tls_key={}", certificate("cluster-node.key"));
    let server = Server::start(folder, &["--set", &cert, "--set", &key]);
    assert!(server.url.starts_with("https://"), "{}", server.url);
    let ask =
        |authority: &str| server.root(&["--cacert", &certificate(authority), "--csv", "-c", "SELECT 6 * 7 AS n"], "");
    assert_eq!(ask("cluster-ca.pem"), (0, "n\n42\n".to_owned()));
    let (code, said) = ask("other-ca.pem");
    assert!(code != 0 && said.contains("certificate"), "another authority's server is not believed: {said}");
    let (code, said) = server.root(&["-c", "SELECT 1"], "");
    assert!(code != 0 && said.contains("certificate"), "nor is one that no authority of this machine knows: {said}");
    assert_eq!(server.root(&["--insecure", "--csv", "-c", "SELECT 1 AS n"], ""), (0, "n\n1\n".to_owned()));
}

fn the_transcript_of_the_book_is_true(server: &Server) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/shell.md");
    let page = std::fs::read_to_string(path).unwrap();
    let begin = page.find("```transcript\n").unwrap() + "```transcript\n".len();
    let end = begin + page[begin..].find("```").unwrap();
    let mut inputs: Vec<String> = Vec::new();
    for line in page[begin..end].lines() {
        if let Some(first) = line.strip_prefix("=> ") {
            inputs.push(first.to_owned());
        } else if let Some(more) = line.strip_prefix("-> ") {
            let last = inputs.last_mut().unwrap();
            *last = format!("{last}\n{more}");
        }
    }
    let marked: Vec<String> =
        inputs.iter().enumerate().map(|(number, input)| format!("{input}\n\\echo @@@{number}\n")).collect();
    let (code, said) = server.root(&["--format", "table", "--keep-going", "-c", &marked.concat()], "");
    assert_eq!(code, 1, "some of its statements fail: {said}");
    let (mut drawn, mut rest) = (String::new(), said.as_str());
    for (number, input) in inputs.iter().enumerate() {
        let (answer, after) = rest.split_once(&format!("@@@{number}\n")).unwrap_or_else(|| panic!("{number}: {said}"));
        drawn.push_str(&format!("=> {}\n{answer}", input.replace('\n', "\n-> ")));
        rest = after;
    }
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, format!("{}{drawn}{}", &page[..begin], &page[end..])).unwrap();
        return;
    }
    assert_eq!(drawn, &page[begin..end], "{path} differs; UPDATE_GOLDEN=1 rewrites it");
}

fn rows_pass_through_files(server: &Server, folder: &Path) {
    let path = |name: &str| folder.join(name).display().to_string();
    let table = "(id BIGINT PRIMARY KEY, t TEXT, d DOUBLE, b BYTES, at TIMESTAMP, ok BOOLEAN, j JSON)";
    let made = format!(
        "CREATE TABLE app.a {table}; CREATE TABLE app.b {table}; CREATE TABLE app.c {table};
        INSERT INTO app.a VALUES (1, 'é, \"x\"\n', 1.5, X'00ff', '2026-01-02 03:04:05.000006', true, '{{\"a\": [1]}}'),
        (9007199254740993, '', NULL, NULL, NULL, NULL, NULL), (3, NULL, -1e300, X'', NULL, false, '\"\"');"
    );
    let (code, said) = server.root(&["-c", &made], "");
    assert_eq!(code, 0, "{said}");
    let all = |table: &str| server.root(&["--csv", "-c", &format!("SELECT * FROM app.{table} ORDER BY id")], "").1;
    for (table, ending) in [("b", "csv"), ("c", "tsv")] {
        let file = path(&format!("rows.{ending}"));
        let copies = format!("\\copy app.a TO {file}\n\\copy app.{table} FROM {file}");
        assert_eq!(server.root(&["-c", &copies], ""), (0, "copied 3 row(s)\ncopied 3 row(s)\n".to_owned()));
        assert_eq!(all(table), all("a"), "{ending}");
    }
    every_type_passes_through_json_lines(server, &path("types.jsonl"));
    let rows: String = (10..1300).map(|id| format!("{{\"id\":{id},\"t\":\"row {id}\",\"ok\":true}}\n")).collect();
    std::fs::write(path("many.jsonl"), &rows).unwrap();
    let many = format!("\\copy app.b FROM {}", path("many.jsonl"));
    assert_eq!(server.root(&["-c", &many], ""), (0, "copied 1290 row(s)\n".to_owned()));
    let (code, said) = server.root(&["-c", &many], "");
    assert!(code == 1 && said.contains("line 1: ") && said.contains("0 row(s) before it"), "{said}");
    let (_, lines) = server.root(&["--format", "jsonl", "-c", "SELECT * FROM app.b"], "");
    assert_eq!(lines.lines().count(), 1293);
}

fn every_type_passes_through_json_lines(server: &Server, file: &str) {
    let made = r#"CREATE TABLE app.types (id INT PRIMARY KEY, b BOOLEAN, s SMALLINT, n BIGINT, r REAL, d DOUBLE, dec DECIMAL(10, 2),
            t TEXT, bytes BYTES, j JSON, day DATE, tod TIME, at TIMESTAMP, instant TIMESTAMPTZ, span INTERVAL, u UUID,
            e EMBEDDING(2), ns BIGINT[], texts TEXT[], days DATE[], ats TIMESTAMP[], parts BYTES[]);
        INSERT INTO app.types VALUES (1, true, 3, 9007199254740993, 1.5, 1e300, 9.95, 'é "x"', X'00ff', '{"a": [1.50]}', '2026-01-02',
            '24:00', '2026-01-02 03:04:05.000006', '0001-01-02 BC', '1 month -2 days 03:04',
            'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '[0.1,0.2]', '{1,NULL}', ARRAY['a,b', NULL, 'NULL', 'q"\'],
            '{2026-01-02,NULL}', '{2026-01-02 03:04:05}', ARRAY[X'00ff']);
        INSERT INTO app.types (id, r, d, j, day) VALUES (2, 'NaN', '-Infinity', '"text"', '12026-01-02'), (3, 0, 0, '5', '0044-03-15 BC');"#;
    assert_eq!(server.root(&["-c", made], "").0, 0);
    let all = || server.root(&["--json", "-c", "SELECT * FROM app.types ORDER BY id"], "").1;
    let before = all();
    every_type_passes_through_arrow(server, &format!("{file}.arrows"));
    let copies = format!("\\copy app.types TO {file}\nDELETE FROM app.types;\n\\copy app.types FROM {file}");
    let (code, said) = server.root(&["-c", &copies], "");
    assert!(code == 0 && said.ends_with("copied 3 row(s)\n"), "{said}");
    assert_eq!(all(), before);
}

fn every_type_passes_through_arrow(server: &Server, file: &str) {
    // Arrow knows no 24:00.
    let columns = "id, b, s, n, r, d, dec, dec::DECIMAL AS own, t, bytes, j, day, TIME '23:59:59.000001' AS tod, at, instant, span, u, e,
        ns, texts, days, ats, parts";
    let sql = format!("SELECT {} FROM app.types ORDER BY id", columns.replace('\n', ""));
    let (code, said) = server.root(&["-c", &format!("\\copy ({sql}) TO {file}")], "");
    assert_eq!((code, said.as_str()), (0, "copied 3 row(s)\n"));
    let reader = StreamReader::try_new(std::fs::File::open(file).unwrap(), None).unwrap();
    let types =
        reader.schema().fields().iter().map(|field| field.data_type().to_string()).collect::<Vec<_>>().join("; ");
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>().unwrap();
    assert_eq!(
        types,
        "Int32; Boolean; Int16; Int64; Float32; Float64; Decimal128(10, 2); Utf8; Utf8; Binary; Utf8; Date32; Time64(µs); \
         Timestamp(µs); Timestamp(µs, \"UTC\"); Interval(MonthDayNano); Utf8; FixedSizeList(2 x Float32); List(Int64); List(Utf8); \
         List(Date32); List(Timestamp(µs)); List(Binary)"
    );
    let [batch] = batches.as_slice() else { panic!("{} batches", batches.len()) };
    let is_null = |column: &str, row: usize| batch.column_by_name(column).unwrap().is_null(row);
    assert_eq!(batch.num_rows(), 3);
    for column in ["b", "n", "own", "t", "bytes", "at", "instant", "span", "u", "e", "ns", "parts"] {
        assert_eq!([0, 1, 2].map(|row| is_null(column, row)), [false, true, true], "{column}");
    }
    let column = |name: &str| batch.column_by_name(name).unwrap();
    assert_eq!(column("n").as_primitive::<Int64Type>().value(0), 9_007_199_254_740_993);
    assert!(column("r").as_primitive::<Float32Type>().value(1).is_nan());
    assert_eq!(column("d").as_primitive::<Float64Type>().values(), &[1e300, f64::NEG_INFINITY, 0.0]);
    assert_eq!(column("dec").as_primitive::<Decimal128Type>().value_as_string(0), "9.95");
    assert_eq!(column("t").as_string::<i32>().value(0), "é \"x\"");
    assert_eq!(column("bytes").as_binary::<i32>().value(0), [0, 255]);
    assert_eq!(column("j").as_string::<i32>().value(0), "{\"a\":[1.50]}");
    assert_eq!(column("day").as_primitive::<Date32Type>().value(0), 20_455);
    assert_eq!(column("tod").as_primitive::<Time64MicrosecondType>().value(0), 86_399_000_001);
    assert_eq!(column("at").as_primitive::<TimestampMicrosecondType>().value(0), 1_767_323_045_000_006);
    let span = column("span").as_primitive::<IntervalMonthDayNanoType>().value(0);
    assert_eq!((span.months, span.days, span.nanoseconds), (1, -2, 11_040_000_000_000));
    assert_eq!(column("u").as_string::<i32>().value(0), "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
    assert_eq!(column("e").as_fixed_size_list().value(0).as_primitive::<Float32Type>().values(), &[0.1, 0.2]);
    let texts = column("texts").as_list::<i32>().value(0);
    assert_eq!(texts.as_string::<i32>().iter().collect::<Vec<_>>(), [Some("a,b"), None, Some("NULL"), Some("q\"\\")]);
    assert_eq!(column("parts").as_list::<i32>().value(0).as_binary::<i32>().value(0), [0, 255]);
    let (code, said) = server.root(&["-c", &format!("\\copy app.types TO {file}")], "");
    assert!(code == 1 && said.contains("column \"tod\": 86400000000 does not fit"), "{said}");
}

fn the_doctor_finds_nothing(server: &Server) {
    let (code, said) = server.root(&["doctor"], "");
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains("error") && said.contains("role system"), "{said}");
    let (code, said) = server.shell("root", "wrong", &["doctor"], "");
    assert!(code == 5 && said.contains("error    login"), "{said}");
}

fn a_user_sees_its_own(server: &Server) {
    let made = "CREATE USER ann WITH PASSWORD 'a long password'; CREATE USER TABLE app.notes (id BIGINT PRIMARY KEY, body TEXT);
        INSERT INTO app.notes VALUES (1, 'of root');\n\\as ann INSERT INTO app.notes VALUES (2, 'of ann')";
    let (code, said) = server.root(&["-c", made], "");
    assert_eq!(code, 0, "{said}");
    let (_, said) = server.shell("ann", "a long password", &["--csv", "-n", "app", "-c", "SELECT body FROM notes"], "");
    assert_eq!(said, "body\nof ann\n");
    let (code, said) = server.shell("ann", "a long password", &["-c", "\\d app.notes"], "");
    assert!(code == 1 && said.contains("42501"), "{said}");
}

fn the_prompt_completes_and_cancels(server: &Server, folder: &Path) {
    let terminal = Terminal::start(
        &["--namespace", "app"],
        &[
            ("HIGHWATER_URL", &server.url),
            ("HIGHWATER_PASSWORD", PASSWORD),
            ("HOME", folder.to_str().unwrap()),
            ("NO_COLOR", "1"),
        ],
    );
    terminal.wait_for_last_line("root@app=>");
    terminal.send("SELECT pr\x1b[D\x1b[D");
    terminal.send("\x05\x17");
    terminal.send("region FROM pric\t");
    terminal.wait_for_last_line("root@app=> SELECT region FROM prices");
    terminal.send("WHERE sk\t");
    terminal.wait_for_last_line("root@app=> SELECT region FROM prices WHERE sku");
    terminal.send("= 2;\r");
    terminal.wait_for_text(" eu\n(1 row)");
    terminal.send("CREATE TOPIC t;\r");
    terminal.wait_for_text("Created topic");
    terminal.send("CONSUME FROM t WITH (timeout = '300s');\r");
    terminal.wait_for("the statement under way", |screen| screen.contains("300s') ;") || screen.contains("300s');"));
    // Whether the request is out yet or not, Ctrl-C ends in a prompt that works.
    terminal.wait_for("the progress line", |screen| screen.contains("Ctrl-C cancels"));
    terminal.send("\x03");
    terminal.wait_for_text("error: cancelled");
    terminal.wait_for_last_line("root@app=>");
    terminal.send("SELECT 6 * 7 AS answer;\r");
    terminal.wait_for_text("     42\n");
    terminal.send("\\q\r");
    assert_eq!(terminal.end(), 0);
}
