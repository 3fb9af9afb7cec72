//! What waits to be sent by the side that connects, and which calls wait for an answer. Pure: bounded in count and bytes, and
//! explicit about everything that it gives up. A group message that does not fit is dropped; a call is told so.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use highwater_runtime::queue::{Reply, ReplySlot, reply};

use super::call::{Answer, REQUEST_HEADER_BYTES, RefusalCode, Request, Response};
use super::chunk::{CHUNK_HEADER_BYTES, SnapshotChunk};
use super::counters::PeerCounters;
use super::error::{CallError, Dropped, NotSent, Unknown};
use super::frame::FrameKind;
use super::framed::FrameBuffer;
use super::ids::{CallId, CallKind};
use super::limits::{Limits, MAX_MESSAGES};
use super::message::GroupMessage;
use super::message_codec::{BATCH_HEADER_BYTES, encode_messages};
use super::ping::Ping;

/// What a call carries.
#[derive(Debug)]
pub(crate) enum Asked {
    Call { kind: CallKind, payload: Bytes },
    Chunk(SnapshotChunk),
}

impl Asked {
    fn bytes(&self) -> usize {
        match self {
            Self::Call { payload, .. } => payload.len().saturating_add(REQUEST_HEADER_BYTES),
            Self::Chunk(chunk) => chunk.data.len().saturating_add(CHUNK_HEADER_BYTES),
        }
    }
}

/// How a call ends.
pub(crate) type Outcome = Result<Bytes, CallError>;

#[derive(Debug)]
struct Waiting {
    asked: Asked,
    /// When the caller gives up, in microseconds of the monotonic clock.
    deadline: u64,
    slot: ReplySlot<Outcome>,
}

/// The queues of one peer.
#[derive(Debug)]
pub(crate) struct Outgoing {
    limits: Limits,
    messages: VecDeque<GroupMessage>,
    message_bytes: usize,
    waiting: BTreeMap<CallId, Waiting>,
    waiting_bytes: usize,
    sent: BTreeMap<CallId, ReplySlot<Outcome>>,
    next_call: u64,
    ping: Option<Ping>,
    /// The last attempt to connect failed: nothing is taken.
    unreachable: bool,
    /// Largest payload of the present link, or the own limit.
    frame_bytes: usize,
    /// Calls that may be at work there.
    credit: usize,
    pub(crate) counters: PeerCounters,
}

impl Outgoing {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            messages: VecDeque::new(),
            message_bytes: 0,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            sent: BTreeMap::new(),
            next_call: 0,
            ping: None,
            unreachable: false,
            frame_bytes: usize::try_from(limits.frame_bytes).unwrap_or(usize::MAX),
            credit: usize::from(limits.calls),
            counters: PeerCounters::default(),
        }
    }

    /// A link is up.
    pub(crate) fn connected(&mut self, frame_bytes: u32, calls: u16) {
        self.unreachable = false;
        self.frame_bytes = usize::try_from(frame_bytes).unwrap_or(usize::MAX);
        self.credit = usize::from(calls.max(1));
    }

    /// The link has ended: answers to what was sent will not come. What waits may go with the next link.
    pub(crate) fn disconnected(&mut self) {
        self.ping = None;
        for slot in std::mem::take(&mut self.sent).into_values() {
            self.counters.calls_unknown = self.counters.calls_unknown.saturating_add(1);
            slot.fill(Err(CallError::Unknown(Unknown::Disconnected)));
        }
    }

    /// No link could be made: what waits is given up, and nothing is taken until one is.
    pub(crate) fn unreachable(&mut self, why: NotSent) {
        self.disconnected();
        self.unreachable = true;
        let dropped = self.messages.len() as u64;
        self.counters.dropped_unreachable = self.counters.dropped_unreachable.saturating_add(dropped);
        self.messages = VecDeque::new();
        self.message_bytes = 0;
        self.waiting_bytes = 0;
        for waiting in std::mem::take(&mut self.waiting).into_values() {
            self.counters.calls_not_sent = self.counters.calls_not_sent.saturating_add(1);
            waiting.slot.fill(Err(CallError::NotSent(why)));
        }
    }

    /// Queues a message.
    pub(crate) fn push(&mut self, message: GroupMessage) -> Result<(), Dropped> {
        let bytes = message.encoded_len();
        let limit = self.frame_bytes.saturating_sub(BATCH_HEADER_BYTES);
        if self.unreachable {
            self.counters.dropped_unreachable = self.counters.dropped_unreachable.saturating_add(1);
            return Err(Dropped::Unreachable);
        }
        if bytes > limit {
            self.counters.dropped_too_large = self.counters.dropped_too_large.saturating_add(1);
            return Err(Dropped::TooLarge { bytes, limit });
        }
        let full = self.messages.len() >= self.limits.queue_messages
            || self.message_bytes.saturating_add(bytes) > self.limits.queue_bytes;
        if full {
            self.counters.dropped_full = self.counters.dropped_full.saturating_add(1);
            return Err(Dropped::Full);
        }
        self.message_bytes = self.message_bytes.saturating_add(bytes);
        self.messages.push_back(message);
        Ok(())
    }

    /// Queues a call. Its answer, or why there is none, comes through the reply.
    pub(crate) fn ask(&mut self, asked: Asked, deadline: u64) -> Result<(CallId, Reply<Outcome>), NotSent> {
        self.counters.calls = self.counters.calls.saturating_add(1);
        let bytes = asked.bytes();
        let refused = if self.unreachable {
            Some(NotSent::Unreachable)
        } else if bytes > self.frame_bytes || bytes > self.limits.call_bytes {
            Some(NotSent::TooLarge)
        } else if self.waiting.len() >= usize::from(self.limits.calls)
            || self.waiting_bytes.saturating_add(bytes) > self.limits.call_bytes
        {
            Some(NotSent::Full)
        } else {
            None
        };
        if let Some(refused) = refused {
            self.counters.calls_not_sent = self.counters.calls_not_sent.saturating_add(1);
            return Err(refused);
        }
        self.next_call = self.next_call.saturating_add(1);
        let id = CallId(self.next_call);
        let (slot, answer) = reply();
        self.waiting_bytes = self.waiting_bytes.saturating_add(bytes);
        self.waiting.insert(id, Waiting { asked, deadline, slot });
        Ok((id, answer))
    }

    /// The caller gives up. Says what that leaves: nothing sent, or an unknown outcome.
    pub(crate) fn give_up(&mut self, id: CallId) -> CallError {
        if let Some(waiting) = self.waiting.remove(&id) {
            self.waiting_bytes = self.waiting_bytes.saturating_sub(waiting.asked.bytes());
            self.counters.calls_not_sent = self.counters.calls_not_sent.saturating_add(1);
            return CallError::NotSent(NotSent::Expired);
        }
        if self.sent.remove(&id).is_some() {
            self.counters.calls_unknown = self.counters.calls_unknown.saturating_add(1);
        }
        CallError::Unknown(Unknown::Expired)
    }

    /// An answer has come.
    pub(crate) fn answered(&mut self, response: Response) {
        let Some(slot) = self.sent.remove(&response.id) else {
            self.counters.late_answers = self.counters.late_answers.saturating_add(1);
            return;
        };
        slot.fill(self.outcome(response.answer));
    }

    fn outcome(&mut self, answer: Answer) -> Outcome {
        match answer {
            Ok(payload) => Ok(payload),
            Err(refusal) if refusal.code == RefusalCode::ANSWER_LOST => {
                self.counters.calls_unknown = self.counters.calls_unknown.saturating_add(1);
                Err(CallError::Unknown(Unknown::AnswerLost))
            }
            Err(refusal) => Err(CallError::Refused(refusal)),
        }
    }

    /// The next write carries this ping; one that still waits is replaced.
    pub(crate) fn ping(&mut self, ping: Ping) {
        self.ping = Some(ping);
    }

    /// Moves what waits into frames, a ping first, then messages and calls by turns, up to about the limit of a write.
    pub(crate) fn fill(&mut self, frames: &mut FrameBuffer, now: u64) {
        if let Some(ping) = self.ping.take() {
            frames.push(FrameKind::Ping, |out| ping.encode(out));
        }
        let mut before = None;
        loop {
            let left = (self.messages.len(), self.waiting.len());
            if frames.len() >= self.limits.burst_bytes || before == Some(left) {
                return;
            }
            before = Some(left);
            self.fill_messages(frames);
            self.fill_call(frames, now);
        }
    }

    fn fill_messages(&mut self, frames: &mut FrameBuffer) {
        let limit = self.frame_bytes.min(self.limits.burst_bytes);
        let (mut bytes, mut count) = (BATCH_HEADER_BYTES, 0_usize);
        for message in self.messages.iter().take(MAX_MESSAGES) {
            let with = bytes.saturating_add(message.encoded_len());
            // One message alone may be as large as a frame of the peer's.
            if count > 0 && with > limit {
                break;
            }
            bytes = with;
            count = count.saturating_add(1);
        }
        if count == 0 {
            return;
        }
        let batch: Vec<GroupMessage> = self.messages.drain(..count).collect();
        self.message_bytes = self.message_bytes.saturating_sub(bytes.saturating_sub(BATCH_HEADER_BYTES));
        if bytes > self.frame_bytes {
            // Queued for a link whose peer accepted larger frames.
            self.counters.dropped_too_large = self.counters.dropped_too_large.saturating_add(count as u64);
            return;
        }
        self.counters.messages_sent = self.counters.messages_sent.saturating_add(count as u64);
        frames.push(FrameKind::Messages, |out| encode_messages(&batch, out));
    }

    fn fill_call(&mut self, frames: &mut FrameBuffer, now: u64) {
        if self.sent.len() >= self.credit {
            return;
        }
        let Some((id, waiting)) = self.waiting.pop_first() else { return };
        let bytes = waiting.asked.bytes();
        self.waiting_bytes = self.waiting_bytes.saturating_sub(bytes);
        let timeout_micros = waiting.deadline.saturating_sub(now);
        let refused = if timeout_micros == 0 {
            Some(NotSent::Expired)
        } else if bytes > self.frame_bytes {
            Some(NotSent::TooLarge)
        } else {
            None
        };
        if let Some(refused) = refused {
            self.counters.calls_not_sent = self.counters.calls_not_sent.saturating_add(1);
            waiting.slot.fill(Err(CallError::NotSent(refused)));
            return;
        }
        match waiting.asked {
            Asked::Call { kind, payload } => {
                frames.push(FrameKind::Request, |out| Request { id, timeout_micros, kind, payload }.encode(out));
            }
            Asked::Chunk(chunk) => frames.push(FrameKind::Chunk, |out| chunk.encode(id, timeout_micros, out)),
        }
        self.sent.insert(id, waiting.slot);
    }

    /// What waits: messages, their bytes, calls, their bytes; and calls whose answer is awaited.
    pub(crate) fn depth(&self) -> QueueDepth {
        QueueDepth {
            messages: self.messages.len(),
            message_bytes: self.message_bytes,
            calls: self.waiting.len(),
            call_bytes: self.waiting_bytes,
            unanswered: self.sent.len(),
        }
    }
}

/// How full the queues to a peer are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Group messages that wait.
    pub messages: usize,
    /// Their bytes, encoded.
    pub message_bytes: usize,
    /// Calls that wait to be sent.
    pub calls: usize,
    /// Their bytes.
    pub call_bytes: usize,
    /// Calls that were sent and are not answered.
    pub unanswered: usize,
}
