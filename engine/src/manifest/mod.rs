//! # The manifest: a log of edits to the set of tables
//!
//! Owns what a store knows of itself: tables by level, up to which entry each group's effects are in them, and where the
//! log begins. Each edit takes effect as a whole. A full manifest is replaced by a new file that begins with a snapshot of the state.
//!
//! Must never: hold an edit that names a file which is not durable, or go on after a failed write (the node stops).

pub mod edit;
mod file;
pub mod frame;

pub(crate) use edit::{Edit, GroupMark, Levels, ManifestState, Place, Run, TableMeta};
pub(crate) use file::{Manifest, number_of, sync_folder};
