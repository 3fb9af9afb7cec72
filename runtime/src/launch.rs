//! Starting one executor per CPU: which CPUs, and the front of the backend's launcher.
//!
//! Owns the parsing of CPU lists. Must not know a backend: [`launch`] and [`Cores`] are the present backend's.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;

use rustix::thread::sched_getaffinity;

pub use crate::backend::{Cores, launch};

/// CPUs, one executor each, in rising order and without repetition; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuSet(Vec<usize>);

/// Why a CPU list was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CpuSetError {
    /// Not of the form that is understood.
    #[error("`{0}` is neither a number of cores (`4`) nor a list of CPUs (`0,2-3`)")]
    Malformed(String),
    /// More cores than this process may use.
    #[error(
        "{wanted} cores were asked for, but this process may run on {allowed} CPUs only; ask for at most {allowed}"
    )]
    TooMany {
        /// Cores asked for.
        wanted: usize,
        /// CPUs in this process's affinity mask.
        allowed: usize,
    },
    /// A CPU that this process may not use.
    #[error(
        "CPU {cpu} is not among the CPUs that this process may run on ({allowed}); see taskset or the container's cpuset"
    )]
    NotAllowed {
        /// The CPU asked for.
        cpu: usize,
        /// The CPUs that would do.
        allowed: CpuSet,
    },
    /// The system did not tell which CPUs there are.
    #[error("reading this process's CPU affinity failed: {0}")]
    Unreadable(String),
}

impl CpuSet {
    /// Every CPU that this process may run on.
    ///
    /// # Errors
    /// [`CpuSetError::Unreadable`].
    pub fn all() -> Result<Self, CpuSetError> {
        let mask = sched_getaffinity(None).map_err(|error| CpuSetError::Unreadable(error.to_string()))?;
        let cpus: Vec<usize> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect();
        if cpus.is_empty() { Err(CpuSetError::Unreadable("the mask is empty".into())) } else { Ok(Self(cpus)) }
    }

    /// CPUs 0 to `count` - 1 (at least one) without asking the system: for simulations, where a CPU is only a number.
    #[must_use]
    pub fn numbered(count: usize) -> Self {
        Self((0..count.max(1)).collect())
    }

    /// `4` is the first four CPUs that this process may use; `0,2-3` (also `3,` or `3-3` for one CPU) names them.
    ///
    /// # Errors
    /// [`CpuSetError`].
    pub fn parse(text: &str) -> Result<Self, CpuSetError> {
        Self::parse_among(text, &Self::all()?)
    }

    /// As [`CpuSet::parse`], with the CPUs that may be used given.
    ///
    /// # Errors
    /// [`CpuSetError`].
    pub fn parse_among(text: &str, allowed: &Self) -> Result<Self, CpuSetError> {
        let malformed = || CpuSetError::Malformed(text.to_owned());
        let number = |part: &str| part.trim().parse::<usize>().map_err(|_| malformed());
        if !text.contains([',', '-']) {
            let wanted = number(text)?;
            return match allowed.0.get(..wanted) {
                Some([]) => Err(malformed()),
                Some(first) => Ok(Self(first.to_vec())),
                None => Err(CpuSetError::TooMany { wanted, allowed: allowed.0.len() }),
            };
        }
        let mut cpus = BTreeSet::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = match part.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(part)?, number(part)?),
            };
            if first > last || last >= rustix::thread::CpuSet::MAX_CPU {
                return Err(malformed());
            }
            cpus.extend(first..=last);
        }
        if cpus.is_empty() {
            return Err(malformed());
        }
        match cpus.iter().find(|cpu| !allowed.0.contains(cpu)) {
            Some(cpu) => Err(CpuSetError::NotAllowed { cpu: *cpu, allowed: allowed.clone() }),
            None => Ok(Self(cpus.into_iter().collect())),
        }
    }

    /// As many CPUs as `count` says, of those that this process may use: first those that take the interrupts of the disk under
    /// `folder` (which may not exist yet; its nearest folder that does is meant), then the others in rising order.
    ///
    /// # Errors
    /// [`CpuSetError`].
    pub fn near_disk(count: usize, folder: &Path) -> Result<Self, CpuSetError> {
        let existing = folder.ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
        Self::all()?.preferring(count, &crate::interrupts::cpus_of_disk(existing))
    }

    fn preferring(&self, count: usize, preferred: &BTreeSet<usize>) -> Result<Self, CpuSetError> {
        if count == 0 {
            return Err(CpuSetError::Malformed(count.to_string()));
        }
        if count > self.0.len() {
            return Err(CpuSetError::TooMany { wanted: count, allowed: self.0.len() });
        }
        let (first, others): (Vec<usize>, Vec<usize>) = self.0.iter().partition(|cpu| preferred.contains(cpu));
        let mut chosen: Vec<usize> = first.into_iter().chain(others).take(count).collect();
        chosen.sort_unstable();
        Ok(Self(chosen))
    }

    /// How many CPUs there are in the set, at least one.
    #[expect(clippy::len_without_is_empty, reason = "never empty")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The CPUs in rising order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + '_ {
        self.0.iter().copied()
    }
}

/// As the list that [`CpuSet::parse`] reads, ranges joined: `0,2-3`.
impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while rest.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            if first == last {
                write!(f, "{separator}{first}")?
            } else {
                write!(f, "{separator}{first}-{last}")?
            }
            separator = ",";
        }
        Ok(())
    }
}

/// Why the executors could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// An executor did not start.
    #[error("the executor for CPU {cpu} did not start: {reason}")]
    Executor {
        /// Its CPU.
        cpu: usize,
        /// What the system said.
        reason: String,
    },
    /// A thread beside the executors did not start.
    #[error("a thread did not start: {0}; check the limit of threads (ulimit -u)")]
    Thread(std::io::Error),
    /// More CPUs than a core number can hold.
    #[error("{0} cores are too many")]
    TooManyCores(usize),
}

/// An executor ended in another way than by returning from its body.
#[derive(Debug, thiserror::Error)]
#[error("core {core} ended abnormally: {reason}")]
pub struct JoinError {
    /// Index of the core.
    pub core: u16,
    /// What is known about it.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use super::{CpuSet, CpuSetError};

    fn among() -> CpuSet {
        CpuSet(vec![0, 2, 3, 5])
    }

    #[test]
    fn a_number_takes_the_first_cpus_that_may_be_used() {
        assert_eq!(CpuSet::parse_among("3", &among()).unwrap(), CpuSet(vec![0, 2, 3]));
        assert_eq!(CpuSet::parse_among("5", &among()), Err(CpuSetError::TooMany { wanted: 5, allowed: 4 }));
    }

    #[test]
    fn cores_are_put_where_the_disks_interrupts_are() {
        let preferring = |count, cpus: &[usize]| among().preferring(count, &cpus.iter().copied().collect());
        assert_eq!(preferring(1, &[3]).unwrap(), CpuSet(vec![3]));
        assert_eq!(preferring(2, &[3]).unwrap(), CpuSet(vec![0, 3]));
        assert_eq!(preferring(2, &[]).unwrap(), CpuSet(vec![0, 2]));
        assert_eq!(preferring(1, &[1]).unwrap(), CpuSet(vec![0]), "a CPU that may not be used");
        assert_eq!(preferring(5, &[3]), Err(CpuSetError::TooMany { wanted: 5, allowed: 4 }));
        assert_eq!(preferring(0, &[3]), Err(CpuSetError::Malformed("0".into())));
    }

    #[test]
    fn a_list_names_them() {
        assert_eq!(CpuSet::parse_among("5,2-3,2", &among()).unwrap(), CpuSet(vec![2, 3, 5]));
        assert_eq!(CpuSet::parse_among("5,", &among()).unwrap(), CpuSet(vec![5]));
        assert_eq!(CpuSet::parse_among("0-2", &among()), Err(CpuSetError::NotAllowed { cpu: 1, allowed: among() }));
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "0", "x", "-", ",", "3-2", "0,x", "1-", "0-99999999999", "-1"] {
            assert!(matches!(CpuSet::parse_among(text, &among()), Err(CpuSetError::Malformed(_))), "{text}");
        }
    }

    #[test]
    fn it_prints_as_it_is_read() {
        assert_eq!(among().to_string(), "0,2-3,5");
        assert_eq!(CpuSet::numbered(4).to_string(), "0-3");
    }
}
