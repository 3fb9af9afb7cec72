//! A client's session: one connection at a time to one of the nodes, one request at a time, logged in as one user. It carries the last
//! answer's read token to whichever node it asks next.
//!
//! Every reply is one of three: done, refused for good, or of unknown outcome. What may be sent again is the caller's matter.

use std::collections::BTreeSet;
use std::rc::Rc;

use futures_lite::future;
use highwater_net::client::{Answer, Client, ClientError};
use highwater_runtime::rng::Rng;
use highwater_runtime::{Env, Rt, sim};
use serde_json::{Value, json};

use super::shared::{Run, now_micros, pause};
use super::token::Marks;
use super::world;

/// How long a client waits for an answer at most, in microseconds: longer than the server lets a statement take.
const PATIENCE: u64 = 100_000_000;

/// SQLSTATE of what the user may not do.
const INSUFFICIENT_PRIVILEGE: &str = "42501";

/// How long a client waits for a connection, in microseconds.
const CONNECTS: u64 = 5_000_000;

/// How long one that is in a hurry waits for a login, in microseconds, before it asks another node.
const LOGS_IN: u64 = 500_000;

/// What became of a request.
#[derive(Debug)]
pub enum Reply {
    /// It did what it should.
    Done(Value),
    /// It was refused and changed nothing, and would be again.
    Refused {
        /// SQLSTATE, or the code of a topic path.
        state: String,
        /// The error's text.
        message: String,
    },
    /// It was refused for now and changed nothing.
    NotNow,
    /// The answer is lost: it had its effect or never will.
    Lost,
    /// There is no answer yet: it may still have its effect.
    Open,
}

/// A logged-in client.
pub struct Session {
    run: Rc<Run>,
    env: Rt,
    name: String,
    user: String,
    password: String,
    /// Proves who it is.
    token: Option<String>,
    /// How far the nodes that it asked had come.
    seen: Option<(String, Marks)>,
    /// The node that it asks.
    node: usize,
    /// Whether it asks no other.
    pinned: bool,
    /// Nodes that were silent when nothing befell the cluster any more: they stay down, and each try costs seconds.
    gone: BTreeSet<usize>,
    /// The server's session that its statements belong to.
    within: Option<String>,
    client: Option<Client<<Rt as Env>::Stream>>,
    rng: Rng,
}

impl Session {
    /// `name` is how the trace calls it.
    pub fn new(run: &Rc<Run>, name: impl Into<String>, user: impl Into<String>, password: impl Into<String>) -> Self {
        let name = name.into();
        let salt = name.bytes().fold(run.plan.seed, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte)));
        let mut rng = Rng::new(salt);
        let node = if run.founders() == 1 { 0 } else { run.pick_member(&mut rng) };
        Self {
            run: Rc::clone(run),
            env: sim::env(),
            name,
            user: user.into(),
            password: password.into(),
            token: None,
            seen: None,
            node,
            pinned: false,
            gone: BTreeSet::new(),
            within: None,
            client: None,
            rng,
        }
    }

    /// The same, asking this node only.
    pub fn at(mut self, node: usize) -> Self {
        self.node = node;
        self.pinned = true;
        self
    }

    /// Asks this node only, from now on. One that it did not ask before is told nothing of what others had.
    pub fn ask_only(&mut self, node: usize) {
        if self.node != node {
            (self.client, self.seen) = (None, None);
        }
        (self.node, self.pinned) = (node, true);
    }

    /// From now on its statements belong to this session of the server.
    pub fn stay_within(&mut self, session: Option<String>) {
        self.within = session;
    }

    /// Logs in, at whichever node that is possible, so that the next request is one.
    pub async fn enter(&mut self) {
        while !self.run.is_broken() {
            let entered = async { self.log_in().await.is_ok() };
            let late = async {
                pause(LOGS_IN).await;
                false
            };
            if future::or(entered, late).await {
                return;
            }
            self.client = None;
            self.turn_away();
            pause(20_000).await;
        }
    }

    /// The node that it asked last.
    pub const fn node(&self) -> usize {
        self.node
    }

    /// How the trace calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Proves who it is, once it has logged in.
    pub fn token(&self) -> Option<String> {
        self.token.clone()
    }

    /// Whether a statement is answered for who shows this token, and no other one: sent until that is known.
    ///
    /// # Errors
    /// It was refused for another reason.
    pub async fn takes(&mut self, token: &str, sql: &str, params: &Value) -> Result<bool, String> {
        self.token = Some(token.to_owned());
        while !self.run.is_broken() {
            match self.exchange("/v1/api/sql", &json!({"sql": sql, "params": params}), None).await {
                Reply::Done(_) => return Ok(true),
                Reply::Refused { state, .. } if state == INSUFFICIENT_PRIVILEGE => return Ok(false),
                Reply::Refused { state, message } => return Err(format!("{sql} was refused: {state} {message}")),
                // 401 takes it away.
                Reply::NotNow if self.token.is_none() => return Ok(false),
                Reply::NotNow | Reply::Lost | Reply::Open => pause(10_000).await,
            }
        }
        Ok(false)
    }

    /// Another node may do better.
    pub fn turn_away(&mut self) {
        if self.run.founders() > 1 && !self.pinned {
            let drawn = self.run.pick_member(&mut self.rng);
            let is_gone = self.gone.contains(&drawn);
            let other = self.run.members().find(|node| is_gone && !self.gone.contains(node));
            self.turn_to(other.unwrap_or(drawn));
        }
    }

    /// Asks this node next.
    pub fn turn_to(&mut self, node: usize) {
        if node != self.node {
            self.run.mark("clients_turn_to_another_node");
            self.client = None;
        }
        self.node = node;
    }

    pub const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    pub fn tell(&self, what: impl FnOnce() -> String) {
        self.run.tell(&self.name, what);
    }

    /// A new UUIDv7 of now.
    pub fn request_id(&mut self) -> String {
        self.request_id_of(0)
    }

    /// A new UUIDv7 of so many milliseconds ago.
    pub fn request_id_of(&mut self, ago_millis: u128) -> String {
        let millis = u128::try_from(self.env.wall().0 / 1000).unwrap_or(0).saturating_sub(ago_millis);
        let random = (u128::from(self.rng.next()) << 64) | u128::from(self.rng.next());
        let low = random & 0x0000_0000_0000_0FFF_3FFF_FFFF_FFFF_FFFF;
        let number = ((millis & 0xFFFF_FFFF_FFFF) << 80)
            | (0x7 << 76)
            | ((low >> 64) << 64)
            | (0b10 << 62)
            | (low & 0x3FFF_FFFF_FFFF_FFFF);
        let hex = format!("{number:032x}");
        let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
        format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
    }

    /// Sends a statement once.
    pub async fn sql(&mut self, sql: &str, params: &Value, request_id: Option<&str>, patience: Option<u64>) -> Reply {
        let mut body = json!({"sql": sql, "params": params});
        if let (Some(id), Some(object)) = (request_id, body.as_object_mut()) {
            object.insert("request_id".into(), json!(id));
        }
        self.post("/v1/api/sql", &body, patience).await
    }

    /// Sends a statement until it is done or refused for good: for reads, and for statements under a request id.
    pub async fn insist(
        &mut self,
        sql: &str,
        params: &Value,
        request_id: Option<&str>,
        patience: Option<u64>,
    ) -> Reply {
        let mut patience = patience;
        let mut tries = 0_u64;
        loop {
            let reply = self.sql(sql, params, request_id, patience).await;
            tries += 1;
            match reply {
                Reply::Done(_) | Reply::Refused { .. } => {
                    if tries > 1 && request_id.is_some() {
                        self.run.mark("retried_under_its_id");
                    }
                    return reply;
                }
                Reply::NotNow => pause(10_000 + self.rng.below(20_000)).await,
                // A server that is starting says so at once.
                Reply::Lost => pause(1_000 + self.rng.below(10_000)).await,
                Reply::Open => {}
            }
            // The second try follows an impatient first one at once; then it waits.
            patience = None;
            if self.run.is_broken() {
                return Reply::Open;
            }
        }
    }

    /// Insists, and takes the rows of the first result.
    pub async fn rows(&mut self, sql: &str, params: &Value) -> Result<Vec<Vec<Value>>, String> {
        match self.insist(sql, params, None, None).await {
            Reply::Done(answer) => Ok(rows_of(&answer)),
            Reply::Refused { state, message } => Err(format!("{sql} {params} was refused: {state} {message}")),
            Reply::NotNow | Reply::Lost | Reply::Open => Err(format!("{sql} {params}: no answer")),
        }
    }

    /// Sends a request once, as the session's user.
    pub async fn post(&mut self, path: &str, body: &Value, patience: Option<u64>) -> Reply {
        if let Err(reply) = self.log_in().await {
            return reply;
        }
        self.exchange(path, body, patience).await
    }

    async fn log_in(&mut self) -> Result<(), Reply> {
        if self.token.is_some() {
            return Ok(());
        }
        let login = json!({"user": self.user, "password": self.password});
        match self.exchange("/v1/api/auth/login", &login, None).await {
            Reply::Done(answer) => {
                self.token = answer["access_token"].as_str().map(str::to_owned);
                Ok(())
            }
            Reply::Refused { state, message } => Err(Reply::Refused { state, message }),
            // Nothing was asked for yet.
            Reply::NotNow | Reply::Lost | Reply::Open => Err(Reply::NotNow),
        }
    }

    async fn exchange(&mut self, path: &str, body: &Value, patience: Option<u64>) -> Reply {
        if !self.connect().await {
            return Reply::NotNow;
        }
        let (asked, sent) = (self.node, now_micros());
        let Some(client) = self.client.as_mut() else { return Reply::NotNow };
        let impatient = patience.is_some();
        let limit = patience.unwrap_or(PATIENCE);
        let seen = self.seen.as_ref().map(|(text, _)| ("x-highwater-token", text.as_str()));
        let within = self.within.as_ref().map(|id| ("x-highwater-session", id.as_str()));
        let headers: Vec<(&str, &str)> = seen.into_iter().chain(within).filter(|_| path == "/v1/api/sql").collect();
        let answer =
            async { Some(client.post_json_with(path, self.token.as_deref(), &headers, body.to_string()).await) };
        let late = async {
            pause(limit).await;
            None
        };
        let reply = match future::or(answer, late).await {
            Some(answer) => self.judge(answer),
            None => {
                if !impatient {
                    self.run.violation(format!(
                        "{}: no answer to {path} {body} within {} s",
                        self.name,
                        PATIENCE / 1_000_000
                    ));
                }
                self.run.mark("gave_up_on_an_answer");
                Reply::Open
            }
        };
        // Another node may have it, and have it later.
        let reply = if self.run.founders() > 1 && matches!(reply, Reply::Lost) { Reply::Open } else { reply };
        match &reply {
            Reply::Done(answer) => self.see_token(answer),
            Reply::Lost | Reply::Open => {
                self.client = None;
                self.turn_away();
            }
            Reply::NotNow => self.turn_away(),
            Reply::Refused { .. } => {}
        }
        self.tell(|| {
            let (node, took) = (self.run.called(asked), now_micros() - sent);
            format!("{node} {took}us {path} {} -> {}", short(&body.to_string()), short(&format!("{reply:?}")))
        });
        reply
    }

    /// Tokens never go back, whichever node gave them.
    fn see_token(&mut self, answer: &Value) {
        let Some(text) = answer["token"].as_str() else { return };
        let Some(marks) = Marks::decode(text) else {
            return self.run.violation(format!("{}: the answer's token is none: {text}", self.name));
        };
        if let Some((_, before)) = &self.seen {
            if let Some((group, was, is)) = marks.behind(before) {
                self.run.violation(format!(
                    "{}: the token of node {} says index {is} for group {group}; the one before said {was}",
                    self.name,
                    self.node + 1
                ));
            }
            self.run.mark("tokens_compared");
        }
        self.seen = Some((text.to_owned(), marks));
    }

    /// A connection; false if there is none for now.
    async fn connect(&mut self) -> bool {
        if self.run.founders() > 1 && self.rng.chance(self.run.plan.wander) {
            self.turn_away();
        }
        if self.client.as_ref().is_some_and(|client| !client.is_closed()) && !self.rng.chance(0.05) {
            return true;
        }
        self.client = None;
        let connecting = async {
            let address = world::address(self.node);
            let stream = self.env.connect(address).await.ok()?;
            Client::new(stream, &address.to_string()).await.ok()
        };
        let mut silent = false;
        let late = async {
            pause(CONNECTS).await;
            silent = true;
            None
        };
        self.client = future::or(connecting, late).await;
        if silent && self.run.calm_since().is_some() {
            self.gone.insert(self.node);
        }
        if self.client.is_none() {
            pause(5_000 + self.rng.below(20_000)).await;
            self.turn_away();
        }
        self.client.is_some()
    }

    fn judge(&mut self, answer: Result<Answer, ClientError>) -> Reply {
        let Ok(answer) = answer else {
            self.run.mark("lost_answers");
            return Reply::Lost;
        };
        let body: Value = match serde_json::from_slice(&answer.body) {
            Ok(body) => body,
            Err(error) => {
                self.run.violation(format!("{}: the answer is no JSON ({error}): {:?}", self.name, answer.body));
                return Reply::Lost;
            }
        };
        let (state, message) = error_of(&body);
        if answer.status >= 500 {
            self.tell(|| format!("{} {state} {message}", answer.status));
        }
        match answer.status {
            200 => Reply::Done(body),
            401 => {
                self.token = None;
                Reply::NotNow
            }
            429 => Reply::NotNow,
            // Timed out, or the node was going down: it may be applied after all.
            503 if matches!(state.as_str(), "57014" | "08007" | "40003" | "Timeout") => Reply::Open,
            // Nobody leads, or the node is starting: nothing was proposed.
            503 if self.run.founders() > 1 && is_definite(&state) => {
                self.run.mark("answered_not_now");
                Reply::NotNow
            }
            503 => {
                self.run.mark("answered_503");
                Reply::Lost
            }
            500 if self.run.any_operation_failed() => {
                self.run.mark("answered_500_after_a_fault");
                Reply::Lost
            }
            500.. => {
                self.run.violation(format!("{}: {} without a fault of the disk: {body}", self.name, answer.status));
                Reply::Lost
            }
            _ => Reply::Refused { state, message },
        }
    }
}

/// Whether a 503 says that nothing was done and nothing will be.
fn is_definite(state: &str) -> bool {
    state.starts_with("53") || matches!(state, "NOT_LEADER" | "CLUSTER_UNAVAILABLE" | "57P03" | "starting" | "stopping")
}

fn error_of(body: &Value) -> (String, String) {
    let error = &body["error"];
    if let Some(text) = error.as_str() {
        let code = body["code"].as_str().unwrap_or(text);
        return (code.to_owned(), body["message"].as_str().unwrap_or(text).to_owned());
    }
    let details =
        error["details"].as_str().and_then(|details| serde_json::from_str::<Value>(details).ok()).unwrap_or_default();
    let state = details["sqlstate"].as_str().or_else(|| error["code"].as_str()).unwrap_or_default();
    (state.to_owned(), error["message"].as_str().unwrap_or_default().to_owned())
}

fn short(text: &str) -> String {
    text.chars().take(220).collect()
}

/// The rows of the first result.
pub fn rows_of(answer: &Value) -> Vec<Vec<Value>> {
    let rows = answer["results"][0]["rows"].as_array();
    rows.into_iter().flatten().map(|row| row.as_array().cloned().unwrap_or_default()).collect()
}

/// How many rows the first result says it changed.
pub fn changed(answer: &Value) -> u64 {
    answer["results"][0]["row_count"].as_u64().unwrap_or(u64::MAX)
}

/// A number of a row; BIGINT cells are texts.
pub fn number(row: &[Value], at: usize) -> i64 {
    let cell = row.get(at);
    let parsed = cell.and_then(|cell| cell.as_i64().or_else(|| cell.as_str().and_then(|text| text.parse().ok())));
    parsed.unwrap_or(i64::MIN)
}

/// A text of a row.
pub fn text(row: &[Value], at: usize) -> &str {
    row.get(at).and_then(Value::as_str).unwrap_or_default()
}
