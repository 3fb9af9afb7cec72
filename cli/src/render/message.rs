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

/// How a message is printed, as its reader wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MessageFormat(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Topic,
    Partition,
    Offset,
    Key,
    Payload,
    User,
    Operation,
    Time,
}

impl MessageFormat {
    /// From `%o %k %p\n`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts: Vec<Part> = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let literal = match character {
                '%' => match characters.next() {
                    Some('%') => '%',
                    Some('t') => {
                        parts.push(Part::Topic);
                        continue;
                    }
                    Some('P') => {
                        parts.push(Part::Partition);
                        continue;
                    }
                    Some('o') => {
                        parts.push(Part::Offset);
                        continue;
                    }
                    Some('k') => {
                        parts.push(Part::Key);
                        continue;
                    }
                    Some('p') => {
                        parts.push(Part::Payload);
                        continue;
                    }
                    Some('u') => {
                        parts.push(Part::User);
                        continue;
                    }
                    Some('O') => {
                        parts.push(Part::Operation);
                        continue;
                    }
                    Some('d') => {
                        parts.push(Part::Time);
                        continue;
                    }
                    other => {
                        let other = other.map_or(String::new(), |other| other.to_string());
                        return Err(format!(
                            "%{other} is nothing of a message: there are %t %P %o %k %p %u %O %d and %%"
                        ));
                    }
                },
                '\\' => match characters.next() {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('0') => '\0',
                    Some(other) => other,
                    None => '\\',
                },
                other => other,
            };
            match parts.last_mut() {
                Some(Part::Text(text)) => text.push(literal),
                Some(_) | None => parts.push(Part::Text(literal.to_string())),
            }
        }
        Ok(Self(parts))
    }

    /// The message; a payload that is no text as its bytes.
    pub(crate) fn write(&self, message: &TopicMessage) -> Vec<u8> {
        let mut out = Vec::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => out.extend(text.as_bytes()),
                Part::Topic => out.extend(message.topic_id.as_bytes()),
                Part::Partition => out.extend(message.partition_id.to_string().as_bytes()),
                Part::Offset => out.extend(message.offset.to_string().as_bytes()),
                Part::Key => out.extend(message.key.as_deref().unwrap_or_default().as_bytes()),
                Part::Payload => match STANDARD.decode(&message.payload) {
                    Ok(bytes) => out.extend(bytes),
                    Err(_) => out.extend(message.payload.as_bytes()),
                },
                Part::User => out.extend(message.user.as_deref().unwrap_or_default().as_bytes()),
                Part::Operation => out.extend(message.op.to_lowercase().as_bytes()),
                Part::Time => out.extend(cell::timestamp(message.timestamp_ms.saturating_mul(1000)).as_bytes()),
            }
        }
        out
    }
}
