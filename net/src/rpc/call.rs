//! Calls: a request and exactly one answer. Payloads are opaque here.
//!
//! ```text
//! request    0..8 call id, 8..16 time that the caller will wait in microseconds, 16..18 kind, 18.. payload
//! response   0..8 call id, 8..10 refusal code (0: answered), 10..12 length of the text, text (UTF-8), payload
//! ```
//!
//! The time is a duration, as the clocks of two nodes differ.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::fields::{Fields, Malformed};
use super::ids::{CallId, CallKind};
use super::limits::MAX_REFUSAL_TEXT;

/// Bytes of a request before its payload.
pub const REQUEST_HEADER_BYTES: usize = 18;
/// Bytes of a response before its text and payload.
pub const RESPONSE_HEADER_BYTES: usize = 12;

/// Why a call was refused. Codes below 256 are the transport's own, those from 256 the server's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusalCode(pub u16);

impl RefusalCode {
    /// The callee has too much to do; the call was not begun.
    pub const BUSY: Self = Self(1);
    /// The caller's time was over before the call was begun.
    pub const EXPIRED: Self = Self(2);
    /// The answer is larger than the caller accepts, or could not be kept: what the call did is unknown.
    pub const ANSWER_LOST: Self = Self(3);
    /// The callee does not know this kind; the call was not begun.
    pub const UNKNOWN_KIND: Self = Self(4);
    /// First code whose meaning is the server's.
    pub const FIRST_OF_SERVER: u16 = 256;
}

/// A refusal: the typed answer that is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub code: RefusalCode,
    /// In words, for logs and people; at most [`MAX_REFUSAL_TEXT`] bytes are sent.
    pub text: String,
    /// Facts for the caller's code, such as who leads.
    pub payload: Bytes,
}

impl Refusal {
    /// A refusal without facts.
    #[must_use]
    pub fn new(code: RefusalCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), payload: Bytes::new() }
    }
}

/// What a call is answered with.
pub type Answer = Result<Bytes, Refusal>;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Comes back with the answer.
    pub id: CallId,
    /// How long the caller will wait, in microseconds from when it was sent.
    pub timeout_micros: u64,
    /// What is asked for.
    pub kind: CallKind,
    /// The rest.
    pub payload: Bytes,
}

impl Request {
    /// Appends it.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(self.id.0);
        out.put_u64_le(self.timeout_micros);
        out.put_u16_le(self.kind.0);
        out.put_slice(&self.payload);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(payload: &Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::of(payload);
        Ok(Self {
            id: CallId(fields.u64("the call's id")?),
            timeout_micros: fields.u64("the call's time")?,
            kind: CallKind(fields.u16("the call's kind")?),
            payload: fields.rest(),
        })
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Of the request.
    pub id: CallId,
    /// The answer.
    pub answer: Answer,
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(MAX_REFUSAL_TEXT);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default()
}

impl Response {
    /// Bytes that [`Self::encode`] appends.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let rest = match &self.answer {
            Ok(payload) => payload.len(),
            Err(refusal) => refusal.payload.len().saturating_add(cut(&refusal.text).len()),
        };
        rest.saturating_add(RESPONSE_HEADER_BYTES)
    }

    /// Appends it.
    pub fn encode(&self, out: &mut BytesMut) {
        let (code, text, payload) = match &self.answer {
            Ok(payload) => (0, "", payload),
            Err(refusal) => (refusal.code.0.max(1), cut(&refusal.text), &refusal.payload),
        };
        out.put_u64_le(self.id.0);
        out.put_u16_le(code);
        out.put_u16_le(u16::try_from(text.len()).unwrap_or(0));
        out.put_slice(text.as_bytes());
        out.put_slice(payload);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(payload: &Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::of(payload);
        let id = CallId(fields.u64("the call's id")?);
        let code = fields.u16("the refusal's code")?;
        let length = usize::from(fields.u16("the refusal's text")?);
        if length > MAX_REFUSAL_TEXT || (code == 0 && length > 0) {
            return Err(Malformed::Value("length of the refusal's text"));
        }
        let text = fields.bytes(length, "the refusal's text")?;
        let text = std::str::from_utf8(&text).map_err(|_| Malformed::Value("refusal's text"))?.to_owned();
        let payload = fields.rest();
        let answer = if code == 0 { Ok(payload) } else { Err(Refusal { code: RefusalCode(code), text, payload }) };
        Ok(Self { id, answer })
    }
}
