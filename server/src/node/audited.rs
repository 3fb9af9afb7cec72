//! What statements leave in the audit log: definitions, users, EXECUTE AS, CLUSTER, and whatever was refused for want of rights.

use highwater_sql::access::role_name;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::parse::Statement;
use highwater_sql::plan::{Plan, UserChange, UserPlan};
use highwater_sql::value::{Row, Value};

use super::answer::ExecuteRequest;
use super::execute::Run;
use super::mesh::Question;
use super::{Node, ask_port};
use crate::audit::{AuditLog, Event, EventKind, Outcome};

impl Node {
    /// What this core's events go to; set once, before the node serves.
    pub(crate) fn audits(&self, log: AuditLog) {
        let _ = self.0.audit.set(log);
    }

    /// Takes an event into the audit log.
    pub(crate) fn record(&self, event: Event) {
        if let Some(log) = self.0.audit.get() {
            log.record(event);
        }
    }

    /// A statement that was not planned: kept if it was refused for want of rights.
    pub(super) fn audit_unplanned(&self, request: &ExecuteRequest, statement: Option<&Statement>, why: &Diag) {
        if why.sqlstate != SqlState::INSUFFICIENT_PRIVILEGE {
            return;
        }
        let acts_as = statement.and_then(Statement::acts_as);
        let verb = statement.map(Statement::keyword);
        let kind = match (verb, acts_as) {
            (_, Some(_)) => EventKind::ExecuteAs,
            (Some(verb), None) if verb.ends_with(" USER") => EventKind::User,
            (Some("CLUSTER"), None) => EventKind::Cluster,
            (Some(verb), None)
                if ["CREATE ", "ALTER ", "DROP ", "CLEAR "].iter().any(|word| verb.starts_with(word)) =>
            {
                EventKind::Definition
            }
            (Some(_) | None, None) => EventKind::Statement,
        };
        let target = match kind {
            EventKind::ExecuteAs => acts_as.map(str::to_owned),
            EventKind::Definition => statement.map(|statement| text_of(request, statement)),
            EventKind::Login
            | EventKind::Logout
            | EventKind::Refresh
            | EventKind::Setup
            | EventKind::User
            | EventKind::Cluster
            | EventKind::Statement
            | EventKind::Lost => None,
        };
        self.audit_event(request, kind, verb, target, Some(why));
    }

    /// A statement that ran to its end, or failed on the way.
    pub(super) fn audit_ran(
        &self,
        request: &ExecuteRequest,
        statement: Option<&Statement>,
        run: &Run,
        error: Option<&Diag>,
    ) {
        let (kind, target) = match &run.bound.plan {
            Plan::Ddl(_) | Plan::CreateFrom(_) => {
                (EventKind::Definition, statement.map(|statement| text_of(request, statement)))
            }
            Plan::Cluster(_) => (EventKind::Cluster, statement.map(|statement| text_of(request, statement))),
            // Never its text: it may hold a password.
            Plan::User(plan) => (EventKind::User, Some(changed_user(plan))),
            Plan::Query(_) | Plan::Write(_) | Plan::Consume(_) | Plan::Ack(_) => match &run.acts_as {
                Some(user) if *user != request.identity.user => (EventKind::ExecuteAs, Some(user.clone())),
                Some(_) | None if error.is_some_and(|diag| diag.sqlstate == SqlState::INSUFFICIENT_PRIVILEGE) => {
                    (EventKind::Statement, None)
                }
                Some(_) | None => return,
            },
        };
        self.audit_event(request, kind, Some(run.verb), target, error);
    }

    fn audit_event(
        &self,
        request: &ExecuteRequest,
        kind: EventKind,
        verb: Option<&str>,
        target: Option<String>,
        error: Option<&Diag>,
    ) {
        let outcome = match error {
            None => Outcome::Done,
            Some(diag) if diag.sqlstate == SqlState::INSUFFICIENT_PRIVILEGE => Outcome::Refused,
            Some(_) => Outcome::Failed,
        };
        let mut event = Event::of(kind, outcome, &request.identity.user).of_login(&request.identity.token_id);
        event.statement = verb.map(str::to_owned);
        event.request = Some(request.trace.to_string());
        if let Some(target) = target {
            event = event.about(&target);
        }
        if let Some(diag) = error {
            event = event.because(&format!("{}: {}", diag.sqlstate, diag.message));
        }
        self.record(event);
    }

    /// Rows of `system.audit_log`: the events of all cores of this node, oldest first.
    pub(super) async fn audit_rows(&self) -> Result<Vec<Row>, Diag> {
        let mut events = Vec::new();
        for port in &self.0.to {
            events.extend(ask_port(port, Question::Audit).await??);
        }
        events.sort_by_key(|event: &Event| event.at);
        Ok(events.into_iter().map(row).collect())
    }

    /// The events of this core.
    pub(super) async fn audit_events(&self) -> Result<Vec<Event>, Diag> {
        let Some(log) = self.0.audit.get() else { return Ok(Vec::new()) };
        log.events()
            .await
            .map_err(|error| Diag::new(SqlState::DATA_CORRUPTED, format!("the audit log cannot be read: {error}")))
    }
}

/// The statement's part of the text.
fn text_of(request: &ExecuteRequest, statement: &Statement) -> String {
    let (start, end) = (statement.text_span.start as usize, statement.text_span.end as usize);
    request.sql.chars().skip(start).take(end.saturating_sub(start)).collect()
}

/// Whom a change of users is about, and what of it.
fn changed_user(plan: &UserPlan) -> String {
    match plan {
        UserPlan::Create { name, role, .. } => format!("{name} (role {})", role_name(*role)),
        UserPlan::Alter { name, change: UserChange::Password(_) } => format!("{name} (password)"),
        UserPlan::Alter { name, change: UserChange::Role(role) } => format!("{name} (role {})", role_name(*role)),
        UserPlan::Alter { name, change: UserChange::Email(_) } => format!("{name} (email)"),
        UserPlan::Drop { name, .. } => name.clone(),
    }
}

/// In the order of the columns of `system.audit_log`.
fn row(event: Event) -> Row {
    let maybe = |text: Option<String>| text.map_or(Value::Null, Value::Text);
    vec![
        Value::Timestamp(event.at),
        Value::BigInt(i64::try_from(event.node).unwrap_or(i64::MAX)),
        Value::Text(event.kind.name().to_owned()),
        Value::Text(event.outcome.name().to_owned()),
        Value::Text(event.user),
        maybe(event.address),
        maybe(event.login),
        maybe(event.statement),
        maybe(event.target),
        maybe(event.error),
        maybe(event.request),
        Value::BigInt(i64::try_from(event.count).unwrap_or(i64::MAX)),
    ]
}
