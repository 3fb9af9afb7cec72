//! The queues between a node's cores, and what travels on them.
//!
//! Each core owns three bounded queues: proposals (which go through a group's log), questions (which do not), and messages of
//! other nodes for the replicas here. Answers use reserved reply slots, so a core never waits to answer.

use std::sync::Arc;

use highwater_net::rpc::{Answer, SnapshotChunk};
use highwater_raft as raft;
use highwater_runtime::queue::{self, Receiver, ReplySlot, Sender};
use highwater_runtime::{CoreId, Monotonic};
use highwater_sql::catalog::{Catalog, CatalogVersion, ObjectId, Role};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::pipeline::Steps;
use highwater_sql::plan::{QueryPlan, StartPosition};
use highwater_sql::value::{Micros, Row, Value};
use highwater_state::command::{Command, RequestHead};
use highwater_state::jobs::Job;
use highwater_state::outcome::{Consumed, Outcome};
use highwater_state::placement::Layout;
use highwater_state::roll::Roll;
use highwater_state::topics::GroupOffset;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::answer::{ExecuteError, ExecuteRequest};
use super::homes::{Answered, Asked};
use super::membership::{NewRoll, Order, OrderAnswer};
use super::snapshots::pace::Pace;
use super::streaming::Scanned;
use super::token::Shown;
use super::transactions::{Consistency, Conversations, SentAnswer, WorkspaceAnswer, WorkspaceCall, WorkspaceKey};
use crate::audit::Event;
use crate::metrics::Sample;

/// Proposals that may wait on one core.
pub(crate) const PROPOSAL_QUEUE: usize = 4096;
/// Questions that may wait on one core.
pub(crate) const QUESTION_QUEUE: usize = 4096;
/// Batches of other nodes' messages that may wait on one core.
pub(crate) const MESSAGE_QUEUE: usize = 256;

/// A command for a group's log.
pub(crate) struct Proposal {
    /// The group.
    pub(crate) group: u32,
    /// The command.
    pub(crate) command: Command,
    /// The catalog it was planned with: the group is brought there first.
    pub(crate) catalog: Option<Arc<Catalog>>,
    /// Refused under pressure; what is not of a client (exchange, definitions) is always accepted.
    pub(crate) admission: Admission,
    /// Where the answer goes.
    pub(crate) reply: ReplySlot<Result<Applied, NotApplied>>,
}

/// Whether a proposal may be refused for overload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// A client's write.
    Client,
    /// The system's own.
    System,
}

/// The answer to a proposal: it is durable and applied.
#[derive(Debug)]
pub(crate) struct Applied {
    /// Its log index.
    pub(crate) index: u64,
    /// What it did.
    pub(crate) outcome: Outcome,
}

/// Why a proposal has no result.
#[derive(Debug)]
pub(crate) enum NotApplied {
    /// It is in nobody's log and never will be: this replica does not lead, or did not long enough. It may be proposed again, where
    /// the leader is, if one is known.
    NotLeader(Option<raft::NodeId>),
    /// It was not taken; or, by its SQLSTATE, nobody can tell yet what becomes of it.
    Refused(Diag),
}

impl From<Diag> for NotApplied {
    fn from(diag: Diag) -> Self {
        Self::Refused(diag)
    }
}

impl NotApplied {
    /// What a client is told of it.
    pub(crate) fn into_diag(self, group: u32) -> Diag {
        match self {
            Self::Refused(diag) => diag,
            Self::NotLeader(leader) => {
                let who = leader.map_or_else(|| "and knows no leader".to_owned(), |node| format!("node {node} does"));
                Diag::new(SqlState::OVERLOADED, format!("this node does not lead group {group}; {who}"))
                    .hint("Retry after a short pause.")
            }
        }
    }
}

/// A read of one group, in a snapshot no older than everything acknowledged before it arrived.
#[derive(Clone, Debug)]
pub(crate) struct TableRead {
    /// The group.
    pub(crate) group: u32,
    /// A query whose source is a table.
    pub(crate) plan: Arc<QueryPlan>,
    /// Parameters, of the inferred types, and values of outer rows behind them.
    pub(crate) params: Arc<Vec<Value>>,
    /// Who asks: its rights are looked at again in the group's catalog.
    pub(crate) head: RequestHead,
    /// The effective user.
    pub(crate) user: String,
    /// The effective role.
    pub(crate) role: Role,
    /// The statement's start: NOW().
    pub(crate) now: Micros,
    /// The catalog it was planned with.
    pub(crate) catalog: CatalogVersion,
    /// Applied index that a token asks for.
    pub(crate) at_least: u64,
    /// How new it must be.
    pub(crate) consistency: Consistency,
    /// As an open transaction sees it.
    pub(crate) within: Option<WorkspaceKey>,
    /// Run the whole query here, or only its filter.
    pub(crate) part: ReadPart,
    /// Where its volatile values come from.
    pub(crate) seed: u128,
    /// When to give up.
    pub(crate) deadline: Monotonic,
}

/// How much of a query a group runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ReadPart {
    /// All of it: the answer is the result's rows.
    Whole,
    /// Only the scan and the filter: the answer is source rows, at most this many.
    Filtered {
        /// Enough rows for the whole query, when that is known.
        enough: Option<u64>,
    },
}

/// What a read found.
#[derive(Debug)]
pub(crate) struct TableRows {
    /// The rows.
    pub(crate) rows: Vec<Row>,
    /// What they show.
    pub(crate) shown: Shown,
    /// What the steps of the read gave.
    pub(crate) steps: Steps,
}

/// A question to a core.
pub(crate) enum Question {
    /// Rows of a table.
    Table(Box<TableRead>, ReplySlot<Result<TableRows, ReadRefusal>>),
    /// The newest catalog, from the meta group itself; and when to give up.
    Catalog(Monotonic, ReplySlot<Result<Arc<Catalog>, Diag>>),
    /// The cluster's identity and token key, from the meta group; none before the first entry. And when to give up.
    Cluster(Monotonic, ReplySlot<Result<Option<Cluster>, Diag>>),
    /// The roll of the cluster's members, from the meta group; none before it was made. And when to give up.
    Roll(Monotonic, ReplySlot<Result<Option<Roll>, Diag>>),
    /// The roll is this from now on.
    NewRoll(Arc<NewRoll>, ReplySlot<()>),
    /// Where another node says that it is reached.
    SaysWhere(raft::NodeId, String, ReplySlot<()>),
    /// An order to the leader of a group of this core.
    Order(u32, Order, ReplySlot<OrderAnswer>),
    /// Jobs, from the meta group; and when to give up.
    Jobs(Monotonic, ReplySlot<Result<Vec<Job>, Diag>>),
    /// Whether a login was ended: by everything that was acknowledged, or without a time to wait, as this node knows.
    LoginIsEnded(u128, Option<Monotonic>, ReplySlot<Result<bool, Diag>>),
    /// Take this catalog if it is newer.
    Publish(Arc<Catalog>, ReplySlot<()>),
    /// Messages of a partition, for a consume without a group.
    Messages(MessagesRead, ReplySlot<Result<Consumed, Diag>>),
    /// How a consumer group stands in a partition.
    Standing(StandingRead, ReplySlot<Result<Standing, Diag>>),
    /// Committed offsets of all consumer groups of this group's partitions; and when to give up.
    GroupOffsets(u32, Monotonic, ReplySlot<Result<Vec<GroupOffset>, Diag>>),
    /// What these sources had for these destinations when the question arrived and may not have arrived there.
    Owed {
        /// Source groups on this core.
        sources: Vec<u32>,
        /// Destination groups, on any core.
        destinations: Vec<u32>,
        /// When to give up.
        deadline: Monotonic,
        /// The answer.
        reply: ReplySlot<Result<Vec<Owed>, Diag>>,
    },
    /// Wait until this core's replicas of the destinations have applied what they are owed.
    AwaitOwed {
        /// Destinations on this core.
        owed: Vec<Owed>,
        /// When to give up.
        deadline: Monotonic,
        /// Answers false at the deadline.
        reply: ReplySlot<bool>,
    },
    /// Wait until one of these partitions has messages at or after its offset.
    AwaitAppend {
        /// (group, topic, partition, next offset).
        partitions: Vec<(u32, ObjectId, u32, u64)>,
        /// When to give up.
        deadline: Monotonic,
        /// Answers in any case.
        reply: ReplySlot<()>,
    },
    /// Rows of `system.cluster_groups` for the groups of this core.
    GroupStatus(ReplySlot<Vec<Row>>),
    /// A read whose rows are answered while they are read.
    Scan(Box<TableRead>, ReplySlot<Result<Scanned, ReadRefusal>>),
    /// A statement of an open transaction, for the workspace on this core.
    Workspace(Box<WorkspaceCall>, ReplySlot<Result<WorkspaceAnswer, Diag>>),
    /// A request of a session of this core.
    Session(Box<ExecuteRequest>, ReplySlot<Result<SentAnswer, ExecuteError>>),
    /// The sessions of a login are over.
    EndSessions(String, ReplySlot<()>),
    /// The open sessions and transactions of this core.
    Conversations(ReplySlot<Conversations>),
    /// The events of this core's audit log.
    Audit(ReplySlot<Result<Vec<Event>, Diag>>),
    /// What this core counts.
    Figures(ReplySlot<Vec<Sample>>),
    /// A chunk of a snapshot for a group of this core, and who sends it.
    Chunk(Box<(raft::NodeId, SnapshotChunk)>, ReplySlot<Answer>),
    /// What a node without a replica of a group of this core asks, and when to give up.
    OfSeat(u32, Box<Asked>, Monotonic, ReplySlot<Answered>),
    /// Who leads a group of this core, as its replica knows.
    Leader(u32, ReplySlot<Option<raft::NodeId>>),
    /// Whether every group of this core has a leader and has shown that it holds everything that was acknowledged.
    Ready(ReplySlot<Readiness>),
    /// Whether this core's front ends take requests.
    Serving(ReplySlot<bool>),
}

/// How far a core's groups have come with their start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readiness {
    /// All of them are ready.
    Ready,
    /// Some are not yet.
    Waits,
    /// Some are not, and a log waits for disk space.
    WaitsForSpace,
}

/// What a source group has told, or will tell, a destination group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owed {
    /// The source.
    pub(crate) source: u32,
    /// The destination.
    pub(crate) destination: u32,
    /// The source's index of the last entry with something for the destination.
    pub(crate) head: u64,
}

/// Why a table read gave no rows.
#[derive(Debug)]
pub(crate) enum ReadRefusal {
    /// Planned against another definition of the table.
    StaleCatalog,
    /// Anything else.
    Failed(Diag),
}

/// A read of messages without a group.
#[derive(Clone, Debug)]
pub(crate) struct MessagesRead {
    /// The partition's group.
    pub(crate) group: u32,
    /// What is read there.
    pub(crate) wanted: MessagesWanted,
    /// When to give up.
    pub(crate) deadline: Monotonic,
}

/// Messages of a partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MessagesWanted {
    /// Who asks, with which rights.
    pub(crate) head: RequestHead,
    /// The catalog that has the topic.
    pub(crate) catalog: CatalogVersion,
    /// The topic.
    pub(crate) topic: ObjectId,
    /// The partition.
    pub(crate) partition: u32,
    /// Where to start.
    pub(crate) start: StartPosition,
    /// At most this many.
    pub(crate) limit: u32,
    /// At most this many payload bytes, though always one message.
    pub(crate) max_bytes: u32,
}

/// A look at a consumer group before it consumes.
#[derive(Clone, Debug)]
pub(crate) struct StandingRead {
    /// The partition's group.
    pub(crate) group: u32,
    /// The topic.
    pub(crate) topic: ObjectId,
    /// The partition.
    pub(crate) partition: u32,
    /// The consumer group.
    pub(crate) consumer_group: String,
    /// Who asks, and under which request id.
    pub(crate) head: RequestHead,
    /// When to give up.
    pub(crate) deadline: Monotonic,
}

/// How a consumer group stands in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// A consume would return messages, or make the group.
    pub(crate) deliverable: bool,
    /// The group has a start here.
    pub(crate) known: bool,
    /// The request was answered here before: it is a retry.
    pub(crate) answered: bool,
    /// Where its next consume looks first; the partition's end for an unknown group.
    pub(crate) next_offset: u64,
}

/// One core's ends of the mesh: its own queues, and the sending ends of all.
pub struct Ports {
    pub(crate) core: CoreId,
    pub(crate) proposals: Receiver<Proposal>,
    pub(crate) questions: Receiver<Question>,
    pub(crate) messages: Receiver<Vec<raft::Message>>,
    pub(crate) layouts: Receiver<(Layout, u64)>,
    /// How fast the node sends snapshots; one for all cores.
    pub(crate) pace: Arc<Pace>,
    pub(crate) to: Vec<Port>,
}

/// The sending ends towards one core.
#[derive(Clone)]
pub(crate) struct Port {
    pub(crate) proposals: Sender<Proposal>,
    pub(crate) questions: Sender<Question>,
    /// Messages of other nodes for the groups there.
    pub(crate) messages: Sender<Vec<raft::Message>>,
    pub(crate) layouts: Sender<(Layout, u64)>,
}

/// The queues of a node of `cores` cores, one [`Ports`] per core in core order.
#[must_use]
pub fn mesh(cores: u16) -> Vec<Ports> {
    let mut ends = Vec::new();
    let mut to = Vec::new();
    let pace = Arc::<Pace>::default();
    for core in 0..cores {
        let (proposals_to, proposals) = queue::bounded(PROPOSAL_QUEUE);
        let (questions_to, questions) = queue::bounded(QUESTION_QUEUE);
        let (messages_to, messages) = queue::bounded(MESSAGE_QUEUE);
        let (layouts_to, layouts) = queue::bounded(1);
        to.push(Port { proposals: proposals_to, questions: questions_to, messages: messages_to, layouts: layouts_to });
        ends.push(Ports {
            core: CoreId(core),
            proposals,
            questions,
            messages,
            layouts,
            pace: Arc::clone(&pace),
            to: Vec::new(),
        });
    }
    ends.into_iter().map(|ports| Ports { to: to.clone(), ..ports }).collect()
}
