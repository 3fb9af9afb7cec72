//! Frames: which rows of its partition a row's window function sees.

use std::ops::Range;

use crate::diag::{Diag, SqlState};
use crate::expr::Expr;
use crate::pipeline::compare_keys;
use crate::plan::{Frame, FrameBound, FrameUnit, SortKey};
use crate::value::Value;

/// The rows of one partition in their order, cut into groups of peers.
pub(super) struct Partition<'p> {
    places: &'p [usize],
    keys: &'p [Vec<Value>],
    order_by: &'p [SortKey],
    /// The group of each row.
    group_of: Vec<usize>,
    /// Where groups begin, and the number of rows.
    starts: Vec<usize>,
}

impl<'p> Partition<'p> {
    /// The rows as they are; [`Partition::go_on`] cuts them.
    pub(super) fn new(places: &'p [usize], keys: &'p [Vec<Value>], order_by: &'p [SortKey]) -> Self {
        Self { places, keys, order_by, group_of: Vec::with_capacity(places.len()), starts: vec![] }
    }

    /// Looks at the next rows, at most so many; whether all of them are cut into groups.
    pub(super) fn go_on(&mut self, most: usize) -> bool {
        let from = self.group_of.len();
        for at in (from..self.places.len()).take(most) {
            let is_peer = at > 0 && compare_keys(self.order_by, self.key(at - 1), self.key(at)).is_eq();
            if !is_peer {
                self.starts.push(at);
            }
            self.group_of.push(self.starts.len() - 1);
        }
        let is_whole = self.group_of.len() == self.places.len();
        if is_whole {
            self.starts.push(self.places.len());
        }
        is_whole
    }

    fn key(&self, at: usize) -> &[Value] {
        self.places.get(at).and_then(|place| self.keys.get(*place)).map(Vec::as_slice).unwrap_or_default()
    }

    /// Where the peers of a row begin and end, and the number of their group.
    pub(super) fn peers(&self, at: usize) -> (usize, usize, usize) {
        let group = self.group_of.get(at).copied().unwrap_or_default();
        (self.start_of(group), self.start_of(group + 1), group)
    }

    /// Where a group begins; the end of the partition behind the last.
    fn start_of(&self, group: usize) -> usize {
        self.starts.get(group).copied().unwrap_or(self.places.len())
    }

    /// The first row whose one ORDER BY value is not before `bound`, or with `behind` is behind it.
    fn first(&self, bound: &Value, behind: bool) -> usize {
        let (mut from, mut to) = (0, self.places.len());
        while from < to {
            let middle = from + (to - from) / 2;
            let ordering = compare_keys(self.order_by, self.key(middle), std::slice::from_ref(bound));
            if ordering.is_lt() || (behind && ordering.is_eq()) {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        from
    }
}

/// A frame's bounds, their constant parts known.
pub(super) struct Frames<'f> {
    frame: &'f Frame,
    start: usize,
    end: usize,
}

impl<'f> Frames<'f> {
    pub(super) fn new(frame: &'f Frame, evaluate: impl Fn(&Expr) -> Result<Value, Diag>) -> Result<Self, Diag> {
        let offset = |bound: &FrameBound| match (frame.unit, bound) {
            (FrameUnit::Rows | FrameUnit::Groups, FrameBound::Preceding(expr) | FrameBound::Following(expr)) => {
                evaluate(expr)?.as_i64().and_then(|count| usize::try_from(count).ok()).ok_or_else(|| {
                    Diag::new(
                        SqlState::INVALID_PARAMETER,
                        "the offset of a frame must be a whole number that is not negative, nor NULL",
                    )
                })
            }
            _ => Ok(0),
        };
        Ok(Self { frame, start: offset(&frame.start)?, end: offset(&frame.end)? })
    }

    /// The frame of a row.
    pub(super) fn of(
        &self,
        at: usize,
        partition: &Partition<'_>,
        evaluate: impl Fn(&Expr) -> Result<Value, Diag>,
    ) -> Result<Range<usize>, Diag> {
        let count = partition.places.len();
        let (peers_from, peers_to, group) = partition.peers(at);
        let unit = self.frame.unit;
        let range_bound = |expr: &Expr, behind: bool| -> Result<usize, Diag> {
            let bound = evaluate(expr)?;
            Ok(if bound.is_null() {
                if behind { peers_to } else { peers_from }
            } else {
                partition.first(&bound, behind)
            })
        };
        let start = match (&self.frame.start, unit) {
            (FrameBound::Unbounded, _) => 0,
            (FrameBound::Current, FrameUnit::Rows) => at,
            (FrameBound::Current, FrameUnit::Range | FrameUnit::Groups) => peers_from,
            (FrameBound::Preceding(_), FrameUnit::Rows) => at.saturating_sub(self.start),
            (FrameBound::Following(_), FrameUnit::Rows) => at.saturating_add(self.start),
            (FrameBound::Preceding(_), FrameUnit::Groups) => partition.start_of(group.saturating_sub(self.start)),
            (FrameBound::Following(_), FrameUnit::Groups) => partition.start_of(group.saturating_add(self.start)),
            (FrameBound::Preceding(expr) | FrameBound::Following(expr), FrameUnit::Range) => range_bound(expr, false)?,
        };
        let end = match (&self.frame.end, unit) {
            (FrameBound::Unbounded, _) => count,
            (FrameBound::Current, FrameUnit::Rows) => at + 1,
            (FrameBound::Current, FrameUnit::Range | FrameUnit::Groups) => peers_to,
            (FrameBound::Preceding(_), FrameUnit::Rows) => (at + 1).saturating_sub(self.end),
            (FrameBound::Following(_), FrameUnit::Rows) => at.saturating_add(self.end).saturating_add(1),
            (FrameBound::Preceding(_), FrameUnit::Groups) => {
                (group + 1).checked_sub(self.end).map_or(0, |group| partition.start_of(group))
            }
            (FrameBound::Following(_), FrameUnit::Groups) => {
                partition.start_of(group.saturating_add(self.end).saturating_add(1))
            }
            (FrameBound::Preceding(expr) | FrameBound::Following(expr), FrameUnit::Range) => range_bound(expr, true)?,
        };
        let end = end.min(count);
        Ok(start.min(end)..end)
    }
}
