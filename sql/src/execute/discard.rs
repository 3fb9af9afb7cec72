//! Giving back what a query held, in portions: what a join or a set operation has kept is as many pieces of memory as rows.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::apply::Answer;
use super::index::Index;
use super::{Executor, Later, Pace, Rows, Source};
use crate::value::Row;

impl<S: Source> Executor<'_, S> {
    /// Drops items one by one.
    pub(super) async fn discard<T>(&self, items: impl IntoIterator<Item = T>) -> Result<(), S::Error> {
        let mut pace = Pace::default();
        for item in items {
            drop(item);
            pace.step(self.source).await?;
        }
        Ok(())
    }

    /// Drops rows that nobody else has.
    pub(super) async fn discard_shared(&self, rows: Option<Rc<Vec<Row>>>) -> Result<(), S::Error> {
        match rows.and_then(Rc::into_inner) {
            Some(rows) => self.discard(rows).await,
            None => Ok(()),
        }
    }

    /// Drops what a relation holds.
    pub(super) fn shut<'f, 'p: 'f>(&'f self, rows: Rows<'p>) -> Later<'f, (), S::Error> {
        Box::pin(async move {
            match rows {
                Rows::Here(rows) => self.discard(rows).await,
                Rows::Items(rows) => self.discard(rows).await,
                Rows::Common(..) | Rows::Series(_) => Ok(()),
                Rows::Filter(input, ..) | Rows::Watched(input, _) => self.shut(*input).await,
                Rows::Join(join) => {
                    self.discard_index(Some(join.right)).await?;
                    self.shut(join.left).await
                }
                Rows::Apply(apply) => {
                    for (_, answer) in apply.answers.into_iter().flatten() {
                        if let Some(Answer::Candidates(candidates)) = Rc::into_inner(answer) {
                            self.discard(candidates.rows).await?;
                            self.discard(candidates.whole).await?;
                            self.discard(candidates.partial).await?;
                        }
                    }
                    self.shut(apply.input).await
                }
                Rows::Lateral(lateral) => self.shut(lateral.left).await,
                Rows::Chain(parts) => {
                    for part in parts {
                        self.shut(part).await?;
                    }
                    Ok(())
                }
            }
        })
    }

    /// Drops what was kept of WITH for the whole statement, but for these.
    pub(super) async fn forget_kept(&self, shared: &BTreeSet<u32>) -> Result<(), S::Error> {
        for (_, kept) in taken(&self.shared, shared) {
            self.discard_shared(Some(kept.rows)).await?;
        }
        Ok(())
    }

    /// Drops what subqueries looked rows up in.
    pub(super) async fn forget_indexes(&self) -> Result<(), S::Error> {
        for (_, index) in taken(&self.indexes, &BTreeSet::new()) {
            self.discard_index(Some(index)).await?;
        }
        Ok(())
    }

    /// Drops an index that nobody else has.
    pub(super) async fn discard_index(&self, index: Option<Rc<Index>>) -> Result<(), S::Error> {
        if let Some(index) = index.and_then(Rc::into_inner) {
            self.discard(index.rows).await?;
            self.discard(index.places).await?;
        }
        Ok(())
    }
}

/// What a map has besides these keys; it is no longer in it.
fn taken<T>(map: &RefCell<BTreeMap<u32, T>>, but: &BTreeSet<u32>) -> BTreeMap<u32, T> {
    let mut map = map.borrow_mut();
    let (stays, goes) = std::mem::take(&mut *map).into_iter().partition(|(key, _)| but.contains(key));
    *map = stays;
    goes
}
