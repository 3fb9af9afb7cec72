//! What a home answers, on the core that hosts the group: what its own clients would be answered there, behind the same barrier.
//!
//! The barrier is waited for a second at most: who asks has other homes, one of which may be on the right side of a partition.

use bytes::Bytes;
use highwater_net::rpc::{Answer, Refusal};
use highwater_runtime::{Env, Monotonic, queue};
use highwater_sql::diag::{Diag, SqlState};

use super::super::forward::{Errand, TraceId, UNREADABLE};
use super::super::mesh::{MessagesRead, Owed, Question, ReadRefusal, StandingRead};
use super::super::streaming::{self, Scanned};
use super::super::{Node, appends, reads, transactions};
use super::payload::{Answered, Asked, Frame, PART_BYTES};

/// How long a group's barrier is waited for, in microseconds.
const BARRIER_MICROS: u64 = 1_000_000;

impl Node {
    /// Answers another node's call.
    pub(in super::super) async fn answer_seat(&self, payload: Bytes, deadline: Monotonic) -> Answer {
        let (group, asked) =
            Asked::decode(payload).ok_or_else(|| Refusal::new(UNREADABLE, "a read of another node cannot be read"))?;
        if let Asked::Part { answer, offset } = asked {
            return Ok(match self.0.held.part(answer, offset, PART_BYTES) {
                Some(bytes) => Frame::Part(bytes).encode(),
                None => Frame::Whole(Answered::Gone.encode()).encode(),
            });
        }
        let answered = match self.layout().role(group) {
            None => Answered::NotHere,
            Some(_) => {
                let asked = Box::new(asked);
                let answered = self.ask(group, |reply| Question::OfSeat(group, asked, deadline, reply)).await;
                answered.unwrap_or_else(Answered::Failed)
            }
        };
        let mut bytes = answered.encode();
        if bytes.len() <= PART_BYTES {
            return Ok(Frame::Whole(bytes).encode());
        }
        let (total, answer) = (bytes.len() as u64, self.hold_answer(bytes.clone()));
        bytes.truncate(PART_BYTES);
        Ok(Frame::First { answer, total, bytes }.encode())
    }
}

/// Answers on the core that hosts the group.
pub(in super::super) async fn answer(node: &Node, group: u32, asked: Asked, deadline: Monotonic) -> Answered {
    let Ok(_in_flight) = node.enter_for_another() else { return Answered::NotHere };
    // A member that is no home yet, or no more, as far as this node knows, lets no read pass: another home does.
    let is_home = || {
        let host = node.host_of(group).filter(|host| !host.is_seat(group));
        host.and_then(|host| host.replica(group)).is_some_and(|replica| replica.is_member())
    };
    if !is_home() {
        return Answered::NotHere;
    }
    let now = node.env().now();
    let soon = deadline.min(now.after_micros(BARRIER_MICROS));
    let answered = match asked {
        Asked::Table(read) => match reads::table(node, &read.received(group, now, soon)).await {
            Ok(found) => Ok(Answered::Rows { rows: found.rows, shown: found.shown, steps: found.steps }),
            Err(ReadRefusal::StaleCatalog) => Ok(Answered::StaleCatalog),
            Err(ReadRefusal::Failed(diag)) => Err(diag),
        },
        Asked::Scan(read) => scan(node, read.received(group, now, soon)).await,
        Asked::More(scan) => Ok(more(node, scan).await),
        Asked::Leave(scan) => {
            drop(node.0.held.take_scan(scan));
            Ok(Answered::Done)
        }
        Asked::Part { .. } => Ok(Answered::Gone),
        Asked::Messages(wanted) => {
            let read = MessagesRead { group, wanted: *wanted, deadline: soon };
            reads::messages(node, &read).await.map(Answered::Messages)
        }
        Asked::Standing { topic, partition, consumer_group, head } => {
            let read = StandingRead { group, topic, partition, consumer_group, head: *head, deadline: soon };
            reads::standing(node, &read).await.map(Answered::Standing)
        }
        Asked::Offsets => reads::group_offsets(node, group, soon).await.map(Answered::Offsets),
        Asked::Owed(destinations) => reads::owed(node, &[group], &destinations, soon).await.map(Answered::Owed),
        Asked::Arrived { source, head } => {
            let owed = Owed { source, destination: group, head };
            Ok(Answered::Arrived(reads::await_owed(node, &[owed], soon).await))
        }
        Asked::Grown { topic, partition, next } => {
            let (slot, answer) = queue::reply();
            appends::await_append(node, &[(group, topic, partition, next)], deadline, slot).await;
            let _ = answer.await;
            Ok(Answered::Grown)
        }
        Asked::Workspace(call) => {
            let catalog = match call.catalog() {
                Some(version) => node.catalog_at_least(Errand { deadline: soon, trace: TraceId(0) }, version).await,
                None => Ok(node.catalog()),
            };
            match catalog {
                Ok(catalog) => {
                    transactions::answer(node, call.received(group, catalog, now, soon)).await.map(Answered::Workspace)
                }
                Err(diag) => Err(diag),
            }
        }
    };
    match answered {
        Ok(answered) => answered,
        Err(_) if !is_home() => Answered::NotHere,
        Err(diag) => Answered::Failed(diag),
    }
}

/// The first page of a scan, and the number of the rest.
async fn scan(node: &Node, read: super::super::mesh::TableRead) -> Result<Answered, Diag> {
    let (slot, answer) = queue::reply();
    streaming::scan(node, read, slot);
    match answer.await.map_err(|_| super::super::shutting_down())? {
        Ok(Scanned { rows, rest: None, shown }) => Ok(Answered::Scanned { rows, shown, scan: None }),
        Ok(Scanned { rows, rest: Some(rest), shown }) => {
            let scan = node.env().random();
            if node.hold_scan(scan, rest) {
                return Ok(Answered::Scanned { rows, shown, scan: Some(scan) });
            }
            Err(Diag::new(SqlState::OVERLOADED, "too many results are being sent to other nodes")
                .hint("Retry after a short pause."))
        }
        Err(ReadRefusal::StaleCatalog) => Ok(Answered::StaleCatalog),
        Err(ReadRefusal::Failed(diag)) => Err(diag),
    }
}

/// The next page of a scan. An empty one is its end.
async fn more(node: &Node, scan: u64) -> Answered {
    let Some(pages) = node.0.held.take_scan(scan) else { return Answered::Gone };
    match pages.recv().await {
        Some(Ok(rows)) => {
            if !rows.is_empty() && !node.hold_scan(scan, pages) {
                return Answered::Gone;
            }
            Answered::Page(rows)
        }
        Some(Err(diag)) => Answered::Failed(diag),
        None => Answered::Gone,
    }
}
