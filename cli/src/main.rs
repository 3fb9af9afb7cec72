//! The `highwater` shell: see the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    ExitCode::from(highwater_cli::run(&highwater_cli::Args::parse()))
}
