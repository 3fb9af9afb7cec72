//! What the tests of the front share: a catalog, a short way to write plans down, and the caret.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod caret;
pub mod fixture;
pub mod show;
