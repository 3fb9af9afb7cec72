//! The `highwater` shell: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(highwater_cli::run(&highwater_cli::Args::of_program()))
}
