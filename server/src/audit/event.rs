//! One event of the audit log, and its bytes.
//!
//! ```text
//! event := version u8 (1) | postcard(Event)
//! ```
//!
//! Fields and variants are only appended.

use crate::node::TraceId;
use highwater_sql::value::Micros;
use serde::{Deserialize, Serialize};

const VERSION: u8 = 1;
/// Longest text of a field, in bytes; longer ones are cut and end with "...".
const MAX_TEXT: usize = 512;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EventKind {
    /// A login, tried or done.
    Login,
    /// A login was ended.
    Logout,
    /// A token was refreshed.
    Refresh,
    /// The first setup.
    Setup,
    /// CREATE, ALTER, DROP of anything but users.
    Definition,
    /// CREATE, ALTER, DROP USER.
    User,
    /// EXECUTE AS.
    ExecuteAs,
    /// CLUSTER.
    Cluster,
    /// Another statement, which was refused for want of rights.
    Statement,
    /// Events that could not be kept; `count` says how many.
    Lost,
}

impl EventKind {
    /// Every kind.
    pub const ALL: [Self; 10] = [
        Self::Login,
        Self::Logout,
        Self::Refresh,
        Self::Setup,
        Self::Definition,
        Self::User,
        Self::ExecuteAs,
        Self::Cluster,
        Self::Statement,
        Self::Lost,
    ];

    /// As `system.audit_log` shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Logout => "logout",
            Self::Refresh => "refresh",
            Self::Setup => "setup",
            Self::Definition => "definition",
            Self::User => "user",
            Self::ExecuteAs => "execute_as",
            Self::Cluster => "cluster",
            Self::Statement => "statement",
            Self::Lost => "lost",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Outcome {
    /// It was done.
    Done,
    /// It was not allowed.
    Refused,
    /// It was allowed and failed, or nobody can tell.
    Failed,
}

impl Outcome {
    /// As `system.audit_log` shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// One event, or several equal ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in microseconds since 1970; of several the last.
    pub at: Micros,
    /// The node that saw it.
    pub node: u64,
    /// What happened.
    pub kind: EventKind,
    /// How it ended.
    pub outcome: Outcome,
    /// Who did it, as far as it said so.
    pub user: String,
    /// The address that it came from, where that is known.
    pub address: Option<String>,
    /// The login that it belongs to.
    pub login: Option<String>,
    /// The statement's verb (`CREATE TABLE`).
    pub statement: Option<String>,
    /// Whom or what it was about.
    pub target: Option<String>,
    /// SQLSTATE or code, and the reason.
    pub error: Option<String>,
    /// The request's id in logs and answers.
    pub request: Option<String>,
    /// How often, since the one before that was written.
    pub count: u64,
}

impl Event {
    /// An event of a user; the log adds time and node.
    #[must_use]
    pub fn of(kind: EventKind, outcome: Outcome, user: &str) -> Self {
        Self {
            at: 0,
            node: 0,
            kind,
            outcome,
            user: cut(user),
            address: None,
            login: None,
            statement: None,
            target: None,
            error: None,
            request: None,
            count: 1,
        }
    }

    /// Where it came from.
    #[must_use]
    pub fn from(self, address: std::net::IpAddr) -> Self {
        Self { address: Some(address.to_canonical().to_string()), ..self }
    }

    /// The login that it belongs to.
    #[must_use]
    pub fn of_login(self, login: &str) -> Self {
        Self { login: Some(cut(login)), ..self }
    }

    /// The request that it was part of.
    #[must_use]
    pub fn of_request(self, request: TraceId) -> Self {
        Self { request: Some(request.to_string()), ..self }
    }

    /// Whom or what it was about.
    #[must_use]
    pub fn about(self, target: &str) -> Self {
        Self { target: Some(cut(target)), ..self }
    }

    /// Why it did not happen.
    #[must_use]
    pub fn because(self, error: &str) -> Self {
        Self { error: Some(cut(error)), ..self }
    }

    /// Events that could not be kept.
    pub(super) fn lost(at: Micros, node: u64, count: u64) -> Self {
        let why = "the audit log could not take as many events, or could not be written";
        Self { at, node, count, ..Self::of(EventKind::Lost, Outcome::Failed, "").because(why) }
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    /// From its bytes; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, body) = bytes.split_first()?;
        match postcard::take_from_bytes(body) {
            Ok((event, [])) if *version == VERSION => Some(event),
            Ok(_) | Err(_) => None,
        }
    }
}

/// A text, cut where it is too long.
fn cut(text: &str) -> String {
    if text.len() <= MAX_TEXT {
        return text.to_owned();
    }
    let end = (0..=MAX_TEXT - 3).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    format!("{}...", text.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn an_event_has_fixed_bytes_and_survives_them() {
        let event = Event {
            at: 1,
            node: 2,
            request: Some("r".into()),
            count: 3,
            ..Event::of(EventKind::User, Outcome::Refused, "anna")
        }
        .from("::1".parse().unwrap())
        .of_login("7")
        .about("bert")
        .because("42501");
        let golden = b"\x01\x02\x02\x05\x01\x04anna\x01\x03::1\x01\x017\x00\x01\x04bert\x01\x0542501\x01\x01r\x03";
        assert_eq!(event.encode(), golden);
        assert_eq!(Event::decode(golden), Some(event));
        for end in 0..golden.len() {
            assert_eq!(Event::decode(&golden[..end]), None);
        }
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let cut = cut(&"é".repeat(400));
        assert!(cut.len() <= MAX_TEXT && cut.ends_with("..."));
    }
}
