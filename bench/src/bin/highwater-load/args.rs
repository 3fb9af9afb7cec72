//! Arguments. `--help` is the manual: it teaches by examples.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::failure::Failure;
use crate::mixture::Weights;
use crate::sweep::Objective;

const EXAMPLES: &str = "\
Examples:
  highwater-load --setup                              make namespace, tables, topic, users and rows; no load
  highwater-load insert --connections 64              64 connections, each with one insert under way
  highwater-load insert --rate 5000 --connections 64  5,000 inserts per second by a schedule, whatever the server does
  highwater-load select --seconds 30                  rows by key, those that --setup made
  highwater-load update --rows 100000                 the same rows written again; put: new ones, nothing around them
  highwater-load consume --producers 4                members of a group read what 4 other connections insert
  highwater-load insert --verify                      and read every row back: none lost, none doubled
  highwater-load consume --verify --json > run.json   and check the messages; the result as JSON
  highwater-load --nodes http://a:2900,http://b:2900 insert
                                                      connections are spread over the nodes
  highwater-load mixed --mix select=80,update=15,insert=5 --rate 2000
                                                      several kinds at once, by weights
  highwater-load select --rate 1000 --sweep p99=10    the highest rate whose p99 is at most 10 ms, from 1,000 on
  highwater-load insert --rate 2000 --out run1        run.json, intervals.csv, *.hgrm and report.html in a folder
  highwater-load select --setup --postgres postgres://postgres@127.0.0.1/bench
                                                      the same load on PostgreSQL
  highwater-load --cleanup                            drop what --setup made

Closed loop (no --rate): a connection sends its next operation when the last was answered. A stall then holds up the
generator too, so few operations see it: tails look better than users would find them.
Open loop (--rate): starts are drawn from the seed before the run. Latency counts from the intended start, waiting for a
free connection included; what could not be sent by the end counts as NOT_SENT with the time that it had waited.

Password: --password, else HIGHWATER_PASSWORD, else for root the file that the server keeps beside its data,
  ./highwater-data/root-password (in HIGHWATER_DATA_DIR, if that is set).

Exit codes: 0 done, and what was verified holds; 1 a violation, or nothing was done; 2 wrong usage; 3 no connection, or no
  Highwater there; 4 login refused. Ctrl-C ends the run and prints what there is; a second one ends at once (130).";

/// What is done again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// One row per statement, durable
    Insert,
    /// One row per statement into a table that nothing follows, without a request id: as little as a write can be
    Put,
    /// One of --rows rows written again by its key, without a request id
    Update,
    /// One row by its key
    Select,
    /// Messages of a topic, as a group, with acks
    Consume,
    /// Inserts, puts, updates and selects by --mix
    Mixed,
}

/// A load generator for Highwater: inserts, puts, updates, selects and consumes over HTTP, with a check of what was promised.
#[derive(Clone, Debug, Parser)]
#[command(name = "highwater-load", version, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to do; may be left out with --setup or --cleanup
    #[arg(value_enum, required_unless_present_any = ["setup", "cleanup"])]
    pub(crate) workload: Option<Workload>,

    /// Addresses of the nodes, with commas between or one by one; connections begin at them in turn
    #[arg(
        long,
        visible_alias = "url",
        env = "HIGHWATER_URL",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:2900"
    )]
    pub(crate) nodes: Vec<String>,

    /// Load PostgreSQL instead, for comparison: postgres://user:password@host:port/database
    #[arg(long, value_name = "URL", conflicts_with = "verify")]
    pub(crate) postgres: Option<String>,

    /// User to log in as
    #[arg(short, long, env = "HIGHWATER_USER", default_value = "root")]
    pub(crate) user: String,

    /// Password (seen by other users of this machine: HIGHWATER_PASSWORD is safer)
    #[arg(short, long, env = "HIGHWATER_PASSWORD", hide_env_values = true)]
    pub(crate) password: Option<String>,

    /// An access token instead of a login
    #[arg(long, env = "HIGHWATER_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,

    /// Folder of the server's data, where root's first password is kept
    #[arg(long, env = "HIGHWATER_DATA_DIR", default_value = "./highwater-data")]
    pub(crate) data_dir: PathBuf,

    /// Connections that work at a time (consumers, for consume), each kept alive
    #[arg(short, long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) connections: u32,

    /// Of these, so many share a connection of HTTP/2, each with a request of its own under way; 1: HTTP/1.1, and none shares
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100), conflicts_with = "postgres")]
    pub(crate) streams: u32,

    /// Threads of this program that drive them, where it needs no thread for each
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) threads: u32,

    /// Put and update with request ids, so that they may be sent again after a lost answer
    #[arg(long)]
    pub(crate) request_ids: bool,

    /// Operations per second by a schedule (inserts, for consume); without it as fast as answers come
    #[arg(short, long)]
    pub(crate) rate: Option<f64>,

    /// Seconds that are measured
    #[arg(short, long, default_value = "10", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,

    /// Seconds of load before that, not in the final figures
    #[arg(long, default_value = "2", value_parser = parse_seconds)]
    pub(crate) warmup: Duration,

    /// Rows that --setup makes and select reads
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) rows: u64,

    /// Bytes of text in every row
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=400_000))]
    pub(crate) payload_bytes: u32,

    /// Users whose rows they are; with 1 the login's own, without EXECUTE AS
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) users: u32,

    /// Keys, users, payloads and starts are drawn from it: the same seed makes the same operations
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Partitions of the topic that --setup makes
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) partitions: u32,

    /// Connections that insert while others consume
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) producers: u32,

    /// Group to consume as; a new one per run unless told
    #[arg(long)]
    pub(crate) group: Option<String>,

    /// Messages asked for at a time
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) batch: u32,

    /// Seconds to wait, after a verified consume, for messages that another consumer still holds
    #[arg(long, default_value = "75", value_parser = parse_seconds)]
    pub(crate) drain: Duration,

    /// Seconds until an answer counts as lost
    #[arg(long, default_value = "10", value_parser = parse_seconds)]
    pub(crate) timeout: Duration,

    /// Seconds for which one operation is sent again (with the same request id) after lost answers, 429 and 503
    #[arg(long, default_value = "60", value_parser = parse_seconds)]
    pub(crate) give_up: Duration,

    /// Namespace of tables and topic
    #[arg(long, default_value = "load")]
    pub(crate) namespace: String,

    /// Read back what was acknowledged (insert), check rows (select) or messages, order and commits (consume)
    #[arg(long)]
    pub(crate) verify: bool,

    /// First make namespace, tables, topic, users and rows, as far as they are missing
    #[arg(long)]
    pub(crate) setup: bool,

    /// In the end drop tables, topic and users, and the namespace if nothing else is in it
    #[arg(long)]
    pub(crate) cleanup: bool,

    /// Weights of a mixed workload
    #[arg(long, default_value = "select=80,update=15,insert=5", value_parser = Weights::parse, value_name = "KIND=WEIGHT,..")]
    pub(crate) mix: Weights,

    /// Find the highest rate that keeps this: a percentile and milliseconds from the intended start; --rate is the first that is tried
    #[arg(long, value_parser = Objective::parse, value_name = "p99=10", requires = "rate", conflicts_with = "verify")]
    pub(crate) sweep: Option<Objective>,

    /// How exactly a sweep looks, as a share of the rate
    #[arg(long, default_value_t = 0.1, requires = "sweep")]
    pub(crate) precision: f64,

    /// Write run.json, intervals.csv, percentiles (.hgrm) and report.html into this folder
    #[arg(short, long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,

    /// Print the result as one JSON document; the lines of the seconds go to standard error
    #[arg(long)]
    pub(crate) json: bool,
}

/// A number of seconds, with fractions.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "expected a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|duration| duration.as_secs() <= 7 * 86_400)
        .ok_or_else(|| "expected 0 to 604800 seconds".to_owned())
}

impl Args {
    /// Refuses what is well formed and makes no sense all the same.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        if self.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return Err(Failure::usage("--rate must be above 0"));
        }
        if self.rate.is_some() && self.workload == Some(Workload::Consume) && self.producers == 0 {
            return Err(Failure::usage("--rate is for the inserts of a consume, and --producers 0 makes none"));
        }
        if self.workload.is_some() && self.seconds.is_zero() {
            return Err(Failure::usage("--seconds must be above 0"));
        }
        if self.postgres.is_some() && self.workload == Some(Workload::Consume) {
            return Err(Failure::usage("PostgreSQL has no topics to consume: insert, put, update, select and mixed"));
        }
        if self.sweep.is_some() && self.workload == Some(Workload::Consume) {
            return Err(Failure::usage("--sweep is for insert, put, update, select and mixed"));
        }
        if !(0.01..=1.0).contains(&self.precision) {
            return Err(Failure::usage("--precision is from 0.01 to 1"));
        }
        if self.timeout.is_zero() {
            return Err(Failure::usage("--timeout must be above 0"));
        }
        if self.verify && self.workload == Some(Workload::Consume) && self.producers == 0 {
            return Err(Failure::usage("a verified consume needs producers: it checks what this run inserts"));
        }
        if self.verify && matches!(self.workload, Some(Workload::Put | Workload::Update | Workload::Mixed)) {
            return Err(Failure::usage(
                "--verify is for insert, select and consume: put, update and mixed keep no record of what they wrote",
            ));
        }
        let is_name = self.namespace.starts_with(|c: char| c.is_ascii_lowercase())
            && self.namespace.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !is_name {
            return Err(Failure::usage(format!(
                "{:?} is no name for --namespace: small letters, digits and _, a letter first",
                self.namespace
            )));
        }
        Ok(())
    }

    /// The nodes' addresses without slashes at their ends.
    pub(crate) fn urls(&self) -> Result<Vec<String>, Failure> {
        let url = |url: &String| match url.trim_end_matches('/').split_once("://") {
            Some(("http", rest)) if !rest.is_empty() => Ok(format!("http://{rest}")),
            Some(_) | None => Err(Failure::Usage {
                message: format!("{url:?} is no address of a node"),
                hint: Some("an address looks like http://127.0.0.1:2900; https is not supported".into()),
            }),
        };
        self.nodes.iter().map(url).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use clap::CommandFactory as _;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("highwater-load").chain(args.iter().copied()))
    }

    #[test]
    fn the_arguments_are_consistent_and_the_help_teaches() {
        Args::command().debug_assert();
        let help = Args::command().render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(help.starts_with("A load generator for Highwater"), "{help}");
        for word in ["--rate", "intended start", "HIGHWATER_PASSWORD", "Exit codes", "--cleanup", "Ctrl-C"] {
            assert!(help.contains(word), "{word} is not in\n{help}");
        }
    }

    #[test]
    fn a_workload_is_needed_unless_something_is_made_or_dropped() {
        assert!(parse(&[]).is_err());
        assert!(parse(&["--setup"]).is_ok());
        assert_eq!(parse(&["--cleanup", "select"]).unwrap().workload, Some(Workload::Select));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for wrong in [
            &["insert", "--rate", "0"][..],
            &["insert", "--rate", "NaN"],
            &["insert", "--seconds", "0"],
            &["consume", "--verify", "--producers", "0"],
            &["consume", "--rate", "5", "--producers", "0"],
            &["insert", "--namespace", "a; DROP"],
            &["mixed", "--verify"],
            &["consume", "--postgres", "postgres://h/d"],
            &["consume", "--rate", "5", "--sweep", "p99=1"],
            &["select", "--rate", "5", "--sweep", "p99=1", "--precision", "0"],
        ] {
            assert_eq!(parse(wrong).unwrap().check().unwrap_err().code(), 2, "{wrong:?}");
        }
        assert!(parse(&["insert", "--seconds", "-1"]).is_err());
        assert!(parse(&["select", "--sweep", "p99=1"]).is_err(), "a sweep begins at a rate");
        assert!(parse(&["mixed", "--mix", "consume=1"]).is_err());
        assert_eq!(parse(&["insert", "--seconds", "0.5"]).unwrap().seconds, Duration::from_millis(500));
    }

    #[test]
    fn nodes_are_addresses_with_commas_between() {
        let urls = |text: &str| parse(&["--setup", "--nodes", text]).unwrap().urls().map_err(|failure| failure.code());
        assert_eq!(urls("http://a:1/,http://b:2"), Ok(vec!["http://a:1".into(), "http://b:2".into()]));
        for wrong in ["https://a", "a:1", "http://a,", "http://"] {
            assert_eq!(urls(wrong), Err(2), "{wrong}");
        }
    }
}
