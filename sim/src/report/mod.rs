//! The report of one simulated run for people: a page with a timeline, made from the lines of its trace.
//!
//! A trace line is `seconds.micros who what`, as `highwater-sim replay` prints it; [`event`] reads what a picture can show, [`timeline`]
//! turns events into lanes, [`page`] draws them. Pure: text in, text out. The page needs nothing from elsewhere.

mod drawing;
pub mod event;
pub mod page;
pub mod timeline;

pub use page::html;
