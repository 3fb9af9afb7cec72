//! Which of the waiting proposals a turn of the driver takes: everybody's, a share of the clients', or none of theirs.
//!
//! The store says how freely writes may be taken ([`Intake`]); this decides for each that waits, before it is in the log. What is
//! logged is written and applied whatever presses, and what is the system's own (exchange, definitions) is always taken. Nothing
//! here waits: a write that is held back keeps its place in the queue and goes out with one of the next turns, each of which takes
//! one client's at least, unless the system's own fill it. So clients slow down evenly, and are refused only when too many wait or when the store takes nothing.

use std::collections::VecDeque;

use highwater_engine::{Intake, Pressure};
use highwater_runtime::Env;
use highwater_sql::diag::{Diag, SqlState};

use super::full_disk::News;
use super::host::{MAX_PENDING, StoreHost};
use super::mesh::{Admission, Proposal};

/// Proposals that one turn takes at most: bounds the size of one log write.
pub(super) const TURN: usize = 1024;
/// The share of [`Intake`] at which nothing is held back.
const ALL: u64 = 1000;

/// Why writes are refused: the values of the label `cause`.
pub(crate) const CAUSES: [&str; 7] = ["memtables", "level_zero", "debt", "log", "disk_full", "failed", "queue"];

/// What becomes of the proposals that wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sorted<T> {
    /// This turn's, in the order of the queue.
    pub(super) taken: Vec<T>,
    /// Clients' writes that are told to come back.
    pub(super) refused: Vec<T>,
    /// How many stay in the queue because the store slows writes down.
    pub(super) held: usize,
}

/// Sorts what waits; the rest stays in its order.
pub(super) fn sort<T>(pending: &mut VecDeque<T>, share: u64, is_client: impl Fn(&T) -> bool) -> Sorted<T> {
    let mut sorted = Sorted { taken: Vec::new(), refused: Vec::new(), held: 0 };
    if share >= ALL {
        let count = pending.len().min(TURN);
        sorted.taken.extend(pending.drain(..count));
        return sorted;
    }
    let of = |count: usize| usize::try_from((count as u64 * share).div_ceil(ALL)).unwrap_or(count);
    let mut may_go = of(pending.iter().filter(|waiting| is_client(waiting)).count());
    let may_wait = of(MAX_PENDING);
    for waiting in std::mem::take(pending) {
        let client = is_client(&waiting);
        if client && share == 0 {
            sorted.refused.push(waiting);
        } else if sorted.taken.len() < TURN && (!client || may_go > 0) {
            may_go -= usize::from(client);
            sorted.taken.push(waiting);
        } else if !client {
            pending.push_back(waiting);
        } else if sorted.held < may_wait {
            sorted.held += 1;
            pending.push_back(waiting);
        } else {
            sorted.refused.push(waiting);
        }
    }
    sorted
}

/// [`sort`] for proposals as the store takes them now.
pub(super) fn sort_proposals(pending: &mut VecDeque<Proposal>, intake: &Intake) -> Sorted<Proposal> {
    sort(pending, intake.share, |proposal| proposal.admission == Admission::Client)
}

/// Takes every client's write out of the queue.
pub(super) fn clients_of(pending: &mut VecDeque<Proposal>) -> Vec<Proposal> {
    let (clients, rest): (Vec<_>, Vec<_>) =
        std::mem::take(pending).into_iter().partition(|proposal| proposal.admission == Admission::Client);
    pending.extend(rest);
    clients
}

/// How writes are taken while the log waits for space.
pub(super) fn no_space(host: &StoreHost) -> Intake {
    let bytes = host.store.options().segment_bytes;
    let what = format!("the disk is full: the log wants {bytes} bytes for its next segment");
    Intake { share: 0, held_by: Some(Pressure::DiskFull { what }) }
}

/// What a cause is called in the figures.
pub(super) const fn cause(held_by: Option<&Pressure>) -> &'static str {
    let Some(pressure) = held_by else { return "queue" };
    match pressure {
        Pressure::Memtables { .. } => "memtables",
        Pressure::LevelZero { .. } => "level_zero",
        Pressure::Debt { .. } => "debt",
        Pressure::Log { .. } => "log",
        Pressure::DiskFull { .. } => "disk_full",
        Pressure::Failed { .. } => "failed",
    }
}

/// How writes are taken that find the queue full.
pub(super) const fn full_queue() -> Intake {
    Intake { share: ALL, held_by: None }
}

/// What a client is told whose write is not taken.
pub(super) fn refusal(intake: &Intake) -> Diag {
    let Some(pressure) = &intake.held_by else {
        return Diag::new(SqlState::OVERLOADED, "too many writes wait on this core").hint("Retry after a short pause.");
    };
    let (state, hint) = match pressure {
        Pressure::DiskFull { .. } => {
            (SqlState::DISK_FULL, "Reads go on. Free disk space; writes then go on by themselves.")
        }
        Pressure::Failed { .. } => (
            SqlState::INSUFFICIENT_RESOURCES,
            "Reads go on, and the step is tried again. If this stays, the disk fails or is damaged: see the server's log.",
        ),
        Pressure::Memtables { .. } | Pressure::LevelZero { .. } | Pressure::Debt { .. } | Pressure::Log { .. } => {
            (SqlState::OVERLOADED, "Reads go on. Retry after a short pause.")
        }
    };
    let what = if intake.share == 0 {
        "writes are refused for now"
    } else {
        "too many writes wait while they are slowed down"
    };
    Diag::new(state, format!("{what}: {pressure}")).hint(hint)
}

/// What is proposed now of what waits. Client writes that the store does not take now are told so, or stay for the next turn, which begins
/// when the present write is done.
pub(super) fn take_pending(host: &StoreHost, writing: bool) -> Vec<Proposal> {
    let mut pending = host.pending.borrow_mut();
    if pending.is_empty() {
        // A stall that has ended is noticed although nobody writes.
        tell_of_disk(host, host.store.pressure().as_ref());
        return Vec::new();
    }
    let intake = host.store.intake();
    tell_of_disk(host, intake.held_by.as_ref());
    if writing && intake.share < ALL {
        return Vec::new();
    }
    let sorted = sort_proposals(&mut pending, &intake);
    drop(pending);
    host.held.set(host.held.get() + sorted.held as u64);
    refuse(host, &intake, sorted.refused);
    sorted.taken
}

/// Tells the operator of a disk that has become full, and of one that is so no more.
fn tell_of_disk(host: &StoreHost, pressure: Option<&Pressure>) {
    let full = pressure.filter(|pressure| matches!(pressure, Pressure::DiskFull { .. }));
    let store = host.store_number.get();
    match (host.full_disk.look(full.is_some(), host.env.now()), full) {
        (Some(News::Full), Some(why)) => tracing::error!(store, %why, "writes are refused until there is disk space"),
        (Some(News::Over), _) => tracing::info!(store, "writes are taken again: there is disk space"),
        (Some(News::Full), None) | (None, _) => {}
    }
}

/// Answers client writes that are not taken, and counts them.
pub(super) fn refuse(host: &StoreHost, intake: &Intake, refused: Vec<Proposal>) {
    if refused.is_empty() {
        return;
    }
    host.count_refused(cause(intake.held_by.as_ref()), refused.len() as u64);
    for proposal in refused {
        proposal.reply.fill(Err(refusal(intake).into()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    /// Even numbers are clients'.
    fn sorted(pending: &mut VecDeque<usize>, share: u64) -> Sorted<usize> {
        sort(pending, share, |number| number % 2 == 0)
    }

    fn numbers(count: usize) -> VecDeque<usize> {
        (0..count).collect()
    }

    #[test]
    fn a_turn_takes_what_waits_in_order_when_nothing_presses() {
        let mut pending = numbers(TURN + 5);
        let Sorted { taken, refused, held } = sorted(&mut pending, 1000);
        assert_eq!((taken, refused.len(), held), ((0..TURN).collect(), 0, 0));
        assert_eq!(pending, (TURN..TURN + 5).collect::<Vec<_>>());
    }

    #[test]
    fn a_share_of_the_clients_goes_on_and_the_rest_keeps_its_place() {
        let mut pending = numbers(8);
        let first = sorted(&mut pending, 500);
        assert_eq!(first, Sorted { taken: vec![0, 1, 2, 3, 5, 7], refused: vec![], held: 2 });
        assert_eq!(pending, [4, 6]);
        // However small the share, every turn takes one.
        assert_eq!(sorted(&mut pending, 1).taken, [4]);
        assert_eq!(sorted(&mut pending, 1).taken, [6]);
        assert!(pending.is_empty());
    }

    #[test]
    fn nothing_of_a_client_is_taken_or_waits_while_the_store_refuses() {
        let mut pending = numbers(5);
        let Sorted { taken, refused, held } = sorted(&mut pending, 0);
        assert_eq!((taken, refused, held, pending.len()), (vec![1, 3], vec![0, 2, 4], 0, 0));
    }

    #[test]
    fn the_queue_is_shorter_the_less_is_taken_and_the_last_to_come_are_refused() {
        let mut pending: VecDeque<usize> = (0..MAX_PENDING).map(|number| number * 2).collect();
        let Sorted { taken, refused, held } = sorted(&mut pending, 10);
        let (goes, waits) = (164, 164);
        assert_eq!((taken.len(), held, pending.len()), (goes, waits, waits));
        assert_eq!(refused.first(), Some(&(2 * (goes + waits))));
        assert_eq!(refused.len(), MAX_PENDING - goes - waits);
    }

    #[test]
    fn more_of_the_system_than_a_turn_takes_stays_and_is_not_counted_as_held() {
        let mut pending: VecDeque<usize> = (0..TURN + 3).map(|number| number * 2 + 1).collect();
        let Sorted { taken, refused, held } = sorted(&mut pending, 0);
        assert_eq!((taken.len(), refused.len(), held, pending.len()), (TURN, 0, 0, 3));
    }

    #[test]
    fn a_refusal_says_what_presses_and_is_of_the_class_that_tells_to_retry() {
        let of = |share, held_by| {
            let diag = refusal(&Intake { share, held_by: Some(held_by) });
            (diag.sqlstate, diag.message)
        };
        let full = "the disk is full: cannot create /d/1.tbl".to_owned();
        let seen = [
            of(0, Pressure::Memtables { bytes: 7 }),
            of(400, Pressure::Debt { bytes: 9 }),
            of(0, Pressure::DiskFull { what: full.clone() }),
            of(0, Pressure::Failed { what: "cannot create /d/1.tbl".to_owned() }),
        ];
        assert_eq!(seen[0].1, "writes are refused for now: 7 bytes in memory wait to be flushed");
        assert_eq!(
            seen[1].1,
            "too many writes wait while they are slowed down: 9 bytes of tables wait to be compacted"
        );
        assert_eq!(seen[2].1, format!("writes are refused for now: {full}"));
        assert!(seen.iter().all(|(state, _)| state.as_str().starts_with("53")), "{seen:?}");
        assert_eq!((seen[0].0, seen[2].0), (SqlState::OVERLOADED, SqlState::DISK_FULL));
    }
}
