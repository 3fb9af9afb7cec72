//! Bounded queues between cores, and one-shot reply slots.
//!
//! The only things that cross cores. A receiver never waits to send: what it answers goes into a reserved [`ReplySlot`]
//! (glommio defect G11, the mesh deadlock, cannot arise).

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_channel::oneshot;
use futures_lite::future;

/// The other side is gone: its core has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the receiving core has stopped")]
pub struct Closed;

/// Why [`Sender::try_send`] gave the item back.
#[derive(Debug, PartialEq, Eq)]
pub enum Rejected<T> {
    /// The queue holds its capacity.
    Full(T),
    /// The receiver is gone.
    Closed(T),
}

/// The sending half; clones feed the same queue.
#[derive(Debug)]
pub struct Sender<T>(flume::Sender<T>);

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: 'static> Sender<T> {
    /// Queues an item, waiting for room.
    ///
    /// # Errors
    /// [`Closed`] when the receiver is gone.
    pub async fn send(&self, item: T) -> Result<(), Closed> {
        self.0.send_async(item).await.map_err(|_| Closed)?;
        crate::backend::note_message();
        Ok(())
    }

    /// Queues an item if there is room now.
    ///
    /// # Errors
    /// The item and the reason it was not queued.
    pub fn try_send(&self, item: T) -> Result<(), Rejected<T>> {
        match self.0.try_send(item) {
            Ok(()) => {
                crate::backend::note_message();
                Ok(())
            }
            Err(flume::TrySendError::Full(item)) => Err(Rejected::Full(item)),
            Err(flume::TrySendError::Disconnected(item)) => Err(Rejected::Closed(item)),
        }
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct Receiver<T>(flume::Receiver<T>);

impl<T: 'static> Receiver<T> {
    /// The next item in order, waiting for one; `None` once every sender is gone and the queue is empty.
    pub async fn recv(&self) -> Option<T> {
        self.0.recv_async().await.ok()
    }

    /// The next item if there is one now.
    pub fn try_recv(&self) -> Option<T> {
        self.0.try_recv().ok()
    }

    /// Items waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A queue of at most `capacity` items.
#[must_use]
pub fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = flume::bounded(capacity);
    (Sender(sender), Receiver(receiver))
}

/// Where exactly one answer goes; filling it never waits.
#[derive(Debug)]
pub struct ReplySlot<T>(oneshot::Sender<T>);

impl<T> ReplySlot<T> {
    /// Answers; an answer that nobody waits for any more is dropped.
    pub fn fill(self, answer: T) {
        let _ = self.0.send(answer);
    }

    /// Answers with what `work` gives, or gives it up when nobody waits for the answer any more.
    pub async fn fill_with(mut self, work: impl Future<Output = T>) {
        let abandoned = async {
            poll_fn(|context| self.0.poll_canceled(context)).await;
            None
        };
        let answer = future::or(abandoned, async { Some(work.await) }).await;
        if let Some(answer) = answer {
            self.fill(answer);
        }
    }
}

/// The answer to come. Resolves to [`Closed`] when the slot was dropped unfilled.
#[derive(Debug)]
pub struct Reply<T>(oneshot::Receiver<T>);

impl<T> Future for Reply<T> {
    type Output = Result<T, Closed>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|_| Closed)
    }
}

/// A slot and the future of its answer.
#[must_use]
pub fn reply<T>() -> (ReplySlot<T>, Reply<T>) {
    let (slot, answer) = oneshot::channel();
    (ReplySlot(slot), Reply(answer))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn work_for_nobody_is_given_up() {
        let steps = Cell::new(0);
        let work = async {
            loop {
                steps.set(steps.get() + 1);
                future::yield_now().await;
            }
        };
        let (slot, answer) = reply::<()>();
        let left = async {
            while steps.get() < 3 {
                future::yield_now().await;
            }
            drop(answer);
        };
        future::block_on(future::zip(slot.fill_with(work), left));
        assert!(steps.get() >= 3);
    }

    #[test]
    fn work_that_is_waited_for_is_answered() {
        let (slot, answer) = reply();
        let (_, answered) = future::block_on(future::zip(slot.fill_with(async { 7 }), answer));
        assert_eq!(answered, Ok(7));
    }
}
