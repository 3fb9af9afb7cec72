//! Statements about the conversation itself: transactions, savepoints and session parameters.
//!
//! They name no object and need no rights: front ends and the node carry them out, nothing of them is bound or logged. Owns which
//! parameters there are and what they may be set to; a value that this server does not have is refused, never ignored.

use crate::diag::{Diag, SqlState};
use crate::suggest;

/// A statement about the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionStatement {
    /// BEGIN, START TRANSACTION. Every isolation level gives SERIALIZABLE.
    Begin {
        /// Writes are refused.
        read_only: bool,
    },
    /// COMMIT, END.
    Commit,
    /// ROLLBACK, ABORT.
    Rollback,
    /// SAVEPOINT.
    Savepoint(String),
    /// ROLLBACK TO.
    RollbackTo(String),
    /// RELEASE.
    Release(String),
    /// SET; RESET, and SET ... TO DEFAULT, without a value.
    Set(Parameter, Option<String>),
    /// SHOW.
    Show(Parameter),
}

impl SessionStatement {
    /// The tag that answers it, as PostgreSQL writes it.
    #[must_use]
    pub const fn tag(&self) -> &'static str {
        match self {
            Self::Begin { .. } => "BEGIN",
            Self::Commit => "COMMIT",
            Self::Rollback | Self::RollbackTo(_) => "ROLLBACK",
            Self::Savepoint(_) => "SAVEPOINT",
            Self::Release(_) => "RELEASE",
            Self::Set(..) => "SET",
            Self::Show(_) => "SHOW",
        }
    }
}

/// A parameter of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Parameter {
    /// What a client calls itself.
    ApplicationName,
    /// UTF8.
    ClientEncoding,
    /// ISO.
    DateStyle,
    /// Numbers are always shown in full.
    ExtraFloatDigits,
    /// How new the answers of reads are.
    ReadConsistency,
    /// The namespace of unqualified names.
    SearchPath,
    /// On.
    StandardConformingStrings,
    /// UTC.
    TimeZone,
    /// Serializable.
    TransactionIsolation,
}

impl Parameter {
    /// All, by name.
    pub const ALL: [Self; 9] = [
        Self::ApplicationName,
        Self::ClientEncoding,
        Self::DateStyle,
        Self::ExtraFloatDigits,
        Self::ReadConsistency,
        Self::SearchPath,
        Self::StandardConformingStrings,
        Self::TimeZone,
        Self::TransactionIsolation,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApplicationName => "application_name",
            Self::ClientEncoding => "client_encoding",
            Self::DateStyle => "datestyle",
            Self::ExtraFloatDigits => "extra_float_digits",
            Self::ReadConsistency => "read_consistency",
            Self::SearchPath => "search_path",
            Self::StandardConformingStrings => "standard_conforming_strings",
            Self::TimeZone => "timezone",
            Self::TransactionIsolation => "transaction_isolation",
        }
    }

    /// The value when it was not set.
    #[must_use]
    pub const fn default_value(self) -> &'static str {
        match self {
            Self::ApplicationName => "",
            Self::ClientEncoding => "UTF8",
            Self::DateStyle => "ISO",
            Self::ExtraFloatDigits => "1",
            Self::ReadConsistency => "linearizable",
            Self::SearchPath => "default",
            Self::StandardConformingStrings => "on",
            Self::TimeZone => "UTC",
            Self::TransactionIsolation => "serializable",
        }
    }

    /// The parameter of this name, in any case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "default_transaction_isolation" => Some(Self::TransactionIsolation),
            lower => Self::ALL.into_iter().find(|known| known.name() == lower),
        }
    }

    /// The value as it is kept.
    ///
    /// # Errors
    /// 0A000 for a value that PostgreSQL would take and this server does not have, 22023 for one that nobody has.
    pub fn checked(self, value: &str) -> Result<String, Diag> {
        let lower = value.trim().to_ascii_lowercase();
        let only = |allowed: &[&str]| {
            if allowed.contains(&lower.as_str()) {
                return Ok(self.default_value().to_owned());
            }
            Err(Diag::not_supported(format!("{} = '{value}'", self.name()))
                .hint(format!("It is always {}.", self.default_value())))
        };
        match self {
            Self::ApplicationName if value.chars().count() > 64 => {
                Err(Diag::new(SqlState::INVALID_PARAMETER, "application_name has more than 64 characters"))
            }
            Self::ApplicationName => Ok(value.to_owned()),
            Self::ClientEncoding => only(&["utf8", "utf-8", "unicode"]),
            Self::DateStyle => match lower.split(',').next().map(str::trim) {
                Some("iso") => Ok(self.default_value().to_owned()),
                _ => only(&[]),
            },
            Self::ExtraFloatDigits => match lower.parse::<i8>() {
                Ok(0..=3) => Ok(lower),
                Ok(_) | Err(_) => only(&[]),
            },
            Self::StandardConformingStrings => only(&["on", "true", "yes", "1"]),
            Self::TimeZone => only(&["utc", "etc/utc", "gmt", "z", "00:00", "+00:00", "0"]),
            Self::TransactionIsolation => {
                only(&["serializable", "repeatable read", "read committed", "read uncommitted"]).map_err(|_| {
                    Diag::new(SqlState::INVALID_PARAMETER, format!("there is no isolation level '{value}'"))
                        .hint("Every transaction is SERIALIZABLE; weaker levels may be named and give that.")
                })
            }
            Self::SearchPath if lower.contains(',') => Err(Diag::not_supported("a search_path of several namespaces")
                .hint("Name one namespace here, and write the others before the names: namespace.name.")),
            Self::SearchPath => Ok(value.trim().trim_matches('"').to_owned()),
            Self::ReadConsistency => {
                let known = ["linearizable", "session", "stale"];
                if known.contains(&lower.as_str()) {
                    return Ok(lower);
                }
                let diag = Diag::new(
                    SqlState::INVALID_PARAMETER,
                    format!("'{value}' is no read consistency: it is linearizable, session or stale"),
                );
                Err(suggest::with_nearest(diag, &lower, known))
            }
        }
    }
}

/// No parameter has this name (42704).
#[must_use]
pub fn unknown_parameter(name: &str) -> Diag {
    let diag = Diag::new(SqlState::UNDEFINED_OBJECT, format!("there is no session parameter \"{name}\""))
        .hint("Settings of the server are in its configuration file; SHOW ALL lists them.");
    suggest::with_nearest(diag, name, Parameter::ALL.into_iter().map(Parameter::name))
}

/// Neither a parameter nor one of the server's `settings` has the name that SHOW asks for (42704).
#[must_use]
pub fn unknown_setting<'a>(name: &str, settings: impl IntoIterator<Item = &'a str>) -> Diag {
    let diag = Diag::new(SqlState::UNDEFINED_OBJECT, format!("unrecognized configuration parameter \"{name}\""))
        .hint("SHOW ALL lists the settings of the server.");
    let parameters = Parameter::ALL.into_iter().map(|known| -> &'a str { known.name() });
    suggest::with_nearest(diag, name, settings.into_iter().chain(parameters))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::parse::parse;

    fn of(sql: &str) -> SessionStatement {
        parse(sql).unwrap()[0].session().unwrap_or_else(|| panic!("{sql} is about no session"))
    }

    #[test]
    fn transactions_have_the_forms_of_postgresql() {
        let (begin, reads) =
            (SessionStatement::Begin { read_only: false }, SessionStatement::Begin { read_only: true });
        for sql in [
            "BEGIN",
            "begin work",
            "BEGIN TRANSACTION",
            "START TRANSACTION",
            "BEGIN ISOLATION LEVEL SERIALIZABLE",
            "BEGIN TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE",
            "START TRANSACTION ISOLATION LEVEL REPEATABLE READ READ WRITE NOT DEFERRABLE",
        ] {
            assert_eq!(of(sql), begin, "{sql}");
        }
        assert_eq!(of("BEGIN READ ONLY"), reads);
        for sql in ["COMMIT", "END", "commit work", "END TRANSACTION", "COMMIT AND NO CHAIN"] {
            assert_eq!(of(sql), SessionStatement::Commit, "{sql}");
        }
        for sql in ["ROLLBACK", "ABORT", "ROLLBACK WORK", "ABORT TRANSACTION"] {
            assert_eq!(of(sql), SessionStatement::Rollback, "{sql}");
        }
        assert_eq!(of("SAVEPOINT One"), SessionStatement::Savepoint("one".into()));
        for sql in ["ROLLBACK TO one", "ROLLBACK TO SAVEPOINT one", "ABORT TO one", "ROLLBACK TRANSACTION TO one"] {
            assert_eq!(of(sql), SessionStatement::RollbackTo("one".into()), "{sql}");
        }
        for sql in ["RELEASE one", "RELEASE SAVEPOINT one"] {
            assert_eq!(of(sql), SessionStatement::Release("one".into()), "{sql}");
        }
    }

    #[test]
    fn what_transactions_do_not_have_is_refused_by_name() {
        for (sql, state) in [
            ("COMMIT AND CHAIN", "0A000"),
            ("COMMIT PREPARED 'x'", "0A000"),
            ("ROLLBACK PREPARED 'x'", "0A000"),
            ("BEGIN DEFERRABLE", "0A000"),
            ("SET LOCAL timezone = 'UTC'", "0A000"),
            ("BEGIN ISOLATION LEVEL SNAPSHOT", "42601"),
            ("SAVEPOINT", "42601"),
            ("ROLLBACK TO", "42601"),
            ("BEGIN BEGIN", "42601"),
        ] {
            assert_eq!(parse(sql).unwrap_err().sqlstate.as_str(), state, "{sql}");
        }
    }

    #[test]
    fn parameters_are_set_as_clients_set_them() {
        let set = |parameter, value: &str| SessionStatement::Set(parameter, Some(value.into()));
        for (sql, expected) in [
            ("SET read_consistency = 'session'", set(Parameter::ReadConsistency, "session")),
            ("SET read_consistency = 'Stale'", set(Parameter::ReadConsistency, "stale")),
            ("SET read_consistency TO linearizable", set(Parameter::ReadConsistency, "linearizable")),
            ("SET SESSION application_name = 'mailer'", set(Parameter::ApplicationName, "mailer")),
            ("SET NAMES 'UTF8'", set(Parameter::ClientEncoding, "UTF8")),
            ("SET TIME ZONE 'UTC'", set(Parameter::TimeZone, "UTC")),
            ("SET TIME ZONE DEFAULT", SessionStatement::Set(Parameter::TimeZone, None)),
            ("SET DateStyle TO ISO, MDY", set(Parameter::DateStyle, "ISO")),
            ("SET extra_float_digits = 3", set(Parameter::ExtraFloatDigits, "3")),
            ("SET search_path TO app", set(Parameter::SearchPath, "app")),
            ("RESET read_consistency", SessionStatement::Set(Parameter::ReadConsistency, None)),
            ("SHOW read_consistency", SessionStatement::Show(Parameter::ReadConsistency)),
            ("SHOW TIME ZONE", SessionStatement::Show(Parameter::TimeZone)),
            ("SHOW TRANSACTION ISOLATION LEVEL", SessionStatement::Show(Parameter::TransactionIsolation)),
            (
                "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL READ COMMITTED",
                set(Parameter::TransactionIsolation, "serializable"),
            ),
        ] {
            assert_eq!(of(sql), expected, "{sql}");
        }
    }

    #[test]
    fn values_that_cannot_be_had_are_refused() {
        for (sql, state) in [
            ("SET timezone = 'Europe/Berlin'", "0A000"),
            ("SET client_encoding = 'latin1'", "0A000"),
            ("SET datestyle = 'german'", "0A000"),
            ("SET search_path = a, b", "0A000"),
            ("SET read_consistency = 'fast'", "22023"),
            ("SET transaction_isolation = 'chaos'", "22023"),
            ("SET work_mem = '1GB'", "42704"),
        ] {
            assert_eq!(parse(sql).unwrap_err().sqlstate.as_str(), state, "{sql}");
        }
        assert!(parse("SHOW sql.max_result").unwrap()[0].session().is_none(), "a setting of the server");
    }
}
