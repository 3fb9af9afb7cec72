//! Following a topic: every partition in turn, from where one wants to start, until Ctrl-C or a limit.
//!
//! With a group, what was printed is acked, in that order: a message whose printing was cut short comes again.

use std::io::Write;
use std::time::Duration;

use crate::answer::ConsumeAnswer;
use crate::args::{Format, Start};
use crate::connection::{Connection, TopicRefusal};
use crate::failure::Failure;
use crate::render::{MessageFormat, message_csv, message_json, message_line};
use crate::terminal::{Interrupt, Style};

/// Messages asked for at a time.
const BATCH: u64 = 100;
/// How long the server holds an idle request for a topic of one partition; Ctrl-C is noticed after that.
const LONG_POLL_SECONDS: u64 = 1;
/// Pause between two rounds over the partitions of an idle topic.
const PAUSE: Duration = Duration::from_millis(200);

/// What to follow.
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    pub(crate) topic: String,
    pub(crate) group: Option<String>,
    pub(crate) from: Start,
    pub(crate) limit: Option<u64>,
    /// How a message looks, where its reader says it.
    pub(crate) message: Option<MessageFormat>,
}

/// Where messages go and how they look.
pub(crate) struct Sink<'a> {
    pub(crate) out: &'a mut dyn Write,
    pub(crate) format: Format,
    pub(crate) style: Style,
}

/// Follows until Ctrl-C, or until so many messages were printed.
pub(crate) fn follow(
    connection: &mut Connection,
    what: &Follow,
    sink: &mut Sink<'_>,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    if sink.format == Format::Arrow && what.message.is_none() {
        return Err(Failure::Command(
            "messages have no form in Arrow: take jsonl, json, csv or a format of your own".to_owned(),
        ));
    }
    if sink.format == Format::Csv && what.message.is_none() {
        sink.out.write_all(message_csv(None).as_bytes())?;
    }
    let mut left = what.limit.unwrap_or(u64::MAX);
    let mut positions = Vec::new();
    // Partitions are numbered from 0 without gaps; the first one that is refused is one past the last.
    for partition in 0_u32.. {
        match read(connection, what, partition, what.from, left, 0)? {
            Ok(answer) => {
                left = take(connection, what, partition, &answer, left, sink)?;
                positions.push(answer.next_offset);
            }
            Err(refusal) if partition > 0 && matches!(refusal.status, 400 | 404) => break,
            Err(refusal) => return Err(refused(what, &refusal)),
        }
        if left == 0 || interrupt.is_raised() {
            return Ok(());
        }
    }
    let mut is_idle = false;
    loop {
        let wait = if is_idle && positions.len() == 1 { LONG_POLL_SECONDS } else { 0 };
        if is_idle && positions.len() > 1 {
            std::thread::sleep(PAUSE);
        }
        is_idle = true;
        for (partition, position) in (0_u32..).zip(&mut positions) {
            if left == 0 || interrupt.is_raised() {
                return Ok(());
            }
            let answer = read(connection, what, partition, Start::Offset(*position), left, wait)?
                .map_err(|refusal| refused(what, &refusal))?;
            left = take(connection, what, partition, &answer, left, sink)?;
            *position = answer.next_offset;
            is_idle &= answer.messages.is_empty() && !answer.has_more;
        }
    }
}

fn read(
    connection: &mut Connection,
    what: &Follow,
    partition: u32,
    start: Start,
    left: u64,
    wait_seconds: u64,
) -> Result<Result<ConsumeAnswer, TopicRefusal>, Failure> {
    // A group's start counts only until it has a committed offset; it stays what was asked for.
    let start = if what.group.is_some() { what.from } else { start };
    connection.consume(&what.topic, partition, what.group.as_deref(), start, left.min(BATCH), wait_seconds)
}

/// Prints what came, acks it, and gives how many may still come.
fn take(
    connection: &mut Connection,
    what: &Follow,
    partition: u32,
    answer: &ConsumeAnswer,
    left: u64,
    sink: &mut Sink<'_>,
) -> Result<u64, Failure> {
    for message in &answer.messages {
        let line = match (&what.message, sink.format) {
            (Some(format), _) => format.write(message),
            (None, Format::Json | Format::Jsonl) => message_json(message).into_bytes(),
            (None, Format::Csv) => message_csv(Some(message)).into_bytes(),
            (None, _) => message_line(message, sink.style).into_bytes(),
        };
        sink.out.write_all(&line)?;
    }
    sink.out.flush()?;
    if let (Some(group), Some(last)) = (&what.group, answer.messages.last()) {
        connection.ack(&what.topic, partition, group, last.offset)?.map_err(|refusal| refused(what, &refusal))?;
    }
    Ok(left.saturating_sub(answer.messages.len() as u64))
}

fn refused(what: &Follow, refusal: &TopicRefusal) -> Failure {
    Failure::Command(format!("topic {}: {}", what.topic, refusal.message))
}
