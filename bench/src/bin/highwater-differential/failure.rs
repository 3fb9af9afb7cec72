//! How the program ends when it cannot compare.

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// PostgreSQL is not there or does not work.
    #[error("PostgreSQL: {0}")]
    Postgres(String),
    /// Highwater is not there or does not work.
    #[error("Highwater: {0}")]
    Highwater(String),
    /// Its process, or the way to it.
    #[error("{0}")]
    Daemon(#[from] highwater_bench::daemon::DaemonError),
    /// A file or a pipe.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl Failure {
    pub(crate) fn postgres(what: impl Into<String>) -> Self {
        Self::Postgres(what.into())
    }

    pub(crate) fn highwater(what: impl Into<String>) -> Self {
        Self::Highwater(what.into())
    }
}
