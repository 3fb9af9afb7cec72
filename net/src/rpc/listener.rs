//! Incoming connections of one listening socket: greets who comes, keeps one link per node, core pair and lane, and hands over
//! what arrives.
//!
//! Invariants: at most [`Limits::half_open`] handshakes are under way, the oldest gives way; at most [`Limits::connections`]
//! connections; a newer link replaces an older one of the same node, cores and lane on this listener.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use futures_lite::future;
use highwater_runtime::{Env, Listener};

use super::counters::ListenerCounters;
use super::error::RpcError;
use super::greeting::respond;
use super::handler::Handler;
use super::handshake::{Link, LocalNode};
use super::hello::Lane;
use super::ids::NodeId;
use super::limits::Limits;
use super::security::Security;
use super::serving::Serving;
use super::signal::Stop;

/// Pause after the system refused to hand over a connection.
const ACCEPT_PAUSE_MICROS: u64 = 10_000;

/// Who listens, and how.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// This node.
    pub local: LocalNode,
    /// How connections are protected.
    pub security: Security,
    /// Bounds.
    pub limits: Limits,
}

type LinkKey = (NodeId, u16, u16, Lane);

/// A link's number on its listener, what it is, what ends it.
type Linked = (u64, Link, Rc<Stop>);

/// What the connections of a listener share.
pub(crate) struct Listening {
    pub(crate) config: ListenerConfig,
    pub(crate) counters: RefCell<ListenerCounters>,
    half_open: RefCell<BTreeMap<u64, Rc<Stop>>>,
    links: RefCell<BTreeMap<LinkKey, Linked>>,
    connections: Cell<usize>,
    next: Cell<u64>,
    stop: Stop,
}

/// A handle; clones are the same listener.
#[derive(Clone)]
pub struct RpcListener(Rc<Listening>);

impl RpcListener {
    /// Starts to take connections, until stopped.
    ///
    /// # Errors
    /// [`RpcError::TlsNeeded`] for a plain listener that other machines can reach, [`RpcError::Limits`], an I/O error.
    pub fn start<E: Env, H: Handler>(
        env: &E,
        listener: E::Listener,
        config: ListenerConfig,
        handler: Rc<H>,
    ) -> Result<Self, RpcError> {
        config.security.check(listener.local_addr()?)?;
        config.limits.check()?;
        let listening = Rc::new(Listening {
            config,
            counters: RefCell::default(),
            half_open: RefCell::default(),
            links: RefCell::default(),
            connections: Cell::new(0),
            next: Cell::new(0),
            stop: Stop::default(),
        });
        env.spawn("rpc listener", accept(env.clone(), listener, Rc::clone(&listening), handler));
        Ok(Self(listening))
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> ListenerCounters {
        *self.0.counters.borrow()
    }

    /// The links that there are.
    #[must_use]
    pub fn links(&self) -> Vec<Link> {
        self.0.links.borrow().values().map(|(_, link, _)| *link).collect()
    }

    /// Handshakes under way.
    #[must_use]
    pub fn half_open(&self) -> usize {
        self.0.half_open.borrow().len()
    }

    /// Ends the links of a node, such as one that was removed from the cluster.
    pub fn disconnect(&self, node: NodeId) {
        for ((peer, ..), (_, _, stop)) in self.0.links.borrow().iter() {
            if *peer == node {
                stop.stop();
            }
        }
    }

    /// Ends the listener and its links.
    pub fn stop(&self) {
        self.0.stop.stop();
        for (_, _, stop) in self.0.links.borrow().values() {
            stop.stop();
        }
        for stop in self.0.half_open.borrow().values() {
            stop.stop();
        }
    }
}

impl Listening {
    pub(crate) fn count(&self, change: impl FnOnce(&mut ListenerCounters)) {
        change(&mut self.counters.borrow_mut());
    }

    /// Notes a handshake; the oldest gives way when there are too many.
    fn begin(&self) -> (u64, Rc<Stop>) {
        let number = self.next.get();
        self.next.set(number.saturating_add(1));
        let stop = Rc::new(Stop::default());
        let mut half_open = self.half_open.borrow_mut();
        let oldest = if half_open.len() >= self.config.limits.half_open { half_open.pop_first() } else { None };
        half_open.insert(number, Rc::clone(&stop));
        drop(half_open);
        if let Some((_, oldest)) = oldest {
            self.count(|counters| counters.evicted_half_open = counters.evicted_half_open.saturating_add(1));
            oldest.stop();
        }
        (number, stop)
    }

    fn enter(&self, number: u64, link: Link, stop: &Rc<Stop>) -> LinkKey {
        let key = (link.peer, link.from_core, link.to_core, link.lane);
        let replaced = self.links.borrow_mut().insert(key, (number, link, Rc::clone(stop)));
        self.count(|counters| counters.links = counters.links.saturating_add(1));
        if let Some((_, _, older)) = replaced {
            self.count(|counters| counters.replaced = counters.replaced.saturating_add(1));
            older.stop();
        }
        key
    }

    fn leave(&self, number: u64, key: LinkKey) {
        let mut links = self.links.borrow_mut();
        if links.get(&key).is_some_and(|(present, ..)| *present == number) {
            links.remove(&key);
        }
    }
}

async fn accept<E: Env, H: Handler>(env: E, listener: E::Listener, listening: Rc<Listening>, handler: Rc<H>) {
    loop {
        let stopped = async {
            listening.stop.stopped().await;
            None
        };
        let Some(accepted) = future::or(stopped, async { Some(listener.accept().await) }).await else { return };
        let Ok((stream, _)) = accepted else {
            env.sleep(ACCEPT_PAUSE_MICROS).await;
            continue;
        };
        listening.count(|counters| counters.accepted = counters.accepted.saturating_add(1));
        if listening.connections.get() >= listening.config.limits.connections {
            listening.count(|counters| counters.refused_connections = counters.refused_connections.saturating_add(1));
            continue;
        }
        listening.connections.set(listening.connections.get().saturating_add(1));
        let (task_env, listening, handler) = (env.clone(), Rc::clone(&listening), Rc::clone(&handler));
        env.spawn("rpc connection", async move {
            connection(&task_env, stream, &listening, handler).await;
            listening.connections.set(listening.connections.get().saturating_sub(1));
        });
    }
}

async fn connection<E: Env, H: Handler>(env: &E, stream: E::Stream, listening: &Rc<Listening>, handler: Rc<H>) {
    let ListenerConfig { local, security, limits } = &listening.config;
    let (number, stop) = listening.begin();
    let at = env.now().after_micros(limits.handshake_micros);
    let evicted = async {
        stop.stopped().await;
        Err(RpcError::Ended)
    };
    let greeting = respond(env, limits, security, local, stream, at, |link| handler.admit(link));
    let greeted = future::or(evicted, greeting).await;
    listening.half_open.borrow_mut().remove(&number);
    let Ok(greeted) = greeted else {
        listening.count(|counters| counters.failed_handshakes = counters.failed_handshakes.saturating_add(1));
        return;
    };
    let link = greeted.link;
    let key = listening.enter(number, link, &stop);
    handler.opened(&link);
    let end = Serving::new(env, Rc::clone(listening), Rc::clone(&handler), link, Rc::clone(&stop)).run(greeted).await;
    // Calls at work learn of it too.
    stop.stop();
    listening.leave(number, key);
    if end.is_violation() {
        listening.count(|counters| counters.violations = counters.violations.saturating_add(1));
    } else if matches!(end, RpcError::Timeout(_)) {
        listening.count(|counters| counters.timeouts = counters.timeouts.saturating_add(1));
    }
    handler.closed(&link);
}
