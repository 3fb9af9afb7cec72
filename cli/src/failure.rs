//! How the program ends when it does not end well, and with which exit code.

use serde_json::{Value, json};

use crate::answer::ErrorBody;

/// Exit codes, for scripts.
pub mod exit {
    /// Everything was done.
    pub const OK: u8 = 0;
    /// A statement or command failed; those after it were not run.
    pub const STATEMENT: u8 = 1;
    /// The arguments make no sense, or a file cannot be read.
    pub const USAGE: u8 = 2;
    /// The server cannot be reached, or does not answer as one.
    pub const CONNECTION: u8 = 3;
    /// The login was refused.
    pub const LOGIN: u8 = 4;
    /// `doctor` found something that is wrong.
    pub const UNWELL: u8 = 5;
    /// Ctrl-C.
    pub const CANCELLED: u8 = 130;
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server refused a statement, or it failed.
    #[error("{}", error.message)]
    Statement {
        /// The text that was sent.
        statement: String,
        /// The server's account.
        error: Box<ErrorBody>,
    },
    /// A command or a topic request failed.
    #[error("{0}")]
    Command(String),
    /// Wrong arguments, a file that cannot be read, no password.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// No server, or none that speaks as one.
    #[error("{message}")]
    Connection {
        /// What happened.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Login refused.
    #[error("{message}")]
    Login {
        /// The server's sentence.
        message: String,
        /// What to do.
        hint: Option<String>,
    },
    /// Ctrl-C ended the request.
    #[error("cancelled; if it was a write, it may have been done all the same")]
    Cancelled,
    /// `doctor` found so much wrong.
    #[error("{0} of the checks failed")]
    Unwell(usize),
    /// What failed was shown when it did; the exit code that goes with it.
    #[error("what failed was shown")]
    Shown(u8),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[source] std::io::Error),
}

/// Why rows are not written where they would go, although it could be: what follows can be.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Unwritable(pub(crate) String);

impl From<Unwritable> for std::io::Error {
    fn from(error: Unwritable) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        match error.downcast::<Unwritable>() {
            Ok(Unwritable(message)) => Self::Command(message),
            Err(error) => Self::Output(error),
        }
    }
}

impl Failure {
    /// A usage failure without a hint.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: None }
    }

    /// The exit code that goes with it. A reader that closed the pipe (`| head`) is no failure.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Statement { .. } | Self::Command(_) => exit::STATEMENT,
            Self::Shown(code) => *code,
            Self::Usage { .. } => exit::USAGE,
            Self::Connection { .. } => exit::CONNECTION,
            Self::Login { .. } => exit::LOGIN,
            Self::Cancelled => exit::CANCELLED,
            Self::Unwell(_) => exit::UNWELL,
            Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe => exit::OK,
            Self::Output(_) => exit::STATEMENT,
        }
    }

    /// As a document of the form that a server's errors have.
    pub(crate) fn to_json(&self) -> Value {
        let code = match self {
            Self::Statement { error, .. } => return error.to_json(),
            Self::Command(_) => "COMMAND_FAILED",
            Self::Usage { .. } => "WRONG_USAGE",
            Self::Connection { .. } => "NO_CONNECTION",
            Self::Login { .. } => "LOGIN_REFUSED",
            Self::Cancelled => "CANCELLED",
            Self::Unwell(_) => "UNWELL",
            Self::Shown(_) => "SHOWN",
            Self::Output(_) => "OUTPUT_FAILED",
        };
        let mut error = json!({"code": code, "message": self.to_string()});
        if let (Value::Object(fields), Some(hint)) = (&mut error, self.hint()) {
            fields.insert("details".into(), json!({"hint": hint}));
        }
        json!({"status": "error", "error": error})
    }

    /// Whether the prompt can go on after it.
    pub(crate) fn is_survivable(&self) -> bool {
        !matches!(self, Self::Output(_))
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        match self {
            Self::Usage { hint, .. } | Self::Connection { hint, .. } | Self::Login { hint, .. } => hint.as_deref(),
            Self::Statement { .. }
            | Self::Command(_)
            | Self::Cancelled
            | Self::Unwell(_)
            | Self::Shown(_)
            | Self::Output(_) => None,
        }
    }
}
