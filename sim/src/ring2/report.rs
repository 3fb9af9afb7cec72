//! What a run found and how often what happened, as text and as the line of JSON that `cargo xtask sim` reads.

use std::collections::BTreeMap;
use std::fmt;

use highwater_runtime::sim;
use serde_json::json;

use super::shared::{Run, now_micros};

/// The result of one seed.
pub struct Report {
    pub violation: Option<String>,
    seed: u64,
    hash: u64,
    counters: BTreeMap<String, u64>,
}

/// Writes that every seed must have acknowledged.
const WRITES: u64 = 200;
/// Crashes that every seed must have had.
const CRASHES: u64 = 3;

/// The report of a run that is over. A run without enough in it broke no promise, but shows nothing: that is said too.
pub fn of(run: &Run) -> Report {
    let mut counters: BTreeMap<String, u64> =
        run.counts().into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    for (mark, count) in highwater_runtime::marks() {
        counters.insert(mark.to_owned(), count);
    }
    for (fault, count) in sim::fault_counts().iter() {
        counters.insert(fault.name().to_owned(), count);
    }
    for (fault, count) in sim::network_counts().iter() {
        counters.insert(fault.name().to_owned(), count);
    }
    counters.insert(format!("seeds_of_{}_nodes", run.founders()), 1);
    counters.insert("acknowledged_writes".to_owned(), run.acknowledged());
    counters.insert("virtual_milliseconds".to_owned(), now_micros() / 1000);
    let completions = (0..run.nodes()).map(|node| sim::completions(run.machine(node))).sum();
    counters.insert("io_completions".to_owned(), completions);
    let count = |name: &str| counters.get(name).copied().unwrap_or(0);
    let crashes = count("crashes_power") + count("crashes_process");
    let mut violation = run.first_violation();
    if violation.is_none() && !run.plan.is_partial && (run.acknowledged() < WRITES || crashes < CRASHES) {
        violation =
            Some(format!("the run shows too little: {} acknowledged writes, {crashes} crashes", run.acknowledged()));
    }
    Report { violation, seed: run.plan.seed, hash: sim::trace_hash(), counters }
}

impl Report {
    /// One line; names of counters hold neither quotes nor commas.
    pub fn json(&self) -> String {
        let counters: Vec<String> = self.counters.iter().map(|(name, count)| format!("\"{name}\":{count}")).collect();
        format!(
            "{{\"seed\":{},\"ok\":{},\"violation\":{},\"hash\":\"{:016x}\",\"counters\":{{{}}}}}",
            self.seed,
            self.violation.is_none(),
            json!(self.violation),
            self.hash,
            counters.join(",")
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}: {}", self.seed, self.violation.as_deref().unwrap_or("every promise held"))?;
        writeln!(f, "trace hash {:016x}", self.hash)?;
        for (name, count) in &self.counters {
            writeln!(f, "  {name:<28} {count:>10}")?;
        }
        Ok(())
    }
}
