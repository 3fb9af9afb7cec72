//! Files of reports: reads a trace, writes a page.
#![allow(
    clippy::disallowed_methods,
    reason = "a command of the command line: it reads and writes the files that it is told to"
)]

use std::path::Path;

use highwater_sim::report::html;
use highwater_sim::report::page::Texts;

/// Writes the page of a run whose trace was kept.
///
/// # Errors
/// The trace cannot be read, or the page not be written.
pub fn of_trace(trace: &Path, page: &Path) -> Result<(), String> {
    let text = std::fs::read_to_string(trace).map_err(|error| format!("{}: {error}", trace.display()))?;
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let verdict = lines.iter().find(|line| line.starts_with("seed ")).cloned().unwrap_or_default();
    write(&Texts { title: format!("Simulated run of {}", trace.display()), verdict, ..Texts::default() }, &lines, page)
}

/// Writes the page of a run with these trace lines.
///
/// # Errors
/// The page cannot be written.
pub fn write(texts: &Texts, trace: &[String], page: &Path) -> Result<(), String> {
    std::fs::write(page, html(texts, trace)).map_err(|error| format!("{}: {error}", page.display()))
}
