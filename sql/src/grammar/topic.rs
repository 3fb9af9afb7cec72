//! Topics: CREATE, ALTER, CLEAR and DROP TOPIC, CONSUME and ACK.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::opt;
use nom::sequence::preceded;

use super::input::{Parsed, Tokens, refuse};
use super::terminal::{
    expression, if_exists, if_not_exists, integer, number_or_parameter, object, stop, text_or_name, twice,
    with_options, word, words,
};
use crate::catalog::Operation;
use crate::diag::{Diag, Span, SqlState};
use crate::limits;
use crate::statement::{AddSource, Consume, Fragment, Name, ObjectName, Start, Stmt, WithOption};

/// `TOPIC [IF NOT EXISTS] name [PARTITIONS n] [WITH (...)]`
pub(super) fn create(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let partitions = opt(preceded(word("PARTITIONS"), integer("a number of partitions")));
    let (rest, (_, if_not_exists, name, partitions, options)) =
        (word("TOPIC"), if_not_exists, object("a topic name"), partitions, with_options).parse(input)?;
    Ok((rest, Stmt::CreateTopic { name, if_not_exists, partitions, options }))
}

/// `TOPIC [IF EXISTS] name`
pub(super) fn drop(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (_, if_exists, name)) = (word("TOPIC"), if_exists, object("a topic name")).parse(input)?;
    Ok((rest, Stmt::DropTopic { name, if_exists }))
}

/// `TOPIC name`
pub(super) fn clear(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (_, name)) = (word("TOPIC"), object("a topic name")).parse(input)?;
    Ok((rest, Stmt::ClearTopic { name }))
}

/// `TOPIC name ADD SOURCE ...` or `TOPIC name DROP SOURCE ...`
pub(super) fn alter(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (_, topic)) = (word("TOPIC"), object("a topic name")).parse(input)?;
    if rest.at_words(&["SET"]) || rest.at_words(&["RENAME"]) {
        return super::not_supported("this form of ALTER TOPIC", rest.here());
    }
    let add = |input| add_source(input, &topic);
    let remove = |input| drop_source(input, &topic);
    alt((add, remove)).parse(rest)
}

fn operation(input: Tokens<'_>) -> Parsed<'_, Operation> {
    alt((
        word("INSERT").map(|_| Operation::Insert),
        word("UPDATE").map(|_| Operation::Update),
        word("DELETE").map(|_| Operation::Delete),
    ))
    .parse(input)
}

fn add_source<'a>(input: Tokens<'a>, topic: &ObjectName) -> Parsed<'a, Stmt> {
    let (rest, (_, table, _, operation)) =
        (words(&["ADD", "SOURCE"]), object("a table name"), word("ON"), operation).parse(input)?;
    if rest.at_words(&["OR"]) || rest.peek(0) == Some(&sqlparser::tokenizer::Token::Comma) {
        return refuse(
            Diag::not_supported("several operations in one ADD SOURCE")
                .hint("Give one ALTER TOPIC ... ADD SOURCE per operation.")
                .at(rest.here()),
        );
    }
    let (rest, filter) = opt(preceded(word("WHERE"), expression)).parse(rest)?;
    let (rest, partition_by) = opt(preceded(words(&["PARTITION", "BY"]), expression)).parse(rest)?;
    let (rest, options) = with_options(rest)?;
    let source = AddSource { topic: topic.clone(), table, operation, filter, partition_by, options };
    Ok((rest, Stmt::AddSource(Box::new(source))))
}

fn drop_source<'a>(input: Tokens<'a>, topic: &ObjectName) -> Parsed<'a, Stmt> {
    let (rest, (_, table, operation)) =
        (words(&["DROP", "SOURCE"]), object("a table name"), opt(preceded(word("ON"), operation))).parse(input)?;
    Ok((rest, Stmt::DropSource { topic: topic.clone(), table, operation }))
}

fn group(input: Tokens<'_>) -> Parsed<'_, Name> {
    let (rest, name) = preceded(word("GROUP"), text_or_name("a group name")).parse(input)?;
    if name.value.is_empty() || name.value.len() > limits::MAX_GROUP_NAME_BYTES {
        return refuse(
            Diag::new(SqlState::INVALID_NAME, format!("a group name has 1 to {} bytes", limits::MAX_GROUP_NAME_BYTES))
                .at(name.span),
        );
    }
    Ok((rest, name))
}

fn partition(input: Tokens<'_>) -> Parsed<'_, (u64, Span)> {
    preceded(word("PARTITION"), integer("a partition number")).parse(input)
}

fn start(input: Tokens<'_>) -> Parsed<'_, Start> {
    preceded(
        word("FROM"),
        alt((
            word("LATEST").map(|_| Start::Latest),
            word("EARLIEST").map(|_| Start::Earliest),
            integer("an offset").map(|(offset, _)| Start::Offset(offset)),
        )),
    )
    .parse(input)
}

enum Clause {
    Partition((u64, Span)),
    Group(Name),
    From(Start),
    Limit(Fragment),
    With(Vec<WithOption>),
}

fn clause(input: Tokens<'_>) -> Parsed<'_, Clause> {
    alt((
        partition.map(Clause::Partition),
        group.map(Clause::Group),
        start.map(Clause::From),
        preceded(word("LIMIT"), number_or_parameter("a number or a parameter")).map(Clause::Limit),
        given_options.map(Clause::With),
    ))
    .parse(input)
}

fn given_options(input: Tokens<'_>) -> Parsed<'_, Vec<WithOption>> {
    match with_options(input)? {
        (_, options) if options.is_empty() => input.mismatch("WITH"),
        given => Ok(given),
    }
}

/// `FROM topic`, then PARTITION, GROUP, FROM, LIMIT and WITH, each at most once, in any order
pub(super) fn consume(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (mut rest, (_, topic)) = (word("FROM"), object("a topic name")).parse(input)?;
    let mut consume = Consume { topic, partition: None, group: None, start: None, limit: None, options: Vec::new() };
    while !rest.is_empty() {
        let before = rest;
        let given;
        (rest, given) =
            clause(rest).or_else(|error| if matches!(&error, nom::Err::Error(_)) { stop() } else { Err(error) })?;
        let (clause, repeated) = match given {
            Clause::Partition(partition) => ("PARTITION", consume.partition.replace(partition).is_some()),
            Clause::Group(group) => ("GROUP", consume.group.replace(group).is_some()),
            Clause::From(start) => ("FROM", consume.start.replace(start).is_some()),
            Clause::Limit(limit) => ("LIMIT", consume.limit.replace(limit).is_some()),
            Clause::With(options) => ("WITH", !std::mem::replace(&mut consume.options, options).is_empty()),
        };
        if repeated {
            return twice(clause, before.here());
        }
    }
    Ok((rest, Stmt::Consume(Box::new(consume))))
}

/// `topic GROUP 'g' [PARTITION p] UPTO OFFSET n`
pub(super) fn ack(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    let (rest, (topic, group, partition, _, upto)) = (
        object("a topic name"),
        group,
        opt(partition),
        words(&["UPTO", "OFFSET"]),
        number_or_parameter("an offset or a parameter"),
    )
        .parse(input)?;
    Ok((rest, Stmt::Ack { topic, group, partition, upto }))
}
