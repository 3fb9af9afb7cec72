//! Arguments. `--help` is the manual: it teaches by examples.

use std::path::PathBuf;

use clap::Parser;

use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  highwater                                          a prompt on the server of this machine
  highwater -c 'SELECT 1'                            one statement
  highwater -c '\\dt' -c '\\d app.messages'            commands of the prompt work here too
  highwater -f schema.sql -f data.sql                files; '-f -' reads standard input
  highwater --csv -c 'SELECT * FROM app.t' > t.csv   CSV with a header
  highwater --json -c 'SELECT * FROM app.t'          one JSON document per statement
  highwater -c \"\\as alice SELECT * FROM app.notes\"   as another user (EXECUTE AS)
  highwater --consume --topic app.events --from earliest
                                                     print messages until Ctrl-C
  highwater --consume --topic app.events --group g --limit 10
                                                     as a member of a group; acked once printed

Password: --password, else HIGHWATER_PASSWORD, else for root the file that the server keeps beside its data,
  ./highwater-data/root-password (in HIGHWATER_DATA_DIR, if that is set).

Exit codes: 0 all done; 1 a statement failed, and nothing after it was run; 2 wrong usage; 3 no connection;
  4 login refused.";

/// The shell of Highwater, a SQL database with topics.
#[derive(Clone, Debug, Parser)]
#[command(name = "highwater", version, about, after_help = EXAMPLES)]
pub struct Args {
    /// Where the server listens
    #[arg(long, env = "HIGHWATER_URL", default_value = "http://127.0.0.1:2900")]
    pub url: String,

    /// User to log in as
    #[arg(short, long, env = "HIGHWATER_USER", default_value = "root")]
    pub user: String,

    /// Password (seen by other users of this machine: HIGHWATER_PASSWORD is safer)
    #[arg(short, long, env = "HIGHWATER_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,

    /// Folder of the server's data, where root's first password is kept
    #[arg(long, env = "HIGHWATER_DATA_DIR", default_value = "./highwater-data")]
    pub data_dir: PathBuf,

    /// Run statements or commands, then exit; may be given several times
    #[arg(short, long = "command", value_name = "SQL", allow_hyphen_values = true)]
    pub command: Vec<String>,

    /// Run a file, then exit; '-' is standard input; may be given several times, after all -c
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,

    /// Print one JSON document per statement (or message)
    #[arg(long, conflicts_with = "csv")]
    pub json: bool,

    /// Print CSV with a header
    #[arg(long)]
    pub csv: bool,

    /// Print the messages of a topic until Ctrl-C
    #[arg(long, requires = "topic", conflicts_with_all = ["command", "file"])]
    pub consume: bool,

    /// Topic to consume, as namespace.topic
    #[arg(long, requires = "consume")]
    pub topic: Option<String>,

    /// Consume as a member of this group: what is printed is acked
    #[arg(long, requires = "consume")]
    pub group: Option<String>,

    /// Where to start: earliest, latest or an offset (a group that has acked goes on where it was)
    #[arg(long, requires = "consume", default_value = "latest", value_parser = parse_start)]
    pub from: Start,

    /// Stop after so many messages
    #[arg(long, requires = "consume", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// Where a consume starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest message kept.
    Earliest,
    /// After the end.
    Latest,
    /// At this offset of every partition.
    Offset(u64),
}

/// `earliest`, `latest` or a number.
pub(crate) fn parse_start(text: &str) -> Result<Start, String> {
    match text.to_ascii_lowercase().as_str() {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        number => number.parse().map(Start::Offset).map_err(|_| "expected earliest, latest or an offset".to_owned()),
    }
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Table,
    Json,
    Csv,
}

impl Args {
    pub(crate) fn format(&self) -> Format {
        match (self.json, self.csv) {
            (true, _) => Format::Json,
            (false, true) => Format::Csv,
            (false, false) => Format::Table,
        }
    }

    /// The server's address without a slash at its end.
    pub(crate) fn base_url(&self) -> Result<String, Failure> {
        let url = self.url.trim_end_matches('/');
        match url.split_once("://") {
            Some(("http", rest)) if !rest.is_empty() => Ok(url.to_owned()),
            Some(("https", _)) => {
                Err(Failure::usage("https is not supported by this shell; use http on the same machine or a tunnel"))
            }
            Some(_) | None => Err(Failure::Usage {
                message: format!("{url:?} is no address of a server"),
                hint: Some("an address looks like http://127.0.0.1:2900".into()),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use clap::CommandFactory as _;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(std::iter::once("highwater").chain(args.iter().copied()))
    }

    #[test]
    fn the_arguments_are_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn the_help_teaches_with_examples() {
        let help = Args::command().render_long_help().to_string();
        for word in ["--consume", "\\dt", "HIGHWATER_PASSWORD", "Exit codes", "-f -"] {
            assert!(help.contains(word), "{word} is not in\n{help}");
        }
    }

    #[test]
    fn commands_and_files_may_be_given_several_times() {
        let args = parse(&["-c", "SELECT 1", "-c", "\\dt", "-f", "a.sql", "-f", "-", "--json"]).unwrap();
        assert_eq!(args.command, ["SELECT 1", "\\dt"]);
        assert_eq!(args.file, [PathBuf::from("a.sql"), PathBuf::from("-")]);
        assert_eq!(args.format(), Format::Json);
        assert_eq!(parse(&["-c", "-- a comment\nSELECT 1"]).unwrap().command.len(), 1);
    }

    #[test]
    fn consuming_needs_a_topic_and_nothing_else_to_do() {
        let args = parse(&["--consume", "--topic", "app.t", "--group", "g", "--from", "12"]).unwrap();
        assert_eq!((args.from, args.limit), (Start::Offset(12), None));
        assert_eq!(parse(&["--consume", "--topic", "t", "--from", "EARLIEST"]).unwrap().from, Start::Earliest);
        for wrong in [
            &["--consume"][..],
            &["--topic", "t"],
            &["--group", "g"],
            &["--consume", "--topic", "t", "-c", "SELECT 1"],
            &["--consume", "--topic", "t", "--from", "soon"],
            &["--consume", "--topic", "t", "--limit", "0"],
            &["--json", "--csv"],
        ] {
            assert_eq!(parse(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
        }
    }

    #[test]
    fn an_address_is_http() {
        let url = |url: &str| parse(&["--url", url]).unwrap().base_url().map_err(|failure| failure.code());
        assert_eq!(url("http://h:1/"), Ok("http://h:1".into()));
        for wrong in ["https://h", "h:1", "http://", ""] {
            assert_eq!(url(wrong), Err(2), "{wrong}");
        }
    }
}
