//! CLUSTER: what is seen of the nodes and groups, and what moves them.

use nom::Parser;
use nom::branch::alt;
use nom::combinator::opt;
use nom::sequence::preceded;

use super::input::{Parsed, Tokens};
use super::not_supported;
use super::terminal::{integer, word, words};
use crate::diag::Span;
use crate::statement::{Cluster, Show, Stmt};

/// `[GROUP] g TO [NODE] n`
fn group_to_node(input: Tokens<'_>) -> Parsed<'_, ((u64, Span), (u64, Span))> {
    let group = preceded(opt(word("GROUP")), integer("a group's number"));
    (group, preceded(word("TO"), node)).parse(input)
}

/// `[NODE] n`
fn node(input: Tokens<'_>) -> Parsed<'_, (u64, Span)> {
    preceded(opt(word("NODE")), integer("a node's id")).parse(input)
}

/// `LIST [GROUPS] | TRANSFER LEADER g TO n | MOVE SHARD g TO n | JOIN n | LEAVE n | REBALANCE`
pub(super) fn cluster(input: Tokens<'_>) -> Parsed<'_, Stmt> {
    if input.at_words(&["SNAPSHOT"]) {
        return not_supported("CLUSTER SNAPSHOT", input.skip(1).so_far());
    }
    let list = preceded(word("LIST"), opt(word("GROUPS")));
    let list = list.map(|groups| Stmt::Show(if groups.is_some() { Show::Groups } else { Show::Nodes }));
    let transfer = preceded(words(&["TRANSFER", "LEADER"]), group_to_node);
    let transfer = transfer.map(|(group, node)| Stmt::Cluster(Cluster::TransferLeader { group, node }));
    let shard = preceded(words(&["MOVE", "SHARD"]), group_to_node);
    let shard = shard.map(|(group, node)| Stmt::Cluster(Cluster::MoveShard { group, node }));
    let join = preceded(word("JOIN"), node).map(|node| Stmt::Cluster(Cluster::Join { node }));
    let leave = preceded(word("LEAVE"), node).map(|node| Stmt::Cluster(Cluster::Leave { node }));
    let rebalance = word("REBALANCE").map(|_| Stmt::Cluster(Cluster::Rebalance));
    alt((list, transfer, shard, join, leave, rebalance)).parse(input)
}
