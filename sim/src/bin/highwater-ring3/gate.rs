//! When clients work and when they rest: who checks needs everyone's last request answered first.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use crate::Failure;
use crate::patience::Patience;

/// Longer than any statement is tried again after everything was healed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crew {
    /// Writes and reads.
    Load,
    /// Consumes: goes on until what was written is consumed.
    Consumers,
}

/// What is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Phase {
    /// Everyone works.
    Load,
    /// Only consumers work.
    Drain,
    /// Nobody works.
    Check,
    /// Everyone ends.
    Over,
}

/// The gate that every client passes before each request of its own.
#[derive(Default)]
pub struct Gate {
    phase: AtomicU8,
    resting: AtomicUsize,
}

impl Gate {
    fn phase(&self) -> Phase {
        [Phase::Load, Phase::Drain, Phase::Check]
            .into_iter()
            .find(|phase| *phase as u8 == self.phase.load(Ordering::SeqCst))
            .unwrap_or(Phase::Over)
    }

    /// Waits while this client's crew rests; false when it is all over.
    pub fn pass(&self, crew: Crew) -> bool {
        let works = |phase| phase == Phase::Load || phase == Phase::Drain && crew == Crew::Consumers;
        let phase = self.phase();
        if phase == Phase::Over || works(phase) {
            return phase != Phase::Over;
        }
        self.resting.fetch_add(1, Ordering::SeqCst);
        let goes_on = loop {
            let phase = self.phase();
            if phase == Phase::Over || works(phase) {
                break phase != Phase::Over;
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        self.resting.fetch_sub(1, Ordering::SeqCst);
        goes_on
    }

    /// Lets these phases' crews work and waits until as many clients rest.
    pub fn enter(&self, phase: Phase, resting: usize) -> Result<(), Failure> {
        self.phase.store(phase as u8, Ordering::SeqCst);
        let mut patience = Patience::new(PATIENCE, Duration::from_millis(2));
        while self.resting.load(Ordering::SeqCst) != resting {
            if !patience.waits() {
                let rest = self.resting.load(Ordering::SeqCst);
                return Err(format!("{rest} of {resting} clients rest: the others have had no answer for {PATIENCE:?} although everything is healed").into());
            }
        }
        Ok(())
    }

    /// Everyone ends.
    pub fn close(&self) {
        self.phase.store(Phase::Over as u8, Ordering::SeqCst);
    }
}
