//! The newest log lines of this process, kept in memory for `system.server_logs`: at most [`MAX_LINES`] and [`MAX_BYTES`], the oldest go
//! first. Standard error has all of them; this is for who can ask the server and cannot see that.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Most lines.
const MAX_LINES: usize = 10_000;
/// Most bytes of their texts.
const MAX_BYTES: usize = 4 << 20;
/// Longest text of a line, in bytes; a longer one is cut.
const MAX_TEXT: usize = 8 << 10;

static KEPT: Mutex<Kept> = Mutex::new(Kept { lines: VecDeque::new(), bytes: 0 });

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// When, in microseconds since 1970.
    pub(crate) at: i64,
    /// ERROR, WARN, INFO, DEBUG or TRACE.
    pub(crate) level: &'static str,
    /// The thread: a core's, mostly.
    pub(crate) thread: Option<String>,
    /// The module.
    pub(crate) target: String,
    /// The line of its file.
    pub(crate) line: Option<u32>,
    /// The text, with the fields behind it as `name=value`.
    pub(crate) message: String,
    /// The request that it was part of.
    pub(crate) request_id: Option<String>,
}

struct Kept {
    lines: VecDeque<LogLine>,
    bytes: usize,
}

impl Kept {
    fn push(&mut self, line: LogLine) {
        self.bytes += line.message.len();
        self.lines.push_back(line);
        while self.lines.len() > MAX_LINES || self.bytes > MAX_BYTES {
            let Some(oldest) = self.lines.pop_front() else { break };
            self.bytes -= oldest.message.len();
        }
    }
}

/// The lines that are kept, oldest first.
pub(crate) fn kept() -> Vec<LogLine> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).lines.iter().cloned().collect()
}

/// Keeps what passes the filter before it.
pub(super) struct Keeping;

impl<S: Subscriber> Layer<S> for Keeping {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let metadata = event.metadata();
        let line = LogLine {
            at: jiff::Timestamp::now().as_microsecond(),
            level: metadata.level().as_str(),
            thread: std::thread::current().name().map(str::to_owned),
            target: metadata.target().to_owned(),
            line: metadata.line(),
            message: text.whole(),
            request_id: text.request_id,
        };
        KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}

/// An event's message and fields as one text.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
    request_id: Option<String>,
}

impl Text {
    fn take(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        match field.name() {
            "message" => self.message = value.to_string(),
            "request_id" => self.request_id = Some(value.to_string()),
            // A String takes every write.
            name if self.fields.len() < MAX_TEXT => drop(write!(self.fields, " {name}={value}")),
            _ => {}
        }
    }

    fn whole(&mut self) -> String {
        let mut text = std::mem::take(&mut self.message);
        text.push_str(&self.fields);
        if text.len() > MAX_TEXT {
            let end = (0..=MAX_TEXT - 3).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
            text.truncate(end);
            text.push_str("...");
        }
        text
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, format_args!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    fn line(message: String) -> LogLine {
        let (level, target) = ("INFO", "t".to_owned());
        LogLine { at: 0, level, thread: None, target, line: None, message, request_id: None }
    }

    #[test]
    fn the_newest_lines_are_kept() {
        let mut kept = Kept { lines: VecDeque::new(), bytes: 0 };
        for number in 0..MAX_LINES + 5 {
            kept.push(line(number.to_string()));
        }
        assert_eq!((kept.lines.len(), kept.lines[0].message.as_str()), (MAX_LINES, "5"));
        for _ in 0..=MAX_BYTES / MAX_TEXT {
            kept.push(line("x".repeat(MAX_TEXT)));
        }
        assert!(kept.bytes <= MAX_BYTES);
        assert_eq!(kept.bytes, kept.lines.iter().map(|line| line.message.len()).sum::<usize>());
    }

    #[test]
    fn a_line_has_its_message_fields_and_request() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let long = "é".repeat(MAX_TEXT);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(Keeping), || {
            tracing::warn!(request_id = %"00ab", rows = 3, user = "anna", "a line of the test {}", 7);
            tracing::info!("{long}");
        });
        let lines = kept();
        let own = lines.iter().find(|line| line.message.starts_with("a line of the test 7")).unwrap();
        assert_eq!((own.level, own.request_id.as_deref()), ("WARN", Some("00ab")));
        assert_eq!(own.message, "a line of the test 7 rows=3 user=anna");
        assert!(own.at > 1_700_000_000_000_000 && own.target.contains("logging"));
        let cut = lines.iter().find(|line| line.message.starts_with("éé")).unwrap();
        assert!(cut.message.len() <= MAX_TEXT && cut.message.ends_with("é..."));
    }
}
