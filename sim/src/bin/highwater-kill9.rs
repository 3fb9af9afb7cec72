//! Ring 3: a real server under load, killed with SIGKILL again and again, every acknowledgement checked.
//!
//! Writers (one user each) insert rows under request ids and retry what a kill left unknown; consumers of one group read a
//! topic fed by those rows and ack. After every restart and at the end: every acknowledged insert is there exactly once, every
//! row has exactly one message and the other way round, offsets have no holes, and committed offsets never went back.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a checker of real processes: it starts programs, threads and connections; indexing JSON gives null, it never panics"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use clap::Parser;
use serde_json::{Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const PARTITIONS: u32 = 4;
const PASSWORD: &str = "kill-nine-root-password";

/// Kills a server under load, many times, and checks every acknowledgement.
#[derive(Parser, Clone)]
struct Args {
    /// How often to kill.
    #[arg(long, default_value_t = 100)]
    rounds: u32,
    /// The server.
    #[arg(long, default_value = "target/release/highwaterd")]
    server: PathBuf,
    /// Data folder; must not exist.
    #[arg(long, default_value = "target/kill9-data")]
    data_dir: PathBuf,
    /// Port of the server.
    #[arg(long, default_value_t = 29_170)]
    port: u16,
    /// Writing users.
    #[arg(long, default_value_t = 6)]
    writers: u32,
    /// Consumers of one group.
    #[arg(long, default_value_t = 2)]
    consumers: u32,
    /// Shortest and longest life of the server between kills, in milliseconds.
    #[arg(long, num_args = 2, default_values_t = [150, 900])]
    life: Vec<u64>,
    /// Instead of killing: insert this many rows over one connection and compare with the device's count of flushes.
    #[arg(long)]
    count_flushes: Option<u64>,
    /// Seed of the kills' times.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// What the clients know, shared by all threads.
#[derive(Default)]
struct Known {
    /// Per user: ids whose insert was acknowledged.
    inserted: Mutex<BTreeMap<String, BTreeSet<i64>>>,
    /// Per user: ids whose last try has no answer yet.
    unknown: Mutex<BTreeMap<String, BTreeSet<i64>>>,
    /// Per partition: the highest offset that an answered ack committed.
    committed: Mutex<BTreeMap<u32, i64>>,
    /// Per (partition, offset): the key that was delivered there.
    delivered: Mutex<BTreeMap<(u32, i64), String>>,
    violations: Mutex<Vec<String>>,
    lost: AtomicU64,
    retried: AtomicU64,
    acks: AtomicU64,
    stop: AtomicBool,
}

impl Known {
    fn violation(&self, what: String) {
        eprintln!("VIOLATION: {what}");
        lock(&self.violations).push(what);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

struct Client {
    agent: ureq::Agent,
    base: String,
    user: String,
    password: String,
    token: Option<String>,
}

/// An answer of the server, or none.
enum Reply {
    Done(Value),
    Refused(u16, Value),
    Nothing,
}

impl Client {
    fn new(args: &Args, user: &str, password: &str) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(30)))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Self {
            agent,
            base: format!("http://127.0.0.1:{}", args.port),
            user: user.to_owned(),
            password: password.to_owned(),
            token: None,
        }
    }

    fn post(&mut self, path: &str, body: &Value) -> Reply {
        if self.token.is_none() && path != "/v1/api/auth/login" {
            let login = json!({"user": self.user, "password": self.password});
            match self.post("/v1/api/auth/login", &login) {
                Reply::Done(answer) => self.token = answer["access_token"].as_str().map(str::to_owned),
                other => return other,
            }
        }
        let mut request = self.agent.post(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let Ok(mut response) = request.send_json(body) else { return Reply::Nothing };
        let status = response.status().as_u16();
        match response.body_mut().read_json::<Value>() {
            Ok(answer) if status == 200 => Reply::Done(answer),
            Ok(answer) => Reply::Refused(status, answer),
            Err(_) => Reply::Nothing,
        }
    }

    fn sql(&mut self, sql: &str, params: Value, request_id: Option<&str>) -> Reply {
        let mut body = json!({"sql": sql, "params": params});
        if let (Some(id), Some(object)) = (request_id, body.as_object_mut()) {
            object.insert("request_id".into(), json!(id));
        }
        self.post("/v1/api/sql", &body)
    }

    /// For set-up and checks, when the server is up: anything but success is an error.
    fn must(&mut self, sql: &str) -> Result<Value, Failure> {
        match self.sql(sql, json!([]), None) {
            Reply::Done(answer) => Ok(answer),
            Reply::Refused(status, answer) => Err(format!("{sql}: {status} {answer}").into()),
            Reply::Nothing => Err(format!("{sql}: no answer").into()),
        }
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("highwater-kill9: {error}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<bool, Failure> {
    if args.data_dir.exists() {
        return Err(format!("{} exists; remove it or name another --data-dir", args.data_dir.display()).into());
    }
    if let Some(rows) = args.count_flushes {
        return count_flushes(args, rows);
    }
    let known = Arc::new(Known::default());
    let mut random = args.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut server = start(args)?;
    let mut root = Client::new(args, "root", PASSWORD);
    set_up(args, &mut root)?;

    let mut threads = Vec::new();
    for number in 0..args.writers {
        let (args, known) = (args.clone(), Arc::clone(&known));
        threads.push(std::thread::spawn(move || write_rows(&args, number, &known)));
    }
    for number in 0..args.consumers {
        let (args, known) = (args.clone(), Arc::clone(&known));
        threads.push(std::thread::spawn(move || consume(&args, number, &known)));
    }

    let mut restarts = Vec::new();
    for round in 1..=args.rounds {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (low, high) = (args.life.first().copied().unwrap_or(150), args.life.get(1).copied().unwrap_or(900));
        std::thread::sleep(Duration::from_millis(low + random % (high.saturating_sub(low) + 1)));
        server.kill()?;
        let before = lock(&known.committed).clone();
        let started = Instant::now();
        server = start(args)?;
        restarts.push(started.elapsed());
        check_offsets(args, &before, &known)?;
        let inserted: usize = lock(&known.inserted).values().map(BTreeSet::len).sum();
        let acks = known.acks.load(Ordering::Relaxed);
        if round % 10 == 0 || round == args.rounds {
            println!(
                "kill {round}: {inserted} acknowledged inserts, {acks} acks, restart {} ms",
                restarts.last().map_or(0, Duration::as_millis)
            );
        }
        if !lock(&known.violations).is_empty() {
            break;
        }
    }
    known.stop.store(true, Ordering::SeqCst);
    for thread in threads {
        thread.join().map_err(|_| "a client thread panicked")?;
    }
    let totals = check_all(args, &known)?;
    restarts.sort();
    server.kill()?;
    std::fs::remove_dir_all(&args.data_dir)?;

    let violations = lock(&known.violations).len();
    println!(
        "{} kills: {} rows, {} messages, {} lost answers, {} inserts retried under their request id, {} acks; restart median {} ms, longest {} ms; {} violation(s)",
        restarts.len(),
        totals.0,
        totals.1,
        known.lost.load(Ordering::Relaxed),
        known.retried.load(Ordering::Relaxed),
        known.acks.load(Ordering::Relaxed),
        restarts.get(restarts.len() / 2).map_or(0, Duration::as_millis),
        restarts.last().map_or(0, Duration::as_millis),
        violations
    );
    Ok(violations == 0)
}

/// A running server; killed when dropped, so that no failed run leaves one behind.
struct Server(Child);

impl Server {
    fn kill(&mut self) -> Result<(), Failure> {
        self.0.kill()?;
        let status = self.0.wait()?;
        if std::os::unix::process::ExitStatusExt::signal(&status) != Some(9) {
            return Err(format!("the server had ended by itself, with {status}").into());
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(args: &Args) -> Result<Server, Failure> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(args.data_dir.with_extension("log"))?;
    let child = Command::new(&args.server)
        .arg("--data-dir")
        .arg(&args.data_dir)
        .args(["--http-addr", &format!("127.0.0.1:{}", args.port), "--root-password", PASSWORD])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .map_err(|error| format!("{}: {error}", args.server.display()))?;
    let mut server = Server(child);
    let agent = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(1))).build().new_agent();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let ready = agent.get(format!("http://127.0.0.1:{}/ready", args.port)).call().is_ok();
        // Looked at after the answer: another server on the port must not pass for this one.
        if let Some(status) = server.0.try_wait()? {
            return Err(format!(
                "the server ended with {status}; see {}",
                args.data_dir.with_extension("log").display()
            )
            .into());
        }
        if ready {
            return Ok(server);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err("the server was not ready after 60 s".into())
}

fn set_up(args: &Args, root: &mut Client) -> Result<(), Failure> {
    root.must("CREATE NAMESPACE k")?;
    root.must("CREATE USER TABLE k.rows (id BIGINT PRIMARY KEY, body TEXT NOT NULL)")?;
    root.must(&format!("CREATE TOPIC k.events PARTITIONS {PARTITIONS}"))?;
    root.must("ALTER TOPIC k.events ADD SOURCE k.rows ON INSERT WITH (payload = 'key')")?;
    for number in 0..args.writers {
        root.must(&format!("CREATE USER writer{number} WITH PASSWORD 'writer-{number}-password' ROLE user"))?;
    }
    root.must("CREATE USER reader WITH PASSWORD 'reader-password' ROLE service")?;
    Ok(())
}

/// A UUIDv7 of now: time in the top 48 bits, then this writer's own numbers.
fn request_id(writer: u32, id: i64) -> String {
    let millis =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let tail = (u128::from(writer) << 48) | u128::try_from(id).unwrap_or(0);
    let number = ((millis & 0xFFFF_FFFF_FFFF) << 80) | (0x7 << 76) | (0b10 << 62) | (tail & 0x3FFF_FFFF_FFFF_FFFF);
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

fn write_rows(args: &Args, number: u32, known: &Known) {
    let user = format!("writer{number}");
    let mut client = Client::new(args, &user, &format!("writer-{number}-password"));
    let mut id = 0_i64;
    while !known.stop.load(Ordering::SeqCst) {
        id += 1;
        let request = request_id(number, id);
        lock(&known.unknown).entry(user.clone()).or_default().insert(id);
        let mut tries = 0;
        loop {
            tries += 1;
            match client.sql("INSERT INTO k.rows (id, body) VALUES ($1, 'row')", json!([id]), Some(&request)) {
                Reply::Done(_) => {
                    lock(&known.unknown).entry(user.clone()).or_default().remove(&id);
                    lock(&known.inserted).entry(user.clone()).or_default().insert(id);
                    if tries > 1 {
                        known.retried.fetch_add(1, Ordering::Relaxed);
                    }
                    break;
                }
                Reply::Refused(401, _) => client.token = None,
                Reply::Nothing => {
                    known.lost.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(10));
                }
                Reply::Refused(429 | 503, _) => std::thread::sleep(Duration::from_millis(10)),
                Reply::Refused(status, answer) => {
                    known.violation(format!("{user} insert {id}, try {tries}: {status} {answer}"));
                    return;
                }
            }
        }
    }
}

fn consume(args: &Args, number: u32, known: &Known) {
    let mut client = Client::new(args, "reader", "reader-password");
    let consumer = format!("consumer{number}");
    let mut partition = number % PARTITIONS;
    while !known.stop.load(Ordering::SeqCst) {
        partition = (partition + 1) % PARTITIONS;
        let body = json!({"topic_id": "k.events", "group_id": "g", "partition_id": partition, "start": "Earliest", "limit": 50, "consumer_id": consumer});
        let answer = match client.post("/v1/api/topics/consume", &body) {
            Reply::Done(answer) => answer,
            Reply::Refused(401, _) => {
                client.token = None;
                continue;
            }
            Reply::Refused(429 | 503, _) | Reply::Nothing => {
                std::thread::sleep(Duration::from_millis(10));
                continue;
            }
            Reply::Refused(status, answer) => {
                known.violation(format!("consume of partition {partition}: {status} {answer}"));
                return;
            }
        };
        let mut last = None;
        for message in answer["messages"].as_array().into_iter().flatten() {
            let offset = message["offset"].as_i64().unwrap_or(-1);
            let identity =
                format!("{}/{}", message["user"].as_str().unwrap_or("?"), message["key"].as_str().unwrap_or("?"));
            if last.is_some_and(|last| offset <= last) {
                known.violation(format!("partition {partition}: offset {offset} came after {last:?}"));
            }
            last = Some(offset);
            if let Some(before) = lock(&known.delivered).insert((partition, offset), identity.clone())
                && before != identity
            {
                known.violation(format!("partition {partition} offset {offset} was {before}, is {identity}"));
            }
        }
        let Some(upto) = last else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        let body = json!({"topic_id": "k.events", "group_id": "g", "partition_id": partition, "upto_offset": upto, "consumer_id": consumer});
        if let Reply::Done(answer) = client.post("/v1/api/topics/ack", &body)
            && let Some(committed) = answer["acknowledged_offset"].as_i64()
        {
            known.acks.fetch_add(1, Ordering::Relaxed);
            let mut marks = lock(&known.committed);
            let mark = marks.entry(partition).or_insert(committed);
            *mark = (*mark).max(committed);
        }
    }
}

/// Inserts over one connection; the device must have flushed at least once for every acknowledgement.
fn count_flushes(args: &Args, rows: u64) -> Result<bool, Failure> {
    let mut server = start(args)?;
    let mut root = Client::new(args, "root", PASSWORD);
    root.must("CREATE NAMESPACE k")?;
    root.must("CREATE USER TABLE k.rows (id BIGINT PRIMARY KEY, body TEXT NOT NULL)")?;
    let before = device_flushes(&args.data_dir)?;
    let started = Instant::now();
    for id in 0..rows {
        root.must(&format!("INSERT INTO k.rows VALUES ({id}, 'one row, one flush')"))?;
    }
    let took = started.elapsed();
    let flushes = device_flushes(&args.data_dir)?.saturating_sub(before);
    server.kill()?;
    std::fs::remove_dir_all(&args.data_dir)?;
    println!(
        "{rows} acknowledged inserts over one connection in {:.2} s ({:.0} per second), {flushes} flushes of the device",
        took.as_secs_f64(),
        rows as f64 / took.as_secs_f64()
    );
    Ok(flushes >= rows)
}

/// Flush requests that the block device under a folder has completed: field 16 of its `stat` (Documentation/block/stat).
fn device_flushes(folder: &std::path::Path) -> Result<u64, Failure> {
    let device = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(folder)?);
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    let mut entry = std::fs::canonicalize(format!("/sys/dev/block/{major}:{minor}"))?;
    if entry.join("partition").exists() {
        entry.pop();
    }
    let stat = std::fs::read_to_string(entry.join("stat"))?;
    let field = stat.split_ascii_whitespace().nth(15).ok_or("this kernel does not count flushes")?;
    Ok(field.parse()?)
}

/// After a restart no committed offset is lower than an answer said before the kill.
fn check_offsets(args: &Args, before: &BTreeMap<u32, i64>, known: &Known) -> Result<(), Failure> {
    let mut root = Client::new(args, "root", PASSWORD);
    let answer = root.must("SELECT partition_id, last_acked_offset FROM system.topic_offsets WHERE group_id = 'g'")?;
    let mut now = BTreeMap::new();
    for row in answer["results"][0]["rows"].as_array().into_iter().flatten() {
        let partition = row[0].as_u64().and_then(|partition| u32::try_from(partition).ok()).unwrap_or(u32::MAX);
        now.insert(partition, number(&row[1]));
    }
    for (partition, committed) in before {
        let found = now.get(partition).copied().unwrap_or(-1);
        if found < *committed {
            known.violation(format!(
                "partition {partition}: committed offset {committed} was acknowledged, now it is {found}"
            ));
        }
    }
    Ok(())
}

/// BIGINT cells are texts.
fn number(cell: &Value) -> i64 {
    cell.as_i64().or_else(|| cell.as_str().and_then(|text| text.parse().ok())).unwrap_or(-1)
}

/// Rows and messages at the end, against what was acknowledged. Answers their numbers.
fn check_all(args: &Args, known: &Known) -> Result<(usize, usize), Failure> {
    let mut rows = BTreeSet::new();
    let inserted = lock(&known.inserted).clone();
    let unknown = lock(&known.unknown).clone();
    for number_of in 0..args.writers {
        let user = format!("writer{number_of}");
        let mut client = Client::new(args, &user, &format!("writer-{number_of}-password"));
        let answer = client.must("SELECT id FROM k.rows ORDER BY id")?;
        let ids: Vec<i64> =
            answer["results"][0]["rows"].as_array().into_iter().flatten().map(|row| number(&row[0])).collect();
        let present: BTreeSet<i64> = ids.iter().copied().collect();
        if present.len() != ids.len() {
            known.violation(format!("{user}: a row is there twice"));
        }
        let acknowledged = inserted.get(&user).cloned().unwrap_or_default();
        let open = unknown.get(&user).cloned().unwrap_or_default();
        for id in acknowledged.difference(&present) {
            known.violation(format!("{user}: insert {id} was acknowledged and is lost"));
        }
        for id in present.iter().filter(|id| !acknowledged.contains(id) && !open.contains(id)) {
            known.violation(format!("{user}: row {id} was never inserted"));
        }
        rows.extend(present.into_iter().map(|id| format!("{user}/{id}")));
    }
    let mut root = Client::new(args, "root", PASSWORD);
    let mut messages = BTreeMap::new();
    for partition in 0..PARTITIONS {
        let mut next = 0_i64;
        loop {
            let body =
                json!({"topic_id": "k.events", "partition_id": partition, "start": {"Offset": next}, "limit": 500});
            let Reply::Done(answer) = root.post("/v1/api/topics/consume", &body) else {
                return Err("the topic cannot be read".into());
            };
            let found = answer["messages"].as_array().cloned().unwrap_or_default();
            for message in &found {
                let offset = message["offset"].as_i64().unwrap_or(-1);
                if offset != next {
                    known.violation(format!("partition {partition}: offset {offset} where {next} was due"));
                }
                next = offset + 1;
                let identity =
                    format!("{}/{}", message["user"].as_str().unwrap_or("?"), message["key"].as_str().unwrap_or("?"));
                if let Some(before) = lock(&known.delivered).get(&(partition, offset))
                    && *before != identity
                {
                    known.violation(format!(
                        "partition {partition} offset {offset} was delivered as {before}, is {identity}"
                    ));
                }
                if let Some(first) = messages.insert(identity.clone(), (partition, offset)) {
                    known.violation(format!("{identity} has two messages: {first:?} and {:?}", (partition, offset)));
                }
            }
            if found.is_empty() {
                break;
            }
        }
    }
    for row in rows.iter().filter(|row| !messages.contains_key(*row)) {
        known.violation(format!("{row} is there without its message"));
    }
    for message in messages.keys().filter(|message| !rows.contains(*message)) {
        known.violation(format!("{message} has a message without its row"));
    }
    Ok((rows.len(), messages.len()))
}
