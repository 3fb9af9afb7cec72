//! The node: cores, group drivers, routing, exchange, reads, and the execution of statements.
//!
//! [`Node::start`] runs once per core. A front end on any core hands a text to [`Node::execute`]; the plan names its group,
//! and the core that hosts the group gets the command or the read through its queue: one hop at most.

mod answer;
mod appends;
mod apply;
mod audited;
mod balance;
mod barrier;
mod consume;
mod copied;
mod define;
mod driver;
mod entries;
mod execute;
mod figures;
mod forward;
mod full_disk;
mod handover;
mod hibernation;
#[cfg(test)]
mod hibernation_tests;
mod homes;
mod host;
#[cfg(test)]
mod idle_rules_tests;
mod intake;
mod liveness;
mod logins;
mod membership;
#[cfg(test)]
mod membership_tests;
mod mesh;
mod phases;
mod plans;
mod portions;
mod query;
mod reads;
mod replica;
#[cfg(test)]
mod replication_tests;
mod rest;
mod returned;
mod rows_change;
mod shape;
mod shipper;
mod snapshots;
mod source_rows;
mod start;
mod streaming;
mod system_rows;
mod token;
mod topic_requests;
mod transactions;
mod waiting;
mod write;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use highwater_raft as raft;
use highwater_runtime::queue::{self, ReplySlot};
use highwater_runtime::{CoreId, Monotonic, Rt};
use highwater_sql::catalog::Catalog;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::pipeline::PipelineLimits;
use highwater_state::placement::Layout;

pub use answer::{
    AckRequest, Answer, ConsumeAnswer, ConsumeRequest, ErrorKind, ExecuteError, ExecuteRequest, Identity, ResultColumn,
    StatementResult,
};
pub use forward::{ForwardedAnswer, ForwardedProposal, TraceId, Unreadable};
pub(crate) use liveness::{Sign, Watch};
pub(crate) use logins::FirstSetup;
pub use mesh::{Ports, mesh};
pub use phases::Phases;
pub(crate) use reads::SEAT;
pub use shape::ShapeError;
pub(crate) use shape::{Shape, read_or_make as read_or_make_shape};
pub use start::{NodeSetup, NodeStart, StartError};
pub use streaming::RowStream;

use crate::audit::AuditLog;
use crate::cluster::Links;
use crate::metrics::Traffic;
use crate::process::ProcessFigures;
use crate::signal::Signal;
use forward::ForwardFigures;
use host::StoreHost;
use mesh::{Port, Question};
use plans::Plans;
use snapshots::pace::Pace;

/// What the node is told by configuration.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// Rows and bytes that one query may hold in memory.
    pub pipeline: PipelineLimits,
    /// How long a claim keeps messages from other consumers of its group, in microseconds.
    pub visibility_micros: u64,
    /// Longest wait of a consume, in microseconds.
    pub max_consume_wait_micros: u64,
    /// Messages that one consume returns at most, and when it does not say.
    pub max_consume_messages: u32,
    /// Payload bytes that one consume returns at most.
    pub max_consume_bytes: u32,
    /// How long a statement may take when its front end does not say, in microseconds.
    pub statement_micros: u64,
    /// How long a transaction may be open, in microseconds.
    pub transaction_micros: u64,
    /// How long a session may be without a request, in microseconds.
    pub session_idle_micros: u64,
    /// Sessions that one user may have on one core.
    pub sessions_per_user: u32,
    /// Bytes of snapshots that this node sends per second; 0 for no limit.
    pub snapshot_rate: u64,
    /// Bytes of log that each store keeps for nodes that are behind, at most.
    pub kept_log: u64,
    /// How long what is in flight may take when the node stops, in microseconds.
    pub shutdown_micros: u64,
    /// SCRAM iterations of new passwords.
    pub scram_iterations: u32,
    /// A new cluster may be without a root password until it is set up.
    pub awaits_setup: bool,
    /// Rows of `system.settings`: name, value, description, category.
    pub shown: Vec<[String; 4]>,
    /// What the operating system says of the process; none in simulation.
    pub process: Option<fn() -> ProcessFigures>,
}

/// One core's part of the node. Clones are the same part.
#[derive(Clone)]
pub struct Node(Rc<Inner>);

struct Inner {
    env: Rt,
    core: CoreId,
    settings: NodeSettings,
    links: Links,
    /// Who leads groups that other cores host, as the last command found it.
    leaders: RefCell<BTreeMap<u32, raft::NodeId>>,
    forward: ForwardFigures,
    pace: Arc<Pace>,
    to: Vec<Port>,
    layout: OnceCell<Layout>,
    cluster: OnceCell<Cluster>,
    catalog: RefCell<Arc<Catalog>>,
    plans: RefCell<Plans>,
    sessions: transactions::Sessions,
    workspaces: transactions::Workspaces,
    held: homes::Held,
    catalog_changed: Signal,
    hosts: RefCell<BTreeMap<u32, Rc<StoreHost>>>,
    started: Monotonic,
    traffic: OnceCell<Rc<Traffic>>,
    audit: OnceCell<AuditLog>,
    serving: Cell<bool>,
    closing: Cell<bool>,
    in_flight: Cell<usize>,
    idle: Signal,
}

/// What a cluster is, from its first entry on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cluster {
    id: u128,
    token_key: [u8; 32],
}

impl Node {
    /// The world as this core sees it.
    #[must_use]
    pub fn env(&self) -> &Rt {
        &self.0.env
    }

    /// The newest catalog on this core.
    #[must_use]
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.0.catalog.borrow())
    }

    /// The key that signs tokens. All zeros before the node is started.
    #[must_use]
    pub fn token_key(&self) -> [u8; 32] {
        self.0.cluster.get().map_or([0; 32], |cluster| cluster.token_key)
    }

    /// The cluster's identity. Zero before the node is started.
    #[must_use]
    pub fn cluster_id(&self) -> u128 {
        self.0.cluster.get().map_or(0, |cluster| cluster.id)
    }

    /// What the node was configured with.
    #[must_use]
    pub fn settings(&self) -> &NodeSettings {
        &self.0.settings
    }

    /// Whether this node takes work: started, and not shutting down.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.cluster.get().is_some() && !self.0.closing.get()
    }

    /// This core's front ends take requests from now on.
    pub fn serves(&self) {
        self.0.serving.set(true);
    }

    /// What this core counts at its edge is part of the node's figures from now on.
    pub(crate) fn counts(&self, traffic: &Rc<Traffic>) {
        let _ = self.0.traffic.set(Rc::clone(traffic));
    }

    /// Whether the front ends of every core take requests.
    pub async fn all_cores_serve(&self) -> bool {
        for port in &self.0.to {
            if !matches!(ask_port(port, Question::Serving).await, Ok(true)) {
                return false;
            }
        }
        true
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.0.closing.get()
    }

    pub(crate) fn layout(&self) -> Layout {
        self.0.layout.get().copied().unwrap_or(Layout { user_shards: 1, shared_shards: 1, stores: 1 })
    }

    /// The stores of this core.
    fn hosts(&self) -> Vec<Rc<StoreHost>> {
        self.0.hosts.borrow().values().cloned().collect()
    }

    /// The store of this core that has a group.
    fn host_of(&self, group: u32) -> Option<Rc<StoreHost>> {
        self.0.hosts.borrow().get(&self.layout().store_of(group)).cloned()
    }

    /// Takes a catalog if it is newer than this core's.
    fn take_catalog(&self, catalog: Arc<Catalog>) {
        let mut current = self.0.catalog.borrow_mut();
        if catalog.version > current.version {
            *current = catalog;
            drop(current);
            self.0.catalog_changed.notify();
        }
    }

    /// This core's ways to the other nodes.
    pub(crate) fn links(&self) -> &Links {
        &self.0.links
    }

    /// Takes messages from other nodes to the cores that host their groups; waits when those are full. What comes before this
    /// node knows its groups is dropped, as Raft allows.
    pub(crate) async fn deliver(&self, messages: Vec<raft::Message>) {
        if self.0.layout.get().is_none() {
            return;
        }
        let mut by_core: BTreeMap<usize, Vec<raft::Message>> = BTreeMap::new();
        for message in messages {
            by_core.entry(self.core_of(message.group.0)).or_default().push(message);
        }
        for (core, messages) in by_core {
            if core == usize::from(self.0.core.0) && !self.0.hosts.borrow().is_empty() {
                start::bring(self, messages).await;
            } else if let Some(port) = self.0.to.get(core) {
                // A core that has stopped takes nothing any more.
                let _ = port.messages.send(messages).await;
            }
        }
    }

    /// Who leads a group, as this node's replica knows; nobody when it has none.
    pub(crate) async fn leader_of(&self, group: u32) -> Option<raft::NodeId> {
        if self.is_elsewhere(group) {
            return None;
        }
        if let Some(host) = self.host_of(group) {
            return host.leader_of(group);
        }
        self.ask(group, |reply| Question::Leader(group, reply)).await.ok().flatten()
    }

    /// Whether a group of this core is meant, and its store is open.
    fn is_here(&self, group: u32) -> bool {
        self.core_of(group) == usize::from(self.0.core.0) && self.host_of(group).is_some()
    }

    fn core_of(&self, group: u32) -> usize {
        let cores = u32::try_from(self.0.to.len()).unwrap_or(1).max(1);
        usize::try_from(self.layout().store_of(group) % cores).unwrap_or(0)
    }

    fn port_of(&self, group: u32) -> Result<&Port, Diag> {
        self.0
            .to
            .get(self.core_of(group))
            .ok_or_else(|| Diag::new(SqlState::INTERNAL, format!("group {group} has no core")))
    }

    /// Asks the core that hosts a group.
    async fn ask<T: 'static>(&self, group: u32, question: impl FnOnce(ReplySlot<T>) -> Question) -> Result<T, Diag> {
        ask_port(self.port_of(group)?, question).await
    }
}

async fn ask_port<T: 'static>(port: &Port, question: impl FnOnce(ReplySlot<T>) -> Question) -> Result<T, Diag> {
    let (slot, answer) = queue::reply();
    port.questions.send(question(slot)).await.map_err(|_| shutting_down())?;
    answer.await.map_err(|_| shutting_down())
}

fn shutting_down() -> Diag {
    Diag::new(SqlState::SHUTTING_DOWN, "the node is shutting down").hint("Send the statement again once it is back.")
}

fn outcome_unknown() -> Diag {
    Diag::new(
        SqlState::OUTCOME_UNKNOWN,
        "the node stopped while the statement was under way; it may or may not have been applied",
    )
    .hint("Send it again with the same request_id to learn its outcome without applying it twice.")
}
