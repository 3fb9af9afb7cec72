//! Commands that start with a backslash: one line each.

use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum as _;

use crate::args::{Format, Start, parse_start};
use crate::describe::Listing;
use crate::variables::is_name;

/// What a command asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// `\q`
    Quit,
    /// `\?`
    Help,
    /// `\h [STATEMENT]`
    StatementHelp(String),
    /// `\dt`, `\di` ... with a pattern
    List(Listing, Option<String>),
    /// `\d table`
    Describe(String),
    /// `\as USER statement`
    As {
        /// Who.
        user: String,
        /// What, without a `;`.
        statement: String,
    },
    /// `\consume TOPIC [GROUP] [FROM] [format]`
    Consume {
        /// Topic.
        topic: String,
        /// Group.
        group: Option<String>,
        /// Where to start.
        from: Start,
        /// How a message looks.
        format: Option<String>,
    },
    /// `\timing [on|off]`
    Timing(Option<bool>),
    /// `\x [on|off|auto]`
    Expanded(Option<Expanded>),
    /// `\pager [on|off]`
    Pager(Option<bool>),
    /// `\format NAME`
    Format(Option<Format>),
    /// `\o [FILE]`
    Output(Option<PathBuf>),
    /// `\i FILE`
    Include(PathBuf),
    /// `\e [FILE]`
    Edit(Option<PathBuf>),
    /// `\g`, `\gx`, `\gset`, `\watch` behind a statement or alone, for the last one
    Go(Go),
    /// `\p`
    PrintLast,
    /// `\set [NAME [VALUE]]`
    Set(Option<(String, String)>),
    /// `\unset NAME`
    Unset(String),
    /// `\echo TEXT`
    Echo(String),
    /// `\copy ...`
    Copy(Copy),
    /// `\explain [analyze] STATEMENT`
    Explain {
        /// Run it too.
        analyze: bool,
        /// What.
        statement: String,
    },
    /// `\use NAMESPACE`
    Use(String),
    /// `\c [PROFILE]`
    Connect(Option<String>),
    /// `\conninfo`
    ConnectionInfo,
    /// `\password [USER]`
    Password(Option<String>),
    /// `\refresh`
    Refresh,
    /// `\! COMMAND`
    Shell(String),
}

/// How a statement is run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Go {
    /// Once.
    Plain,
    /// Once, rows as lists.
    Expanded,
    /// Once, into a file.
    Into(PathBuf),
    /// Its one row into variables, with this before their names.
    Set(String),
    /// Again and again.
    Watch {
        /// Pause between two runs.
        every: Duration,
        /// So often; until Ctrl-C if it does not say.
        times: Option<u64>,
    },
}

/// When rows are lists of columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Expanded {
    /// Always.
    On,
    /// Never.
    #[default]
    Off,
    /// When a table would be wider than the terminal.
    Auto,
}

/// `\copy` in either direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Copy {
    /// A table, or for an export a query in parentheses.
    pub(crate) what: String,
    /// Columns of an import, if they are named; else the file's header names them.
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) is_import: bool,
    /// `None` is standard input or output.
    pub(crate) file: Option<PathBuf>,
    pub(crate) format: Format,
}

/// What `\?` prints.
pub(crate) const HELP: &str = "\
Statements end with ; and may span lines; \\; between two sends them together. Commands start with \\ and are one
line. Tab completes.

Help
  \\?                             this text
  \\h [STATEMENT]                 how a statement is written: \\h create topic
  \\q                             leave (also Ctrl-D)

Running
  \\g [FILE], \\gx                 run the last statement again (into a file; as lists); also instead of ;
  \\gset [PREFIX]                 run it and keep its one row in variables
  \\watch [SECONDS] [TIMES]       run it every 2 seconds until Ctrl-C; also instead of ;
  \\e [FILE]                      write the last statement (or a file) in $EDITOR, then run it
  \\i FILE                        run a file
  \\p                             show the last statement
  \\as USER STATEMENT             run a statement as another user (EXECUTE AS)
  \\explain [analyze] STATEMENT   how a statement is run, as a tree; \\profile STATEMENT is \\explain analyze
  \\consume TOPIC [GROUP] [FROM] [FORMAT]
                                 print messages until Ctrl-C; FROM is earliest, latest or an offset; FORMAT as in
                                 '%o %k %p\\n': %t topic, %P partition, %o offset, %k key, %p payload, %u user,
                                 %O operation, %d time

What there is (PATTERN: app.*, *log?)
  \\d                             tables and topics
  \\d TABLE                       columns, key, indexes, checks, rights of a table, and the topics it feeds
  \\dt \\di \\dn \\du [PATTERN]      tables, indexes, namespaces, users
  \\dT, \\dtopic [PATTERN]         topics
  \\dgroup [PATTERN]              consumer groups and how far they are
  \\djob, \\dset, \\dshard          jobs, settings of the server, replicas of groups
  \\refresh                       look again at what there is, for completion

How it looks
  \\x [on|off|auto]               rows as lists of columns
  \\format [NAME]                 table, box, vertical, markdown, csv, tsv, json, jsonl, arrow, insert
  \\timing [on|off]               how long statements take, and where
  \\pager [on|off]                long results through $PAGER
  \\o [FILE]                      write results to a file; back to the terminal without one

Data
  \\copy TABLE[(COLUMNS)] FROM FILE [csv|tsv|jsonl]
  \\copy TABLE TO FILE [FORMAT]   also \\copy (SELECT ...) TO FILE; FILE is stdin, stdout or a path, its ending says how

Variables
  \\set [NAME [VALUE]]            set one, or show all; :name, :'name', :\"name\" stand for it
  \\unset NAME
  \\echo TEXT

Connection
  \\conninfo                      where, as whom
  \\c [PROFILE]                   connect again, or to a profile (highwater ctx)
  \\use NAMESPACE                 where unqualified names are looked up
  \\password [USER]               change a password, without showing it
  \\! COMMAND                     run a command of this machine";

/// Names of commands, for completion and for what was probably meant; sorted.
pub(crate) const NAMES: &[&str] = &[
    "!", "?", "as", "c", "conninfo", "consume", "copy", "d", "dT", "dgroup", "di", "djob", "dn", "dset", "dshard",
    "dt", "dtopic", "du", "e", "echo", "explain", "format", "g", "gset", "gx", "h", "i", "o", "p", "pager", "password",
    "profile", "q", "refresh", "set", "timing", "unset", "use", "watch", "x",
];

/// A command from its line, without the backslash.
pub(crate) fn parse(line: &str) -> Result<Command, String> {
    let (name, rest) = match line.strip_prefix('!') {
        Some(rest) => ("!", rest.trim()),
        None => {
            let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            (name.trim_end_matches(';'), rest.trim())
        }
    };
    let argument = rest.trim_end_matches(';').trim_end();
    let words: Vec<&str> = argument.split_whitespace().collect();
    let alone =
        |command: Command| if words.is_empty() { Ok(command) } else { Err(format!("\\{name} takes no argument")) };
    let at_most_one = || match words.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).to_owned())),
        _ => Err(format!("\\{name} takes one argument")),
    };
    let on_off = || match words.as_slice() {
        [] => Ok(None),
        ["on"] => Ok(Some(true)),
        ["off"] => Ok(Some(false)),
        _ => Err(format!("\\{name} takes on or off")),
    };
    let file = || (!argument.is_empty()).then(|| PathBuf::from(unquoted(argument)));
    Ok(match name {
        "q" | "quit" | "exit" => alone(Command::Quit)?,
        "?" | "help" => alone(Command::Help)?,
        "h" => Command::StatementHelp(argument.to_owned()),
        "d" => match words.as_slice() {
            [] => Command::List(Listing::Everything, None),
            [pattern] if pattern.contains(['*', '?']) => {
                Command::List(Listing::Everything, Some((*pattern).to_owned()))
            }
            [table] => Command::Describe((*table).to_owned()),
            _ => return Err("\\d takes one table".to_owned()),
        },
        "dt" => Command::List(Listing::Tables, at_most_one()?),
        "di" => Command::List(Listing::Indexes, at_most_one()?),
        "dn" => Command::List(Listing::Namespaces, at_most_one()?),
        "du" => Command::List(Listing::Users, at_most_one()?),
        "dT" | "dtopic" => Command::List(Listing::Topics, at_most_one()?),
        "dgroup" => Command::List(Listing::Groups, at_most_one()?),
        "djob" => Command::List(Listing::Jobs, at_most_one()?),
        "dset" => Command::List(Listing::Settings, at_most_one()?),
        "dshard" => Command::List(Listing::Shards, at_most_one()?),
        "as" => {
            let (user, statement) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let statement = statement.trim().trim_end_matches(';').trim();
            if user.is_empty() || statement.is_empty() {
                return Err("\\as takes a user and a statement: \\as alice SELECT * FROM app.notes".to_owned());
            }
            Command::As { user: unquoted(user).to_owned(), statement: statement.to_owned() }
        }
        "consume" => consume(argument)?,
        "timing" => Command::Timing(on_off()?),
        "pager" => Command::Pager(on_off()?),
        "x" => Command::Expanded(match words.as_slice() {
            [] => None,
            ["on"] => Some(Expanded::On),
            ["off"] => Some(Expanded::Off),
            ["auto"] => Some(Expanded::Auto),
            _ => return Err("\\x takes on, off or auto".to_owned()),
        }),
        "format" => Command::Format(at_most_one()?.map(|name| format_of(&name)).transpose()?),
        "o" => Command::Output(file()),
        "i" => Command::Include(file().ok_or("\\i takes a file")?),
        "e" => Command::Edit(file()),
        "g" => Command::Go(file().map_or(Go::Plain, Go::Into)),
        "gx" => alone(Command::Go(Go::Expanded))?,
        "gset" => Command::Go(Go::Set(at_most_one()?.unwrap_or_default())),
        "watch" => watch(&words)?,
        "p" => alone(Command::PrintLast)?,
        "set" => set(argument)?,
        "unset" => Command::Unset(at_most_one()?.ok_or("\\unset takes the name of a variable")?),
        "echo" => Command::Echo(rest.to_owned()),
        "copy" => Command::Copy(copy(argument)?),
        "explain" | "profile" => {
            let (first, after) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
            let is_named = name == "explain" && first.eq_ignore_ascii_case("analyze");
            let statement = if is_named { after.trim() } else { argument };
            if statement.is_empty() {
                return Err(format!("\\{name} takes a statement"));
            }
            Command::Explain { analyze: is_named || name == "profile", statement: statement.to_owned() }
        }
        "use" => Command::Use(at_most_one()?.ok_or("\\use takes a namespace")?),
        "c" | "connect" => Command::Connect(at_most_one()?),
        "conninfo" => alone(Command::ConnectionInfo)?,
        "password" => Command::Password(at_most_one()?.map(|user| unquoted(&user).to_owned())),
        "refresh" => alone(Command::Refresh)?,
        "!" if !rest.is_empty() => Command::Shell(rest.to_owned()),
        other => return Err(unknown(other)),
    })
}

fn unknown(name: &str) -> String {
    let nearest = NAMES
        .iter()
        .filter(|known| known.len() > 1)
        .map(|known| (strsim::damerau_levenshtein(name, known), known))
        .min()
        .filter(|(distance, _)| *distance <= name.chars().count() / 3);
    match nearest {
        Some((_, meant)) => format!("there is no command \\{name}; perhaps you meant \\{meant}"),
        None => format!("there is no command \\{name}; \\? shows those that there are"),
    }
}

/// Without the quotes around it, if it has some.
fn unquoted(text: &str) -> &str {
    let within = |quote: char| text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote));
    within('\'').or_else(|| within('"')).unwrap_or(text)
}

fn format_of(name: &str) -> Result<Format, String> {
    Format::from_str(name, true).map_err(|_| {
        let names: Vec<String> = Format::value_variants()
            .iter()
            .filter_map(|known| Some(known.to_possible_value()?.get_name().to_owned()))
            .collect();
        format!("there is no format {name}; there are {}", names.join(", "))
    })
}

fn watch(words: &[&str]) -> Result<Command, String> {
    let wrong = "\\watch takes the seconds between two runs, then perhaps how many";
    let seconds =
        |text: &str| text.parse().ok().filter(|seconds: &f64| (0.0..=86_400.0).contains(seconds)).ok_or(wrong);
    let (every, times) = match words {
        [] => (2.0, None),
        [every] => (seconds(every)?, None),
        [every, times] => (seconds(every)?, Some(times.parse().map_err(|_| wrong)?)),
        _ => return Err(wrong.to_owned()),
    };
    Ok(Command::Go(Go::Watch { every: Duration::from_secs_f64(every), times }))
}

fn set(argument: &str) -> Result<Command, String> {
    if argument.is_empty() {
        return Ok(Command::Set(None));
    }
    let (name, value) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
    if !is_name(name) {
        return Err(format!("{name:?} is no name of a variable: letters, digits and _"));
    }
    Ok(Command::Set(Some((name.to_owned(), unquoted(value.trim()).to_owned()))))
}

/// `TOPIC [GROUP] [FROM] ['format']`
fn consume(argument: &str) -> Result<Command, String> {
    let (argument, format) = match argument.split_once(['\'', '"']) {
        Some((before, format)) => (before, Some(format.trim_end_matches(['\'', '"']).to_owned())),
        None => (argument, None),
    };
    let words: Vec<&str> = argument.split_whitespace().collect();
    let (topic, group, from) = match words.as_slice() {
        [topic] => (topic, None, Start::Latest),
        [topic, group_or_from] => match parse_start(group_or_from) {
            Ok(from) => (topic, None, from),
            Err(_) => (topic, Some((*group_or_from).to_owned()), Start::Latest),
        },
        [topic, group, from] => {
            let from = parse_start(from).map_err(|expected| format!("{from}: {expected}"))?;
            (topic, Some((*group).to_owned()), from)
        }
        _ => {
            return Err(
                "\\consume takes a topic, then perhaps a group, where to start, and a format in quotes".to_owned()
            );
        }
    };
    Ok(Command::Consume { topic: (*topic).to_owned(), group, from, format })
}

/// `TABLE[(columns)] | (query) FROM|TO file [format]`
fn copy(argument: &str) -> Result<Copy, String> {
    let wrong =
        || "\\copy takes TABLE FROM FILE, TABLE TO FILE or (SELECT ...) TO FILE, then perhaps a format".to_owned();
    let (what, rest) = match argument.strip_prefix('(') {
        Some(_) => {
            let end = closing(argument).ok_or_else(wrong)?;
            (argument.get(1..end).unwrap_or_default().trim(), argument.get(end + 1..).unwrap_or_default())
        }
        None => {
            let end = argument.find([' ', '\t', '(']).ok_or_else(wrong)?;
            (argument.get(..end).unwrap_or_default(), argument.get(end..).unwrap_or_default())
        }
    };
    let is_query = argument.starts_with('(');
    let rest = rest.trim_start();
    let (columns, rest) = match rest.strip_prefix('(') {
        Some(inner) if !is_query => {
            let (names, rest) = inner.split_once(')').ok_or_else(wrong)?;
            (Some(names.split(',').map(|name| name.trim().to_owned()).collect()), rest.trim_start())
        }
        Some(_) | None => (None, rest),
    };
    let (direction, rest) = rest.split_once(char::is_whitespace).ok_or_else(wrong)?;
    let is_import = direction.eq_ignore_ascii_case("from");
    if !is_import && !direction.eq_ignore_ascii_case("to") || is_query && is_import || what.is_empty() {
        return Err(wrong());
    }
    let rest = rest.trim();
    let quote = rest.chars().next().filter(|first| matches!(first, '\'' | '"'));
    let (file, format) = match quote.and_then(|quote| rest.get(1..)?.split_once(quote)) {
        Some((file, format)) => (file, format.trim()),
        None => rest.split_once(char::is_whitespace).map_or((rest, ""), |(file, format)| (file, format.trim())),
    };
    if file.is_empty() {
        return Err(wrong());
    }
    let ending = file.rsplit_once('.').map_or("", |(_, ending)| ending);
    let format = if format.is_empty() {
        match ending {
            "tsv" => Format::Tsv,
            "jsonl" | "ndjson" => Format::Jsonl,
            "sql" if !is_import => Format::Insert,
            "md" if !is_import => Format::Markdown,
            "arrow" | "arrows" if !is_import => Format::Arrow,
            _ => Format::Csv,
        }
    } else {
        format_of(format)?
    };
    if is_import && !matches!(format, Format::Csv | Format::Tsv | Format::Jsonl) {
        return Err("\\copy reads csv, tsv and jsonl".to_owned());
    }
    let is_standard = quote.is_none() && matches!(file, "stdin" | "stdout" | "-");
    Ok(Copy { what: what.to_owned(), columns, is_import, file: (!is_standard).then(|| PathBuf::from(file)), format })
}

/// Where the parenthesis that opens a text is closed.
fn closing(text: &str) -> Option<usize> {
    use highwater_sql::outline::{FragmentKind, fragments};
    let mut depth = 0_usize;
    for fragment in fragments(text) {
        match fragment.kind {
            FragmentKind::Opening => depth += 1,
            FragmentKind::Closing => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(fragment.start);
                }
            }
            _ => {}
        }
    }
    None
}

/// A text as an SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The statement behind `\as`.
pub(crate) fn execute_as_sql(user: &str, statement: &str) -> String {
    format!("EXECUTE AS {} ({statement})", literal(user))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn commands_are_understood() {
        assert_eq!(parse("q"), Ok(Command::Quit));
        assert_eq!(parse("q;"), Ok(Command::Quit));
        assert_eq!(parse("d"), Ok(Command::List(Listing::Everything, None)));
        assert_eq!(parse("d app.*"), Ok(Command::List(Listing::Everything, Some("app.*".into()))));
        assert_eq!(parse("d App.T;"), Ok(Command::Describe("App.T".into())));
        assert_eq!(parse("dT app.*"), Ok(Command::List(Listing::Topics, Some("app.*".into()))));
        assert_eq!(
            parse("as 'alice'  SELECT 1 ;"),
            Ok(Command::As { user: "alice".into(), statement: "SELECT 1".into() })
        );
        assert_eq!(parse("x"), Ok(Command::Expanded(None)));
        assert_eq!(parse("x auto"), Ok(Command::Expanded(Some(Expanded::Auto))));
        assert_eq!(parse("format JSONL"), Ok(Command::Format(Some(Format::Jsonl))));
        assert_eq!(parse("o 'a b.txt'"), Ok(Command::Output(Some("a b.txt".into()))));
        assert_eq!(parse("g out.csv"), Ok(Command::Go(Go::Into("out.csv".into()))));
        assert_eq!(parse("set name 'a b'"), Ok(Command::Set(Some(("name".into(), "a b".into())))));
        assert_eq!(parse("! ls -l"), Ok(Command::Shell("ls -l".into())));
        assert_eq!(parse("!ls"), Ok(Command::Shell("ls".into())));
        let explain = |analyze| Ok(Command::Explain { analyze, statement: "SELECT 1".into() });
        assert_eq!(parse("explain SELECT 1;"), explain(false));
        assert_eq!((parse("explain analyze SELECT 1"), parse("profile SELECT 1")), (explain(true), explain(true)));
    }

    #[test]
    fn watching_has_a_pace_and_perhaps_an_end() {
        let watch = |millis, times| Ok(Command::Go(Go::Watch { every: Duration::from_millis(millis), times }));
        assert_eq!(parse("watch"), watch(2000, None));
        assert_eq!(parse("watch 0.5"), watch(500, None));
        assert_eq!(parse("watch 1 3"), watch(1000, Some(3)));
        for wrong in ["watch soon", "watch -1", "watch 1 x", "watch 1 2 3", "watch NaN"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn consuming_takes_a_group_a_start_and_a_format() {
        let consume = |group: Option<&str>, from, format: Option<&str>| {
            Ok(Command::Consume {
                topic: "app.t".into(),
                group: group.map(str::to_owned),
                from,
                format: format.map(str::to_owned),
            })
        };
        assert_eq!(parse("consume app.t"), consume(None, Start::Latest, None));
        assert_eq!(parse("consume app.t earliest"), consume(None, Start::Earliest, None));
        assert_eq!(parse("consume app.t g"), consume(Some("g"), Start::Latest, None));
        assert_eq!(parse("consume app.t g 7 '%o %p\\n'"), consume(Some("g"), Start::Offset(7), Some("%o %p\\n")));
    }

    #[test]
    fn copying_goes_both_ways() {
        let copied = |line: &str| match parse(line) {
            Ok(Command::Copy(copy)) => copy,
            other => panic!("{line}: {other:?}"),
        };
        let import = copied("copy app.t (a, b) FROM 'my rows.tsv'");
        assert_eq!((import.what.as_str(), import.is_import, import.format), ("app.t", true, Format::Tsv));
        assert_eq!(import.columns, Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(import.file, Some(PathBuf::from("my rows.tsv")));
        let export = copied("copy (SELECT ')' FROM t WHERE (a = 1)) to out.jsonl;");
        assert_eq!((export.what.as_str(), export.is_import), ("SELECT ')' FROM t WHERE (a = 1)", false));
        assert_eq!(export.format, Format::Jsonl);
        assert_eq!((copied("copy t TO stdout").file, copied("copy t TO x csv").format), (None, Format::Csv));
        for wrong in [
            "copy",
            "copy t",
            "copy t FROM",
            "copy (SELECT 1) FROM x",
            "copy (SELECT 1 TO x",
            "copy t FROM x json",
            "copy t VIA x",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_command_is_said() {
        for wrong in [
            "nope",
            "q now",
            "as",
            "as alice",
            "d a b",
            "consume",
            "consume t g soon",
            "",
            "x maybe",
            "format xml",
            "!",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse("nope").unwrap_err(), "there is no command \\nope; \\? shows those that there are");
        assert_eq!(parse("timming").unwrap_err(), "there is no command \\timming; perhaps you meant \\timing");
        assert!(parse("format xml").unwrap_err().contains("markdown"));
    }

    #[test]
    fn names_become_literals() {
        assert_eq!(execute_as_sql("o'neil", "SELECT 1"), "EXECUTE AS 'o''neil' (SELECT 1)");
    }

    #[test]
    fn the_help_names_every_command() {
        for name in NAMES {
            assert!(HELP.contains(&format!("\\{name}")), "{name}");
            assert!(!matches!(parse(name), Err(message) if message.starts_with("there is no command") && *name != "!"));
        }
        assert!(NAMES.windows(2).all(|pair| pair[0] < pair[1]), "sorted");
        assert!(HELP.lines().all(|line| line.chars().count() <= 118));
    }
}
