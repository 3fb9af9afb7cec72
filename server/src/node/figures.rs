//! The node's figures: each core's part, and all of them together.

use highwater_runtime::Env;
use highwater_sql::diag::Diag;
use highwater_sql::value::{Row, Value};

use super::mesh::Question;
use super::{Node, ask_port};
use crate::metrics::{Sample, gathered, of_store};

impl Node {
    /// What this core counts: its stores, its drivers, its edge.
    pub(super) fn core_figures(&self) -> Vec<Sample> {
        let mut samples = Vec::new();
        for (store, host) in &*self.0.hosts.borrow() {
            samples.extend(of_store(*store, &host.store.stats()));
            let refuses = if host.store.pressure().is_some() { 1.0 } else { 0.0 };
            let waits = if host.disk_full.get() { 1.0 } else { 0.0 };
            let waiting = host.pending.borrow().len() as f64;
            let replicas = host.replicas();
            let led = replicas.iter().filter(|replica| replica.leads()).count() as f64;
            let sleep = &host.sleep;
            let asleep = replicas.len().saturating_sub(sleep.awake.get() + sleep.queued.get()) as f64;
            let own = [
                Sample::gauge(
                    "driver_groups_awake",
                    "groups",
                    sleep.awake.get() as f64,
                    "groups that are given Raft's time: something happens in them, or did lately",
                ),
                Sample::gauge("driver_groups_asleep", "groups", asleep, "groups that are idle and cost nothing"),
                Sample::gauge(
                    "driver_groups_seeking",
                    "groups",
                    sleep.seeking.get() as f64,
                    "awake groups whose replica here knows no leader",
                ),
                Sample::gauge(
                    "driver_groups_queued",
                    "groups",
                    sleep.queued.get() as f64,
                    "groups that wait for their turn to wake, at a start or after the loss of a node",
                ),
                Sample::gauge("driver_groups", "groups", replicas.len() as f64, "groups with a replica in the store"),
                Sample::gauge("driver_groups_led", "groups", led, "groups that the store's replicas lead"),
                Sample::counter(
                    "driver_leads_given",
                    "groups",
                    host.leads_given.get() as f64,
                    "leads handed to a node that led fewer groups",
                ),
                Sample::gauge(
                    "store_refuses_writes",
                    "flag",
                    refuses,
                    "1 while the store asks for client writes to be refused",
                ),
                Sample::gauge("log_waits_for_space", "flag", waits, "1 while the log waits for disk space"),
                Sample::gauge(
                    "driver_waiting_commands",
                    "commands",
                    waiting,
                    "commands that wait for the store's driver",
                ),
                Sample::counter(
                    "driver_turns",
                    "turns",
                    host.turns.get() as f64,
                    "turns of the store's driver, each with at most one append",
                ),
                Sample::counter(
                    "writes_held",
                    "writes",
                    host.held.get() as f64,
                    "client writes left for the next turn while the store slows writes down, each as often as it was left",
                ),
            ];
            let help = "client writes that were not taken, by cause";
            let refused = host.refused().into_iter().map(|(cause, count)| {
                Sample::counter("writes_refused", "writes", count as f64, help).label("cause", cause)
            });
            let help = "sleeping groups that woke up, by why";
            let wakings = sleep
                .wakings()
                .into_iter()
                .map(|(why, count)| Sample::counter("driver_wakings", "groups", count as f64, help).label("why", why));
            let snapshots = host.snapshots.get().into_iter().flat_map(|snapshots| snapshots.samples());
            let own = own.into_iter().chain(refused).chain(wakings).chain(snapshots);
            samples.extend(own.map(|sample| sample.label("store", store.to_string())));
        }
        let requests = self.0.in_flight.get() as f64;
        samples.push(Sample::gauge(
            "node_statements_in_flight",
            "requests",
            requests,
            "requests that the node works on",
        ));
        samples.extend(self.0.links.samples());
        samples.extend(self.0.forward.samples());
        if let Some(traffic) = self.0.traffic.get() {
            samples.extend(traffic.samples());
        }
        samples
    }

    /// The figures of all cores, in the order of names and labels.
    ///
    /// # Errors
    /// 57P01 while the node shuts down.
    pub(crate) async fn figures(&self) -> Result<Vec<Sample>, Diag> {
        let mut samples = self.process_figures();
        for port in &self.0.to {
            samples.extend(ask_port(port, Question::Figures).await?);
        }
        Ok(gathered(samples))
    }

    fn process_figures(&self) -> Vec<Sample> {
        let uptime = self.env().now().micros_since(self.0.started) as f64 / 1e6;
        let cores = self.0.to.len() as f64;
        let mut samples = vec![
            Sample::gauge("node_info", "info", 1.0, "1; the label names the release")
                .label("version", crate::release::VERSION),
            Sample::gauge("node_uptime_seconds", "seconds", uptime, "time since this core of the node was started"),
            Sample::gauge("node_cores", "cores", cores, "executors of the node"),
        ];
        if let Some(figures) = self.settings().process {
            let figures = figures();
            let (bytes, open, limit, threads) =
                (figures.resident_bytes, figures.open_files, figures.max_files, figures.threads);
            samples.extend([
                Sample::counter(
                    "process_cpu_seconds",
                    "seconds",
                    figures.cpu_seconds,
                    "CPU time used, in user and in kernel mode",
                ),
                Sample::gauge("process_resident_bytes", "bytes", bytes as f64, "memory in use"),
                Sample::gauge("process_open_files", "files", open as f64, "open files and sockets"),
                Sample::gauge(
                    "process_max_open_files",
                    "files",
                    limit as f64,
                    "how many files and sockets may be open",
                ),
                Sample::gauge("process_threads", "threads", threads as f64, "threads"),
            ]);
        }
        samples
    }
}

/// A row of `system.stats`.
pub(super) fn stats_row(sample: &Sample) -> Row {
    let text = |text: &str| Value::Text(text.to_owned());
    let store = sample.label_of("store").and_then(|store| store.parse().ok());
    let labels = sample.labels.iter().map(|(name, value)| ((*name).to_owned(), value.clone().into()));
    let kind = match sample.kind {
        highwater_engine::FigureKind::Counter => "counter",
        highwater_engine::FigureKind::Gauge => "gauge",
    };
    vec![
        Value::Text(sample.full_name()),
        Value::Double(sample.value),
        store.map_or(Value::Null, Value::Int),
        Value::Json(serde_json::Value::Object(labels.collect()).to_string()),
        text(kind),
        text(sample.unit),
        text(sample.help),
    ]
}
