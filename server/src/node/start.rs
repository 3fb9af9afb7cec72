//! Starting and stopping one core's part of the node.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use highwater_engine::{EngineError, GroupId, RecoveredGroup, Store, StoreOptions};
use highwater_raft as raft;
use highwater_runtime::queue::Receiver;
use highwater_runtime::{Env, Monotonic, Rt};
use highwater_sql::catalog::Catalog;
use highwater_sql::diag::{Diag, SqlState};
use highwater_state::StateError;
use highwater_state::command::{Command, MetaCommand};
use highwater_state::group::GroupState;
use highwater_state::placement::{Layout, META};

use super::forward::{ForwardFigures, Motion};
use super::host::{Cast, MAX_PENDING, StoreHost};
use super::mesh::{Admission, Ports, Proposal, Question, Readiness};
use super::portions::in_portions;
use super::replica::{Shared, Start};
use super::shape::{self, Shape, ShapeError};
use super::snapshots::folders;
use super::{Inner, Node, NodeSettings, ask_port, driver, intake, reads, shipper};
use crate::auth;
use crate::cluster::Links;
use crate::signal::Signal;

/// How often a starting core looks whether the others are ready, in microseconds.
const POLL_MICROS: u64 = 2_000;
/// How long a starting store waits for a group's leader before it asks again, in microseconds.
const BARRIER_MICROS: u64 = 1_000_000;
/// Groups of one store that are asked at one time for their leader when a node starts.
const MOST_ASKED: usize = 64;
/// How often a node looks whether its clock is wrong, in microseconds.
const CLOCK_MICROS: u64 = 1_000_000;
/// How long a node that stops waits for others to take over what it leads, in microseconds.
const HAND_OVER_MICROS: u64 = 500_000;
/// What statements get beyond the time of the connections that wait for them, in microseconds.
const LATER_MICROS: u64 = 200_000;
/// How long a node waits for the meta group's leader to write the cluster's first entry before it proposes one, in microseconds.
const OTHERS_PASSWORD_MICROS: u64 = 3_000_000;

/// What a core needs to start; the same for every core of a node.
#[derive(Clone, Debug)]
pub struct NodeSetup {
    /// The data folder; it exists.
    pub data_dir: PathBuf,
    /// Groups and stores of a new folder. An existing folder keeps its own.
    pub layout: Layout,
    /// Root's password, for a new folder.
    pub root_password: String,
    /// Options of every store; identities are filled in here.
    pub store: StoreOptions,
    /// The rest.
    pub settings: NodeSettings,
}

/// Why a core did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder's shape.
    #[error(transparent)]
    Shape(#[from] ShapeError),
    /// A store.
    #[error("store {store} cannot be opened: {source}")]
    Store {
        /// Its number.
        store: u32,
        /// Why.
        source: EngineError,
    },
    /// What unfinished snapshots have left in a store's folder.
    #[error("the files of unfinished snapshots of store {store} cannot be removed: {why}")]
    Leftovers {
        /// Its number.
        store: u32,
        /// Why.
        why: String,
    },
    /// A group.
    #[error("group {group} cannot be opened: {source}")]
    Group {
        /// Its number.
        group: u32,
        /// Why.
        source: StateError,
    },
    /// Its Raft replica.
    #[error("group {group} cannot be started: {diag}")]
    Replica {
        /// Its number.
        group: u32,
        /// Why.
        diag: Diag,
    },
    /// The first entry of the cluster.
    #[error("the cluster cannot be set up: {0}")]
    Bootstrap(Diag),
    /// Another core did not start.
    #[error("another core stopped while the node was starting")]
    OtherCore,
}

/// What starts one core's part of the node.
pub struct NodeStart {
    node: Node,
    setup: NodeSetup,
    proposals: Receiver<Proposal>,
    questions: Receiver<Question>,
    messages: Receiver<Vec<raft::Message>>,
    layouts: Receiver<(Layout, u64)>,
}

impl NodeStart {
    /// Opens this core's stores, starts its groups, and returns once the whole node is ready. Whoever waits for that is told meanwhile whether
    /// it is disk space that the node waits for.
    ///
    /// # Errors
    /// [`StartError`]: the node cannot start and must stop.
    pub(crate) async fn run(self, wants_space: impl Fn(bool)) -> Result<(), StartError> {
        let Self { node, setup, proposals, questions, messages, layouts } = self;
        let (env, core) = (node.0.env.clone(), node.0.core);
        let shape = node.agree_on_shape(&layouts, &setup).await?;
        let _ = node.0.layout.set(shape.layout);
        let cores = u32::try_from(node.0.to.len()).unwrap_or(1).max(1);
        for store in (0..shape.layout.stores).filter(|store| store % cores == u32::from(core.0)) {
            node.open_store(store, &shape, &setup).await?;
        }
        env.spawn("questions", reads::serve(node.clone(), questions));
        env.spawn("proposals", dispatch(node.clone(), proposals));
        env.spawn("messages", take_in(node.clone(), messages));
        for host in node.hosts() {
            env.spawn("shipper", shipper::ship(node.clone(), host));
        }
        if node.host_of(META).is_some() && !node.links().is_alone() {
            // From the first moment: a group whose voters are newer than this node's roll may need a link to them to find a leader.
            let (follower, folder) = (node.clone(), setup.data_dir.clone());
            env.spawn("roll", async move { follower.follow_roll(folder).await });
        }
        node.until_all_ready(wants_space).await?;
        node.bootstrap_if_new(&shape, &setup).await?;
        if node.host_of(META).is_some() {
            let follower = node.clone();
            env.spawn("definitions", async move { follower.follow_definitions().await });
        }
        Ok(())
    }
}

impl Node {
    /// This core's part of the node, and what starts it. The part takes other nodes' messages while it starts.
    pub(crate) fn create(env: Rt, ports: Ports, setup: NodeSetup, links: Links) -> (Self, NodeStart) {
        let Ports { core, proposals, questions, messages, layouts, pace, to } = ports;
        let started = env.now();
        let node = Self(Rc::new(Inner {
            env,
            core,
            settings: setup.settings.clone(),
            links,
            leaders: RefCell::default(),
            forward: ForwardFigures::default(),
            pace,
            to,
            layout: OnceCell::new(),
            cluster: OnceCell::new(),
            catalog: RefCell::new(Arc::new(Catalog::default())),
            plans: RefCell::default(),
            sessions: Default::default(),
            workspaces: Default::default(),
            held: Default::default(),
            catalog_changed: Signal::default(),
            hosts: RefCell::new(BTreeMap::new()),
            started,
            traffic: OnceCell::new(),
            audit: OnceCell::new(),
            serving: Cell::new(false),
            closing: Cell::new(false),
            in_flight: Cell::new(0),
            idle: Signal::default(),
        }));
        (node.clone(), NodeStart { node, setup, proposals, questions, messages, layouts })
    }

    /// [`Self::create`], then [`NodeStart::run`].
    ///
    /// # Errors
    /// [`StartError`]: the node cannot start and must stop.
    pub(crate) async fn start(env: Rt, ports: Ports, setup: NodeSetup, links: Links) -> Result<Self, StartError> {
        let (node, start) = Self::create(env, ports, setup, links);
        start.run(|_| ()).await?;
        Ok(node)
    }

    /// Core 0 reads or makes the shape and tells the others.
    async fn agree_on_shape(&self, layouts: &Receiver<(Layout, u64)>, setup: &NodeSetup) -> Result<Shape, StartError> {
        if self.0.core.0 == 0 {
            let shape = shape::read_or_make(&self.0.env, &setup.data_dir, setup.layout).await?;
            for port in self.0.to.iter().skip(1) {
                port.layouts.send((shape.layout, shape.database_id)).await.map_err(|_| StartError::OtherCore)?;
            }
            return Ok(shape);
        }
        let (layout, database_id) = layouts.recv().await.ok_or(StartError::OtherCore)?;
        Ok(Shape { layout, database_id })
    }

    async fn open_store(&self, store: u32, shape: &Shape, setup: &NodeSetup) -> Result<(), StartError> {
        let folder = setup.data_dir.join(format!("store-{store}"));
        let options = StoreOptions { database_id: shape.database_id, store_id: store, ..setup.store.clone() };
        folders::remove_leftovers(&self.0.env, &folder)
            .await
            .map_err(|error| StartError::Leftovers { store, why: error.to_string() })?;
        let (opened, recovery) = Store::open(self.0.env.clone(), &folder, options)
            .await
            .map_err(|source| StartError::Store { store, source })?;
        if let Some((file, offset)) = &recovery.log.dropped_tail {
            tracing::warn!(
                store,
                file = %file.display(),
                offset,
                "the last write of the log is not whole and was left out, as after a crash in the middle of it; if it had been acknowledged, the \
                 disk lost or changed what it had confirmed"
            );
        }
        let links = &self.0.links;
        let cast = Cast { me: links.me(), members: links.founders(), is_alone: links.is_alone() };
        let host = Rc::new(StoreHost::new(self.0.env.clone(), Rc::clone(&opened), cast));
        host.liveness.ask(self.0.links.clone());
        host.store_number.set(store);
        let _ = host.snapshots.set(self.store_snapshots(&opened));
        host.keep_at_most(setup.settings.kept_log);
        let (mut states, mut shared) = (BTreeMap::new(), Shared::default());
        for group in shape.layout.groups().filter(|group| shape.layout.store_of(*group) == store) {
            let mut state = GroupState::open(Rc::clone(&opened), group, shape.layout)
                .await
                .map_err(|source| StartError::Group { group, source })?;
            host.share_catalog(&mut state);
            opened.advance_clock(GroupId(group), state.log_time());
            let new = RecoveredGroup::default();
            let replica = Start {
                group,
                me: host.cast.me,
                members: &host.cast.members,
                shared: &mut shared,
                seed: self.0.env.random(),
                recovered: recovery.groups.get(&GroupId(group)).unwrap_or(&new),
                terms: opened.term_runs(GroupId(group)),
                state: &state,
            };
            host.add(replica.start().map_err(|diag| StartError::Replica { group, diag })?);
            states.insert(group, state);
        }
        self.0.hosts.borrow_mut().insert(store, Rc::clone(&host));
        let (env, links) = (&self.0.env, self.0.links.clone());
        let send = move |message| links.send(message);
        env.spawn("driver", driver::drive(env.clone(), Rc::clone(&host), states, send));
        if !host.is_alone {
            env.spawn("ticks", driver::tick(env.clone(), Rc::clone(&host), driver::TICK_MICROS));
            let links = self.0.links.clone();
            let is_leaving = move || links.leaving().contains(&links.me());
            env.spawn("readiness", readiness(env.clone(), Rc::clone(&host), is_leaving));
            env.spawn("clock", step_aside(env.clone(), self.0.links.clone(), Rc::clone(&host)));
        }
        Ok(())
    }

    /// Waits until every group of every core has a leader and has shown that it holds everything that was acknowledged.
    async fn until_all_ready(&self, wants_space: impl Fn(bool)) -> Result<(), StartError> {
        for port in &self.0.to {
            loop {
                let readiness = ask_port(port, Question::Ready).await.map_err(|_| StartError::OtherCore)?;
                wants_space(readiness == Readiness::WaitsForSpace);
                if readiness == Readiness::Ready {
                    break;
                }
                self.0.env.sleep(POLL_MICROS).await;
            }
        }
        Ok(())
    }

    /// The node that leads the meta group writes the cluster's first entry if there is none; all wait until it is there.
    async fn bootstrap_if_new(&self, shape: &Shape, setup: &NodeSetup) -> Result<(), StartError> {
        let late = self.0.env.now().after_micros(OTHERS_PASSWORD_MICROS);
        loop {
            let known = match self
                .ask(META, |reply| Question::Cluster(self.own_errand().deadline, reply))
                .await
                .map_err(StartError::Bootstrap)?
            {
                Ok(known) => known,
                Err(diag) if self.is_transient(&diag) => None,
                Err(diag) => return Err(StartError::Bootstrap(diag)),
            };
            if let Some(cluster) = known {
                let catalog = match self.newest_catalog().await {
                    Ok(catalog) => catalog,
                    Err(diag) if self.is_transient(&diag) => continue,
                    Err(diag) => return Err(StartError::Bootstrap(diag)),
                };
                self.take_catalog(catalog);
                let _ = self.0.cluster.set(cluster);
                return Ok(());
            }
            let leads = self.leader_of(META).await == Some(self.0.links.me());
            // A leader that was given no password waits for another node's.
            let mine = self.0.core.0 == 0 && (leads || self.0.env.now() >= late);
            let may = !setup.root_password.is_empty() || setup.settings.awaits_setup;
            if mine && may {
                let command = self.bootstrap_command(shape, setup).await;
                let done = self.propose(Motion::of_system(self.own_errand(), META, command, None)).await;
                match done.map_err(Diag::from) {
                    Ok(_) => continue,
                    Err(diag) if self.is_transient(&diag) => {}
                    Err(diag) => return Err(StartError::Bootstrap(diag)),
                }
            } else if mine && self.0.links.is_alone() {
                // A first start that ended before its first entry, then a start that was given no password.
                let what =
                    "the user root has no password yet; give one as HIGHWATER_ROOT_PASSWORD or with --root-password";
                let diag = Diag::new(SqlState::INVALID_PASSWORD, what);
                return Err(StartError::Bootstrap(diag));
            }
            self.0.env.sleep(POLL_MICROS).await;
        }
    }

    /// Whether what failed may succeed when a leader is there again.
    fn is_transient(&self, diag: &Diag) -> bool {
        let states =
            [SqlState::TIMEOUT, SqlState::OVERLOADED, SqlState::OUTCOME_UNKNOWN, SqlState::INSUFFICIENT_RESOURCES];
        !self.0.links.is_alone() && states.contains(&diag.sqlstate)
    }

    async fn bootstrap_command(&self, shape: &Shape, setup: &NodeSetup) -> Command {
        let env = &self.0.env;
        let mut token_key = [0; 32];
        for chunk in token_key.chunks_exact_mut(8) {
            chunk.copy_from_slice(&env.random().to_le_bytes());
        }
        let salt = auth::random_salt(env);
        let (password, iterations) = (setup.root_password.clone(), setup.settings.scram_iterations);
        let root_verifier = if password.is_empty() {
            String::new()
        } else {
            env.blocking(move || auth::derive_verifier(&password, salt, iterations)).await
        };
        Command::Meta(MetaCommand::Bootstrap {
            cluster_id: self.0.links.cluster_id().unwrap_or_else(|| auth::random_id(env)),
            layout: shape.layout,
            token_key,
            root_verifier,
        })
    }

    /// The newest catalog, from the meta group itself: a linearizable read, within the time of a statement.
    ///
    /// # Errors
    /// 57014 when the meta group has no leader for so long; 57P01 while the node shuts down.
    pub(crate) async fn newest_catalog(&self) -> Result<Arc<Catalog>, Diag> {
        self.newest_catalog_by(self.statement_deadline()).await
    }

    /// [`Self::newest_catalog`] within a time of its own.
    ///
    /// # Errors
    /// The same.
    pub(crate) async fn newest_catalog_by(&self, deadline: Monotonic) -> Result<Arc<Catalog>, Diag> {
        let catalog = self.ask(META, |reply| Question::Catalog(deadline, reply)).await??;
        self.take_catalog(Arc::clone(&catalog));
        Ok(catalog)
    }

    /// Stops this core's part: no new work, and what is in flight is finished, or given up after `shutdown_deadline`. After a core has
    /// stopped, no core answers any more.
    pub async fn shutdown(&self) {
        self.0.closing.set(true);
        // Others need not find out by silence that this node leads no more.
        let late = self.0.env.now().after_micros(HAND_OVER_MICROS);
        while self.0.env.now() < late && self.hosts().iter().any(|host| host.leads_others()) {
            self.hosts().iter().for_each(|host| host.hand_over(|_| true));
            self.0.env.sleep(POLL_MICROS).await;
        }
        for host in self.hosts() {
            host.draining.set(true);
            host.published.notify();
            host.definitions.notify();
        }
        let idle = async {
            while self.0.in_flight.get() > 0 {
                let seen = self.0.idle.seen();
                if self.0.in_flight.get() > 0 {
                    self.0.idle.changed_since(seen).await;
                }
            }
        };
        // A little more than the connections have, whose statements may be done by then.
        let late = self.0.env.sleep(self.settings().shutdown_micros.saturating_add(LATER_MICROS));
        futures_lite::future::or(idle, late).await;
        let cut_off = self.0.in_flight.get();
        if cut_off > 0 {
            tracing::warn!(statements = cut_off, "statements are cut off: the shutdown deadline has passed");
        }
    }

    /// Closes this core's stores. Called once every core has finished its [`Self::shutdown`], as a statement of one core
    /// may need another's groups.
    pub async fn close(&self) {
        for host in self.hosts() {
            let seen = host.stopped.seen();
            host.closing.set(true);
            host.outbox.notify();
            host.definitions.notify();
            host.work.notify();
            host.stopped.changed_since(seen).await;
        }
    }
}

/// Hands proposals to the drivers of this core's stores.
async fn dispatch(node: Node, proposals: Receiver<Proposal>) {
    while let Some(proposal) = proposals.recv().await {
        match node.host_of(proposal.group) {
            Some(host) => put_before(&host, proposal),
            None => proposal.reply.fill(Err(super::shutting_down().into())),
        }
    }
}

/// Puts a proposal before a store's driver, or refuses it.
pub(super) fn put_before(host: &StoreHost, proposal: Proposal) {
    if host.closing.get() {
        proposal.reply.fill(Err(super::shutting_down().into()));
        return;
    }
    if proposal.admission == Admission::Client {
        if host.disk_full.get() {
            return intake::refuse(host, &intake::no_space(host), vec![proposal]);
        }
        if host.pending.borrow().len() >= MAX_PENDING {
            return intake::refuse(host, &intake::full_queue(), vec![proposal]);
        }
    }
    host.pending.borrow_mut().push_back(proposal);
    host.work.notify();
}

/// Puts other nodes' messages before the drivers of this core's stores.
async fn take_in(node: Node, messages: Receiver<Vec<raft::Message>>) {
    while let Some(messages) = messages.recv().await {
        bring(&node, messages).await;
    }
}

/// Puts messages before the drivers of this core's stores, each as soon as its driver has room.
pub(super) async fn bring(node: &Node, messages: Vec<raft::Message>) {
    for message in messages {
        // A snapshot is announced by whoever has staged all of it, not by the message alone.
        if matches!(message.kind, raft::MessageKind::Snapshot(_)) {
            continue;
        }
        if let Some(host) = node.host_of(message.group.0) {
            host.bring(message).await;
        }
    }
}

/// A store is ready once each of its groups has passed a read barrier: it knows a leader and holds all that was acknowledged.
/// So many groups are asked at one time, as groups that are asked wake up.
pub(super) async fn readiness(env: Rt, host: Rc<StoreHost>, is_leaving: impl Fn() -> bool + 'static) {
    let (asking, asked, is_leaving) = (env.clone(), Rc::clone(&host), Rc::new(is_leaving));
    let ask = move |group| {
        let (env, host, is_leaving) = (asking.clone(), Rc::clone(&asked), Rc::clone(&is_leaving));
        async move {
            // Of a seat nothing is waited for: its group is read elsewhere. A node that leaves may have no part in a group any more, and be
            // told so by nobody; the meta group goes last.
            let is_elsewhere = || host.is_seat(group) || group != META && is_leaving();
            while !host.closing.get() && !is_elsewhere() {
                if host.barrier(group, env.now().after_micros(BARRIER_MICROS)).await.is_ok() {
                    break;
                }
            }
        }
    };
    in_portions(&env, "barrier of a start", host.groups(), MOST_ASKED, ask).await;
    host.ready.set(true);
    host.outbox.notify();
}

/// A node whose clock is wrong does not lead: the stamps of its entries would be wrong. It hands over to those only whose clocks are
/// right: two wrong ones would pass leads to and fro for ever. Until there is one it leads on.
async fn step_aside(env: Rt, links: Links, host: Rc<StoreHost>) {
    while !host.closing.get() {
        env.sleep(CLOCK_MICROS).await;
        if links.clock_is_wrong() {
            host.hand_over(|node| links.is_clock_near_most(node));
        }
    }
}
