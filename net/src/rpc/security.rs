//! How connections between nodes are protected, and where plain ones are allowed: between processes of one machine only. The
//! cluster's secret is proven in every case; TLS is what keeps others from reading and changing what follows.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use highwater_runtime::Env;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::error::RpcError;

const BINDING_LABEL: &[u8] = b"EXPORTER-highwater-rpc";

/// PEM texts of a node. Every node's certificate is issued by the cluster's own CA, for servers and clients, and carries the
/// names or addresses under which other nodes reach it.
#[derive(Clone)]
pub struct TlsSettings<'a> {
    /// The CA's certificate or certificates; nobody else's are believed.
    pub ca: &'a [u8],
    /// The node's certificate, with what stands between it and the CA.
    pub certificate: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
}

/// How connections are protected.
#[derive(Clone, Debug)]
pub enum Security {
    /// Not at all: loopback addresses only.
    Loopback,
    /// Not at all, wherever: the network is a simulated one.
    Simulated,
    /// By mutual TLS 1.3.
    Tls(MutualTls),
}

/// Certificates, ready for use.
#[derive(Clone, Debug)]
pub struct MutualTls {
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    clock: Arc<WallClock>,
}

/// The runtime's wall clock as rustls asks for it: noted at the start of each handshake.
#[derive(Debug, Default)]
struct WallClock(AtomicI64);

impl TimeProvider for WallClock {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.0.load(Ordering::Relaxed)).ok().filter(|micros| *micros > 0)?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}

fn settings(what: &str, cause: impl std::fmt::Display) -> RpcError {
    RpcError::TlsSettings(format!("{what}: {cause}"))
}

fn certificates(what: &str, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, RpcError> {
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| settings(what, error))?;
    if found.is_empty() { Err(settings(what, "there is no certificate in it")) } else { Ok(found) }
}

impl MutualTls {
    /// Reads the PEM texts.
    ///
    /// # Errors
    /// [`RpcError::TlsSettings`] names the text that is wrong.
    pub fn new(tls: &TlsSettings<'_>) -> Result<Self, RpcError> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates("the cluster's CA", tls.ca)? {
            roots.add(certificate).map_err(|error| settings("the cluster's CA", error))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates("the node's certificate", tls.certificate)?;
        let key = || PrivateKeyDer::from_pem_slice(tls.key).map_err(|error| settings("the node's key", error));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clock = Arc::new(WallClock::default());
        let versions = &[&rustls::version::TLS13];
        let pair = |error| settings("the node's certificate and key", error);
        let client = ClientConfig::builder_with_details(Arc::clone(&provider), clock.clone())
            .with_protocol_versions(versions)
            .map_err(pair)?
            .with_root_certificates(Arc::clone(&roots))
            .with_client_auth_cert(chain.clone(), key()?)
            .map_err(pair)?;
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider))
            .build()
            .map_err(|error| settings("the cluster's CA", error))?;
        let mut server = ServerConfig::builder_with_details(provider, clock.clone())
            .with_protocol_versions(versions)
            .map_err(pair)?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key()?)
            .map_err(pair)?;
        // Nodes stay connected: tickets would be memory for nothing, and every handshake proves the certificate.
        server.send_tls13_tickets = 0;
        Ok(Self { client: Arc::new(client), server: Arc::new(server), clock })
    }
}

impl Security {
    /// Whether connections from or to this address may be made.
    ///
    /// # Errors
    /// [`RpcError::TlsNeeded`].
    pub fn check(&self, address: SocketAddr) -> Result<(), RpcError> {
        let loopback = match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback() || ip.to_ipv4_mapped().is_some_and(|ip| ip.is_loopback()),
        };
        match self {
            Self::Loopback if !loopback => Err(RpcError::TlsNeeded(address)),
            Self::Loopback | Self::Simulated | Self::Tls(_) => Ok(()),
        }
    }

    /// Protects a connection that this side has made. `name` is what the peer's certificate must be for.
    pub(crate) async fn connect<E: Env>(
        &self,
        env: &E,
        stream: E::Stream,
        name: &str,
    ) -> Result<(Protected<E::Stream>, Bytes), RpcError> {
        let Self::Tls(tls) = self else { return Ok((Protected::Plain(stream), Bytes::new())) };
        tls.clock.0.store(env.wall().0, Ordering::Relaxed);
        let name = ServerName::try_from(name.to_owned()).map_err(|error| settings("the peer's name", error))?;
        let stream = TlsConnector::from(Arc::clone(&tls.client)).connect(name, stream).await?;
        let binding = exported(|out| stream.get_ref().1.export_keying_material(out, BINDING_LABEL, None))?;
        Ok((Protected::Tls(Box::new(stream.into())), binding))
    }

    /// Protects a connection that was made to this side.
    pub(crate) async fn accept<E: Env>(
        &self,
        env: &E,
        stream: E::Stream,
    ) -> Result<(Protected<E::Stream>, Bytes), RpcError> {
        let Self::Tls(tls) = self else { return Ok((Protected::Plain(stream), Bytes::new())) };
        tls.clock.0.store(env.wall().0, Ordering::Relaxed);
        let stream = TlsAcceptor::from(Arc::clone(&tls.server)).accept(stream).await?;
        let binding = exported(|out| stream.get_ref().1.export_keying_material(out, BINDING_LABEL, None))?;
        Ok((Protected::Tls(Box::new(stream.into())), binding))
    }
}

fn exported(export: impl FnOnce([u8; 32]) -> Result<[u8; 32], rustls::Error>) -> Result<Bytes, RpcError> {
    let key = export([0; 32]).map_err(|error| RpcError::Io(io::Error::other(error)))?;
    Ok(Bytes::copy_from_slice(&key))
}

/// A stream, protected or not.
pub(crate) enum Protected<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Protected<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, target: &mut [u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, target),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, target),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Protected<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_close(context),
            Self::Tls(stream) => Pin::new(stream).poll_close(context),
        }
    }
}
