//! Shipping: what one group must tell another travels from the source's outbox to the destination's log.
//!
//! One task per (source, destination) while there is something to ship, on the node that leads the source. Ranges follow each
//! other without gaps; the destination, wherever it is led, drops what it has and names where it stands, so a shipper that knows
//! nothing (after a restart or a change of leader) finds its place, and two of them for a while do no harm. What has arrived is
//! trimmed from the outbox by an entry of the source, many records at a time.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;

use highwater_runtime::Env;
use highwater_sql::diag::Diag;
use highwater_state::command::{Command, Deltas};
use highwater_state::outcome::Outcome;

use super::Node;
use super::forward::Motion;
use super::host::StoreHost;

/// Payload bytes of one range at most, though always one whole entry.
const RANGE_BYTES: usize = 256 << 10;
/// Pause before a refused range is tried again, in microseconds.
const RETRY_MICROS: u64 = 20_000;
/// An outbox that has been empty for so long is trimmed, in microseconds.
const TRIM_AFTER_MICROS: u64 = 200_000;
/// Ranges after which a busy outbox is trimmed.
const TRIM_EVERY: u32 = 64;

/// Watches the outboxes of a store's groups and starts a task for each pair that has something to ship.
pub(crate) async fn ship(node: Node, host: Rc<StoreHost>) {
    let active: Rc<RefCell<BTreeSet<(u32, u32)>>> = Rc::default();
    let mut led = BTreeSet::new();
    loop {
        let seen = host.outbox.seen();
        if host.closing.get() {
            return;
        }
        if host.ready.get() {
            let changed = std::mem::take(&mut *host.changed_leads.borrow_mut());
            let mut sources = std::mem::take(&mut *host.dirty_sources.borrow_mut());
            sources.retain(|source| host.leads(*source));
            for group in changed {
                // A source that comes to be led here may have been shipped from elsewhere meanwhile: where it stands is found anew.
                if !host.leads(group) {
                    led.remove(&group);
                } else if led.insert(group) {
                    sources.insert(group);
                }
            }
            for source in sources {
                let Some(view) = host.view(source) else { continue };
                for (destination, head) in view.outbox_heads() {
                    if let Some(there) = host.view(destination) {
                        host.arrived(source, destination, there.inbox(source));
                    }
                    if head > host.shipped(source, destination) && active.borrow_mut().insert((source, destination)) {
                        let (node, host, active) = (node.clone(), Rc::clone(&host), Rc::clone(&active));
                        node.env().clone().spawn("ship", async move {
                            ship_pair(&node, &host, source, destination, &active).await;
                        });
                    }
                }
            }
        }
        host.outbox.changed_since(seen).await;
    }
}

async fn ship_pair(
    node: &Node,
    host: &Rc<StoreHost>,
    source: u32,
    destination: u32,
    active: &RefCell<BTreeSet<(u32, u32)>>,
) {
    let mut untrimmed = 0_u32;
    loop {
        if host.closing.get() || !host.leads(source) {
            active.borrow_mut().remove(&(source, destination));
            return;
        }
        let Some(view) = host.view(source) else { return };
        // In stores whose entries must be small, ranges are, too: a range is one entry of the destination's log.
        let most = RANGE_BYTES.min(host.store.options().max_entry_bytes() / 2);
        let range = match view.outbox_range(destination, host.shipped(source, destination), most).await {
            Ok(range) => range,
            Err(error) => {
                node.env().fail_stop(&format!("the outbox of group {source} cannot be read: {error}")).await;
                return;
            }
        };
        if range.to == range.from {
            // Nothing is left: what was trimmed had arrived, too. More may have come since this view was taken, while the
            // watcher saw this pair as active: look again before ending.
            host.arrived(source, destination, view.outbox_head(destination));
            active.borrow_mut().remove(&(source, destination));
            if host.view(source).is_some_and(|now| now.outbox_head(destination) > host.shipped(source, destination)) {
                active.borrow_mut().insert((source, destination));
                continue;
            }
            if untrimmed > 0 {
                node.env().sleep(TRIM_AFTER_MICROS).await;
                if active.borrow().contains(&(source, destination)) {
                    return;
                }
                trim(node, host, source, destination).await;
            }
            return;
        }
        if highwater_runtime::mutant(82) {
            host.arrived(source, destination, range.to);
        }
        let catalog = Arc::clone(view.catalog());
        let command = Command::Deltas(Deltas {
            source,
            from: range.from,
            to: range.to,
            catalog: catalog.version,
            records: range.records,
        });
        let done = node.propose(Motion::of_system(node.own_errand(), destination, command, Some(catalog))).await;
        match done.map_err(Diag::from) {
            Ok(applied) => {
                if let Outcome::Inbox { upto } = applied.outcome {
                    host.arrived(source, destination, upto);
                    untrimmed += 1;
                } else {
                    tracing::warn!(source, destination, outcome = ?applied.outcome, "the destination did not take a range");
                    node.env().sleep(RETRY_MICROS).await;
                }
            }
            Err(diag) => {
                tracing::debug!(source, destination, %diag, "a range is sent again");
                node.env().sleep(RETRY_MICROS).await;
            }
        }
        if untrimmed >= TRIM_EVERY {
            trim(node, host, source, destination).await;
            untrimmed = 0;
        }
    }
}

async fn trim(node: &Node, host: &StoreHost, source: u32, destination: u32) {
    let upto = host.shipped(source, destination);
    let command = Command::Trim { destination, upto };
    let done = node.propose(Motion::of_system(node.own_errand(), source, command, None)).await;
    if let Err(diag) = done.map_err(Diag::from) {
        // The next trim covers this one.
        tracing::debug!(source, destination, %diag, "an outbox was not trimmed");
    }
}
