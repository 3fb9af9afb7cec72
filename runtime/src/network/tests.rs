#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::ErrorKind;
use std::task::Waker;

use quickcheck::quickcheck;

use super::*;

const A: Machine = Machine(1);
const B: Machine = Machine(2);
const CORE: CoreId = CoreId(0);

fn network(seed: u64) -> Network {
    let mut network = Network::new(Rng::new(seed));
    network.listen(B, 80, CORE).unwrap();
    network
}

fn connect(network: &mut Network, now: u64) -> ConnectionId {
    let at = network.begin_connect(A, B, now).unwrap();
    let Arrival::Accepted { id, .. } = network.arrive(A, B, 80, at) else { panic!("not accepted") };
    assert_eq!(network.accept(B, 80, CORE, Waker::noop()).unwrap().0, id);
    id
}

fn write(network: &mut Network, id: ConnectionId, side: Side, bytes: &[u8], now: u64) -> usize {
    match network.write(id, side, bytes, now, Waker::noop()) {
        Progress::Moved(count) => count,
        other => panic!("{other:?}"),
    }
}

/// Everything that can be read by `now`, and how it ended.
fn read(network: &mut Network, id: ConnectionId, side: Side, now: u64) -> (Vec<u8>, Option<Result<(), ErrorKind>>) {
    let mut all = Vec::new();
    let mut chunk = [0; 7];
    loop {
        match network.read(id, side, &mut chunk, now, Waker::noop()) {
            Progress::Moved(0) => return (all, Some(Ok(()))),
            Progress::Moved(count) => all.extend(&chunk[..count]),
            Progress::Failed(kind) => return (all, Some(Err(kind))),
            Progress::Wait(_) => return (all, None),
        }
    }
}

const LATER: u64 = 100_000_000;

#[test]
fn bytes_arrive_whole_in_order_and_not_at_once() {
    let mut network = network(1);
    network.set_links(Link { loss: 0.3, jitter: 5_000, ..Link::sound() });
    let id = connect(&mut network, 0);
    let sent: Vec<u8> = (0..200).collect();
    for byte in &sent {
        assert_eq!(write(&mut network, id, Side::Connector, &[*byte], 1_000), 1);
    }
    network.finish(id, Side::Connector, 1_000);
    assert_eq!(read(&mut network, id, Side::Acceptor, 1_000), (Vec::new(), None));
    assert_eq!(read(&mut network, id, Side::Acceptor, LATER), (sent, Some(Ok(()))));
    assert!(network.counts().of(NetworkFault::Loss) > 0);
    assert_eq!(write(&mut network, id, Side::Acceptor, b"back", LATER), 4, "the other direction stays open");
}

#[test]
fn nobody_listening_refuses_and_a_dark_machine_says_nothing() {
    let mut network = network(1);
    assert!(matches!(network.arrive(A, B, 81, 10), Arrival::Refused { .. }));
    network.crash(B, CrashKind::Process, 20);
    assert!(matches!(network.arrive(A, B, 80, 30), Arrival::Refused { .. }));
    network.crash(B, CrashKind::Power, 40);
    assert_eq!(network.arrive(A, B, 80, 50), Arrival::Lost);
    network.start(B);
    network.listen(B, 80, CORE).unwrap();
    assert!(matches!(network.arrive(A, B, 80, 60), Arrival::Accepted { .. }));
}

#[test]
fn a_cut_link_holds_back_one_direction_and_lets_it_through_when_mended() {
    let mut network = network(2);
    let id = connect(&mut network, 0);
    network.cut(A, B, 1_000);
    write(&mut network, id, Side::Connector, b"to", 1_000);
    write(&mut network, id, Side::Acceptor, b"fro", 1_000);
    assert_eq!(read(&mut network, id, Side::Acceptor, 1_500_000), (Vec::new(), None));
    assert_eq!(read(&mut network, id, Side::Connector, 1_500_000), (b"fro".to_vec(), None));
    network.mend(A, B, 1_500_000);
    assert_eq!(read(&mut network, id, Side::Acceptor, LATER), (b"to".to_vec(), None));
    assert!(network.begin_connect(A, B, LATER).is_some());
}

#[test]
fn who_gets_nothing_through_gives_up_and_the_other_end_learns_it_late() {
    let mut network = network(3);
    let id = connect(&mut network, 0);
    network.cut(A, B, 1_000);
    write(&mut network, id, Side::Connector, b"lost", 1_000);
    assert_eq!(read(&mut network, id, Side::Connector, LATER).1, Some(Err(ErrorKind::TimedOut)));
    network.close(id, Side::Connector, LATER);
    network.mend(A, B, LATER);
    assert_eq!(read(&mut network, id, Side::Acceptor, LATER), (Vec::new(), None), "it is half open");
    assert_eq!(read(&mut network, id, Side::Acceptor, 2 * LATER).1, Some(Err(ErrorKind::ConnectionReset)));
}

#[test]
fn a_killed_process_says_goodbye_and_a_dark_machine_does_not() {
    for kind in [CrashKind::Process, CrashKind::Power] {
        let mut network = network(4);
        let id = connect(&mut network, 0);
        write(&mut network, id, Side::Acceptor, b"answer", 1_000);
        network.crash(B, kind, 1_000_000);
        let (bytes, end) = read(&mut network, id, Side::Connector, 1_100_000);
        assert_eq!(bytes, b"answer");
        assert_eq!(end, (kind == CrashKind::Process).then_some(Ok(())), "{kind:?}");
        assert!(read(&mut network, id, Side::Connector, LATER).1.is_some());
    }
}

#[test]
fn a_write_to_a_machine_that_came_back_is_answered_with_a_reset() {
    let mut network = network(5);
    let id = connect(&mut network, 0);
    network.crash(B, CrashKind::Power, 1_000);
    network.start(B);
    write(&mut network, id, Side::Connector, b"hello?", 2_000);
    assert_eq!(read(&mut network, id, Side::Connector, 400_000).1, Some(Err(ErrorKind::ConnectionReset)));
}

#[test]
fn a_writer_waits_when_nobody_reads() {
    let mut network = network(6);
    let id = connect(&mut network, 0);
    let block = [1; 64 << 10];
    let mut sent = 0;
    loop {
        match network.write(id, Side::Connector, &block, 0, Waker::noop()) {
            Progress::Moved(count) => sent += count,
            Progress::Wait(None) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sent, WINDOW);
    assert_eq!(read(&mut network, id, Side::Acceptor, LATER).0.len(), WINDOW);
    assert_eq!(write(&mut network, id, Side::Connector, b"more", LATER), 4);
}

#[test]
fn a_slow_link_takes_its_time() {
    let mut network = network(7);
    network.set_link(A, B, Link { bytes_per_second: 10_000, ..Link::sound() });
    let id = connect(&mut network, 0);
    write(&mut network, id, Side::Connector, &[0; 10_000], 0);
    write(&mut network, id, Side::Connector, &[0; 10_000], 0);
    assert_eq!(read(&mut network, id, Side::Acceptor, 1_500_000).0.len(), 10_000);
    assert_eq!(read(&mut network, id, Side::Acceptor, 2_500_000).0.len(), 10_000);
}

#[test]
fn bits_turn_over_only_where_a_link_says_so() {
    let mut network = network(8);
    network.set_link(A, B, Link { corrupt: 1.0, ..Link::sound() });
    let id = connect(&mut network, 0);
    write(&mut network, id, Side::Connector, &[0; 32], 0);
    write(&mut network, id, Side::Acceptor, &[0; 32], 0);
    let turned: u32 = read(&mut network, id, Side::Acceptor, LATER).0.iter().map(|byte| byte.count_ones()).sum();
    assert_eq!(turned, 1);
    assert_eq!(read(&mut network, id, Side::Connector, LATER).0, [0; 32]);
}

quickcheck! {
    /// Whatever happens, a reader sees a prefix of what was written; a clean end only after all of it.
    fn a_reader_sees_a_prefix_and_a_clean_end_only_after_everything(seed: u64, steps: Vec<u8>) -> bool {
        let mut network = network(seed);
        network.set_links(Link { loss: 0.2, reset: 0.05, jitter: 3_000, ..Link::sound() });
        let Some(at) = network.begin_connect(A, B, 0) else { return true };
        let Arrival::Accepted { id, .. } = network.arrive(A, B, 80, at) else { return true };
        let _ = network.accept(B, 80, CORE, Waker::noop());
        let (mut sent, mut seen, mut now) = (Vec::new(), Vec::new(), 0);
        let mut closed = false;
        for step in steps {
            now += u64::from(step) * 3_000;
            match step % 8 {
                0..4 if !closed => {
                    let bytes = [step, step ^ 0x5A, 3];
                    if let Progress::Moved(count) = network.write(id, Side::Connector, &bytes, now, Waker::noop()) {
                        sent.extend(&bytes[..count]);
                    }
                }
                4 => network.cut(A, B, now),
                5 => network.mend(A, B, now),
                6 => seen.extend(read(&mut network, id, Side::Acceptor, now).0),
                7 if step > 200 => {
                    network.finish(id, Side::Connector, now);
                    closed = true;
                }
                _ => {}
            }
        }
        network.mend(A, B, now);
        let (rest, end) = read(&mut network, id, Side::Acceptor, now + LATER);
        seen.extend(rest);
        sent.starts_with(&seen) && (end != Some(Ok(())) || seen == sent)
    }
}
