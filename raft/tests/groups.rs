//! Scripts of whole groups: text in, transitions out. Each file in `tests/groups/` tells one section of the Raft paper or thesis.
//!
//! ```text
//! # comment
//! command [node] [name=value ...]
//! ----
//! what happened
//! ```
//!
//! Commands, where N is a node:
//!
//! ```text
//! group voters=1,2,3 [learners=4] [heartbeat, window, window_bytes, message_bytes, retained=..]   a new group, all nodes up
//! new N                        a node that belongs to no group yet
//! tick N [times=..]            its timer; election timeouts are 10 + N ticks
//! campaign N, propose N data=.., read N context=.., transfer N to=.., compact N first=.., hibernate N [down=..], forget N
//! change N [voter=.. learner=.. remove=..] [way=joint|until_left] [leave]
//! elect N                      the others have not heard of a leader for long, and N campaigns; shown is only the outcome.
//!                              When it leads, nothing has left it yet
//! settle                       everything under way is done, and what that causes, until nothing is left to do
//! do N                         its driver takes what is ready
//! deliver [from=..] [to=..] [kind=..]    those messages arrive that are under way now
//! drop [from=..] [to=..] [kind=..]       they are lost
//! slow N, persist N            its writes wait from now on; they become durable, and no more wait
//! cut N, heal                  nothing reaches or leaves it; all links work again
//! crash N, restart N           it loses what is not durable; it starts again
//! status, log N, peers N
//! ```
//!
//! What happened is shown as lines `from>to message`, `N: transition`. Run with `UPDATE_SCRIPTS=1` to rewrite the answers; the
//! change is then reviewed as a diff.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::rc::Rc;

use bytes::Bytes;
use highwater_raft::{
    ConfChange, Config, Entry, EntryKind, GroupId, HardState, LogBounds, LogIndex, Membership, MembershipChange,
    Message, MessageKind, NodeId, RawNode, ReadContext, Ready, SnapshotMeta, Transition,
};

/// A node: what survives, and what does not.
struct Machine {
    raft: Option<RawNode>,
    hard_state: HardState,
    before_first: Option<(LogIndex, highwater_raft::Term)>,
    log: BTreeMap<LogIndex, Entry>,
    /// Applied index, and the membership there; flushed at once.
    applied: LogIndex,
    membership: Membership,
    slow: bool,
    writes: VecDeque<Ready>,
    commit: LogIndex,
}

struct Group {
    config: Config,
    machines: BTreeMap<u64, Machine>,
    network: VecDeque<Message>,
    cut: BTreeSet<u64>,
    out: String,
}

impl Group {
    fn new(config: Config) -> Self {
        Self { config, machines: BTreeMap::new(), network: VecDeque::new(), cut: BTreeSet::new(), out: String::new() }
    }

    fn add(&mut self, node: u64, membership: Membership) {
        let machine = Machine {
            raft: None,
            hard_state: HardState::default(),
            before_first: None,
            log: BTreeMap::new(),
            applied: LogIndex(0),
            membership,
            slow: false,
            writes: VecDeque::new(),
            commit: LogIndex(0),
        };
        self.machines.insert(node, machine);
        self.restart(node);
    }

    fn restart(&mut self, node: u64) {
        let machine = self.machines.get_mut(&node).unwrap();
        let mut bounds =
            machine.before_first.map_or_else(LogBounds::empty, |(index, term)| LogBounds::starting_after(index, term));
        for entry in machine.log.values() {
            bounds.push(entry.index, entry.term).unwrap();
        }
        let mut config = self.config.clone();
        config.id = NodeId(node);
        config.membership = Rc::new(machine.membership.clone());
        // The seed is chosen so that the first timeout of node N is 10 + N ticks, and the scripts can be read.
        config.random_seed = (0..).find(|seed| timeout_of(&config, *seed) == 10 + node as u32).unwrap();
        machine.raft = Some(RawNode::restart(config, machine.hard_state, bounds, machine.applied).unwrap());
        machine.commit = machine.applied.max(machine.hard_state.commit);
        (machine.slow, machine.writes) = (false, VecDeque::new());
    }

    fn raft(&mut self, node: u64) -> &mut RawNode {
        self.machines.get_mut(&node).unwrap().raft.as_mut().expect("the node is up")
    }

    fn say(&mut self, line: impl std::fmt::Display) {
        let _ = writeln!(self.out, "{line}");
    }

    /// The driver takes what is ready. Whether there was anything.
    fn drive(&mut self, node: u64) -> bool {
        let mut any = false;
        while let Some(raft) = self.machines.get_mut(&node).unwrap().raft.as_mut().filter(|raft| raft.has_ready()) {
            let mut ready = raft.ready();
            any = true;
            if let Some(soft_state) = ready.soft_state {
                let (term, role) = (raft.term(), soft_state.role.name());
                let leader = soft_state.leader.map_or("-".to_owned(), |leader| leader.to_string());
                self.say(format!("{node}: {role} term={term} leader={leader}"));
            }
            for to in std::mem::take(&mut ready.snapshots_wanted) {
                self.cut_snapshot(node, to);
            }
            for read in std::mem::take(&mut ready.log_reads) {
                self.say(format!("{node}: reads {}..={} for {}", read.first, read.last, read.to));
                let machine = self.machines.get_mut(&node).unwrap();
                let mut bytes = 0;
                let within =
                    machine.log.range(read.first..=read.last).map(|(_, entry)| entry.clone()).take_while(|entry| {
                        let one = bytes == 0;
                        bytes += entry.size().max(1);
                        one || bytes <= read.max_bytes
                    });
                let entries = within.collect();
                machine.raft.as_mut().unwrap().log_read(&read, entries).unwrap();
            }
            for state in &ready.read_states {
                self.say(format!("{node}: read {} at {}", state.context, state.index));
            }
            for context in &ready.failed_reads {
                self.say(format!("{node}: read {context} failed"));
            }
            self.network.extend(std::mem::take(&mut ready.messages));
            let committed = ready.committed.take();
            if ready.must_sync || !ready.persisted_messages.is_empty() {
                self.machines.get_mut(&node).unwrap().writes.push_back(ready);
            }
            if let Some(committed) = committed {
                let machine = &self.machines[&node];
                let mut entries: Vec<Entry> = Vec::new();
                if let Some(stored) = committed.stored() {
                    entries.extend(machine.log.range(stored).map(|(_, entry)| entry.clone()));
                }
                entries.extend(committed.entries);
                self.apply(node, &entries);
            }
            if !self.machines[&node].slow {
                self.persist(node);
            }
        }
        if let Some(raft) = &self.machines[&node].raft {
            raft.invariants().unwrap();
            let commit = raft.status().commit;
            if commit > self.machines[&node].commit {
                self.machines.get_mut(&node).unwrap().commit = commit;
                self.say(format!("{node}: commit {commit}"));
            }
        }
        any
    }

    fn apply(&mut self, node: u64, entries: &[Entry]) {
        for entry in entries {
            if entry.kind == EntryKind::ConfChange {
                let now = self.raft(node).apply_membership_change(entry).unwrap();
                self.say(format!("{node}: members {}", show_members(&now)));
                self.machines.get_mut(&node).unwrap().membership = now;
            }
            self.machines.get_mut(&node).unwrap().applied = entry.index;
        }
        if let Some(last) = entries.last() {
            self.raft(node).advance_apply(last.index).unwrap();
        }
    }

    fn persist(&mut self, node: u64) {
        let machine = self.machines.get_mut(&node).unwrap();
        while let Some(ready) = machine.writes.pop_front() {
            if let Some(meta) = &ready.snapshot {
                machine.log.clear();
                machine.before_first = Some((meta.index, meta.term));
                machine.applied = meta.index;
                machine.membership = meta.membership.clone();
                let members = show_members(&meta.membership);
                let _ = writeln!(
                    self.out,
                    "{node}: installs the snapshot at {}/{} members {members}",
                    meta.index, meta.term
                );
            }
            machine.hard_state = ready.hard_state.unwrap_or(machine.hard_state);
            if let Some(first) = ready.entries.first() {
                let replaced = machine.log.split_off(&first.index);
                if let (Some((from, _)), Some((to, _))) = (replaced.first_key_value(), replaced.last_key_value()) {
                    let _ = writeln!(self.out, "{node}: replaces {from}..={to}");
                }
            }
            machine.log.extend(ready.entries.iter().map(|entry| (entry.index, entry.clone())));
            self.network.extend(ready.persisted_messages);
            machine.raft.as_mut().unwrap().advance_append(ready.number).unwrap();
        }
    }

    fn cut_snapshot(&mut self, node: u64, to: NodeId) {
        let machine = self.machines.get_mut(&node).unwrap();
        let raft = machine.raft.as_mut().unwrap();
        let index = machine.applied;
        match raft.term_at(index).filter(|_| index > LogIndex(0)) {
            Some(term) => {
                let meta = SnapshotMeta { index, term, membership: machine.membership.clone() };
                let message = raft.snapshot_cut(to, meta).unwrap();
                self.network.push_back(message);
            }
            None => raft.snapshot_failed(to),
        }
    }

    fn arrive(&mut self, message: Message) {
        let (from, to) = (message.from.0, message.to.0);
        let line = format!("{from}>{to} {}", show(&message));
        if self.cut.contains(&from) || self.cut.contains(&to) || self.machines[&to].raft.is_none() {
            self.say(format!("{line}  lost"));
            if let (MessageKind::Snapshot(_), Some(raft)) =
                (&message.kind, self.machines.get_mut(&from).unwrap().raft.as_mut())
            {
                raft.snapshot_failed(message.to);
            }
            return;
        }
        self.say(line);
        if let (MessageKind::Snapshot(meta), Some(raft)) =
            (&message.kind, self.machines.get_mut(&from).unwrap().raft.as_mut())
        {
            raft.snapshot_sent(message.to, meta.index);
        }
        if let Err(error) = self.raft(to).step(message) {
            self.say(format!("{to}: {error}"));
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            let nodes: Vec<u64> = self.machines.keys().copied().collect();
            let mut busy = nodes.into_iter().fold(false, |busy, node| self.drive(node) | busy);
            for message in std::mem::take(&mut self.network) {
                busy = true;
                self.arrive(message);
            }
            if !busy {
                return;
            }
        }
        panic!("the group never comes to rest:\n{}", self.out);
    }

    fn elect(&mut self, node: u64) {
        let out = std::mem::take(&mut self.out);
        let nodes: Vec<u64> = self.machines.keys().copied().collect();
        for other in &nodes {
            if let Some(raft) = self.machines.get_mut(other).unwrap().raft.as_mut().filter(|_| *other != node) {
                raft.forget_leader();
            }
        }
        for round in 0..30 {
            // A lost election is tried again.
            if round % 6 == 0 {
                self.raft(node).campaign();
            }
            for other in &nodes {
                if !(*other == node && self.raft(node).is_leader()) {
                    self.drive(*other);
                }
            }
            if self.raft(node).is_leader() {
                break;
            }
            for message in std::mem::take(&mut self.network) {
                self.arrive(message);
            }
        }
        self.out = out;
        let (leads, term) = (self.raft(node).is_leader(), self.raft(node).term());
        self.say(format!("{node}: {}", if leads { format!("leads term {term}") } else { "is not elected".to_owned() }));
    }

    /// Takes the messages under way that `options` name.
    fn matching(&mut self, options: &BTreeMap<&str, &str>) -> Vec<Message> {
        let wanted = |message: &Message| {
            let named = |name: &str, value: String| options.get(name).is_none_or(|wanted| *wanted == value);
            named("from", message.from.to_string())
                && named("to", message.to.to_string())
                && named("kind", message.kind.name().to_owned())
        };
        let (taken, rest): (Vec<Message>, Vec<Message>) =
            std::mem::take(&mut self.network).into_iter().partition(wanted);
        self.network = rest.into();
        taken
    }

    fn run(&mut self, line: &str) {
        let mut words = line.split_whitespace().peekable();
        let command = words.next().unwrap();
        let node: u64 = words.peek().and_then(|word| word.parse().ok()).unwrap_or(0);
        let options: BTreeMap<&str, &str> = words.filter_map(|word| word.split_once('=')).collect();
        let number = |name: &str, default: u64| options.get(name).map_or(default, |text| text.parse().unwrap());
        match command {
            "new" => self.add(node, Membership::default()),
            "tick" => (0..number("times", 1)).for_each(|_| self.raft(node).tick()),
            "campaign" => self.raft(node).campaign(),
            "elect" => self.elect(node),
            "forget" => self.raft(node).forget_leader(),
            "propose" => {
                let data = Bytes::copy_from_slice(options["data"].as_bytes());
                match self.raft(node).propose(data) {
                    Ok(index) => self.say(format!("{node}: proposed at {index}")),
                    Err(error) => self.say(format!("{node}: {error}")),
                }
            }
            "read" => {
                if let Err(error) = self.raft(node).read_index(ReadContext(number("context", 1))) {
                    self.say(format!("{node}: {error}"));
                }
            }
            "transfer" => {
                if let Err(error) = self.raft(node).transfer_leader(NodeId(number("to", 0))) {
                    self.say(format!("{node}: {error}"));
                }
            }
            "abort" => self.raft(node).abort_transfer(),
            "compact" => {
                let first = LogIndex(number("first", 1));
                self.raft(node).compact(first).unwrap();
                let machine = self.machines.get_mut(&node).unwrap();
                let kept = machine.log.split_off(&first);
                let last = machine.log.last_key_value().map(|(index, entry)| (*index, entry.term));
                machine.before_first = last.or(machine.before_first);
                machine.log = kept;
            }
            "hibernate" => {
                let down = nodes(options.get("down").copied().unwrap_or(""));
                let slept = self.raft(node).hibernate(&down);
                self.say(format!("{node}: {}", if slept { "sleeps" } else { "cannot sleep" }));
            }
            "change" => self.change(node, &options, line.contains(" leave")),
            "settle" => self.settle(),
            "do" => {
                self.drive(node);
            }
            "deliver" => self.matching(&options).into_iter().for_each(|message| self.arrive(message)),
            "drop" => {
                for message in self.matching(&options) {
                    let sender = self.machines.get_mut(&message.from.0).unwrap().raft.as_mut();
                    if let (MessageKind::Snapshot(_), Some(raft)) = (&message.kind, sender) {
                        raft.snapshot_failed(message.to);
                    }
                    self.say(format!("{}>{} {}  lost", message.from, message.to, show(&message)));
                }
            }
            "slow" => self.machines.get_mut(&node).unwrap().slow = true,
            "persist" => {
                self.machines.get_mut(&node).unwrap().slow = false;
                self.persist(node);
            }
            "cut" => {
                self.cut.insert(node);
            }
            "heal" => self.cut.clear(),
            "crash" => self.machines.get_mut(&node).unwrap().raft = None,
            "restart" => self.restart(node),
            "status" => {
                for (node, machine) in &self.machines {
                    let Some(raft) = &machine.raft else {
                        let _ = writeln!(self.out, "{node}: down");
                        continue;
                    };
                    let s = raft.status();
                    let _ = writeln!(
                        self.out,
                        "{node}: {} term={} leader={} last={} persisted={} commit={} applied={}{}",
                        s.role.name(),
                        s.term,
                        s.leader.map_or("-".to_owned(), |leader| leader.to_string()),
                        s.last,
                        s.persisted,
                        s.commit,
                        s.applied,
                        if s.hibernating { " asleep" } else { "" }
                    );
                }
            }
            "log" => {
                let log = &self.machines[&node].log;
                let shown: Vec<String> = log.values().map(show_entry).collect();
                self.say(format!("{node}: {}", shown.join(" ")));
            }
            "peers" => {
                let peers: Vec<String> = self
                    .raft(node)
                    .peers()
                    .map(|peer| {
                        format!(
                            "{} {} matched={} next={} inflight={}",
                            peer.id,
                            peer.state.name(),
                            peer.matched,
                            peer.next,
                            peer.inflight
                        )
                    })
                    .collect();
                self.say(peers.join("\n"));
            }
            other => panic!("unknown command {other}"),
        }
        for machine in self.machines.values() {
            machine.raft.iter().for_each(|raft| raft.invariants().unwrap());
        }
    }

    fn change(&mut self, node: u64, options: &BTreeMap<&str, &str>, leave: bool) {
        let of = |name: &str, step: fn(NodeId) -> ConfChange| {
            nodes(options.get(name).copied().unwrap_or("")).into_iter().map(step).collect::<Vec<_>>()
        };
        let steps = [
            of("voter", ConfChange::AddVoter),
            of("learner", ConfChange::AddLearner),
            of("remove", ConfChange::Remove),
        ];
        let transition = match options.get("way") {
            Some(&"joint") => Transition::Joint,
            Some(&"until_left") => Transition::JointUntilLeft,
            _ => Transition::Auto,
        };
        let change = if leave {
            MembershipChange::leave()
        } else {
            MembershipChange { transition, steps: steps.concat(), context: Bytes::new() }
        };
        match self.raft(node).propose_membership_change(&change) {
            Ok(index) => self.say(format!("{node}: proposed at {index}")),
            Err(error) => self.say(format!("{node}: {error}")),
        }
    }
}

/// The first election timeout of a replica with this seed: ticks until it asks for votes.
fn timeout_of(config: &Config, seed: u64) -> u32 {
    let mut config = config.clone();
    config.random_seed = seed;
    config.membership = Rc::new(Membership::new(&[config.id, NodeId(1000)], &[]));
    let mut raft = RawNode::restart(config, HardState::default(), LogBounds::empty(), LogIndex(0)).unwrap();
    (1..)
        .find(|_| {
            raft.tick();
            raft.has_ready()
        })
        .unwrap()
}

fn nodes(list: &str) -> Vec<NodeId> {
    list.split(',').filter(|node| !node.is_empty()).map(|node| NodeId(node.parse().unwrap())).collect()
}

fn show_members(members: &Membership) -> String {
    let list = |nodes: &[NodeId]| nodes.iter().map(NodeId::to_string).collect::<Vec<_>>().join(",");
    let mut out = list(members.voters());
    for (name, nodes) in
        [("outgoing", members.outgoing()), ("learners", members.learners()), ("learners_next", members.learners_next())]
    {
        if !nodes.is_empty() {
            let _ = write!(out, " {name}={}", list(nodes));
        }
    }
    out
}

fn show_entry(entry: &Entry) -> String {
    let what = match entry.kind {
        EntryKind::Normal => String::from_utf8_lossy(&entry.data).into_owned(),
        EntryKind::ConfChange => "change".to_owned(),
        EntryKind::Noop => "-".to_owned(),
    };
    format!("{}/{}:{what}", entry.index, entry.term)
}

fn show(message: &Message) -> String {
    let term = message.term;
    let said = match &message.kind {
        MessageKind::PreVote { last_index, last_term } => format!("last={last_index}/{last_term}"),
        MessageKind::Vote { last_index, last_term, transfer } => {
            format!("last={last_index}/{last_term}{}", if *transfer { " transfer" } else { "" })
        }
        MessageKind::PreVoteResponse { granted } | MessageKind::VoteResponse { granted } => {
            (if *granted { "granted" } else { "refused" }).to_owned()
        }
        MessageKind::Append { prev_index, prev_term, entries, commit } => {
            let entries: Vec<String> = entries.iter().map(show_entry).collect();
            format!("after={prev_index}/{prev_term} [{}] commit={commit}", entries.join(" "))
        }
        MessageKind::AppendResponse { index, reject_hint: None } => format!("accepted={index}"),
        MessageKind::AppendResponse { index, reject_hint: Some((hint, term)) } => {
            format!("refused={index} hint={hint}/{term}")
        }
        MessageKind::Heartbeat { commit, round } => format!("commit={commit} round={round}"),
        MessageKind::HeartbeatResponse { round } => format!("round={round}"),
        MessageKind::Snapshot(meta) => {
            format!("at={}/{} members={}", meta.index, meta.term, show_members(&meta.membership))
        }
        MessageKind::ReadIndex { context, .. } => format!("context={context}"),
        MessageKind::ReadIndexResponse { context, index, .. } => {
            format!("context={context} index={}", index.map_or("-".to_owned(), |index| index.to_string()))
        }
        MessageKind::Committed { index, index_term } => format!("at={index}/{index_term}"),
        MessageKind::Hibernate { index } => format!("at={index}"),
        MessageKind::SnapshotWanted | MessageKind::Wake | MessageKind::TimeoutNow => String::new(),
    };
    format!("{} term={term} {said}", message.kind.name()).trim_end().to_owned()
}

fn start(line: &str) -> Group {
    let options: BTreeMap<&str, &str> = line.split_whitespace().filter_map(|word| word.split_once('=')).collect();
    let number = |name: &str, default: usize| options.get(name).map_or(default, |text| text.parse().unwrap());
    let voters = nodes(options["voters"]);
    let membership = Membership::new(&voters, &nodes(options.get("learners").copied().unwrap_or("")));
    let mut config = Config::member(NodeId(1), GroupId(7), membership.clone());
    let limits = Rc::make_mut(&mut config.limits);
    limits.heartbeat_ticks = number("heartbeat", 3) as u32;
    limits.max_inflight_messages = number("window", 64);
    limits.max_inflight_bytes = number("window_bytes", 1000);
    limits.max_message_bytes = number("message_bytes", 1000);
    limits.max_retained_bytes = number("retained", 1000);
    limits.max_uncommitted_bytes = number("uncommitted", 1000);
    let mut group = Group::new(config);
    for node in membership.members() {
        group.add(node.0, membership.clone());
    }
    group
}

fn replay(name: &str) {
    let path = format!("{}/tests/groups/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(&path).unwrap();
    let mut group = None;
    let mut replayed = String::new();
    for block in script.split("\n\n") {
        let commands = block.split("----").next().unwrap().trim();
        if commands.is_empty() {
            continue;
        }
        let lines: Vec<&str> = commands.lines().filter(|line| !line.starts_with('#')).collect();
        replayed.push_str(commands);
        if lines.is_empty() {
            replayed.push_str("\n\n");
            continue;
        }
        for line in lines {
            if line.starts_with("group") {
                group = Some(start(line));
            } else {
                group.as_mut().expect("a script starts with a group").run(line);
            }
        }
        let out = std::mem::take(&mut group.as_mut().unwrap().out);
        replayed.push_str("\n----\n");
        replayed.push_str(if out.is_empty() { "nothing\n" } else { &out });
        replayed.push('\n');
    }
    let replayed = format!("{}\n", replayed.trim_end());
    if std::env::var_os("UPDATE_SCRIPTS").is_some() {
        std::fs::write(&path, &replayed).unwrap();
    } else if replayed != script {
        panic!("{name}.txt tells otherwise now:\n{replayed}");
    }
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)+) => {
        $(
            #[test]
            fn $name() {
                replay($file);
            }
        )+
    };
}

scripts! {
    a_majority_elects_at_most_one_leader_per_term = "leader_election";
    followers_logs_become_the_leaders = "log_replication";
    who_lacks_committed_entries_is_not_elected = "election_restriction";
    entries_of_earlier_terms_are_committed_only_through_one_of_the_leaders_own = "commitment_rule";
    nothing_is_said_that_a_crash_could_take_back = "persistence";
    who_was_cut_off_disturbs_nobody = "pre_vote";
    a_leader_that_no_quorum_follows_steps_down = "check_quorum";
    leadership_is_handed_over_without_a_timeout = "transfer";
    learners_receive_the_log_and_never_count = "learners";
    one_voter_comes_or_goes_in_one_step = "single_change";
    several_voters_change_through_a_joint_membership = "joint_change";
    who_lags_past_the_log_gets_a_snapshot = "snapshot";
    reads_are_confirmed_by_a_quorum_and_never_stale = "read_index";
    appends_are_pipelined_within_a_window = "pipelining";
    idle_groups_sleep_and_wake = "hibernation";
    clients_are_told_where_the_leader_is = "clients";
}
