//! An engine's own process: takes orders on standard input, gives figures on standard output.
//!
//! A process per engine, so that what the system counts per process (processor time, bytes written, memory) is the engine's.

use std::collections::BTreeMap;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::block_on;
use hdrhistogram::Histogram;
use highwater_runtime::{Cores, CpuSet, Rt, launch};

use crate::engine::{Engine, Name, Settings, ours::Ours};
use crate::failure::Failure;
use crate::keys::{Values, Zipf};
use crate::measure::{self, Sample};
use crate::protocol::{Answer, Order, Part, Task};
use crate::threads::free_the_others;
use crate::workload::Mix;
use crate::workload::client::{Client, Limit, Shared, Trip};

/// How often an idle engine looks for an order, in microseconds.
const IDLE_MICROS: u64 = 5_000;
/// How often space is measured, threads are freed and page caches emptied while an engine works.
const WATCH: Duration = Duration::from_millis(200);
/// Background work is over when the process was idle for so many looks in a row,
const CALM_LOOKS: u32 = 3;
/// this far apart, in microseconds,
const CALM_MICROS: u64 = 100_000;
/// with at most this much processor time between them, in microseconds.
const CALM_CPU_US: f64 = 8_000.0;
/// It is not waited for longer than this.
const LONGEST_SETTLING: Duration = Duration::from_secs(300);

/// Serves one director until it goes away.
pub fn serve(name: Name) -> Result<(), Failure> {
    let mut open: Option<Opened> = None;
    for line in stdin().lock().lines() {
        let answer = match obey(name, &mut open, serde_json::from_str(&line?)?) {
            Ok(answer) => answer,
            Err(failure) => Answer::Failed(failure.0),
        };
        let mut out = stdout().lock();
        writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        out.flush()?;
    }
    Ok(())
}

fn obey(name: Name, open: &mut Option<Opened>, order: Order) -> Result<Answer, Failure> {
    match order {
        Order::Open { settings, fresh, without_page_cache } => {
            if fresh && settings.folder.exists() {
                std::fs::remove_dir_all(&settings.folder)?;
            }
            std::fs::create_dir_all(&settings.folder)?;
            *open = Some(Opened::start(name, settings, without_page_cache)?);
            Ok(Answer::Done)
        }
        Order::Run(task) => match open {
            Some(opened) => opened.run(task),
            None => Err(Failure::new("nothing is open")),
        },
        Order::Close => {
            if let Some(opened) = open.take() {
                opened.stop()?;
            }
            Ok(Answer::Done)
        }
    }
}

/// The thread or executor that an open engine lives on.
struct Opened {
    name: Name,
    folder: PathBuf,
    without_page_cache: bool,
    tasks: Sender<Task>,
    answers: Receiver<Answer>,
    home: Home,
}

enum Home {
    Thread(thread::JoinHandle<()>),
    Executor(Cores),
}

impl Opened {
    fn start(name: Name, settings: Settings, without_page_cache: bool) -> Result<Self, Failure> {
        let folder = settings.folder.clone();
        let (tasks, orders) = channel();
        let (replies, answers) = channel();
        let home = match name {
            Name::Ours => {
                // The launcher wants a body that it could start on several cores.
                let once = Arc::new(Mutex::new(Some((orders, replies))));
                let cpus = CpuSet::parse(&format!("{},", settings.cpu))?;
                Home::Executor(launch(&cpus, move |env: Rt| {
                    let (once, settings) = (Arc::clone(&once), settings.clone());
                    async move {
                        let taken = once.lock().unwrap_or_else(PoisonError::into_inner).take();
                        if let Some((orders, replies)) = taken {
                            host(Ours::open(env, &settings).await, &settings, orders, replies).await;
                        }
                    }
                })?)
            }
            other => Home::Thread(thread::spawn(move || host_rival(other, &settings, orders, replies))),
        };
        let opened = Self { name, folder, without_page_cache, tasks, answers, home };
        match opened.answers.recv()? {
            Answer::Failed(reason) => Err(Failure(reason)),
            Answer::Done | Answer::Ran(_) => Ok(opened),
        }
    }

    /// Runs a task, and meanwhile looks after what is measured from outside.
    fn run(&self, task: Task) -> Result<Answer, Failure> {
        measure::forget_peak();
        self.tasks.send(task)?;
        let (mut space_peak, mut tables_peak) = (0, 0);
        let answer = loop {
            match self.answers.recv_timeout(WATCH) {
                Ok(answer) => break answer,
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::new("the engine ended")),
                Err(RecvTimeoutError::Timeout) => {}
            }
            space_peak = space_peak.max(measure::space(&self.folder));
            tables_peak = tables_peak.max(measure::space_without_log(&self.folder));
            if self.name != Name::Ours {
                free_the_others();
            }
            if self.without_page_cache {
                measure::evict_pages(&self.folder);
            }
        };
        let Answer::Ran(mut parts) = answer else { return Ok(answer) };
        for part in &mut parts {
            part.space_peak = space_peak.max(part.space);
            part.tables_peak = tables_peak;
        }
        Ok(Answer::Ran(parts))
    }

    fn stop(self) -> Result<(), Failure> {
        drop(self.tasks);
        match self.home {
            Home::Thread(thread) => thread.join().map_err(|_| Failure::new("the engine's thread panicked")),
            Home::Executor(cores) => Ok(cores.join()?),
        }
    }
}

fn host_rival(name: Name, settings: &Settings, orders: Receiver<Task>, replies: Sender<Answer>) {
    match name {
        #[cfg(feature = "rocksdb")]
        Name::Rocksdb | Name::Rocksdb16k | Name::RocksdbBuffered => {
            block_on(host(crate::engine::rocks::Rocks::open(settings, name), settings, orders, replies));
        }
        #[cfg(feature = "fjall")]
        Name::Fjall => block_on(host(crate::engine::fjall::Fjall::open(settings), settings, orders, replies)),
        #[cfg(feature = "redb")]
        Name::Redb => block_on(host(crate::engine::redb::Redb::open(settings), settings, orders, replies)),
        #[allow(unreachable_patterns, reason = "depends on the features")]
        other => {
            let _ = replies.send(Answer::Failed(format!("{other} is not built into this binary")));
        }
    }
}

/// Lets an engine work off tasks until no more can come.
async fn host<E: Engine>(
    opened: Result<E, Failure>,
    settings: &Settings,
    orders: Receiver<Task>,
    replies: Sender<Answer>,
) {
    let engine = match opened {
        Ok(engine) => engine,
        Err(failure) => {
            let _ = replies.send(Answer::Failed(failure.0));
            return;
        }
    };
    let _ = replies.send(Answer::Done);
    loop {
        match orders.try_recv() {
            Ok(task) => {
                let answer = perform(&engine, settings, &task).await;
                let _ = replies.send(answer.map_or_else(|failure| Answer::Failed(failure.0), Answer::Ran));
            }
            Err(TryRecvError::Empty) => engine.pause(IDLE_MICROS).await,
            Err(TryRecvError::Disconnected) => break,
        }
    }
    if let Err(failure) = engine.close().await {
        eprintln!("closing: {failure}");
    }
}

/// One run: the clients, then the background work that they caused.
async fn perform<E: Engine>(engine: &E, settings: &Settings, task: &Task) -> Result<Vec<Part>, Failure> {
    let clients = clients(task);
    let shared = clients.first().map(|client| Arc::clone(&client.shared));
    let _ = engine.log_times();
    let figures = engine.figures();
    let started = Sample::now(&settings.folder);
    let trips = engine.drive(clients).await?;
    let ended = Sample::now(&settings.folder);
    let log_times = engine.log_times();
    let own_syncs = growth(&figures, &engine.figures()).get("syncs").copied();
    if task.mix.writes() {
        engine.flush().await?;
        settle(engine).await;
    }
    let settled = Sample::now(&settings.folder);
    let (run, whole) = (ended.since(&started), settled.since(&started));
    let operations: u64 = trips.iter().map(|trip| trip.operations).sum();
    let per_operation = |figure: f64| figure / operations.max(1) as f64;
    let common = Part {
        keys: shared.map_or(0, |shared| shared.keys.load(Ordering::Relaxed)),
        seconds: run.seconds,
        cpu_us: per_operation(run.cpu_us),
        cpu_us_settled: per_operation(whole.cpu_us),
        settle_seconds: whole.seconds - run.seconds,
        written: per_operation(whole.written as f64),
        device_written: per_operation(whole.device_written as f64),
        syncs: per_operation(own_syncs.unwrap_or(run.syncs) as f64),
        device_flushes: per_operation(run.device_flushes as f64),
        log_micros: log_times.filter(|times| !times.is_empty()).map(|times| micros(&times)),
        space: measure::space(&settings.folder),
        tables_peak: 0,
        memory_peak: measure::peak_memory(),
        foreign_cores: run.foreign_cores,
        stolen_cores: run.stolen_cores,
        figures: growth(&figures, &engine.figures()),
        ..Part::default()
    };
    let mut roles: BTreeMap<Mix, Vec<Trip>> = BTreeMap::new();
    for trip in trips {
        roles.entry(trip.mix).or_default().push(trip);
    }
    roles.into_iter().map(|(mix, trips)| part(&common, task.mix, mix, &trips)).collect()
}

fn part(common: &Part, run: Mix, role: Mix, trips: &[Trip]) -> Result<Part, Failure> {
    let mut nanos = Histogram::<u64>::new(3)?;
    for trip in trips {
        nanos.add(&trip.nanos)?;
    }
    let operations: u64 = trips.iter().map(|trip| trip.operations).sum();
    let seconds = trips.iter().map(|trip| trip.seconds).fold(1e-9, f64::max);
    let role = match (run, role) {
        (Mix::ReadWhileWriting, Mix::Overwrite) => "writer",
        (Mix::ReadWhileWriting, _) => "reader",
        _ => "",
    };
    Ok(Part {
        role: role.to_owned(),
        operations,
        rate: operations as f64 / seconds,
        found: trips.iter().map(|trip| trip.found).sum(),
        micros: micros(&nanos),
        ..common.clone()
    })
}

fn clients(task: &Task) -> Vec<Client> {
    let zipfian = matches!(task.mix, Mix::YcsbA | Mix::YcsbB | Mix::YcsbC | Mix::YcsbD | Mix::YcsbE | Mix::YcsbF);
    let zipf = zipfian.then(|| Arc::new(Zipf::new(task.keys)));
    let shared = Arc::new(Shared { keys: AtomicU64::new(task.keys), zipf });
    let values = Values::new(task.value_bytes);
    let mixes = match task.mix {
        Mix::ReadWhileWriting => vec![Mix::ReadRandom, Mix::Overwrite],
        other => vec![other; task.clients],
    };
    let count = mixes.len() as u64;
    let limit = match task.operations {
        Some(operations) => Limit::Operations(operations.div_ceil(count)),
        None => Limit::Time(Duration::from_secs_f64(task.seconds)),
    };
    let client = |(number, mix)| Client {
        mix,
        limit,
        sync: task.sync,
        seed: task.seed.wrapping_mul(1_000).wrapping_add(number),
        values: values.clone(),
        shared: Arc::clone(&shared),
    };
    (1..).zip(mixes).map(client).collect()
}

/// Waits until the process does nothing any more.
async fn settle<E: Engine>(engine: &E) {
    let started = Instant::now();
    let mut calm = 0;
    while calm < CALM_LOOKS && started.elapsed() < LONGEST_SETTLING {
        let (cpu, written) = (measure::cpu_us(), measure::written());
        engine.pause(CALM_MICROS).await;
        let idle = measure::cpu_us() - cpu < CALM_CPU_US && measure::written() == written;
        calm = if idle { calm + 1 } else { 0 };
    }
}

/// The figures now; those that only grow, as what they grew by.
fn growth(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let state = |name: &str| name.starts_with("level_") || name.ends_with("_bytes");
    let grown = |(name, value): (&String, &u64)| {
        let earlier = if state(name) { 0 } else { before.get(name).copied().unwrap_or(0) };
        (name.clone(), value.saturating_sub(earlier))
    };
    now.iter().map(grown).collect()
}

fn micros(nanos: &Histogram<u64>) -> [f64; 4] {
    let at = |quantile| nanos.value_at_quantile(quantile) as f64 / 1e3;
    [at(0.5), at(0.99), at(0.999), nanos.max() as f64 / 1e3]
}
