//! What a directed link does to what passes over it, and how often each fault has fired.

use crate::rng::Rng;

/// A directed link between two machines. Probabilities are per segment (what one write put on the wire) unless said otherwise.
///
/// The names in brackets are the fault kinds of the simulation plan.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Microseconds that every segment takes.
    pub latency: u64,
    /// \[N2\] Further microseconds: about one and a half times this on average, now and then many times. Connections draw on their
    /// own, so what is sent on two of them overtakes (\[N3\]).
    pub jitter: u64,
    /// \[N1\] A segment is lost and sent again, 20 to 400 milliseconds later; all behind it on its connection wait.
    pub loss: f64,
    /// \[N9\] The connection is reset; any part of the segment still arrives.
    pub reset: f64,
    /// \[N13\] A bit of the segment is turned over. Only for links whose users have checksums.
    pub corrupt: f64,
    /// A connect is refused (per connect).
    pub refuse: f64,
    /// \[N12\] Bytes per second; 0 for no bound.
    pub bytes_per_second: u64,
}

impl Link {
    /// A link that only takes its time.
    #[must_use]
    pub const fn sound() -> Self {
        Self { latency: 200, jitter: 300, loss: 0.0, reset: 0.0, corrupt: 0.0, refuse: 0.0, bytes_per_second: 0 }
    }

    /// Rates drawn for one link ("swarm"): each kind is off on some links. `checksummed` says whether bits may be turned over.
    #[must_use]
    pub fn swarm(rng: &mut Rng, checksummed: bool) -> Self {
        let mut pick = |choices: &[f64]| {
            let at = usize::try_from(rng.below(choices.len() as u64)).unwrap_or(0);
            choices.get(at).copied().unwrap_or(0.0)
        };
        let loss = pick(&[0.0, 0.0, 0.001, 0.01]);
        let reset = pick(&[0.0, 0.0, 0.0005, 0.003]);
        let corrupt = if checksummed { pick(&[0.0, 0.0, 0.0005]) } else { 0.0 };
        let refuse = pick(&[0.0, 0.0, 0.05]);
        let bytes_per_second = if rng.chance(0.15) { 100_000 + rng.below(2_000_000) } else { 0 };
        let jitter = if rng.chance(0.2) { 5_000 + rng.below(20_000) } else { rng.below(2_000) };
        Self { latency: 100 + rng.below(1_000), jitter, loss, reset, corrupt, refuse, bytes_per_second }
    }

    /// Microseconds that one segment takes. A geometric tail stands for the exponential one: it needs no floating point, whose last
    /// bits differ between machines.
    pub(super) fn draw_delay(&self, rng: &mut Rng) -> u64 {
        let tail = u64::from(rng.next().trailing_zeros());
        self.latency + self.jitter * tail + rng.below(self.jitter + 1)
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::sound()
    }
}

/// A kind of fault of the network model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetworkFault {
    /// \[N1\] A segment was lost and came later.
    Loss,
    /// \[N5\] \[N6\] A segment was held back by a cut link.
    HeldBack,
    /// \[N9\] A link reset a connection.
    Reset,
    /// \[N10\] An end vanished without a word: the other one does not know.
    HalfOpen,
    /// \[N11\] A writer had to wait, since the other side does not read or nothing gets through.
    Full,
    /// \[N12\] A segment waited for a slow link.
    Slowed,
    /// \[N13\] A bit was turned over.
    Corrupted,
    /// A connect was refused though somebody listens.
    Refused,
    /// A connect got no answer.
    ConnectLost,
    /// An end gave up on a connection over which nothing gets through.
    TimedOut,
    /// Segments under way were lost with the machine that sent them.
    LostWithSender,
}

/// Every kind, with the name that reports show.
const KINDS: [(NetworkFault, &str); 11] = [
    (NetworkFault::Loss, "N1 loss"),
    (NetworkFault::HeldBack, "N5 held back"),
    (NetworkFault::Reset, "N9 reset"),
    (NetworkFault::HalfOpen, "N10 half open"),
    (NetworkFault::Full, "N11 full"),
    (NetworkFault::Slowed, "N12 slowed"),
    (NetworkFault::Corrupted, "N13 corrupted"),
    (NetworkFault::Refused, "connect refused"),
    (NetworkFault::ConnectLost, "connect lost"),
    (NetworkFault::TimedOut, "connection timed out"),
    (NetworkFault::LostWithSender, "segments lost with sender"),
];

impl NetworkFault {
    /// As reports show it.
    #[must_use]
    pub fn name(self) -> &'static str {
        KINDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}

/// How often each fault has fired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkCounts([u64; KINDS.len()]);

impl NetworkCounts {
    pub(super) fn count(&mut self, fault: NetworkFault) {
        for ((kind, _), count) in KINDS.iter().zip(&mut self.0) {
            *count += u64::from(*kind == fault);
        }
    }

    /// How often this one fired.
    #[must_use]
    pub fn of(&self, fault: NetworkFault) -> u64 {
        self.iter().find(|(kind, _)| *kind == fault).map_or(0, |(_, count)| count)
    }

    /// Every kind with its count.
    pub fn iter(&self) -> impl Iterator<Item = (NetworkFault, u64)> + '_ {
        KINDS.iter().map(|(kind, _)| *kind).zip(self.0)
    }
}
