//! `highwater-load` and `highwater-leak` against a real `highwaterd`: this program is the daemon too. Started with [`SERVER`] set it is the daemon, so that
//! the test needs no binary of another package; otherwise it starts itself that way and runs the generator.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test of real processes on a real folder"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};

use serde_json::Value;

/// Environment variable that makes this program the daemon.
const SERVER: &str = "LOAD_TEST_IS_SERVER";
const PASSWORD: &str = "correct horse";

fn main() -> ExitCode {
    if std::env::var_os(SERVER).is_some() {
        return highwater_server::daemon::main();
    }
    if std::env::args().any(|argument| argument == "--list") {
        println!("load: test");
        return ExitCode::SUCCESS;
    }
    errors_are_sentences();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path());
    load_is_verified(&server.url);
    println!("highwater-load: ok");
    nothing_leaks();
    println!("highwater-leak: ok");
    ExitCode::SUCCESS
}

/// A server; killed when dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("HIGHWATER_")) {
            command.env_remove(name);
        }
        command.env(SERVER, "1").args(["--data-dir", folder.to_str().unwrap(), "--http-addr", "127.0.0.1:0"]);
        command.args(["--root-password", PASSWORD, "--set", "auth.scram_iterations=4096", "--cores", "1"]);
        command.args(["--user-shards", "2", "--shared-shards", "2"]);
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
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A slice of `highwater-leak`, which starts this program as its server.
fn nothing_leaks() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater-leak"));
    command.env(SERVER, "1").args(["--statements", "600", "--seed", "3", "--highwaterd"]);
    let done = command.arg(std::env::current_exe().unwrap()).stderr(Stdio::null()).output().unwrap();
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(done.status.success() && said.contains("violations: 0"), "{said}");
}

/// Exit code, standard output and standard error.
fn load(url: &str, password: &str, arguments: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater-load"));
    command.env_clear().env("HIGHWATER_URL", url).env("HIGHWATER_PASSWORD", password);
    command.args(["--users", "3", "--rows", "60", "--connections", "4"]);
    if !arguments.contains("--warmup") {
        command.args(["--warmup", "0.05"]);
    }
    if !arguments.contains("--seconds") {
        command.args(["--seconds", "0.3"]);
    }
    let output = command.args(arguments.split(' ')).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The JSON document of a run that went well.
fn document(url: &str, arguments: &str) -> Value {
    let (code, out, err) = load(url, PASSWORD, &format!("{arguments} --json"));
    assert_eq!(code, 0, "{arguments}: {out}\n{err}");
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
}

fn done(document: &Value, operation: &str) -> u64 {
    document["operations"][operation]["done"].as_u64().unwrap_or_else(|| panic!("{document:#}"))
}

fn load_is_verified(url: &str) {
    let (code, _, err) = load(url, "wrong", "insert");
    assert!(code == 4 && err.contains("was refused"), "{err}");
    let (code, _, err) = load(url, PASSWORD, "insert");
    assert!(code == 1 && err.contains("--setup"), "{err}");

    // Twice: what is there is left as it is.
    assert_eq!(load(url, PASSWORD, "--setup --partitions 2").0, 0);
    let inserts = document(url, "insert --setup --verify");
    let facts = &inserts["verified"]["facts"];
    assert!(done(&inserts, "insert") > 0 && facts["acknowledged"] == facts["rows_found"], "{inserts:#}");

    let (code, out, err) = load(url, PASSWORD, "insert --rate 100 --verify");
    assert!(code == 0 && out.contains("from the intended start") && out.contains("violations 0"), "{out}\n{err}");

    let selects = document(url, "select --verify");
    assert!(done(&selects, "select") > 0, "{selects:#}");
    let (code, out, err) = load(url, PASSWORD, "select --verify --seed 2");
    assert!(code == 1 && out.contains("WRONG_ROW") && out.contains("VIOLATION: row"), "rows of another seed: {out}");
    assert!(err.contains("hint: rows of --seed 2, --rows 60,") && err.contains("--setup"), "{err}");

    let consumed = document(url, "consume --verify --producers 2");
    let facts = &consumed["verified"]["facts"];
    assert!(done(&consumed, "deliver") > 0, "{consumed:#}");
    assert!(facts["messages"].as_u64() >= facts["acknowledged"].as_u64(), "{consumed:#}");
    what_an_older_run_left_behind_does_not_count(url);

    for workload in ["put", "update --request-ids --threads 2", "update --rate 100"] {
        assert!(done(&document(url, workload), workload.split(' ').next().unwrap()) > 0, "{workload}");
    }
    assert!(done(&document(url, "select --verify"), "select") > 0, "what was updated is as it was");
    connections_are_shared(url);
    a_node_that_is_gone_is_survived(url, "1");
    a_node_that_is_gone_is_survived(url, "2");
    mixtures_sweeps_and_folders(url);

    assert_eq!(load(url, PASSWORD, "--cleanup").0, 0);
    assert_eq!(load(url, PASSWORD, "select").0, 1, "the tables are gone");
}

fn what_an_older_run_left_behind_does_not_count(url: &str) {
    let consume = "consume --group g --producers 2";
    document(url, consume);
    let backlog = done(&document(url, "insert"), "insert");
    let few = document(url, &format!("{consume} --rate 40 --warmup 0"));
    assert!(done(&few, "deliver") <= 2 * 40 && backlog > 2 * 40, "{backlog} were there before: {few:#}");
    let new = document(url, "consume --verify --producers 2 --rate 40");
    let messages = new["verified"]["facts"]["messages"].as_u64().unwrap();
    assert!(messages < backlog, "a new group starts at the end: {new:#}");
    // What is there may be read in less time than a run warms up.
    let all = document(url, "consume --producers 0 --warmup 0");
    assert!(done(&all, "deliver") > 0 && all["operations"]["deliver"]["milliseconds"].is_null(), "{all:#}");
}

/// The same over HTTP/2.
fn connections_are_shared(url: &str) {
    let inserts = document(url, "insert --verify --streams 4");
    let facts = &inserts["verified"]["facts"];
    assert!(done(&inserts, "insert") > 0 && facts["acknowledged"] == facts["rows_found"], "{inserts:#}");
    assert!(done(&document(url, "select --verify --streams 3"), "select") > 0);
    // Larger than what may be under way of one request.
    assert!(done(&document(url, "put --streams 4 --payload-bytes 200000"), "put") > 0);
    let (code, out, err) = load(url, PASSWORD, "select --verify --seed 2 --streams 2");
    assert!(code == 1 && out.contains("WRONG_ROW"), "{out}\n{err}");
    let (code, _, err) = load(url, PASSWORD, "select --streams 2 --postgres postgres://nobody@127.0.0.1:1/none");
    assert!(code == 2 && err.contains("--streams"), "{err}");
}

fn mixtures_sweeps_and_folders(url: &str) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mixed =
        document(url, &format!("mixed --mix select=5,update=3,put=1,insert=1 --rate 200 --out {}", out.display()));
    assert!(done(&mixed, "select") > done(&mixed, "put") && done(&mixed, "insert") > 0, "{mixed:#}");
    let select = &mixed["operations"]["select"];
    let at = |which: &str| select[which]["p50"].as_f64().unwrap();
    assert!(at("service_milliseconds") <= at("milliseconds") * 1.01 + 0.01, "waiting comes on top: {select:#}");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).unwrap();
    let run: Value = serde_json::from_str(&read("run.json")).unwrap();
    assert_eq!(run["operations"], mixed["operations"]);
    for name in ["select.hgrm", "select.service.hgrm", "update.hgrm", "put.hgrm", "insert.hgrm"] {
        assert!(read(name).contains("#[Mean"), "{name}");
    }
    assert!(read("report.html").contains("<svg") && read("intervals.csv").lines().count() > 1);

    // Which rates hold is the machine's affair.
    let swept = document(url, "select --rate 50 --sweep p99=10000 --precision 1 --seconds 0.4");
    assert!(swept["sweep"]["best"]["rate"].as_f64().unwrap() > 0.0, "{:#}", swept["sweep"]);
    let first = &swept["sweep"]["steps"][0];
    let (scheduled, achieved) = (first["scheduled"].as_f64().unwrap(), first["achieved"].as_f64().unwrap());
    assert!(scheduled > 0.0 && achieved <= scheduled, "what was done is measured by the schedule: {first:#}");
    let (code, out, err) = load(url, PASSWORD, "select --rate 4 --sweep p99=0.001 --seconds 0.5");
    assert!(code == 1 && out.contains("no rate held"), "{out}\n{err}");
    let (code, _, err) = load(url, PASSWORD, "select --postgres postgres://nobody@127.0.0.1:1/none");
    assert!(code == 3 && err.contains("no PostgreSQL at 127.0.0.1:1"), "{err}");
}

/// Half of the connections begin at a node that nobody listens at.
fn a_node_that_is_gone_is_survived(url: &str, streams: &str) {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = format!("http://{gone},{url}");
    let (code, out, err) = load(&urls, PASSWORD, &format!("insert --verify --json --streams {streams}"));
    assert!(code == 0 && err.contains(&format!("warning: no answer from http://{gone}")), "{out}\n{err}");
    let inserts: Value = serde_json::from_str(&out).unwrap();
    let facts = &inserts["verified"]["facts"];
    assert!(done(&inserts, "insert") > 0 && facts["acknowledged"] == facts["rows_found"], "{inserts:#}");
    assert!(err.contains("NO_CONNECTION 2"), "two of four connections find nobody, once: {err}");
}

fn errors_are_sentences() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let other = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1000]);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").unwrap();
    });
    let (code, _, err) = load(&url, PASSWORD, "insert");
    assert!(code == 3 && err.contains("is not a Highwater server"), "{err}");
    other.join().unwrap();
    let (code, _, err) = load(&url, PASSWORD, "insert");
    assert!(code == 3 && err.contains("is highwaterd running there?"), "{err}");
    assert_eq!(load("ftp://x", PASSWORD, "insert").0, 2);
}
