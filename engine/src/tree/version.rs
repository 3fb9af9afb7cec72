//! A version: the tables of all levels at one moment, never changed.

use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::Env;

use super::Lookup;
use super::cache::BlockCache;
use super::cursor::{Direction, Span};
use super::run::RunFeed;
use super::table::{Table, filter};
use super::tombstone::RangeTombstones;
use crate::error::EngineError;
use crate::ids::{Expiry, Seq};
use crate::manifest::{ManifestState, TableMeta};

/// The tables at one moment.
pub(crate) struct Version<E: Env> {
    /// Level 0 newest first, the others in key order.
    pub(crate) levels: Vec<Vec<Rc<Table<E>>>>,
    cache: Rc<BlockCache>,
}

impl<E: Env> Version<E> {
    /// The version that the manifest describes, made of open tables.
    /// `None` when one of them is not open: a defect of the caller.
    pub(crate) fn of(state: &ManifestState, open: &[Rc<Table<E>>], cache: Rc<BlockCache>) -> Option<Self> {
        let find = |meta: &TableMeta| open.iter().find(|table| table.meta.table == meta.table).cloned();
        let level = |metas: &Vec<TableMeta>| metas.iter().map(find).collect::<Option<Vec<_>>>();
        let levels = state.levels.iter().map(level).collect::<Option<Vec<_>>>()?;
        Some(Self { levels, cache })
    }

    pub(crate) fn tables(&self) -> impl Iterator<Item = &Rc<Table<E>>> {
        self.levels.iter().flatten()
    }

    /// The tables that speak of `key`, newest first.
    fn candidates<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a Rc<Table<E>>> + 'a {
        self.levels.iter().enumerate().flat_map(move |(level, tables)| {
            let from = if level == 0 { 0 } else { tables.partition_point(|table| table.meta.end.as_ref() <= key) };
            let upto = if level == 0 { tables.len() } else { tables.len().min(from + 1) };
            let nearby = tables.get(from..upto).unwrap_or_default();
            nearby.iter().filter(move |table| table.meta.start.as_ref() <= key && table.meta.end.as_ref() > key)
        })
    }

    /// The value of `key` at `at`, and when it has expired.
    pub(crate) async fn get(&self, key: &[u8], at: Seq) -> Result<Option<(Bytes, Expiry)>, EngineError> {
        let hash = filter::hash(key);
        for table in self.candidates(key) {
            match table.get(&self.cache, key, hash, at).await? {
                Lookup::Found(value, expires_at) => return Ok(Some((value, expires_at))),
                Lookup::Deleted => return Ok(None),
                Lookup::Unknown => {}
            }
        }
        Ok(None)
    }

    /// The range deletes of every table that speaks of `key`.
    pub(crate) fn tombstoned<'a>(&'a self, key: &'a [u8]) -> impl Iterator<Item = &'a RangeTombstones> + 'a {
        self.candidates(key).map(|table| &table.tombstones).filter(|tombstones| !tombstones.is_empty())
    }

    /// What a cursor over `span` reads: each table of level 0, and each other level.
    pub(crate) fn feeds(&self, span: &Span, direction: Direction) -> Vec<RunFeed<E>> {
        let mut feeds = Vec::new();
        for (level, tables) in self.levels.iter().enumerate() {
            let end = span.end.as_deref();
            let overlapping = tables.iter().filter(|table| table.meta.overlaps(&span.start, end)).cloned();
            if level == 0 {
                feeds.extend(overlapping.map(|table| RunFeed::new(vec![table], direction, Some(&self.cache))));
            } else {
                let mut run: Vec<_> = overlapping.collect();
                if direction == Direction::Reverse {
                    run.reverse();
                }
                if !run.is_empty() {
                    feeds.push(RunFeed::new(run, direction, Some(&self.cache)));
                }
            }
        }
        feeds
    }
}
