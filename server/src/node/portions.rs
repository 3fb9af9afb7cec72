//! The same work for many groups, some at a time: what is asked of a group wakes it, and thousands that wake at once delay those that
//! clients wait for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::rc::Rc;

use highwater_runtime::queue;
use highwater_runtime::{Env, Rt};

/// Does `work` for each of `groups`, in their order, never for more than `at_once` at one time, and gives what came of it; of a task that
/// ended with its core, nothing.
pub(super) async fn in_portions<T, F>(
    env: &Rt,
    name: &'static str,
    groups: Vec<u32>,
    at_once: usize,
    work: impl Fn(u32) -> F + Clone + 'static,
) -> Vec<T>
where
    T: 'static,
    F: Future<Output = T> + 'static,
{
    let tasks = at_once.min(groups.len());
    let left: Rc<RefCell<VecDeque<u32>>> = Rc::new(RefCell::new(groups.into()));
    let mut answers = Vec::with_capacity(tasks);
    for _ in 0..tasks {
        let ((slot, answer), left, work) = (queue::reply(), Rc::clone(&left), work.clone());
        env.spawn(name, async move {
            let mut done = Vec::new();
            loop {
                let next = left.borrow_mut().pop_front();
                let Some(group) = next else { break };
                done.push(work(group).await);
            }
            slot.fill(done);
        });
        answers.push(answer);
    }
    let mut all = Vec::new();
    for answer in answers {
        all.extend(answer.await.unwrap_or_default());
    }
    all
}
