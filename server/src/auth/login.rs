//! Password checks: bounded, off the shard cores, and alike in text and time for unknown users and wrong passwords.

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use highwater_runtime::Env;
use highwater_runtime::gate::Gate;
use highwater_sql::catalog::User;

use super::attempts::{Attempts, Limits, Refusal};
use super::scram::{SALT_BYTES, Verifier};
use crate::config::Config;

/// Why a login fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// Unknown user, user without a password, or wrong password: indistinguishable.
    #[error("wrong user or password")]
    Wrong,
    /// Root has no password yet.
    #[error(
        "the server is not set up: root has no password yet; POST user, password and root_password to /v1/api/auth/setup"
    )]
    SetupRequired,
    /// Too many failures of this account.
    #[error("this account is locked after too many failed logins; try again in {seconds} seconds")]
    Locked {
        /// When to try again.
        seconds: u64,
    },
    /// Too many failures from this address.
    #[error("too many failed logins from this address; try again in {seconds} seconds")]
    TooMany {
        /// When to try again.
        seconds: u64,
    },
    /// Too many logins wait already.
    #[error("too many logins are being checked; try again in a second")]
    Overloaded,
    /// The stored verifier cannot be read.
    #[error("the stored password of this user is damaged; an administrator must set it again")]
    Damaged,
}

/// The failed logins of a node: its cores share them, as an attacker's connections come to any of them.
#[derive(Clone, Debug)]
pub struct NodeAttempts(Arc<Mutex<Attempts>>);

impl NodeAttempts {
    /// None yet, with the limits of the configuration.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self(Arc::new(Mutex::new(Attempts::new(Limits {
            account_failures: config.auth_lockout_failures,
            address_failures: config.auth_address_failures,
            window_micros: config.auth_lockout_window.micros(),
            lock_micros: config.auth_lockout_duration.micros(),
        }))))
    }

    /// Held for a look or a change of one entry only.
    fn lock(&self) -> MutexGuard<'_, Attempts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The password checks of one core. Clones share counters and bounds.
#[derive(Clone, Debug)]
pub struct Logins {
    attempts: NodeAttempts,
    gate: Gate,
    /// What unknown users are checked against: same work, never right.
    decoy: Rc<Verifier>,
}

impl Logins {
    /// With the bounds of the configuration; `salt` is random.
    #[must_use]
    pub fn new(config: &Config, attempts: NodeAttempts, salt: [u8; SALT_BYTES]) -> Self {
        let decoy = Verifier {
            iterations: config.auth_scram_iterations,
            salt: salt.to_vec(),
            stored_key: [0; 32],
            server_key: [0; 32],
        };
        Self { attempts, gate: Gate::new(config.auth_max_derivations, config.auth_max_waiting), decoy: Rc::new(decoy) }
    }

    /// Checks the password of the account `name`; `user` is what the catalog has under that name.
    ///
    /// # Errors
    /// Every way in which this is not a login.
    pub async fn check<E: Env>(
        &self,
        env: &E,
        name: &str,
        user: Option<&User>,
        password: String,
        address: IpAddr,
    ) -> Result<(), LoginError> {
        self.permitted(env, name, address)?;
        let verifier = match user.and_then(|user| user.verifier.as_deref()) {
            Some(text) => Verifier::parse(text).map_err(|_| LoginError::Damaged)?,
            None => (*self.decoy).clone(),
        };
        let pass = self.gate.enter().await.map_err(|_| LoginError::Overloaded)?;
        // What failed while this one waited counts: waiting in parallel gives no extra guesses.
        self.permitted(env, name, address)?;
        let right = env.blocking(move || verifier.accepts(&password)).await;
        drop(pass);
        let mut attempts = self.attempts.lock();
        if right {
            attempts.succeeded(name);
            return Ok(());
        }
        attempts.failed(env.now(), name, address);
        Err(LoginError::Wrong)
    }

    fn permitted<E: Env>(&self, env: &E, name: &str, address: IpAddr) -> Result<(), LoginError> {
        self.attempts.lock().check(env.now(), name, address).map_err(|refusal| match refusal {
            Refusal::Locked { seconds } => LoginError::Locked { seconds },
            Refusal::TooMany { seconds } => LoginError::TooMany { seconds },
        })
    }
}

/// The user that every cluster starts with.
pub const ROOT: &str = "root";
