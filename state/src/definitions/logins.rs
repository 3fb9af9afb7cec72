//! Logins that were ended before their tokens expire: what a logout leaves behind.
//!
//! ```text
//! ended login := version u8 (1) | postcard(until i64)
//! ```
//!
//! Kept until the last token of the login would have expired by itself. Identities of logins are random: each end looks at the few
//! that follow its own in key order and removes those whose time is over, so that in the long run all are looked at, and one entry
//! does a bounded amount of work.

use highwater_runtime::Env;
use highwater_sql::value::Micros;

use crate::error::{Abort, StateError};
use crate::group::Entry;
use crate::keys::{KeySpan, Keys, Space};
use crate::outcome::Outcome;
use crate::reader::Reader;
use crate::stored;

/// Most ended logins that one entry looks at.
const LOOKED_AT: usize = 8;

/// Ends a login.
pub(super) async fn end<E: Env>(entry: &mut Entry<'_, E>, login: u128, until: Micros) -> Result<Outcome, Abort> {
    let (keys, now) = (entry.txn.keys(), entry.now());
    let key = keys.login(login);
    let span = KeySpan { start: key.clone(), end: keys.space(Space::Login).end };
    for (other, value) in entry.txn.scan(&span, LOOKED_AT).await? {
        let until: Micros = stored::decode(keys.group(), "an ended login", &value)?;
        if until < now {
            entry.txn.delete(other.to_vec())?;
        }
    }
    if until >= now {
        entry.txn.put(key, stored::encode(&until))?;
    }
    Ok(Outcome::Done)
}

/// Whether a login was ended.
pub(crate) async fn is_ended<E: Env>(reader: &Reader<E>, keys: Keys, login: u128) -> Result<bool, StateError> {
    Ok(reader.get(&keys.login(login)).await?.is_some())
}
