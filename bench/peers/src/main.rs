//! # Highwater's engine beside RocksDB, fjall and redb
//!
//! One run compares all of them on this machine, in turns, under the same sizes, and says for each target whether it is met.
//! Every engine has a process of its own ([`worker`]); this one directs them ([`director`]) and reports ([`report`]).
#![allow(
    async_fn_in_trait,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "futures stay on the thread that makes them, figures are rounded when they are shown, and this program is \
              about real clocks, threads and files"
)]

mod director;
mod engine;
mod failure;
mod keys;
mod large;
mod measure;
mod plan;
mod protocol;
mod report;
mod threads;
mod worker;
mod workload;

use std::process::ExitCode;

use clap::Parser;

use failure::Failure;
use plan::{Arguments, Command};

fn main() -> ExitCode {
    match start(&Arguments::parse().resolved()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("highwater-bench-peers: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.command {
        Some(Command::Engine { name }) => worker::serve(*name),
        Some(Command::List) => {
            for workload in workload::ALL {
                println!("{:18} target {:.1}  {:?}", workload.name, workload.target, workload.data);
            }
            Ok(())
        }
        Some(Command::OverwriteLarge { live_bytes, overwrite_bytes, value_bytes, clients, cache_bytes, engine }) => {
            let sizes = large::Sizes {
                live_bytes: *live_bytes,
                overwrite_bytes: *overwrite_bytes,
                value_bytes: *value_bytes,
                clients: *clients,
                cache_bytes: *cache_bytes,
            };
            large::run(arguments, *engine, &sizes)
        }
        None => {
            let report = report::Report::new(&director::compare(arguments)?);
            if arguments.json {
                report.print_json();
            } else {
                report.print();
            }
            Ok(())
        }
    }
}
