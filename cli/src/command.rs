//! Commands that start with a backslash.

use crate::args::{Start, parse_start};

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    /// `\q`
    Quit,
    /// `\?`
    Help,
    /// `\dt`, `\d`
    Tables,
    /// `\d table`
    Describe {
        /// Namespace, if it was named.
        namespace: Option<String>,
        /// Table.
        table: String,
    },
    /// `\as USER statement`
    As {
        /// Who.
        user: String,
        /// What, without a `;`.
        statement: String,
    },
    /// `\consume TOPIC [GROUP] [FROM]`
    Consume {
        /// Topic.
        topic: String,
        /// Group.
        group: Option<String>,
        /// Where to start.
        from: Start,
    },
    /// `\timing`
    Timing,
    /// `\x`
    Expanded,
}

/// What `\?` prints.
pub(crate) const HELP: &str = "\
Statements end with ; and may span lines. Commands start with \\ and are one line.
  \\d                             tables
  \\d TABLE                       columns of a table
  \\dt                            tables
  \\as USER STATEMENT             run a statement as another user (EXECUTE AS)
  \\consume TOPIC [GROUP] [FROM]  print messages until Ctrl-C; FROM is earliest, latest or an offset
  \\timing                        show how long statements take, or no longer
  \\x                             show rows as lists of columns, or no longer
  \\?                             this text
  \\q                             leave (also Ctrl-D)";

/// A command from its line, without the backslash.
pub(crate) fn parse(line: &str) -> Result<Command, String> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let words: Vec<&str> = rest.trim_end_matches(';').split_whitespace().collect();
    let alone =
        |command: Command| if words.is_empty() { Ok(command) } else { Err(format!("\\{name} takes no argument")) };
    match name.trim_end_matches(';') {
        "q" | "quit" => alone(Command::Quit),
        "?" | "h" | "help" => alone(Command::Help),
        "dt" => alone(Command::Tables),
        "d" => match words.as_slice() {
            [] => Ok(Command::Tables),
            [table] => Ok(table_name(table)),
            _ => Err("\\d takes one table".to_owned()),
        },
        "as" => {
            let (user, statement) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            let statement = statement.trim().trim_end_matches(';').trim();
            if user.is_empty() || statement.is_empty() {
                return Err("\\as takes a user and a statement: \\as alice SELECT * FROM app.notes".to_owned());
            }
            Ok(Command::As { user: user.trim_matches('\'').to_owned(), statement: statement.to_owned() })
        }
        "consume" => match words.as_slice() {
            [topic] => Ok(Command::Consume { topic: (*topic).to_owned(), group: None, from: Start::Latest }),
            [topic, group_or_from] => Ok(match parse_start(group_or_from) {
                Ok(from) => Command::Consume { topic: (*topic).to_owned(), group: None, from },
                Err(_) => Command::Consume {
                    topic: (*topic).to_owned(),
                    group: Some((*group_or_from).to_owned()),
                    from: Start::Latest,
                },
            }),
            [topic, group, from] => {
                let from = parse_start(from).map_err(|expected| format!("{from}: {expected}"))?;
                Ok(Command::Consume { topic: (*topic).to_owned(), group: Some((*group).to_owned()), from })
            }
            _ => Err("\\consume takes a topic, then perhaps a group, then perhaps where to start".to_owned()),
        },
        "timing" => alone(Command::Timing),
        "x" => alone(Command::Expanded),
        other => Err(format!("there is no command \\{other}; \\? shows those that there are")),
    }
}

/// `namespace.table` or `table`; folded to lower case unless quoted, as the server does.
fn table_name(name: &str) -> Command {
    let fold = |part: &str| match part.strip_prefix('"').and_then(|part| part.strip_suffix('"')) {
        Some(quoted) => quoted.replace("\"\"", "\""),
        None => part.to_lowercase(),
    };
    match name.split_once('.') {
        Some((namespace, table)) => Command::Describe { namespace: Some(fold(namespace)), table: fold(table) },
        None => Command::Describe { namespace: None, table: fold(name) },
    }
}

/// A text as an SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The statement behind `\dt`.
pub(crate) const TABLES_SQL: &str =
    "SELECT namespace_id, table_name, table_type FROM system.tables ORDER BY namespace_id, table_name";

/// The statement behind `\d table`.
pub(crate) fn describe_sql(namespace: Option<&str>, table: &str) -> String {
    let columns = "column_name, data_type, nullable, primary_key, default_value";
    match namespace {
        Some(namespace) => format!(
            "SELECT {columns} FROM system.columns WHERE namespace_id = {} AND table_name = {} ORDER BY ordinal",
            literal(namespace),
            literal(table)
        ),
        None => format!(
            "SELECT namespace_id, {columns} FROM system.columns WHERE table_name = {} ORDER BY namespace_id, ordinal",
            literal(table)
        ),
    }
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
        let describe = |namespace: Option<&str>, table: &str| {
            Ok(Command::Describe { namespace: namespace.map(str::to_owned), table: table.to_owned() })
        };
        assert_eq!(parse("q"), Ok(Command::Quit));
        assert_eq!(parse("q;"), Ok(Command::Quit));
        assert_eq!(parse("d"), Ok(Command::Tables));
        assert_eq!(parse("d App.T;"), describe(Some("app"), "t"));
        assert_eq!(parse("d \"T\""), describe(None, "T"));
        assert_eq!(
            parse("as 'alice'  SELECT 1 ;"),
            Ok(Command::As { user: "alice".into(), statement: "SELECT 1".into() })
        );
        let consume = |group: Option<&str>, from| {
            Ok(Command::Consume { topic: "app.t".into(), group: group.map(str::to_owned), from })
        };
        assert_eq!(parse("consume app.t"), consume(None, Start::Latest));
        assert_eq!(parse("consume app.t earliest"), consume(None, Start::Earliest));
        assert_eq!(parse("consume app.t g"), consume(Some("g"), Start::Latest));
        assert_eq!(parse("consume app.t g 7"), consume(Some("g"), Start::Offset(7)));
    }

    #[test]
    fn what_is_wrong_with_a_command_is_said() {
        for wrong in ["nope", "q now", "as", "as alice", "d a b", "consume", "consume t g soon", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(parse("nope").unwrap_err(), "there is no command \\nope; \\? shows those that there are");
    }

    #[test]
    fn names_become_literals() {
        assert_eq!(execute_as_sql("o'neil", "SELECT 1"), "EXECUTE AS 'o''neil' (SELECT 1)");
        assert!(describe_sql(Some("a'b"), "t").contains("namespace_id = 'a''b' AND table_name = 't'"));
    }

    #[test]
    fn the_help_names_every_command() {
        for command in ["\\d ", "\\dt", "\\as", "\\consume", "\\timing", "\\x", "\\?", "\\q"] {
            assert!(HELP.contains(command), "{command}");
        }
    }
}
