//! Lines of a trace, read.

/// What became of a client's request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// It did what it should.
    Done,
    /// It changed nothing, and would not if it were sent again.
    Refused,
    /// It changed nothing this time.
    NotNow,
    /// Its answer is lost.
    Lost,
    /// There was no answer yet: it may still have its effect.
    Open,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 5] = [Self::Done, Self::Refused, Self::NotNow, Self::Lost, Self::Open];

    /// As traces and pages name it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "Done",
            Self::Refused => "Refused",
            Self::NotNow => "NotNow",
            Self::Lost => "Lost",
            Self::Open => "Open",
        }
    }
}

/// What happened, as far as a picture shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A node's process begins a life.
    Starts,
    /// It serves clients.
    Serves,
    /// It ended, by a crash or by itself.
    Ends(String),
    /// Its tasks stop as they stand.
    Paused,
    /// They go on.
    Resumed,
    /// Nothing passes from the first node (or `clients`) to the second any more.
    Cut(String, String),
    /// It passes again.
    Mended(String, String),
    /// Somebody said for the first time that a node leads a group in a term.
    Leads {
        /// The group.
        group: u64,
        /// The term.
        term: u64,
        /// The node, as the trace calls it.
        node: String,
    },
    /// The run enters a phase.
    Phase(String),
    /// A client's request, which ends here.
    Request {
        /// The node that was asked.
        node: String,
        /// How long ago it was sent, in microseconds.
        took: u64,
        /// What became of it.
        outcome: Outcome,
        /// Path, body and reply, as in the trace.
        text: String,
    },
    /// A promise was broken.
    Violation(String),
    /// Anything else, for the list.
    Said(String),
}

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Virtual microseconds since the start.
    pub at: u64,
    /// Who says it.
    pub who: String,
    /// What.
    pub what: What,
}

/// Reads a line; `None` if it is none of a trace.
#[must_use]
pub fn read(line: &str) -> Option<Event> {
    let (time, rest) = line.trim_start().split_once(' ')?;
    let (seconds, micros) = time.split_once('.').filter(|(_, micros)| micros.len() == 6)?;
    let at = seconds.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(micros.parse().ok()?)?;
    let (who, what) = rest.trim_start().split_once(' ')?;
    Some(Event { at, who: who.to_owned(), what: read_what(who, what.trim_start()) })
}

fn read_what(who: &str, text: &str) -> What {
    let said = || What::Said(text.to_owned());
    match who {
        "VIOLATION" => What::Violation(text.to_owned()),
        "director" => What::Phase(text.to_owned()),
        "network" => match text.split_once(' ').and_then(|(verb, ends)| Some((verb, ends.split_once(" -> ")?))) {
            Some(("cut", (from, to))) => What::Cut(from.to_owned(), to.to_owned()),
            Some(("mended", (from, to))) => What::Mended(from.to_owned(), to.to_owned()),
            _ => said(),
        },
        "raft" => leads(text).unwrap_or_else(said),
        _ => match text {
            "starts" => What::Starts,
            "serves" => What::Serves,
            "is paused" => What::Paused,
            "goes on" => What::Resumed,
            _ if text.starts_with("crashes") || text.starts_with("ends") || text.starts_with("stops itself") => {
                What::Ends(text.to_owned())
            }
            _ => request(text).unwrap_or_else(said),
        },
    }
}

/// `group 3 is led by node2 in term 5`.
fn leads(text: &str) -> Option<What> {
    let (group, rest) = text.strip_prefix("group ")?.split_once(" is led by ")?;
    let (node, term) = rest.split_once(" in term ")?;
    Some(What::Leads { group: group.parse().ok()?, term: term.parse().ok()?, node: node.to_owned() })
}

/// `node2 8123us /v1/api/sql {...} -> Done(...)`.
fn request(text: &str) -> Option<What> {
    let (node, rest) = text.split_once(' ')?;
    let (took, rest) = rest.split_once("us ")?;
    // Bodies may hold an arrow; the reply is behind the last one that an outcome follows.
    let (outcome, _) = Outcome::ALL
        .into_iter()
        .filter_map(|outcome| Some((outcome, rest.find(&format!(" -> {}", outcome.name()))?)))
        .min_by_key(|(_, place)| *place)?;
    Some(What::Request { node: node.to_owned(), took: took.parse().ok()?, outcome, text: rest.to_owned() })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn what(line: &str) -> What {
        read(line).unwrap().what
    }

    #[test]
    fn every_kind_of_line_is_read() {
        let event = read("  12.000345 node2      serves").unwrap();
        assert_eq!((event.at, event.who.as_str(), event.what), (12_000_345, "node2", What::Serves));
        assert_eq!(what("   0.000001 node1      starts"), What::Starts);
        assert_eq!(what("   0.000001 node1      crashes: Power"), What::Ends("crashes: Power".into()));
        assert_eq!(what("   0.000001 node3      is paused"), What::Paused);
        assert_eq!(what("   0.000001 node3      goes on"), What::Resumed);
        assert_eq!(what("   0.000001 network    cut node1 -> node2"), What::Cut("node1".into(), "node2".into()));
        assert_eq!(
            what("   0.000001 network    mended clients -> node2"),
            What::Mended("clients".into(), "node2".into())
        );
        assert_eq!(
            what("   0.000001 raft       group 3 is led by node2 in term 5"),
            What::Leads { group: 3, term: 5, node: "node2".into() }
        );
        assert_eq!(what("   0.000001 director   Load"), What::Phase("Load".into()));
        assert_eq!(what("   0.000001 VIOLATION  a row is lost"), What::Violation("a row is lost".into()));
        assert_eq!(what("   0.000001 nemesis    a trouble is over"), What::Said("a trouble is over".into()));
        let What::Request { node, took, outcome, text } =
            what(r#"   1.500000 writer0    node2 8123us /v1/api/sql {"sql":"x -> y"} -> Open"#)
        else {
            unreachable!()
        };
        assert_eq!((node.as_str(), took, outcome), ("node2", 8123, Outcome::Open));
        assert!(text.starts_with("/v1/api/sql"));
    }

    #[test]
    fn what_is_no_line_of_a_trace_is_passed_over() {
        for line in ["", "seed 7: every promise held", "trace hash 0123", "  crashes 3", "{\"seed\":7}", "1.5 x y"] {
            assert_eq!(read(line), None, "{line}");
        }
    }
}
