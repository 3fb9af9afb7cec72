//! Why a snapshot was not made, sent or put in place.

use std::path::{Path, PathBuf};

use highwater_engine::EngineError;
use highwater_net::rpc::CallError;
use highwater_state::StateError;

/// Why a snapshot did not come to its end. The group goes on, and so does the follower's need.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// The store.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A file of the snapshot.
    #[error("cannot {action} {}: {message}", file.display())]
    File {
        /// What was being done.
        action: &'static str,
        /// To which file.
        file: PathBuf,
        /// The system's message.
        message: String,
    },
    /// There are more files, or longer ones, than a snapshot may have.
    #[error("it has {files} files, the limit is {limit}; raise the size of tables")]
    TooManyFiles {
        /// How many.
        files: usize,
        /// How many may be.
        limit: u32,
    },
    /// The receiver refused it.
    #[error("the receiver refuses it: {0}")]
    Refused(String),
    /// The receiver says something else than an answer to a chunk.
    #[error("the receiver's answer is none that this release knows")]
    Answer,
    /// Nothing moved for too long.
    #[error("nothing moved for {seconds} seconds{}", because(last.as_ref()))]
    Stuck {
        /// How long.
        seconds: u64,
        /// How the last attempt ended.
        last: Option<CallError>,
    },
    /// This node leads the group no more, or stops.
    #[error("this node no longer leads the group in the term in which it was cut, or stops")]
    Abandoned,
    /// The group's state, as it came.
    #[error("the state that came cannot be used: {0}")]
    State(#[from] StateError),
    /// The group's state is another than was announced.
    #[error("group {group}: the state that came is not the one that was announced: {what}")]
    Other {
        /// The group.
        group: u32,
        /// What differs.
        what: String,
    },
}

fn because(last: Option<&CallError>) -> String {
    last.map(|error| format!("; the last attempt: {error}")).unwrap_or_default()
}

impl SnapshotError {
    /// An error of the system about a file.
    pub(crate) fn file(action: &'static str, file: &Path, error: &std::io::Error) -> Self {
        Self::File { action, file: file.to_path_buf(), message: error.to_string() }
    }

    /// Whether space on the disk is all that is missing.
    pub(crate) const fn is_no_space(&self) -> bool {
        matches!(self, Self::Engine(EngineError::NoSpace { .. }))
    }
}
