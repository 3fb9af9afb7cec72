//! A stable sort that gives the core away between its steps.

use std::cmp::Ordering;

use crate::execute::{Pace, Source};

/// Items that are sorted in one go.
const RUN: usize = 256;

/// The items in order; equal ones keep theirs.
pub(super) async fn sorted<S: Source, T: Copy>(
    source: &S,
    mut items: Vec<T>,
    compare: &impl Fn(&T, &T) -> Ordering,
) -> Result<Vec<T>, S::Error> {
    for run in items.chunks_mut(RUN) {
        run.sort_by(compare);
        source.pause().await?;
    }
    let mut pace = Pace::default();
    let mut width = RUN;
    while width < items.len() {
        let mut merged = Vec::with_capacity(items.len());
        for pair in items.chunks(width * 2) {
            let (left, right) = pair.split_at(width.min(pair.len()));
            let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
            loop {
                let from_right = match (left.peek(), right.peek()) {
                    (Some(l), Some(r)) => compare(r, l).is_lt(),
                    (None, Some(_)) => true,
                    (Some(_), None) => false,
                    (None, None) => break,
                };
                merged.extend(if from_right { right.next() } else { left.next() });
                pace.step(source).await?;
            }
        }
        items = merged;
        width *= 2;
    }
    Ok(items)
}
