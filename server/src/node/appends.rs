//! Who waits for messages: long polls and consumers. Nothing but what their partitions get wakes them, so that thousands who wait cost the
//! writes of others nothing.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use highwater_runtime::Env;
use highwater_runtime::Monotonic;
use highwater_runtime::queue::ReplySlot;
use highwater_sql::catalog::ObjectId;

use super::Node;
use super::host::StoreHost;
use super::reads::published;
use crate::signal::Signal;

/// A partition of a topic.
pub(super) type Partition = (ObjectId, u32);

/// Those who wait for partitions of one store's groups.
#[derive(Default)]
pub(crate) struct Appends {
    waiting: RefCell<BTreeMap<(Partition, u64), Rc<Signal>>>,
    next: Cell<u64>,
}

impl Appends {
    /// Partitions got messages, which can be read.
    pub(super) fn appended(&self, partitions: &BTreeSet<Partition>) {
        let waiting = self.waiting.borrow();
        for partition in partitions {
            waiting.range((*partition, 0)..=(*partition, u64::MAX)).for_each(|(_, signal)| signal.notify());
        }
    }

    /// It is not known what got messages.
    pub(super) fn replaced(&self) {
        self.waiting.borrow().values().for_each(|signal| signal.notify());
    }

    fn enter(&self, partition: Partition, signal: &Rc<Signal>) -> (Partition, u64) {
        let place = (partition, self.next.get());
        self.next.set(place.1 + 1);
        self.waiting.borrow_mut().insert(place, Rc::clone(signal));
        place
    }

    fn leave(&self, place: (Partition, u64)) {
        self.waiting.borrow_mut().remove(&place);
    }
}

/// A wait for some partitions; leaves nothing behind when it is dropped.
#[derive(Default)]
struct Wait {
    signal: Rc<Signal>,
    places: Vec<(Rc<StoreHost>, (Partition, u64))>,
}

impl Wait {
    fn on(&mut self, host: Rc<StoreHost>, partition: Partition) {
        let place = host.appends.enter(partition, &self.signal);
        self.places.push((host, place));
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        for (host, place) in &self.places {
            host.appends.leave(*place);
        }
    }
}

/// Waits until a partition of this core, each given as group, topic, number and offset, has messages at or after its offset, or until the
/// deadline.
pub(super) async fn await_append(
    node: &Node,
    partitions: &[(u32, ObjectId, u32, u64)],
    deadline: Monotonic,
    reply: ReplySlot<()>,
) {
    let mut wait = Wait::default();
    for (group, topic, partition, _) in partitions {
        if let Ok((host, _)) = published(node, *group) {
            wait.on(host, (*topic, *partition));
        }
    }
    loop {
        let seen = wait.signal.seen();
        let mut has_grown = false;
        for (group, topic, partition, next) in partitions {
            if let Ok((_, view)) = published(node, *group)
                && let Ok(log) = view.partition_bounds(*topic, *partition).await
            {
                has_grown |= log.to > *next;
            }
        }
        if has_grown || node.env().now() >= deadline || node.is_closing() {
            reply.fill(());
            return;
        }
        futures_lite::future::or(wait.signal.changed_since(seen), node.env().sleep_until(deadline)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_partition_gets_wakes_who_waits_for_it_and_nobody_else() {
        let appends = Appends::default();
        let [first, second, both]: [Rc<Signal>; 3] = Default::default();
        let (a, b) = ((ObjectId(7), 0), (ObjectId(7), 1));
        let places = [(a, &first), (b, &second), (a, &both), (b, &both)];
        let places = places.map(|(partition, signal)| appends.enter(partition, signal));
        let seen = || [&first, &second, &both].map(|signal| signal.seen());
        appends.appended(&BTreeSet::from([a]));
        assert_eq!(seen(), [1, 0, 1]);
        appends.appended(&BTreeSet::from([(ObjectId(8), 0), (ObjectId(6), 9)]));
        assert_eq!(seen(), [1, 0, 1]);
        appends.leave(places[0]);
        appends.appended(&BTreeSet::from([a, b]));
        assert_eq!(seen(), [1, 1, 3]);
        appends.replaced();
        assert_eq!(seen(), [1, 2, 5]);
        places.into_iter().for_each(|place| appends.leave(place));
        assert!(appends.waiting.borrow().is_empty());
    }
}
