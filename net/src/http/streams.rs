//! The requests of one HTTP/2 connection that are at work: they run within its own task, and end with it.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::stream::{FuturesUnordered, StreamExt as _};

type Stream = Pin<Box<dyn Future<Output = ()>>>;

/// Where hyper puts the work of each stream. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Streams {
    /// Those that were not polled yet.
    begun: Rc<RefCell<Vec<Stream>>>,
}

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.begun.borrow_mut().push(Box::pin(stream));
    }
}

/// Moves a connection's streams on.
#[derive(Default)]
pub(crate) struct Moving(FuturesUnordered<Stream>);

impl Moving {
    /// Polls those that have begun or been woken.
    pub(crate) fn poll(&mut self, streams: &Streams, context: &mut Context<'_>) {
        self.0.extend(streams.begun.borrow_mut().drain(..));
        while let Poll::Ready(Some(())) = self.0.poll_next_unpin(context) {}
    }
}

impl Streams {
    /// Whether some wait for their first poll.
    pub(crate) fn has_begun(&self) -> bool {
        !self.begun.borrow().is_empty()
    }
}
