//! # Compaction: keeping the tree shallow and free of what nobody can see
//!
//! Owns what to do next ([`controller`], with [`leveled`], [`lazy`] and [`retire`]), how large levels should be ([`sizes`]), how fast to
//! go ([`pace`]), what fits on the disk ([`room`]), what of the merged versions stays ([`retention`], with the groups' [`clock`]) and the merge itself ([`merge`]). All
//! but the merge are pure: no I/O, no time, the same answer for the same tree.

pub(crate) mod clock;
pub(crate) mod controller;
#[cfg(test)]
mod drawing;
mod lazy;
mod leveled;
pub(crate) mod merge;
pub(crate) mod pace;
pub(crate) mod retention;
mod retire;
pub(crate) mod room;
pub(crate) mod sizes;
