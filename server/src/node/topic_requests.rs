//! CONSUME and ACK of one partition for front ends that have no statement for them.

use std::sync::Arc;

use highwater_runtime::{Env, Monotonic};
use highwater_sql::access::{self, authorize};
use highwater_sql::catalog::{Catalog, CatalogVersion, Topic};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::expr::Expr;
use highwater_sql::plan::{AckPlan, Bound, ConsumePlan, Plan};
use highwater_sql::value::{DataType, Value};
use highwater_state::command::{RequestHead, RequestId};
use highwater_state::outcome::Consumed;
use xxhash_rust::xxh3::xxh3_64;

use super::Node;
use super::answer::{AckRequest, ConsumeAnswer, ConsumeRequest, Identity};
use super::consume::Wanted;
use super::execute::{Failure, Pauses};
use super::forward::Errand;
use super::token::ReadToken;

impl Node {
    /// Consumes one partition for a front end that has no statement.
    ///
    /// # Errors
    /// As the statement.
    pub async fn consume(&self, request: ConsumeRequest) -> Result<ConsumeAnswer, Diag> {
        let _in_flight = self.enter()?;
        let began = self.env().now();
        let errand = Errand { deadline: self.after_wait(began, request.timeout_micros), trace: request.trace };
        let mut pauses = Pauses::default();
        loop {
            match self.consume_once(&request, began, errand).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Diag(diag)) => return Err(diag),
                Err(Failure::Stale) => self.before_next_plan(&mut pauses, errand.deadline).await?,
            }
        }
    }

    async fn consume_once(
        &self,
        request: &ConsumeRequest,
        began: Monotonic,
        errand: Errand,
    ) -> Result<ConsumeAnswer, Failure> {
        access::may_name_topic(&request.topic, request.identity.role)?;
        let (topic, catalog) = self.topic_by_name(&request.topic).await?;
        if request.partition >= topic.partitions {
            return Err(no_partition(&topic, request.partition).into());
        }
        let plan = Plan::Consume(ConsumePlan {
            topic: Arc::clone(&topic),
            partition: Some(request.partition),
            group: request.group.clone(),
            start: request.start,
            limit: None,
            auto_ack: false,
            timeout_micros: request.timeout_micros,
        });
        check(plan, &request.identity, &catalog)?;
        let wanted = Wanted {
            head: RequestHead {
                request: request.request_id.map(|id| RequestId { id, ordinal: 0 }),
                statement_hash: hash_of(request),
                ..head_of(&request.identity)
            },
            topic: Arc::clone(&topic),
            partitions: vec![request.partition],
            group: request.group.clone(),
            start: request.start,
            limit: request.limit.min(self.settings().max_consume_messages),
            auto_ack: false,
            consumer_id: request.consumer_id.clone().unwrap_or_else(|| request.identity.token_id.clone()),
            deadline: self.consume_deadline(began, request.timeout_micros),
            errand,
            catalog,
        };
        let found = self.consume_partitions(&wanted, &mut ReadToken::default()).await?;
        let consumed = found.into_iter().next().map(|(_, consumed)| consumed).unwrap_or(Consumed {
            messages: Vec::new(),
            next_offset: 0,
            has_more: false,
        });
        Ok(ConsumeAnswer {
            topic: format!("{}.{}", topic.namespace, topic.name),
            messages: consumed.messages,
            next_offset: consumed.next_offset,
            has_more: consumed.has_more,
        })
    }

    /// Acks for a front end that has no statement. Answers the committed offset: everything at or below it is settled.
    ///
    /// # Errors
    /// As the statement.
    pub async fn ack(&self, request: AckRequest) -> Result<Option<u64>, Diag> {
        let _in_flight = self.enter()?;
        let errand = Errand { deadline: self.statement_deadline(), trace: request.trace };
        let mut pauses = Pauses::default();
        loop {
            match self.ack_once(&request, errand).await {
                Ok(committed) => return Ok(committed),
                Err(Failure::Diag(diag)) => return Err(diag),
                Err(Failure::Stale) => self.before_next_plan(&mut pauses, errand.deadline).await?,
            }
        }
    }

    async fn ack_once(&self, request: &AckRequest, errand: Errand) -> Result<Option<u64>, Failure> {
        access::may_name_topic(&request.topic, request.identity.role)?;
        let (topic, catalog) = self.topic_by_name(&request.topic).await?;
        if request.partition >= topic.partitions {
            return Err(no_partition(&topic, request.partition).into());
        }
        let plan = Plan::Ack(AckPlan {
            topic: Arc::clone(&topic),
            group: request.group.clone(),
            partition: request.partition,
            upto: Expr::Literal(
                Value::BigInt(i64::try_from(request.upto_offset).unwrap_or(i64::MAX)),
                DataType::BigInt,
            ),
        });
        check(plan, &request.identity, &catalog)?;
        let head = head_of(&request.identity);
        let consumer = request.consumer_id.clone().unwrap_or_else(|| request.identity.token_id.clone());
        self.ack_partition(
            &topic,
            request.partition,
            &request.group,
            consumer,
            request.upto_offset,
            head,
            None,
            &catalog,
            errand,
        )
        .await
    }

    async fn topic_by_name(&self, name: &str) -> Result<(Arc<Topic>, Arc<Catalog>), Diag> {
        let (namespace, topic) = name.split_once('.').unwrap_or(("default", name));
        let mut catalog = self.catalog();
        if catalog.topic(namespace, topic).is_none() {
            catalog = self.newest_catalog().await?;
        }
        let found = catalog.topic(namespace, topic).cloned().ok_or_else(|| {
            Diag::new(SqlState::UNDEFINED_OBJECT, format!("topic \"{name}\" does not exist"))
                .hint("SHOW TOPICS lists the topics that exist.")
        })?;
        Ok((found, catalog))
    }
}

/// The identity of what is asked, so that one request id cannot stand for two things; who waits for how long may differ.
fn hash_of(request: &ConsumeRequest) -> u64 {
    let ConsumeRequest { topic, group, start, limit, partition, consumer_id, .. } = request;
    xxh3_64(format!("{topic:?} {group:?} {start:?} {limit} {partition} {consumer_id:?}").as_bytes())
}

fn head_of(identity: &Identity) -> RequestHead {
    RequestHead {
        principal: identity.user.clone(),
        role: identity.role,
        auth_epoch: identity.auth_epoch,
        request: None,
        statement_hash: 0,
    }
}

fn check(plan: Plan, identity: &Identity, catalog: &Catalog) -> Result<(), Diag> {
    let bound = Bound {
        catalog_version: CatalogVersion(catalog.version.0),
        execute_as: None,
        parameters: Vec::new(),
        returning: Vec::new(),
        plan,
    };
    authorize(&bound, identity.role, &identity.user, catalog)
}

fn no_partition(topic: &Topic, partition: u32) -> Diag {
    Diag::new(
        SqlState::UNDEFINED_OBJECT,
        format!(
            "topic \"{}.{}\" has no partition {partition}: it has {}, counted from 0",
            topic.namespace, topic.name, topic.partitions
        ),
    )
}
