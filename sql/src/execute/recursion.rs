//! WITH RECURSIVE: rounds, each over the rows that the round before gave, until one gives nothing new.
//!
//! All rows are held, within the limits of the statement; a query that does not come to its end is refused after a number of rounds.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use super::{Executor, Pace, Params, Source, size};
use crate::diag::{Diag, SqlState};
use crate::limits::MAX_RECURSION;
use crate::plan::Recursive;
use crate::value::{Row, SortValue};

impl<S: Source> Executor<'_, S> {
    /// The rows of all rounds.
    pub(super) async fn recursive(&self, recursive: &Recursive, params: &Params) -> Result<Vec<Row>, S::Error> {
        let Recursive { id, name, first, step, all } = recursive;
        let held = self.hold();
        let mut pace = Pace::default();
        let mut known: BTreeSet<Vec<SortValue>> = BTreeSet::new();
        let mut rows: Vec<Row> = Vec::new();
        let mut fresh = self.query(first, Arc::clone(params)).await?;
        for round in 0.. {
            if !*all {
                let mut unknown = Vec::new();
                for row in fresh {
                    if known.insert(row.iter().cloned().map(SortValue::same).collect()) {
                        unknown.push(row);
                    }
                    pace.step(self.source).await?;
                }
                fresh = unknown;
            }
            if fresh.is_empty() {
                break;
            }
            if round >= MAX_RECURSION {
                let message =
                    format!("the recursive query \"{name}\" does not come to its end within {MAX_RECURSION} rounds");
                return Err(Diag::new(SqlState::PROGRAM_LIMIT, message)
                    .hint("Give its recursive part a condition that ends it; UNION instead of UNION ALL ends cycles.")
                    .into());
            }
            for row in &fresh {
                held.add("a recursive query", size(row))?;
                rows.push(row.clone());
                pace.step(self.source).await?;
            }
            let before = self.working.borrow_mut().insert(*id, Rc::new(fresh));
            self.discard_shared(before).await?;
            // What WITH names may hold rows of the round.
            let shared: BTreeSet<u32> = self.shared.borrow().keys().copied().collect();
            fresh = self.again(step, Arc::clone(params)).await?;
            self.forget_kept(&shared).await?;
            self.source.pause().await?;
        }
        let last = self.working.borrow_mut().remove(id);
        self.discard_shared(last).await?;
        self.discard(known).await?;
        Ok(rows)
    }
}
