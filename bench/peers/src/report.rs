//! From runs to tables and verdicts.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::director::grouped;
use crate::engine::{Name, Sync};
use crate::keys::KEY_BYTES;
use crate::protocol::Part;
use crate::workload::{ALL, Mix, Workload};

/// A run in which others used more than this of a processor is marked.
const FOREIGN_CORES: f64 = 0.10;
/// Our cached reads per second over redb's: at least this.
const REDB_TARGET: f64 = 0.7;

/// One run of one workload on one engine, or one role of it.
#[derive(Clone, Debug, Serialize)]
pub struct Run {
    /// The workload.
    pub workload: String,
    /// The engine.
    pub engine: Name,
    /// The round, from 0.
    pub round: u64,
    /// The machine's load average before it.
    pub load_before: f64,
    /// Whether others used the processors meanwhile.
    pub disturbed: bool,
    /// Bytes written over bytes put, where all operations put.
    pub write_amplification: Option<f64>,
    /// Its figures.
    #[serde(flatten)]
    pub part: Part,
}

impl Run {
    /// A run with what follows from its figures.
    pub fn new(workload: &Workload, engine: Name, round: u64, load_before: f64, part: Part) -> Self {
        let puts = matches!(workload.mix, Mix::FillSeq | Mix::FillRandom | Mix::Overwrite);
        let put_bytes = (KEY_BYTES + workload.value_bytes) as f64;
        Self {
            workload: workload.name.to_owned(),
            engine,
            round,
            load_before,
            disturbed: part.foreign_cores > FOREIGN_CORES || part.stolen_cores > FOREIGN_CORES,
            write_amplification: puts.then(|| part.written / put_bytes),
            part,
        }
    }

    /// Shows a run as soon as it is over: on standard error, or as JSON.
    pub fn announce(&self, json: bool) {
        if json {
            println!("{}", serde_json::to_string(self).unwrap_or_default());
        }
        let Part { rate, cpu_us, seconds, settle_seconds, role, foreign_cores, .. } = &self.part;
        eprintln!(
            "{:18} {role:7} {:17} round {}  {:>11}/s  {cpu_us:7.2} us cpu  {seconds:5.1} s + {settle_seconds:4.1} s{}",
            self.workload,
            self.engine,
            self.round + 1,
            grouped_digits(*rate),
            if self.disturbed { format!("  (others used {foreign_cores:.2} processors)") } else { String::new() },
        );
    }
}

/// Medians of one engine's runs of one workload.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    workload: String,
    role: String,
    engine: Name,
    rate: f64,
    rate_min: f64,
    rate_max: f64,
    /// Our rate over this engine's.
    ratio: Option<f64>,
    cpu_us: f64,
    cpu_us_settled: f64,
    written: f64,
    write_amplification: Option<f64>,
    syncs: f64,
    device_flushes: f64,
    micros: [f64; 4],
    space: f64,
    memory_peak: f64,
    disturbed_runs: usize,
}

/// Whether a target is met.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    workload: String,
    role: String,
    /// What is compared.
    what: String,
    /// What was reached.
    reached: f64,
    /// What was asked for.
    target: f64,
    met: bool,
}

/// Medians and verdicts of all runs, in the order of the workloads.
pub struct Report {
    summaries: Vec<Summary>,
    verdicts: Vec<Verdict>,
}

impl Report {
    /// Puts runs together.
    pub fn new(runs: &[Run]) -> Self {
        let groups = grouped(runs);
        let mut report = Self { summaries: Vec::new(), verdicts: Vec::new() };
        for workload in ALL {
            for role in ["", "reader", "writer"] {
                if let Some(engines) = groups.get(&(workload.name.to_owned(), role.to_owned())) {
                    report.add(&workload, role, engines);
                }
            }
        }
        report
    }

    fn add(&mut self, workload: &Workload, role: &str, engines: &BTreeMap<Name, Vec<&Run>>) {
        let mut summaries: Vec<Summary> =
            engines.iter().map(|(engine, runs)| summary(workload, role, *engine, runs)).collect();
        let ours = summaries.iter().find(|summary| summary.engine == Name::Ours).cloned();
        if let Some(ours) = &ours {
            for summary in summaries.iter_mut().filter(|summary| summary.engine != Name::Ours) {
                summary.ratio = Some(ours.rate / summary.rate);
            }
            self.judge(workload, ours, &summaries);
        }
        self.summaries.extend(summaries);
    }

    fn judge(&mut self, workload: &Workload, ours: &Summary, all: &[Summary]) {
        let mut judge = |what: String, reached: f64, target: f64, met: bool| {
            let (workload, role) = (workload.name.to_owned(), ours.role.clone());
            self.verdicts.push(Verdict { workload, role, what, reached, target, met });
        };
        let rivals = all.iter().filter(|summary| summary.engine.is_rival());
        if let Some(best) = rivals.max_by(|a, b| a.rate.total_cmp(&b.rate)) {
            let ratio = ours.rate / best.rate;
            judge(format!("ops/s over {}", best.engine), ratio, workload.target, ratio >= workload.target);
        }
        let amplification = |summary: &Summary| summary.write_amplification;
        let rocks = all.iter().filter(|summary| summary.engine.is_rocksdb()).filter_map(amplification);
        if let (Some(reached), Some(target)) = (ours.write_amplification, rocks.reduce(f64::min)) {
            // Durable writes one by one are padded to the disk's blocks by whoever writes directly; that is no amplification of the tree.
            if workload.sync == Sync::Deferred {
                judge("write amplification, RocksDB's at most".to_owned(), reached, target, reached <= target);
            }
        }
        if workload.compares_with_redb()
            && let Some(redb) = all.iter().find(|summary| summary.engine == Name::Redb)
        {
            let ratio = ours.rate / redb.rate;
            judge("ops/s over redb".to_owned(), ratio, REDB_TARGET, ratio >= REDB_TARGET);
        }
    }

    /// Prints everything for people.
    pub fn print(&self) {
        println!(
            "{:17} {:17} {:>11} {:>23} {:>6} {:>8} {:>8} {:>8} {:>6} {:>7} {:>7} {:>8} {:>8} {:>9} {:>9} {:>8} {:>8}",
            "workload",
            "engine",
            "ops/s",
            "(min - max)",
            "ours x",
            "cpu us",
            "+ after",
            "B/op",
            "w-amp",
            "sync/op",
            "flush",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "max us",
            "space MB",
            "peak MB",
        );
        let mut before = String::new();
        for line in &self.summaries {
            let name =
                if line.role.is_empty() { line.workload.clone() } else { format!("{} {}", line.role, line.workload) };
            if before != name {
                println!();
            }
            let [p50, p99, p999, longest] = line.micros;
            println!(
                "{:17.17} {:17} {:>11} {:>23} {:>6} {:>8.2} {:>8.2} {:>8.0} {:>6} {:>7.4} {:>7.4} {p50:>8.1} {p99:>8.1} {p999:>9.1} {longest:>9.0} {:>8.0} {:>8.0}{}",
                name,
                line.engine,
                grouped_digits(line.rate),
                format!("({} - {})", grouped_digits(line.rate_min), grouped_digits(line.rate_max)),
                line.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
                line.cpu_us,
                line.cpu_us_settled,
                line.written,
                line.write_amplification.map_or_else(String::new, |factor| format!("{factor:.2}")),
                line.syncs,
                line.device_flushes,
                line.space / 1e6,
                line.memory_peak / 1e6,
                if line.disturbed_runs > 0 { format!("  ! {} disturbed", line.disturbed_runs) } else { String::new() },
            );
            before = name;
        }
        println!("\nverdicts");
        for verdict in &self.verdicts {
            println!(
                "{} {:17} {:7} {:42} {:6.2}  target {:.2}",
                if verdict.met { "met   " } else { "MISSED" },
                verdict.workload,
                verdict.role,
                verdict.what,
                verdict.reached,
                verdict.target,
            );
        }
    }

    /// Prints everything for programs, one object per line.
    pub fn print_json(&self) {
        let summaries = self.summaries.iter().map(serde_json::to_string);
        let verdicts = self.verdicts.iter().map(serde_json::to_string);
        for line in summaries.chain(verdicts).flatten() {
            println!("{line}");
        }
    }
}

fn summary(workload: &Workload, role: &str, engine: Name, runs: &[&Run]) -> Summary {
    let of = |figure: fn(&Part) -> f64| median(runs.iter().map(|run| figure(&run.part)).collect());
    let rates = || runs.iter().map(|run| run.part.rate);
    let factors: Vec<f64> = runs.iter().filter_map(|run| run.write_amplification).collect();
    Summary {
        workload: workload.name.to_owned(),
        role: role.to_owned(),
        engine,
        rate: of(|part| part.rate),
        rate_min: rates().fold(f64::INFINITY, f64::min),
        rate_max: rates().fold(0.0, f64::max),
        ratio: None,
        cpu_us: of(|part| part.cpu_us),
        cpu_us_settled: of(|part| part.cpu_us_settled),
        written: of(|part| part.written),
        write_amplification: (!factors.is_empty()).then(|| median(factors)),
        syncs: of(|part| part.syncs),
        device_flushes: of(|part| part.device_flushes),
        micros: [
            of(|part| part.micros[0]),
            of(|part| part.micros[1]),
            of(|part| part.micros[2]),
            of(|part| part.micros[3]),
        ],
        space: of(|part| part.space as f64),
        memory_peak: of(|part| part.memory_peak as f64),
        disturbed_runs: runs.iter().filter(|run| run.disturbed).count(),
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}

/// A count with its thousands apart.
pub fn grouped_digits(figure: f64) -> String {
    let digits = format!("{figure:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_the_middle_or_between_the_middles() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0]), 2.5);
    }

    #[test]
    fn thousands_are_apart() {
        assert_eq!(grouped_digits(1_234_567.4), "1,234,567");
        assert_eq!(grouped_digits(12.0), "12");
    }
}
