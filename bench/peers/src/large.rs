//! Much overwritten over little: are memory and space bounded, and are writes never kept waiting for long?

use crate::director::{Actor, filling};
use crate::engine::{Name, Sync};
use crate::failure::Failure;
use crate::keys::KEY_BYTES;
use crate::plan::Arguments;
use crate::protocol::{Part, Task};
use crate::report::grouped_digits;
use crate::workload::{Data, Mix};

/// Write p99.9 may exceed the log's own by this, in microseconds.
const SLACK_MICROS: f64 = 50_000.0;
/// Space of tables over live data, at any moment, besides what one compaction reads.
const SPACE_FACTOR: f64 = 1.3;

/// The sizes of a run.
pub struct Sizes {
    /// Bytes of live data.
    pub live_bytes: u64,
    /// Bytes of overwrites.
    pub overwrite_bytes: u64,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// Clients side by side.
    pub clients: usize,
    /// Bytes of the cache.
    pub cache_bytes: usize,
}

/// Runs it and prints what came of it.
pub fn run(arguments: &Arguments, engine: Name, sizes: &Sizes) -> Result<(), Failure> {
    let row_bytes = (KEY_BYTES + sizes.value_bytes) as u64;
    let keys = (sizes.live_bytes / row_bytes).max(1);
    let mut actor = Actor::start(arguments, engine)?;
    actor.open(Data::None, true, sizes.cache_bytes)?;
    eprintln!("loading {keys} keys into {engine}");
    actor.perform(filling(Mix::Load, keys, keys, sizes.value_bytes))?;
    eprintln!("overwriting {} times, durably, by {} clients", sizes.overwrite_bytes / row_bytes, sizes.clients);
    let parts = actor.perform(Task {
        mix: Mix::Overwrite,
        sync: Sync::Durable,
        clients: sizes.clients,
        keys,
        value_bytes: sizes.value_bytes,
        operations: Some(sizes.overwrite_bytes / row_bytes),
        seconds: 0.0,
        seed: 1,
    })?;
    for part in &parts {
        if arguments.json {
            println!("{}", serde_json::to_string(part)?);
        } else {
            print(part, keys * row_bytes);
        }
    }
    Ok(())
}

fn print(part: &Part, live: u64) {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    let [p50, p99, p999, longest] = part.micros;
    println!("writes     {} in {:.0} s, {}/s", part.operations, part.seconds, grouped_digits(part.rate));
    println!("latency    p50 {p50:.0} us, p99 {p99:.0} us, p99.9 {p999:.0} us, longest {longest:.0} us");
    if let Some([p50, p99, own, longest]) = part.log_micros {
        println!("log's own  p50 {p50:.0} us, p99 {p99:.0} us, p99.9 {own:.0} us, longest {longest:.0} us");
        let met = p999 <= own + SLACK_MICROS;
        println!("           {} p99.9 of writes at most the log's plus {:.0} ms", verdict(met), SLACK_MICROS / 1e3);
    }
    println!("memory     {:.0} MB at most", megabytes(part.memory_peak));
    let (tables, peak) = (table_bytes(part), part.space_peak);
    println!(
        "space      {:.0} MB live; {:.0} MB on disk at most, {:.0} MB in the end, of which tables {:.0} MB",
        megabytes(live),
        megabytes(peak),
        megabytes(part.space),
        megabytes(tables),
    );
    let compaction = part.figures.get("largest_compaction_bytes").copied().unwrap_or(0);
    let met = part.tables_peak as f64 <= SPACE_FACTOR * live as f64 + compaction as f64;
    println!(
        "           {} tables, old and new, at most {:.0} MB at any moment: {SPACE_FACTOR} times the live data plus one compaction of \
         {:.0} MB",
        verdict(met),
        megabytes(part.tables_peak),
        megabytes(compaction),
    );
    println!("written    {:.0} bytes per write, {:.4} syncs per write", part.written, part.syncs);
    println!("processor  {:.2} us per write, {:.2} with what came after", part.cpu_us, part.cpu_us_settled);
    for (name, value) in &part.figures {
        println!("           {name} {value}");
    }
}

/// Bytes of tables, as the engine counts them.
fn table_bytes(part: &Part) -> u64 {
    let level = |name: &str| name.starts_with("level_") && name.ends_with("_bytes");
    let levels = part.figures.iter().filter(|(name, _)| level(name)).map(|(_, bytes)| bytes).sum();
    part.figures.get("table_bytes").copied().unwrap_or(levels)
}

const fn verdict(met: bool) -> &'static str {
    if met { "met:" } else { "MISSED:" }
}
