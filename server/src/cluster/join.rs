//! Joining a cluster that runs: a new node asks any member to be let in.
//!
//! ```text
//! new node, empty folder, --join                      any member
//!   handshake on the lane Join: both prove the secret; the new node learns who is there
//!   introduction                ------------------->
//!                               <-------------------  its introduction: numbers of groups
//!   makes its `shape`, hence its identity
//!   handshake anew, with that identity
//!   join: its RPC address       ------------------->  the roll's command Enter, through the meta group's log
//!                               <-------------------  the roll, this node in it; or why not
//!   writes its file `cluster`, then starts as any member does: its replicas are empty and wait for snapshots
//! ```
//!
//! The request (call kind [`JOIN`]) is `version u8 = 1 | length u16 LE | HOST:PORT`; the answer is the bytes of the new node's file
//! `cluster`. Asking again gives the same answer: a node that stopped on the way just starts again.

use std::path::Path;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use futures_lite::future;
use highwater_net::rpc::{
    self, Answer, CallError, CallKind, ClusterId, Incarnation, IncomingCall, Lane, Link, LocalNode, Peer, PeerConfig,
    Refusal, RefusalCode, Refused, RefusedReason, Target, Versions,
};
use highwater_raft::NodeId;
use highwater_runtime::{CoreId, Env, Rt};
use highwater_state::placement::Layout;
use highwater_state::roll::{Introduced, MAX_ADDRESS_BYTES};

use super::convert::{raft_node, wire_node};
use super::error::ClusterError;
use super::introduction::{INTRODUCTION, Introduction, NOT_READY};
use super::links::Links;
use super::roll::{Roll, Seat};
use super::setup::ClusterSetup;
use super::way;
use crate::config::HostPort;
use crate::node::{Shape, read_or_make_shape};

/// The kind of the call by which a node asks to be let in.
pub(crate) const JOIN: CallKind = CallKind(2);
/// Refusal: the cluster does not take this node. Why is in the text.
const NOT_LET_IN: RefusalCode = RefusalCode(RefusalCode::FIRST_OF_SERVER + 2);
const VERSION: u8 = 1;
/// How long a member may take to connect, and to answer an introduction, in microseconds.
const HELLO_MICROS: u64 = 3_000_000;
/// How long the cluster may take to enter a node, in microseconds.
const ENTER_MICROS: u64 = 15_000_000;
/// Pause before the members are asked again, in microseconds.
const PAUSE_MICROS: u64 = 1_000_000;

/// Why a member gave no answer.
enum Failed {
    /// Another one may, or this one later.
    Later(String),
    /// No member will.
    Never(String),
}

/// Asks the members that the settings name, one after the other, until one lets this node in. Gives the folder's shape and the roll, which is
/// not written yet.
///
/// # Errors
/// [`ClusterError::NotLetIn`], or the folder cannot be used. Members that cannot be reached are asked again without end.
pub(super) async fn ask(
    env: &Rt,
    setup: &Arc<ClusterSetup>,
    folder: &Path,
    wanted: Layout,
) -> Result<(Shape, Roll), ClusterError> {
    let own = setup.place_of(setup.me).unwrap_or_default();
    loop {
        for seed in &setup.join {
            match ask_one(env, setup, folder, wanted, seed, &own).await? {
                Ok(found) => return Ok(found),
                Err(Failed::Later(why)) => {
                    tracing::warn!(member = %seed, why, "the node is not let in yet; the members of --join are asked again");
                }
                Err(Failed::Never(why)) => return Err(ClusterError::NotLetIn(why)),
            }
        }
        env.sleep(PAUSE_MICROS).await;
    }
}

async fn ask_one(
    env: &Rt,
    setup: &Arc<ClusterSetup>,
    folder: &Path,
    wanted: Layout,
    seed: &HostPort,
    own: &str,
) -> Result<Result<(Shape, Roll), Failed>, ClusterError> {
    let stranger = match Dialled::to(env, setup, seed, Incarnation(0)).await? {
        Ok(dialled) => dialled,
        Err(failed) => return Ok(Err(failed)),
    };
    let said = stranger.call(INTRODUCTION, Bytes::new(), HELLO_MICROS).await;
    drop(stranger);
    let said = match said.map(|bytes| Introduction::decode(&bytes)) {
        Ok(Some(said)) => said,
        Ok(None) => return Ok(Err(Failed::Never(format!("{seed} says what this release cannot read")))),
        Err(failed) => return Ok(Err(failed)),
    };
    let layout = Layout { stores: wanted.stores, ..said.layout };
    let shape = read_or_make_shape(env, folder, layout).await?;
    let of = |layout: Layout| (layout.user_shards, layout.shared_shards);
    if of(shape.layout) != of(said.layout) {
        let ((ours, ours_shared), (theirs, theirs_shared)) = (of(shape.layout), of(said.layout));
        return Ok(Err(Failed::Never(format!(
            "this folder was made with {ours} user shards and {ours_shared} shared shards, the cluster has {theirs} and {theirs_shared}; begin again with an empty folder"
        ))));
    }
    let incarnation = Incarnation(shape.database_id);
    let known = match Dialled::to(env, setup, seed, incarnation).await? {
        Ok(dialled) => dialled,
        Err(failed) => return Ok(Err(failed)),
    };
    let answer = match known.call(JOIN, request(own), ENTER_MICROS).await {
        Ok(answer) => answer,
        Err(failed) => return Ok(Err(failed)),
    };
    let roll = match Roll::decode(&answer) {
        Ok(roll) => roll,
        Err(why) => return Ok(Err(Failed::Never(format!("the roll that {seed} sent cannot be read: {why}")))),
    };
    let is_ours = roll.members.get(&roll.me).is_some_and(|seat| seat.incarnation == incarnation);
    if roll.me != NodeId(setup.me) || !is_ours {
        return Ok(Err(Failed::Never(format!("{seed} sent the roll of another node"))));
    }
    Ok(Ok((shape, roll)))
}

/// A connection of a node that is no member. Ends when dropped.
struct Dialled(Peer<Rt>);

impl Drop for Dialled {
    fn drop(&mut self) {
        self.0.stop();
    }
}

impl Dialled {
    async fn to(
        env: &Rt,
        setup: &Arc<ClusterSetup>,
        seed: &HostPort,
        incarnation: Incarnation,
    ) -> Result<Result<Self, Failed>, ClusterError> {
        let (resolve, place) = (setup.resolve.clone(), seed.clone());
        let address = match env.blocking(move || (resolve.0)(&place)).await {
            Ok(address) => address,
            Err(error) => return Ok(Err(Failed::Later(format!("its address cannot be found: {error}")))),
        };
        let CoreId(from_core) = env.core();
        let config = PeerConfig {
            address,
            name: seed.host.clone(),
            target: Target { node: rpc::NodeId(0), from_core, to_core: 0, lane: Lane::Join },
            local: LocalNode {
                cluster: ClusterId(0),
                node: wire_node(NodeId(setup.me)),
                incarnation,
                cores: env.core_count(),
                versions: Versions::OURS,
                secret: setup.secret()?,
            },
            security: setup.security.clone(),
            limits: way::limits(),
        };
        let dialled = Self(Peer::start(env, config)?);
        let late = env.now().after_micros(HELLO_MICROS);
        loop {
            let status = dialled.0.status();
            if status.link.is_some() {
                return Ok(Ok(dialled));
            }
            if let Some(refused) = status.refused {
                return Ok(Err(turned_away(setup.me, seed, refused)));
            }
            if env.now() >= late {
                let trouble = status.trouble.unwrap_or_else(|| "it does not answer".into());
                return Ok(Err(Failed::Later(trouble)));
            }
            future::or(dialled.0.changed(), env.sleep_until(late)).await;
        }
    }

    async fn call(&self, kind: CallKind, payload: Bytes, micros: u64) -> Result<Bytes, Failed> {
        self.0.call(kind, payload, micros).await.map_err(|error| match error {
            CallError::Refused(refusal) if refusal.code == NOT_LET_IN => Failed::Never(refusal.text),
            other => Failed::Later(other.to_string()),
        })
    }
}

/// What a member's no to the connection itself means.
fn turned_away(me: u64, seed: &HostPort, refused: Refused) -> Failed {
    match refused.reason {
        // On this lane every node is the one that is meant: it can only be that the caller has its id.
        RefusedReason::WrongNode => Failed::Never(format!(
            "node {me} is the node at {seed} already; give this node a --node-id that no node of the cluster ever had"
        )),
        RefusedReason::Version
        | RefusedReason::WrongCluster
        | RefusedReason::WrongSecret
        | RefusedReason::NotAdmitted
        | RefusedReason::Malformed
        | RefusedReason::Other => Failed::Later(refused.text),
    }
}

fn request(own: &str) -> Bytes {
    let mut bytes = BytesMut::with_capacity(3 + own.len());
    bytes.put_u8(VERSION);
    bytes.put_u16_le(u16::try_from(own.len()).unwrap_or(0));
    bytes.put_slice(own.as_bytes());
    bytes.freeze()
}

fn address_in(payload: &[u8]) -> Option<String> {
    let (version, rest) = payload.split_first()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::from(u16::from_le_bytes(*length));
    if *version != VERSION || length > MAX_ADDRESS_BYTES {
        return None;
    }
    let text = std::str::from_utf8(rest.get(..length)?).ok()?;
    HostPort::parse(text).map(|place| place.to_string())
}

/// Answers a node that is no member.
pub(super) async fn answer(links: &Links, link: &Link, call: &IncomingCall) -> Answer {
    if call.kind == INTRODUCTION {
        return Ok(links.introduction().encode());
    }
    if call.kind != JOIN {
        return Err(Refusal::new(RefusalCode::UNKNOWN_KIND, "a node that is no member may only ask to become one"));
    }
    let not_ready = || Refusal::new(NOT_READY, format!("node {} is starting or stopping", links.me()));
    let Some(rpc_addr) = address_in(&call.payload) else {
        return Err(Refusal::new(NOT_LET_IN, "the request to join cannot be read, or its address is none"));
    };
    let (Some(node), Some(known)) = (links.node(), links.roll()) else { return Err(not_ready()) };
    let me = raft_node(link.peer);
    let who = Introduced { node: me.0, incarnation: link.incarnation.0, rpc_addr };
    tracing::info!(node = me.0, address = who.rpc_addr, "a node asks to join the cluster");
    let roll = match node.let_in(who, call.deadline).await {
        Ok(Ok(roll)) => roll,
        Ok(Err(refused)) => {
            let hint = refused.hint.as_deref().unwrap_or_default();
            tracing::warn!(node = me.0, %refused, "a node was not let in");
            return Err(Refusal::new(NOT_LET_IN, format!("{}. {hint}", refused.message)));
        }
        Err(diag) => return Err(Refusal::new(NOT_READY, diag.to_string())),
    };
    // As the file of the new node: it is the one that reads it.
    let mut file = Roll { me, ..Roll::clone(&known) };
    let seat = Seat { incarnation: link.incarnation, address: String::new() };
    file.members.insert(me, seat);
    match file.renewed(&roll) {
        Some(file) => Ok(Bytes::from(file.encode())),
        None => Err(not_ready()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn a_request_says_where_the_node_is_reached_and_no_bytes_make_it_panic() {
        let bytes = request("db-4.local:2910");
        assert_eq!(&bytes[..4], b"\x01\x0f\0d");
        assert_eq!(address_in(&bytes).as_deref(), Some("db-4.local:2910"));
        assert!((0..bytes.len()).all(|end| address_in(&bytes[..end]).is_none()));
        for senseless in ["", "db-4", "db-4:0", "a b:1"] {
            assert_eq!(address_in(&request(senseless)), None, "{senseless}");
        }
    }
}
