//! Answers as they come. Read leniently, so that a newer server's additions do no harm; printed as JSON unchanged.

use serde::Deserialize;
use serde_json::Value;

/// An error of the SQL envelope.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct ErrorBody {
    /// Code.
    #[serde(default)]
    pub code: String,
    /// One sentence.
    #[serde(default)]
    pub message: String,
    /// A JSON object, or the text of one, or any other text.
    #[serde(default)]
    details: Value,
}

/// What `details` says.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ErrorDetails {
    #[serde(default)]
    pub(crate) sqlstate: Option<String>,
    /// First character of the place, counted from 1.
    #[serde(default)]
    pub(crate) position: Option<usize>,
    /// One past its last character, counted likewise.
    #[serde(default)]
    pub(crate) end: Option<usize>,
    #[serde(default)]
    pub(crate) hint: Option<String>,
    #[serde(default)]
    pub(crate) detail: Option<String>,
    #[serde(default)]
    pub(crate) suggestions: Vec<String>,
}

impl ErrorBody {
    /// The details, whichever way they came; a text that is no JSON is the detail.
    pub(crate) fn details(&self) -> ErrorDetails {
        let object = match &self.details {
            Value::String(text) => match serde_json::from_str(text) {
                Ok(object @ Value::Object(_)) => object,
                Ok(_) | Err(_) => return ErrorDetails { detail: Some(text.clone()), ..ErrorDetails::default() },
            },
            other => other.clone(),
        };
        serde_json::from_value(object).unwrap_or_default()
    }

    /// The statement as it was probably meant: one text for each suggestion.
    pub(crate) fn fixes(&self, statement: &str) -> Vec<String> {
        let details = self.details();
        let (Some(start), Some(end)) = (details.position.and_then(|at| at.checked_sub(1)), details.end) else {
            return Vec::new();
        };
        let end = end.saturating_sub(1).max(start);
        let part =
            |from: usize, to: usize| statement.chars().skip(from).take(to.saturating_sub(from)).collect::<String>();
        let before = part(0, start);
        let after = part(end, usize::MAX);
        details.suggestions.iter().map(|meant| format!("{before}{meant}{after};")).collect()
    }

    /// As a JSON document, with the details as an object.
    pub(crate) fn to_json(&self) -> Value {
        let details = match &self.details {
            Value::String(text) => serde_json::from_str(text).unwrap_or_else(|_| self.details.clone()),
            other => other.clone(),
        };
        let mut error = serde_json::json!({"code": self.code, "message": self.message});
        if let (Value::Object(fields), false) = (&mut error, details.is_null()) {
            fields.insert("details".into(), details);
        }
        serde_json::json!({"status": "error", "error": error})
    }
}

/// The result of one statement.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct StatementResult {
    #[serde(default)]
    pub(crate) schema: Vec<Column>,
    #[serde(default)]
    pub(crate) rows: Option<Vec<Vec<Value>>>,
    #[serde(default)]
    pub(crate) row_count: u64,
    #[serde(default)]
    pub(crate) message: Option<String>,
}

/// A column of a result.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    #[serde(default)]
    data_type: Value,
}

impl Column {
    /// The type's name: `BigInt`, `Decimal` ...
    pub(crate) fn type_name(&self) -> &str {
        match &self.data_type {
            Value::String(name) => name,
            Value::Object(fields) => fields.keys().next().map_or("", String::as_str),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => "",
        }
    }

    /// A column of an array's elements; `None` when this is no array.
    pub(crate) fn element(&self) -> Option<Self> {
        let data_type = self.data_type.get("Array")?.clone();
        Some(Self { data_type, ..self.clone() })
    }

    /// Digits of a DECIMAL in all, and those behind the point.
    pub(crate) fn digits(&self) -> Option<(u8, i8)> {
        let decimal = self.data_type.get("Decimal")?;
        let of = |name: &str| decimal.get(name)?.as_u64();
        Some((of("precision")?.try_into().ok()?, of("scale")?.try_into().ok()?))
    }

    /// Numbers of an EMBEDDING.
    pub(crate) fn dimensions(&self) -> Option<i32> {
        self.data_type.get("Embedding")?.as_i64()?.try_into().ok()
    }

    /// As the server writes it.
    pub(crate) fn to_json(&self) -> Value {
        serde_json::json!({"name": self.name, "data_type": self.data_type})
    }

    /// Whether its cells stand at the right.
    pub(crate) fn is_number(&self) -> bool {
        matches!(self.type_name(), "SmallInt" | "Int" | "BigInt" | "Float" | "Double" | "Decimal")
    }
}

/// A message of a topic.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TopicMessage {
    #[serde(default)]
    pub(crate) topic_id: String,
    #[serde(default)]
    pub(crate) partition_id: u32,
    pub(crate) offset: u64,
    #[serde(default)]
    pub(crate) payload: String,
    #[serde(default)]
    pub(crate) key: Option<String>,
    #[serde(default)]
    pub(crate) timestamp_ms: i64,
    #[serde(default)]
    pub(crate) user: Option<String>,
    #[serde(default)]
    pub(crate) op: String,
}

/// The answer to a consume.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ConsumeAnswer {
    pub(crate) messages: Vec<TopicMessage>,
    #[serde(default)]
    pub(crate) next_offset: u64,
    #[serde(default)]
    pub(crate) has_more: bool,
}

/// An error of an authentication path (a code) or a topic path (a sentence).
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct OtherError {
    #[serde(default)]
    pub(crate) error: Value,
    #[serde(default)]
    pub(crate) message: Option<String>,
}

impl OtherError {
    /// The sentence, wherever it stands; else the start of the body.
    pub(crate) fn sentence(body: &str) -> String {
        let parsed: Self = serde_json::from_str(body).unwrap_or_default();
        let inner = || parsed.error.get("message").or(Some(&parsed.error)).and_then(Value::as_str).map(str::to_owned);
        parsed.message.clone().or_else(inner).unwrap_or_else(|| {
            let start: String = body.chars().take(200).collect();
            if start.trim().is_empty() { "the answer has no text".to_owned() } else { start }
        })
    }
}
