//! How the program ends when it does not end well, and with which exit code.

/// Exit codes, for scripts; the shell's, where they mean the same.
pub(crate) mod exit {
    /// The run was done, and what was verified holds.
    pub(crate) const OK: u8 = 0;
    /// A promise was found broken, or nothing could be done at all.
    pub(crate) const VIOLATION: u8 = 1;
    /// The arguments make no sense.
    pub(crate) const USAGE: u8 = 2;
    /// A node cannot be reached, or is no Highwater server.
    pub(crate) const CONNECTION: u8 = 3;
    /// The login was refused.
    pub(crate) const LOGIN: u8 = 4;
}

/// What went wrong: a sentence, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Wrong arguments, or no password.
    #[error("{message}")]
    Usage { message: String, hint: Option<String> },
    /// No server, or none that speaks as one.
    #[error("{message}")]
    Connection { message: String, hint: Option<String> },
    /// Login refused.
    #[error("{message}")]
    Login { message: String, hint: &'static str },
    /// The server refused what the run needs.
    #[error("{message}")]
    Refused { message: String, hint: Option<String> },
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

impl Failure {
    /// A usage failure without a hint.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: None }
    }

    /// The exit code that goes with it.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Usage { .. } => exit::USAGE,
            Self::Connection { .. } => exit::CONNECTION,
            Self::Login { .. } => exit::LOGIN,
            Self::Refused { .. } | Self::Output(_) => exit::VIOLATION,
        }
    }

    /// For standard error, with a line's end.
    pub(crate) fn text(&self) -> String {
        let hint = match self {
            Self::Usage { hint, .. } | Self::Connection { hint, .. } | Self::Refused { hint, .. } => hint.as_deref(),
            Self::Login { hint, .. } => Some(*hint),
            Self::Output(_) => None,
        };
        let hint = hint.map(|hint| format!("hint: {hint}\n")).unwrap_or_default();
        format!("error: {self}\n{hint}")
    }
}
