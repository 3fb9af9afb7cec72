//! How the program ends when it cannot try.

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server is not there or does not answer.
    #[error("{0}")]
    Daemon(#[from] highwater_bench::daemon::DaemonError),
    /// What the run needs could not be made.
    #[error("the tables could not be made or filled: {0}")]
    SetUp(String),
}
