//! Accepting connections on one core.

use std::net::SocketAddr;
use std::pin::Pin;

use futures_lite::{AsyncRead, AsyncWrite, future};
use highwater_net::http::{Refusal, Request, serve_connection};
use highwater_runtime::gate::{Gate, Pass};
use highwater_runtime::{Env, Listener, Monotonic, Rt};

use super::Service;
use crate::stop::Stop;

/// Pause after an accept that failed (no more file descriptors, mostly), in microseconds.
const ACCEPT_PAUSE_MICROS: u64 = 50_000;

/// How long connections that came while the server stopped are waited for, in microseconds.
const LATE_MICROS: u64 = 1_000_000;

/// What one round of accepting came to.
enum Next {
    /// A connection.
    Taken(<Rt as Env>::Stream, SocketAddr),
    /// None could be taken.
    Failed(std::io::Error),
    /// Enough.
    End,
}

/// An accept that has begun.
type Accept<'a> = Pin<Box<dyn Future<Output = Next> + 'a>>;

impl Service {
    /// Serves connections until `stop`: then those that are there end with the request at hand, and until they have, new ones are told
    /// that the server stops. Returns once all have ended or the deadline has passed.
    pub async fn listen(&self, listener: <Rt as Env>::Listener, stop: Stop) {
        let env = self.env().clone();
        let limit = self.config().http_max_connections;
        let (connections, late) = (Gate::new(limit, 0), Gate::new(limit, 0));
        // One accept after the other, none of which is given up: a connection that one has taken would be lost with it.
        let mut accept: Accept<'_> = Box::pin(next_connection(&listener));
        let mut stopped = Box::pin(stop.requested());
        loop {
            let ended = async {
                stopped.as_mut().await;
                Next::End
            };
            match future::or(ended, accept.as_mut()).await {
                Next::End => break,
                next => accept = self.take(&listener, &connections, next, Some(&stop)).await,
            }
        }
        let deadline = env.now().after_micros(self.config().shutdown_deadline.micros());
        let mut drained = Box::pin(ended_by(&env, &connections, deadline));
        loop {
            let ended = async {
                drained.as_mut().await;
                Next::End
            };
            match future::or(ended, accept.as_mut()).await {
                Next::End => break,
                // Each is told once that the server stops, and closed.
                next => accept = self.take(&listener, &late, next, None).await,
            }
        }
        drop(accept);
        drop(listener);
        ended_by(&env, &late, deadline.min(env.now().after_micros(LATE_MICROS))).await;
        let cut_off = connections.taken() + late.taken();
        if cut_off > 0 {
            tracing::warn!(connections = cut_off, "connections are cut off: the shutdown deadline has passed");
        }
    }

    /// Serves what an accept came to, until `stop` if there is one; gives the next accept.
    async fn take<'a>(
        &self,
        listener: &'a <Rt as Env>::Listener,
        connections: &Gate,
        next: Next,
        stop: Option<&Stop>,
    ) -> Accept<'a> {
        match next {
            Next::End => {}
            Next::Taken(stream, peer) => self.spawn_connection(connections, stream, peer, stop),
            Next::Failed(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                self.env().sleep(ACCEPT_PAUSE_MICROS).await;
            }
        }
        Box::pin(next_connection(listener))
    }

    fn spawn_connection(&self, connections: &Gate, stream: <Rt as Env>::Stream, peer: SocketAddr, stop: Option<&Stop>) {
        let Some(pass) = connections.try_enter() else {
            self.0.traffic.refused();
            tracing::warn!(%peer, limit = connections.taken(), "a connection was refused: http.max_connections is reached");
            return;
        };
        self.0.traffic.connected();
        let (service, stop) = (self.clone(), stop.cloned());
        self.env().clone().spawn("http", async move {
            let tls = service.0.tls.borrow().clone();
            // Boxed each, so that a connection without TLS has no room for it.
            match tls {
                None => Box::pin(service.serve(stream, peer, stop, pass)).await,
                Some(tls) => {
                    let micros = service.config().http_head_timeout.micros();
                    match Box::pin(tls.accept(service.env(), stream, micros)).await {
                        Ok(stream) => Box::pin(service.serve(stream, peer, stop, pass)).await,
                        Err(error) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                    }
                }
            }
        });
    }

    async fn serve<S>(&self, stream: S, peer: SocketAddr, stop: Option<Stop>, pass: Pass)
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let service = self.clone();
        let handler = move |request| {
            let service = service.clone();
            async move { service.handle(request).await }
        };
        let stopped = async move {
            match stop {
                Some(stop) => stop.requested().await,
                None => std::future::pending().await,
            }
        };
        let service = self.clone();
        let refused = move |request: &Request, refusal: &Refusal| service.refused(request, refusal);
        if let Err(error) = serve_connection(self.env(), stream, peer, &self.intake(), stopped, refused, handler).await
        {
            tracing::debug!(%peer, %error, "a connection ended early");
        }
        drop(pass);
    }
}

/// The next connection.
async fn next_connection(listener: &<Rt as Env>::Listener) -> Next {
    match listener.accept().await {
        Ok((stream, peer)) => Next::Taken(stream, peer),
        Err(error) => Next::Failed(error),
    }
}

/// Waits until no connection of the gate is left, or for the deadline.
async fn ended_by(env: &Rt, connections: &Gate, deadline: Monotonic) {
    future::or(connections.idle(), env.sleep_until(deadline)).await;
}
