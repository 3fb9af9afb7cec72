//! CONSUME and ACK, in SQL and over HTTP: one way for both.
//!
//! A consume first waits until what the sources had when it started has arrived in the partitions, so an acknowledged
//! change is always consumable. With a group, each partition's claim, ack and result are one command.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use highwater_runtime::queue::{self, ReplySlot};
use highwater_runtime::{Env, Monotonic};
use highwater_sql::catalog::{Catalog, ObjectId, Operation, Topic};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{EvalContext, evaluate};
use highwater_sql::plan::{AckPlan, ConsumePlan, StartPosition};
use highwater_sql::value::{DataType, Row, Value};
use highwater_state::command::{AckCommand, Command, ConsumeCommand, RequestHead};
use highwater_state::outcome::{Consumed, Message, Outcome};
use highwater_state::placement::META;

use super::answer::{ResultColumn, StatementResult};
use super::execute::{Failure, Run};
use super::forward::{Errand, Motion};
use super::homes::Asked;
use super::mesh::{MessagesRead, MessagesWanted, Owed, Question, Standing, StandingRead};
use super::query::row_count;
use super::token::ReadToken;
use super::write::unexpected;
use super::{Node, ask_port, shutting_down};

/// How long what the sources have may take to arrive in the partitions before a consume gives up, in microseconds.
const SHIPPING_MICROS: u64 = 10_000_000;
/// How often a waiting consume looks again by itself, for messages whose claim has expired, in microseconds.
const EXPIRY_LOOK_MICROS: u64 = 1_000_000;

/// One consume, whatever it came by.
pub(super) struct Wanted {
    /// Who asks, and how a retry is known.
    pub(super) head: RequestHead,
    /// The topic.
    pub(super) topic: Arc<Topic>,
    /// Which of its partitions.
    pub(super) partitions: Vec<u32>,
    /// The consumer group; without one nothing is claimed.
    pub(super) group: Option<String>,
    /// Where a group without a committed offset, or nobody's group, starts.
    pub(super) start: StartPosition,
    /// Most messages.
    pub(super) limit: u32,
    /// What is returned is acked with it.
    pub(super) auto_ack: bool,
    /// Owner of the claim.
    pub(super) consumer_id: String,
    /// When to stop waiting for messages.
    pub(super) deadline: Monotonic,
    /// When to give up what is under way.
    pub(super) errand: Errand,
    /// The catalog that has the topic.
    pub(super) catalog: Arc<Catalog>,
}

impl Wanted {
    /// A look into one partition.
    fn read(&self, node: &Node, partition: u32, start: StartPosition, limit: u32, max_bytes: u32) -> MessagesRead {
        let group = node.layout().topic_group(self.topic.id, partition, self.topic.incarnation);
        let (head, catalog, topic) = (self.head.clone(), self.catalog.version, self.topic.id);
        let wanted = MessagesWanted { head, catalog, topic, partition, start, limit, max_bytes };
        MessagesRead { group, wanted, deadline: self.errand.deadline }
    }
}

impl Node {
    pub(super) async fn consume_statement(
        &self,
        run: &Run,
        plan: &ConsumePlan,
        token: &mut ReadToken,
    ) -> Result<StatementResult, Failure> {
        let context = EvalContext::new(run.now, &run.user, run.role, &run.params, 0);
        let asked = plan.limit.as_ref().map(|expr| row_count(expr, &context)).transpose()?.flatten();
        let most = self.settings().max_consume_messages;
        if asked == Some(0) {
            return Err(Diag::new(SqlState::INVALID_PARAMETER, "LIMIT of a CONSUME is at least 1")
                .hint("Leave LIMIT out to consume all that is there.")
                .into());
        }
        let longest = self.settings().max_consume_wait_micros;
        if plan.timeout_micros > longest {
            return Err(Diag::new(
                SqlState::INVALID_PARAMETER,
                format!("a CONSUME waits at most {} seconds (topics.max_wait)", longest / 1_000_000),
            )
            .into());
        }
        let limit = match asked {
            None => most,
            Some(asked) => u32::try_from(asked).ok().filter(|asked| *asked <= most).ok_or_else(|| {
                Diag::new(
                    SqlState::PROGRAM_LIMIT,
                    format!("LIMIT {asked} is above the most messages of one consume, {most}"),
                )
                .hint("Consume in several statements.")
            })?,
        };
        let wanted = Wanted {
            head: run.head.clone(),
            topic: Arc::clone(&plan.topic),
            partitions: plan
                .partition
                .map_or_else(|| (0..plan.topic.partitions).collect(), |partition| vec![partition]),
            group: plan.group.clone(),
            start: plan.start,
            limit,
            auto_ack: plan.auto_ack,
            consumer_id: run.identity.token_id.clone(),
            deadline: self.consume_deadline(run.began, plan.timeout_micros),
            errand: run.errand,
            catalog: Arc::clone(&run.catalog),
        };
        let found = self.consume_partitions(&wanted, token).await?;
        let topic = format!("{}.{}", plan.topic.namespace, plan.topic.name);
        let rows = found
            .into_iter()
            .flat_map(|(partition, consumed)| consumed.messages.into_iter().map(move |message| (partition, message)))
            .map(|(partition, message)| message_row(&topic, partition, message))
            .collect();
        Ok(StatementResult::Rows { schema: message_schema(), rows, as_user: run.user.clone(), held: None })
    }

    pub(super) async fn ack_statement(
        &self,
        run: &Run,
        plan: &AckPlan,
        token: &mut ReadToken,
    ) -> Result<StatementResult, Failure> {
        let context = EvalContext::new(run.now, &run.user, run.role, &run.params, 0);
        let upto = match evaluate(&plan.upto, &[], &context)? {
            Value::BigInt(upto) => u64::try_from(upto).map_err(|_| {
                Diag::new(SqlState::OUT_OF_RANGE, format!("offset {upto} is below 0")).hint("Offsets start at 0.")
            })?,
            _ => return Err(Diag::new(SqlState::DATATYPE_MISMATCH, "UPTO OFFSET takes a whole number").into()),
        };
        let consumer = run.identity.token_id.clone();
        let committed = self
            .ack_partition(
                &plan.topic,
                plan.partition,
                &plan.group,
                consumer,
                upto,
                run.head.clone(),
                Some(token),
                &run.catalog,
                run.errand,
            )
            .await?;
        let name = format!("{}.{}", plan.topic.namespace, plan.topic.name);
        let message = match committed {
            Some(committed) => format!(
                "Acknowledged topic '{name}' group '{}' partition {}: committed up to offset {committed}",
                plan.group, plan.partition
            ),
            None => format!(
                "Acknowledged topic '{name}' group '{}' partition {}: nothing is committed yet",
                plan.group, plan.partition
            ),
        };
        Ok(StatementResult::Message { message, row_count: 0, as_user: run.user.clone() })
    }

    /// Until when a consume that began at `began` waits for messages.
    pub(super) fn consume_deadline(&self, began: Monotonic, timeout_micros: u64) -> Monotonic {
        began.after_micros(timeout_micros.min(self.settings().max_consume_wait_micros))
    }

    /// When a consume that began at `began` gives up: its last look has the time of a statement.
    pub(super) fn after_wait(&self, began: Monotonic, timeout_micros: u64) -> Monotonic {
        self.consume_deadline(began, timeout_micros).after_micros(self.settings().statement_micros)
    }

    pub(super) async fn ack_partition(
        &self,
        topic: &Topic,
        partition: u32,
        consumer_group: &str,
        consumer_id: String,
        upto: u64,
        head: RequestHead,
        token: Option<&mut ReadToken>,
        catalog: &Arc<Catalog>,
        errand: Errand,
    ) -> Result<Option<u64>, Failure> {
        let group = self.layout().topic_group(topic.id, partition, topic.incarnation);
        let command = Command::Ack(AckCommand {
            head,
            topic: topic.id,
            partition,
            group: consumer_group.to_owned(),
            consumer_id,
            upto,
        });
        let applied = self.propose(Motion::of_client(errand, group, command, Some(Arc::clone(catalog)))).await?;
        match applied.outcome {
            Outcome::Acked { committed } => {
                if let Some(token) = token {
                    token.saw(group, applied.index);
                }
                Ok(committed)
            }
            other => Err(unexpected(other)),
        }
    }

    pub(super) async fn consume_partitions(
        &self,
        wanted: &Wanted,
        token: &mut ReadToken,
    ) -> Result<Vec<(u32, Consumed)>, Failure> {
        let mut positions: BTreeMap<u32, StartPosition> =
            wanted.partitions.iter().map(|partition| (*partition, wanted.start)).collect();
        loop {
            self.until_shipped(&wanted.topic, &wanted.partitions).await?;
            let last_look = self.env().now() >= wanted.deadline || self.is_closing();
            let (found, answered) = match &wanted.group {
                None => (self.look(wanted, &mut positions).await?, false),
                Some(group) => self.claim(wanted, group, last_look, token).await?,
            };
            // What was proposed under a request id is that request's answer, for its retries too: nothing can follow it.
            let final_answer = answered && wanted.head.request.is_some();
            if last_look || final_answer || found.iter().any(|(_, consumed)| !consumed.messages.is_empty()) {
                return Ok(found);
            }
            self.until_appended(wanted, &found, &positions).await?;
        }
    }

    /// Reads messages without leaving a trace.
    async fn look(
        &self,
        wanted: &Wanted,
        positions: &mut BTreeMap<u32, StartPosition>,
    ) -> Result<Vec<(u32, Consumed)>, Failure> {
        let mut found = Vec::new();
        let (mut left, mut bytes) = (wanted.limit, self.settings().max_consume_bytes);
        for (partition, start) in positions.iter_mut() {
            let consumed = self.messages(wanted.read(self, *partition, *start, left, bytes)).await?;
            *start = StartPosition::Offset(consumed.next_offset);
            left = left.saturating_sub(u32::try_from(consumed.messages.len()).unwrap_or(u32::MAX));
            bytes = bytes.saturating_sub(size_of_payloads(&consumed.messages));
            found.push((*partition, consumed));
            if left == 0 || bytes == 0 {
                break;
            }
        }
        Ok(found)
    }

    /// Claims for a group; also says whether anything was proposed under the request's id. Partitions without anything to give
    /// are passed over without a log entry, but a retried request must find the answers of its first try: with a request id
    /// the last look proposes to all.
    async fn claim(
        &self,
        wanted: &Wanted,
        consumer_group: &str,
        last_look: bool,
        token: &mut ReadToken,
    ) -> Result<(Vec<(u32, Consumed)>, bool), Failure> {
        let retryable = wanted.head.request.is_some();
        let mut standings = self.standings(wanted, consumer_group).await?;
        if retryable && standings.iter().any(|(_, _, standing)| !standing.known) {
            // The group's start is stored first and under no id, so that the id's answer is one with messages.
            for (partition, group, _) in standings.iter().filter(|(_, _, standing)| !standing.known) {
                let head = RequestHead { request: None, ..wanted.head.clone() };
                let command =
                    consume_command(wanted, head, consumer_group, *partition, 0, 0, self.settings().visibility_micros);
                let catalog = Some(Arc::clone(&wanted.catalog));
                self.propose(Motion::of_client(wanted.errand, *group, command, catalog)).await?;
            }
            standings = self.standings(wanted, consumer_group).await?;
        }
        let idle = |standing: Standing| Consumed {
            messages: Vec::new(),
            next_offset: standing.next_offset,
            has_more: standing.deliverable,
        };
        let mut found = Vec::new();
        // A retry has its answer, though nothing be left to deliver: it does not wait for more.
        let is_over = standings.iter().any(|(_, _, standing)| standing.deliverable || standing.answered);
        if retryable && !last_look && !is_over {
            found.extend(standings.into_iter().map(|(partition, _, standing)| (partition, idle(standing))));
            return Ok((found, false));
        }
        let (mut left, mut bytes) = (wanted.limit, self.settings().max_consume_bytes);
        for (partition, group, standing) in standings {
            // Where nothing more is wanted, a new group must still get its start: the first consume reaches all partitions.
            let full = left == 0 || bytes == 0;
            if standing.known && (full || !(standing.deliverable || retryable)) {
                found.push((partition, idle(standing)));
                continue;
            }
            let limit = if full { 0 } else { left };
            let visibility = self.settings().visibility_micros;
            let command =
                consume_command(wanted, wanted.head.clone(), consumer_group, partition, limit, bytes, visibility);
            let motion = Motion::of_client(wanted.errand, group, command, Some(Arc::clone(&wanted.catalog)));
            let outcome = match self.propose(motion).await {
                Ok(applied) => {
                    token.saw(group, applied.index);
                    Ok(applied.outcome)
                }
                Err(error) => Err(Failure::from(error)),
            };
            match outcome {
                Ok(Outcome::Consumed(consumed)) => {
                    left = left.saturating_sub(u32::try_from(consumed.messages.len()).unwrap_or(u32::MAX));
                    bytes = bytes.saturating_sub(size_of_payloads(&consumed.messages));
                    found.push((partition, consumed));
                }
                // This partition's messages may be acked all the same; under the same id, a retry is given them, and the others' again.
                Err(failure) if retryable => return Err(failure),
                // Messages in hand are claimed or acked already: a later partition's failure must not take them away.
                Ok(_) | Err(_) if found.iter().any(|(_, consumed)| !consumed.messages.is_empty()) => {
                    tracing::debug!(partition, "a partition was left out of a consume that has messages of others");
                    left = 0;
                    found.push((partition, idle(standing)));
                }
                Ok(other) => return Err(unexpected(other)),
                Err(failure) => return Err(failure),
            }
        }
        found.sort_by_key(|(partition, _)| *partition);
        Ok((found, true))
    }

    /// How the group stands in each wanted partition. Where it begins differs from consume to consume, so that a small LIMIT
    /// does not starve the later partitions; a retry begins where its first try did.
    async fn standings(&self, wanted: &Wanted, consumer_group: &str) -> Result<Vec<(u32, u32, Standing)>, Diag> {
        let count = wanted.partitions.len().max(1);
        let first = match wanted.head.request {
            Some(request) => usize::try_from(request.id % count as u128).unwrap_or(0),
            None => usize::try_from(self.env().random() % count as u64).unwrap_or(0),
        };
        let mut asked = Vec::with_capacity(count);
        for partition in wanted.partitions.iter().cycle().skip(first).take(count) {
            let group = self.layout().topic_group(wanted.topic.id, *partition, wanted.topic.incarnation);
            let read = StandingRead {
                group,
                topic: wanted.topic.id,
                partition: *partition,
                consumer_group: consumer_group.to_owned(),
                head: wanted.head.clone(),
                deadline: wanted.errand.deadline,
            };
            // All at once: each waits for its group's barrier.
            let (reply, answer) = queue::reply();
            if self.is_elsewhere(group) {
                let node = self.clone();
                self.env().spawn("standing at a home", async move { reply.fill(node.standing_of_home(read).await) });
            } else {
                let asking = self.port_of(group)?.questions.send(Question::Standing(read, reply));
                asking.await.map_err(|_| shutting_down())?;
            }
            asked.push((*partition, group, answer));
        }
        let mut standings = Vec::with_capacity(count);
        for (partition, group, answer) in asked {
            standings.push((partition, group, answer.await.map_err(|_| shutting_down())??));
        }
        Ok(standings)
    }

    /// Waits until what the topic's sources had for these partitions has arrived there.
    async fn until_shipped(&self, topic: &Topic, partitions: &[u32]) -> Result<(), Diag> {
        let layout = self.layout();
        // Every data group may have records: a source that was dropped since, or its table, still has what was acknowledged.
        let (far, sources): (Vec<u32>, Vec<u32>) =
            layout.groups().filter(|group| *group != META).partition(|group| self.is_elsewhere(*group));
        let mut destinations: Vec<u32> =
            partitions.iter().map(|partition| layout.topic_group(topic.id, *partition, topic.incarnation)).collect();
        destinations.sort_unstable();
        destinations.dedup();
        let deadline = self.env().now().after_micros(SHIPPING_MICROS);
        let cores = u32::try_from(self.0.to.len()).unwrap_or(1).max(1);
        let core_of = |group: u32| layout.store_of(group) % cores;
        let mut asked = Vec::new();
        for (core, port) in (0..cores).zip(&self.0.to) {
            let here: Vec<u32> = sources.iter().copied().filter(|group| core_of(*group) == core).collect();
            if here.is_empty() {
                continue;
            }
            let (reply, answer) = queue::reply();
            let question = Question::Owed { sources: here, destinations: destinations.clone(), deadline, reply };
            port.questions.send(question).await.map_err(|_| shutting_down())?;
            asked.push(answer);
        }
        let mut owed: Vec<Owed> = Vec::new();
        if !far.is_empty() {
            owed.extend(self.owed_by_homes(far, &destinations, deadline).await?);
        }
        for answer in asked {
            owed.extend(answer.await.map_err(|_| shutting_down())??);
        }
        let late = || {
            let what = "are still on their way to its partitions";
            Diag::new(SqlState::TIMEOUT, format!("changes of topic \"{}.{}\" {what}", topic.namespace, topic.name))
                .hint("The node is overloaded, or a group has no leader: see system.cluster and system.cluster_groups; consume again.")
        };
        let (far, owed): (Vec<Owed>, Vec<Owed>) =
            owed.into_iter().partition(|owed| self.is_elsewhere(owed.destination));
        for (core, port) in (0..cores).zip(&self.0.to) {
            let owed: Vec<Owed> = owed.iter().copied().filter(|owed| core_of(owed.destination) == core).collect();
            if !owed.is_empty() && !ask_port(port, |reply| Question::AwaitOwed { owed, deadline, reply }).await? {
                return Err(late());
            }
        }
        for owed in far {
            if !self.arrives_at_home(owed, deadline).await? {
                return Err(late());
            }
        }
        Ok(())
    }

    /// Waits until a partition has grown, a claim may have expired, or the deadline.
    async fn until_appended(
        &self,
        wanted: &Wanted,
        found: &[(u32, Consumed)],
        positions: &BTreeMap<u32, StartPosition>,
    ) -> Result<(), Diag> {
        // Never longer than a moment: waits that nobody needs any more (the client left, another core answered) end soon.
        let deadline = wanted.deadline.min(self.env().now().after_micros(EXPIRY_LOOK_MICROS));
        let cores = u32::try_from(self.0.to.len()).unwrap_or(1).max(1);
        let mut by_core: BTreeMap<u32, Vec<(u32, ObjectId, u32, u64)>> = BTreeMap::new();
        let mut far = Vec::new();
        for partition in &wanted.partitions {
            let group = self.layout().topic_group(wanted.topic.id, *partition, wanted.topic.incarnation);
            let seen = found.iter().find(|(known, _)| known == partition).map(|(_, consumed)| consumed.next_offset);
            let next = match (seen, positions.get(partition), &wanted.group) {
                (Some(next), _, _) => next,
                (None, Some(StartPosition::Offset(next)), None) => *next,
                _ => self.messages(wanted.read(self, *partition, StartPosition::Latest, 1, 1)).await?.next_offset,
            };
            if self.is_elsewhere(group) {
                far.push((group, Asked::Grown { topic: wanted.topic.id, partition: *partition, next }));
                continue;
            }
            let core = self.layout().store_of(group) % cores;
            by_core.entry(core).or_default().push((group, wanted.topic.id, *partition, next));
        }
        let (slot, answer) = queue::reply();
        let first: Rc<RefCell<Option<ReplySlot<()>>>> = Rc::new(RefCell::new(Some(slot)));
        for (core, partitions) in by_core {
            let Some(port) = usize::try_from(core).ok().and_then(|core| self.0.to.get(core)).cloned() else { continue };
            let first = Rc::clone(&first);
            self.env().spawn("await append", async move {
                let _ = ask_port(&port, |reply| Question::AwaitAppend { partitions, deadline, reply }).await;
                if let Some(slot) = first.borrow_mut().take() {
                    slot.fill(());
                }
            });
        }
        for (group, asked) in far {
            let (node, first) = (self.clone(), Rc::clone(&first));
            self.env().spawn("await append at a home", async move {
                node.grown_at_home(group, asked, deadline).await;
                if let Some(slot) = first.borrow_mut().take() {
                    slot.fill(());
                }
            });
        }
        drop(first);
        let _ = answer.await;
        Ok(())
    }
}

fn consume_command(
    wanted: &Wanted,
    head: RequestHead,
    group: &str,
    partition: u32,
    limit: u32,
    max_bytes: u32,
    visibility_micros: u64,
) -> Command {
    Command::Consume(ConsumeCommand {
        head,
        topic: wanted.topic.id,
        partition,
        group: group.to_owned(),
        start: wanted.start,
        limit,
        max_bytes,
        auto_ack: wanted.auto_ack,
        consumer_id: wanted.consumer_id.clone(),
        visibility_micros,
    })
}

fn size_of_payloads(messages: &[Message]) -> u32 {
    u32::try_from(messages.iter().map(|message| message.payload.len()).sum::<usize>()).unwrap_or(u32::MAX)
}

fn message_schema() -> Vec<ResultColumn> {
    [
        ("topic_id", DataType::Text, true),
        ("partition_id", DataType::Int, true),
        ("offset", DataType::BigInt, true),
        ("key", DataType::Text, false),
        ("payload", DataType::Bytes, true),
        ("timestamp_ms", DataType::BigInt, true),
        ("user_id", DataType::Text, false),
        ("op", DataType::Text, true),
    ]
    .into_iter()
    .map(|(name, data_type, not_null)| ResultColumn {
        name: name.to_owned(),
        data_type,
        primary_key: false,
        not_null,
        unique: false,
    })
    .collect()
}

fn message_row(topic: &str, partition: u32, message: Message) -> Row {
    let optional = |value: Option<String>| value.map_or(Value::Null, Value::Text);
    let operation = match message.operation {
        Operation::Insert => "Insert",
        Operation::Update => "Update",
        Operation::Delete => "Delete",
    };
    vec![
        Value::Text(topic.to_owned()),
        Value::Int(i32::try_from(partition).unwrap_or(i32::MAX)),
        Value::BigInt(i64::try_from(message.offset).unwrap_or(i64::MAX)),
        optional(message.key),
        Value::Bytes(message.payload),
        Value::BigInt(message.timestamp / 1000),
        optional(message.user),
        Value::Text(operation.to_owned()),
    ]
}
