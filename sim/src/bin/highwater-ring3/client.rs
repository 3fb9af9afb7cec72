//! A client of the cluster over HTTP: one request at a time, at whichever node it turns to, and what became of it.

use std::io::ErrorKind;
use std::time::Duration;

use serde_json::{Value, json};

/// How long a client waits for an answer; longer than the servers let a statement take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Where the nodes listen for HTTP, in order of their ids.
#[derive(Clone, Debug)]
pub struct Site(pub Vec<u16>);

/// What became of a request.
#[derive(Debug)]
pub enum Reply {
    /// It did what it should.
    Done(Value),
    /// It changed nothing, and never will: status and body.
    Refused(u16, Value),
    /// It changed nothing this time.
    NotNow,
    /// The node's disk is full; it changed nothing this time.
    DiskFull,
    /// Nobody knows whether it had its effect, or will have it.
    Lost,
}

/// A user at the cluster.
pub struct Client {
    agent: ureq::Agent,
    site: Site,
    user: String,
    access: Option<String>,
    node: usize,
}

/// The password of everybody, root as well.
pub const PASSWORD: &str = "everyone-has-this-password";

impl Client {
    pub fn new(site: &Site, user: &str, node: usize) -> Self {
        Self::with_patience(site, user, node, PATIENCE)
    }

    /// One who gives up on an answer after this long.
    pub fn with_patience(site: &Site, user: &str, node: usize, patience: Duration) -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(patience))
            .http_status_as_error(false)
            .build()
            .new_agent();
        Self { agent, site: site.clone(), user: user.to_owned(), access: None, node: node % site.0.len().max(1) }
    }

    /// The node that it asks.
    pub const fn node(&self) -> usize {
        self.node
    }

    /// Asks this node from now on.
    pub const fn at(&mut self, node: usize) -> &mut Self {
        self.node = node;
        self
    }

    /// Asks the next node from now on.
    pub fn turn(&mut self) {
        self.node = (self.node + 1) % self.site.0.len().max(1);
    }

    /// Whether the node says that it is well and sees everything well.
    pub fn is_healthy(&self) -> bool {
        let Ok(mut response) = self.agent.get(self.url("/v1/api/cluster/health")).call() else { return false };
        let status = response.status().as_u16();
        let body = response.body_mut().read_json::<Value>().unwrap_or_default();
        status == 200 && body["status"] == "healthy"
    }

    /// Whether a store of the node takes no writes.
    pub fn refuses_writes(&self) -> bool {
        let Ok(mut response) = self.agent.get(self.url("/metrics")).call() else { return false };
        let text = response.body_mut().read_to_string().unwrap_or_default();
        let value = |line: &str| line.rsplit_once(' ').and_then(|(_, value)| value.parse::<f64>().ok());
        text.lines()
            .filter(|line| line.starts_with("highwater_store_refuses_writes{"))
            .any(|line| value(line).is_some_and(|value| value > 0.0))
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.site.0.get(self.node).copied().unwrap_or(0))
    }

    /// Logs in, so that a later request need not.
    pub fn log_in(&mut self) -> Reply {
        let login = json!({"user": self.user, "password": PASSWORD});
        let reply = self.exchange("/v1/api/auth/login", &login, None);
        if let Reply::Done(answer) = &reply {
            self.access = answer["access_token"].as_str().map(str::to_owned);
        }
        reply
    }

    /// Sends a request once.
    pub fn post(&mut self, path: &str, body: &Value) -> Reply {
        self.post_after(path, body, None)
    }

    fn post_after(&mut self, path: &str, body: &Value, seen: Option<&str>) -> Reply {
        if self.access.is_none() {
            match self.log_in() {
                Reply::Done(_) => {}
                Reply::Lost => return Reply::NotNow,
                other => return other,
            }
        }
        let reply = self.exchange(path, body, seen);
        if let Reply::Refused(401, _) = reply {
            self.access = None;
            return Reply::NotNow;
        }
        reply
    }

    fn exchange(&self, path: &str, body: &Value, seen: Option<&str>) -> Reply {
        let mut request = self.agent.post(self.url(path));
        if let Some(access) = &self.access {
            request = request.header("Authorization", format!("Bearer {access}"));
        }
        if let Some(seen) = seen {
            request = request.header("X-Highwater-Token", seen);
        }
        let mut response = match request.send_json(body) {
            Ok(response) => response,
            Err(ureq::Error::ConnectionFailed) => return Reply::NotNow,
            Err(ureq::Error::Io(error)) if error.kind() == ErrorKind::ConnectionRefused => return Reply::NotNow,
            Err(_) => return Reply::Lost,
        };
        let status = response.status().as_u16();
        match response.body_mut().read_json::<Value>() {
            Ok(answer) => judge(status, answer),
            Err(_) => Reply::Lost,
        }
    }

    /// Sends a statement once.
    pub fn sql(&mut self, sql: &str, params: &Value, request_id: Option<&str>) -> Reply {
        self.sql_after(sql, params, request_id, None)
    }

    /// Sends a statement once, with the read token of an earlier answer.
    pub fn sql_after(&mut self, sql: &str, params: &Value, request_id: Option<&str>, seen: Option<&str>) -> Reply {
        let mut body = json!({"sql": sql, "params": params});
        if let (Some(id), Some(object)) = (request_id, body.as_object_mut()) {
            object.insert("request_id".into(), json!(id));
        }
        self.post_after("/v1/api/sql", &body, seen)
    }

    /// Sends a statement that may be sent again, to one node after the other, until it is done or refused for good. Says of every
    /// reply in between; answers the last one when `goes_on` says no.
    pub fn insist(
        &mut self,
        sql: &str,
        params: &Value,
        request_id: Option<&str>,
        mut goes_on: impl FnMut(&Reply) -> bool,
    ) -> Reply {
        loop {
            let reply = self.sql(sql, params, request_id);
            if matches!(reply, Reply::Done(_) | Reply::Refused(..)) || !goes_on(&reply) {
                return reply;
            }
            self.turn();
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The first result's rows, read at the present node; for checks, when everything is well.
    ///
    /// # Errors
    /// Why there are none, in words.
    pub fn rows(&mut self, sql: &str, params: &Value) -> Result<Vec<Vec<Value>>, String> {
        let mut last = String::new();
        for _ in 0..20 {
            match self.sql(sql, params, None) {
                Reply::Done(answer) => return Ok(rows_of(&answer)),
                other => last = format!("{other:?}"),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("{sql} on node {}: {last}", self.node + 1))
    }
}

/// Only what is certainly not done, and never will be, is said to be.
fn judge(status: u16, answer: Value) -> Reply {
    match status {
        200 => Reply::Done(answer),
        429 => Reply::NotNow,
        503 => match sqlstate(&answer).as_str() {
            "53100" => Reply::DiskFull,
            "53000" | "53200" | "53400" => Reply::NotNow,
            _ => Reply::Lost,
        },
        _ => Reply::Refused(status, answer),
    }
}

fn sqlstate(answer: &Value) -> String {
    let details = answer["error"]["details"].as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    details.and_then(|details| details["sqlstate"].as_str().map(str::to_owned)).unwrap_or_default()
}

/// The rows of an answer's first result.
pub fn rows_of(answer: &Value) -> Vec<Vec<Value>> {
    let rows = answer["results"][0]["rows"].as_array().into_iter().flatten();
    rows.filter_map(Value::as_array).cloned().collect()
}

/// A cell's number; BIGINT cells are texts.
pub fn number(cell: &Value) -> i64 {
    cell.as_i64().or_else(|| cell.as_str().and_then(|text| text.parse().ok())).unwrap_or(-1)
}

/// A UUIDv7 of now: time in the top 48 bits, then this client's own numbers.
pub fn request_id(client: u32, count: u64) -> String {
    let millis =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let tail = (u128::from(client) << 40) | u128::from(count & 0xFF_FFFF_FFFF);
    let number = ((millis & 0xFFFF_FFFF_FFFF) << 80) | (0x7 << 76) | (0b10 << 62) | (tail & 0x3FFF_FFFF_FFFF_FFFF);
    let hex = format!("{number:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_that_names_its_cause_counts_as_not_done() {
        let answer = |state: &str| json!({"error": {"details": json!({"sqlstate": state}).to_string()}});
        assert!(matches!(judge(503, answer("53100")), Reply::DiskFull));
        assert!(matches!(judge(503, answer("53000")), Reply::NotNow));
        assert!(matches!(judge(503, answer("40003")), Reply::Lost));
        assert!(matches!(judge(503, answer("57014")), Reply::Lost));
        assert!(matches!(judge(503, json!({})), Reply::Lost));
        assert!(matches!(judge(409, json!({})), Reply::Refused(409, _)));
    }

    #[test]
    fn request_ids_of_different_requests_differ() {
        let ids = [request_id(1, 1), request_id(1, 2), request_id(2, 1)];
        assert!(ids.iter().all(|id| id.len() == 36 && id.as_bytes().get(14) == Some(&b'7')));
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }
}
