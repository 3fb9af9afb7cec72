//! What could be meant at a place of a text: a function of the text and of what there is.
//!
//! The grammar says what it would take (words, "a topic name"); inside of queries, which it leaves to another parser, the
//! clause does, and the tables that the statement names.

use highwater_sql::eval::{aggregate_names, function_names};
use highwater_sql::outline::{Fragment, FragmentKind, expected_at_end, fragments};

use crate::command::NAMES;
use crate::help;
use crate::variables::{plain_name, quoted_name};

use super::catalog::{Catalog, Table};

/// Where someone is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) text: &'a str,
    /// The cursor, in bytes.
    pub(super) at: usize,
    /// Where unqualified names are looked up.
    pub(super) namespace: &'a str,
    pub(super) variables: &'a [String],
}

/// One thing that could be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suggested {
    /// What is written.
    pub(super) text: String,
    /// What it is.
    pub(super) detail: String,
    /// Where it begins, in bytes; it ends at the cursor.
    pub(super) start: usize,
    /// A blank follows.
    pub(super) is_word: bool,
}

/// Words that may follow inside of a query, as far as no clause says better.
const CLAUSES: &[&str] = &[
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "CASE",
    "CROSS JOIN",
    "DESC",
    "DISTINCT",
    "ELSE",
    "END",
    "EXISTS",
    "FROM",
    "FULL JOIN",
    "GROUP BY",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER JOIN",
    "IS NOT NULL",
    "IS NULL",
    "JOIN",
    "LEFT JOIN",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "ON CONFLICT",
    "OR",
    "ORDER BY",
    "OVER",
    "PARTITION BY",
    "RETURNING",
    "RIGHT JOIN",
    "SELECT",
    "SET",
    "THEN",
    "UNION",
    "UNION ALL",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
];

/// Types that a value is cast to.
const TYPES: &[&str] = &[
    "BIGINT",
    "BOOLEAN",
    "BYTES",
    "DATE",
    "DECIMAL(",
    "DOUBLE",
    "FLOAT",
    "INT",
    "JSON",
    "SMALLINT",
    "TEXT",
    "TIME",
    "TIMESTAMP",
    "UUID",
    "VARCHAR(",
];

/// Everything that could be meant, the likeliest first.
pub(super) fn suggestions(catalog: &Catalog, place: &Place<'_>) -> Vec<Suggested> {
    let before = place.text.get(..place.at).unwrap_or(place.text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let line = before.get(line_start..).unwrap_or_default();
    let indent = line.len() - line.trim_start().len();
    let found = match line.trim_start().strip_prefix('\\') {
        Some(command) => in_command(catalog, place, command, line_start + indent + 1),
        None => in_statement(catalog, place, before),
    };
    let mut seen = std::collections::BTreeSet::new();
    found.into_iter().filter(|suggested| seen.insert(suggested.text.clone())).collect()
}

fn in_command(catalog: &Catalog, place: &Place<'_>, command: &str, start: usize) -> Vec<Suggested> {
    let Some((name, rest)) = command.split_once(char::is_whitespace) else {
        let names = NAMES.iter().filter(|name| name.starts_with(command));
        return names.map(|name| word((*name).to_owned(), "command", start)).collect();
    };
    let typed = rest.rsplit(char::is_whitespace).next().unwrap_or_default();
    let start = place.at - typed.len();
    let is_first = rest.trim_start() == typed;
    let wanted = typed.to_lowercase();
    let of = |items: Vec<(String, String)>| {
        let fitting = items.into_iter().filter(|(item, _)| item.to_lowercase().starts_with(&wanted));
        fitting.map(|(text, detail)| word(text, &detail, start)).collect()
    };
    let plain =
        |items: &[String], detail: &str| items.iter().map(|item| (item.clone(), detail.to_owned())).collect::<Vec<_>>();
    match name {
        "d" | "dt" | "copy" if is_first => {
            of(catalog.tables.iter().map(|table| (path(table, place), format!("{} table", table.kind))).collect())
        }
        "dT" | "dtopic" | "dgroup" | "consume" if is_first => of(plain(&catalog.topics, "topic")),
        "consume" => of([plain(&catalog.groups, "group"), plain(&["earliest".into(), "latest".into()], "")].concat()),
        "du" | "as" | "password" if is_first => of(plain(&catalog.users, "user")),
        "use" | "dn" if is_first => of(plain(&catalog.namespaces, "namespace")),
        "dset" if is_first => of(plain(&catalog.settings, "setting")),
        "format" => {
            let names = ["arrow", "box", "csv", "insert", "json", "jsonl", "markdown", "table", "tsv", "vertical"];
            of(names.map(|name| (name.to_owned(), String::new())).to_vec())
        }
        "timing" | "pager" => of(plain(&["on".into(), "off".into()], "")),
        "x" => of(plain(&["on".into(), "off".into(), "auto".into()], "")),
        "set" | "unset" if is_first => of(plain(place.variables, "variable")),
        "h" => {
            let whole = rest.trim_start();
            let start = place.at - whole.len();
            let names = help::STATEMENTS.iter().map(|entry| entry.name);
            let fitting = names.filter(|name| name.to_lowercase().starts_with(&whole.to_lowercase()));
            fitting.map(|name| word(in_case_of(name, whole), "statement", start)).collect()
        }
        "explain" | "profile" => in_statement(catalog, &Place { text: rest, at: rest.len(), ..*place }, rest)
            .into_iter()
            .map(|suggested| Suggested { start: suggested.start + place.at - rest.len(), ..suggested })
            .collect(),
        _ => Vec::new(),
    }
}

/// A statement as it stands before the cursor.
struct Typed<'a> {
    text: &'a str,
    /// What is typed of the word, in lower case and without quotes.
    prefix: String,
    raw_prefix: &'a str,
    start: usize,
    /// `a.b.` before the word.
    qualifier: Vec<String>,
    /// Unquoted words and symbols before that, in capitals.
    words: Vec<String>,
}

fn in_statement(catalog: &Catalog, place: &Place<'_>, before: &str) -> Vec<Suggested> {
    let all = fragments(before);
    let begin = all.iter().rposition(|fragment| fragment.kind == FragmentKind::Semicolon).map_or(0, |at| at + 1);
    let own: Vec<Fragment> = all
        .get(begin..)
        .unwrap_or_default()
        .iter()
        .copied()
        .filter(|fragment| fragment.kind != FragmentKind::Comment)
        .collect();
    if all.last().is_some_and(|last| last.kind == FragmentKind::Comment && last.end == before.len()) {
        return Vec::new();
    }
    let Some(typed) = Typed::of(before, &own) else { return Vec::new() };
    let mut found = Found { typed: &typed, place, items: Vec::new() };
    if let Some(marked) = variable(before, &typed) {
        return found.variables(marked);
    }
    let rest = place.text.get(place.at..).unwrap_or_default();
    let statement_end = fragments(rest)
        .iter()
        .find(|fragment| fragment.kind == FragmentKind::Semicolon)
        .map_or(rest.len(), |end| end.start);
    let statement_start = own.first().map_or(before.len(), |first| first.start);
    let whole = format!(
        "{} {}",
        before.get(statement_start..).unwrap_or_default(),
        rest.get(..statement_end).unwrap_or_default()
    );
    let scope = scope(catalog, &whole, place.namespace);

    if let [qualifier] = typed.qualifier.as_slice() {
        for (alias, table) in &scope {
            if alias == qualifier || table.name == *qualifier {
                found.columns(table);
            }
        }
        found.of_namespace(catalog, qualifier);
        return found.items;
    }
    if let [namespace, table] = typed.qualifier.as_slice() {
        if let Some(table) = catalog.tables.iter().find(|known| known.namespace == *namespace && known.name == *table) {
            found.columns(table);
        }
        return found.items;
    }
    if !typed.qualifier.is_empty() {
        return found.items;
    }

    let expected = expected_at_end(before.get(..typed.start).unwrap_or_default());
    let is_named = |phrase: &str| expected.iter().any(|expected| expected.starts_with(phrase));
    let previous = typed.words.last().map_or("", String::as_str);
    let first = typed.words.first().map_or("", String::as_str);
    if previous == "::" {
        for name in TYPES {
            found.push(in_case_of(name, typed.raw_prefix), "type", false);
        }
        return found.items;
    }
    let is_consume = first == "CONSUME";
    let wants_table = is_named("a table name")
        || (!is_consume && matches!(previous, "FROM" | "JOIN" | "INTO" | "UPDATE" | "TABLE" | "TRUNCATE"))
        || (previous == ","
            && typed.words.iter().rev().find(|word| is_clause(word)).is_some_and(|clause| clause == "FROM"));
    let wants_topic = is_named("a topic name") || (is_consume && previous == "FROM");
    if wants_topic {
        found.topics(catalog);
    }
    if wants_table {
        found.tables(catalog);
    }
    if wants_table || wants_topic || is_named("a namespace name") {
        found.namespaces(catalog, is_named("a namespace name"));
    }
    if is_named("a user name") || is_named("a user's name") {
        found.names(&catalog.users, "user");
    }
    if is_named("a setting's name") {
        found.names(&catalog.settings, "setting");
    }
    found.keywords(
        expected.iter().copied().filter(|word| word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_')),
    );
    if names_columns(&typed.words) {
        for (_, table) in &scope {
            found.columns(table);
        }
        // `INSERT INTO t (SELECT ...)` begins alike.
        found.keywords(["SELECT"].into_iter().filter(|_| previous == "("));
        return found.items;
    }
    let is_query = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH", "EXPLAIN", "EXECUTE", "VALUES"].contains(&first)
        || typed.words.iter().any(|word| word == "WHERE" || word == "SELECT");
    if is_query && !wants_table && !wants_topic {
        for (_, table) in &scope {
            found.columns(table);
        }
        for (alias, table) in &scope {
            if *alias != table.name {
                found.push(alias.clone(), &format!("{}.{}", table.namespace, table.name), false);
            }
        }
        if !typed.prefix.is_empty() {
            found.functions();
        }
        found.keywords(CLAUSES.iter().copied());
    }
    found.items
}

fn is_clause(word: &str) -> bool {
    ["SELECT", "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "SET", "VALUES", "ON", "INTO"].contains(&word)
}

/// Whether a column must follow: in the list of an INSERT, and at the beginning of what an UPDATE sets.
fn names_columns(words: &[String]) -> bool {
    let is = |word: &String, wanted: &[&str]| wanted.contains(&word.as_str());
    match (words, words.last()) {
        ([first, ..], Some(last)) if first == "UPDATE" => last == "SET",
        ([first, into, rest @ ..], Some(last)) if first == "INSERT" && into == "INTO" => {
            let mut open = rest.iter().skip_while(|word| *word != "(").skip(1);
            is(last, &["(", ","]) && rest.contains(&"(".to_owned()) && !open.any(|word| is(word, &["(", ")", "SELECT"]))
        }
        _ => false,
    }
}

impl<'a> Typed<'a> {
    /// `None` inside of a text or a comment.
    fn of(text: &'a str, fragments: &[Fragment]) -> Option<Self> {
        let source = |fragment: &Fragment| text.get(fragment.start..fragment.end).unwrap_or_default();
        let mut own: Vec<&Fragment> = fragments.iter().collect();
        let (mut prefix, mut raw_prefix, mut start) = (String::new(), "", text.len());
        if let Some(last) = own.last().copied() {
            let is_word = matches!(last.kind, FragmentKind::Keyword | FragmentKind::Name | FragmentKind::QuotedName);
            let is_open_name = last.kind == FragmentKind::Unclosed && source(last).starts_with('"');
            match last.kind {
                FragmentKind::Unclosed if !is_open_name => return None,
                FragmentKind::Text | FragmentKind::Number | FragmentKind::Parameter if last.end == text.len() => {
                    return None;
                }
                _ => {}
            }
            if (is_word && last.end == text.len()) || is_open_name {
                raw_prefix = source(last);
                prefix = raw_prefix.trim_matches('"').to_lowercase();
                start = last.start;
                own.pop();
            }
        }
        let mut qualifier = Vec::new();
        while let [.., name, dot] = own.as_slice() {
            let is_adjacent = source(dot) == "." && dot.end == start && name.end == dot.start;
            if !is_adjacent
                || !matches!(name.kind, FragmentKind::Keyword | FragmentKind::Name | FragmentKind::QuotedName)
            {
                break;
            }
            qualifier.insert(0, plain_name(source(name)));
            start = name.start;
            own.truncate(own.len() - 2);
        }
        let start = text.len() - raw_prefix.len();
        let words = own.iter().map(|fragment| source(fragment).to_uppercase()).collect();
        Some(Self { text, prefix, raw_prefix, start, qualifier, words })
    }
}

/// Where a variable begins, if one is typed: behind a lone colon.
fn variable(before: &str, typed: &Typed<'_>) -> Option<usize> {
    let start = before.len() - typed.raw_prefix.len();
    let colon = before.get(..start)?.strip_suffix(':')?;
    (!colon.ends_with(|last: char| last == ':' || last.is_alphanumeric() || last == ']')).then_some(start)
}

/// The tables that a statement names, with the names that it gives them.
fn scope<'c>(catalog: &'c Catalog, statement: &str, namespace: &str) -> Vec<(String, &'c Table)> {
    let own: Vec<Fragment> =
        fragments(statement).into_iter().filter(|fragment| fragment.kind != FragmentKind::Comment).collect();
    let source =
        |at: usize| own.get(at).and_then(|fragment| statement.get(fragment.start..fragment.end)).unwrap_or_default();
    let is_name = |at: usize| {
        own.get(at).is_some_and(|fragment| matches!(fragment.kind, FragmentKind::Name | FragmentKind::QuotedName))
    };
    let mut tables = Vec::new();
    let mut is_from = false;
    let mut at = 0;
    while at < own.len() {
        let word = source(at).to_uppercase();
        let names_table = matches!(word.as_str(), "FROM" | "JOIN" | "INTO" | "UPDATE") || (word == "," && is_from);
        if is_clause(&word) || word == "JOIN" {
            is_from = word == "FROM";
        }
        at += 1;
        if !names_table || own.get(at).is_none_or(|next| matches!(next.kind, FragmentKind::Opening)) {
            continue;
        }
        let mut path = vec![plain_name(source(at))];
        at += 1;
        while source(at) == "." {
            path.push(plain_name(source(at + 1)));
            at += 2;
        }
        let (within, name) = match path.as_slice() {
            [within, name] => (within.as_str(), name),
            [name] => (namespace, name),
            _ => continue,
        };
        let Some(table) = catalog.tables.iter().find(|table| table.namespace == within && table.name == *name) else {
            continue;
        };
        if source(at).eq_ignore_ascii_case("AS") {
            at += 1;
        }
        let alias = if is_name(at) { plain_name(source(at)) } else { table.name.clone() };
        tables.push((alias, table));
    }
    tables
}

/// A table's name, with its namespace unless that is the one in use.
fn path(table: &Table, place: &Place<'_>) -> String {
    if table.namespace == place.namespace {
        written(&table.name)
    } else {
        format!("{}.{}", written(&table.namespace), written(&table.name))
    }
}

/// A name as it is written: quoted where it must be.
fn written(name: &str) -> String {
    let is_plain = name.starts_with(|first: char| first.is_lowercase() || first == '_')
        && name.chars().all(|character| character.is_lowercase() || character.is_ascii_digit() || character == '_');
    if is_plain { name.to_owned() } else { quoted_name(name) }
}

/// A keyword in the case in which it is typed.
fn in_case_of(word: &str, typed: &str) -> String {
    let is_lower = typed.chars().next().is_some_and(char::is_lowercase);
    if is_lower { word.to_lowercase() } else { word.to_owned() }
}

fn word(text: String, detail: &str, start: usize) -> Suggested {
    Suggested { text, detail: detail.to_owned(), start, is_word: true }
}

/// What was found so far.
struct Found<'a> {
    typed: &'a Typed<'a>,
    place: &'a Place<'a>,
    items: Vec<Suggested>,
}

impl Found<'_> {
    fn push(&mut self, text: String, detail: &str, is_word: bool) {
        if text.trim_start_matches('"').to_lowercase().starts_with(&self.typed.prefix) {
            self.items.push(Suggested { text, detail: detail.to_owned(), start: self.typed.start, is_word });
        }
    }

    fn columns(&mut self, table: &Table) {
        for (name, data_type) in &table.columns {
            self.push(written(name), &format!("{data_type}, {}.{}", table.namespace, table.name), false);
        }
    }

    fn tables(&mut self, catalog: &Catalog) {
        for own in [true, false] {
            for table in catalog.tables.iter().filter(|table| (table.namespace == self.place.namespace) == own) {
                let is_system = table.kind == "system";
                // System tables come up once their namespace is typed.
                if !is_system || !self.typed.prefix.is_empty() {
                    let bare = table.name.to_lowercase().starts_with(&self.typed.prefix) && !is_system;
                    let text = path(table, self.place);
                    if bare && !text.to_lowercase().starts_with(&self.typed.prefix) {
                        let detail = format!("{} table", table.kind);
                        self.items.push(Suggested { text, detail, start: self.typed.start, is_word: true });
                    } else {
                        self.push(text, &format!("{} table", table.kind), true);
                    }
                }
            }
        }
    }

    fn topics(&mut self, catalog: &Catalog) {
        for topic in &catalog.topics {
            self.push(topic.clone(), "topic", true);
        }
    }

    fn namespaces(&mut self, catalog: &Catalog, is_whole: bool) {
        for namespace in catalog.namespaces.iter().map(String::as_str).chain((!is_whole).then_some("system")) {
            self.push(
                if is_whole { written(namespace) } else { format!("{}.", written(namespace)) },
                "namespace",
                is_whole,
            );
        }
    }

    fn of_namespace(&mut self, catalog: &Catalog, namespace: &str) {
        let is_topic =
            self.typed.words.first().is_some_and(|first| ["CONSUME", "ACK", "CLEAR"].contains(&first.as_str()))
                || self.typed.words.last().is_some_and(|last| last == "TOPIC");
        if !is_topic {
            for table in catalog.tables.iter().filter(|table| table.namespace == namespace) {
                self.push(written(&table.name), &format!("{} table", table.kind), true);
            }
        }
        for topic in &catalog.topics {
            if let Some((_, name)) = topic.split_once('.').filter(|(within, _)| is_topic && *within == namespace) {
                self.push(written(name), "topic", true);
            }
        }
    }

    fn names(&mut self, names: &[String], detail: &str) {
        for name in names {
            self.push(written(name), detail, true);
        }
    }

    fn functions(&mut self) {
        for name in function_names() {
            self.push(format!("{name}("), "function", false);
        }
        for name in aggregate_names() {
            self.push(format!("{name}("), "aggregate", false);
        }
    }

    fn keywords<'k>(&mut self, keywords: impl Iterator<Item = &'k str>) {
        for keyword in keywords {
            self.push(in_case_of(keyword, self.typed.raw_prefix), "", true);
        }
    }

    fn variables(mut self, start: usize) -> Vec<Suggested> {
        let typed = self.typed.text.get(start..).unwrap_or_default();
        for name in self.place.variables.iter().filter(|name| name.starts_with(typed)) {
            self.items.push(Suggested { text: name.clone(), detail: "variable".to_owned(), start, is_word: true });
        }
        self.items
    }
}

#[cfg(test)]
mod tests;
