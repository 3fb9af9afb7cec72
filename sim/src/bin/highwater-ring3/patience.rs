//! Waiting for what must come, counted in steps: while this process and its nodes are all stopped, as on a machine that is suspended,
//! nobody has waited.

use std::time::Duration;

/// How long something may still take.
pub struct Patience {
    left: Duration,
    step: Duration,
}

impl Patience {
    /// So much, looked at in such steps.
    pub const fn new(most: Duration, step: Duration) -> Self {
        Self { left: most, step }
    }

    /// Waits a step; false when there is none left.
    pub fn waits(&mut self) -> bool {
        std::thread::sleep(self.step);
        self.left = self.left.saturating_sub(self.step);
        !self.left.is_zero()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_ends_after_its_steps() {
        let mut patience = Patience::new(Duration::from_millis(5), Duration::from_millis(2));
        assert_eq!([patience.waits(), patience.waits(), patience.waits()], [true, true, false]);
    }
}
