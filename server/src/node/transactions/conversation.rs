//! A text of statements, in order: those about tables one by one, those about the conversation as they come.
//!
//! A transaction that begins and ends within one text gives nothing away before its end, so it is run anew when it meets others'
//! changes, and a text that is sent again under its request id gets the answers of the try that was committed.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use highwater_runtime::{Env, sometimes};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::parse::Statement;
use highwater_sql::session::{Parameter, SessionStatement};
use highwater_sql::value::{DataType, Value};

use super::{Consistency, Ended, Transaction};
use crate::node::Node;
use crate::node::answer::{Answer, ErrorKind, ExecuteError, ExecuteRequest, ResultColumn, StatementResult};
use crate::node::execute::{Dml, Sums, head_of};
use crate::node::forward::Errand;
use crate::node::phases::Phase;
use crate::node::token::ReadToken;

/// How often a transaction of one text is run before its conflict is the answer.
const MAX_RUNS: u32 = 10;
/// The longest pause before the second run, in microseconds; doubled for each further one.
const PAUSE_MICROS: u64 = 2_000;

/// What surrounds a statement.
#[derive(Clone, Default)]
pub(in super::super) struct Around {
    /// The open transaction.
    pub(in super::super) within: Option<Rc<Transaction>>,
    /// How new reads must be.
    pub(in super::super) consistency: Consistency,
}

/// What lasts from one statement to the next.
#[derive(Default)]
pub(in super::super) struct Conversation {
    pub(in super::super) around: Around,
    pub(super) parameters: BTreeMap<Parameter, String>,
    /// It goes on after this text.
    pub(super) is_session: bool,
}

/// What a statement came to.
enum Step {
    Result(StatementResult, Option<Dml>),
    /// The transaction of this text is to be run anew, for this reason if that cannot be.
    Again(Diag),
}

/// Where a transaction of this text began, and how often.
struct Run {
    at: usize,
    results: usize,
    sums: Sums,
    count: u32,
}

impl Node {
    /// Runs statements. What is left open at the end stays in the conversation.
    pub(in super::super) async fn converse(
        &self,
        request: &ExecuteRequest,
        statements: &[Statement],
        conversation: &mut Conversation,
    ) -> Result<Answer, ExecuteError> {
        let mut token = self.token_of(request)?;
        let several = statements.len() > 1;
        let (mut results, mut sums) = (Vec::with_capacity(statements.len()), Sums::default());
        let mut run: Option<Run> = None;
        let mut at = 0;
        while let Some(statement) = statements.get(at) {
            let session = statement.session();
            if matches!(session, Some(SessionStatement::Begin { .. })) && run.as_ref().is_none_or(|run| run.at != at) {
                run = Some(Run { at, results: results.len(), sums, count: 1 });
            }
            let open = conversation.around.within.clone().filter(|_| !conversation.is_session);
            let step = match &session {
                Some(said) => self.session_statement(request, statements, at, said, conversation, &mut token).await,
                None => self.statement_around(request, statements, at, conversation, &mut token).await,
            };
            let failure = match step {
                Ok(Step::Result(result, Some(kind))) if several => {
                    sums.add(kind, &result);
                    at += 1;
                    continue;
                }
                Ok(Step::Result(result, _)) => {
                    results.push(result);
                    at += 1;
                    continue;
                }
                Ok(Step::Again(why)) => match &mut run {
                    Some(run) if run.count < MAX_RUNS && self.pauses(request, run.count).await => {
                        sometimes("transactions_run_anew");
                        run.count += 1;
                        conversation.around.within = None;
                        results.truncate(run.results);
                        (at, sums) = (run.at, run.sums);
                        continue;
                    }
                    Some(_) | None => self.give_up(request, open.as_deref(), why).await,
                },
                Err(why) => why,
            };
            if let Some(open) = &conversation.around.within {
                open.has_failed.set(true);
            }
            self.count(|traffic| traffic.failed(failure.sqlstate));
            return Err(ExecuteError {
                diag: failure,
                statement: several.then_some(at + 1),
                kind: ErrorKind::Statement,
                session: None,
            });
        }
        if several && !conversation.is_session && conversation.around.within.take().is_some() {
            return Err(Diag::new(
                SqlState::ACTIVE_TRANSACTION,
                "the text ended inside of its transaction: it was rolled back",
            )
            .hint("End the text with COMMIT; or send BEGIN alone, and then its session_id with every request as X-Highwater-Session.")
            .into());
        }
        sums.close(&mut results, &request.identity.user);
        Ok(Answer { results, token: token.encode(self.cluster_id()), as_of: token.as_of(), session: None })
    }

    /// What a text is told whose transaction is not run again. Once it is 40001, an earlier try must not be committed any more.
    async fn give_up(&self, request: &ExecuteRequest, open: Option<&Transaction>, why: Diag) -> Diag {
        let Some(open) = open else { return why };
        match open.is_committed_by_another(&why, self.errand_of(request)).await {
            Ok(false) => why,
            Ok(true) => Diag::new(
                SqlState::OUTCOME_UNKNOWN,
                format!("the transaction is committed, but cannot be answered: {why}"),
            )
            .hint("Send it again with the same request_id."),
            Err(why) => why,
        }
    }

    fn errand_of(&self, request: &ExecuteRequest) -> Errand {
        Errand { deadline: request.deadline.unwrap_or_else(|| self.statement_deadline()), trace: request.trace }
    }

    /// Waits before a further run; false when there is no time for one.
    async fn pauses(&self, request: &ExecuteRequest, runs: u32) -> bool {
        let env = self.env();
        let longest = PAUSE_MICROS << runs.min(8);
        let until = env.now().after_micros(env.random() % longest);
        if request.deadline.is_some_and(|deadline| until >= deadline) {
            return false;
        }
        env.sleep_until(until).await;
        true
    }

    /// A statement about tables or definitions.
    async fn statement_around(
        &self,
        request: &ExecuteRequest,
        statements: &[Statement],
        at: usize,
        conversation: &Conversation,
        token: &mut ReadToken,
    ) -> Result<Step, Diag> {
        let open = conversation.around.within.as_ref();
        if open.is_some_and(|open| open.has_failed.get()) {
            return Err(failed());
        }
        if let Some(open) = open {
            open.at.set(at);
        }
        let ordinal = u16::try_from(at).unwrap_or(u16::MAX);
        let renamed = conversation
            .parameters
            .get(&Parameter::SearchPath)
            .filter(|_| request.namespace.is_none())
            .map(|namespace| ExecuteRequest { namespace: Some(namespace.clone()), ..request.clone() });
        let request = renamed.as_ref().unwrap_or(request);
        let why = match self.run_statement(request, statements.get(at), ordinal, token, &conversation.around).await {
            Ok((result, dml)) => return Ok(Step::Result(result, dml)),
            Err(why) => why,
        };
        let Some(open) = open.filter(|_| !conversation.is_session) else { return Err(why) };
        if why.sqlstate == SqlState::SERIALIZATION_FAILURE {
            return Ok(Step::Again(why));
        }
        let errand = self.errand_of(request);
        if open.is_committed_by_another(&why, errand).await? { Ok(Step::Again(why)) } else { Err(why) }
    }

    async fn session_statement(
        &self,
        request: &ExecuteRequest,
        statements: &[Statement],
        at: usize,
        said: &SessionStatement,
        conversation: &mut Conversation,
        token: &mut ReadToken,
    ) -> Result<Step, Diag> {
        let errand = self.errand_of(request);
        let open = conversation.around.within.clone();
        let none = || {
            Diag::new(SqlState::NO_TRANSACTION, format!("{} outside of a transaction", said.tag())).hint(
                "BEGIN starts one. Over HTTP it lasts until the end of its text, or as long as its session_id is sent.",
            )
        };
        match said {
            SessionStatement::Begin { .. } if open.is_some() => {
                return Err(Diag::new(SqlState::ACTIVE_TRANSACTION, "there is a transaction in progress already")
                    .hint("COMMIT or ROLLBACK it first; SAVEPOINT makes a part of it that can be rolled back."));
            }
            SessionStatement::Begin { read_only } => {
                let (end, undone) = fate_of(statements, at);
                let head = end
                    .filter(|_| request.request_id.is_some())
                    .map(|end| head_of(request, u16::try_from(end).unwrap_or(u16::MAX)));
                conversation.around.within = Some(Rc::new(Transaction::begin(self, *read_only, head, undone)));
            }
            SessionStatement::Commit => {
                let Some(open) = open else { return Err(none()) };
                conversation.around.within = None;
                if open.has_failed.get() {
                    // As PostgreSQL: it ends the transaction, and what it says is what became of it.
                    let (message, as_user) = ("ROLLBACK".to_owned(), request.identity.user.clone());
                    return Ok(Step::Result(StatementResult::Message { message, row_count: 0, as_user }, None));
                }
                let head = head_of(request, u16::try_from(at).unwrap_or(u16::MAX));
                let began = self.begins(&request.timed);
                let ended = open.commit(head, errand, token).await;
                self.ends(&request.timed, Phase::Queue, began);
                match ended {
                    Ok(Ended::Committed) => {}
                    Ok(Ended::Earlier) if conversation.is_session => {}
                    Ok(Ended::Earlier) => return Ok(Step::Again(super::lost("another try of it was committed"))),
                    Err(why) if why.sqlstate == SqlState::SERIALIZATION_FAILURE && !conversation.is_session => {
                        return Ok(Step::Again(why));
                    }
                    Err(why) => return Err(why),
                }
            }
            SessionStatement::Rollback => {
                if open.is_none() {
                    return Err(none());
                }
                conversation.around.within = None;
            }
            SessionStatement::Savepoint(name) => {
                let open = open.ok_or_else(none)?;
                if open.has_failed.get() {
                    return Err(failed());
                }
                open.savepoint(name)?;
            }
            SessionStatement::Release(name) => {
                let open = open.ok_or_else(none)?;
                if open.has_failed.get() {
                    return Err(failed());
                }
                open.release(name)?;
            }
            SessionStatement::RollbackTo(name) => open.ok_or_else(none)?.roll_back_to(name, errand.deadline).await?,
            SessionStatement::Set(parameter, value) => {
                if open.is_some_and(|open| open.has_failed.get()) {
                    return Err(failed());
                }
                let lasts = conversation.is_session || statements.len() > 1;
                set(conversation, *parameter, value.as_deref(), lasts)?;
            }
            SessionStatement::Show(parameter) => {
                if open.is_some_and(|open| open.has_failed.get()) {
                    return Err(failed());
                }
                let value = conversation.parameters.get(parameter).map_or(parameter.default_value(), String::as_str);
                let column = ResultColumn {
                    name: parameter.name().to_owned(),
                    data_type: DataType::Text,
                    primary_key: false,
                    not_null: true,
                    unique: false,
                };
                let (rows, as_user) = (vec![vec![Value::Text(value.to_owned())]], request.identity.user.clone());
                return Ok(Step::Result(
                    StatementResult::Rows { schema: vec![column], rows, as_user, held: None },
                    None,
                ));
            }
        }
        let as_user = request.identity.user.clone();
        Ok(Step::Result(StatementResult::Message { message: said.tag().to_owned(), row_count: 0, as_user }, None))
    }
}

/// Where the transaction that begins at `begin` is committed in the same text, and which statements of it are rolled back before.
fn fate_of(statements: &[Statement], begin: usize) -> (Option<usize>, BTreeSet<usize>) {
    let (mut undone, mut savepoints) = (BTreeSet::new(), Vec::new());
    for (at, statement) in statements.iter().enumerate().skip(begin + 1) {
        match statement.session() {
            Some(SessionStatement::Commit) => return (Some(at), undone),
            Some(SessionStatement::Rollback) => return (None, undone),
            Some(SessionStatement::Savepoint(name)) => savepoints.push((name, at)),
            Some(SessionStatement::RollbackTo(name)) => {
                if let Some((_, from)) = savepoints.iter().rev().find(|(known, _)| *known == name) {
                    undone.extend(*from..at);
                }
            }
            Some(_) | None => {}
        }
    }
    (None, undone)
}

fn set(conversation: &mut Conversation, parameter: Parameter, value: Option<&str>, lasts: bool) -> Result<(), Diag> {
    let value = match value {
        Some(value) => parameter.checked(value)?,
        None => parameter.default_value().to_owned(),
    };
    if !lasts && value != parameter.default_value() {
        return Err(Diag::not_supported(format!("SET {} in a request of its own", parameter.name()))
            .hint("It lasts as long as its text or session: send it before other statements of one text, or after BEGIN in a session."));
    }
    if parameter == Parameter::ReadConsistency {
        conversation.around.consistency = match value.as_str() {
            "session" => Consistency::Session,
            "stale" => Consistency::Stale,
            _ => Consistency::Linearizable,
        };
    }
    conversation.parameters.insert(parameter, value);
    Ok(())
}

fn failed() -> Diag {
    Diag::new(
        SqlState::FAILED_TRANSACTION,
        "the transaction has failed: its statements are refused until ROLLBACK, or ROLLBACK TO a savepoint",
    )
}
