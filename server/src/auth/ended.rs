//! Logins that were ended, as this core knows them: asked of the node's replica of the meta group now and then, not at every request.
//!
//! What was seen as ended stays so. What was not is looked at again after [`FRESH_MICROS`]: that is how long an ended login's access
//! token may still open something. Bounded; who is forgotten is looked up again.

use std::collections::BTreeMap;

use highwater_runtime::Monotonic;

/// How long it counts that a login was not ended, in microseconds.
const FRESH_MICROS: u64 = 5_000_000;
/// Logins of a generation; one core remembers two of them.
const KEPT: usize = 8_192;

#[derive(Clone, Copy, Debug)]
struct Seen {
    at: Monotonic,
    ended: bool,
}

/// The logins that one core has looked up, in two generations: when the younger is full the older one is forgotten whole, so that no note
/// looks through all of them.
#[derive(Debug, Default)]
pub struct EndedLogins {
    young: BTreeMap<u128, Seen>,
    old: BTreeMap<u128, Seen>,
}

impl EndedLogins {
    /// Whether the login was ended; `None` when it must be looked up (again).
    #[must_use]
    pub fn known(&self, login: u128, now: Monotonic) -> Option<bool> {
        let seen = self.young.get(&login).or_else(|| self.old.get(&login))?;
        (seen.ended || now.micros_since(seen.at) < FRESH_MICROS).then_some(seen.ended)
    }

    /// It was looked up.
    pub fn note(&mut self, login: u128, now: Monotonic, ended: bool) {
        if self.young.len() >= KEPT && !self.young.contains_key(&login) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(login, Seen { at: now, ended });
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
    fn the_newest_are_remembered_and_no_more_than_two_generations() {
        let mut logins = EndedLogins::default();
        for login in 0..5 * KEPT as u128 {
            logins.note(login, Monotonic(5), login % 2 == 0);
            let kept = (login + 1).saturating_sub(KEPT as u128)..=login;
            for at in [*kept.start(), login] {
                assert_eq!(logins.known(at, Monotonic(6)), Some(at % 2 == 0));
            }
            assert!(logins.young.len() + logins.old.len() <= 2 * KEPT);
        }
        assert_eq!(logins.known(0, Monotonic(6)), None);
    }
}
