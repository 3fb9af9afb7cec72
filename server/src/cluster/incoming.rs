//! What comes in on the others' connections: who may connect, and where messages, calls and chunks go.

use bytes::Bytes;
use highwater_net::rpc::{
    Answer, GroupMessage, Handler, IncomingCall, Lane, Link, Refusal, RefusalCode, SnapshotChunk,
};

use super::convert::{from_wire, raft_node};
use super::introduction::{INTRODUCTION, Introduction, NOT_READY, OTHER_LAYOUT};
use super::join;
use super::links::Links;
use super::news::{self, ROLL};

/// This node's end of the others' connections on one core.
pub(crate) struct Incoming(Links);

impl Incoming {
    pub(crate) fn new(links: Links) -> Self {
        Self(links)
    }

    fn introduced(&self, link: &Link, payload: &Bytes) -> Answer {
        let (own, me, node) = (self.0.introduction(), self.0.me(), raft_node(link.peer));
        let Some(theirs) = Introduction::decode(payload) else {
            return Err(Refusal::new(OTHER_LAYOUT, format!("node {me} cannot read the introduction of node {node}")));
        };
        if let Err(why) = own.agrees(me, node, &theirs) {
            // The other may be gone before this node has introduced itself there.
            if let Some(way) = self.0.way(node) {
                *way.objection.borrow_mut() = Some(why.clone());
            }
            return Err(Refusal::new(OTHER_LAYOUT, why));
        }
        self.0.says_where(node, &theirs.rpc_addr);
        Ok(own.encode())
    }

    fn not_ready(&self) -> Refusal {
        Refusal::new(NOT_READY, format!("node {} is starting or stopping", self.0.me()))
    }
}

impl Handler for Incoming {
    fn admit(&self, link: &Link) -> Result<(), String> {
        if link.lane == Lane::Join {
            // It has proven the secret. Whether it is let in is decided where the roll is.
            return Ok(());
        }
        self.0.admit(raft_node(link.peer), link.incarnation)
    }

    async fn messages(&self, link: &Link, messages: Vec<GroupMessage>) {
        if link.lane == Lane::Join {
            return;
        }
        // Lost, as Raft allows: a node that is not there yet asks again.
        let Some(node) = self.0.node() else { return };
        let (from, me, came) = (raft_node(link.peer), self.0.me(), messages.len());
        let messages: Vec<_> = messages.into_iter().filter_map(|message| from_wire(from, me, message)).collect();
        self.0.note_senseless(came.saturating_sub(messages.len()));
        node.deliver(messages).await;
    }

    async fn call(&self, link: &Link, call: IncomingCall) -> Answer {
        if link.lane == Lane::Join {
            return join::answer(&self.0, link, &call).await;
        }
        if call.kind == INTRODUCTION {
            return self.introduced(link, &call.payload);
        }
        if call.kind == ROLL {
            return news::answer(&self.0, &call.payload);
        }
        match self.0.node() {
            Some(node) => node.answer_call(raft_node(link.peer), call).await,
            None => Err(self.not_ready()),
        }
    }

    async fn chunk(&self, link: &Link, chunk: SnapshotChunk) -> Answer {
        match self.0.node().filter(|_| link.lane != Lane::Join) {
            Some(node) => node.take_chunk(raft_node(link.peer), chunk).await,
            None => Err(self.not_ready()),
        }
    }
}
