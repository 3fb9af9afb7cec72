//! A version: the set of tables at one moment.
use std::collections::VecDeque;
use std::marker::PhantomData;

use highwater_runtime::Env;

use super::Entry;
use super::cursor::{Direction, Span};
use super::tombstone::RangeTombstones;
use crate::error::EngineError;

pub(crate) struct Version<E: Env> {
    pub(crate) env: PhantomData<E>,
}

pub(crate) struct RunFeed<E: Env> {
    env: PhantomData<E>,
}

impl<E: Env> RunFeed<E> {
    pub(crate) async fn fetch(&mut self, _span: &Span, _out: &mut VecDeque<Entry>) -> Result<bool, EngineError> {
        Ok(false)
    }
}

impl<E: Env> Version<E> {
    pub(crate) fn feeds(&self, _span: &Span, _direction: Direction) -> Vec<RunFeed<E>> {
        Vec::new()
    }
    pub(crate) fn tombstoned<'a>(&'a self, _key: &'a [u8]) -> impl Iterator<Item = &'a RangeTombstones> + 'a {
        std::iter::empty()
    }
}
