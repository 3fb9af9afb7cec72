//! Who is let in, and what a stranger can do with what he has seen.

use bytes::Bytes;
use highwater_net::rpc::frame::FrameKind;
use highwater_net::rpc::handshake::{Acceptor, Initiator};
use highwater_net::rpc::hello::{Challenge, Hello, Proof};
use highwater_net::rpc::*;
use highwater_runtime::Env;
use highwater_runtime::disk::Faults;
use highwater_runtime::inproc::Sim;

use super::cluster::*;
use super::hostile::Raw;

/// The whole handshake between two nodes, without a stream.
fn shake(one: &LocalNode, two: &LocalNode, bindings: [&'static str; 2]) -> Result<(Link, Link), HandshakeError> {
    let limits = Limits::default();
    let [at_one, at_two] = bindings.map(Bytes::from);
    let (initiator, bytes) = Initiator::new(one.clone(), target(), &limits, [1; 32], at_one);
    let hello = Hello::decode(&bytes).unwrap();
    let (acceptor, bytes) = Acceptor::greeted(two, &limits, &hello, bytes, [2; 32], at_two)?;
    let (proven, proof) = initiator.challenged(&Challenge::decode(&bytes).unwrap(), bytes)?;
    let (there, proof) = acceptor.proven(&proof)?;
    Ok((proven.accepted(&proof)?, there))
}

fn versions(lowest: u8, highest: u8) -> Versions {
    Versions { lowest, highest }
}

#[test]
fn both_sides_know_each_other_afterwards() {
    let (here, there) = shake(&local(1), &local(2), ["", ""]).unwrap();
    assert_eq!((here.peer, here.incarnation, here.peer_cores), (NodeId(2), Incarnation(102), 2));
    assert_eq!((there.peer, there.incarnation, there.to_core), (NodeId(1), Incarnation(101), 1));
}

#[test]
fn another_secret_is_found_out() {
    let stranger = LocalNode { secret: ClusterSecret::new(b"another secret of equal length..").unwrap(), ..local(1) };
    assert_eq!(shake(&stranger, &local(2), ["", ""]), Err(HandshakeError::WrongSecret));
    assert_eq!(
        shake(&local(1), &LocalNode { node: NodeId(2), ..stranger }, ["", ""]),
        Err(HandshakeError::WrongSecret)
    );
}

#[test]
fn a_proof_is_worth_nothing_on_another_tls_session() {
    assert!(shake(&local(1), &local(2), ["one", "one"]).is_ok());
    assert_eq!(shake(&local(1), &local(2), ["one", "two"]), Err(HandshakeError::WrongSecret));
}

#[test]
fn another_cluster_and_another_node_are_found_out() {
    let other = LocalNode { cluster: ClusterId(78), ..local(2) };
    assert_eq!(shake(&local(1), &other, ["", ""]), Err(HandshakeError::WrongCluster));
    let expected = HandshakeError::WrongNode { expected: NodeId(2), found: NodeId(3) };
    assert_eq!(shake(&local(1), &local(3), ["", ""]), Err(expected));
    assert_eq!(shake(&local(2), &local(2), ["", ""]), Err(HandshakeError::ClaimedNode(NodeId(2))));
    assert_eq!(shake(&local(0), &local(2), ["", ""]), Err(HandshakeError::ClaimedNode(NodeId(0))));
}

#[test]
fn who_wants_to_join_needs_the_secret_and_nothing_else() {
    let limits = Limits::default();
    let joins = |stranger: &LocalNode, member: &LocalNode| -> Result<(Link, Link), HandshakeError> {
        let target = Target { node: NodeId(0), lane: Lane::Join, ..target() };
        let (initiator, bytes) = Initiator::new(stranger.clone(), target, &limits, [1; 32], Bytes::new());
        let hello = Hello::decode(&bytes).unwrap();
        let (acceptor, bytes) = Acceptor::greeted(member, &limits, &hello, bytes, [2; 32], Bytes::new())?;
        let (proven, proof) = initiator.challenged(&Challenge::decode(&bytes).unwrap(), bytes)?;
        let (there, proof) = acceptor.proven(&proof)?;
        Ok((proven.accepted(&proof)?, there))
    };
    let stranger = LocalNode { cluster: ClusterId(0), ..local(9) };
    let (here, there) = joins(&stranger, &local(2)).unwrap();
    assert_eq!((here.peer, here.lane), (NodeId(2), Lane::Join), "it is told who is there");
    assert_eq!((there.peer, there.lane), (NodeId(9), Lane::Join), "and who is connected to knows that no member came");
    let without = LocalNode { secret: ClusterSecret::new(b"another secret of equal length..").unwrap(), ..stranger };
    assert_eq!(joins(&without, &local(2)), Err(HandshakeError::WrongSecret));
    assert_eq!(joins(&local(2), &local(2)), Err(HandshakeError::ClaimedNode(NodeId(2))));
}

#[test]
fn nodes_one_version_apart_agree_on_the_older_and_two_apart_refuse() {
    let speaking = |node, lowest, highest| LocalNode { versions: versions(lowest, highest), ..local(node) };
    let (here, there) = shake(&speaking(1, 3, 4), &speaking(2, 2, 3), ["", ""]).unwrap();
    assert_eq!((here.version, there.version), (3, 3));
    let error = shake(&speaking(1, 4, 5), &speaking(2, 2, 3), ["", ""]).unwrap_err();
    assert_eq!(error, HandshakeError::Version { ours: versions(2, 3), theirs: versions(4, 5) });
}

#[test]
fn nobody_in_between_lowers_the_version() {
    let limits = Limits::default();
    let both = |node| LocalNode { versions: versions(1, 2), ..local(node) };
    let (initiator, bytes) = Initiator::new(both(1), target(), &limits, [1; 32], Bytes::new());
    let mut lowered = bytes.to_vec();
    lowered[5] = 1;
    let lowered = Bytes::from(lowered);
    let hello = Hello::decode(&lowered).unwrap();
    let (acceptor, bytes) = Acceptor::greeted(&both(2), &limits, &hello, lowered, [2; 32], Bytes::new()).unwrap();
    let challenge = Challenge::decode(&bytes).unwrap();
    assert_eq!(challenge.version, 1);
    assert!(matches!(initiator.challenged(&challenge, bytes), Err(HandshakeError::ChosenVersion(1))));
    // And were the choice hidden too, the proof would not match.
    let (initiator, _) = Initiator::new(both(1), target(), &limits, [1; 32], Bytes::new());
    let mut hidden = bytes::BytesMut::new();
    Challenge { version: 2, ..challenge }.encode(&mut hidden);
    let (_, proof) = initiator.challenged(&Challenge { version: 2, ..challenge }, hidden.freeze()).unwrap();
    assert_eq!(acceptor.proven(&proof).unwrap_err(), HandshakeError::WrongSecret);
}

#[test]
fn a_recorded_handshake_and_a_reflected_proof_are_worthless() {
    let limits = Limits::default();
    let (initiator, hello) = Initiator::new(local(1), target(), &limits, [1; 32], Bytes::new());
    let greeted = |nonce| {
        let parsed = Hello::decode(&hello).unwrap();
        Acceptor::greeted(&local(2), &limits, &parsed, hello.clone(), nonce, Bytes::new()).unwrap()
    };
    let (first, bytes) = greeted([2; 32]);
    let (proven, proof) = initiator.challenged(&Challenge::decode(&bytes).unwrap(), bytes).unwrap();
    // The same hello and proof, in another handshake.
    let (second, _) = greeted([3; 32]);
    assert_eq!(second.proven(&proof).unwrap_err(), HandshakeError::WrongSecret);
    // Its own proof, sent back to who made it.
    assert_eq!(proven.accepted(&proof), Err(HandshakeError::WrongSecret));
    assert!(first.proven(&proof).is_ok());
}

#[test]
fn a_stranger_gets_no_proof_and_sees_no_secret() {
    with_node(Limits::default(), |env, node| async move {
        let mut raw = Raw::connect(&env).await;
        let (_, hello) = Initiator::new(local(1), target(), &Limits::default(), [1; 32], Bytes::new());
        raw.send(FrameKind::Hello, &hello).await;
        let (_, challenge) = raw.next().await.unwrap();
        assert!(!challenge.windows(8).any(|window| SECRET.windows(8).any(|secret| secret == window)));
        raw.send(FrameKind::Proof, &Proof([0; 32]).0).await;
        let (kind, payload) = raw.next().await.unwrap();
        let refused = hello::Refused::decode(&payload).unwrap();
        assert_eq!((kind, refused.reason), (FrameKind::Refused, hello::RefusedReason::WrongSecret));
        assert_eq!(raw.next().await, None);
        assert_eq!(node.listener.links(), []);
    });
    assert_eq!(format!("{:?}", ClusterSecret::new(SECRET).unwrap()), "ClusterSecret(..)");
    assert_eq!(ClusterSecret::new(b"short").unwrap_err(), SecretTooShort(5));
}

#[test]
fn a_node_that_is_not_admitted_learns_why() {
    with_node(Limits::default(), |env, node| async move {
        node.notes.admits.set(false);
        let peer = peer(&env, Limits::default());
        env.sleep(1_000_000).await;
        let trouble = peer.status().trouble.unwrap();
        assert!(trouble.contains("the node was removed"), "{trouble}");
        assert_eq!(node.notes.opened.get(), 0);
    });
}

#[test]
fn plain_connections_stay_on_the_machine() {
    Sim::new(5, Faults::none())
        .run(|env| async move {
            let everywhere = "0.0.0.0:2911".parse().unwrap();
            let error = Security::Loopback.check(everywhere).unwrap_err();
            assert!(error.to_string().contains("needs mutual TLS"), "{error}");
            let config = PeerConfig { address: "10.0.0.7:2911".parse().unwrap(), ..config(Limits::default()) };
            assert!(matches!(Peer::start(&env, config), Err(RpcError::TlsNeeded(_))));
            assert!(Security::Loopback.check("[::1]:2911".parse().unwrap()).is_ok());
            assert!(Security::Simulated.check(everywhere).is_ok());
        })
        .unwrap();
}

fn tls(ca: &[u8], certificate: &[u8], key: &[u8]) -> Security {
    Security::Tls(MutualTls::new(&TlsSettings { ca, certificate, key }).unwrap())
}

fn of_cluster() -> Security {
    tls(
        include_bytes!("../certificates/cluster-ca.pem"),
        include_bytes!("../certificates/cluster-node.pem"),
        include_bytes!("../certificates/cluster-node.key"),
    )
}

fn call_under(security: Security, name: &str) -> (Result<Bytes, CallError>, ListenerCounters, String) {
    let name = name.to_owned();
    let mut sim = Sim::new(11, Faults::none());
    sim.run(|env| async move {
        let node = Node::listen(&env, Limits::default(), of_cluster()).await;
        let config = PeerConfig { name, security, ..config(Limits::default()) };
        let peer = Peer::start(&env, config).unwrap();
        let answer = peer.call(CallKind(1), vec![7; 300_000].into(), 5_000_000).await;
        let trouble = peer.status().trouble.unwrap_or_default();
        (answer, node.listener.counters(), trouble)
    })
    .unwrap()
}

#[test]
fn nodes_with_certificates_of_the_cluster_talk_over_tls() {
    for name in ["node.test", "127.0.0.1"] {
        let (answer, counters, trouble) = call_under(of_cluster(), name);
        assert_eq!(answer, Ok(vec![7; 300_000].into()), "{trouble}");
        assert_eq!(counters.links, 1);
    }
}

#[test]
fn certificates_of_others_names_of_others_and_plain_speech_are_refused() {
    let (answer, counters, trouble) = call_under(of_cluster(), "another.test");
    assert_eq!(answer, Err(CallError::NotSent(NotSent::Unreachable)));
    assert!(trouble.contains("certificate"), "{trouble}");
    assert_eq!(counters.links, 0);
    // A node that trusts the cluster's CA and has another's certificate.
    let intruder = tls(
        include_bytes!("../certificates/cluster-ca.pem"),
        include_bytes!("../certificates/other-node.pem"),
        include_bytes!("../certificates/other-node.key"),
    );
    let (answer, counters, _) = call_under(intruder, "node.test");
    assert_eq!((answer, counters.links), (Err(CallError::NotSent(NotSent::Unreachable)), 0));
    let (answer, counters, _) = call_under(Security::Loopback, "node.test");
    assert_eq!((answer, counters.links), (Err(CallError::NotSent(NotSent::Unreachable)), 0));
}

#[test]
fn certificates_that_cannot_be_used_are_named() {
    let error = MutualTls::new(&TlsSettings { ca: b"", certificate: b"", key: b"" }).unwrap_err();
    assert!(error.to_string().contains("the cluster's CA"), "{error}");
}
