//! The inbox: what this group has taken from each source, and taking more.
//!
//! Owns one position per source ([`crate::keys::Space::Inbox`]: `frame(index varint)`). A range takes effect in the batch that
//! moves the position, so a record is appended once however often its range is delivered, and in its source's order.

use highwater_runtime::{Env, sometimes};
use highwater_sql::catalog::Catalog;
use highwater_sql::value::Micros;

use super::position::{Verdict, judge};
use crate::command::Deltas;
use crate::error::{Abort, StateError};
use crate::stored;
use crate::topics::partition;
use crate::txn::Txn;

/// Takes a range of a source's outbox, or not ([`judge`]), and answers where the inbox then stands for the source. Records of
/// topics that are gone are dropped: their partitions are.
///
/// # Errors
/// [`Abort::Stale`] when the range was shipped under a catalog that this group has not reached; a failure of the store.
/// Never refused for its size.
pub(crate) async fn take<E: Env>(
    txn: &mut Txn<'_, E>,
    catalog: &Catalog,
    now: Micros,
    deltas: &Deltas,
) -> Result<u64, Abort> {
    txn.lift_limits();
    let key = txn.keys().inbox(deltas.source);
    let inbox = decode(txn.group(), txn.get(&key).await?.as_deref())?;
    match judge(inbox, deltas.from, deltas.to) {
        Verdict::Duplicate if txn.mutant(80) => {}
        Verdict::Duplicate => {
            sometimes("ranges_that_came_twice");
            return Ok(inbox);
        }
        Verdict::Gap => {
            sometimes("ranges_that_came_too_soon");
            return Ok(inbox);
        }
        Verdict::Take => {}
    }
    if catalog.version < deltas.catalog {
        return Err(Abort::Stale);
    }
    partition::append(txn, catalog, now, &deltas.records).await?;
    txn.put(key, stored::encode(&deltas.to))?;
    Ok(deltas.to)
}

pub(crate) fn decode(group: u32, value: Option<&[u8]>) -> Result<u64, StateError> {
    value.map_or(Ok(0), |bytes| stored::decode(group, "an inbox position", bytes))
}
