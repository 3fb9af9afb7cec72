//! Peers that speak against the protocol, or not at all.

use bytes::{Bytes, BytesMut};
use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use highwater_net::rpc::frame::{Expected, FrameKind, HEADER_BYTES, Header, append, take};
use highwater_net::rpc::handshake::Initiator;
use highwater_net::rpc::hello::Challenge;
use highwater_net::rpc::*;
use highwater_runtime::Env;
use highwater_runtime::inproc::{InProcEnv, InProcStream};

use super::cluster::*;

/// A stream on which the test itself speaks the protocol.
pub struct Raw {
    pub stream: InProcStream,
    received: BytesMut,
    version: u8,
    sent: u32,
    got: u32,
}

impl Raw {
    pub async fn connect(env: &InProcEnv) -> Self {
        let stream = env.connect(address()).await.unwrap();
        Self { stream, received: BytesMut::new(), version: 0, sent: 0, got: 0 }
    }

    pub async fn send(&mut self, kind: FrameKind, payload: &[u8]) {
        let mut out = BytesMut::new();
        append(&mut out, self.version, self.sent, kind, |out| out.extend_from_slice(payload));
        self.sent += 1;
        let _ = self.stream.write_all(&out).await;
    }

    /// The next frame; `None` when the connection was closed.
    pub async fn next(&mut self) -> Option<(FrameKind, Bytes)> {
        loop {
            let expected = Expected { version: self.version, sequence: self.got, limit: MAX_FRAME_BYTES };
            if let Some((header, payload)) = take(&mut self.received, expected).unwrap() {
                self.got += 1;
                return Some((header.kind, payload));
            }
            let mut piece = [0; 4096];
            let read = self.stream.read(&mut piece).await.unwrap_or(0);
            if read == 0 {
                return None;
            }
            self.received.extend_from_slice(&piece[..read]);
        }
    }

    /// Goes through the handshake as node 1 would.
    pub async fn greet(env: &InProcEnv) -> Self {
        let mut raw = Self::connect(env).await;
        let (initiator, hello) = Initiator::new(local(1), target(), &Limits::default(), [9; 32], Bytes::new());
        raw.send(FrameKind::Hello, &hello).await;
        let (_, bytes) = raw.next().await.unwrap();
        let (proven, proof) = initiator.challenged(&Challenge::decode(&bytes).unwrap(), bytes).unwrap();
        raw.send(FrameKind::Proof, &proof.0).await;
        let (kind, bytes) = raw.next().await.unwrap();
        assert_eq!(kind, FrameKind::Accepted);
        raw.version = proven.accepted(&hello::Proof(bytes[..].try_into().unwrap())).unwrap().version;
        raw
    }
}

#[test]
fn garbage_is_refused_before_the_handshake() {
    with_node(Limits::default(), |env, node| async move {
        let mut raw = Raw::connect(&env).await;
        let _ = raw.stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await;
        let (kind, _) = raw.next().await.unwrap();
        assert_eq!((kind, raw.next().await), (FrameKind::Refused, None));
        assert_eq!((node.listener.counters().failed_handshakes, node.listener.half_open()), (1, 0));
    });
}

#[test]
fn garbage_after_the_handshake_ends_the_link() {
    with_node(Limits::default(), |env, node| async move {
        let mut raw = Raw::greet(&env).await;
        let _ = raw.stream.write_all(&[0xAA; 200]).await;
        assert_eq!(raw.next().await, None);
        assert_eq!((node.listener.counters().violations, node.listener.links().len()), (1, 0));
    });
}

#[test]
fn a_frame_that_makes_no_sense_ends_the_link() {
    for (kind, payload) in [
        (FrameKind::Messages, &[5, 0, 1][..]),
        (FrameKind::Messages, &[0xFF; 40]),
        (FrameKind::Pong, &[0; 24]),
        (FrameKind::Ping, &[0; 24]),
        (FrameKind::Hello, &[0; 88]),
        (FrameKind::Request, &[0; 3]),
        (FrameKind::Chunk, &[0; 64]),
    ] {
        with_node(Limits::default(), |env, node| async move {
            let mut raw = Raw::greet(&env).await;
            raw.send(kind, payload).await;
            assert_eq!(raw.next().await, None);
            assert_eq!(node.listener.counters().violations, 1, "{kind:?}");
            assert_eq!(*node.notes.messages.borrow(), []);
        });
    }
}

#[test]
fn a_huge_length_is_refused_by_its_header_alone() {
    with_node(Limits::default(), |env, node| async move {
        let mut raw = Raw::greet(&env).await;
        let header = Header { length: u32::MAX, version: 1, kind: FrameKind::Messages, sequence: 2, checksum: 0 };
        let _ = raw.stream.write_all(&header.encode()).await;
        assert_eq!(raw.next().await, None);
        assert_eq!(node.listener.counters().violations, 1);
    });
}

#[test]
fn before_the_handshake_a_frame_is_at_most_a_kilobyte() {
    with_node(Limits::default(), |env, node| async move {
        let mut raw = Raw::connect(&env).await;
        let header = Header { length: 1025, version: 0, kind: FrameKind::Hello, sequence: 0, checksum: 0 };
        let _ = raw.stream.write_all(&header.encode()).await;
        assert_eq!(raw.next().await.unwrap().0, FrameKind::Refused);
        assert_eq!(node.listener.counters().failed_handshakes, 1);
    });
}

#[test]
fn a_byte_per_second_is_too_slow_for_a_handshake_and_for_a_frame() {
    with_node(Limits::default(), |env, node| async move {
        let begun = env.now();
        let mut raw = Raw::connect(&env).await;
        for byte in [0; 10] {
            env.sleep(1_000_000).await;
            if raw.stream.write_all(&[byte]).await.is_err() {
                break;
            }
        }
        assert!(env.now().micros_since(begun) < 6_000_000);
        assert_eq!(node.listener.counters().failed_handshakes, 1);

        let mut raw = Raw::greet(&env).await;
        let begun = env.now();
        let header = Header { length: 1 << 20, version: 1, kind: FrameKind::Messages, sequence: 2, checksum: 0 };
        let _ = raw.stream.write_all(&header.encode()).await;
        while raw.stream.write_all(&[1]).await.is_ok() {
            env.sleep(1_000_000).await;
        }
        let lasted = env.now().micros_since(begun);
        assert!((10_000_000..13_000_000).contains(&lasted), "{lasted}");
        assert_eq!(node.listener.counters().timeouts, 1);
    });
}

#[test]
fn who_says_nothing_is_cut_off() {
    with_node(Limits::default(), |env, node| async move {
        let mut raw = Raw::greet(&env).await;
        assert_eq!(raw.next().await, None);
        assert_eq!((node.listener.counters().timeouts, node.listener.links().len()), (1, 0));
    });
}

#[test]
fn who_asks_and_never_reads_is_cut_off_within_the_limits() {
    let limits = Limits { answer_bytes: 3 << 20, call_bytes: 1 << 20, ..Limits::default() };
    with_node(limits, |env, node| async move {
        let mut raw = Raw::greet(&env).await;
        for id in 0_u64..40 {
            let mut request = BytesMut::new();
            let payload = Bytes::new();
            call::Request { id: CallId(id), timeout_micros: 60_000_000, kind: CallKind(4), payload }
                .encode(&mut request);
            raw.send(FrameKind::Request, &request).await;
        }
        // Its pings keep coming, its reads do not.
        for number in 1_u64..30 {
            env.sleep(1_000_000).await;
            let mut ping = BytesMut::new();
            Ping { number, incarnation: Incarnation(101), wall_micros: 0 }.encode(&mut ping);
            raw.send(FrameKind::Ping, &ping).await;
        }
        let counters = node.listener.counters();
        assert_eq!((counters.timeouts, node.listener.links().len()), (1, 0), "{counters:?}");
        assert!(counters.answers_lost >= 30, "{counters:?}");
    });
}

#[test]
fn strangers_who_open_many_connections_do_not_keep_a_node_out() {
    let limits = Limits { half_open: 8, ..Limits::default() };
    with_node(limits, |env, node| async move {
        let mut strangers = Vec::new();
        for _ in 0..50 {
            strangers.push(env.connect(address()).await.unwrap());
            env.sleep(1_000).await;
            assert!(node.listener.half_open() <= 8);
        }
        assert_eq!(node.listener.counters().evicted_half_open, 42);
        let peer = peer(&env, limits);
        assert_eq!(peer.call(CallKind(1), Bytes::new(), 1_000_000).await, Ok(Bytes::new()));
        env.sleep(5_000_000).await;
        assert_eq!(node.listener.half_open(), 0);
    });
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once() {
    let limits = Limits { connections: 2, ..Limits::default() };
    with_node(limits, |env, node| async move {
        let mut held = [env.connect(address()).await.unwrap(), env.connect(address()).await.unwrap()];
        env.sleep(1_000).await;
        let mut third = env.connect(address()).await.unwrap();
        assert_eq!(third.read(&mut [0; 10]).await.unwrap_or(0), 0);
        assert_eq!(node.listener.counters().refused_connections, 1);
        let _ = held[0].write_all(b"x").await;
    });
}

#[test]
fn a_repeated_frame_ends_the_link_and_a_damaged_one_too() {
    with_node(Limits::default(), |env, node| async move {
        let mut payload = BytesMut::new();
        encode_messages(&[heartbeat(1, 1)], &mut payload);
        let mut raw = Raw::greet(&env).await;
        raw.send(FrameKind::Messages, &payload).await;
        raw.sent -= 1;
        raw.send(FrameKind::Messages, &payload).await;
        assert_eq!(raw.next().await, None);

        let mut raw = Raw::greet(&env).await;
        let mut frame = BytesMut::new();
        append(&mut frame, 1, 2, FrameKind::Messages, |out| out.extend_from_slice(&payload));
        frame[HEADER_BYTES + 7] ^= 1;
        let _ = raw.stream.write_all(&frame).await;
        assert_eq!(raw.next().await, None);
        assert_eq!((node.listener.counters().violations, node.notes.messages.borrow().len()), (2, 1));
    });
}
