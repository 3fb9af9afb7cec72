//! `highwater doctor`: what is wrong between here and the server, and what to do about it; and `highwater bundle`, the same for
//! someone else to look at.
//!
//! Each check says one thing. What judges is apart from what asks, so that every judgement is tested.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::{Value, json};

use crate::args::{Format, Server};
use crate::connection::{Canceller, Connection, Target};
use crate::failure::Failure;
use crate::terminal::Style;

/// Clocks further apart than this keep a node from leading, and make times confusing.
const CLOCK_MILLIS: i64 = 500;
/// Slower answers to `SELECT 1` are worth a word.
const SLOW: Duration = Duration::from_millis(50);
const PROBES: usize = 5;
/// With less room for its data a server will soon refuse writes.
const LITTLE_ROOM: u64 = 1 << 30;
/// The oldest kernel that has what the server needs.
const OLDEST_KERNEL: (u32, u32) = (5, 8);

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Good,
    Doubtful,
    Bad,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    subject: &'static str,
    outcome: Outcome,
    /// What was found.
    what: String,
    /// What to do.
    advice: Option<String>,
}

fn good(subject: &'static str, what: impl Into<String>) -> Finding {
    Finding { subject, outcome: Outcome::Good, what: what.into(), advice: None }
}

fn doubtful(subject: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { subject, outcome: Outcome::Doubtful, what: what.into(), advice: Some(advice.into()) }
}

fn bad(subject: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding { subject, outcome: Outcome::Bad, what: what.into(), advice: Some(advice.into()) }
}

/// Checks everything and prints what was found.
pub(crate) fn run(server: &Server, format: Format, can_ask: bool) -> Result<(), Failure> {
    let findings = examine(server, can_ask);
    let mut out = std::io::stdout();
    if format == Format::Json {
        for finding in &findings {
            writeln!(out, "{}", as_json(finding))?;
        }
    } else {
        write!(out, "{}", report(&findings, Style::of_stdout()))?;
    }
    match findings.iter().filter(|finding| finding.outcome == Outcome::Bad).count() {
        0 => Ok(()),
        bad => Err(Failure::Unwell(bad)),
    }
}

/// Writes what helps to understand a problem, without data and passwords, as one JSON document.
pub(crate) fn bundle(server: &Server, file: &Path, can_ask: bool) -> Result<(), Failure> {
    let findings: Vec<Value> = examine(server, can_ask).iter().map(as_json).collect();
    let mut document = json!({"shell": env!("CARGO_PKG_VERSION"), "made_at": seconds_now(), "doctor": findings});
    let mut connection = server.target(can_ask).and_then(|target| Connection::open(target, Canceller::default()));
    if let (Ok(connection), Value::Object(fields)) = (&mut connection, &mut document) {
        for table in ["settings", "cluster", "cluster_groups", "jobs", "stats", "tables", "topics", "topic_offsets"] {
            let rows = match connection.query(&format!("SELECT * FROM system.{table}")) {
                Ok(result) => {
                    let names: Vec<&str> = result.schema.iter().map(|column| column.name.as_str()).collect();
                    json!({"columns": names, "rows": result.rows})
                }
                Err(failure) => json!({"error": failure.to_string()}),
            };
            fields.insert(table.to_owned(), rows);
        }
        for (name, path) in [("health", "/health"), ("cluster_health", "/v1/api/cluster/health")] {
            let answer = connection.get(path).map(|(status, body)| {
                json!({"status": status, "body": serde_json::from_str::<Value>(&body).unwrap_or(Value::String(body))})
            });
            fields.insert(name.to_owned(), answer.unwrap_or_else(|failure| json!({"error": failure.to_string()})));
        }
    }
    let text = format!("{document:#}\n");
    let is_standard = file == Path::new("-");
    if is_standard {
        std::io::stdout().write_all(text.as_bytes())?;
    } else {
        std::fs::write(file, text)
            .map_err(|error| Failure::usage(format!("cannot write {}: {error}", file.display())))?;
    }
    let held = match &connection {
        Ok(_) => "settings, names of tables and figures, no rows and no passwords",
        Err(_) => "doctor's report alone: settings and figures are missing, for the server was not reached",
    };
    if !is_standard {
        writeln!(std::io::stdout(), "{} is written; it holds {held}", file.display())?;
    }
    connection.map(|_| ())
}

fn examine(server: &Server, can_ask: bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let profile = match server.chosen_profile() {
        Ok(_) => good("profiles", "readable by you only, or none"),
        Err(failure) => bad("profiles", failure.to_string(), failure.hint().unwrap_or("mend the file or remove it")),
    };
    let is_readable = profile.outcome == Outcome::Good;
    findings.push(profile);
    findings.extend(given_openly(server));
    if !is_readable {
        return findings;
    }
    let target = match server.target(can_ask) {
        Ok(target) => target,
        Err(failure) => {
            findings.push(bad("arguments", failure.to_string(), failure.hint().unwrap_or("see highwater --help")));
            return findings;
        }
    };
    findings.push(way(&target));
    if is_here(&target) {
        findings.push(of_machine(&server.data_dir));
        findings.extend(of_disk(&server.data_dir));
    }
    let connection = match Connection::open(target, Canceller::default()) {
        Ok(connection) => connection,
        Err(failure) => {
            let subject = if matches!(failure, Failure::Login { .. }) { "login" } else { "connection" };
            let advice = failure.hint().unwrap_or("look at the server's log").to_owned();
            findings.push(bad(subject, failure.to_string(), advice));
            return findings;
        }
    };
    findings.push(good("login", format!("{} at {}", connection.user(), connection.base())));
    findings.extend(of_server(connection));
    findings
}

fn of_server(mut connection: Connection) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Ok((status, body)) = connection.get("/health") {
        findings.push(version(status, &serde_json::from_str(&body).unwrap_or_default()));
    }
    match connection.get("/ready") {
        Ok((200, _)) => findings.push(good("ready", "the server serves")),
        Ok((status, body)) => {
            findings.push(bad("ready", format!("{status}: {}", body.trim()), "wait, or look at the server's log"));
        }
        Err(failure) => findings.push(bad("ready", failure.to_string(), "look at the server's log")),
    }
    if let Ok((_, body)) = connection.get("/v1/api/cluster/health") {
        findings.extend(cluster(&serde_json::from_str(&body).unwrap_or_default()));
    }
    let mut times = Vec::new();
    for _ in 0..PROBES {
        let began = Instant::now();
        if let Err(failure) = connection.query("SELECT 1") {
            findings.push(bad("statements", failure.to_string(), "look at the server's log"));
            return findings;
        }
        times.push(began.elapsed());
    }
    times.sort_unstable();
    findings.extend(times.get(PROBES / 2).map(|median| pace(*median)));
    let began = Instant::now();
    if let Ok(result) = connection.query("SELECT NOW(), CURRENT_ROLE") {
        let way = began.elapsed() / 2;
        let row = result.rows.unwrap_or_default().into_iter().next().unwrap_or_default();
        if let [Value::Number(micros), role] = row.as_slice() {
            let here = millis_now() - i64::try_from(way.as_millis()).unwrap_or_default();
            findings.push(clock(micros.as_i64().unwrap_or_default() / 1000 - here));
            findings.push(rights(role.as_str().unwrap_or_default()));
        }
    }
    findings
}

/// A password on the command line is in every list of processes.
fn given_openly(server: &Server) -> Option<Finding> {
    let is_argument = std::env::args().any(|argument| argument == "-p" || argument.starts_with("--password"));
    (is_argument && server.password.is_some()).then(|| {
        doubtful(
            "password",
            "it is an argument: other users of this machine can read it",
            "use HIGHWATER_PASSWORD, or keep it with highwater ctx add NAME --ask",
        )
    })
}

/// Without the port; an IPv6 address in its brackets.
fn host(target: &Target) -> &str {
    let authority = target.base.split("://").nth(1).unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => host,
        Some(_) | None => authority,
    }
}

/// Whether the server is one of this machine.
fn is_here(target: &Target) -> bool {
    let host = host(target);
    host == "localhost" || host.starts_with("127.") || host == "[::1]"
}

fn of_machine(data_dir: &Path) -> Finding {
    let read = |path: &str| std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default();
    machine(&read("/proc/sys/kernel/osrelease"), &read("/proc/sys/kernel/io_uring_disabled"), data_dir)
}

/// What this machine says of itself. The server's own check, which tries everything, is not in this program.
fn machine(kernel: &str, uring_disabled: &str, data_dir: &Path) -> Finding {
    let check = format!(
        "highwaterd --check-config --http-addr 127.0.0.1:0 --data-dir {}, as the server's user, checks io_uring, memory lock and other limits, \
         and the data folder's file system",
        data_dir.display()
    );
    let mut numbers = kernel.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = numbers.next().zip(numbers.next());
    let what = format!("Linux {kernel}");
    if version.is_none_or(|version| version < OLDEST_KERNEL) {
        let (major, minor) = OLDEST_KERNEL;
        return doubtful("machine", what, format!("highwaterd needs Linux {major}.{minor} or newer; {check}"));
    }
    if !matches!(uring_disabled, "" | "0") {
        let what = format!("{what}, and io_uring is switched off (kernel.io_uring_disabled = {uring_disabled})");
        return doubtful("machine", what, format!("sysctl -w kernel.io_uring_disabled=0; {check}"));
    }
    Finding { advice: Some(check), ..good("machine", what) }
}

/// Room for the server's data; nothing when its folder is not where this program looks.
fn of_disk(data_dir: &Path) -> Option<Finding> {
    let found = rustix::fs::statvfs(data_dir).ok()?;
    Some(disk(data_dir, found.f_bavail.saturating_mul(found.f_frsize)))
}

fn disk(data_dir: &Path, free: u64) -> Finding {
    let what = format!("{:.1} GiB are free for {}", free as f64 / (1_u64 << 30) as f64, data_dir.display());
    if free < LITTLE_ROOM {
        doubtful("disk", what, "make room: a server whose disk is full refuses writes")
    } else {
        good("disk", what)
    }
}

/// Whether someone on the way can listen in.
fn way(target: &Target) -> Finding {
    if target.base.starts_with("https://") {
        return if target.tls.is_unverified {
            doubtful(
                "TLS",
                "certificates are not verified",
                "leave --insecure out; --cacert names who signs the server's certificate",
            )
        } else {
            good("TLS", "encrypted, and the server's certificate is verified")
        };
    }
    if is_here(target) {
        good("TLS", "not encrypted, which on one machine is fine")
    } else {
        bad(
            "TLS",
            format!("password and data travel to {} unencrypted", host(target)),
            "use https://, or a tunnel to the server's machine",
        )
    }
}

fn version(status: u16, health: &Value) -> Finding {
    let text = |name: &str| health.get(name).and_then(Value::as_str).unwrap_or_default();
    let (server, own) = (text("version"), env!("CARGO_PKG_VERSION"));
    let minor = |version: &str| version.rsplit_once('.').map_or(version.to_owned(), |(minor, _)| minor.to_owned());
    if server.is_empty() {
        return doubtful(
            "version",
            format!("the server ({status}) does not say its version"),
            "is it a Highwater server?",
        );
    }
    if minor(server) == minor(own) {
        good("version", format!("server {server}, shell {own}"))
    } else {
        doubtful("version", format!("server {server}, but shell {own}"), "use a shell of the server's version")
    }
}

fn pace(median: Duration) -> Finding {
    let text = format!("SELECT 1 takes {:.1} ms", median.as_secs_f64() * 1000.0);
    if median < SLOW {
        good("pace", text)
    } else {
        doubtful("pace", text, "the way is long or the server is busy: \\timing tells which")
    }
}

fn clock(ahead_millis: i64) -> Finding {
    let size = ahead_millis.abs();
    if size < CLOCK_MILLIS {
        return good("clock", format!("the server's and this machine's differ by {size} ms"));
    }
    let direction = if ahead_millis > 0 { "ahead of" } else { "behind" };
    let advice = "synchronise both by NTP (timedatectl set-ntp true)";
    doubtful("clock", format!("the server's clock is {:.1} s {direction} this machine's", size as f64 / 1000.0), advice)
}

fn rights(role: &str) -> Finding {
    match role {
        "user" => good("rights", "role user: your own rows, and public tables; \\d needs dba"),
        "service" => good("rights", "role service: topics, shared tables, EXECUTE AS for users; \\d needs dba"),
        "dba" => good("rights", "role dba: everything but system users"),
        "system" => good("rights", "role system: everything"),
        other => doubtful(
            "rights",
            format!("role {other:?} is unknown to this shell"),
            "use a shell of the server's version",
        ),
    }
}

fn cluster(health: &Value) -> Vec<Finding> {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let nodes = health.get("nodes").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut findings = Vec::new();
    let status = text(health, "status");
    let what = format!("{status}, {} node(s)", nodes.len());
    findings.push(match status.as_str() {
        "healthy" => good("cluster", what),
        "degraded" => doubtful(
            "cluster",
            format!("{what}: {}", text(health, "reason")),
            "\\dshard shows which groups lack members",
        ),
        "" => return Vec::new(),
        _ => bad("cluster", format!("{what}: {}", text(health, "reason")), "start the nodes that are down"),
    });
    for node in &nodes {
        let id = node.get("node_id").map_or(String::new(), Value::to_string);
        if text(node, "status") == "down" {
            let heard = node.get("heard_ms").and_then(Value::as_u64);
            let heard = heard.map_or(String::new(), |heard| format!(", last heard {} s ago", heard / 1000));
            let address = text(node, "rpc_addr");
            findings.push(bad(
                "node",
                format!("node {id} ({address}) is down{heard}"),
                "start it, or CLUSTER LEAVE it if it is gone",
            ));
        }
        let ahead = node.get("clock_ahead_ms").and_then(Value::as_i64).unwrap_or(0);
        if ahead.abs() >= CLOCK_MILLIS {
            let what = format!("node {id}'s clock is {ahead} ms ahead of the node that was asked");
            findings.push(bad("node", what, "synchronise its clock: it does not lead meanwhile"));
        }
    }
    findings
}

fn as_json(finding: &Finding) -> Value {
    let outcome = match finding.outcome {
        Outcome::Good => "ok",
        Outcome::Doubtful => "warning",
        Outcome::Bad => "error",
    };
    json!({"check": finding.subject, "outcome": outcome, "found": finding.what, "advice": finding.advice})
}

fn report(findings: &[Finding], style: Style) -> String {
    let mut out = String::new();
    for finding in findings {
        let mark = match finding.outcome {
            Outcome::Good => style.paint("32", "ok     "),
            Outcome::Doubtful => style.paint("33", "warning"),
            Outcome::Bad => style.paint("1;31", "error  "),
        };
        out.push_str(&format!("{mark}  {:<10}  {}\n", finding.subject, finding.what));
        if let Some(advice) = &finding.advice {
            out.push_str(&format!("{:<19}  → {advice}\n", ""));
        }
    }
    out
}

fn millis_now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or_default()
}

fn seconds_now() -> i64 {
    millis_now() / 1000
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::connection::Tls;

    fn target(base: &str, is_unverified: bool) -> Target {
        let tls = Tls { authorities: None, is_unverified };
        Target { base: base.into(), user: "root".into(), password: String::new(), tls, namespace: None }
    }

    #[test]
    fn unencrypted_ways_out_of_the_machine_are_bad() {
        for here in ["http://127.0.0.1:2900", "http://localhost", "http://[::1]:2900", "https://db:2900"] {
            assert_eq!(way(&target(here, false)).outcome, Outcome::Good, "{here}");
        }
        assert_eq!(way(&target("http://db:2900", false)).outcome, Outcome::Bad);
        assert_eq!(way(&target("https://db:2900", true)).outcome, Outcome::Doubtful);
    }

    #[test]
    fn the_machine_is_looked_at_where_the_server_is_on_it() {
        let folder = Path::new("/var/data");
        let fine = machine("6.1.0-13-amd64", "0", folder);
        assert_eq!((fine.outcome, fine.what.as_str()), (Outcome::Good, "Linux 6.1.0-13-amd64"));
        assert!(
            fine.advice.unwrap().starts_with("highwaterd --check-config --http-addr 127.0.0.1:0 --data-dir /var/data")
        );
        assert_eq!(machine("5.8.0", "", folder).outcome, Outcome::Good);
        for (kernel, disabled, word) in [("5.4.0-1", "", "5.8"), ("4.19", "", "5.8"), ("6.8.0", "2", "sysctl")] {
            let finding = machine(kernel, disabled, folder);
            assert!(finding.outcome == Outcome::Doubtful && finding.advice.unwrap().contains(word), "{kernel}");
        }
        assert_eq!(disk(folder, 5 << 30), good("disk", "5.0 GiB are free for /var/data"));
        assert_eq!(disk(folder, (1 << 30) - 1).outcome, Outcome::Doubtful);
        assert_eq!(of_disk(Path::new("/nonexistent")), None);
        assert!(of_disk(Path::new("/")).is_some());
        for (base, here) in
            [("http://127.0.0.1:1", true), ("http://[::1]", true), ("https://localhost", true), ("http://db:1", false)]
        {
            assert_eq!(is_here(&target(base, false)), here, "{base}");
        }
    }

    #[test]
    fn versions_clocks_and_pace_are_judged() {
        let own = env!("CARGO_PKG_VERSION");
        assert_eq!(version(200, &json!({"version": own})).outcome, Outcome::Good);
        assert_eq!(version(200, &json!({"version": "99.0.0"})).outcome, Outcome::Doubtful);
        assert_eq!(version(404, &json!(null)).outcome, Outcome::Doubtful);
        assert_eq!(clock(-499).outcome, Outcome::Good);
        assert_eq!(clock(-2300).what, "the server's clock is 2.3 s behind this machine's");
        assert_eq!((pace(Duration::from_millis(2)).outcome, pace(SLOW).outcome), (Outcome::Good, Outcome::Doubtful));
        assert_eq!(rights("emperor").outcome, Outcome::Doubtful);
    }

    #[test]
    fn nodes_that_are_down_or_late_are_named() {
        let findings = cluster(&json!({"status": "degraded", "reason": "node 3 is down", "nodes": [
            {"node_id": 1, "status": "up", "clock_ahead_ms": null},
            {"node_id": 2, "status": "up", "clock_ahead_ms": -900},
            {"node_id": 3, "status": "down", "rpc_addr": "c:2910", "heard_ms": 61_000},
        ]}));
        let drawn = report(&findings, Style::default());
        assert_eq!(
            drawn,
            "warning  cluster     degraded, 3 node(s): node 3 is down\n\
            \x20                    → \\dshard shows which groups lack members\n\
            error    node        node 2's clock is -900 ms ahead of the node that was asked\n\
            \x20                    → synchronise its clock: it does not lead meanwhile\n\
            error    node        node 3 (c:2910) is down, last heard 61 s ago\n\
            \x20                    → start it, or CLUSTER LEAVE it if it is gone\n"
        );
        assert_eq!(cluster(&json!(null)), []);
    }
}
