//! # highwater-load
//!
//! A load generator for Highwater over HTTP: inserts, selects by key, consumes and mixtures, in a closed loop or by a schedule made
//! before the run, with a check afterwards that what was acknowledged is there, once. Owns the plan of operations, the
//! measuring and the checks. Pure parts (`arrivals`, `plan`, `ledger`, `consumption`, `measure`, `report`) know no network
//! and no clock. Must never: leave an operation out of the figures because the server was slow.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a client program: it talks to the world itself and is not simulated"
)]

/// A generator must leave the machine to the server; see `docs/decisions/allocator.md`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod args;
mod arrivals;
mod client;
mod consumers;
mod consumption;
mod failure;
mod folder;
mod html;
mod lane;
mod ledger;
mod line;
mod measure;
mod mixture;
mod multiplexed;
mod plan;
mod postgres;
mod readback;
mod report;
mod run;
mod schema;
mod stage;
mod sweep;
mod violation;
mod wire;
mod writers;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match run::run(&args::Args::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprint!("{}", failure.text());
            ExitCode::from(failure.code())
        }
    }
}
