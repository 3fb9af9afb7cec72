//! POST /v1/api/topics/consume and /v1/api/topics/ack.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::decode_json;
use crate::http::Response;

/// Where a consume starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum Start {
    /// After the end.
    #[default]
    Latest,
    /// At the oldest message kept.
    Earliest,
    /// At this offset.
    Offset(u64),
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = serde_json::Value::deserialize(deserializer)?;
        let start = match &given {
            serde_json::Value::String(word) => match word.as_str() {
                "Latest" | "latest" => Some(Self::Latest),
                "Earliest" | "earliest" => Some(Self::Earliest),
                _ => None,
            },
            serde_json::Value::Object(fields) if fields.len() == 1 => {
                let offset = fields.get("Offset").or_else(|| fields.get("offset"));
                offset.and_then(serde_json::Value::as_u64).map(Self::Offset)
            }
            _ => None,
        };
        start.ok_or_else(|| serde::de::Error::custom(r#"start is "Latest", "Earliest" or {"Offset": number}"#))
    }
}

fn default_limit() -> u32 {
    100
}

/// A consume of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsumeRequest {
    /// `namespace.topic`.
    pub topic_id: String,
    /// The group, if any: what is returned is then claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group_id: Option<String>,
    /// Where to start; of no meaning for a group with a committed offset.
    #[serde(default)]
    pub start: Start,
    /// At most this many messages; 100 unless told.
    #[serde(default = "default_limit")]
    pub limit: u32,
    /// The partition, 0 unless told.
    #[serde(default)]
    pub partition_id: u32,
    /// Wait this long for a first message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// Owner of the claim; the login token's id unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_id: Option<String>,
    /// ULID or UUIDv7 under which a group's answer can be had again when it was lost; not looked into here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

impl ConsumeRequest {
    /// A consume from a body.
    ///
    /// # Errors
    /// 400 for a body that is no consume.
    pub fn decode(body: &[u8]) -> Result<Self, TopicError> {
        decode_json(body, r#"{"topic_id": "namespace.topic", "group_id": "..."}"#).map_err(TopicError::invalid)
    }
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicMessage {
    /// `namespace.topic`.
    pub topic_id: String,
    /// Its partition.
    pub partition_id: u32,
    /// Its number in the partition, from 0.
    pub offset: u64,
    /// Its content; base64 on the wire.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub payload: Vec<u8>,
    /// Its key as text.
    pub key: Option<String>,
    /// Log time of the change, in milliseconds since 1970 UTC.
    pub timestamp_ms: i64,
    /// Whose row it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Insert, Update or Delete.
    pub op: String,
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&base64::display::Base64Display::new(bytes, &STANDARD))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

/// A consume's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsumeAnswer {
    /// In offset order.
    pub messages: Vec<TopicMessage>,
    /// Where the next consume goes on.
    pub next_offset: u64,
    /// Whether more could be returned now.
    pub has_more: bool,
}

/// An ack of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AckRequest {
    /// `namespace.topic`.
    pub topic_id: String,
    /// The group.
    pub group_id: String,
    /// The partition, 0 unless told.
    #[serde(default)]
    pub partition_id: u32,
    /// Everything at or below this offset.
    pub upto_offset: u64,
    /// Who acks; the login token's id unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumer_id: Option<String>,
}

impl AckRequest {
    /// An ack from a body.
    ///
    /// # Errors
    /// 400 for a body that is no ack.
    pub fn decode(body: &[u8]) -> Result<Self, TopicError> {
        let wanted = r#"{"topic_id": "namespace.topic", "group_id": "...", "upto_offset": 0}"#;
        decode_json(body, wanted).map_err(TopicError::invalid)
    }
}

/// An ack's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckAnswer {
    /// true.
    pub success: bool,
    /// The group's committed offset after the ack; the offset that was asked for while there is none.
    pub acknowledged_offset: u64,
    /// The end of the longest settled prefix, inclusive; null while an earlier message is another consumer's and nothing is committed.
    pub committed_offset: Option<u64>,
}

impl AckAnswer {
    /// The answer of an ack up to `upto`.
    #[must_use]
    pub fn of(upto: u64, committed_offset: Option<u64>) -> Self {
        Self { success: true, acknowledged_offset: committed_offset.unwrap_or(upto), committed_offset }
    }
}

/// Codes of the topic paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TopicCode {
    /// The role does not suffice.
    Forbidden,
    /// No such topic or partition.
    NotFound,
    /// The request cannot be carried out as it is.
    InvalidInput,
    /// No valid token.
    Unauthorized,
    /// The claim is gone, or the request id is too old.
    Conflict,
    /// Overload: retry.
    RateLimited,
    /// Not now.
    Unavailable,
    /// A defect of the server.
    InternalError,
}

impl TopicCode {
    /// Every code.
    pub const ALL: [Self; 8] = [
        Self::Forbidden,
        Self::NotFound,
        Self::InvalidInput,
        Self::Unauthorized,
        Self::Conflict,
        Self::RateLimited,
        Self::Unavailable,
        Self::InternalError,
    ];

    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidInput => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::RateLimited => 429,
            Self::InternalError => 500,
            Self::Unavailable => 503,
        }
    }
}

/// An error of a topic path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{error}")]
pub struct TopicError {
    /// One sentence.
    pub error: String,
    /// Code.
    pub code: TopicCode,
}

impl TopicError {
    /// A request that cannot be read.
    #[must_use]
    pub fn invalid(error: String) -> Self {
        Self { error, code: TopicCode::InvalidInput }
    }

    /// The whole answer.
    #[must_use]
    pub fn response(&self) -> Response {
        self.response_with_status(self.code.status())
    }

    pub(super) fn response_with_status(&self, status: u16) -> Response {
        Response::json(status, self)
    }
}

impl From<&highwater_sql::diag::Diag> for TopicError {
    fn from(diag: &highwater_sql::diag::Diag) -> Self {
        use highwater_sql::diag::SqlState;
        let code = match diag.sqlstate {
            SqlState::INSUFFICIENT_PRIVILEGE => TopicCode::Forbidden,
            SqlState::UNDEFINED_OBJECT | SqlState::UNDEFINED_TABLE | SqlState::UNDEFINED_NAMESPACE => {
                TopicCode::NotFound
            }
            SqlState::REQUEST_EXPIRED | SqlState::OBJECT_STATE | SqlState::SERIALIZATION_FAILURE => TopicCode::Conflict,
            SqlState::OVERLOADED => TopicCode::RateLimited,
            SqlState::INSUFFICIENT_RESOURCES
            | SqlState::DISK_FULL
            | SqlState::OUT_OF_MEMORY
            | SqlState::SHUTTING_DOWN
            | SqlState::TIMEOUT
            | SqlState::OUTCOME_UNKNOWN => TopicCode::Unavailable,
            SqlState::INTERNAL | SqlState::DATA_CORRUPTED => TopicCode::InternalError,
            _ => TopicCode::InvalidInput,
        };
        let error = match &diag.hint {
            Some(hint) => format!("{} ({hint})", diag.message),
            None => diag.message.clone(),
        };
        Self { error, code }
    }
}
