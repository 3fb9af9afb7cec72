//! Two nodes: a listener with a handler that notes what comes, and peers that reach it.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::Bytes;
use highwater_net::rpc::*;
use highwater_runtime::Env;
use highwater_runtime::disk::Faults;
use highwater_runtime::inproc::{InProcEnv, Sim};

pub const SECRET: &[u8] = b"a secret of the cluster's tests!";

pub fn address() -> SocketAddr {
    "127.0.0.1:2910".parse().unwrap()
}

pub fn local(node: u64) -> LocalNode {
    LocalNode {
        cluster: ClusterId(77),
        node: NodeId(node),
        incarnation: Incarnation(100 + node),
        cores: 2,
        versions: Versions::OURS,
        secret: ClusterSecret::new(SECRET).unwrap(),
    }
}

pub fn target() -> Target {
    Target { node: NodeId(2), from_core: 0, to_core: 1, lane: Lane::Messages }
}

pub fn heartbeat(group: u32, commit: u64) -> GroupMessage {
    GroupMessage {
        group: GroupId(group),
        term: Term(3),
        body: MessageBody::Heartbeat { commit: LogIndex(commit), round: 0 },
    }
}

pub fn append(bytes: usize) -> GroupMessage {
    let entries = vec![WireEntry { term: Term(3), kind: EntryKind::Normal, data: vec![7; bytes].into() }];
    let (prev_index, prev_term, commit) = (LogIndex(1), Term(3), LogIndex(1));
    GroupMessage {
        group: GroupId(1),
        term: Term(3),
        body: MessageBody::Append { prev_index, prev_term, commit, entries },
    }
}

/// Notes what comes. Calls of kind 1 are echoed, of kind 2 answered after their payload's seconds, of kind 3 refused.
pub struct Notes {
    pub env: InProcEnv,
    pub messages: RefCell<Vec<GroupMessage>>,
    pub chunks: RefCell<Vec<SnapshotChunk>>,
    pub pings: Cell<u32>,
    pub opened: Cell<u32>,
    pub closed: Cell<u32>,
    /// Messages are taken only while this is set.
    pub takes: Cell<bool>,
    pub admits: Cell<bool>,
    pub at_work: Cell<usize>,
    pub most_at_work: Cell<usize>,
}

impl Handler for Notes {
    fn admit(&self, _: &Link) -> Result<(), String> {
        if self.admits.get() { Ok(()) } else { Err("the node was removed".into()) }
    }

    fn opened(&self, _: &Link) {
        self.opened.set(self.opened.get() + 1);
    }

    fn pinged(&self, _: &Link, _: &Ping) {
        self.pings.set(self.pings.get() + 1);
    }

    fn closed(&self, _: &Link) {
        self.closed.set(self.closed.get() + 1);
    }

    async fn messages(&self, _: &Link, messages: Vec<GroupMessage>) {
        while !self.takes.get() {
            self.env.sleep(10_000).await;
        }
        self.messages.borrow_mut().extend(messages);
    }

    async fn call(&self, _: &Link, call: IncomingCall) -> Answer {
        self.at_work.set(self.at_work.get() + 1);
        self.most_at_work.set(self.most_at_work.get().max(self.at_work.get()));
        if call.kind == CallKind(2) {
            self.env.sleep(u64::from(call.payload[0]) * 1_000_000).await;
        }
        self.at_work.set(self.at_work.get() - 1);
        match call.kind.0 {
            3 => Err(Refusal { code: RefusalCode(300), text: "not the leader".into(), payload: call.payload }),
            4 => Ok(vec![0; 1 << 20].into()),
            _ => Ok(call.payload),
        }
    }

    async fn chunk(&self, _: &Link, chunk: SnapshotChunk) -> Answer {
        self.chunks.borrow_mut().push(chunk);
        Ok(Bytes::new())
    }
}

/// Node 2, listening.
pub struct Node {
    pub env: InProcEnv,
    pub listener: RpcListener,
    pub notes: Rc<Notes>,
}

impl Node {
    pub async fn listen(env: &InProcEnv, limits: Limits, security: Security) -> Self {
        let notes = Rc::new(Notes {
            env: env.clone(),
            messages: RefCell::default(),
            chunks: RefCell::default(),
            pings: Cell::new(0),
            opened: Cell::new(0),
            closed: Cell::new(0),
            takes: Cell::new(true),
            admits: Cell::new(true),
            at_work: Cell::new(0),
            most_at_work: Cell::new(0),
        });
        let socket = env.listen(address()).await.unwrap();
        let config = ListenerConfig { local: local(2), security, limits };
        let listener = RpcListener::start(env, socket, config, Rc::clone(&notes)).unwrap();
        Self { env: env.clone(), listener, notes }
    }

    /// Waits for something that must come to be, within a minute.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        for _ in 0..6000 {
            if is_so(self) {
                return;
            }
            self.env.sleep(10_000).await;
        }
        panic!("never came to be: {what}; {:?}", self.listener.counters());
    }
}

pub fn config(limits: Limits) -> PeerConfig {
    PeerConfig {
        address: address(),
        name: "node.test".into(),
        target: target(),
        local: local(1),
        security: Security::Loopback,
        limits,
    }
}

pub fn peer(env: &InProcEnv, limits: Limits) -> Peer<InProcEnv> {
    Peer::start(env, config(limits)).unwrap()
}

pub fn with_node<T, F: Future<Output = T>>(limits: Limits, body: impl FnOnce(InProcEnv, Node) -> F) -> T {
    let mut sim = Sim::new(11, Faults::none());
    sim.run(|env| async move {
        let node = Node::listen(&env, limits, Security::Loopback).await;
        body(env, node).await
    })
    .unwrap()
}
