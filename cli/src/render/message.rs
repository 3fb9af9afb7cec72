//! Messages of a topic, one per line.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::answer::TopicMessage;
use crate::terminal::Style;

use super::{cell, csv_line};

const DIM: &str = "2";

/// Header of the CSV of messages.
const FIELDS: [&str; 8] = ["topic_id", "partition_id", "offset", "op", "key", "user", "timestamp", "payload"];

fn payload(message: &TopicMessage) -> Result<String, String> {
    let bytes = STANDARD.decode(&message.payload).map_err(|_| message.payload.clone())?;
    String::from_utf8(bytes).map_err(|_| message.payload.clone())
}

/// For people: partition and offset, what happened, when, whose, key, payload (base64 when it is no text).
pub(crate) fn message_line(message: &TopicMessage, style: Style) -> String {
    let head = format!(
        "{}:{} {} {} {}{}",
        message.partition_id,
        message.offset,
        cell::timestamp(message.timestamp_ms.saturating_mul(1000)),
        message.op.to_lowercase(),
        message.user.as_deref().map_or(String::new(), |user| format!("user={} ", cell::on_one_line(user))),
        message.key.as_deref().map_or(String::new(), |key| format!("key={} ", cell::on_one_line(key))),
    );
    let payload = payload(message).unwrap_or_else(|base64| base64);
    format!("{} {}\n", style.paint(DIM, head.trim_end()), cell::on_one_line(&payload))
}

/// For programs: one JSON document. A payload that is JSON is `payload`, untouched; any other is `payload_base64`.
pub(crate) fn message_json(message: &TopicMessage) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        topic_id: &'a str,
        partition_id: u32,
        offset: u64,
        op: &'a str,
        key: Option<&'a str>,
        user: Option<&'a str>,
        timestamp_ms: i64,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        payload_base64: Option<&'a str>,
    }
    let text = payload(message).unwrap_or_default();
    let raw = serde_json::from_str::<&RawValue>(&text).ok().filter(|raw| !raw.get().contains(['\n', '\r']));
    let line = Line {
        topic_id: &message.topic_id,
        partition_id: message.partition_id,
        offset: message.offset,
        op: &message.op,
        key: message.key.as_deref(),
        user: message.user.as_deref(),
        timestamp_ms: message.timestamp_ms,
        payload: raw,
        payload_base64: raw.is_none().then_some(&message.payload),
    };
    serde_json::to_string(&line).unwrap_or_default() + "\n"
}

/// As a CSV line; `None` gives the header.
pub(crate) fn message_csv(message: Option<&TopicMessage>) -> String {
    let Some(message) = message else { return csv_line(FIELDS.iter().map(|name| Some((*name).to_owned()))) };
    csv_line(
        [
            Some(message.topic_id.clone()),
            Some(message.partition_id.to_string()),
            Some(message.offset.to_string()),
            Some(message.op.clone()),
            message.key.clone(),
            message.user.clone(),
            Some(cell::timestamp(message.timestamp_ms.saturating_mul(1000))),
            Some(payload(message).unwrap_or_else(|base64| base64)),
        ]
        .into_iter(),
    )
}
