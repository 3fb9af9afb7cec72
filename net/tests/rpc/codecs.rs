//! What is encoded comes back, any bytes are survived, and the bytes on the wire are these.

use bytes::{Bytes, BytesMut};
use highwater_net::rpc::call::{Request, Response};
use highwater_net::rpc::frame::{Expected, FrameError, FrameKind, HEADER_BYTES, append, take};
use highwater_net::rpc::hello::{Challenge, Hello, Refused};
use highwater_net::rpc::*;
use quickcheck::{Arbitrary, Gen, quickcheck};

use super::cluster::heartbeat;

#[derive(Clone, Debug)]
struct Messages(Vec<GroupMessage>);

fn number(g: &mut Gen) -> u64 {
    u64::arbitrary(g)
}

fn index(g: &mut Gen) -> LogIndex {
    LogIndex(number(g))
}

fn term(g: &mut Gen) -> Term {
    Term(number(g))
}

fn data(g: &mut Gen) -> Bytes {
    Vec::<u8>::arbitrary(g).into()
}

fn entry(g: &mut Gen) -> WireEntry {
    let kind = *g.choose(&[EntryKind::Normal, EntryKind::ConfChange, EntryKind::Noop]).unwrap();
    WireEntry { term: term(g), kind, data: data(g) }
}

fn body(g: &mut Gen) -> MessageBody {
    match u8::arbitrary(g) % 16 {
        0 => MessageBody::PreVote { last_index: index(g), last_term: term(g) },
        1 => MessageBody::PreVoteResponse { granted: bool::arbitrary(g) },
        2 => MessageBody::Vote { last_index: index(g), last_term: term(g), transfer: bool::arbitrary(g) },
        3 => MessageBody::VoteResponse { granted: bool::arbitrary(g) },
        4 => MessageBody::Append {
            prev_index: index(g),
            prev_term: term(g),
            commit: index(g),
            entries: (0..usize::arbitrary(g) % 5).map(|_| entry(g)).collect(),
        },
        5 => MessageBody::AppendResponse {
            index: index(g),
            reject_hint: if bool::arbitrary(g) { Some((index(g), term(g))) } else { None },
        },
        6 => MessageBody::Heartbeat { commit: index(g), round: number(g) },
        7 => MessageBody::HeartbeatResponse { round: number(g) },
        8 => MessageBody::Snapshot { index: index(g), term: term(g), membership: data(g) },
        9 => MessageBody::SnapshotWanted,
        10 => MessageBody::ReadIndex { life: number(g), context: number(g) },
        11 => MessageBody::ReadIndexResponse {
            life: number(g),
            context: number(g),
            index: if bool::arbitrary(g) { Some(index(g)) } else { None },
        },
        12 => MessageBody::Committed { index: index(g), index_term: term(g) },
        13 => MessageBody::TimeoutNow,
        14 => MessageBody::Wake,
        _ => MessageBody::Hibernate { index: index(g) },
    }
}

impl Arbitrary for Messages {
    fn arbitrary(g: &mut Gen) -> Self {
        let message = |g: &mut Gen| GroupMessage { group: GroupId(u32::arbitrary(g)), term: term(g), body: body(g) };
        Self((0..usize::arbitrary(g) % 20).map(|_| message(g)).collect())
    }
}

fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.freeze()
}

const ANY: Expected = Expected { version: 1, sequence: 0, limit: 1 << 20 };

quickcheck! {
    fn messages_come_back_and_take_the_bytes_that_they_claim(messages: Messages) -> bool {
        let bytes = encoded(|out| encode_messages(&messages.0, out));
        let claimed: usize = messages.0.iter().map(GroupMessage::encoded_len).sum();
        bytes.len() == claimed + BATCH_HEADER_BYTES && decode_messages(&bytes) == Ok(messages.0)
    }

    fn a_payload_cut_anywhere_or_with_more_behind_is_malformed(messages: Messages, at: usize) -> bool {
        let bytes = encoded(|out| encode_messages(&messages.0, out));
        let longer = encoded(|out| { out.extend_from_slice(&bytes); out.extend_from_slice(&[0]); });
        decode_messages(&bytes.slice(..at % bytes.len())).is_err() && decode_messages(&longer).is_err()
    }

    fn any_bytes_are_survived(bytes: Vec<u8>) -> bool {
        let bytes = Bytes::from(bytes);
        let _ = (Hello::decode(&bytes), Challenge::decode(&bytes), Refused::decode(&bytes), Ping::decode(&bytes));
        let _ = (Request::decode(&bytes), Response::decode(&bytes), SnapshotChunk::decode(&bytes));
        let _ = take(&mut BytesMut::from(&bytes[..]), ANY);
        decode_messages(&bytes).is_ok_and(|messages| encoded(|out| encode_messages(&messages, out)) == bytes)
            || decode_messages(&bytes).is_err()
    }

    fn frames_come_back_in_whatever_pieces(payload: Vec<u8>, cut: usize) -> bool {
        let frame = encoded(|out| append(out, 1, 0, FrameKind::Request, |out| out.extend_from_slice(&payload)));
        let mut buffer = BytesMut::from(&frame[..cut % frame.len()]);
        if take(&mut buffer, ANY) != Ok(None) {
            return false;
        }
        buffer.extend_from_slice(&frame[cut % frame.len()..]);
        take(&mut buffer, ANY).unwrap().is_some_and(|(header, found)| header.kind == FrameKind::Request && found == payload)
    }

    fn a_changed_bit_never_passes(payload: Vec<u8>, bit: usize) -> bool {
        let frame = encoded(|out| append(out, 1, 0, FrameKind::Request, |out| out.extend_from_slice(&payload)));
        let mut frame = BytesMut::from(&frame[..]);
        let bit = bit % (frame.len() * 8);
        frame[bit / 8] ^= 1 << (bit % 8);
        take(&mut frame, ANY).is_err()
    }

    fn answers_come_back(id: u64, code: u16, text: String, payload: Vec<u8>) -> bool {
        let refusal = Refusal { code: RefusalCode(code.max(1)), text: text.chars().take(100).collect(), payload: payload.clone().into() };
        [Ok(payload.into()), Err(refusal)].into_iter().all(|answer: Answer| {
            let response = Response { id: CallId(id), answer };
            let bytes = encoded(|out| response.encode(out));
            bytes.len() == response.encoded_len() && Response::decode(&bytes) == Ok(response)
        })
    }

    fn waits_grow_to_the_limit_and_lie_in_their_upper_half(random: u64) -> bool {
        let mut backoff = Backoff::new(20_000, 1_000_000);
        let waits: Vec<u64> = (0..40).map(|_| backoff.next_micros(random)).collect();
        (10_000..=20_000).contains(&waits[0]) && waits.iter().all(|wait| *wait <= 1_000_000) && waits[39] >= 500_000
    }
}

#[test]
fn entries_are_slices_of_the_frame_that_they_came_in() {
    let bytes = encoded(|out| encode_messages(&[super::cluster::append(50_000)], out));
    let messages = decode_messages(&bytes).unwrap();
    let MessageBody::Append { entries, .. } = &messages[0].body else { panic!("{messages:?}") };
    assert!(bytes.as_ptr_range().contains(&entries[0].data.as_ptr()));
}

#[test]
fn announced_numbers_reserve_nothing() {
    // 65535 messages, then an append with four billion entries, in a few bytes.
    assert!(decode_messages(&Bytes::from_static(&[0xFF, 0xFF])).is_err());
    let mut bytes = vec![1, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4];
    bytes.extend_from_slice(&[0; 24]);
    bytes.extend_from_slice(&[0xFF; 4]);
    assert_eq!(decode_messages(&bytes.into()), Err(Malformed::Short("the entries")));
}

#[test]
fn a_chunk_outside_its_part_or_damaged_is_malformed() {
    let chunk = SnapshotChunk {
        group: GroupId(4),
        index: LogIndex(9),
        term: Term(2),
        part: 0,
        parts: 2,
        offset: 6,
        part_bytes: 10,
        data: Bytes::from_static(b"tail"),
    };
    let bytes = encoded(|out| chunk.encode(CallId(3), 5, out));
    assert_eq!(SnapshotChunk::decode(&bytes), Ok((CallId(3), 5, chunk.clone())));
    assert!(chunk.ends_part());
    for (at, value) in [(36, 2), (40, 7), (64, b'T')] {
        let mut bytes = bytes.to_vec();
        bytes[at] = value;
        assert!(SnapshotChunk::decode(&bytes.into()).is_err(), "{at}");
    }
}

#[test]
fn a_header_tells_what_it_does_not_accept() {
    let frame = |version, sequence| encoded(|out| append(out, version, sequence, FrameKind::Ping, |_| {}));
    let taken = |frame: Bytes, expected| take(&mut BytesMut::from(&frame[..]), expected).unwrap_err();
    assert_eq!(taken(frame(2, 0), ANY), FrameError::Version { found: 2, agreed: 1 });
    assert_eq!(taken(frame(1, 5), ANY), FrameError::Sequence { found: 5, expected: 0 });
    let long = encoded(|out| append(out, 1, 0, FrameKind::Ping, |out| out.extend_from_slice(&[0; 9])));
    assert_eq!(taken(long, Expected { limit: 8, ..ANY }), FrameError::TooLong { length: 9, limit: 8 });
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_bytes_of_frames_are_these() {
    let batch = [
        heartbeat(7, 9),
        GroupMessage { group: GroupId(8), term: Term(1), body: MessageBody::VoteResponse { granted: true } },
    ];
    let messages = encoded(|out| append(out, 1, 3, FrameKind::Messages, |out| encode_messages(&batch, out)));
    assert_eq!(messages.len(), HEADER_BYTES + 2 + 29 + 14);
    let request =
        Request { id: CallId(1), timeout_micros: 1000, kind: CallKind(2), payload: Bytes::from_static(b"abc") };
    let request = encoded(|out| append(out, 1, 4, FrameKind::Request, |out| request.encode(out)));
    let refusal = Response { id: CallId(1), answer: Err(Refusal::new(RefusalCode::BUSY, "busy")) };
    let refusal = encoded(|out| append(out, 1, 0, FrameKind::Response, |out| refusal.encode(out)));
    let ping = Ping { number: 1, incarnation: Incarnation(2), wall_micros: -1 };
    let ping = encoded(|out| append(out, 1, 0, FrameKind::Ping, |out| ping.encode(out)));
    let golden = include_str!("golden.txt");
    let found = [messages, request, refusal, ping].map(|frame| hex(&frame)).join("\n");
    assert_eq!(found, golden.trim_end(), "\n{found}\n");
}

#[test]
fn the_bytes_of_the_handshake_are_these() {
    let limits = Limits::default();
    let (initiator, hello) =
        handshake::Initiator::new(super::cluster::local(1), super::cluster::target(), &limits, [1; 32], Bytes::new());
    let greeted = Hello::decode(&hello).unwrap();
    let two = super::cluster::local(2);
    let (_, challenge) =
        handshake::Acceptor::greeted(&two, &limits, &greeted, hello.clone(), [2; 32], Bytes::new()).unwrap();
    let parsed = Challenge::decode(&challenge).unwrap();
    let (_, proof) = initiator.challenged(&parsed, challenge.clone()).unwrap();
    let found = [&hello[..], &challenge[..], &proof.0[..]].map(hex).join("\n");
    assert_eq!(found, include_str!("golden_handshake.txt").trim_end(), "\n{found}\n");
}
