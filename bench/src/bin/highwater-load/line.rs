//! A connection of a lane, to either kind of server.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crate::client::Nodes;
use crate::postgres::PostgresWire;
use crate::wire::{Reply, Wire};

/// A connection.
#[derive(Debug)]
pub(crate) enum Line {
    Highwater(Wire),
    Postgres(Box<PostgresWire>),
}

impl Line {
    /// Begins to connect to a node.
    pub(crate) fn connect(nodes: &Nodes, at: usize) -> io::Result<Self> {
        let address = nodes.address(at)?;
        Ok(match nodes.postgres() {
            Some(postgres) => Self::Postgres(Box::new(PostgresWire::connect(address, postgres)?)),
            None => Self::Highwater(Wire::connect(address)?),
        })
    }

    /// Whether it is not known yet to be connected.
    pub(crate) fn is_connecting(&self) -> bool {
        match self {
            Self::Highwater(wire) => wire.is_connecting(),
            Self::Postgres(wire) => wire.is_connecting(),
        }
    }

    /// Begins a request. The answer to the one before must have come.
    pub(crate) fn send(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        match self {
            Self::Highwater(wire) => wire.send(head, body),
            Self::Postgres(wire) => wire.send(body),
        }
    }

    /// Goes on as far as the socket lets it: the answer, once all of it is there.
    ///
    /// # Errors
    /// The connection is of no use any more.
    pub(crate) fn advance(&mut self) -> io::Result<Option<Reply>> {
        match self {
            Self::Highwater(wire) => wire.advance(),
            Self::Postgres(wire) => wire.advance(),
        }
    }

    /// The body of the last answer.
    pub(crate) fn body(&self, reply: &Reply) -> &[u8] {
        match self {
            Self::Highwater(wire) => wire.body(reply),
            Self::Postgres(wire) => wire.body(reply),
        }
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Highwater(wire) => wire.as_fd(),
            Self::Postgres(wire) => wire.as_fd(),
        }
    }
}
