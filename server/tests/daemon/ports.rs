//! Ports for nodes whose addresses others must know before they run.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below the ports that the kernel gives to who asks for any (32768 and up): no connection and no other server has one by chance.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

/// So many ports that nobody has at the moment, in a row. None is given twice by this process: a node that is down keeps its own, and another
/// test's node at the same port would be taken for it.
pub fn in_a_row(count: u16) -> Vec<u16> {
    static GIVEN: AtomicU16 = AtomicU16::new(0);
    // Elsewhere for each process, as several may test at once.
    let begin = u16::try_from(std::process::id().wrapping_mul(251) % u32::from(COUNT)).unwrap();
    loop {
        let given = GIVEN.fetch_add(count, Ordering::Relaxed);
        assert!(given < COUNT - count, "all ports for tests were given");
        let first = FIRST + (begin + given) % (COUNT - count);
        let ports: Vec<u16> = (first..first + count).collect();
        if ports.iter().all(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()) {
            return ports;
        }
    }
}

/// One such port.
pub fn free() -> u16 {
    in_a_row(1)[0]
}
