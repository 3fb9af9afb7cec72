//! Clients of the engines that are called from threads.

use std::thread;
use std::time::Duration;

use futures_lite::future::block_on;

use super::Engine;
use crate::failure::Failure;
use crate::threads::{CLIENT, pin_here};
use crate::workload::client::{Client, Trip, run};

/// Runs each client on a thread of its own, all of them pinned to one processor.
pub fn drive<E: Engine + Send>(engine: &E, cpu: usize, clients: Vec<Client>) -> Result<Vec<Trip>, Failure> {
    let mut threads = Vec::new();
    for client in clients {
        let engine = engine.clone();
        let body = move || {
            pin_here(cpu);
            block_on(run(&engine, client))
        };
        threads.push(thread::Builder::new().name(CLIENT.to_owned()).spawn(body)?);
    }
    let ended = threads.into_iter().map(|thread| thread.join().map_err(|_| Failure::new("a client panicked"))?);
    ended.collect()
}

/// Waits.
pub fn pause(micros: u64) {
    thread::sleep(Duration::from_micros(micros));
}
