//! The handshake over a stream: moves the frames of [`super::handshake`], whose decisions it does not share.

use bytes::Bytes;
use futures_lite::io::{ReadHalf, WriteHalf, split};
use highwater_runtime::{Env, Monotonic};

use super::error::RpcError;
use super::fields::Malformed;
use super::frame::FrameKind;
use super::framed::{FrameReader, FrameWriter, within};
use super::handshake::{Acceptor, HandshakeError, Initiator, Link, LocalNode, Target};
use super::hello::{Challenge, Hello, NONCE_BYTES, Proof, Refused, RefusedReason};
use super::limits::Limits;
use super::security::{Protected, Security};

type Reader<E> = FrameReader<ReadHalf<Protected<<E as Env>::Stream>>, E>;
type Writer<E> = FrameWriter<WriteHalf<Protected<<E as Env>::Stream>>, E>;

/// A connection after the handshake.
pub(crate) struct Greeted<E: Env> {
    pub(crate) link: Link,
    pub(crate) reader: Reader<E>,
    pub(crate) writer: Writer<E>,
}

fn nonce<E: Env>(env: &E) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    for piece in nonce.chunks_mut(8) {
        let random = env.random().to_le_bytes();
        for (to, from) in piece.iter_mut().zip(random) {
            *to = from;
        }
    }
    nonce
}

fn halves<E: Env>(env: &E, limits: &Limits, stream: Protected<E::Stream>) -> (Reader<E>, Writer<E>) {
    let (reader, writer) = split(stream);
    (FrameReader::new(reader, env.clone(), *limits), FrameWriter::new(writer, env.clone(), *limits))
}

pub(crate) fn malformed(kind: FrameKind) -> impl FnOnce(Malformed) -> RpcError {
    move |cause| RpcError::Malformed { kind, cause }
}

fn expect(wanted: FrameKind, (kind, payload): (FrameKind, Bytes)) -> Result<Bytes, RpcError> {
    if kind == wanted {
        return Ok(payload);
    }
    if kind == FrameKind::Refused {
        let refused = Refused::decode(&payload).map_err(malformed(kind))?;
        return Err(HandshakeError::Refused(refused).into());
    }
    Err(RpcError::Unexpected(kind))
}

/// Greets the node at the other end of a connection that this side has made.
pub(crate) async fn initiate<E: Env>(
    env: &E,
    limits: &Limits,
    security: &Security,
    local: &LocalNode,
    target: Target,
    name: &str,
    stream: E::Stream,
) -> Result<Greeted<E>, RpcError> {
    let (stream, binding) = security.connect(env, stream, name).await?;
    let (mut reader, mut writer) = halves(env, limits, stream);
    let (initiator, hello) = Initiator::new(local.clone(), target, limits, nonce(env), binding);
    writer.send(FrameKind::Hello, &hello).await?;
    let bytes = expect(FrameKind::Challenge, reader.next().await?)?;
    let challenge = Challenge::decode(&bytes).map_err(malformed(FrameKind::Challenge))?;
    let (proven, proof) = initiator.challenged(&challenge, bytes)?;
    writer.send(FrameKind::Proof, &proof.0).await?;
    let bytes = expect(FrameKind::Accepted, reader.next().await?)?;
    let proof = Proof::decode(&bytes).map_err(malformed(FrameKind::Accepted))?;
    let link = proven.accepted(&proof)?;
    reader.agreed(link.version);
    writer.agreed(link.version);
    Ok(Greeted { link, reader, writer })
}

/// Greets who has connected, by `at`. `admit` has the last word, once the peer has proven itself.
pub(crate) async fn respond<E: Env>(
    env: &E,
    limits: &Limits,
    security: &Security,
    local: &LocalNode,
    stream: E::Stream,
    at: Monotonic,
    admit: impl Fn(&Link) -> Result<(), String>,
) -> Result<Greeted<E>, RpcError> {
    within(env, at, "the handshake", async {
        let (stream, binding) = security.accept(env, stream).await?;
        let (mut reader, mut writer) = halves(env, limits, stream);
        let agreed = async {
            let bytes = expect(FrameKind::Hello, reader.next().await?)?;
            let hello = Hello::decode(&bytes).map_err(malformed(FrameKind::Hello))?;
            let (acceptor, challenge) = Acceptor::greeted(local, limits, &hello, bytes, nonce(env), binding)?;
            writer.send(FrameKind::Challenge, &challenge).await?;
            let bytes = expect(FrameKind::Proof, reader.next().await?)?;
            let proof = Proof::decode(&bytes).map_err(malformed(FrameKind::Proof))?;
            let (link, proof) = acceptor.proven(&proof)?;
            admit(&link).map_err(HandshakeError::NotAdmitted)?;
            writer.send(FrameKind::Accepted, &proof.0).await?;
            Ok(link)
        };
        match agreed.await {
            Ok(link) => {
                reader.agreed(link.version);
                writer.agreed(link.version);
                Ok(Greeted { link, reader, writer })
            }
            Err(error) => {
                let refused = match &error {
                    RpcError::Handshake(error) => error.refusal(),
                    other => Refused { reason: RefusedReason::Malformed, text: other.to_string() },
                };
                if error.is_violation() {
                    let mut payload = bytes::BytesMut::new();
                    refused.encode(&mut payload);
                    let _ = writer.send(FrameKind::Refused, &payload).await;
                }
                Err(error)
            }
        }
    })
    .await
}
