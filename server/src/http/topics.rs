//! POST /v1/api/topics/consume and /v1/api/topics/ack.

use highwater_net::api::{
    AckAnswer, AckRequest as AskedAck, ConsumeAnswer as SentAnswer, ConsumeRequest as AskedConsume, Start, TopicCode,
    TopicError, TopicMessage,
};
use highwater_net::http::{Request, Response};
use highwater_sql::catalog::Operation;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::plan::StartPosition;

use super::{Service, request_id};
use crate::audit::{Event, EventKind, Outcome};
use crate::node::{AckRequest, ConsumeAnswer, ConsumeRequest, Identity, Node, TraceId};

impl Service {
    /// Messages of one partition; waits for a first one if asked to.
    pub(super) async fn consume(
        &self,
        node: &Node,
        identity: Identity,
        request: &Request,
        trace: TraceId,
    ) -> Result<Response, TopicError> {
        let asked = AskedConsume::decode(&request.body)?;
        let max_messages = self.config().topics_max_messages;
        if asked.limit == 0 || asked.limit > max_messages {
            return Err(TopicError::invalid(format!("limit is {}; it must be 1 to {max_messages}", asked.limit)));
        }
        let max_wait = self.config().topics_max_wait;
        let wait = asked.timeout_seconds.unwrap_or(0).saturating_mul(1_000_000);
        if wait > max_wait.micros() {
            let seconds = max_wait.seconds();
            return Err(TopicError::invalid(format!(
                "timeout_seconds must be at most {seconds}; consume again to wait longer"
            )));
        }
        let request_id = asked.request_id.as_deref().map(request_id::parse).transpose();
        let partition = asked.partition_id;
        let consume = ConsumeRequest {
            identity,
            topic: asked.topic_id,
            group: asked.group_id,
            start: match asked.start {
                Start::Latest => StartPosition::Latest,
                Start::Earliest => StartPosition::Earliest,
                Start::Offset(offset) => StartPosition::Offset(offset),
            },
            limit: asked.limit,
            partition,
            timeout_micros: wait,
            consumer_id: asked.consumer_id,
            request_id: request_id.map_err(|error| TopicError::invalid(error.message))?,
            trace,
        };
        let who = consume.identity.clone();
        let answer = node.consume(consume).await.map_err(|diag| refused(node, &who, "CONSUME", trace, &diag))?;
        Ok(Response::json(200, &sent(answer, partition)))
    }

    /// An acknowledgement of one partition.
    pub(super) async fn ack(
        &self,
        node: &Node,
        identity: Identity,
        request: &Request,
        trace: TraceId,
    ) -> Result<Response, TopicError> {
        let asked = AskedAck::decode(&request.body)?;
        let upto = asked.upto_offset;
        let ack = AckRequest {
            identity,
            topic: asked.topic_id,
            group: asked.group_id,
            partition: asked.partition_id,
            upto_offset: upto,
            consumer_id: asked.consumer_id,
            trace,
        };
        let who = ack.identity.clone();
        let committed = node.ack(ack).await.map_err(|diag| refused(node, &who, "ACK", trace, &diag))?;
        Ok(Response::json(200, &AckAnswer::of(upto, committed)))
    }
}

/// A failed request; one that was refused for want of rights is kept.
fn refused(node: &Node, who: &Identity, verb: &str, trace: TraceId, diag: &Diag) -> TopicError {
    if diag.sqlstate == SqlState::INSUFFICIENT_PRIVILEGE {
        let event = Event::of(EventKind::Statement, Outcome::Refused, &who.user).of_login(&who.token_id);
        let why = format!("{}: {}", diag.sqlstate, diag.message);
        let (statement, request) = (Some(verb.to_owned()), Some(trace.to_string()));
        node.record(Event { statement, request, ..event.because(&why) });
    }
    TopicError::from(diag)
}

/// An error of a topic path; overload and unavailability say when to come back.
pub(super) fn response(error: &TopicError) -> Response {
    let response = error.response();
    match error.code {
        TopicCode::RateLimited | TopicCode::Unavailable => response.header("retry-after", "1"),
        TopicCode::Forbidden
        | TopicCode::NotFound
        | TopicCode::InvalidInput
        | TopicCode::Unauthorized
        | TopicCode::Conflict
        | TopicCode::InternalError => response,
    }
}

fn sent(answer: ConsumeAnswer, partition_id: u32) -> SentAnswer {
    let topic = answer.topic;
    let messages = answer.messages.into_iter().map(|message| TopicMessage {
        topic_id: topic.clone(),
        partition_id,
        offset: message.offset,
        payload: message.payload,
        key: message.key,
        timestamp_ms: message.timestamp.div_euclid(1000),
        user: message.user,
        op: match message.operation {
            Operation::Insert => "Insert",
            Operation::Update => "Update",
            Operation::Delete => "Delete",
        }
        .to_owned(),
    });
    SentAnswer { messages: messages.collect(), next_offset: answer.next_offset, has_more: answer.has_more }
}
