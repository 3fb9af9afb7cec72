//! `highwater-inspect`: see the library.

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = highwater_inspect::Args::parse();
    let (out, error, code) = highwater_inspect::run(&args);
    highwater_inspect::say(&out, &error);
    ExitCode::from(code)
}
