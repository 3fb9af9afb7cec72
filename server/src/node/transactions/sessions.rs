//! Sessions: conversations that go on in later requests, each at the core that began it.
//!
//! A lone BEGIN opens one; it ends with its transaction, after a time without requests, with its login or user, and with its node. Its
//! text form names the node and core: any core of the node takes its requests and hands them on. Nobody else's session can be told from
//! one that does not exist.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use highwater_runtime::{Env, Monotonic};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::memory::Share;
use highwater_sql::session::SessionStatement;
use highwater_sql::value::{Micros, Row, Value};

use super::conversation::Conversation;
use super::{lost, settle, wide};
use crate::node::answer::{Answer, ExecuteError, ExecuteRequest, ResultColumn, StatementResult};
use crate::node::execute::{head_of, statement_hash};
use crate::node::forward::Errand;
use crate::node::mesh::Question;
use crate::node::{Node, ask_port};

/// Sessions of one core.
const MAX_SESSIONS: usize = 1_024;
/// Ended sessions of one core whose last answer is kept for a retry.
const MAX_ENDED: usize = 1_024;
/// Answers of an open session that are kept for retries; older ones go.
const MAX_KEPT: usize = 256;
/// Pause between two looks at what has ended, in microseconds.
const LOOK_MICROS: u64 = 500_000;

/// An answer on its way between cores.
pub(crate) struct SentAnswer {
    results: Vec<SentResult>,
    token: String,
    session: Option<String>,
}

#[derive(Clone)]
enum SentResult {
    Rows { schema: Vec<ResultColumn>, rows: Vec<Row>, as_user: String, held: Option<Arc<Share>> },
    Message { message: String, row_count: u64, as_user: String },
}

impl From<Answer> for SentAnswer {
    fn from(answer: Answer) -> Self {
        let results = answer.results.into_iter().map(|result| match result {
            StatementResult::Rows { schema, rows, as_user, held } => SentResult::Rows { schema, rows, as_user, held },
            StatementResult::Message { message, row_count, as_user } => {
                SentResult::Message { message, row_count, as_user }
            }
            // Requests of sessions take no streams.
            StatementResult::Stream { schema, first, as_user, .. } => {
                SentResult::Rows { schema, rows: first, as_user, held: None }
            }
        });
        Self { results: results.collect(), token: answer.token, session: answer.session }
    }
}

impl From<SentAnswer> for Answer {
    fn from(sent: SentAnswer) -> Self {
        let results = sent.results.into_iter().map(|result| match result {
            SentResult::Rows { schema, rows, as_user, held } => StatementResult::Rows { schema, rows, as_user, held },
            SentResult::Message { message, row_count, as_user } => {
                StatementResult::Message { message, row_count, as_user }
            }
        });
        // What a transaction reads is never stale.
        Self { results: results.collect(), token: sent.token, as_of: None, session: sent.session }
    }
}

/// The sessions of one core.
#[derive(Default)]
pub(crate) struct Sessions {
    open: RefCell<BTreeMap<u128, Session>>,
    ended: RefCell<BTreeMap<u128, Past>>,
    is_watched: Cell<bool>,
}

struct Session {
    user: String,
    login: String,
    auth_epoch: u64,
    began: Micros,
    used: Monotonic,
    /// `None` while a request is at work.
    conversation: Option<Conversation>,
    /// What requests with an id were answered.
    kept: Vec<Kept>,
}

struct Kept {
    request: u128,
    hash: u64,
    results: Vec<SentResult>,
}

/// A session that ended with its transaction.
struct Past {
    user: String,
    until: Monotonic,
    last: Option<Kept>,
    /// The request that ended it and was not answered, or with an error: a COMMIT whose outcome was not known then.
    unanswered: Option<u128>,
}

/// What a request finds in the place of its session.
enum Taken {
    Conversation(Box<Conversation>),
    /// It was answered before; true: the session goes on.
    Kept(Vec<SentResult>, bool),
    /// Another request has it.
    Busy,
    /// It has ended with its transaction.
    Past,
    /// It has ended with this very request, whose answer is not known.
    Unanswered,
    Unknown,
}

/// What is shown of a core's sessions.
pub(crate) struct Conversations {
    /// Rows of `system.sessions`: id, user, began, idle microseconds, in a transaction.
    pub(crate) sessions: Vec<(String, String, Micros, u64, bool)>,
    /// Rows of `system.transactions`: began, group, writes.
    pub(crate) transactions: Vec<(Micros, u32, usize)>,
}

impl Sessions {
    /// Takes a session for a request, whose statements hash to `hash`.
    fn take(&self, id: u128, request: &ExecuteRequest, hash: u64, now: Monotonic) -> Taken {
        let user = &request.identity.user;
        let same = |kept: &&Kept| Some(kept.request) == request.request_id && kept.hash == hash;
        if let Some(session) = self.open.borrow_mut().get_mut(&id).filter(|session| session.user == *user) {
            if let Some(kept) = session.kept.iter().find(same) {
                return Taken::Kept(kept.results.clone(), true);
            }
            session.used = now;
            return session
                .conversation
                .take()
                .map_or(Taken::Busy, |conversation| Taken::Conversation(Box::new(conversation)));
        }
        match self.ended.borrow().get(&id).filter(|past| past.user == *user) {
            None => Taken::Unknown,
            Some(past) => match past.last.as_ref().filter(same) {
                Some(kept) => Taken::Kept(kept.results.clone(), false),
                None if past.unanswered.is_some() && past.unanswered == request.request_id => Taken::Unanswered,
                None => Taken::Past,
            },
        }
    }

    /// Ends the sessions of a login.
    pub(crate) fn end(&self, login: &str) {
        let mut ended = Vec::new();
        let mut open = self.open.borrow_mut();
        let ids: Vec<u128> = open.iter().filter(|(_, session)| session.login == login).map(|(id, _)| *id).collect();
        ended.extend(ids.into_iter().filter_map(|id| open.remove(&id)));
        drop(open);
        // Dropped here, when nothing is borrowed: each ends its transaction.
        drop(ended);
    }
}

impl Node {
    /// Ends the sessions of a login on all cores of this node.
    pub(crate) async fn end_sessions(&self, login: &str) {
        for port in &self.0.to {
            let _ = ask_port(port, |reply| Question::EndSessions(login.to_owned(), reply)).await;
        }
    }

    /// Rows of `system.sessions`, of all cores of this node.
    pub(in super::super) async fn session_rows(&self) -> Result<Vec<Row>, Diag> {
        let mut rows = Vec::new();
        for port in &self.0.to {
            for (id, user, began, idle, in_transaction) in ask_port(port, Question::Conversations).await?.sessions {
                // Who knows the whole id, and is its user, may go on with it.
                let shown = id.get(..id.len().saturating_sub(24)).unwrap_or_default();
                rows.push(vec![
                    Value::Text(shown.to_owned()),
                    Value::Text(user),
                    number(self.links().me().0),
                    Value::Timestamp(began),
                    number(idle / 1_000),
                    Value::Boolean(in_transaction),
                ]);
            }
        }
        Ok(rows)
    }

    /// Rows of `system.transactions`, of all cores of this node.
    pub(in super::super) async fn transaction_rows(&self) -> Result<Vec<Row>, Diag> {
        let mut rows = Vec::new();
        for port in &self.0.to {
            for (began, group, writes) in ask_port(port, Question::Conversations).await?.transactions {
                let node = number(self.links().me().0);
                let writes = number(writes as u64);
                rows.push(vec![node, number(u64::from(group)), Value::Timestamp(began), writes]);
            }
        }
        Ok(rows)
    }

    /// What is shown of this core's sessions and transactions.
    pub(in super::super) fn conversations(&self) -> Conversations {
        let now = self.env().now();
        let row = |(id, session): (&u128, &Session)| {
            let in_transaction = session.conversation.as_ref().is_none_or(|open| open.around.within.is_some());
            let idle = now.micros_since(session.used);
            (self.session_text(*id), session.user.clone(), session.began, idle, in_transaction)
        };
        Conversations {
            sessions: self.0.sessions.open.borrow().iter().map(row).collect(),
            transactions: self.0.workspaces.shown(),
        }
    }

    fn session_text(&self, id: u128) -> String {
        format!("{:x}-{:x}-{id:032x}", self.links().me().0, self.0.core.0)
    }

    /// A conversation that is to go on: gives what its client sends with the next request.
    pub(in super::super) fn open_session(
        &self,
        request: &ExecuteRequest,
        mut conversation: Conversation,
    ) -> Result<String, Diag> {
        let sessions = &self.0.sessions;
        let mut open = sessions.open.borrow_mut();
        let user = &request.identity.user;
        let own = open.values().filter(|session| session.user == *user).count();
        let most = usize::try_from(self.settings().sessions_per_user).unwrap_or(usize::MAX);
        if own >= most || open.len() >= MAX_SESSIONS {
            let (whose, limit) = if own >= most {
                (format!("user \"{user}\" has"), most)
            } else {
                ("this core has".to_owned(), MAX_SESSIONS)
            };
            return Err(Diag::new(SqlState::OVERLOADED, format!("{whose} {limit} open sessions, which is the limit"))
                .hint("COMMIT or ROLLBACK those that are no longer needed; each ends by itself when it was idle for sql.session_idle."));
        }
        conversation.is_session = true;
        let id = wide(self.env());
        let session = Session {
            user: user.clone(),
            login: request.identity.token_id.clone(),
            auth_epoch: request.identity.auth_epoch,
            began: self.env().wall().0,
            used: self.env().now(),
            conversation: Some(conversation),
            kept: Vec::new(),
        };
        open.insert(id, session);
        drop(open);
        self.watch_sessions();
        Ok(self.session_text(id))
    }

    /// Ends what has been idle for too long and what belongs to users that are gone, as long as there is anything.
    fn watch_sessions(&self) {
        if self.0.sessions.is_watched.replace(true) {
            return;
        }
        let node = self.clone();
        self.env().spawn("sessions", async move {
            let sessions = &node.0.sessions;
            while !sessions.open.borrow().is_empty() || !sessions.ended.borrow().is_empty() {
                node.env().sleep(LOOK_MICROS.min(node.settings().session_idle_micros)).await;
                let (now, catalog) = (node.env().now(), node.catalog());
                let is_over = |session: &Session| {
                    let is_idle = session.conversation.is_some()
                        && now.micros_since(session.used) >= node.settings().session_idle_micros;
                    let user = catalog.users.get(&session.user);
                    is_idle || user.is_none_or(|user| user.auth_epoch > session.auth_epoch) || node.is_closing()
                };
                let ids: Vec<u128> =
                    sessions.open.borrow().iter().filter(|(_, session)| is_over(session)).map(|(id, _)| *id).collect();
                for id in ids {
                    let ended = sessions.open.borrow_mut().remove(&id);
                    drop(ended);
                }
                sessions.ended.borrow_mut().retain(|_, past| past.until > now);
            }
            sessions.is_watched.set(false);
        });
    }

    /// Takes a request to its session.
    pub(in super::super) async fn execute_in_session(&self, request: ExecuteRequest) -> Result<Answer, ExecuteError> {
        let text = request.session.clone().unwrap_or_default();
        let mut parts = text.split('-');
        let mut part = || parts.next().and_then(|part| u64::from_str_radix(part, 16).ok());
        let (node, core) = (part(), part());
        let Some((node, core)) = node.zip(core) else {
            return Err(Diag::new(SqlState::INVALID_PARAMETER, "the header X-Highwater-Session holds no session_id")
                .hint("Send the session_id of BEGIN's answer unchanged.")
                .into());
        };
        let port = usize::try_from(core).ok().and_then(|core| self.0.to.get(core));
        let Some(port) = port.filter(|_| node == self.links().me().0) else {
            return self.without_session(&request, &format!("its session belongs to node {node}")).await;
        };
        let request = ExecuteRequest { streams: false, ..request };
        ask_port(port, |reply| Question::Session(Box::new(request), reply)).await?.map(Answer::from)
    }

    /// A request of a session that is not here: a COMMIT may have been applied before its session was lost, all else is lost with it.
    async fn without_session(&self, request: &ExecuteRequest, what: &str) -> Result<Answer, ExecuteError> {
        let why = lost(what);
        let statements = highwater_sql::parse::parse(&request.sql)?;
        let is_commit = matches!(statements.as_slice(), [one] if one.session() == Some(SessionStatement::Commit));
        if !is_commit || request.request_id.is_none() {
            return Err(why.into());
        }
        let errand =
            Errand { deadline: request.deadline.unwrap_or_else(|| self.statement_deadline()), trace: request.trace };
        let layout = self.layout();
        let home = layout.user_group(&request.identity.user);
        let others = layout.user_groups().filter(|group| *group != home);
        for group in std::iter::once(home).chain(layout.shared_groups()).chain(others) {
            if settle(self, group, head_of(request, 0), &why, errand).await? {
                let as_user = request.identity.user.clone();
                let result = StatementResult::Message { message: "COMMIT".to_owned(), row_count: 0, as_user };
                let token = self.token_of(request)?.encode(self.cluster_id());
                return Ok(Answer { results: vec![result], token, as_of: None, session: None });
            }
        }
        Err(why.into())
    }

    /// Runs a request on the core of its session.
    pub(in super::super) async fn in_session(&self, request: ExecuteRequest) -> Result<SentAnswer, ExecuteError> {
        let text = request.session.clone().unwrap_or_default();
        let id = text.rsplit('-').next().and_then(|id| u128::from_str_radix(id, 16).ok()).unwrap_or_default();
        let hash = statement_hash(&request, 0);
        let answered = |results, session| SentAnswer {
            results,
            token: request.token.clone().unwrap_or_else(|| super::ReadToken::default().encode(self.cluster_id())),
            session,
        };
        let mut conversation = match self.0.sessions.take(id, &request, hash, self.env().now()) {
            Taken::Conversation(conversation) => *conversation,
            Taken::Kept(results, true) => return Ok(answered(results, Some(text))),
            Taken::Kept(results, false) => return Ok(answered(results, None)),
            Taken::Busy => {
                return Err(Diag::new(SqlState::OBJECT_STATE, "another request of the session is still at work")
                    .hint("Send the requests of a session one after the other.")
                    .into());
            }
            Taken::Past => {
                return Err(Diag::new(SqlState::NO_TRANSACTION, "the session has ended with its transaction")
                    .hint("BEGIN without the header X-Highwater-Session opens a new one.")
                    .into());
            }
            Taken::Unanswered => {
                let what = "the session has ended with this request";
                return self.without_session(&request, what).await.map(SentAnswer::from);
            }
            Taken::Unknown => {
                let what = "its session is not known here: it was idle for longer than sql.session_idle, or its node was restarted";
                return self.without_session(&request, what).await.map(SentAnswer::from);
            }
        };
        let done = match self.parsed(&request) {
            Ok(statements) => self.converse(&request, &statements, &mut conversation).await,
            Err(error) => {
                if let Some(open) = &conversation.around.within {
                    open.has_failed.set(true);
                }
                Err(*error)
            }
        };
        let is_over = conversation.around.within.is_none();
        let mut answer = done.map(SentAnswer::from);
        let goes_on = (!is_over).then(|| text.clone());
        match &mut answer {
            Ok(answer) => answer.session = goes_on,
            Err(error) => error.session = goes_on,
        }
        let kept = request.request_id.and_then(|request| {
            let results = answer.as_ref().ok()?.results.clone();
            // What can be large is asked again.
            let is_small =
                results.iter().all(|result| !matches!(result, SentResult::Rows { rows, .. } if rows.len() > 64));
            is_small.then_some(Kept { request, hash, results })
        });
        if is_over {
            let ended = self.0.sessions.open.borrow_mut().remove(&id);
            drop(ended);
            let mut past = self.0.sessions.ended.borrow_mut();
            if past.len() < MAX_ENDED {
                let until = self.env().now().after_micros(self.settings().session_idle_micros);
                let unanswered = request.request_id.filter(|_| kept.is_none());
                past.insert(id, Past { user: request.identity.user.clone(), until, last: kept, unanswered });
            }
        } else if let Some(session) = self.0.sessions.open.borrow_mut().get_mut(&id) {
            session.conversation = Some(conversation);
            session.used = self.env().now();
            session.kept.extend(kept);
            let over = session.kept.len().saturating_sub(MAX_KEPT);
            session.kept.drain(..over);
        }
        answer
    }
}

fn number(value: u64) -> Value {
    Value::BigInt(i64::try_from(value).unwrap_or(i64::MAX))
}
