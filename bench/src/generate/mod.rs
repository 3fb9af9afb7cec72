//! Generated statements: queries of all forms and changes of rows, over a few tables, drawn from a seed.
//!
//! Equal seeds give equal statements. What answers them is the callers' business.

pub mod expression;
pub mod statement;
pub mod tables;
mod wide;
