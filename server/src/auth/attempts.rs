//! Failed logins: who is locked out, and which addresses try too often.
//!
//! Counted per node and in memory: a restart forgets, an attacker gets the limit once per node. Bounded: when the table is
//! full, the entry that was touched longest ago goes. Unknown users are counted like known ones, so that a lock tells
//! nothing about who exists.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use highwater_runtime::Monotonic;

/// Accounts and addresses that are remembered, each.
const MAX_ENTRIES: usize = 10_000;

/// The limits.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Failures of an account within the window that lock it.
    pub account_failures: u32,
    /// Failures from an address within the window that stop it.
    pub address_failures: u32,
    /// The window in microseconds.
    pub window_micros: u64,
    /// Length of a lock in microseconds.
    pub lock_micros: u64,
}

/// Why a login is not even tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The account is locked for so many seconds more.
    Locked {
        /// Seconds, rounded up.
        seconds: u64,
    },
    /// The address tried too often; it may try again after so many seconds.
    TooMany {
        /// Seconds, rounded up.
        seconds: u64,
    },
}

#[derive(Debug, Default)]
struct Failures {
    times: VecDeque<Monotonic>,
    locked_until: Option<Monotonic>,
}

impl Failures {
    fn forget_before(&mut self, now: Monotonic, window: u64) {
        while self.times.front().is_some_and(|time| now.micros_since(*time) >= window) {
            self.times.pop_front();
        }
    }

    fn touched(&self) -> Monotonic {
        self.times.back().copied().max(self.locked_until).unwrap_or(Monotonic(0))
    }
}

/// The failed logins of a node.
#[derive(Debug)]
pub struct Attempts {
    limits: Limits,
    accounts: BTreeMap<String, Failures>,
    addresses: BTreeMap<IpAddr, Failures>,
}

impl Attempts {
    /// None yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, accounts: BTreeMap::new(), addresses: BTreeMap::new() }
    }

    /// Whether a login may be tried now.
    ///
    /// # Errors
    /// The lock or limit that forbids it.
    pub fn check(&mut self, now: Monotonic, account: &str, address: IpAddr) -> Result<(), Refusal> {
        let window = self.limits.window_micros;
        if let Some(failures) = self.addresses.get_mut(&address) {
            failures.forget_before(now, window);
            if failures.times.len() >= self.limits.address_failures as usize
                && let Some(oldest) = failures.times.front()
            {
                return Err(Refusal::TooMany { seconds: seconds_until(now, oldest.after_micros(window)) });
            }
        }
        if let Some(until) = self.accounts.get(account).and_then(|failures| failures.locked_until)
            && until > now
        {
            return Err(Refusal::Locked { seconds: seconds_until(now, until) });
        }
        Ok(())
    }

    /// A login failed.
    pub fn failed(&mut self, now: Monotonic, account: &str, address: IpAddr) {
        let Limits { account_failures, window_micros, lock_micros, .. } = self.limits;
        let by_account = entry(&mut self.accounts, account.to_owned());
        by_account.forget_before(now, window_micros);
        by_account.times.push_back(now);
        if by_account.times.len() >= account_failures as usize {
            by_account.times.clear();
            by_account.locked_until = Some(now.after_micros(lock_micros));
        }
        let by_address = entry(&mut self.addresses, address);
        by_address.forget_before(now, window_micros);
        by_address.times.push_back(now);
    }

    /// A login succeeded: the account's failures are forgotten, the address's are not.
    pub fn succeeded(&mut self, account: &str) {
        self.accounts.remove(account);
    }
}

fn entry<K: Ord + Clone>(table: &mut BTreeMap<K, Failures>, key: K) -> &mut Failures {
    if table.len() >= MAX_ENTRIES
        && !table.contains_key(&key)
        && let Some(stale) = table.iter().min_by_key(|(_, failures)| failures.touched()).map(|(key, _)| key.clone())
    {
        table.remove(&stale);
    }
    table.entry(key).or_default()
}

const fn seconds_until(now: Monotonic, then: Monotonic) -> u64 {
    then.micros_since(now).div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use std::net::Ipv4Addr;

    const MINUTE: u64 = 60_000_000;
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn attempts() -> Attempts {
        Attempts::new(Limits {
            account_failures: 5,
            address_failures: 12,
            window_micros: 15 * MINUTE,
            lock_micros: 15 * MINUTE,
        })
    }

    const fn at(minutes: u64) -> Monotonic {
        Monotonic(minutes * MINUTE)
    }

    #[test]
    fn five_failures_within_fifteen_minutes_lock_for_fifteen_minutes() {
        let mut attempts = attempts();
        for minute in 0..5 {
            assert_eq!(attempts.check(at(minute), "anna", HERE), Ok(()));
            attempts.failed(at(minute), "anna", HERE);
        }
        assert_eq!(attempts.check(at(5), "anna", HERE), Err(Refusal::Locked { seconds: 14 * 60 }));
        assert_eq!(attempts.check(at(5), "bert", HERE), Ok(()));
        assert_eq!(attempts.check(at(19), "anna", HERE), Ok(()));
    }

    #[test]
    fn failures_spread_over_more_than_the_window_do_not_lock() {
        let mut attempts = attempts();
        for minute in [0, 4, 8, 12, 16, 20, 24, 28] {
            attempts.failed(at(minute), "anna", HERE);
            assert_eq!(attempts.check(at(minute), "anna", HERE), Ok(()));
        }
    }

    #[test]
    fn a_success_forgets_the_accounts_failures() {
        let mut attempts = attempts();
        for _ in 0..2 {
            for _ in 0..4 {
                attempts.failed(at(0), "anna", HERE);
            }
            attempts.succeeded("anna");
        }
        assert_eq!(attempts.check(at(0), "anna", HERE), Ok(()));
    }

    #[test]
    fn an_address_that_fails_too_often_waits() {
        let mut attempts = attempts();
        for number in 0..12 {
            attempts.failed(at(number), &format!("user{number}"), HERE);
        }
        assert_eq!(attempts.check(at(12), "anna", HERE), Err(Refusal::TooMany { seconds: 3 * 60 }));
        assert_eq!(attempts.check(at(12), "anna", Ipv4Addr::new(10, 0, 0, 1).into()), Ok(()));
        assert_eq!(attempts.check(at(15), "anna", HERE), Ok(()));
    }

    #[test]
    fn the_tables_are_bounded() {
        let mut attempts = attempts();
        for number in 0..MAX_ENTRIES + 10 {
            attempts.failed(Monotonic(number as u64), &format!("user{number}"), HERE);
        }
        assert_eq!(attempts.accounts.len(), MAX_ENTRIES);
        assert!(!attempts.accounts.contains_key("user0"));
    }
}
