//! Groups of which this node has a seat only: what is read of them is asked of a home, a node that keeps a replica.
//!
//! ```text
//!  edge: a read of a group that is not here          home: the group's core
//!    which homes does the roll name?  -- call 19 -->   a member of the group?  no: not here
//!                                                      its read barrier, for a second at most; then the view, as for its own clients
//!    the next home, if not here, no leader, lost  <--  the answer; of a long one the first part, the others by a call each
//! ```
//!
//! | file | owns |
//! |---|---|
//! | `mod.rs` | which home is asked, and what follows from its silence |
//! | `payload.rs` | the bytes of what is asked and answered |
//! | `serve.rs` | what a home answers |
//! | `held.rs` | what a home keeps between the calls of one read |
//!
//! What the roll says of homes is a hint: an answer is right because whoever gives it has passed the group's read barrier. So every question
//! may go to the next home when one is silent, but those of an open transaction: its workspace is at one home. Must never: answer from a seat.

mod held;
mod payload;
mod serve;

use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use futures_lite::future;
use highwater_net::rpc::{CallError, CallKind, NotSent};
use highwater_raft::NodeId;
use highwater_runtime::queue::{self, Sender};
use highwater_runtime::{Env, Monotonic, sometimes};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::value::Row;
use highwater_state::outcome::Consumed;
use highwater_state::topics::GroupOffset;

pub(super) use held::Held;
pub(super) use payload::SentRead;
pub(crate) use payload::{Answered, Asked};
pub(super) use serve::answer;

use super::liveness::{Sign, Watch as _};
use super::mesh::{MessagesRead, Owed, Question, ReadRefusal, Standing, StandingRead, TableRead, TableRows};
use super::streaming::Scanned;
use super::transactions::{WorkspaceAnswer, WorkspaceCall};
use super::{Node, shutting_down};
use payload::{Frame, SentCall};

/// The kind of this call.
pub(crate) const HOME: CallKind = CallKind(19);
/// Between two looks at whether a home that is asked still lives, in microseconds.
const LOOK_MICROS: u64 = 100_000;
/// First pause after all homes were asked in vain, in microseconds; it doubles.
const FIRST_PAUSE_MICROS: u64 = 20_000;
/// Longest such pause, in microseconds.
const LONGEST_PAUSE_MICROS: u64 = 320_000;
/// How long the end of a scan or of a transaction is told, in microseconds.
const END_MICROS: u64 = 1_000_000;
/// Pages of a scan that wait for the front end.
const AHEAD: usize = 2;

/// Why a home gave no answer.
enum Missed {
    /// Another one may.
    Elsewhere,
    /// No other will.
    Never(Diag),
}

impl Node {
    /// Whether this node has a seat only of a group, so that its reads go elsewhere.
    pub(super) fn is_elsewhere(&self, group: u32) -> bool {
        self.links().has_seat(group)
    }

    /// A home of a group that is likely to answer; none when the group is here.
    pub(super) fn likely_home(&self, group: u32) -> Option<NodeId> {
        let homes = self.links().homes_elsewhere(group)?;
        self.in_turn(group, homes).first().copied()
    }

    /// Homes in the order in which they are asked: the one that answered last, then those that live, in another order each time.
    fn in_turn(&self, group: u32, mut homes: Vec<NodeId>) -> Vec<NodeId> {
        let heard = self.0.held.heard(group);
        let turn = usize::try_from(self.env().random() % 64).unwrap_or(0).checked_rem(homes.len()).unwrap_or(0);
        homes.rotate_left(turn);
        homes.sort_by_key(|home| (self.links().sign(*home) == Sign::Lost, Some(*home) != heard));
        homes
    }

    /// Asks the homes of a group, one after the other, until one answers.
    ///
    /// # Errors
    /// 57014 when none did before the deadline; 57P01 while this node shuts down.
    pub(super) async fn ask_home(
        &self,
        group: u32,
        asked: &Asked,
        deadline: Monotonic,
    ) -> Result<(NodeId, Answered), Diag> {
        let payload = asked.encode(group)?;
        let mut pause = FIRST_PAUSE_MICROS;
        loop {
            let homes = match self.links().homes_elsewhere(group) {
                Some(homes) => self.in_turn(group, homes),
                // It has come here meanwhile.
                None => vec![self.links().me()],
            };
            for home in homes {
                match self.ask_home_at(home, group, asked, &payload, deadline).await {
                    Ok(answered) if answered.is_an_answer() => {
                        self.0.held.hears(group, home);
                        return Ok((home, answered));
                    }
                    Ok(_) | Err(Missed::Elsewhere) => sometimes("homes_asked_in_vain"),
                    Err(Missed::Never(diag)) => return Err(diag),
                }
                if self.env().now() >= deadline {
                    break;
                }
            }
            if self.env().now() >= deadline {
                return Err(no_home(group));
            }
            if self.is_closing() {
                return Err(shutting_down());
            }
            let until = self.env().now().after_micros(pause).min(deadline);
            self.env().sleep_until(until).await;
            pause = pause.saturating_mul(2).min(LONGEST_PAUSE_MICROS);
        }
    }

    /// Asks one home, and fetches the parts of a long answer.
    async fn ask_home_at(
        &self,
        home: NodeId,
        group: u32,
        asked: &Asked,
        payload: &Bytes,
        deadline: Monotonic,
    ) -> Result<Answered, Missed> {
        if home == self.links().me() {
            let (own, asked) = (group, Box::new(asked.clone()));
            let answer = self.ask(group, |reply| Question::OfSeat(own, asked, deadline, reply)).await;
            return answer.map_err(Missed::Never);
        }
        let first = self.call_home(home, group, payload.clone(), deadline).await?;
        let (answer, total, first) = match Frame::decode(first).ok_or(Missed::Elsewhere)? {
            Frame::Whole(bytes) => return Answered::decode(&bytes).ok_or(Missed::Elsewhere),
            Frame::First { answer, total, bytes } => (answer, total, bytes),
            Frame::Part(_) => return Err(Missed::Elsewhere),
        };
        let mut whole = BytesMut::from(&first[..]);
        while (whole.len() as u64) < total {
            let part = Asked::Part { answer, offset: whole.len() as u64 };
            let part = part.encode(group).map_err(Missed::Never)?;
            let part = self.call_home(home, group, part, deadline).await?;
            match Frame::decode(part) {
                Some(Frame::Part(bytes)) if !bytes.is_empty() => whole.extend_from_slice(&bytes),
                Some(_) | None => return Err(Missed::Elsewhere),
            }
        }
        sometimes("answers_of_homes_in_parts");
        Answered::decode(&whole).ok_or(Missed::Elsewhere)
    }

    /// One call to a home, as long as that lives.
    async fn call_home(&self, home: NodeId, group: u32, payload: Bytes, deadline: Monotonic) -> Result<Bytes, Missed> {
        let call = async { Some(self.links().call(home, group, HOME, payload, deadline).await) };
        let lost = async {
            loop {
                self.env().sleep(LOOK_MICROS).await;
                if self.links().sign(home) == Sign::Lost {
                    return None;
                }
            }
        };
        match future::or(call, lost).await {
            Some(Ok(bytes)) => Ok(bytes),
            Some(Err(CallError::NotSent(NotSent::TooLarge))) => Err(Missed::Never(
                Diag::new(SqlState::PROGRAM_LIMIT, "the statement is larger than what nodes hand to one another")
                    .hint("Split the statement into smaller ones."),
            )),
            Some(Err(CallError::NotSent(NotSent::Stopped))) => Err(Missed::Never(shutting_down())),
            Some(Err(error)) => {
                tracing::debug!(group, home = home.0, %error, "a home did not answer");
                Err(Missed::Elsewhere)
            }
            None => Err(Missed::Elsewhere),
        }
    }

    /// Rows of a table of a group that is not here.
    pub(super) async fn table_of_home(&self, read: &TableRead) -> Result<TableRows, ReadRefusal> {
        let asked = Asked::Table(Box::new(SentRead::of(read, self.env().now())));
        match self.ask_home(read.group, &asked, read.deadline).await.map_err(ReadRefusal::Failed)?.1 {
            Answered::Rows { rows, shown, steps } => Ok(TableRows { rows, shown, steps }),
            other => Err(other.into_refusal()),
        }
    }

    /// The same as an open transaction sees it, whose workspace is at `home`.
    pub(super) async fn table_of_workspace(&self, home: NodeId, read: &TableRead) -> Result<TableRows, ReadRefusal> {
        let asked = Asked::Table(Box::new(SentRead::of(read, self.env().now())));
        let payload = asked.encode(read.group).map_err(ReadRefusal::Failed)?;
        match self.ask_home_at(home, read.group, &asked, &payload, read.deadline).await {
            Ok(Answered::Rows { rows, shown, steps }) => Ok(TableRows { rows, shown, steps }),
            Ok(other) if other.is_an_answer() => Err(other.into_refusal()),
            Ok(_) | Err(Missed::Elsewhere) => Err(ReadRefusal::Failed(super::transactions::lost(SILENT))),
            Err(Missed::Never(diag)) => Err(ReadRefusal::Failed(diag)),
        }
    }

    /// A read whose rows are answered while they are read, of a group that is not here: its pages are fetched one by one, ahead of the front
    /// end by a few.
    pub(super) async fn scan_of_home(&self, read: &TableRead) -> Result<Scanned, ReadRefusal> {
        let asked = Asked::Scan(Box::new(SentRead::of(read, self.env().now())));
        let (home, answered) = self.ask_home(read.group, &asked, read.deadline).await.map_err(ReadRefusal::Failed)?;
        let Answered::Scanned { rows, shown, scan } = answered else { return Err(answered.into_refusal()) };
        let Some(scan) = scan else { return Ok(Scanned { rows, rest: None, shown }) };
        let (sender, rest) = queue::bounded(AHEAD);
        let (node, group) = (self.clone(), read.group);
        self.env().spawn("scan of a home", async move {
            let ended = node.fetch_pages(home, group, scan, &sender).await;
            let last = match ended {
                Ok(true) => Ok(Vec::new()),
                Ok(false) => return node.leave(home, group, Asked::Leave(scan)).await,
                Err(diag) => {
                    tracing::warn!(group, home = home.0, %diag, "an answer that was being sent was broken off");
                    Err(diag)
                }
            };
            let _ = sender.send(last).await;
        });
        Ok(Scanned { rows, rest: Some(rest), shown })
    }

    /// Whether all pages of a scan came and were taken.
    async fn fetch_pages(
        &self,
        home: NodeId,
        group: u32,
        scan: u64,
        sender: &Sender<Result<Vec<Row>, Diag>>,
    ) -> Result<bool, Diag> {
        let asked = Asked::More(scan);
        let payload = asked.encode(group)?;
        loop {
            let deadline = self.statement_deadline();
            match self.ask_home_at(home, group, &asked, &payload, deadline).await {
                Ok(Answered::Page(rows)) if rows.is_empty() => return Ok(true),
                Ok(Answered::Page(rows)) => {
                    if sender.send(Ok(rows)).await.is_err() {
                        return Ok(false);
                    }
                }
                Ok(Answered::Failed(diag)) | Err(Missed::Never(diag)) => return Err(diag),
                Ok(_) | Err(Missed::Elsewhere) => return Err(broken_off(home)),
            }
        }
    }

    /// Tells a home that something is not wanted any more.
    async fn leave(&self, home: NodeId, group: u32, asked: Asked) {
        let deadline = self.env().now().after_micros(END_MICROS);
        if let Ok(payload) = asked.encode(group) {
            let _ = self.ask_home_at(home, group, &asked, &payload, deadline).await;
        }
    }

    /// Messages of a partition, here or elsewhere.
    pub(super) async fn messages(&self, read: MessagesRead) -> Result<Consumed, Diag> {
        if !self.is_elsewhere(read.group) {
            return self.ask(read.group, |reply| Question::Messages(read, reply)).await?;
        }
        let asked = Asked::Messages(Box::new(read.wanted));
        match self.ask_home(read.group, &asked, read.deadline).await?.1 {
            Answered::Messages(consumed) => Ok(consumed),
            other => Err(other.into_diag()),
        }
    }

    /// How a consumer group stands in a partition of a group that is not here.
    pub(super) async fn standing_of_home(&self, read: StandingRead) -> Result<Standing, Diag> {
        let StandingRead { group, topic, partition, consumer_group, head, deadline } = read;
        let asked = Asked::Standing { topic, partition, consumer_group, head: Box::new(head) };
        match self.ask_home(group, &asked, deadline).await?.1 {
            Answered::Standing(standing) => Ok(standing),
            other => Err(other.into_diag()),
        }
    }

    /// Committed offsets of a group's partitions, here or elsewhere.
    pub(super) async fn group_offsets(&self, group: u32, deadline: Monotonic) -> Result<Vec<GroupOffset>, Diag> {
        if !self.is_elsewhere(group) {
            return self.ask(group, |reply| Question::GroupOffsets(group, deadline, reply)).await?;
        }
        match self.ask_home(group, &Asked::Offsets, deadline).await?.1 {
            Answered::Offsets(offsets) => Ok(offsets),
            other => Err(other.into_diag()),
        }
    }

    /// What sources that are not here had for these destinations. All at once.
    pub(super) async fn owed_by_homes(
        &self,
        sources: Vec<u32>,
        destinations: &[u32],
        deadline: Monotonic,
    ) -> Result<Vec<Owed>, Diag> {
        let asked = Rc::new(Asked::Owed(destinations.to_vec()));
        let (node, count) = (self.clone(), sources.len());
        let ask = move |group| {
            let (node, asked) = (node.clone(), Rc::clone(&asked));
            async move {
                match node.ask_home(group, &asked, deadline).await?.1 {
                    Answered::Owed(owed) => Ok(owed),
                    other => Err(other.into_diag()),
                }
            }
        };
        let found = super::portions::in_portions(self.env(), "owed by a home", sources, count, ask).await;
        if found.len() < count {
            return Err(shutting_down());
        }
        let found: Vec<Vec<Owed>> = found.into_iter().collect::<Result<_, Diag>>()?;
        Ok(found.into_iter().flatten().collect())
    }

    /// Whether a destination that is not here has what it is owed before the deadline.
    pub(super) async fn arrives_at_home(&self, owed: Owed, deadline: Monotonic) -> Result<bool, Diag> {
        let asked = Asked::Arrived { source: owed.source, head: owed.head };
        match self.ask_home(owed.destination, &asked, deadline).await {
            Ok((_, Answered::Arrived(arrived))) => Ok(arrived),
            Ok((_, other)) => Err(other.into_diag()),
            Err(diag) if diag.sqlstate == SqlState::TIMEOUT => Ok(false),
            Err(diag) => Err(diag),
        }
    }

    /// Waits until a partition that is not here has messages at or after an offset, or until the deadline. Whoever waits looks again.
    pub(super) async fn grown_at_home(&self, group: u32, asked: Asked, deadline: Monotonic) {
        if let Some(home) = self.likely_home(group)
            && let Ok(payload) = asked.encode(group)
            && let Ok(Answered::Grown) = self.ask_home_at(home, group, &asked, &payload, deadline).await
        {
            return;
        }
        self.env().sleep_until(deadline).await;
    }

    /// What the workspace of a transaction answers, here or at the home where it is.
    pub(super) async fn ask_workspace(
        &self,
        home: Option<NodeId>,
        group: u32,
        call: WorkspaceCall,
    ) -> Result<WorkspaceAnswer, Diag> {
        let Some(home) = home else {
            return self.ask(group, |reply| Question::Workspace(Box::new(call), reply)).await?;
        };
        let now = self.env().now();
        let deadline = call.deadline().unwrap_or_else(|| now.after_micros(END_MICROS));
        let asked = Asked::Workspace(Box::new(SentCall::of(&call, now)));
        let payload = asked.encode(group)?;
        match self.ask_home_at(home, group, &asked, &payload, deadline).await {
            Ok(Answered::Workspace(answer)) => Ok(answer),
            Ok(other) if other.is_an_answer() => Err(other.into_diag()),
            Ok(_) | Err(Missed::Elsewhere) => Err(super::transactions::lost(SILENT)),
            Err(Missed::Never(diag)) => Err(diag),
        }
    }
}

/// Why a transaction was lost whose workspace is at a home that does not answer.
const SILENT: &str = "the node that keeps its group's replica does not answer";

fn no_home(group: u32) -> Diag {
    Diag::new(
        SqlState::TIMEOUT,
        format!("no node that keeps group {group} could be read in time: none is reached, or it has no leader"),
    )
    .hint("Retry; if this stays, see which nodes are down in system.cluster and who leads the group in system.cluster_groups.")
}

fn broken_off(home: NodeId) -> Diag {
    Diag::new(SqlState::SHUTTING_DOWN, format!("node {}, which was read from, does not answer any more", home.0))
        .hint("Send the statement again: another node is read then.")
}
