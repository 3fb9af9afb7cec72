//! # The `highwater` shell
//!
//! A client program: it reads statements and commands from its arguments, files, standard input or a prompt, sends them to a
//! server over HTTP, and draws what comes back. It owns how results, errors and messages look, and the exit codes that
//! scripts rely on. Must never: decide what a statement means, or change a value that it prints as JSON.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a client program: it talks to the world itself and is not simulated"
)]

mod answer;
mod args;
mod command;
mod connection;
mod consume;
mod contexts;
mod copy;
mod describe;
mod doctor;
mod failure;
mod help;
mod output;
mod password;
mod profile;
mod progress;
mod prompt;
mod render;
mod run;
mod session;
mod show;
mod statements;
mod stream;
mod terminal;
mod timing;
mod variables;

pub use args::Args;
pub use failure::{Failure, exit};
pub use run::run;
