//! Arguments. `--help` is the manual: it teaches by examples.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Args as Group, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::connection::{Target, Tls};
use crate::failure::Failure;
use crate::password;
use crate::profile::{self, Profile, Profiles};

const EXAMPLES: &str = "\
Examples:
  highwater                                          a prompt on the server of this machine
  highwater -c 'SELECT 1'                            one statement
  highwater -c '\\dt' -c '\\d app.messages'            commands of the prompt work here too
  highwater -f schema.sql -f data.sql                files; '-f -' reads standard input
  echo 'SELECT 1' | highwater                        without a terminal the input is a script
  highwater --csv -c 'SELECT * FROM app.t' > t.csv   CSV with a header
  highwater --json -c 'SELECT * FROM app.t'          one JSON document per statement
  highwater --format markdown -c 'SELECT 1'          also table, box, vertical, tsv, jsonl, insert; without a
                                                     terminal rows are tsv unless told
  highwater --format arrow -c 'SELECT * FROM app.t' > t.arrows
                                                     an Arrow stream of one result
  highwater -v room=7 -c 'SELECT * FROM app.t WHERE room = :room'
                                                     variables: :name, :'name' as a text, :\"name\" as a name
  highwater -c \"\\copy app.t FROM rows.csv\"           rows from a file; TO a file, .csv, .tsv, .jsonl, .arrows
  highwater -c \"\\as alice SELECT * FROM app.notes\"   as another user (EXECUTE AS)
  highwater --consume --topic app.events --from earliest
                                                     print messages until Ctrl-C
  highwater --consume --topic app.events --group g --limit 10
                                                     as a member of a group; acked once printed
  highwater --consume --topic app.events --message-format '%o %k %p\\n'
                                                     offset, key and payload of each
  highwater ctx add prod --url https://db:2900 --user ann --ask
                                                     keep a server under a name, with its password
  highwater --profile prod                           use it
  highwater doctor                                   what is wrong, and what to do about it
  source <(highwater completions bash)               completion of these arguments; also zsh, fish, elvish

Server and user: the arguments, else those of the profile that --profile names, else the environment's, else those of the profile in use.
Password: --password, else that of the profile that --profile names, else HIGHWATER_PASSWORD, else that of the profile in use, else for root the file that the server keeps beside
  its data, ./highwater-data/root-password (in HIGHWATER_DATA_DIR, if that is set), else it is asked for on a terminal.

Exit codes: 0 all done; 1 a statement failed, and nothing after it was run; 2 wrong usage; 3 no connection;
  4 login refused; 5 doctor found something; 130 Ctrl-C.";

/// The shell of Highwater, a SQL database with topics.
#[derive(Clone, Debug, Parser)]
#[command(name = "highwater", version, about, after_help = EXAMPLES, args_conflicts_with_subcommands = false)]
pub struct Args {
    /// What to do instead of running statements.
    #[command(subcommand)]
    pub action: Option<Action>,

    /// Which server, as whom.
    #[command(flatten)]
    pub server: Server,

    /// Run statements or commands, then exit; may be given several times
    #[arg(short, long = "command", value_name = "SQL", allow_hyphen_values = true)]
    pub command: Vec<String>,

    /// Run a file, then exit; '-' is standard input; may be given several times, after all -c
    #[arg(short, long, value_name = "FILE")]
    pub file: Vec<PathBuf>,

    /// Set a variable, as with \set; may be given several times
    #[arg(short = 'v', long = "variable", value_name = "NAME=VALUE", value_parser = parse_variable)]
    pub variable: Vec<(String, String)>,

    /// How rows look [default: table on a terminal, else tsv]
    #[arg(long, value_name = "FORMAT", global = true, conflicts_with_all = ["json", "csv"])]
    pub format: Option<Format>,

    /// Print one JSON document per statement (or message)
    #[arg(long, global = true, conflicts_with = "csv")]
    pub json: bool,

    /// Print CSV with a header
    #[arg(long, global = true)]
    pub csv: bool,

    /// Go on after a statement that fails; the exit code tells in the end
    #[arg(short, long)]
    pub keep_going: bool,

    /// Write rows to a file instead, as with \o
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

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

    /// How a message looks: %t topic, %P partition, %o offset, %k key, %p payload, %u user, %O operation, %d time, \n \t, %%
    #[arg(long, requires = "consume", conflicts_with_all = ["json", "csv", "format"])]
    pub message_format: Option<String>,
}

/// Which server, as whom. Each: the argument, else of the profile that an argument names, else the environment, else of the profile in
/// use, else what is usual.
#[derive(Clone, Debug, Group)]
pub struct Server {
    /// What the environment says beside a profile that an argument names.
    #[arg(skip)]
    pub(crate) displaced: Profile,

    /// Where the server listens [default: http://127.0.0.1:2900]
    #[arg(long, env = "HIGHWATER_URL", global = true)]
    pub url: Option<String>,

    /// User to log in as [default: root]
    #[arg(short, long, env = "HIGHWATER_USER", global = true)]
    pub user: Option<String>,

    /// Password (seen by other users of this machine: HIGHWATER_PASSWORD is safer)
    #[arg(short, long, env = "HIGHWATER_PASSWORD", hide_env_values = true, global = true)]
    pub password: Option<String>,

    /// Folder of the server's data, where root's first password is kept
    #[arg(long, env = "HIGHWATER_DATA_DIR", default_value = "./highwater-data", global = true)]
    pub data_dir: PathBuf,

    /// Namespace of unqualified names
    #[arg(short, long, env = "HIGHWATER_NAMESPACE", global = true)]
    pub namespace: Option<String>,

    /// Use the server kept under this name (see 'highwater ctx')
    #[arg(long, env = "HIGHWATER_PROFILE", global = true)]
    pub profile: Option<String>,

    /// PEM file of the authorities that may sign the server's certificate, instead of the machine's
    #[arg(long, env = "HIGHWATER_CACERT", global = true, value_name = "FILE")]
    pub cacert: Option<PathBuf>,

    /// Believe any certificate: for tests, anyone can listen in
    #[arg(long, global = true)]
    pub insecure: bool,
}

/// What to do instead of running statements.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Check the connection, versions, clocks, TLS, credentials and rights, and say what to do
    Doctor,
    /// Write what is needed to understand a problem into one file: doctor's report, settings, cluster, figures; no data
    Bundle {
        /// Where to write; '-' is standard output
        #[arg(default_value = "highwater-bundle.json")]
        file: PathBuf,
    },
    /// Servers kept under names, with their passwords, in a file that only you may read
    Ctx {
        /// What to do with them; all are listed unless told.
        #[command(subcommand)]
        action: Option<ContextAction>,
    },
    /// Print the completion of these arguments for a shell
    Completions {
        /// For which
        shell: clap_complete::Shell,
    },
    /// Print the manual page (highwater man > highwater.1)
    Man,
}

/// What to do with profiles.
#[derive(Clone, Debug, Subcommand)]
pub enum ContextAction {
    /// List them; * marks the one in use
    List,
    /// Keep --url, --user, --namespace, --cacert and the password under a name
    Add {
        /// The name
        name: String,
        /// Ask for the password; else --password or HIGHWATER_PASSWORD is kept, if given
        #[arg(long)]
        ask: bool,
    },
    /// Use one from now on
    Use {
        /// The name
        name: String,
    },
    /// Forget one
    Remove {
        /// The name
        name: String,
    },
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if crate::variables::is_name(name) => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE; a name is letters, digits and _".to_owned()),
    }
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

/// How rows look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A table that fits the terminal
    Table,
    /// A table in a frame, with the columns' types
    Box,
    /// One list of columns per row
    #[value(alias = "expanded")]
    Vertical,
    /// A table for Markdown
    Markdown,
    /// RFC 4180, NULL is empty
    Csv,
    /// Tab-separated, as PostgreSQL's COPY writes it
    Tsv,
    /// One document per statement, as the server sent it
    Json,
    /// One document per row
    Jsonl,
    /// An Arrow IPC stream
    Arrow,
    /// INSERT statements
    Insert,
}

impl Format {
    /// Whether rows are for programs: what is no row does not belong among them then.
    pub(crate) fn is_for_programs(self) -> bool {
        match self {
            Self::Table | Self::Box | Self::Vertical | Self::Markdown => false,
            Self::Csv | Self::Tsv | Self::Json | Self::Jsonl | Self::Arrow | Self::Insert => true,
        }
    }
}

impl Args {
    /// Those of this program. Ends it when they make no sense, or only ask for the help.
    #[must_use]
    pub fn of_program() -> Self {
        Self::of(std::env::args_os()).unwrap_or_else(|error| error.exit())
    }

    fn of(arguments: impl IntoIterator<Item = impl Into<std::ffi::OsString> + Clone>) -> Result<Self, clap::Error> {
        let mut matches = Self::command().try_get_matches_from(arguments)?;
        let is_profile_given = matches.value_source("profile") == Some(ValueSource::CommandLine);
        let inherited = ["url", "user", "password", "namespace", "cacert"]
            .map(|name| is_profile_given && matches.value_source(name) == Some(ValueSource::EnvVariable));
        let mut args = Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut Self::command()))?;
        args.server.displace(inherited);
        Ok(args)
    }

    /// The format that was asked for.
    fn wanted_format(&self) -> Option<Format> {
        match (self.json, self.csv) {
            (true, _) => Some(Format::Json),
            (false, true) => Some(Format::Csv),
            (false, false) => self.format,
        }
    }

    /// How rows look unless somebody asks. A drawn table is for people: where no terminal is, a program reads.
    fn usual_format(&self) -> Format {
        let is_terminal = self.output.is_none() && std::io::stdout().is_terminal();
        if is_terminal { Format::Table } else { Format::Tsv }
    }

    /// How rows look at first.
    pub(crate) fn format(&self) -> Format {
        self.wanted_format().unwrap_or_else(|| self.usual_format())
    }

    /// The same, if nobody asked for it.
    pub(crate) fn unasked_format(&self) -> Option<Format> {
        self.wanted_format().is_none().then(|| self.usual_format())
    }
}

impl Server {
    /// Puts what the environment says behind the profile that an argument names; `inherited` tells of which of the address, the user, the
    /// password, the namespace and the authorities.
    fn displace(&mut self, [url, user, password, namespace, cacert]: [bool; 5]) {
        fn moved<T>(value: &mut Option<T>, is_inherited: bool) -> Option<T> {
            value.take_if(|_| is_inherited)
        }
        self.displaced = Profile {
            url: moved(&mut self.url, url),
            user: moved(&mut self.user, user),
            password: moved(&mut self.password, password),
            namespace: moved(&mut self.namespace, namespace),
            cacert: moved(&mut self.cacert, cacert),
        };
    }

    /// The profile that is named or in use.
    pub(crate) fn chosen_profile(&self) -> Result<Profile, Failure> {
        match profile::path() {
            Some(path) => Profiles::load(&path)?.choose(self.profile.as_deref()),
            None => Profiles::default().choose(self.profile.as_deref()),
        }
    }

    /// Everything that a connection needs. Asks for the password if there is none and someone to ask.
    pub(crate) fn target(&self, can_ask: bool) -> Result<Target, Failure> {
        let (profile, displaced) = (self.chosen_profile()?, &self.displaced);
        let base = base_url(self.url.as_deref().or(profile.url.as_deref()).unwrap_or("http://127.0.0.1:2900"))?;
        let user = self.user.clone().or(profile.user.clone()).unwrap_or_else(|| "root".to_owned());
        let kept = [&profile, displaced].into_iter().find_map(|known| known.password_for(&user, &base));
        let password = password::find(&user, self.password.as_deref().or(kept), &self.data_dir, can_ask)?;
        let authorities = match [&self.cacert, &profile.cacert, &displaced.cacert].into_iter().flatten().next() {
            Some(file) => Some(
                std::fs::read(file)
                    .map_err(|error| Failure::usage(format!("cannot read {}: {error}", file.display())))?,
            ),
            None => None,
        };
        Ok(Target {
            base,
            user,
            password,
            tls: Tls { authorities, is_unverified: self.insecure },
            namespace: self.namespace.clone().or(profile.namespace).or(displaced.namespace.clone()),
        })
    }
}

/// A server's address without a slash at its end.
pub(crate) fn base_url(url: &str) -> Result<String, Failure> {
    let url = url.trim_end_matches('/');
    match url.split_once("://") {
        Some(("http" | "https", rest)) if !rest.is_empty() && !rest.contains(['/', '@', '?', '#']) => {
            Ok(url.to_owned())
        }
        Some(_) | None => Err(Failure::Usage {
            message: format!("{url:?} is no address of a server"),
            hint: Some("an address looks like http://127.0.0.1:2900".into()),
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

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
        for word in ["--consume", "\\dt", "HIGHWATER_PASSWORD", "Exit codes", "-f -", "doctor", "ctx add"] {
            assert!(help.contains(word), "{word} is not in\n{help}");
        }
    }

    #[test]
    fn commands_and_files_may_be_given_several_times() {
        let args = parse(&["-c", "SELECT 1", "-c", "\\dt", "-f", "a.sql", "-f", "-", "--json"]).unwrap();
        assert_eq!(args.command, ["SELECT 1", "\\dt"]);
        assert_eq!(args.file, [PathBuf::from("a.sql"), PathBuf::from("-")]);
        assert_eq!(args.wanted_format(), Some(Format::Json));
        assert_eq!(parse(&["--format", "box"]).unwrap().wanted_format(), Some(Format::Box));
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
    fn an_address_is_http_or_https() {
        let url = |url: &str| base_url(url).map_err(|failure| failure.code());
        assert_eq!(url("http://h:1/"), Ok("http://h:1".into()));
        assert_eq!(url("https://h"), Ok("https://h".into()));
        for wrong in ["h:1", "http://", "", "ftp://h", "http://h/path", "http://a:b@h"] {
            assert_eq!(url(wrong), Err(2), "{wrong}");
        }
    }

    #[test]
    fn variables_have_a_name_and_a_value() {
        let args = parse(&["-v", "a=1=2", "-v", "b="]).unwrap();
        assert_eq!(args.variable, [("a".to_owned(), "1=2".to_owned()), ("b".to_owned(), String::new())]);
        for wrong in ["a", "=1", "a b=1"] {
            assert_eq!(parse(&["-v", wrong]).unwrap_err().exit_code(), 2, "{wrong}");
        }
    }

    #[test]
    fn the_server_may_be_named_after_an_action() {
        let args = parse(&["doctor", "--url", "http://h:1"]).unwrap();
        assert!(matches!(args.action, Some(Action::Doctor)));
        assert_eq!(args.server.url.as_deref(), Some("http://h:1"));
    }
}
