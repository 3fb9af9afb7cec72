//! What waits to be sent by the side that was connected to: answers to calls and to pings. Pure.
//!
//! At most [`Limits::calls`] calls are at work at a time, with at most [`Limits::call_bytes`] of payload; further ones are refused
//! as busy before they are begun. Answers that would be more than [`Limits::answer_bytes`] while others wait, or that the
//! caller could not take, become the refusal that the outcome is unknown: nothing is ever lost in silence.

use std::collections::VecDeque;

use super::call::{Answer, Refusal, RefusalCode, Response};
use super::frame::FrameKind;
use super::framed::FrameBuffer;
use super::ids::CallId;
use super::limits::Limits;
use super::ping::Pong;

/// The answers of one link.
#[derive(Debug)]
pub(crate) struct Answers {
    limits: Limits,
    /// Largest payload that the caller accepts.
    frame_bytes: usize,
    pong: Option<Pong>,
    waiting: VecDeque<Response>,
    waiting_bytes: usize,
    at_work: usize,
    at_work_bytes: usize,
    pub(crate) busy: u64,
    pub(crate) lost: u64,
}

impl Answers {
    pub(crate) fn new(limits: Limits, frame_bytes: u32) -> Self {
        Self {
            limits,
            frame_bytes: usize::try_from(frame_bytes).unwrap_or(usize::MAX),
            pong: None,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            at_work: 0,
            at_work_bytes: 0,
            busy: 0,
            lost: 0,
        }
    }

    /// Whether a call of so many bytes may begin. One that may not is answered as busy.
    pub(crate) fn begin(&mut self, id: CallId, bytes: usize) -> bool {
        let calls = self.at_work.saturating_add(self.waiting.len());
        let fits = calls < usize::from(self.limits.calls)
            && (self.at_work == 0 || self.at_work_bytes.saturating_add(bytes) <= self.limits.call_bytes);
        if fits {
            self.at_work = self.at_work.saturating_add(1);
            self.at_work_bytes = self.at_work_bytes.saturating_add(bytes);
        } else {
            self.busy = self.busy.saturating_add(1);
            self.push(id, Err(Refusal::new(RefusalCode::BUSY, "this node works on as many calls as it may")));
        }
        fits
    }

    /// A call that was begun with so many bytes is answered.
    pub(crate) fn finish(&mut self, id: CallId, bytes: usize, answer: Answer) {
        self.at_work = self.at_work.saturating_sub(1);
        self.at_work_bytes = self.at_work_bytes.saturating_sub(bytes);
        self.push(id, answer);
    }

    fn push(&mut self, id: CallId, answer: Answer) {
        let mut response = Response { id, answer };
        let bytes = response.encoded_len();
        let crowded = !self.waiting.is_empty() && self.waiting_bytes.saturating_add(bytes) > self.limits.answer_bytes;
        if bytes > self.frame_bytes || crowded {
            self.lost = self.lost.saturating_add(1);
            response.answer = Err(Refusal::new(RefusalCode::ANSWER_LOST, "the answer is too large to be sent"));
        }
        self.waiting_bytes = self.waiting_bytes.saturating_add(response.encoded_len());
        self.waiting.push_back(response);
    }

    /// Whether so many answers wait that nothing more should be read before some are sent.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() > usize::from(self.limits.calls)
    }

    /// The next write carries this answer to a ping; an older one that still waits is replaced.
    pub(crate) fn pong(&mut self, pong: Pong) {
        self.pong = Some(pong);
    }

    /// Moves what waits into frames, up to about the limit of a write.
    pub(crate) fn fill(&mut self, frames: &mut FrameBuffer) {
        if let Some(pong) = self.pong.take() {
            frames.push(FrameKind::Pong, |out| pong.encode(out));
        }
        while frames.len() < self.limits.burst_bytes {
            let Some(response) = self.waiting.pop_front() else { return };
            self.waiting_bytes = self.waiting_bytes.saturating_sub(response.encoded_len());
            frames.push(FrameKind::Response, |out| response.encode(out));
        }
    }
}
