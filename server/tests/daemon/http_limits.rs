//! The HTTP interface under limits: other origins, rates, TLS, large answers, clients that hold on, and a stop.
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::running::{PASSWORD, Server};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};

fn exchange(stream: &mut (impl std::io::Read + std::io::Write), text: &str) -> String {
    let _ = stream.write_all(text.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines()
        .find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)))
        .map(|(_, value)| value)
}

#[test]
fn pages_of_other_origins_read_answers_only_where_configured() {
    let folder = tempfile::tempdir().unwrap();
    let ask = |server: &Server, method: &str, origin: &str, more: &str| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let head =
            format!("{method} /v1/api/sql HTTP/1.1\r\nhost: x\r\norigin: {origin}\r\nconnection: close\r\n{more}\r\n");
        exchange(&mut stream, &head)
    };
    let preflight = "access-control-request-method: POST\r\naccess-control-request-headers: authorization\r\n";
    let server = Server::start(folder.path(), &["--set", "http.cors_origins=https://app.test"]);
    let yes = ask(&server, "OPTIONS", "https://app.test", preflight);
    assert!(yes.starts_with("HTTP/1.1 204"), "{yes}");
    assert_eq!(header(&yes, "access-control-allow-origin"), Some("https://app.test"));
    assert!(header(&yes, "access-control-allow-headers").unwrap().contains("authorization"));
    assert_eq!(header(&yes, "access-control-allow-credentials"), None);
    let answer = ask(&server, "POST", "https://app.test", "content-length: 0\r\n");
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(header(&answer, "access-control-allow-origin"), Some("https://app.test"));
    let no = ask(&server, "OPTIONS", "https://evil.test", preflight);
    assert!(no.starts_with("HTTP/1.1 405"), "{no}");
    for answer in [no, ask(&server, "POST", "https://evil.test", "content-length: 0\r\n")] {
        assert_eq!(header(&answer, "access-control-allow-origin"), None);
        assert_eq!(header(&answer, "vary"), Some("origin"));
    }
    server.stop();
    let server = Server::start(folder.path(), &[]);
    let silent = ask(&server, "OPTIONS", "https://app.test", preflight);
    assert!(silent.starts_with("HTTP/1.1 405") && header(&silent, "access-control-allow-origin").is_none());
}

#[test]
fn users_and_addresses_have_rates_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "http.rate_per_user=5"]);
    let root = server.login("root", PASSWORD);
    assert_eq!(server.sql(&root, "CREATE USER anna WITH PASSWORD 'a'").status, 200);
    let anna = server.login("anna", "a");
    let refused = (0..200).map(|_| server.sql(&anna, "SELECT 1")).find(|answer| answer.status != 200).unwrap();
    assert_eq!(
        (refused.status, refused.code(), refused.header("retry-after")),
        (429, "RATE_LIMIT_EXCEEDED", Some("1"))
    );
    assert!(refused.message().contains("http.rate_per_user"));
    assert_eq!(server.sql(&root, "SELECT 1").status, 200, "others are not slowed down");
    server.stop();
    let server = Server::start(folder.path(), &["--set", "http.rate_per_address=5"]);
    let refused = (0..200).map(|_| server.try_login("nobody", "x")).find(|answer| answer.status == 429).unwrap();
    assert_eq!(refused.code(), "rate_limited");
    assert_eq!(server.get("/ready", &[]).status, 200, "health is told in any case");
}

fn certificate(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../net/tests/certificates").join(name)
}

/// GET /ready over TLS, by a client that believes one CA.
fn over_tls(address: &str, ca: &str) -> std::io::Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate(ca)).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let mut connection = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(address)?;
    let mut stream = rustls::Stream::new(&mut connection, &mut socket);
    stream.write_all(b"GET /ready HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[test]
fn https_speaks_tls_and_takes_a_new_certificate_on_sighup() {
    let folder = tempfile::tempdir().unwrap();
    let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    let put = |name: &str| {
        std::fs::copy(certificate(&format!("{name}.pem")), &cert).unwrap();
        std::fs::copy(certificate(&format!("{name}.key")), &key).unwrap();
    };
    put("cluster-node");
    let (cert_set, key_set) = (format!("http.tls_cert={}", cert.display()), format!("http.tls_key={}", key.display()));
    let server = Server::start(&folder.path().join("data"), &["--set", &cert_set, "--set", &key_set]);
    assert!(server.url.starts_with("https://"), "{}", server.banner);
    assert!(over_tls(server.address(), "cluster-ca.pem").unwrap().contains("\"ready\""));
    assert!(over_tls(server.address(), "other-ca.pem").is_err(), "another CA's certificate is not believed");
    let plain = exchange(&mut TcpStream::connect(server.address()).unwrap(), "GET /ready HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(!plain.contains("200 OK"), "{plain}");

    // A certificate that cannot be used changes nothing.
    std::fs::write(&key, "no key").unwrap();
    server.signal("HUP");
    put("other-node");
    server.signal("HUP");
    let late = Instant::now() + Duration::from_secs(20);
    while over_tls(server.address(), "other-ca.pem").is_err() {
        assert!(Instant::now() < late, "the certificate was not taken");
        server.signal("HUP");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(over_tls(server.address(), "cluster-ca.pem").is_err());
    server.stop();
}

#[test]
fn a_large_answer_is_sent_in_chunks_and_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    assert_eq!(server.sql(&root, "CREATE TABLE t (id BIGINT PRIMARY KEY, v TEXT)").status, 200);
    for batch in 0..10 {
        let rows: Vec<String> = (0..400).map(|at| format!("({}, '{}')", batch * 400 + at, "v".repeat(200))).collect();
        assert_eq!(server.sql(&root, &format!("INSERT INTO t VALUES {}", rows.join(","))).status, 200);
    }
    let answer = server.sql(&root, "SELECT id, v FROM t ORDER BY id");
    assert_eq!(answer.header("transfer-encoding"), Some("chunked"));
    let result = &answer.json["results"][0];
    assert_eq!((result["row_count"].as_u64(), result["rows"].as_array().unwrap().len()), (Some(4000), 4000));
    assert_eq!(result["rows"][3999][0], "3999");
    assert!(answer.json["token"].is_string() && answer.json["took"].is_number());
}

#[test]
fn clients_that_hold_on_cost_little_and_delay_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "http.head_timeout=1s", "--set", "http.body_timeout=1s"]);
    let root = server.login("root", PASSWORD);
    let before = server.resident_bytes();
    let idle: Vec<TcpStream> = (0..500).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let open = |text: String| {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let heads: Vec<TcpStream> = (0..100).map(|_| open("POST /v1/api/sql HTTP/1.1\r\nhost:".into())).collect();
    let bodies = (0..100)
        .map(|_| open("POST /v1/api/sql HTTP/1.1\r\nhost: x\r\ncontent-length: 9000000\r\n\r\n{\"sql\":".into()));
    let bodies: Vec<TcpStream> = bodies.collect();
    // A body that is announced takes no memory before it comes.
    let each = server.resident_bytes().saturating_sub(before) / 700;
    assert!(each < 64 << 10, "{each} bytes per connection");
    assert_eq!(server.sql(&root, "SELECT 1").status, 200);
    for mut stream in heads {
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        assert_eq!(stream.read(&mut [0; 1]).unwrap_or(0), 0, "a head that never ends is not waited for");
    }
    for mut stream in bodies {
        let mut answer = String::new();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("x-request-id: "), "{answer}");
    }
    drop(idle);
    // A head that begins behind a whole request, in the same packet, is waited for as long as any.
    for first in
        ["GET /ready HTTP/1.1\r\nhost: x\r\n\r\n", "POST /ready HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n{}  "]
    {
        let began = std::time::Instant::now();
        let mut stream = open(format!("{first}GET /ready HTTP/1.1\r\nhost:"));
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 ") && began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }

    // Requests that come before the answers to those before them are answered in their order.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let count = 500;
    let mut text = "GET /ready HTTP/1.1\r\nhost: x\r\n\r\n".repeat(count);
    text.push_str("GET /v1/api/none HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let answer = exchange(&mut stream, &text);
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), count);
    assert_eq!(answer.matches("HTTP/1.1 404").count(), 1);

    // A head that is too large, and more headers than anyone sends.
    for more in [format!("x: {}\r\n", "y".repeat(80 << 10)), "a: b\r\n".repeat(200)] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let answer = exchange(&mut stream, &format!("GET /ready HTTP/1.1\r\nhost: x\r\n{more}\r\n"));
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer:.60}");
    }
    assert_eq!(server.get("/ready", &[]).status, 200);
}

#[test]
fn a_stop_ends_what_is_in_flight_and_refuses_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &[]);
    let root = server.login("root", PASSWORD);
    assert_eq!(server.sql(&root, "CREATE TABLE t (id BIGINT PRIMARY KEY)").status, 200);
    let batch: Vec<String> = (0..1000).map(|id| format!("INSERT INTO t VALUES ({id})")).collect();
    std::thread::scope(|threads| {
        let working = threads.spawn(|| server.sql(&root, &batch.join(";")));
        while server.sql(&root, "SELECT count(*) FROM t").json["results"][0]["rows"][0][0] == json!("0") {
            assert!(!working.is_finished(), "{:?}", working.join());
        }
        server.signal("TERM");
        let mut was_refused = false;
        while !working.is_finished() {
            let Ok(mut stream) = TcpStream::connect(server.address()) else { continue };
            let answer = exchange(&mut stream, "POST /v1/api/sql HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n");
            was_refused |= answer.starts_with("HTTP/1.1 503") && answer.contains("shutting down");
        }
        let answer = working.join().unwrap();
        assert_eq!((answer.status, &answer.json["results"][0]["row_count"]), (200, &json!(1000)), "{answer:?}");
        assert!(was_refused, "a new request is told that the server stops");
    });
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_load_balancer_gets_time_to_notice_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "shutdown_delay=3s"]);
    let root = server.login("root", PASSWORD);
    server.signal("TERM");
    let late = Instant::now() + Duration::from_secs(2);
    while server.get("/ready", &[]).status == 200 {
        assert!(Instant::now() < late, "/ready does not tell");
    }
    let ready: Value = server.get("/ready", &[]).json;
    assert_eq!(ready["status"], "stopping");
    assert_eq!(server.sql(&root, "SELECT 1").status, 200, "requests are still served");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn an_answer_of_any_size_streams_however_large_its_rows_become() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "sql.max_result=1MiB"]);
    let root = server.login("root", PASSWORD);
    assert_eq!(server.sql(&root, "CREATE NAMESPACE app; CREATE TABLE app.t (id BIGINT PRIMARY KEY)").status, 200);
    let rows: Vec<String> = (0..600).map(|id| format!("({id})")).collect();
    assert_eq!(server.sql(&root, &format!("INSERT INTO app.t VALUES {}", rows.join(", "))).status, 200);
    // A page of source rows is small; what is made of it is not.
    let wide = server.sql(&root, "SELECT id, rpad('', 15000, 'x') AS wide FROM app.t");
    assert_eq!((wide.status, &wide.json["results"][0]["row_count"]), (200, &serde_json::json!(600)));
    let held = server.sql(&root, "SELECT id, rpad('', 15000, 'x') AS wide FROM app.t ORDER BY wide, id");
    assert_eq!(held.status, 400, "what has to be held is bounded");
}

/// A connection on which a statement was sent, and nothing of its answer was read.
fn asked(server: &Server, token: &str, session: Option<&str>, sql: &str) -> TcpStream {
    let session = session.map_or_else(String::new, |session| format!("x-highwater-session: {session}\r\n"));
    let body = json!({ "sql": sql }).to_string();
    let mut socket = TcpStream::connect(server.address()).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST /v1/api/sql HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         {session}content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).unwrap();
    socket
}

/// Bytes of an answer, read from the socket slowly at first and then to its end; `look` is called while most of it waits.
fn slowly(server: &Server, token: &str, sql: &str, look: impl FnOnce()) -> String {
    let mut socket = asked(server, token, None, sql);
    let mut answer = vec![0; 4096];
    socket.read_exact(&mut answer).unwrap();
    look();
    socket.read_to_end(&mut answer).unwrap();
    String::from_utf8(answer).unwrap()
}

#[test]
fn rows_of_many_shards_stream_beyond_the_limit_to_a_slow_reader() {
    const ROWS: u64 = 24_000;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(
        folder.path(),
        &["--set", "sql.max_result=2MiB", "--set", "sql.max_result_rows=10000", "--cores", "2"],
    );
    let root = server.login("root", PASSWORD);
    let run = |sql: &str| server.sql(&root, sql);
    let made = run(
        "CREATE NAMESPACE app; CREATE TABLE app.t (part INT, id BIGINT, v TEXT, PRIMARY KEY (part, id)) PARTITION BY (part)",
    );
    assert_eq!(made.status, 200, "{made:?}");
    for batch in 0..ROWS / 500 {
        let rows: Vec<String> =
            (0..500).map(|at| format!("({batch}, {}, '{}')", batch * 500 + at, "v".repeat(1000))).collect();
        let written = run(&format!("INSERT INTO app.t VALUES {}", rows.join(",")));
        assert_eq!(written.status, 200, "{written:?}");
    }
    let before = server.resident_bytes();
    let answer = slowly(&server, &root, "SELECT id, v FROM app.t", || {
        // What changes while the answer waits is not in it: every shard is read as it was.
        assert_eq!(run("DELETE FROM app.t WHERE part = 3").status, 200);
        assert_eq!(run(&format!("INSERT INTO app.t VALUES (100, {}, 'late')", ROWS + 1)).status, 200);
        let held = server.resident_bytes().saturating_sub(before);
        assert!(held < 14 << 20, "{held} bytes are held for an answer of 24 MiB that is not taken");
    });
    assert!(answer.contains(&format!("\"row_count\":{ROWS}")), "{}", &answer[answer.len() - 300..]);
    let seen = (0..ROWS).filter(|id| answer.contains(&format!("[\"{id}\","))).count();
    assert!(seen as u64 >= ROWS * 99 / 100, "{seen}: a row may be cut by the frame of a chunk, no more");
    assert!(!answer.contains("late"));

    // LIMIT and OFFSET count over all shards.
    for (tail, count) in [("LIMIT 12000", 12_000), ("LIMIT 12000 OFFSET 13000", 10_501), ("OFFSET 30000", 0)] {
        let cut = run(&format!("SELECT id FROM app.t {tail}"));
        assert_eq!((cut.status, &cut.json["results"][0]["row_count"]), (200, &json!(count)), "{tail}");
        let ids: std::collections::BTreeSet<&str> =
            cut.json["results"][0]["rows"].as_array().unwrap().iter().filter_map(|row| row[0].as_str()).collect();
        assert_eq!(ids.len(), count, "{tail}: no row comes twice");
    }
    // Volatile values of different shards are different.
    let drawn = run("SELECT uuid_v7() FROM app.t LIMIT 11000");
    let ids: std::collections::BTreeSet<&str> =
        drawn.json["results"][0]["rows"].as_array().unwrap().iter().filter_map(|row| row[0].as_str()).collect();
    assert_eq!(ids.len(), 11_000);
    assert_eq!(run("SELECT id FROM app.t ORDER BY v, id").status, 400, "what has to be held is bounded");
}

#[test]
fn what_all_queries_hold_for_slow_readers_has_a_bound() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &["--set", "sql.max_memory=48MiB", "--cores", "2"]);
    let root = server.login("root", PASSWORD);
    let sql = "SELECT n, repeat('x', 1000) FROM generate_series(1, 16000) n ORDER BY n DESC";
    let ask = |session: Option<&str>| {
        let mut socket = asked(&server, &root, session, sql);
        let mut answer = [0; 12];
        socket.read_exact(&mut answer).unwrap();
        (String::from_utf8(answer.to_vec()).unwrap(), socket)
    };
    // Each holds sixteen megabytes that nobody takes, more than sockets do.
    let are_bounded = |readers: &[(String, TcpStream)]| {
        let with = |status: &str| readers.iter().filter(|(line, _)| line == &format!("HTTP/1.1 {status}")).count();
        assert!((1..=3).contains(&with("200")) && with("200") + with("503") == 8, "{readers:?}");
    };
    let readers: Vec<(String, TcpStream)> = (0..8).map(|_| ask(None)).collect();
    are_bounded(&readers);
    let refused = server.sql(&root, sql);
    let details = refused.json["error"]["details"].as_str().unwrap().to_owned();
    assert!(refused.status == 503 && details.contains("53200"), "{refused:?}");
    assert_eq!(server.sql(&root, "SELECT 1").status, 200, "what is small goes on");
    drop(readers);
    let late = Instant::now() + Duration::from_secs(60);
    while ask(None).0 != "HTTP/1.1 200" {
        assert!(Instant::now() < late, "what was held is not given back");
        std::thread::sleep(Duration::from_millis(20));
    }
    // What transactions read is held alike.
    let begin = || server.sql(&root, "BEGIN").json["session_id"].as_str().unwrap().to_owned();
    let readers: Vec<(String, TcpStream)> = (0..8).map(|_| ask(Some(&begin()))).collect();
    are_bounded(&readers);
}
