//! Commands: what a log entry asks a group to do, typed and versioned. Never SQL text.
//!
//! An entry's data is an [`Envelope`]: `u8 version (1) | postcard(stamp, seed, command)`; an empty entry is a Raft no-op.
//! Enum variants and struct fields are only appended within a version. Decoding never panics and refuses unknown versions.

use std::collections::BTreeMap;

use highwater_sql::catalog::{CatalogDelta, CatalogVersion, ObjectId, Operation, Role};
use highwater_sql::diag::Diag;
use highwater_sql::plan::{Ddl, StartPosition, WritePlan};
use highwater_sql::value::{Micros, Value};
use serde::{Deserialize, Serialize};

use crate::placement::Layout;
use crate::roll::RollCommand;
use crate::transaction::ReadSet;

/// The data of one log entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Envelope {
    /// The leader's clock when it proposed; apply uses `max(stamp, the group's last stamp)` as log time.
    pub stamp: Micros,
    /// Source of volatile values per row: a PRF of seed and ordinal.
    pub seed: u128,
    /// What to do.
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Command {
    /// The definitions of a newer catalog version; older or equal ones change nothing. Data groups only.
    Catalog {
        /// The version reached.
        to: CatalogVersion,
        /// The version it starts from; refused unless the group is there.
        from: CatalogVersion,
        /// The changes.
        deltas: Vec<CatalogDelta>,
    },
    /// INSERT, UPDATE or DELETE.
    Write(WriteCommand),
    /// CONSUME with a group.
    Consume(ConsumeCommand),
    /// ACK.
    Ack(AckCommand),
    /// Records that another group derived, in its order: exchange.
    Deltas(Deltas),
    /// The destination has everything at or below `upto`: the outbox forgets it.
    Trim {
        /// The destination group.
        destination: u32,
        /// Log index of this group.
        upto: u64,
    },
    /// For the meta group only.
    Meta(MetaCommand),
    /// The next rows of a table are held to the change that is under way.
    Backfill(BackfillCommand),
    /// COMMIT of a transaction that stayed in this group.
    Transaction(Box<TransactionCommand>),
    /// Ends a request whose outcome is not known: if it was applied, its answer is this one's; if not, it never will be, and the id's
    /// answer is the refusal.
    Settle {
        /// Who and which request.
        head: RequestHead,
        /// The refusal.
        why: Box<Diag>,
    },
}

/// A transaction: what it read, and the writes that it makes, in order. All of it happens at once, or nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransactionCommand {
    /// Who, and the request of the COMMIT.
    pub head: RequestHead,
    /// Tells this run of the transaction from others under the same request id.
    pub attempt: u128,
    /// NOW() of all its statements, in microseconds since 1970.
    pub began: Micros,
    /// The applied index of the state that was read.
    pub read_at: u64,
    /// Tables that were read or written, with the versions under which they were.
    pub tables: BTreeMap<ObjectId, u32>,
    /// What was read; empty when nothing that the client was told depends on more than the answers of the writes.
    pub reads: ReadSet,
    /// The writes.
    pub steps: Vec<TransactionStep>,
}

/// A write of a transaction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransactionStep {
    /// The effective user: whose rows a USER or STREAM table means.
    pub user: String,
    /// What to change.
    pub plan: WritePlan,
    /// Its parameters, of the inferred types.
    pub params: Vec<Value>,
    /// Source of its volatile values.
    pub seed: u128,
    /// XXH3-64 of the answer that the client was given.
    pub answered: u64,
}

/// A step of a table's pending change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillCommand {
    /// The table.
    pub table: ObjectId,
    /// Its version with the change under way; another one is refused.
    pub table_version: u32,
    /// Go on after this row: its engine key behind the table's id. `None`: from the first row of the group.
    pub after: Option<Vec<u8>>,
    /// At most this many rows.
    pub rows: u32,
}

/// Who asks, and how a retry is told from a new request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHead {
    /// The authenticated user.
    pub principal: String,
    /// Its role when the edge authorised it.
    pub role: Role,
    /// The epoch of its rights; lower than the catalog's is refused.
    pub auth_epoch: u64,
    /// Present when a retry must not apply twice.
    pub request: Option<RequestId>,
    /// XXH3-64 of the statement's text and parameters: a reuse of the id for something else is refused.
    pub statement_hash: u64,
}

/// A client's request id and the statement's place in its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId {
    /// The ULID or UUIDv7 as a number; its time part is milliseconds since 1970 in the top 48 bits.
    pub id: u128,
    /// Statement of the batch, from 0.
    pub ordinal: u16,
}

/// A change of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteCommand {
    /// Who and which request.
    pub head: RequestHead,
    /// The effective user: whose rows a USER or STREAM table means.
    pub user: String,
    /// What to change.
    pub plan: WritePlan,
    /// Its parameters, of the inferred types.
    pub params: Vec<Value>,
}

/// One partition's part of a CONSUME with a group: claim, ack (when automatic) and result in one step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumeCommand {
    /// Who and which request.
    pub head: RequestHead,
    /// The topic.
    pub topic: ObjectId,
    /// The partition.
    pub partition: u32,
    /// The group.
    pub group: String,
    /// Where a new group starts.
    pub start: StartPosition,
    /// At most this many messages.
    pub limit: u32,
    /// At most this many payload bytes, though always one message.
    pub max_bytes: u32,
    /// Ack what is returned.
    pub auto_ack: bool,
    /// Owner of the claim.
    pub consumer_id: String,
    /// Length of the claim in microseconds of log time.
    pub visibility_micros: u64,
}

/// ACK of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckCommand {
    /// Who and which request.
    pub head: RequestHead,
    /// The topic.
    pub topic: ObjectId,
    /// The partition.
    pub partition: u32,
    /// The group.
    pub group: String,
    /// Who acks.
    pub consumer_id: String,
    /// Everything at or below this offset.
    pub upto: u64,
}

/// A contiguous range of one source group's outbox for this group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deltas {
    /// The source group.
    pub source: u32,
    /// The range begins after this index of the source: the destination's inbox must stand exactly here. A lower one that
    /// reaches no further than the inbox is a duplicate and dropped; a higher one is a gap and refused.
    pub from: u64,
    /// The range ends with this index.
    pub to: u64,
    /// The source's catalog when it shipped; this group must be at least there.
    pub catalog: CatalogVersion,
    /// The records in the source's order.
    pub records: Vec<TopicRecord>,
}

/// A message on its way to its partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicRecord {
    /// The topic.
    pub topic: ObjectId,
    /// The partition.
    pub partition: u32,
    /// The change's key as text.
    pub key: Option<String>,
    /// JSON text.
    pub payload: Vec<u8>,
    /// Log time of the change.
    pub timestamp: Micros,
    /// Whose row it was.
    pub user: Option<String>,
    /// What happened.
    pub operation: Operation,
}

/// Commands of the meta group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MetaCommand {
    /// The first entry ever: identity, shape and root of the cluster. A second one is refused.
    Bootstrap {
        /// Random identity.
        cluster_id: u128,
        /// Numbers of groups and stores, fixed for life.
        layout: Layout,
        /// Key that signs tokens.
        token_key: [u8; 32],
        /// Root's SCRAM verifier; empty: none yet, until `Setup`.
        root_verifier: String,
    },
    /// A change of definitions.
    Ddl {
        /// Who and which request.
        head: RequestHead,
        /// What to change.
        ddl: Ddl,
    },
    /// CREATE USER.
    CreateUser {
        /// Who and which request.
        head: RequestHead,
        /// Name.
        name: String,
        /// SCRAM verifier.
        verifier: Option<String>,
        /// Role.
        role: Role,
        /// Address.
        email: Option<String>,
        /// An existing one is fine.
        if_not_exists: bool,
    },
    /// ALTER USER: what is `Some` changes.
    AlterUser {
        /// Who and which request.
        head: RequestHead,
        /// Name.
        name: String,
        /// New SCRAM verifier; raises the auth epoch.
        verifier: Option<String>,
        /// New role; raises the auth epoch.
        role: Option<Role>,
        /// New address.
        email: Option<String>,
    },
    /// DROP USER.
    DropUser {
        /// Who and which request.
        head: RequestHead,
        /// Name.
        name: String,
        /// A missing one is fine.
        if_exists: bool,
    },
    /// A job has ended.
    FinishJob {
        /// Which.
        job: String,
        /// Why it failed; `None`: completed.
        failure: Option<String>,
    },
    /// A definition under a request id that cannot be planned (any more). If an earlier try was applied, its answer is this one's; if
    /// not, none will be: the id's answer is the refusal.
    Refuse {
        /// Who and which request.
        head: RequestHead,
        /// Why it cannot be planned.
        why: Box<Diag>,
    },
    /// A change of the roll of members.
    Roll(RollCommand),
    /// The first user of role dba, and root's first password; refused once root has one.
    Setup {
        /// The user's name.
        user: String,
        /// Its SCRAM verifier.
        verifier: String,
        /// Its address.
        email: Option<String>,
        /// Root's SCRAM verifier.
        root_verifier: String,
    },
    /// A login is over: its tokens count no more, not even those that were refreshed since.
    EndLogin {
        /// The login's identity, as its tokens carry it.
        login: u128,
        /// When the last of its tokens expires by itself: until then this is kept.
        until: Micros,
    },
}
