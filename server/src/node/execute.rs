//! Running a text of statements: parse, bind, authorise, route, and do it again where definitions moved meanwhile.

use std::sync::Arc;

use highwater_runtime::{Env, Monotonic, sometimes};
use highwater_sql::access::authorize;
use highwater_sql::bind::{self, BindContext, ParamValue};
use highwater_sql::catalog::{Catalog, Role};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::outline;
use highwater_sql::parse::{self, Statement};
use highwater_sql::plan::{Bound, Plan, WriteKind};
use highwater_sql::session::unknown_setting;
use highwater_sql::value::{Micros, Value};
use highwater_state::command::{RequestHead, RequestId};
use xxhash_rust::xxh3::Xxh3;

use super::answer::{Answer, ErrorKind, ExecuteError, ExecuteRequest, Identity, StatementResult};
use super::forward::{Errand, Unapplied};
use super::phases::{Phase, Timed};
use super::plans::{Asked, Planned};
use super::token::ReadToken;
use super::transactions::{Around, Consistency, Conversation};
use super::{Inner, Node, shutting_down};
use crate::metrics::{StatementKind, Traffic};

/// First pause before a statement is planned anew a second time because definitions or leaders moved under it, in microseconds.
const FIRST_PAUSE_MICROS: u64 = 5_000;
/// Longest such pause, in microseconds.
const LONGEST_PAUSE_MICROS: u64 = 160_000;
/// Statements of one text at most.
const MAX_STATEMENTS: usize = 10_000;
/// The namespace of unqualified names.
const DEFAULT_NAMESPACE: &str = "default";

/// Why a statement did not run to its end.
pub(super) enum Failure {
    /// Definitions or leaders moved, and nothing was applied: plan again.
    Stale,
    /// It cannot.
    Diag(Diag),
}

impl From<Unapplied> for Failure {
    fn from(error: Unapplied) -> Self {
        match error {
            // Nothing of it is in any log: it is planned anew, and goes to the leader that there is then.
            Unapplied::Gone(_) => Self::Stale,
            Unapplied::Refused(diag) => Self::Diag(diag),
        }
    }
}

impl From<Diag> for Failure {
    fn from(diag: Diag) -> Self {
        Self::Diag(diag)
    }
}

/// When a statement started, on both clocks.
#[derive(Clone, Copy)]
struct Start {
    now: Micros,
    began: Monotonic,
}

/// A bound statement on its way, and everything that its parts need.
pub(super) struct Run {
    /// Who asks.
    pub(super) identity: Identity,
    /// The statement.
    pub(super) bound: Arc<Bound>,
    /// The user that EXECUTE AS names.
    pub(super) acts_as: Option<String>,
    /// Its verb, in capitals.
    pub(super) verb: &'static str,
    /// What it was bound against.
    pub(super) catalog: Arc<Catalog>,
    /// Whose rows it means.
    pub(super) user: String,
    /// The role that its expressions see.
    pub(super) role: Role,
    /// Its parameters, of the inferred types.
    pub(super) params: Arc<Vec<Value>>,
    /// When it started: NOW().
    pub(super) now: Micros,
    /// The same moment on the clock that deadlines are of.
    pub(super) began: Monotonic,
    /// When to give up, and what its log lines are found by.
    pub(super) errand: Errand,
    /// How a retry is recognised.
    pub(super) head: RequestHead,
    /// Rows may be answered while they are read.
    pub(super) streams: bool,
    /// Where volatile values of what is read come from.
    pub(super) seed: u128,
    /// The transaction that it is part of, and how new its reads must be.
    pub(super) around: Around,
    /// Where it is noted how long its parts take.
    pub(super) timed: Timed,
}

impl Run {
    /// How new its reads must be: what a change or a transaction reads is never stale.
    pub(super) fn read_consistency(&self) -> Consistency {
        match (self.around.consistency, &self.bound.plan) {
            (Consistency::Stale, Plan::Query(_)) if self.around.within.is_none() => Consistency::Stale,
            (Consistency::Stale, _) => Consistency::Linearizable,
            (other, _) => other,
        }
    }
}

/// The pauses between the plans of one statement: none before the second, then ever longer ones.
#[derive(Default)]
pub(super) struct Pauses(u64);

impl Pauses {
    /// The next pause, in microseconds, spread by `random`: between half of its length and all of it.
    fn next(&mut self, random: u64) -> u64 {
        let half = self.0 / 2;
        self.0 = self.0.saturating_mul(2).clamp(FIRST_PAUSE_MICROS, LONGEST_PAUSE_MICROS);
        half + random.checked_rem(half).unwrap_or(0)
    }
}

/// Counts a request as in flight until dropped.
pub(super) struct InFlight(Node);

impl Drop for InFlight {
    fn drop(&mut self) {
        let inner: &Inner = &self.0.0;
        inner.in_flight.set(inner.in_flight.get().saturating_sub(1));
        if inner.in_flight.get() == 0 {
            inner.idle.notify();
        }
    }
}

impl Node {
    /// Counts a request as in flight.
    ///
    /// # Errors
    /// 57P01 while the node shuts down.
    pub(super) fn enter(&self) -> Result<InFlight, Diag> {
        if !self.is_ready() {
            return Err(shutting_down());
        }
        Ok(self.in_flight())
    }

    /// Counts a request of another node as in flight: it is worked on as soon as its group is led here.
    ///
    /// # Errors
    /// 57P01 while the node shuts down.
    pub(super) fn enter_for_another(&self) -> Result<InFlight, Diag> {
        if self.is_closing() || self.0.layout.get().is_none() {
            return Err(shutting_down());
        }
        Ok(self.in_flight())
    }

    fn in_flight(&self) -> InFlight {
        self.0.in_flight.set(self.0.in_flight.get() + 1);
        InFlight(self.clone())
    }

    /// Runs a text of one or more statements, in order, each on its own. The first failure ends it; what was committed
    /// before stays.
    ///
    /// # Errors
    /// The first failure, with the statement's number when there are several.
    pub async fn execute(&self, request: ExecuteRequest) -> Result<Answer, ExecuteError> {
        let _in_flight = self.enter()?;
        if request.session.is_none() && self.known_plan(&self.catalog(), &request).is_some() {
            return self.execute_known(&request).await;
        }
        if request.session.is_some() {
            return Box::pin(self.execute_in_session(request)).await;
        }
        let statements = self.parsed(&request).map_err(|error| *error)?;
        let mut conversation = Conversation::default();
        let mut answer = self.converse(&request, &statements, &mut conversation).await?;
        if conversation.around.within.is_some() {
            answer.session = Some(self.open_session(&request, conversation)?);
        }
        Ok(answer)
    }

    /// The statements of a request's text.
    pub(super) fn parsed(&self, request: &ExecuteRequest) -> Result<Vec<Statement>, Box<ExecuteError>> {
        let began = self.begins(&request.timed);
        let parsed = parse::parse(&request.sql);
        self.ends(&request.timed, Phase::Parse, began);
        let statements = parsed.map_err(|diag| {
            self.count(|traffic| traffic.failed(diag.sqlstate));
            let statement = diag.span.and_then(|span| outline::statement_at(&request.sql, span.start));
            Box::new(ExecuteError { diag, statement, kind: ErrorKind::Parse, session: None })
        })?;
        let of = |kind, diag| Box::new(ExecuteError { diag, statement: None, kind, session: None });
        if statements.is_empty() {
            return Err(of(ErrorKind::Empty, Diag::new(SqlState::SYNTAX_ERROR, "the text holds no statement")));
        }
        if statements.len() > MAX_STATEMENTS {
            let diag = Diag::new(
                SqlState::PROGRAM_LIMIT,
                format!("the text holds {} statements; the limit is {MAX_STATEMENTS}", statements.len()),
            );
            return Err(of(ErrorKind::Statement, diag.hint("Send it in parts.")));
        }
        if statements.len() > 1 && !request.params.is_empty() {
            let diag =
                Diag::new(SqlState::INVALID_PARAMETER, "parameters are not allowed with more than one statement");
            return Err(of(
                ErrorKind::ParamsWithBatch,
                diag.hint("Send one statement, or write the values as literals."),
            ));
        }
        Ok(statements)
    }

    /// [`Self::execute`] for a text that is known to be one statement.
    async fn execute_known(&self, request: &ExecuteRequest) -> Result<Answer, ExecuteError> {
        let mut token = self.token_of(request)?;
        match self.run_statement(request, None, 0, &mut token, &Around::default()).await {
            Ok((result, _)) => {
                Ok(Answer { results: vec![result], token: token.encode(self.cluster_id()), as_of: None, session: None })
            }
            Err(diag) => {
                self.count(|traffic| traffic.failed(diag.sqlstate));
                Err(diag.into())
            }
        }
    }

    pub(super) fn token_of(&self, request: &ExecuteRequest) -> Result<ReadToken, Diag> {
        match &request.token {
            Some(text) => ReadToken::decode(text, self.cluster_id()),
            None => Ok(ReadToken::default()),
        }
    }

    pub(super) fn count(&self, note: impl FnOnce(&Traffic)) {
        if let Some(traffic) = self.0.traffic.get() {
            note(traffic);
        }
    }

    pub(super) async fn run_statement(
        &self,
        request: &ExecuteRequest,
        statement: Option<&Statement>,
        ordinal: u16,
        token: &mut ReadToken,
        around: &Around,
    ) -> Result<(StatementResult, Option<Dml>), Diag> {
        let start = Start { now: self.env().wall().0, began: self.env().now() };
        let deadline = request.deadline.unwrap_or_else(|| self.statement_deadline());
        if start.began >= deadline {
            return Err(Diag::new(SqlState::TIMEOUT, "the statement's deadline has passed before it was planned"));
        }
        let errand = Errand { deadline, trace: request.trace };
        let (mut pauses, mut is_counted) = (Pauses::default(), false);
        loop {
            let began = self.begins(&request.timed);
            let planned = self.plan(request, statement, ordinal, start, errand, around).await;
            self.ends(&request.timed, Phase::Plan, began);
            let run = match planned {
                Ok(run) => run,
                Err(why) if statement.is_some_and(|statement| may_be_answered(request, statement, &why)) => {
                    let head = head_of(request, ordinal);
                    return Ok((self.refuse_definition(errand, head, why).await?, None));
                }
                Err(why) => {
                    self.audit_unplanned(request, statement, &why);
                    return Err(why);
                }
            };
            let dml = dml_of(&run.bound.plan);
            if !std::mem::replace(&mut is_counted, true) {
                self.count(|traffic| traffic.runs(StatementKind::of(&run.bound.plan)));
            }
            match self.run(&run, token).await {
                Ok(result) => {
                    self.audit_ran(request, statement, &run, None);
                    return Ok((result, dml));
                }
                Err(Failure::Diag(diag)) => {
                    self.audit_ran(request, statement, &run, Some(&diag));
                    return Err(statement.map_or(diag.clone(), |statement| statement.placed(diag)));
                }
                Err(Failure::Stale) => self.before_next_plan(&mut pauses, run.errand.deadline).await?,
            }
        }
    }

    /// Definitions or leaders moved under a plan: waits a little, and sees to it that the next is made with the newest catalog.
    ///
    /// # Errors
    /// 57014 at the deadline: nothing was applied.
    pub(super) async fn before_next_plan(&self, pauses: &mut Pauses, deadline: Monotonic) -> Result<(), Diag> {
        let pause = pauses.next(self.env().random());
        if pause > 0 {
            let until = self.env().now().after_micros(pause).min(deadline);
            self.env().sleep_until(until).await;
        }
        if self.env().now() >= deadline {
            return Err(Diag::new(
                SqlState::TIMEOUT,
                "until its deadline, the statement's table was redefined or its group changed leaders; it was not applied",
            )
            .hint("Retry once the definitions and the cluster rest."));
        }
        sometimes("statements_planned_anew");
        self.newest_catalog_by(deadline).await?;
        Ok(())
    }

    /// Binds and authorises. An object that this core does not know may be new: before saying so it asks meta.
    async fn plan(
        &self,
        request: &ExecuteRequest,
        statement: Option<&Statement>,
        ordinal: u16,
        Start { now, began }: Start,
        errand: Errand,
        around: &Around,
    ) -> Result<Run, Diag> {
        let mut catalog = self.catalog();
        let planned = match self.plan_with(&catalog, request, statement) {
            Err(diag) => {
                let newest = self.newest_catalog_by(errand.deadline).await?;
                if newest.version == catalog.version {
                    Err(diag)
                } else {
                    catalog = newest;
                    self.plan_with(&catalog, request, statement)
                }
            }
            planned => planned,
        };
        let (Planned { bound, acts_as, verb }, params) = planned?;
        let (user, role) = match &acts_as {
            Some(user) => {
                let role = catalog.users.get(user).map_or(Role::User, |user| user.role);
                (user.clone(), role)
            }
            None => (request.identity.user.clone(), request.identity.role),
        };
        let head = head_of(request, ordinal);
        let errand = match &bound.plan {
            // A consume may wait for messages first.
            Plan::Consume(plan) => Errand { deadline: self.after_wait(began, plan.timeout_micros), ..errand },
            Plan::Query(_)
            | Plan::Write(_)
            | Plan::Ddl(_)
            | Plan::CreateFrom(_)
            | Plan::User(_)
            | Plan::Ack(_)
            | Plan::Cluster(_) => errand,
        };
        Ok(Run {
            identity: request.identity.clone(),
            bound,
            acts_as,
            verb,
            catalog,
            user,
            role,
            params: Arc::new(params),
            now: around.within.as_ref().map_or(now, |open| open.began()),
            began,
            errand,
            head,
            streams: request.streams,
            seed: u128::from(self.env().random()) << 64 | u128::from(self.env().random()),
            around: around.clone(),
            timed: request.timed.clone(),
        })
    }

    fn plan_with(
        &self,
        catalog: &Catalog,
        request: &ExecuteRequest,
        statement: Option<&Statement>,
    ) -> Result<(Planned, Vec<Value>), Diag> {
        let planned = match self.known_plan(catalog, request) {
            Some(planned) => planned,
            None => self.bind(catalog, request, statement)?,
        };
        let params: Vec<ParamValue> = request.params.clone();
        let within = statement.map(|statement| statement.text_span);
        let params = bind::coerce_params(&planned.bound, params, &request.sql, within)?;
        Ok((planned, params))
    }

    /// The plan of a text that was bound before.
    fn known_plan(&self, catalog: &Catalog, request: &ExecuteRequest) -> Option<Planned> {
        if request.params.is_empty() { None } else { self.0.plans.borrow().find(catalog, &asked(request)) }
    }

    /// Binds and authorises; `None` for a text that is one statement, whose plan was known a moment ago.
    fn bind(
        &self,
        catalog: &Catalog,
        request: &ExecuteRequest,
        statement: Option<&Statement>,
    ) -> Result<Planned, Diag> {
        let parsed = if statement.is_none() { parse::parse(&request.sql)? } else { Vec::new() };
        let Some(statement) = statement.or(parsed.first()) else {
            return Err(Diag::new(SqlState::SYNTAX_ERROR, "the text holds no statement"));
        };
        let Asked { namespace, user, role, .. } = asked(request);
        let bound = bind::bind(statement, &BindContext { catalog, namespace, user, role })?;
        authorize(&bound, role, user, catalog)?;
        if let Some((name, span)) = statement.setting() {
            let known = || self.settings().shown.iter().map(|[name, ..]| name.as_str());
            if !known().any(|setting| setting == name) {
                return Err(unknown_setting(name, known()).at(span));
            }
        }
        let acts_as = bound.execute_as.clone();
        let planned = Planned { bound: Arc::new(bound), acts_as, verb: statement.keyword() };
        if !request.params.is_empty() {
            self.0.plans.borrow_mut().keep(catalog.version, &asked(request), &planned);
        }
        Ok(planned)
    }

    async fn run(&self, run: &Run, token: &mut ReadToken) -> Result<StatementResult, Failure> {
        let is_of_rows = matches!(run.bound.plan, Plan::Query(_) | Plan::Write(_));
        if run.around.within.is_some() && !is_of_rows {
            let what = match &run.bound.plan {
                Plan::Consume(_) | Plan::Ack(_) => {
                    "CONSUME or ACK in a transaction: a topic's partition is a shard of its own, which"
                }
                _ => "a definition in a transaction: definitions are a shard of their own, which",
            };
            return Err(Diag::not_supported(what).hint("COMMIT first, then send it by itself.").into());
        }
        match &run.bound.plan {
            Plan::Query(plan) => self.query(run, plan, token).await,
            Plan::Write(plan) => self.write(run, plan, token).await,
            Plan::Ddl(ddl) => self.define(run, ddl.clone()).await,
            Plan::CreateFrom(create) => self.create_from(run, create, token).await,
            Plan::User(plan) => self.change_user(run, plan.clone()).await,
            Plan::Consume(plan) => self.consume_statement(run, plan, token).await,
            Plan::Ack(plan) => self.ack_statement(run, plan, token).await,
            Plan::Cluster(plan) => self.cluster_statement(run, *plan).await,
        }
    }
}

pub(super) fn head_of(request: &ExecuteRequest, ordinal: u16) -> RequestHead {
    RequestHead {
        principal: request.identity.user.clone(),
        role: request.identity.role,
        auth_epoch: request.identity.auth_epoch,
        request: request.request_id.map(|id| RequestId { id, ordinal }),
        statement_hash: statement_hash(request, ordinal),
    }
}

/// Whether a statement that cannot be planned may have an answer all the same: a definition under a request id whose first try may have made
/// what is in its way now, or taken away what it is about.
fn may_be_answered(request: &ExecuteRequest, statement: &Statement, why: &Diag) -> bool {
    let is_definition = ["CREATE", "ALTER", "DROP", "CLEAR"].iter().any(|verb| statement.keyword().starts_with(verb));
    // What no definition has an influence on.
    let is_about_the_text = matches!(
        why.sqlstate,
        SqlState::SYNTAX_ERROR | SqlState::NOT_SUPPORTED | SqlState::INSUFFICIENT_PRIVILEGE | SqlState::INTERNAL
    );
    // Who may define nothing has no answers.
    request.request_id.is_some() && request.identity.role >= Role::Dba && is_definition && !is_about_the_text
}

/// What the plan of a request's text depends on.
fn asked(request: &ExecuteRequest) -> Asked<'_> {
    let Identity { user, role, .. } = &request.identity;
    let namespace = request.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
    Asked { sql: &request.sql, namespace, user, role: *role }
}

/// The identity of what is asked, so that one request id cannot stand for two things.
pub(super) fn statement_hash(request: &ExecuteRequest, ordinal: u16) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(request.sql.as_bytes());
    hash.update(&[0]);
    hash.update(&ordinal.to_le_bytes());
    for param in &request.params {
        match param {
            ParamValue::Null => hash.update(b"n"),
            ParamValue::Boolean(value) => hash.update(if *value { b"t" } else { b"f" }),
            ParamValue::Number(digits) => {
                hash.update(b"d");
                hash.update(&(digits.len() as u64).to_le_bytes());
                hash.update(digits.as_bytes());
            }
            ParamValue::Text(text) => {
                hash.update(b"s");
                hash.update(&(text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
            ParamValue::Json(text) => {
                hash.update(b"j");
                hash.update(&(text.len() as u64).to_le_bytes());
                hash.update(text.as_bytes());
            }
            ParamValue::Typed(value) => {
                hash.update(b"v");
                hash.update(format!("{value:?}").as_bytes());
                hash.update(&[0]);
            }
        }
    }
    hash.digest()
}

/// The verbs whose counts a batch sums.
#[derive(Clone, Copy)]
pub(super) enum Dml {
    Insert,
    Update,
    Delete,
}

fn dml_of(plan: &Plan) -> Option<Dml> {
    match plan {
        // What returns rows answers for itself.
        Plan::Write(write) if write.returning.is_empty() => match write.kind {
            WriteKind::Insert { .. } | WriteKind::InsertFrom { .. } => Some(Dml::Insert),
            WriteKind::Update { .. } | WriteKind::UpdateFrom { .. } => Some(Dml::Update),
            WriteKind::Delete { .. } | WriteKind::DeleteFrom { .. } => Some(Dml::Delete),
            WriteKind::Truncate | WriteKind::Answered { .. } => None,
        },
        Plan::Query(_)
        | Plan::Write(_)
        | Plan::Ddl(_)
        | Plan::CreateFrom(_)
        | Plan::User(_)
        | Plan::Consume(_)
        | Plan::Ack(_)
        | Plan::Cluster(_) => None,
    }
}

/// Rows that a batch's writes touched.
#[derive(Clone, Copy, Default)]
pub(super) struct Sums {
    inserted: Option<u64>,
    updated: Option<u64>,
    deleted: Option<u64>,
}

impl Sums {
    pub(super) fn add(&mut self, kind: Dml, result: &StatementResult) {
        let rows = match result {
            StatementResult::Message { row_count, .. } => *row_count,
            StatementResult::Rows { .. } | StatementResult::Stream { .. } => 0,
        };
        let sum = match kind {
            Dml::Insert => &mut self.inserted,
            Dml::Update => &mut self.updated,
            Dml::Delete => &mut self.deleted,
        };
        *sum = Some(sum.unwrap_or(0) + rows);
    }

    pub(super) fn close(self, results: &mut Vec<StatementResult>, user: &str) {
        for (verb, rows) in [("Inserted", self.inserted), ("Updated", self.updated), ("Deleted", self.deleted)] {
            if let Some(rows) = rows {
                results.push(StatementResult::Message {
                    message: format!("{verb} {rows} row(s)"),
                    row_count: rows,
                    as_user: user.to_owned(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_planned_anew_at_once_and_then_after_ever_longer_pauses() {
        let mut pauses = Pauses::default();
        let lengths: Vec<u64> = (0..8).map(|_| pauses.next(0)).collect();
        assert_eq!(lengths, [0, 2_500, 5_000, 10_000, 20_000, 40_000, 80_000, 80_000]);
        assert_eq!(pauses.next(u64::MAX), 80_000 + u64::MAX % 80_000);
    }
}
