//! Probes: since when does a group of users' rows take writes again? One client at each node that is not the fault's victim inserts
//! a row of one user per group, under a request id, from the fault on, again and again until it is acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Failure;
use crate::client::{Client, Reply, request_id};
use crate::stage::Stage;
use crate::writers::{INSERT, done, note};

/// After how long a probe sends its request again: what is stuck behind a node that says nothing is not waited for.
const AGAIN: Duration = Duration::from_millis(400);

/// Probes that are ready to begin.
pub struct Probes {
    go: Arc<AtomicBool>,
    threads: Vec<(usize, JoinHandle<Option<Duration>>)>,
}

/// Numbers of the probes' rows; they go on from round to round.
static NUMBERS: AtomicI64 = AtomicI64::new(1);

impl Probes {
    /// Logs clients in at these nodes, for these users.
    pub fn ready(stage: &Arc<Stage>, nodes: &[usize], groups: &[usize]) -> Result<Self, Failure> {
        let go = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for (group, node) in groups.iter().flat_map(|group| nodes.iter().map(move |node| (*group, *node))) {
            let user = stage.probes.get(group).ok_or("no such probe")?.clone();
            let mut client = Client::with_patience(&stage.site, &user, node, AGAIN);
            let mut tries = 0;
            while !matches!(client.log_in(), Reply::Done(_)) {
                tries += 1;
                if tries > 50 {
                    return Err(format!("{user} cannot log in at node {}", node + 1).into());
                }
            }
            let (stage, go) = (Arc::clone(stage), Arc::clone(&go));
            threads.push((group, std::thread::spawn(move || probe(&stage, &mut client, &user, &go))));
        }
        Ok(Self { go, threads })
    }

    /// The fault is there: the probes' clocks begin.
    pub fn go(&self) {
        self.go.store(true, Ordering::SeqCst);
    }

    /// Waits for all probes; answers the time of the group that took longest, by the first of its probes that was acknowledged.
    pub fn times(self) -> Result<Option<Duration>, Failure> {
        let mut first = std::collections::BTreeMap::new();
        for (group, thread) in self.threads {
            let time = thread.join().map_err(|_| "a probe panicked")?.ok_or("a probe has had no answer")?;
            let known = first.entry(group).or_insert(time);
            *known = time.min(*known);
        }
        Ok(first.into_values().max())
    }
}

/// `None` if it was given up.
fn probe(stage: &Stage, client: &mut Client, user: &str, go: &AtomicBool) -> Option<Duration> {
    while !go.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let started = Instant::now();
    let n = NUMBERS.fetch_add(1, Ordering::SeqCst);
    let node = client.node();
    stage.history.begin(user, n);
    let id = request_id(300, n.unsigned_abs());
    // At its own node only: what other nodes answer is for their probes to say.
    while started.elapsed() < Duration::from_secs(90) && !stage.history.is_broken() {
        let reply = client.at(node).sql(INSERT, &json!([n, "probe"]), Some(&id));
        note(stage, &reply);
        match reply {
            Reply::Done(answer) => {
                done(stage, user, n, &answer);
                return Some(started.elapsed());
            }
            Reply::Refused(status, answer) => {
                stage.history.violation(format!("{user}: insert {n}: {status} {answer}"));
                return None;
            }
            Reply::NotNow | Reply::DiskFull | Reply::Lost => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    None
}
