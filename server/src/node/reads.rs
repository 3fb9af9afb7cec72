//! Answering questions on the core that hosts the group: table reads, messages, waits.
//!
//! Every read first passes the read barrier of its group, then uses the view published last: so it shows everything that was
//! acknowledged, on any node, before it arrived. A sole voter's view always does.

use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use highwater_raft as raft;
use highwater_runtime::{Env, Monotonic};
use highwater_sql::catalog::{Catalog, Table, TableKind};
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::eval::{self, EvalContext};
use highwater_sql::order::{self, Reading};
use highwater_sql::pipeline::{Flow, Pipeline, PipelineLimits, Steps};
use highwater_sql::plan::From;
use highwater_sql::row::Columns;
use highwater_sql::value::{Row, Value};
use highwater_state::StateError;
use highwater_state::jobs::Job;
use highwater_state::outcome::Consumed;
use highwater_state::placement::META;
use highwater_state::rights;
use highwater_state::topics::GroupOffset;
use highwater_state::view::{GroupView, RowCursor};

use serde_json::json;

use super::appends;
use super::homes;
use super::host::StoreHost;
use super::membership;
use super::mesh::{
    MessagesRead, Owed, Question, ReadPart, ReadRefusal, Readiness, Standing, StandingRead, TableRead, TableRows,
};
use super::replica::Replica;
use super::token::Shown;
use super::transactions::{self, Consistency};
use super::{Cluster, Node};

/// Serves the questions of this core until every sender is gone. Each runs in a task of its own.
pub(crate) async fn serve(node: Node, questions: highwater_runtime::queue::Receiver<Question>) {
    while let Some(question) = questions.recv().await {
        let node = node.clone();
        let env = node.env().clone();
        env.spawn("question", async move { answer(&node, question).await });
    }
}

async fn answer(node: &Node, question: Question) {
    match question {
        // Rows for nobody are not read on.
        Question::Table(read, reply) => reply.fill_with(table(node, &read)).await,
        Question::Catalog(deadline, reply) => {
            reply.fill(view_of(node, META, deadline).await.map(|(_, view)| Arc::clone(view.catalog())));
        }
        Question::Cluster(deadline, reply) => {
            reply.fill(view_of(node, META, deadline).await.map(|(_, view)| identity(&view)));
        }
        Question::Roll(deadline, reply) => {
            let roll = view_of(node, META, deadline)
                .await
                .map(|(_, view)| view.roll().map(|roll| highwater_state::roll::Roll::clone(roll)));
            reply.fill(roll);
        }
        Question::NewRoll(newest, reply) => {
            node.links().renew(newest.own.clone(), newest.newest.clone());
            node.hosts().iter().for_each(|host| host.take_seats(|group| node.is_elsewhere(group)));
            reply.fill(());
        }
        Question::SaysWhere(other, place, reply) => {
            node.links().note_where(other, &place);
            reply.fill(());
        }
        Question::Order(group, order, reply) => reply.fill(membership::obey(node, group, &order)),
        Question::Jobs(deadline, reply) => reply.fill(jobs(node, deadline).await),
        Question::LoginIsEnded(login, deadline, reply) => reply.fill(login_is_ended(node, login, deadline).await),
        Question::Publish(catalog, reply) => {
            node.take_catalog(catalog);
            reply.fill(());
        }
        Question::Messages(read, reply) => reply.fill(messages(node, &read).await),
        Question::Standing(read, reply) => reply.fill(standing(node, &read).await),
        Question::GroupOffsets(group, deadline, reply) => reply.fill(group_offsets(node, group, deadline).await),
        Question::Owed { sources, destinations, deadline, reply } => {
            reply.fill(owed(node, &sources, &destinations, deadline).await);
        }
        Question::AwaitOwed { owed, deadline, reply } => reply.fill(await_owed(node, &owed, deadline).await),
        Question::AwaitAppend { partitions, deadline, reply } => {
            appends::await_append(node, &partitions, deadline, reply).await
        }
        Question::GroupStatus(reply) => reply.fill(group_status(node)),
        Question::Audit(reply) => reply.fill(node.audit_events().await),
        Question::Workspace(call, reply) => reply.fill(transactions::answer(node, *call).await),
        Question::Session(request, reply) => reply.fill(node.in_session(*request).await),
        Question::EndSessions(login, reply) => {
            node.0.sessions.end(&login);
            reply.fill(());
        }
        Question::Conversations(reply) => reply.fill(node.conversations()),
        Question::Scan(read, reply) => super::streaming::scan(node, *read, reply),
        Question::Figures(reply) => reply.fill(node.core_figures()),
        Question::Serving(reply) => reply.fill(node.0.serving.get() && !node.is_closing()),
        Question::Chunk(chunk, reply) => {
            let (from, chunk) = *chunk;
            reply.fill(node.take_chunk(from, chunk).await);
        }
        Question::OfSeat(group, asked, deadline, reply) => {
            reply.fill(homes::answer(node, group, *asked, deadline).await);
        }
        Question::Leader(group, reply) => reply.fill(node.host_of(group).and_then(|host| host.leader_of(group))),
        Question::Ready(reply) => reply.fill(readiness(&node.hosts())),
    }
}

/// How far the groups of these stores have come with their start.
pub(super) fn readiness(hosts: &[Rc<StoreHost>]) -> Readiness {
    if hosts.iter().all(|host| host.ready.get()) {
        Readiness::Ready
    } else if hosts.iter().any(|host| host.disk_full.get()) {
        Readiness::WaitsForSpace
    } else {
        Readiness::Waits
    }
}

/// The published view of a group of this core, once it shows everything that was acknowledged before the call.
pub(super) async fn view_of(
    node: &Node,
    group: u32,
    deadline: Monotonic,
) -> Result<(Rc<StoreHost>, GroupView<highwater_runtime::Rt>), Diag> {
    if let Some(host) = node.host_of(group).filter(|host| !host.is_alone) {
        host.barrier(group, deadline).await?;
    }
    published(node, group)
}

/// Whether a login was ended, by the meta group's newest state or without `deadline` by the one that is here.
async fn login_is_ended(node: &Node, login: u128, deadline: Option<Monotonic>) -> Result<bool, Diag> {
    let (_, view) = match deadline {
        Some(deadline) => view_of(node, META, deadline).await?,
        None => published(node, META)?,
    };
    view.login_is_ended(login).await.map_err(|error| storage(node, &error))
}

/// The published view of a group of this core.
pub(super) fn published(node: &Node, group: u32) -> Result<(Rc<StoreHost>, GroupView<highwater_runtime::Rt>), Diag> {
    node.host_of(group)
        .and_then(|host| host.view(group).map(|view| (host, view)))
        .ok_or_else(|| Diag::new(SqlState::INTERNAL, format!("group {group} is not on this core")))
}

fn identity(view: &GroupView<highwater_runtime::Rt>) -> Option<Cluster> {
    Some(Cluster { id: view.cluster_id()?, token_key: view.token_key()? })
}

/// The barriers of several groups at once.
async fn barriers(node: &Node, groups: &[u32], deadline: Monotonic) -> Result<(), Diag> {
    if node.links().is_alone() {
        return Ok(());
    }
    let hosts = groups.iter().filter_map(|group| node.host_of(*group).map(|host| (host, *group)));
    let mut waits: Vec<_> =
        hosts.map(|(host, group)| Box::pin(async move { host.barrier(group, deadline).await })).collect();
    std::future::poll_fn(|context| {
        let mut failed = None;
        waits.retain_mut(|wait| match std::future::Future::poll(wait.as_mut(), context) {
            Poll::Pending => true,
            Poll::Ready(passed) => {
                failed = passed.err().or_else(|| failed.take());
                false
            }
        });
        match failed {
            Some(diag) => Poll::Ready(Err(diag)),
            None if waits.is_empty() => Poll::Ready(Ok(())),
            None => Poll::Pending,
        }
    })
    .await
}

/// A read that failed on stored data: said once in the log, and to the client in one sentence.
pub(super) fn storage(node: &Node, error: &StateError) -> Diag {
    tracing::error!(core = node.env().core().0, %error, "a read failed");
    Diag::new(SqlState::DATA_CORRUPTED, format!("stored data cannot be read: {error}")).hint(
        "The data on disk is damaged or the disk fails; see the server's log and restore from a backup or a replica.",
    )
}

/// A table of a group of this core, open at one moment.
pub(super) struct OpenTable {
    cursor: highwater_state::view::RowCursor<highwater_runtime::Rt>,
    /// The lowest `_seq` that is visible.
    oldest: i64,
    /// What its rows show.
    pub(super) shown: Shown,
}

impl OpenTable {
    /// The next source row: the table's columns and `_seq`.
    pub(super) async fn next(&mut self, node: &Node) -> Result<Option<Row>, Diag> {
        while let Some((mut row, seq)) = self.cursor.next().await.map_err(|error| storage(node, &error))? {
            let seq = i64::try_from(seq).unwrap_or(i64::MAX);
            if seq >= self.oldest {
                row.push(Value::BigInt(seq));
                return Ok(Some(row));
            }
        }
        Ok(None)
    }
}

/// Opens a table of a group of this core, behind the group's barrier.
pub(super) async fn open_table(node: &Node, read: &TableRead) -> Result<OpenTable, ReadRefusal> {
    let view = view_for(node, read).await?;
    let From::Table { table, access } = &read.plan.from else {
        return Err(ReadRefusal::Failed(Diag::new(SqlState::INTERNAL, "a table read without a table")));
    };
    check_catalog(read, table, view.catalog())?;
    let context = EvalContext::new(read.now, &read.user, read.role, &read.params, 0);
    let user = matches!(table.kind, TableKind::User | TableKind::Stream).then_some(read.user.as_str());
    let oldest = oldest_visible(table, view.log_time().max(read.now));
    let cursor = view.rows_of(table, user, access, &context).await.map_err(ReadRefusal::Failed)?;
    let cursor = cursor.with_columns(Columns::at(&read.plan.source_columns()));
    Ok(OpenTable { shown: shown(&view), oldest, cursor })
}

/// Reads a table of a group of this core.
pub(super) async fn table(node: &Node, read: &TableRead) -> Result<TableRows, ReadRefusal> {
    if let Some(key) = read.within {
        return transactions::table_within(node, read, key).await;
    }
    let view = view_for(node, read).await?;
    let From::Table { table, access } = &read.plan.from else {
        return Err(ReadRefusal::Failed(Diag::new(SqlState::INTERNAL, "a table read without a table")));
    };
    rows(node, read, table, &view, async |user, context| view.rows_of(table, user, access, context).await).await
}

fn shown(view: &GroupView<highwater_runtime::Rt>) -> Shown {
    Shown { index: view.applied().0, log_time: view.log_time() }
}

/// The view that a read shows, no older than its session's token unless it may be stale.
async fn view_for(node: &Node, read: &TableRead) -> Result<GroupView<highwater_runtime::Rt>, ReadRefusal> {
    let is_enough = |view: &GroupView<_>| match read.consistency {
        Consistency::Linearizable => false,
        Consistency::Session => view.applied().0 >= read.at_least,
        Consistency::Stale => true,
    };
    if read.consistency != Consistency::Linearizable
        && let Ok((_, view)) = published(node, read.group)
        && is_enough(&view)
    {
        return Ok(view);
    }
    let (_, view) = view_of(node, read.group, read.deadline).await.map_err(ReadRefusal::Failed)?;
    if view.applied().0 < read.at_least {
        let diag = Diag::new(SqlState::INVALID_PARAMETER, "the read token is ahead of this cluster's data")
            .hint("The data was restored from an older state; read again without the token.");
        return Err(ReadRefusal::Failed(diag));
    }
    Ok(view)
}

/// The group must know the table as the plan does, and whoever asks must still have the rights that it had at the edge.
fn check_catalog(read: &TableRead, table: &Table, known: &Catalog) -> Result<(), ReadRefusal> {
    if !highwater_runtime::mutant(90) {
        rights::check(known, &read.head).map_err(ReadRefusal::Failed)?;
    }
    // A group that has never heard of the table holds none of its rows; one that knows it otherwise was told later.
    match known.tables.get(&table.id) {
        Some(newest) if newest.version <= table.version => Ok(()),
        None if known.version < read.catalog => Ok(()),
        Some(_) | None => Err(ReadRefusal::StaleCatalog),
    }
}

/// What a read finds in a table by way of a cursor.
pub(super) async fn rows(
    node: &Node,
    read: &TableRead,
    table: &Arc<Table>,
    view: &GroupView<highwater_runtime::Rt>,
    open: impl AsyncFnOnce(Option<&str>, &EvalContext<'_>) -> Result<RowCursor<highwater_runtime::Rt>, Diag>,
) -> Result<TableRows, ReadRefusal> {
    let plan = read.plan.as_ref();
    check_catalog(read, table, view.catalog())?;
    let context = EvalContext::new(read.now, &read.user, read.role, &read.params, !read.seed);
    let user = matches!(table.kind, TableKind::User | TableKind::Stream).then_some(read.user.as_str());
    let cursor = open(user, &context).await.map_err(ReadRefusal::Failed)?;
    let mut cursor = cursor.with_columns(Columns::at(&plan.source_columns()));
    let limits = node.settings().pipeline.clone();
    let mut sink = match read.part {
        ReadPart::Whole => {
            let own = EvalContext::new(read.now, &read.user, read.role, &read.params, read.seed);
            let mut pipeline = Pipeline::new(plan, own, limits).map_err(ReadRefusal::Failed)?;
            match order::of(plan) {
                None => {}
                Some(Reading::Forward) => pipeline = pipeline.in_order(),
                Some(Reading::Backward) => {
                    pipeline = pipeline.in_order();
                    cursor = cursor.backwards();
                }
            }
            Sink::Whole(Box::new(pipeline))
        }
        ReadPart::Filtered { enough } => Sink::Filtered { rows: Vec::new(), bytes: 0, read: 0, enough, limits },
    };
    let oldest = oldest_visible(table, view.log_time().max(read.now));
    let began = node.env().now();
    let mut scanned = 0_u32;
    let mut row = Row::new();
    while let Some(seq) =
        cursor.next_into(&mut row).await.map_err(|error| ReadRefusal::Failed(storage(node, &error)))?
    {
        if i64::try_from(seq).is_ok_and(|seq| seq >= oldest) {
            row.push(if cursor.is_own(seq) {
                Value::Null
            } else {
                Value::BigInt(i64::try_from(seq).unwrap_or(i64::MAX))
            });
            if sink.take(&mut row, read, &context).map_err(ReadRefusal::Failed)? {
                break;
            }
        }
        scanned += 1;
        if scanned.is_multiple_of(64) {
            node.env().yield_if_needed().await;
        }
    }
    let micros = node.env().now().micros_since(began);
    let (rows, steps) = match sink {
        Sink::Whole(pipeline) => {
            let pause = async || {
                node.env().yield_if_needed().await;
                Ok(())
            };
            pipeline.finish_in_portions(pause).await.map_err(ReadRefusal::Failed)?
        }
        Sink::Filtered { rows, read, .. } => {
            let kept = rows.len() as u64;
            (rows, Steps { read, kept, ..Steps::default() })
        }
    };
    Ok(TableRows { rows, shown: shown(view), steps: Steps { micros, ..steps } })
}

/// The lowest `_seq` of a STREAM row that has not expired; every row of other tables is visible.
fn oldest_visible(table: &Table, now: i64) -> i64 {
    const EPOCH_MICROS: i64 = 1_704_067_200_000_000;
    match (table.kind, table.ttl_seconds) {
        (TableKind::Stream, Some(ttl)) => {
            let since = now.saturating_sub(i64::try_from(ttl).unwrap_or(i64::MAX).saturating_mul(1_000_000));
            (since.saturating_sub(EPOCH_MICROS) / 1000).max(0) << 22
        }
        (TableKind::Stream | TableKind::User | TableKind::Shared, _) => 0,
    }
}

enum Sink {
    Whole(Box<Pipeline>),
    Filtered { rows: Vec<Row>, bytes: usize, read: u64, enough: Option<u64>, limits: PipelineLimits },
}

impl Sink {
    /// Takes a source row, out of its place if it is kept; true when no more are needed.
    fn take(&mut self, row: &mut Row, read: &TableRead, context: &EvalContext<'_>) -> Result<bool, Diag> {
        match self {
            Self::Whole(pipeline) => Ok(matches!(pipeline.push(row)?, Flow::Done)),
            Self::Filtered { rows, bytes, read: looked_at, enough, limits } => {
                *looked_at += 1;
                if let Some(filter) = &read.plan.filter
                    && !eval::is_true(filter, row, context)?
                {
                    return Ok(false);
                }
                *bytes += row.iter().map(Value::size).sum::<usize>();
                rows.push(std::mem::take(row));
                if rows.len() > limits.max_rows || *bytes > limits.max_bytes {
                    return Err(Diag::new(SqlState::PROGRAM_LIMIT, "the query gathers too many rows from its shards")
                        .hint("Narrow the WHERE clause, or read in pages with LIMIT over key ranges."));
                }
                Ok(enough.is_some_and(|enough| rows.len() as u64 >= enough))
            }
        }
    }
}

async fn jobs(node: &Node, deadline: Monotonic) -> Result<Vec<Job>, Diag> {
    let (_, view) = view_of(node, META, deadline).await?;
    view.jobs().await.map_err(|error| storage(node, &error))
}

/// Messages of a partition of this core.
pub(super) async fn messages(node: &Node, read: &MessagesRead) -> Result<Consumed, Diag> {
    let (_, view) = view_of(node, read.group, read.deadline).await?;
    let wanted = &read.wanted;
    // A consume waits for long, and who asks, or the topic, may be gone since it began.
    rights::check(view.catalog(), &wanted.head)?;
    if view.catalog().version >= wanted.catalog && !view.catalog().topics.contains_key(&wanted.topic) {
        return Err(Diag::new(SqlState::UNDEFINED_OBJECT, "the topic does not exist (any more)"));
    }
    let found = view.messages(wanted.topic, wanted.partition, wanted.start, wanted.limit, wanted.max_bytes).await;
    found.map_err(|error| storage(node, &error))
}

/// How a consumer group stands in a partition of this core.
pub(super) async fn standing(node: &Node, read: &StandingRead) -> Result<Standing, Diag> {
    let (_, view) = view_of(node, read.group, read.deadline).await?;
    let now = node.env().wall().0;
    let found = async {
        let deliverable = view.deliverable(read.topic, read.partition, &read.consumer_group, now).await?;
        let log = view.partition_bounds(read.topic, read.partition).await?;
        let progress = view.progress(read.topic, read.partition, &read.consumer_group).await?;
        let next_offset = progress.as_ref().map_or(log.to, |progress| progress.next_offset(log, now));
        let answered = view.has_answered(&read.head, read.topic, read.partition).await?;
        Ok(Standing { deliverable, known: progress.is_some(), answered, next_offset })
    };
    found.await.map_err(|error: StateError| storage(node, &error))
}

/// Committed offsets of a group of this core.
pub(super) async fn group_offsets(node: &Node, group: u32, deadline: Monotonic) -> Result<Vec<GroupOffset>, Diag> {
    let (_, view) =
        if highwater_runtime::mutant(33) { published(node, group)? } else { view_of(node, group, deadline).await? };
    view.group_offsets().await.map_err(|error| storage(node, &error))
}

/// What the sources of this core had for the destinations when this was asked. Left out is what a destination has for certain:
/// what the outbox has forgotten, and what this node's shipper was told. Both are in the destination's log, so that the
/// destination's own barrier covers them.
pub(super) async fn owed(
    node: &Node,
    sources: &[u32],
    destinations: &[u32],
    deadline: Monotonic,
) -> Result<Vec<Owed>, Diag> {
    barriers(node, sources, deadline).await?;
    let mut all = Vec::new();
    if highwater_runtime::mutant(83) {
        return Ok(all);
    }
    for source in sources.iter().copied() {
        let (host, view) = published(node, source)?;
        for destination in destinations.iter().copied() {
            let head = view.outbox_head(destination);
            if head > view.outbox_trimmed(destination) && head > host.shipped(source, destination) {
                all.push(Owed { source, destination, head });
            }
        }
    }
    Ok(all)
}

/// Whether this core's replicas have applied what they are owed before the deadline.
pub(super) async fn await_owed(node: &Node, owed: &[Owed], deadline: Monotonic) -> bool {
    for Owed { source, destination, head } in owed.iter().copied() {
        let Some(host) = node.host_of(destination) else { return false };
        loop {
            let seen = host.published.seen();
            if host.view(destination).is_some_and(|view| view.inbox(source) >= head) {
                break;
            }
            if node.env().now() >= deadline || node.is_closing() {
                return false;
            }
            futures_lite::future::or(host.published.changed_since(seen), node.env().sleep_until(deadline)).await;
        }
    }
    true
}

fn group_status(node: &Node) -> Vec<Row> {
    let mut rows = Vec::new();
    for host in node.hosts() {
        for replica in host.replicas() {
            let (group, status) = (replica.group(), replica.status());
            let view = host.view(group);
            // Of a seat's group the roll says where it is; what is left of a replica says what was.
            let homes = node.links().homes_elsewhere(group);
            let leader = if homes.is_some() { node.known_leader(group) } else { status.leader };
            let (voters, learners) = match homes.clone() {
                Some(homes) => (homes, Vec::new()),
                None => replica
                    .with_raft(|raft| (raft.membership().voters().to_vec(), raft.membership().learners().to_vec())),
            };
            let number = |value: u64| Value::BigInt(i64::try_from(value).unwrap_or(i64::MAX));
            let kind = match node.layout().role(group) {
                Some(highwater_state::placement::GroupRole::Meta) => "meta",
                Some(highwater_state::placement::GroupRole::User(_)) => "user",
                Some(highwater_state::placement::GroupRole::Shared(_)) | None => "shared",
            };
            rows.push(vec![
                number(u64::from(group)),
                number(status.id.0),
                Value::Text(kind.into()),
                number(status.term.0),
                number(status.last.0),
                number(view.as_ref().map_or(0, |view| view.applied().0)),
                number(status.commit.0),
                Value::Text(
                    match () {
                        () if host.is_alone && !host.ready.get() => "starting",
                        () if homes.is_some() => SEAT,
                        () => status.role.name(),
                    }
                    .into(),
                ),
                leader.map_or(Value::Null, |leader| number(leader.0)),
                Value::Text(format!("{:032x}", view.map_or(0, |view| view.chain()))),
                Value::Json(peers(&replica)),
                int(host.store_number.get()),
                int(u32::from(node.0.core.0)),
                Value::Json(nodes(voters)),
                Value::Json(nodes(learners)),
                number(lag(&replica)),
                node.links().target_of(group).map_or(Value::Null, |voters| Value::Json(json!(voters).to_string())),
            ]);
        }
    }
    rows
}

/// What `system.cluster_groups` says of a group that other nodes keep.
pub(crate) const SEAT: &str = "seat";

/// Of a leader the entries that the member furthest behind lacks, of others the committed entries that are not applied here.
fn lag(replica: &Replica) -> u64 {
    replica.with_raft(|raft| {
        let status = raft.status();
        let behind = raft.peers().map(|peer| status.last.0.saturating_sub(peer.matched.0)).max();
        behind.unwrap_or_else(|| status.commit.0.saturating_sub(status.applied.0))
    })
}

fn nodes(nodes: Vec<raft::NodeId>) -> String {
    json!(nodes.into_iter().map(|node| node.0).collect::<Vec<_>>()).to_string()
}

fn int(value: u32) -> Value {
    Value::Int(i32::try_from(value).unwrap_or(i32::MAX))
}

/// The group's other members: of a leader with what it knows of each.
fn peers(replica: &Replica) -> String {
    replica.with_raft(|raft| {
        let me = raft.status().id;
        let known: Vec<_> = raft.peers().collect();
        let others = raft.membership().members().into_iter().filter(|node| *node != me).map(|node| {
            let kind = if raft.membership().is_voter(node) { "voter" } else { "learner" };
            match known.iter().find(|peer| peer.id == node) {
                Some(peer) => {
                    let state = match peer.state {
                        raft::ProgressState::Probe => "probe",
                        raft::ProgressState::Replicate => "replicate",
                        raft::ProgressState::Snapshot(_) => "snapshot",
                    };
                    json!({"node_id": node.0, "kind": kind, "state": state, "matched": peer.matched.0, "active": peer.recently_active})
                }
                None => json!({"node_id": node.0, "kind": kind}),
            }
        });
        serde_json::Value::Array(others.collect()).to_string()
    })
}
