//! Logins that were ended, as this core knows them: asked of the node's replica of the meta group now and then, not at every request.
//!
//! What was seen as ended stays so. What was not is looked at again after [`FRESH_MICROS`]: that is how long an ended login's access
//! token may still open something. Bounded; who is forgotten is looked up again.

use std::collections::BTreeMap;

use highwater_runtime::Monotonic;

/// How long it counts that a login was not ended, in microseconds.
const FRESH_MICROS: u64 = 5_000_000;
/// Logins that one core remembers.
const KEPT: usize = 16_384;

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Monotonic,
    ended: bool,
}

/// The logins that one core has looked up.
#[derive(Debug, Default)]
pub struct EndedLogins(BTreeMap<u128, Seen>);

impl EndedLogins {
    /// Whether the login was ended; `None` when it must be looked up (again).
    #[must_use]
    pub fn known(&self, login: u128, now: Monotonic) -> Option<bool> {
        let seen = self.0.get(&login)?;
        (seen.ended || now.micros_since(seen.at) < FRESH_MICROS).then_some(seen.ended)
    }

    /// It was looked up.
    pub fn note(&mut self, login: u128, now: Monotonic, ended: bool) {
        if self.0.len() >= KEPT && !self.0.contains_key(&login) {
            self.0.retain(|_, seen| now.micros_since(seen.at) < FRESH_MICROS);
            if self.0.len() >= KEPT {
                self.0.pop_first();
            }
        }
        self.0.insert(login, Seen { at: now, ended });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ended_stays_so_and_what_is_not_is_looked_at_again() {
        let mut logins = EndedLogins::default();
        assert_eq!(logins.known(1, Monotonic(0)), None);
        logins.note(1, Monotonic(0), false);
        logins.note(2, Monotonic(0), true);
        assert_eq!(logins.known(1, Monotonic(FRESH_MICROS - 1)), Some(false));
        assert_eq!(logins.known(1, Monotonic(FRESH_MICROS)), None);
        assert_eq!(logins.known(2, Monotonic(u64::MAX)), Some(true));
    }

    #[test]
    fn the_table_is_bounded() {
        let mut logins = EndedLogins::default();
        for login in 0..KEPT as u128 + 10 {
            logins.note(login, Monotonic(5), false);
        }
        assert_eq!(logins.0.len(), KEPT);
    }
}
