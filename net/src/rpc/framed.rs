//! Frames over a stream, with deadlines. What is read of a frame before all of it has come grows with what came, not with what
//! was announced.

use bytes::{Bytes, BytesMut};
use futures_lite::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, future};
use highwater_runtime::{Env, Monotonic};

use super::error::RpcError;
use super::frame::{self, Expected, FrameKind, HEADER_BYTES};
use super::limits::{Limits, MAX_HANDSHAKE_BYTES};

/// Bytes that one read asks for.
const READ_BYTES: usize = 16 << 10;

/// Waits for `work` until `at`.
pub(crate) async fn within<E: Env, T>(
    env: &E,
    at: Monotonic,
    what: &'static str,
    work: impl Future<Output = Result<T, RpcError>>,
) -> Result<T, RpcError> {
    future::or(work, async {
        env.sleep_until(at).await;
        Err(RpcError::Timeout(what))
    })
    .await
}

/// The receiving half.
pub(crate) struct FrameReader<R, E> {
    stream: R,
    env: E,
    limits: Limits,
    buffer: BytesMut,
    scratch: Box<[u8]>,
    expected: Expected,
    /// When the first byte of what is in the buffer came.
    began: Monotonic,
    /// Bytes read so far.
    pub(crate) bytes: u64,
}

impl<R: AsyncRead + Unpin, E: Env> FrameReader<R, E> {
    pub(crate) fn new(stream: R, env: E, limits: Limits) -> Self {
        let began = env.now();
        let expected = Expected { version: 0, sequence: 0, limit: MAX_HANDSHAKE_BYTES };
        // Small until the peer has proven itself.
        let scratch = vec![0; HEADER_BYTES].into();
        Self { stream, env, limits, buffer: BytesMut::new(), scratch, expected, began, bytes: 0 }
    }

    /// The handshake is over.
    pub(crate) fn agreed(&mut self, version: u8) {
        self.expected.version = version;
        self.expected.limit = self.limits.frame_bytes;
        self.scratch = vec![0; READ_BYTES].into();
    }

    /// The next frame.
    pub(crate) async fn next(&mut self) -> Result<(FrameKind, Bytes), RpcError> {
        let waits_since = self.env.now();
        loop {
            if let Some((header, payload)) = frame::take(&mut self.buffer, self.expected)? {
                self.expected.sequence = self.expected.sequence.wrapping_add(1);
                self.began = self.env.now();
                if self.buffer.is_empty() {
                    // The payload may live on; what it does not need must not be kept by the next ones.
                    self.buffer = BytesMut::new();
                }
                return Ok((header.kind, payload));
            }
            let (at, what) = if self.buffer.is_empty() {
                (waits_since.after_micros(self.limits.idle_micros), "the peer's next frame")
            } else {
                (self.began.after_micros(self.limits.frame_micros), "the rest of a frame")
            };
            self.fill(at, what).await?;
        }
    }

    async fn fill(&mut self, at: Monotonic, what: &'static str) -> Result<(), RpcError> {
        let missing = frame::missing(&self.buffer, self.expected);
        let was = self.buffer.len();
        let target: &mut [u8] = if missing > self.scratch.len() && was >= HEADER_BYTES {
            // As much again as has come, so that an announced length alone reserves little.
            let room = missing.min(was.max(READ_BYTES));
            self.buffer.resize(was.saturating_add(room), 0);
            self.buffer.get_mut(was..).unwrap_or_default()
        } else {
            &mut self.scratch
        };
        let direct = target.len();
        let stream = &mut self.stream;
        let read = within(&self.env, at, what, async { Ok(stream.read(target).await?) }).await;
        if self.buffer.len() > was {
            let came = read.as_ref().map_or(0, |read| (*read).min(direct));
            self.buffer.truncate(was.saturating_add(came));
        } else if let Ok(read) = read {
            self.buffer.extend_from_slice(self.scratch.get(..read).unwrap_or_default());
        }
        let read = read?;
        if read == 0 {
            return Err(RpcError::Ended);
        }
        if was == 0 {
            self.began = self.env.now();
        }
        self.bytes = self.bytes.saturating_add(read as u64);
        Ok(())
    }
}

/// The sending half: frames are gathered, then written together.
pub(crate) struct FrameWriter<W, E> {
    stream: W,
    env: E,
    limits: Limits,
    gathered: FrameBuffer,
    /// Bytes written so far.
    pub(crate) bytes: u64,
}

/// Frames that will be written together.
#[derive(Debug, Default)]
pub(crate) struct FrameBuffer {
    bytes: BytesMut,
    version: u8,
    sequence: u32,
}

impl FrameBuffer {
    /// Adds a frame whose payload `fill` writes.
    pub(crate) fn push(&mut self, kind: FrameKind, fill: impl FnOnce(&mut BytesMut)) {
        frame::append(&mut self.bytes, self.version, self.sequence, kind, fill);
        self.sequence = self.sequence.wrapping_add(1);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Frames gathered in all its life, wrapping.
    pub(crate) fn frames(&self) -> u32 {
        self.sequence
    }
}

impl<W: AsyncWrite + Unpin, E: Env> FrameWriter<W, E> {
    pub(crate) fn new(stream: W, env: E, limits: Limits) -> Self {
        Self { stream, env, limits, gathered: FrameBuffer::default(), bytes: 0 }
    }

    /// The handshake is over.
    pub(crate) fn agreed(&mut self, version: u8) {
        self.gathered.version = version;
    }

    /// Where frames are gathered.
    pub(crate) fn frames(&mut self) -> &mut FrameBuffer {
        &mut self.gathered
    }

    /// Writes what was gathered.
    pub(crate) async fn flush(&mut self) -> Result<(), RpcError> {
        let at = self.env.now().after_micros(self.limits.write_micros);
        let (stream, gathered) = (&mut self.stream, &self.gathered.bytes);
        within(&self.env, at, "writing to the peer", async {
            stream.write_all(gathered).await?;
            Ok(stream.flush().await?)
        })
        .await?;
        self.bytes = self.bytes.saturating_add(self.gathered.bytes.len() as u64);
        self.gathered.bytes.clear();
        if self.gathered.bytes.capacity() > self.limits.burst_bytes.saturating_mul(4) {
            // One large frame must not hold its memory for good.
            self.gathered.bytes = BytesMut::new();
        }
        Ok(())
    }

    /// One frame at once.
    pub(crate) async fn send(&mut self, kind: FrameKind, payload: &[u8]) -> Result<(), RpcError> {
        self.gathered.push(kind, |out| out.extend_from_slice(payload));
        self.flush().await
    }
}
