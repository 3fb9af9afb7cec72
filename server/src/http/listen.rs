//! Accepting connections on one core.

use std::net::SocketAddr;

use futures_lite::future;
use highwater_net::http::serve_connection;
use highwater_runtime::{Env, Listener, Rt};

use super::Service;
use crate::gate::Gate;
use crate::stop::Stop;

/// Pause after an accept that failed (no more file descriptors, mostly), in microseconds.
const ACCEPT_PAUSE_MICROS: u64 = 50_000;

impl Service {
    /// Serves connections until `stop`: then no more are accepted, and those that are there end with the request at hand.
    /// Returns once all have ended or the deadline has passed.
    pub async fn listen(&self, listener: <Rt as Env>::Listener, stop: Stop) {
        let env = self.env().clone();
        let connections = Gate::new(self.config().http_max_connections, 0);
        loop {
            let accepted = future::or(
                async {
                    stop.requested().await;
                    None
                },
                async { Some(listener.accept().await) },
            );
            match accepted.await {
                None => break,
                Some(Ok((stream, peer))) => self.spawn_connection(&connections, stream, peer, &stop),
                Some(Err(error)) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    env.sleep(ACCEPT_PAUSE_MICROS).await;
                }
            }
        }
        drop(listener);
        let deadline = env.now().after_micros(self.config().shutdown_deadline.micros());
        future::or(connections.idle(), async {
            env.sleep_until(deadline).await;
            tracing::warn!(
                connections = connections.taken(),
                "connections are cut off: the shutdown deadline has passed"
            );
        })
        .await;
    }

    fn spawn_connection(&self, connections: &Gate, stream: <Rt as Env>::Stream, peer: SocketAddr, stop: &Stop) {
        let Some(pass) = connections.try_enter() else {
            self.0.traffic.refused();
            tracing::warn!(%peer, limit = connections.taken(), "a connection was refused: http.max_connections is reached");
            return;
        };
        self.0.traffic.connected();
        let (service, limits, stop) = (self.clone(), self.limits(), stop.clone());
        self.env().clone().spawn("http", async move {
            let env = service.env().clone();
            let handler = move |request| {
                let service = service.clone();
                async move { service.handle(request).await }
            };
            if let Err(error) = serve_connection(&env, stream, peer, &limits, stop.requested(), handler).await {
                tracing::debug!(%peer, %error, "a connection ended early");
            }
            drop(pass);
        });
    }
}
