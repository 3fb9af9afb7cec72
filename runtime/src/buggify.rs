//! Places that misbehave on purpose, in FoundationDB's manner: each named site is switched on for a whole run with
//! probability 1/4 and, when on, fires each time with probability 1/4, so that every run explores another mixture.

use std::collections::BTreeMap;

use crate::rng::Rng;

/// Which sites are on in this run.
#[derive(Clone, Debug)]
pub(crate) struct Sites {
    rng: Rng,
    enabled: bool,
    on: BTreeMap<&'static str, bool>,
}

impl Sites {
    pub const fn new(rng: Rng) -> Self {
        Self { rng, enabled: false, on: BTreeMap::new() }
    }

    pub const fn enable(&mut self, enabled: bool) {
        self.enabled = enabled;
    }

    pub fn fires(&mut self, site: &'static str) -> bool {
        if !self.enabled {
            return false;
        }
        let rng = &mut self.rng;
        let on = *self.on.entry(site).or_insert_with(|| rng.chance(0.25));
        on && self.rng.chance(0.25)
    }
}
