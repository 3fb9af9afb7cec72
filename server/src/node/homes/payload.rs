//! What travels between a node that has a seat of a group and one that keeps it.
//!
//! ```text
//! asked    := version u8 = 1 | group u32 LE | postcard(Asked)                          call kind 19
//! answered := version u8 = 1 | 1 | postcard(Answered)                                  all of it
//!           | version u8 = 1 | 2 | answer u64 LE | total u64 LE | its first bytes       the rest by Asked::Part
//!           | version u8 = 1 | 3 | bytes from the offset that was asked for
//! ```
//!
//! Deadlines are not in here: how long the caller waits is in the call, and what lasts longer (a transaction's time) travels as what is left
//! of it. Who asks travels along: its rights were checked where the statement arrived, and are looked at again by the group. Decoders never
//! panic.

use std::sync::Arc;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use highwater_runtime::Monotonic;
use highwater_sql::catalog::{CatalogVersion, ObjectId, Role};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::pipeline::Steps;
use highwater_sql::plan::QueryPlan;
use highwater_sql::value::{Micros, Row, Value};
use highwater_state::command::{RequestHead, WriteCommand};
use highwater_state::outcome::Consumed;
use highwater_state::topics::GroupOffset;
use serde::{Deserialize, Serialize};

use super::super::mesh::{MessagesWanted, Owed, ReadPart, ReadRefusal, Standing, TableRead};
use super::super::token::Shown;
use super::super::transactions::{Consistency, WorkspaceAnswer, WorkspaceCall, WorkspaceKey};

const VERSION: u8 = 1;
const WHOLE: u8 = 1;
const FIRST: u8 = 2;
const PART: u8 = 3;
/// Bytes of an answer that travel at one time.
pub(super) const PART_BYTES: usize = 1 << 20;

/// What is asked of a home.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Asked {
    /// Rows of a table.
    Table(Box<SentRead>),
    /// Rows of a table, page by page.
    Scan(Box<SentRead>),
    /// The next page of a scan.
    More(u64),
    /// More of a long answer.
    Part {
        /// Which one.
        answer: u64,
        /// From this byte on.
        offset: u64,
    },
    /// The rest of a scan is not wanted.
    Leave(u64),
    /// Messages of a partition.
    Messages(Box<MessagesWanted>),
    /// How a consumer group stands in a partition.
    Standing {
        /// The topic.
        topic: ObjectId,
        /// The partition.
        partition: u32,
        /// The consumer group.
        consumer_group: String,
        /// Who asks, and under which request id.
        head: Box<RequestHead>,
    },
    /// Committed offsets of all consumer groups.
    Offsets,
    /// What this source has for these destinations.
    Owed(Vec<u32>),
    /// Wait until this destination has taken from a source up to an index.
    Arrived {
        /// The source.
        source: u32,
        /// Its index.
        head: u64,
    },
    /// Wait until a partition has messages at or after an offset.
    Grown {
        /// The topic.
        topic: ObjectId,
        /// The partition.
        partition: u32,
        /// The offset.
        next: u64,
    },
    /// A statement of an open transaction.
    Workspace(Box<SentCall>),
}

/// What a home answers.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answered {
    /// This node is no member of the group.
    NotHere,
    /// What was asked for is not held any more.
    Gone,
    /// The table is defined otherwise.
    StaleCatalog,
    /// It failed.
    Failed(Diag),
    /// Rows of a table.
    Rows {
        /// The rows.
        rows: Vec<Row>,
        /// What they show.
        shown: Shown,
        /// What the steps of the read gave.
        steps: Steps,
    },
    /// The first page of a scan.
    Scanned {
        /// Its rows.
        rows: Vec<Row>,
        /// What they show.
        shown: Shown,
        /// What the others are asked by; none when these are all.
        scan: Option<u64>,
    },
    /// The next page; empty after the last.
    Page(Vec<Row>),
    /// Messages.
    Messages(Consumed),
    /// How a consumer group stands.
    Standing(Standing),
    /// Committed offsets.
    Offsets(Vec<GroupOffset>),
    /// What is owed.
    Owed(Vec<Owed>),
    /// Whether it has arrived.
    Arrived(bool),
    /// There may be messages.
    Grown,
    /// Of a transaction.
    Workspace(WorkspaceAnswer),
    /// Nothing more to say.
    Done,
}

/// A table read on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SentRead {
    plan: Arc<QueryPlan>,
    params: Arc<Vec<Value>>,
    user: String,
    role: Role,
    head: RequestHead,
    now: Micros,
    catalog: CatalogVersion,
    at_least: u64,
    consistency: Consistency,
    within: Option<SentKey>,
    part: ReadPart,
    seed: u128,
}

/// The name of a workspace on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SentKey {
    id: u128,
    began: Micros,
    /// What is left of the transaction's time, in microseconds.
    left: u64,
    opens: bool,
}

/// A statement of an open transaction on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum SentCall {
    /// A write, planned with a catalog.
    Write(SentKey, Box<WriteCommand>, CatalogVersion, u128),
    /// Back to so many writes.
    Rewind(SentKey, u64),
    /// What commits it.
    Commit(SentKey, Box<RequestHead>, u128),
    /// It is over.
    End(u128),
    /// What is kept of a request.
    AnswerOf(Box<RequestHead>),
}

/// The bytes of an answer, or some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// All.
    Whole(Bytes),
    /// The first.
    First {
        /// What the others are asked by.
        answer: u64,
        /// Bytes of all.
        total: u64,
        /// The first of them.
        bytes: Bytes,
    },
    /// Others.
    Part(Bytes),
}

impl Asked {
    /// The payload of the call.
    ///
    /// # Errors
    /// XX000: a plan that never leaves its node.
    pub(crate) fn encode(&self, group: u32) -> Result<Bytes, Diag> {
        let mut head = Vec::with_capacity(256);
        head.put_u8(VERSION);
        head.put_u32_le(group);
        postcard::to_extend(self, head)
            .map(Bytes::from)
            .map_err(|error| Diag::new(SqlState::INTERNAL, format!("a read cannot be sent to another node: {error}")))
    }

    /// The group and the question; `None` for bytes that are none.
    pub(crate) fn decode(mut bytes: Bytes) -> Option<(u32, Self)> {
        if bytes.len() < 5 || bytes.get_u8() != VERSION {
            return None;
        }
        let group = bytes.get_u32_le();
        match postcard::take_from_bytes(&bytes) {
            Ok((asked, [])) => Some((group, asked)),
            Ok(_) | Err(_) => None,
        }
    }
}

impl Answered {
    /// Its bytes.
    pub(crate) fn encode(&self) -> Bytes {
        // An answer always serialises; were it to fail, the empty one is refused by who gets it.
        Bytes::from(postcard::to_extend(self, Vec::with_capacity(256)).unwrap_or_default())
    }

    /// From its bytes; `None` for others.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        match postcard::take_from_bytes(bytes) {
            Ok((answered, [])) => Some(answered),
            Ok(_) | Err(_) => None,
        }
    }

    /// Whether another home need not be asked.
    pub(crate) fn is_an_answer(&self) -> bool {
        match self {
            Self::NotHere | Self::Gone | Self::Arrived(false) => false,
            Self::Failed(diag) => diag.sqlstate != SqlState::TIMEOUT && diag.sqlstate != SqlState::SHUTTING_DOWN,
            Self::StaleCatalog
            | Self::Rows { .. }
            | Self::Scanned { .. }
            | Self::Page(_)
            | Self::Messages(_)
            | Self::Standing(_)
            | Self::Offsets(_)
            | Self::Owed(_)
            | Self::Arrived(true)
            | Self::Grown
            | Self::Workspace(_)
            | Self::Done => true,
        }
    }

    /// Why there are no rows.
    pub(crate) fn into_refusal(self) -> ReadRefusal {
        match self {
            Self::StaleCatalog => ReadRefusal::StaleCatalog,
            other => ReadRefusal::Failed(other.into_diag()),
        }
    }

    /// What a client is told when this was not what was asked for.
    pub(crate) fn into_diag(self) -> Diag {
        match self {
            Self::Failed(diag) => diag,
            other => Diag::new(SqlState::INTERNAL, format!("a read was answered by another node with {other:?}")),
        }
    }
}

impl SentKey {
    fn of(key: &WorkspaceKey, now: Monotonic) -> Self {
        Self { id: key.id, began: key.began, left: key.until.micros_since(now), opens: key.opens }
    }

    fn received(self, group: u32, now: Monotonic) -> WorkspaceKey {
        let Self { id, began, left, opens } = self;
        WorkspaceKey { id, group, began, until: now.after_micros(left), opens }
    }
}

impl SentRead {
    /// A read as it is sent now.
    pub(crate) fn of(read: &TableRead, now: Monotonic) -> Self {
        Self {
            plan: Arc::clone(&read.plan),
            params: Arc::clone(&read.params),
            user: read.user.clone(),
            role: read.role,
            head: read.head.clone(),
            now: read.now,
            catalog: read.catalog,
            at_least: read.at_least,
            consistency: read.consistency,
            within: read.within.as_ref().map(|key| SentKey::of(key, now)),
            part: read.part,
            seed: read.seed,
        }
    }

    /// The read as it came now; `deadline` is when its barrier is to have been passed.
    pub(crate) fn received(self, group: u32, now: Monotonic, deadline: Monotonic) -> TableRead {
        TableRead {
            group,
            plan: self.plan,
            params: self.params,
            user: self.user,
            role: self.role,
            head: self.head,
            now: self.now,
            catalog: self.catalog,
            at_least: self.at_least,
            consistency: self.consistency,
            within: self.within.map(|key| key.received(group, now)),
            part: self.part,
            seed: self.seed,
            deadline,
        }
    }
}

impl SentCall {
    /// A statement as it is sent now.
    pub(crate) fn of(call: &WorkspaceCall, now: Monotonic) -> Self {
        match call {
            WorkspaceCall::Write { key, command, catalog, seed, .. } => {
                Self::Write(SentKey::of(key, now), command.clone(), catalog.version, *seed)
            }
            WorkspaceCall::Rewind { key, steps, .. } => Self::Rewind(SentKey::of(key, now), *steps as u64),
            WorkspaceCall::Commit { key, head, attempt, .. } => {
                Self::Commit(SentKey::of(key, now), Box::new(head.clone()), *attempt)
            }
            WorkspaceCall::End { id } => Self::End(*id),
            WorkspaceCall::AnswerOf { head, .. } => Self::AnswerOf(Box::new(head.clone())),
        }
    }

    /// The catalog that it was planned with, if with one.
    pub(crate) fn catalog(&self) -> Option<CatalogVersion> {
        match self {
            Self::Write(_, _, version, _) => Some(*version),
            Self::Rewind(..) | Self::Commit(..) | Self::End(_) | Self::AnswerOf(_) => None,
        }
    }

    /// The statement as it came now.
    pub(crate) fn received(
        self,
        group: u32,
        catalog: Arc<highwater_sql::catalog::Catalog>,
        now: Monotonic,
        deadline: Monotonic,
    ) -> WorkspaceCall {
        match self {
            Self::Write(key, command, _, seed) => {
                WorkspaceCall::Write { key: key.received(group, now), command, catalog, seed, deadline }
            }
            Self::Rewind(key, steps) => WorkspaceCall::Rewind {
                key: key.received(group, now),
                steps: usize::try_from(steps).unwrap_or(usize::MAX),
                deadline,
            },
            Self::Commit(key, head, attempt) => {
                WorkspaceCall::Commit { key: key.received(group, now), head: *head, attempt, deadline }
            }
            Self::End(id) => WorkspaceCall::End { id },
            Self::AnswerOf(head) => WorkspaceCall::AnswerOf { group, head: *head, deadline },
        }
    }
}

impl Frame {
    /// The payload of the answer.
    pub(crate) fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        let bytes = match self {
            Self::Whole(bytes) => {
                out.put_u8(WHOLE);
                bytes
            }
            Self::First { answer, total, bytes } => {
                out.put_u8(FIRST);
                out.put_u64_le(*answer);
                out.put_u64_le(*total);
                bytes
            }
            Self::Part(bytes) => {
                out.put_u8(PART);
                bytes
            }
        };
        out.extend_from_slice(bytes);
        out.freeze()
    }

    /// From a payload; `None` for bytes that are none.
    pub(crate) fn decode(mut bytes: Bytes) -> Option<Self> {
        if bytes.len() < 2 || bytes.get_u8() != VERSION {
            return None;
        }
        match bytes.get_u8() {
            WHOLE => Some(Self::Whole(bytes)),
            FIRST if bytes.len() >= 16 => {
                Some(Self::First { answer: bytes.get_u64_le(), total: bytes.get_u64_le(), bytes })
            }
            PART => Some(Self::Part(bytes)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use highwater_sql::plan::StartPosition;
    use quickcheck::quickcheck;

    use super::*;

    fn messages() -> Asked {
        let (principal, role) = ("ann".to_owned(), Role::Service);
        let head = RequestHead { principal, role, auth_epoch: 4, request: None, statement_hash: 0 };
        let (catalog, topic) = (CatalogVersion(9), ObjectId(7));
        let wanted = MessagesWanted {
            head,
            catalog,
            topic,
            partition: 2,
            start: StartPosition::Offset(300),
            limit: 9,
            max_bytes: 64,
        };
        Asked::Messages(Box::new(wanted))
    }

    #[test]
    fn what_is_asked_survives_its_bytes_and_a_part_of_it_is_nothing() {
        let Asked::Messages(wanted) = messages() else { unreachable!() };
        let head = Box::new(wanted.head);
        let standing = Asked::Standing { topic: ObjectId(7), partition: 2, consumer_group: "mail".into(), head };
        let all = [
            messages(),
            standing,
            Asked::Offsets,
            Asked::Owed(vec![3, 4]),
            Asked::Arrived { source: 3, head: 90 },
            Asked::Grown { topic: ObjectId(7), partition: 2, next: 5 },
            Asked::More(u64::MAX),
            Asked::Part { answer: 1, offset: 1 << 20 },
            Asked::Leave(4),
            Asked::Workspace(Box::new(SentCall::End(u128::MAX))),
        ];
        for asked in all {
            let bytes = asked.encode(9).unwrap();
            assert_eq!(Asked::decode(bytes.clone()), Some((9, asked)));
            assert!((0..bytes.len()).all(|end| Asked::decode(bytes.slice(..end)).is_none()));
        }
    }

    #[test]
    fn the_bytes_are_these() {
        assert_eq!(
            &messages().encode(9).unwrap()[..],
            b"\x01\x09\0\0\0\x05\x03ann\x01\x04\0\0\x09\x07\x02\x02\xac\x02\x09\x40"
        );
        let first = Frame::First { answer: 5, total: 6, bytes: Bytes::from_static(b"ab") };
        assert_eq!(&first.encode()[..], b"\x01\x02\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0ab");
    }

    #[test]
    fn a_home_that_has_no_leader_or_stops_is_no_reason_not_to_ask_the_next() {
        let failed = |state| Answered::Failed(Diag::new(state, "x"));
        for none in
            [failed(SqlState::TIMEOUT), failed(SqlState::SHUTTING_DOWN), Answered::NotHere, Answered::Arrived(false)]
        {
            assert!(!none.is_an_answer(), "{none:?}");
        }
        assert!(failed(SqlState::DATA_CORRUPTED).is_an_answer() && Answered::Arrived(true).is_an_answer());
    }

    #[test]
    fn the_time_of_a_transaction_travels_as_what_is_left_of_it() {
        let (here, there) = (Monotonic(5_000), Monotonic(900_000));
        let key = WorkspaceKey { id: 1, group: 4, began: 77, until: here.after_micros(250), opens: true };
        let came = SentKey::of(&key, here).received(4, there);
        assert_eq!((came.id, came.group, came.began, came.opens), (1, 4, 77, true));
        assert_eq!(came.until, there.after_micros(250));
    }

    quickcheck! {
        fn any_bytes_are_survived(bytes: Vec<u8>, sound: bool) -> bool {
            let head: &[u8] = if sound { &[VERSION, 0, 0, 0, 0] } else { &[] };
            let _ = Asked::decode(Bytes::from([head, &bytes].concat()));
            let _ = Frame::decode(Bytes::from([&[VERSION], &bytes[..]].concat()));
            let _ = Answered::decode(&bytes);
            true
        }

        fn a_frame_survives_its_bytes(answer: u64, total: u64, bytes: Vec<u8>) -> bool {
            let bytes = Bytes::from(bytes);
            let all = [Frame::Whole(bytes.clone()), Frame::Part(bytes.clone()), Frame::First { answer, total, bytes }];
            all.into_iter().all(|frame| Frame::decode(frame.encode()) == Some(frame))
        }
    }
}
