//! HTTP over TLS: a server's certificate, and a connection's protection by it. TLS 1.2 and 1.3 by rustls; HTTP/2 and HTTP/1.1.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use futures_io::{AsyncRead, AsyncWrite};
use futures_lite::future;
use futures_rustls::TlsAcceptor;
use futures_rustls::server::TlsStream;
use highwater_runtime::Env;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::time_provider::TimeProvider;

/// Sessions that may be resumed, of one certificate.
const SESSIONS: usize = 4096;

/// A server's certificate and key, ready for use. Clones are the same.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    clock: Arc<WallClock>,
}

/// Why a certificate or its key cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct TlsError {
    what: &'static str,
    reason: String,
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

impl ServerTls {
    /// From PEM texts: the certificate with what stands between it and its CA, and its key.
    ///
    /// # Errors
    /// [`TlsError`] says which of them is wrong.
    pub fn from_pem(certificate: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let wrong = |what, reason: &dyn std::fmt::Display| TlsError { what, reason: reason.to_string() };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| wrong("the certificate", &error))?;
        if chain.is_empty() {
            return Err(wrong("the certificate", &"there is none in the file"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| wrong("the key", &error))?;
        let clock = Arc::new(WallClock::default());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let pair = |error: rustls::Error| wrong("the certificate and its key", &error);
        let mut config = ServerConfig::builder_with_details(provider, clock.clone())
            .with_safe_default_protocol_versions()
            .map_err(pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(pair)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config.session_storage = rustls::server::ServerSessionMemoryCache::new(SESSIONS);
        Ok(Self { config: Arc::new(config), clock })
    }

    /// Protects a connection, within `micros` microseconds.
    ///
    /// # Errors
    /// What is not TLS, a client that believes no such certificate, `TimedOut`.
    pub async fn accept<E, S>(&self, env: &E, stream: S, micros: u64) -> io::Result<TlsStream<S>>
    where
        E: Env,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        self.clock.0.store(env.wall().0, Ordering::Relaxed);
        let handshake = async { TlsAcceptor::from(Arc::clone(&self.config)).accept(stream).await };
        future::or(handshake, async {
            env.sleep(micros).await;
            Err(io::Error::new(io::ErrorKind::TimedOut, "the TLS handshake did not end in time"))
        })
        .await
    }
}
