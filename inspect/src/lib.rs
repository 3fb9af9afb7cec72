//! # highwater-inspect: a store's files, shown and verified offline
//!
//! Owns the reading of closed files through memory maps, their walk behind damage, the cross checks of manifest, tables and log,
//! and the output for people and as JSON. Formats are decoded by the engine's own decoders only.
//!
//! Must never: write to a data folder, or decide otherwise than the engine's recovery does about what is damaged.
#![deny(unsafe_code)]
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a tool of its own that reads closed files; nothing of it is simulated"
)]

mod args;
mod folder;
mod lock;
mod log;
mod manifest;
mod mapping;
mod render;
mod report;
mod stats;
mod table;
mod verify;

use std::io::Write as _;

pub use args::{Args, Command};

use folder::{Refusal, stores};
use report::Report;

/// Exit code when damage was found.
pub const EXIT_DAMAGE: u8 = 1;
/// Exit code when nothing could be inspected.
pub const EXIT_REFUSED: u8 = 2;

/// Does what was asked. Returns what goes to standard output, what goes to standard error, and the exit code: 0 when nothing is
/// damaged, [`EXIT_DAMAGE`], [`EXIT_REFUSED`].
#[must_use]
pub fn run(args: &Args) -> (String, String, u8) {
    match inspect(args) {
        Ok(report) => {
            let code = if report.damages.is_empty() { 0 } else { EXIT_DAMAGE };
            let out = if args.json { render::json(&report) } else { render::human(&report) };
            (out, String::new(), code)
        }
        Err(refusal) => (String::new(), format!("highwater-inspect: {refusal}\n"), EXIT_REFUSED),
    }
}

fn inspect(args: &Args) -> Result<Report, Refusal> {
    let path = args.command.path();
    let mut report = Report::new(args.command.word());
    let lock = lock::hold(path, args.force_read_only_while_running)?;
    if let lock::Held::ByServer(holder) = &lock {
        report.note(format!(
            "{holder} is running on these files: they change while they are read, so damage that is shown may be none"
        ));
    }
    match &args.command {
        Command::Log(options) if path.is_file() => log::segment(&mut report, options)?,
        Command::Log(options) => {
            for store in stores(path)? {
                log::store(&mut report, &store, options)?;
            }
        }
        Command::Table(options) => table::show(&mut report, options)?,
        Command::Manifest { .. } => {
            for store in stores(path)? {
                manifest::show(&mut report, &store)?;
            }
        }
        Command::Verify { .. } => {
            for store in stores(path)? {
                verify::store(&mut report, &store)?;
            }
        }
        Command::Stats { .. } => {
            for store in stores(path)? {
                stats::store(&mut report, &store)?;
            }
        }
    }
    Ok(report)
}

/// Writes both texts to where they belong; closed ends (`| head`) are no error.
pub fn say(out: &str, error: &str) {
    let _ = std::io::stdout().lock().write_all(out.as_bytes());
    let _ = std::io::stderr().lock().write_all(error.as_bytes());
}
