//! The driver's applying: what is committed waits here in order within each group, and is applied beside the writes.

use std::collections::VecDeque;
use std::rc::Rc;

use highwater_raft as raft;
use highwater_runtime::Env;

use super::super::apply::{self, Run};
use super::{Driver, UnderWay};

/// Turns after which the views of idle groups are renewed.
const RENEW_VIEWS: u64 = 64;
/// Pause before applying beside what has just been handed to the disk or the others, in microseconds: as short as it can be.
const GOES_FIRST_MICROS: u64 = 1;
/// Views that are renewed at one time, at most; the next come after as many turns more.
const RENEW_AT_ONCE: usize = 256;

impl<S: Fn(raft::Message)> Driver<S> {
    /// Applies what is committed so far. What was just handed to the disk or to the others goes first: it leaves when other tasks run, and
    /// when the executor looks at its rings, which is when nothing runs. Others wait for it, while what is applied is waited for here only.
    pub(super) fn next_apply(&mut self) -> UnderWay<Vec<Run>> {
        if self.committed.is_empty() {
            return None;
        }
        let mut runs: Vec<Run> = Vec::new();
        for (replica, committed) in std::mem::take(&mut self.committed) {
            let group = replica.group();
            if let Some(state) = self.states.remove(&group) {
                runs.push(Run { replica, state, committed: VecDeque::from([committed]) });
            } else if let Some(run) = runs.iter_mut().find(|run| run.replica.group() == group) {
                run.committed.push_back(committed);
            }
        }
        let (env, host, goes_first) = (self.env.clone(), Rc::clone(&self.host), self.hands_out);
        Some(Box::pin(async move {
            if goes_first {
                env.sleep(GOES_FIRST_MICROS).await;
            }
            apply::apply(host, runs).await
        }))
    }

    pub(super) fn applied(&mut self, runs: Vec<Run>) {
        for Run { replica, state, committed } in runs {
            self.states.insert(replica.group(), state);
            if !replica.is_installing.get() {
                for rest in committed.into_iter().rev() {
                    self.committed.push_front((Rc::clone(&replica), rest));
                }
            }
        }
        // A view holds a snapshot of the whole store: those of idle groups are renewed, or nothing deleted is ever freed.
        let turns = self.host.turns.get();
        if turns.wrapping_sub(self.renewed_at) >= RENEW_VIEWS {
            self.renewed_at = turns;
            let (after, mut count) = (self.renewed_to, 0);
            for (group, state) in self.states.range(after..).take(RENEW_AT_ONCE) {
                self.host.publish(*group, state.view());
                self.renewed_to = group.saturating_add(1);
                count += 1;
            }
            if count < RENEW_AT_ONCE {
                self.renewed_to = 0;
            }
        }
    }
}
