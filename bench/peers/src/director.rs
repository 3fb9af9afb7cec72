//! Runs the engines in turns: every round of a workload goes through all of them, forwards and then backwards, so that a slow
//! minute of the machine does not fall on one engine.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::engine::{Name, Settings, Sync};
use crate::failure::Failure;
use crate::measure;
use crate::plan::{Arguments, Compression};
use crate::protocol::{Answer, Order, Part, Task};
use crate::report::Run;
use crate::workload::{Data, Mix, Workload};

/// The longest that a fill may take, in seconds.
const LONGEST_FILL: f64 = 900.0;

/// Runs everything that was asked for.
pub fn compare(arguments: &Arguments) -> Result<Vec<Run>, Failure> {
    let mut stable = Stable { arguments, actors: Vec::new(), runs: Vec::new() };
    for name in &arguments.engines {
        stable.actors.push(Actor::start(arguments, *name)?);
    }
    let workloads = arguments.workloads()?;
    for workload in workloads.iter().filter(|workload| workload.data == Data::None) {
        stable.turns(workload)?;
    }
    for value_bytes in [100, 400] {
        let of_size: Vec<&Workload> = workloads
            .iter()
            .filter(|workload| workload.data != Data::None && workload.value_bytes == value_bytes)
            .collect();
        if of_size.is_empty() {
            continue;
        }
        stable.load(value_bytes)?;
        for workload in of_size {
            stable.turns(workload)?;
        }
        stable.close()?;
    }
    Ok(std::mem::take(&mut stable.runs))
}

/// The engines' processes and what they have done.
struct Stable<'a> {
    arguments: &'a Arguments,
    actors: Vec<Actor>,
    runs: Vec<Run>,
}

impl Stable<'_> {
    fn turns(&mut self, workload: &Workload) -> Result<(), Failure> {
        for round in 0..self.arguments.rounds {
            let mut order: Vec<usize> = (0..self.actors.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for place in order {
                let Some(actor) = self.actors.get_mut(place) else { continue };
                if !workload.concerns(actor.name) {
                    continue;
                }
                let load = measure::load();
                let parts = actor.run(self.arguments, workload, round)?;
                let runs = parts.into_iter().map(|part| Run::new(workload, actor.name, round, load, part));
                for run in runs {
                    run.announce(self.arguments.json);
                    self.runs.push(run);
                }
            }
        }
        Ok(())
    }

    fn load(&mut self, value_bytes: usize) -> Result<(), Failure> {
        for actor in &mut self.actors {
            eprintln!("loading {} keys of {value_bytes} bytes into {}", self.arguments.keys, actor.name);
            actor.load(self.arguments, value_bytes)?;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.actors.iter_mut().try_for_each(Actor::close)
    }
}

/// An engine's process, with what it has open.
pub struct Actor {
    /// Which engine.
    pub name: Name,
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    settings: Settings,
    open: Option<Data>,
    warm: bool,
    keys: u64,
}

impl Actor {
    /// Starts a process.
    pub fn start(arguments: &Arguments, name: Name) -> Result<Self, Failure> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["engine", &name.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(orders), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new("a process without pipes"));
        };
        let settings = Settings {
            folder: arguments.folder.join(name.to_string()),
            cache_bytes: 0,
            memtable_bytes: arguments.memtable_bytes,
            compress: arguments.compression == Compression::Lz4,
            cpu: arguments.processor()?,
            block_bytes: arguments.block_bytes,
        };
        let (answers, keys) = (BufReader::new(answers), arguments.keys);
        Ok(Self { name, child, orders: Some(orders), answers, settings, open: None, warm: false, keys })
    }

    fn ask(&mut self, order: &Order) -> Result<Answer, Failure> {
        let name = self.name;
        let Some(orders) = &mut self.orders else { return Err(Failure(format!("{name} has been ended"))) };
        writeln!(orders, "{}", serde_json::to_string(order)?)?;
        orders.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if line.is_empty() {
            return Err(Failure(format!("{name}: the process has ended")));
        }
        match serde_json::from_str(&line)? {
            Answer::Failed(reason) => Err(Failure(format!("{name}: {reason}"))),
            answer => Ok(answer),
        }
    }

    /// Opens the engine, or opens it again in another way.
    pub fn open(&mut self, data: Data, fresh: bool, cache_bytes: usize) -> Result<(), Failure> {
        self.close()?;
        self.settings.cache_bytes = cache_bytes;
        let without_page_cache = data == Data::FourCaches && matches!(self.name, Name::Fjall | Name::Redb);
        self.ask(&Order::Open { settings: self.settings.clone(), fresh, without_page_cache })?;
        (self.open, self.warm) = (Some(data), false);
        Ok(())
    }

    /// Closes the engine, if it is open.
    pub fn close(&mut self) -> Result<(), Failure> {
        if self.open.take().is_some() {
            self.ask(&Order::Close)?;
        }
        Ok(())
    }

    /// Has a task done.
    pub fn perform(&mut self, task: Task) -> Result<Vec<Part>, Failure> {
        match self.ask(&Order::Run(task))? {
            Answer::Ran(parts) => Ok(parts),
            Answer::Done | Answer::Failed(_) => Err(Failure(format!("{}: no figures", self.name))),
        }
    }

    fn load(&mut self, arguments: &Arguments, value_bytes: usize) -> Result<(), Failure> {
        self.open(Data::Cached, true, arguments.full_cache(value_bytes))?;
        self.keys = arguments.keys;
        self.perform(filling(Mix::Load, arguments.keys, arguments.keys, value_bytes))?;
        Ok(())
    }

    fn run(&mut self, arguments: &Arguments, workload: &Workload, round: u64) -> Result<Vec<Part>, Failure> {
        self.prepare(arguments, workload)?;
        let fill = workload.data == Data::None && workload.sync == Sync::Deferred;
        let task = Task {
            mix: workload.mix,
            sync: workload.sync,
            clients: workload.clients,
            keys: if workload.data == Data::None { arguments.keys } else { self.keys },
            value_bytes: workload.value_bytes,
            operations: fill.then_some(arguments.keys),
            seconds: if fill { LONGEST_FILL } else { arguments.seconds },
            seed: round + 1,
        };
        let recorder = self.record(arguments, workload, round)?;
        let parts = self.perform(task)?;
        if let Some(recorder) = recorder {
            stop_recording(recorder)?;
        }
        if workload.data == Data::None {
            self.close()?;
        } else if let Some(part) = parts.first() {
            self.keys = part.keys;
        }
        Ok(parts)
    }

    /// Opens what the workload needs, with caches filled as far as they go.
    fn prepare(&mut self, arguments: &Arguments, workload: &Workload) -> Result<(), Failure> {
        let value_bytes = workload.value_bytes;
        match workload.data {
            Data::None => self.open(Data::None, true, arguments.full_cache(value_bytes))?,
            Data::Cached if self.open == Some(Data::Cached) => {}
            Data::Cached => self.open(Data::Cached, false, arguments.full_cache(value_bytes))?,
            Data::FourCaches if self.open == Some(Data::FourCaches) => {}
            Data::FourCaches => self.open(Data::FourCaches, false, arguments.small_cache(value_bytes))?,
        }
        if workload.data != Data::None && !workload.mix.writes() && !self.warm {
            self.perform(filling(Mix::Warm, self.keys, self.keys, value_bytes))?;
            self.warm = true;
        }
        Ok(())
    }

    fn record(&self, arguments: &Arguments, workload: &Workload, round: u64) -> Result<Option<Child>, Failure> {
        let Some(folder) = arguments.perf.as_ref().filter(|_| round == 0) else { return Ok(None) };
        std::fs::create_dir_all(folder)?;
        let file = folder.join(format!("{}-{}.data", self.name, workload.name));
        let perf = Command::new("perf")
            .args(["record", "-q", "-F", "999", "-g", "-p", &self.child.id().to_string(), "-o"])
            .arg(file)
            .stdout(Stdio::null())
            .spawn()?;
        Ok(Some(perf))
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        // A process whose orders end ends by itself, after its engine has closed.
        let _ = self.close();
        self.orders = None;
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.settings.folder);
    }
}

/// A task of so many operations.
pub fn filling(mix: Mix, keys: u64, operations: u64, value_bytes: usize) -> Task {
    Task {
        mix,
        sync: Sync::Deferred,
        clients: 1,
        keys,
        value_bytes,
        operations: Some(operations),
        seconds: LONGEST_FILL,
        seed: 1,
    }
}

fn stop_recording(mut perf: Child) -> Result<(), Failure> {
    let id = libc::pid_t::try_from(perf.id())?;
    // SAFETY: our own child, not yet waited for.
    unsafe { libc::kill(id, libc::SIGINT) };
    perf.wait()?;
    Ok(())
}

/// Runs of the same workload, role and engine, together.
pub fn grouped(runs: &[Run]) -> BTreeMap<(String, String), BTreeMap<Name, Vec<&Run>>> {
    let mut groups: BTreeMap<(String, String), BTreeMap<Name, Vec<&Run>>> = BTreeMap::new();
    for run in runs {
        let key = (run.workload.clone(), run.part.role.clone());
        groups.entry(key).or_default().entry(run.engine).or_default().push(run);
    }
    groups
}
