//! # Compaction: keeping the tree shallow and free of what nobody can see
//!
//! Owns the choice of what to merge ([`picker`]), what of it stays ([`retention`]) and the merge itself ([`merge`]).
//! The first two are pure.

pub(crate) mod merge;
pub(crate) mod picker;
pub(crate) mod retention;
