//! What stops a group, and what only refuses a command.

use highwater_engine::{EngineError, LogIndex};
use highwater_sql::diag::Diag;

/// Why a group cannot go on. A refused command is no error: its refusal is its outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The store failed.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An entry came out of order: applying it would lose or double a change.
    #[error(
        "group {group}: entry {found} was given to apply, but {expected} is next; the node stops before anything is doubled or lost"
    )]
    OutOfOrder {
        /// The group.
        group: u32,
        /// The only entry that can be applied.
        expected: LogIndex,
        /// The entry that was given.
        found: LogIndex,
    },
    /// An entry or a stored value has a version that this release does not know.
    #[error("{what} has format version {found}, this release reads version {supported}; start the newer release")]
    Version {
        /// What was read.
        what: &'static str,
        /// Its version.
        found: u8,
        /// The version known here.
        supported: u8,
    },
    /// Bytes that are no value of their kind.
    #[error("group {group}: {what} is damaged; rebuild this replica from its peers or restore a backup")]
    Corrupt {
        /// The group.
        group: u32,
        /// What was read.
        what: &'static str,
    },
    /// Something happened that the rest of this crate rules out.
    #[error("group {group}: {what}; this is a defect of Highwater, and the node stops before it can do harm")]
    Broken {
        /// The group.
        group: u32,
        /// What happened.
        what: String,
    },
    /// A command or an outcome of another node cannot be read.
    #[error("{what} of {bytes} bytes cannot be read: {reason}")]
    Parcel {
        /// Which of the two.
        what: &'static str,
        /// Their number.
        bytes: usize,
        /// What is wrong with them.
        reason: String,
    },
    /// An entry's bytes are no command.
    #[error("a log entry of {bytes} bytes is no command: {reason}")]
    Malformed {
        /// Length of the entry.
        bytes: usize,
        /// What the decoder met.
        reason: String,
    },
}

/// Why a step of a command's apply ended early.
#[derive(Clone, Debug, PartialEq)]
pub enum Abort {
    /// The command is refused; the group goes on.
    Refused(Box<Diag>),
    /// The command was planned against another catalog; the group goes on.
    Stale,
    /// A transaction met a change by somebody else; the group goes on.
    Conflict(Box<Diag>),
    /// The group cannot go on.
    Failed(StateError),
}

impl From<Diag> for Abort {
    fn from(diag: Diag) -> Self {
        Self::Refused(Box::new(diag))
    }
}

impl From<StateError> for Abort {
    fn from(error: StateError) -> Self {
        Self::Failed(error)
    }
}

impl From<EngineError> for Abort {
    fn from(error: EngineError) -> Self {
        Self::Failed(StateError::Engine(error))
    }
}

impl Abort {
    /// The error of a step that is never refused: housekeeping after a command.
    pub(crate) fn into_error(self, group: u32) -> StateError {
        match self {
            Self::Failed(error) => error,
            Self::Refused(diag) | Self::Conflict(diag) => {
                StateError::Broken { group, what: format!("housekeeping was refused: {diag}") }
            }
            Self::Stale => StateError::Broken { group, what: "housekeeping met another catalog".to_owned() },
        }
    }
}
