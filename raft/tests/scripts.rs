//! Scripts: text in, text out. Each file in `tests/scripts/` is a list of blocks of commands and of what they answer:
//!
//! ```text
//! # comment
//! command [name=value ...]
//! ----
//! answer
//! ```
//!
//! Run with `UPDATE_SCRIPTS=1` to rewrite the answers; the change is then reviewed as a diff.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::rc::Rc;

use bytes::Bytes;
use highwater_raft::{
    ConfChange, Config, Entry, GroupId, HardState, LogBounds, LogIndex, Membership, Message, MessageKind, NodeId,
    RawNode, ReadContext, Ready, ReadyNumber, Term,
};

fn show_entries(out: &mut String, entries: &[Entry]) {
    for entry in entries {
        let _ = writeln!(
            out,
            "  {}/{} {:?} {:?}",
            entry.index,
            entry.term,
            entry.kind,
            String::from_utf8_lossy(&entry.data)
        );
    }
}

fn show_ready(ready: &Ready) -> String {
    let mut out = format!("ready {}{}\n", ready.number, if ready.must_sync { " must_sync" } else { "" });
    if let Some(soft_state) = ready.soft_state {
        let _ = writeln!(
            out,
            "{} leader={}",
            soft_state.role.name(),
            soft_state.leader.map_or("-".into(), |leader| leader.to_string())
        );
    }
    if let Some(hard_state) = ready.hard_state {
        let vote = hard_state.vote.map_or("-".into(), |vote| vote.to_string());
        let _ = writeln!(out, "hard_state term={} vote={vote} commit={}", hard_state.term, hard_state.commit);
    }
    if !ready.entries.is_empty() {
        out.push_str("entries\n");
        show_entries(&mut out, &ready.entries);
    }
    if let Some(committed) = &ready.committed {
        let _ = writeln!(out, "committed {}..={}", committed.first, committed.last);
        if let Some(stored) = committed.stored() {
            let _ = writeln!(out, "  read {}..={}", stored.start(), stored.end());
        }
        show_entries(&mut out, &committed.entries);
    }
    for read in &ready.read_states {
        let _ = writeln!(out, "read {} at {}", read.context, read.index);
    }
    for context in &ready.failed_reads {
        let _ = writeln!(out, "read {context} failed");
    }
    assert!(ready.messages.is_empty() && ready.persisted_messages.is_empty(), "a sole voter sends nothing");
    out
}

fn answer<T, E: std::fmt::Display>(result: Result<T, E>, shown: impl FnOnce(T) -> String) -> String {
    match result {
        Ok(value) => shown(value),
        Err(error) => format!("error: {error}\n"),
    }
}

fn run(node: &mut Option<RawNode>, line: &str) -> String {
    let mut words = line.split_whitespace();
    let command = words.next().unwrap();
    let options: BTreeMap<&str, &str> = words.filter_map(|word| word.split_once('=')).collect();
    let number = |name: &str, default: u64| options.get(name).map_or(default, |text| text.parse().unwrap());
    if command == "restart" {
        let mut config = Config::sole_voter(NodeId(number("id", 1)), GroupId(7));
        if let Some(voters) = options.get("voters") {
            let voters: Vec<NodeId> = voters.split(',').map(|voter| NodeId(voter.parse().unwrap())).collect();
            config.membership = Rc::new(Membership::new(&voters, &[]));
        }
        let limits = Rc::make_mut(&mut config.limits);
        limits.max_uncommitted_bytes = usize::try_from(number("max_uncommitted", 1000)).unwrap();
        limits.max_ready_bytes = usize::try_from(number("max_ready", 1000)).unwrap();
        limits.max_pending_reads = usize::try_from(number("max_reads", 10)).unwrap();
        let hard_state = HardState {
            term: Term(number("term", 0)),
            vote: options.get("vote").map(|vote| NodeId(vote.parse().unwrap())),
            commit: LogIndex(number("commit", 0)),
        };
        let last = number("last", number("first", 1) - 1);
        let bounds =
            LogBounds::with_last_term(LogIndex(number("first", 1))..=LogIndex(last), Term(number("last_term", 0)));
        return answer(RawNode::restart(config, hard_state, bounds, LogIndex(number("applied", 0))), |started| {
            *node = Some(started);
            "ok\n".to_owned()
        });
    }
    let node = node.as_mut().expect("a script starts with restart");
    let done = |()| "ok\n".to_owned();
    let out = match command {
        "tick" => {
            node.tick();
            done(())
        }
        "campaign" => {
            node.campaign();
            done(())
        }
        "propose" => {
            let data = options
                .get("data")
                .map_or_else(|| vec![b'x'; number("size", 0) as usize], |text| text.as_bytes().to_vec());
            answer(node.propose(Bytes::from(data)), |index| format!("index {index}\n"))
        }
        "propose_conf_change" => {
            answer(node.propose_conf_change(ConfChange::AddVoter(NodeId(2))), |index| format!("index {index}\n"))
        }
        "transfer" => answer(node.transfer_leader(NodeId(number("to", 1))), done),
        "read" => answer(node.read_index(ReadContext(number("context", 1))), done),
        "step" => answer(
            node.step(Message {
                group: GroupId(u32::try_from(number("group", 7)).unwrap()),
                from: NodeId(number("from", 2)),
                to: NodeId(number("to", 1)),
                term: Term(number("term", 1)),
                kind: MessageKind::TimeoutNow,
            }),
            done,
        ),
        "ready" => {
            if node.has_ready() {
                show_ready(&node.ready())
            } else {
                "nothing\n".to_owned()
            }
        }
        "appended" => answer(node.advance_append(ReadyNumber(number("ready", 0))), done),
        "applied" => answer(node.advance_apply(LogIndex(number("index", 0))), done),
        "compact" => answer(node.compact(LogIndex(number("first", 0))), done),
        "status" => {
            let s = node.status();
            format!(
                "{} term={} first={} last={} persisted={} commit={} handed_over={} applied={} uncommitted={} reads={}\n",
                s.role.name(),
                s.term,
                s.first,
                s.last,
                s.persisted,
                s.commit,
                s.handed_over,
                s.applied,
                s.uncommitted_bytes,
                s.waiting_reads
            )
        }
        other => panic!("unknown command {other}"),
    };
    node.invariants().unwrap();
    out
}

fn replay(name: &str) {
    let path = format!("{}/tests/scripts/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let script = std::fs::read_to_string(&path).unwrap();
    let mut node = None;
    let mut replayed = String::new();
    for block in script.split("\n\n") {
        let commands = block.split("----").next().unwrap().trim();
        if commands.is_empty() {
            continue;
        }
        let lines: Vec<&str> = commands.lines().filter(|line| !line.starts_with('#')).collect();
        replayed.push_str(commands);
        if !lines.is_empty() {
            replayed.push_str("\n----\n");
            for line in lines {
                replayed.push_str(&run(&mut node, line));
            }
        } else {
            replayed.push('\n');
        }
        replayed.push('\n');
    }
    let replayed = format!("{}\n", replayed.trim_end());
    if std::env::var_os("UPDATE_SCRIPTS").is_some() {
        std::fs::write(&path, &replayed).unwrap();
    } else if replayed != script {
        panic!("{name}.txt answers otherwise now:\n{replayed}");
    }
}

#[test]
fn a_new_sole_voter_elects_itself_and_commits_what_is_durable() {
    replay("first_start");
}

#[test]
fn a_restarted_sole_voter_commits_its_whole_log_in_a_new_term() {
    replay("restart");
}

#[test]
fn append_and_apply_are_reported_in_any_order_and_in_parts() {
    replay("asynchronous");
}

#[test]
fn limits_refuse_before_anything_is_appended() {
    replay("limits");
}

#[test]
fn reads_wait_for_the_first_commit_of_the_term() {
    replay("reads");
}

#[test]
fn what_is_not_supported_or_contradicts_itself_is_refused() {
    replay("refusals");
}
