//! One incoming link at work: reads frames, hands them to the handler, writes answers.
//!
//! Back-pressure: while the handler takes messages nothing is read, nor while more answers wait than calls are allowed. The sender's
//! stream fills, and its own bounded queue says so there.

use std::cell::RefCell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite, future};
use highwater_runtime::{Env, Monotonic};

use super::answers::Answers;
use super::call::{Answer, Refusal, RefusalCode, Request};
use super::chunk::SnapshotChunk;
use super::error::RpcError;
use super::fields::Malformed;
use super::frame::FrameKind;
use super::framed::{FrameReader, FrameWriter};
use super::greeting::{Greeted, malformed};
use super::handler::{Handler, IncomingCall};
use super::handshake::Link;
use super::ids::CallId;
use super::limits::MAX_CALL_MICROS;
use super::listener::Listening;
use super::message_codec::decode_messages;
use super::ping::{Ping, Pong};
use super::signal::{Signal, Stop};

/// What reader, writer and calls of one link share.
pub(crate) struct Serving<E, H> {
    env: E,
    listening: Rc<Listening>,
    handler: Rc<H>,
    link: Link,
    stop: Rc<Stop>,
    answers: RefCell<Answers>,
    /// There is something to write.
    due: Signal,
    /// Something was written.
    room: Signal,
}

enum Asked {
    Call(IncomingCall),
    Chunk(SnapshotChunk),
}

impl<E: Env, H: Handler> Serving<E, H> {
    pub(crate) fn new(env: &E, listening: Rc<Listening>, handler: Rc<H>, link: Link, stop: Rc<Stop>) -> Rc<Self> {
        let answers = RefCell::new(Answers::new(listening.config.limits, link.frame_bytes));
        let (due, room) = (Signal::default(), Signal::default());
        Rc::new(Self { env: env.clone(), listening, handler, link, stop, answers, due, room })
    }

    /// Serves until the link ends, and says why it did.
    pub(crate) async fn run(self: Rc<Self>, greeted: Greeted<E>) -> RpcError {
        let Greeted { mut reader, mut writer, .. } = greeted;
        let stopped = async {
            self.stop.stopped().await;
            Err(RpcError::Ended)
        };
        let talking = future::or(self.read(&mut reader), self.write(&mut writer));
        let end: Result<Infallible, RpcError> = future::or(stopped, talking).await;
        let answers = self.answers.borrow();
        self.listening.count(|counters| {
            counters.calls_busy = counters.calls_busy.saturating_add(answers.busy);
            counters.answers_lost = counters.answers_lost.saturating_add(answers.lost);
        });
        match end {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn read<R: AsyncRead + Unpin>(
        self: &Rc<Self>,
        reader: &mut FrameReader<R, E>,
    ) -> Result<Infallible, RpcError> {
        loop {
            while self.answers.borrow().is_full() {
                self.room.raised().await;
            }
            let was = reader.bytes;
            let (kind, payload) = reader.next().await?;
            self.listening.count(|counters| {
                counters.frames_received = counters.frames_received.saturating_add(1);
                counters.bytes_received = counters.bytes_received.saturating_add(reader.bytes.saturating_sub(was));
            });
            self.take(kind, payload).await?;
            // A sender that is never slow must not keep the core.
            self.env.yield_if_needed().await;
        }
    }

    async fn take(self: &Rc<Self>, kind: FrameKind, payload: Bytes) -> Result<(), RpcError> {
        match kind {
            FrameKind::Ping => {
                let ping = Ping::decode(&payload).map_err(malformed(kind))?;
                if ping.incarnation != self.link.incarnation {
                    return Err(malformed(kind)(Malformed::Value("incarnation")));
                }
                let incarnation = self.listening.config.local.incarnation;
                let pong = Pong { number: ping.number, incarnation, wall_micros: self.env.wall().0 };
                self.answers.borrow_mut().pong(pong);
                self.due.raise();
                self.handler.pinged(&self.link, &ping);
            }
            FrameKind::Messages => {
                let messages = decode_messages(&payload).map_err(malformed(kind))?;
                drop(payload);
                let count = messages.len() as u64;
                self.listening.count(|counters| {
                    counters.messages_received = counters.messages_received.saturating_add(count);
                });
                self.handler.messages(&self.link, messages).await;
            }
            FrameKind::Request => {
                let bytes = payload.len();
                let request = Request::decode(&payload).map_err(malformed(kind))?;
                let deadline = self.deadline(request.timeout_micros);
                let call = IncomingCall { kind: request.kind, deadline, payload: request.payload };
                self.begin(request.id, bytes, deadline, Asked::Call(call));
            }
            FrameKind::Chunk => {
                let bytes = payload.len();
                let (id, timeout_micros, chunk) = SnapshotChunk::decode(&payload).map_err(malformed(kind))?;
                self.begin(id, bytes, self.deadline(timeout_micros), Asked::Chunk(chunk));
            }
            FrameKind::Hello
            | FrameKind::Challenge
            | FrameKind::Proof
            | FrameKind::Accepted
            | FrameKind::Refused
            | FrameKind::Pong
            | FrameKind::Response => return Err(RpcError::Unexpected(kind)),
        }
        Ok(())
    }

    fn deadline(&self, timeout_micros: u64) -> Monotonic {
        self.env.now().after_micros(timeout_micros.min(MAX_CALL_MICROS))
    }

    fn begin(self: &Rc<Self>, id: CallId, bytes: usize, deadline: Monotonic, asked: Asked) {
        self.listening.count(|counters| counters.calls = counters.calls.saturating_add(1));
        if !self.answers.borrow_mut().begin(id, bytes) {
            self.due.raise();
            return;
        }
        let serving = Rc::clone(self);
        self.env.spawn("rpc call", async move {
            let answer = serving.work(deadline, asked).await;
            serving.answers.borrow_mut().finish(id, bytes, answer);
            serving.due.raise();
        });
    }

    async fn work(&self, deadline: Monotonic, asked: Asked) -> Answer {
        if deadline <= self.env.now() {
            return Err(Refusal::new(RefusalCode::EXPIRED, "the caller's time was over before the call was begun"));
        }
        let ended = async {
            future::or(self.stop.stopped(), self.env.sleep_until(deadline)).await;
            Err(Refusal::new(RefusalCode::ANSWER_LOST, "the caller's time was over before the call was answered"))
        };
        match asked {
            Asked::Call(call) => future::or(self.handler.call(&self.link, call), ended).await,
            Asked::Chunk(chunk) => future::or(self.handler.chunk(&self.link, chunk), ended).await,
        }
    }

    async fn write<W: AsyncWrite + Unpin>(&self, writer: &mut FrameWriter<W, E>) -> Result<Infallible, RpcError> {
        loop {
            self.answers.borrow_mut().fill(writer.frames());
            let bytes = writer.frames().len() as u64;
            if bytes == 0 {
                self.due.raised().await;
                continue;
            }
            writer.flush().await?;
            self.room.raise();
            self.listening.count(|counters| counters.bytes_sent = counters.bytes_sent.saturating_add(bytes));
        }
    }
}
