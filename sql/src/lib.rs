//! # The SQL dialect
//!
//! Owns values and types, the parser of the dialect, the binder and planner, bound expressions and their evaluation, row and
//! key encodings, and the operators of reads. Pure: no I/O, no clock, no randomness; what is volatile comes in through the
//! evaluation context. Must never depend on another crate of the house.

pub mod access;
pub mod aggregate;
pub mod bind;
pub mod cast;
pub mod catalog;
pub mod datetime;
pub mod decimal;
pub mod definition;
pub mod diag;
mod dialect;
pub mod embedding;
pub mod eval;
pub mod execute;
pub mod explain;
pub mod expr;
mod grammar;
pub mod interval;
pub mod json;
pub mod key;
mod lexer;
pub mod limits;
pub mod memory;
pub mod order;
pub mod outline;
pub mod parse;
pub mod pipeline;
pub mod plan;
pub mod row;
mod runs;
pub mod session;
mod statement;
pub mod suggest;
pub mod system;
#[cfg(test)]
mod testing;
pub mod uuid;
pub mod value;
