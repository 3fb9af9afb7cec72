//! What one core counts at its edge: requests and statements.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use highwater_sql::diag::SqlState;
use highwater_sql::plan::{Plan, WriteKind};

use super::Sample;

/// Kinds of statements that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum StatementKind {
    Select,
    Insert,
    Update,
    Delete,
    Define,
    User,
    Consume,
    Ack,
    Cluster,
}

impl StatementKind {
    pub(crate) fn of(plan: &Plan) -> Self {
        match plan {
            Plan::Query(_) => Self::Select,
            Plan::Write(write) => match write.change() {
                WriteKind::Insert { .. } | WriteKind::InsertFrom { .. } => Self::Insert,
                WriteKind::Update { .. } | WriteKind::UpdateFrom { .. } => Self::Update,
                WriteKind::Delete { .. } | WriteKind::DeleteFrom { .. } | WriteKind::Truncate => Self::Delete,
                // Never inside of another.
                WriteKind::Answered { .. } => Self::Update,
            },
            Plan::Ddl(_) | Plan::CreateFrom(_) => Self::Define,
            Plan::User(_) => Self::User,
            Plan::Consume(_) => Self::Consume,
            Plan::Ack(_) => Self::Ack,
            Plan::Cluster(_) => Self::Cluster,
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Define => "define",
            Self::User => "user",
            Self::Consume => "consume",
            Self::Ack => "ack",
            Self::Cluster => "cluster",
        }
    }
}

/// Requests of one route.
#[derive(Default)]
struct RouteTraffic {
    by_status: BTreeMap<u16, u64>,
    micros: u64,
}

/// The counters of one core's edge.
#[derive(Default)]
pub(crate) struct Traffic {
    routes: RefCell<BTreeMap<&'static str, RouteTraffic>>,
    connections: Cell<u64>,
    refused_connections: Cell<u64>,
    statements: RefCell<BTreeMap<StatementKind, u64>>,
    /// By the bytes of the SQLSTATE.
    failures: RefCell<BTreeMap<[u8; 5], u64>>,
}

impl Traffic {
    /// A request was answered.
    pub(crate) fn answered(&self, route: &'static str, status: u16, micros: u64) {
        let mut routes = self.routes.borrow_mut();
        let route = routes.entry(route).or_default();
        *route.by_status.entry(status).or_default() += 1;
        route.micros += micros;
    }

    /// A connection was accepted.
    pub(crate) fn connected(&self) {
        self.connections.set(self.connections.get() + 1);
    }

    /// A connection was refused because there are too many.
    pub(crate) fn refused(&self) {
        self.refused_connections.set(self.refused_connections.get() + 1);
    }

    /// A statement was planned and is about to run.
    pub(crate) fn runs(&self, kind: StatementKind) {
        *self.statements.borrow_mut().entry(kind).or_default() += 1;
    }

    /// A statement was refused or failed.
    pub(crate) fn failed(&self, state: SqlState) {
        *self.failures.borrow_mut().entry(state.0).or_default() += 1;
    }

    /// The counters as samples.
    pub(crate) fn samples(&self) -> Vec<Sample> {
        let mut samples = vec![
            Sample::counter(
                "http_connections",
                "connections",
                self.connections.get() as f64,
                "connections accepted by the HTTP API",
            ),
            Sample::counter(
                "http_refused_connections",
                "connections",
                self.refused_connections.get() as f64,
                "connections closed at once because http.max_connections was reached",
            ),
        ];
        for (route, traffic) in &*self.routes.borrow() {
            for (status, count) in &traffic.by_status {
                let help = "requests answered, by path and status; other: paths that do not exist";
                let sample = Sample::counter("http_requests", "requests", *count as f64, help);
                samples.push(sample.label("route", *route).label("status", status.to_string()));
            }
            let help = "time from the whole request to its answer, summed up";
            let sample = Sample::counter("http_request_seconds", "seconds", traffic.micros as f64 / 1e6, help);
            samples.push(sample.label("route", *route));
        }
        for (kind, count) in &*self.statements.borrow() {
            let help = "statements that were planned and run, whatever their outcome; a batch counts each";
            let sample = Sample::counter("sql_statements", "statements", *count as f64, help);
            samples.push(sample.label("kind", kind.word()));
        }
        for (state, count) in &*self.failures.borrow() {
            let help = "statements that were refused or failed, by SQLSTATE";
            let sample = Sample::counter("sql_failures", "statements", *count as f64, help);
            samples.push(sample.label("sqlstate", SqlState(*state).to_string()));
        }
        samples
    }
}
