//! One direction of a connection: segments under way, in order, and what a reader finds.

use std::collections::VecDeque;
use std::task::Waker;

/// Bytes under way or unread in one direction, beyond which a writer waits.
pub(super) const WINDOW: usize = 256 << 10;

/// What one write put on the wire; without bytes it is the end of the direction.
#[derive(Debug)]
pub(super) struct Segment {
    /// Microseconds at which it is there; `None` while the link is cut.
    pub arrives: Option<u64>,
    pub bytes: Vec<u8>,
    /// Bytes that were read.
    pub read: usize,
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    pub segments: VecDeque<Segment>,
    /// Unread bytes of `segments`.
    pub held: usize,
    /// When the last segment arrives: nothing on one connection overtakes.
    pub last_arrival: u64,
    /// The writer said that nothing more comes.
    pub ended: bool,
    /// The reader waits for bytes.
    pub reader: Option<Waker>,
    /// The writer waits for room.
    pub writer: Option<Waker>,
}

impl Pipe {
    /// Appends a segment.
    pub fn push(&mut self, bytes: Vec<u8>, arrives: Option<u64>) {
        self.held += bytes.len();
        if let Some(at) = arrives {
            self.last_arrival = self.last_arrival.max(at);
        }
        self.segments.push_back(Segment { arrives, bytes, read: 0 });
    }

    /// Moves what has arrived into `target`; how many bytes, or `None` at the end of the direction. Zero means that nothing is there yet.
    pub fn take(&mut self, target: &mut [u8], now: u64) -> Option<usize> {
        let mut count = 0;
        while let Some(segment) = self.segments.front_mut() {
            if segment.arrives.is_none_or(|at| at > now) {
                break;
            }
            if segment.bytes.is_empty() {
                // The end stays, for every further read.
                return if count == 0 { None } else { Some(count) };
            }
            let (Some(from), Some(to)) = (segment.bytes.get(segment.read..), target.get_mut(count..)) else { break };
            let moved = from.len().min(to.len());
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
            segment.read += moved;
            count += moved;
            if segment.read < segment.bytes.len() {
                break;
            }
            self.segments.pop_front();
        }
        self.held -= count;
        Some(count)
    }

    /// When the first segment that is under way arrives.
    pub fn next_arrival(&self) -> Option<u64> {
        self.segments.front().and_then(|segment| segment.arrives)
    }

    /// Whether something waits for the link to be whole again.
    pub fn is_stuck(&self) -> bool {
        self.segments.back().is_some_and(|segment| segment.arrives.is_none())
    }

    /// The link is cut: what has not arrived will be sent again when it is whole. How many segments.
    pub fn hold_back(&mut self, now: u64) -> u64 {
        let mut count = 0;
        for segment in &mut self.segments {
            if segment.arrives.is_some_and(|at| at > now) {
                segment.arrives = None;
                count += 1;
            }
        }
        count
    }

    /// The link is whole again: what was held back arrives from `at` on.
    pub fn release(&mut self, at: u64) {
        for segment in &mut self.segments {
            if segment.arrives.is_none() {
                self.last_arrival = self.last_arrival.max(at);
                segment.arrives = Some(self.last_arrival);
            }
        }
    }

    /// The sender is gone without a word: of what has not arrived only the first `kept` segments do. How many are lost.
    pub fn cut_off(&mut self, now: u64, kept: usize) -> u64 {
        let arrived = self.segments.iter().filter(|segment| segment.arrives.is_some_and(|at| at <= now)).count();
        let under_way = self.segments.iter().filter(|segment| segment.arrives.is_some_and(|at| at > now)).count();
        let keep = arrived + kept.min(under_way);
        let lost = self.segments.len() - keep;
        self.segments.truncate(keep);
        self.held = self.segments.iter().map(|segment| segment.bytes.len() - segment.read).sum();
        self.ended = true;
        lost as u64
    }

    /// How many segments have not arrived.
    pub fn under_way(&self, now: u64) -> usize {
        self.segments.iter().filter(|segment| segment.arrives.is_some_and(|at| at > now)).count()
    }

    /// Nobody reads any more.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.held = 0;
    }
}
