//! The wires between the nodes: a TCP proxy for each directed pair, so that each node reaches each other one through a wire of its own.
//!
//! A wire carries both directions of the connections that its first node opens. A direction that is cut holds everything back, as lost
//! packets do: bytes, ends of connections, and new connections, which need both directions to come about. When it is mended, what no
//! end gave up on arrives. A wire that refuses breaks its connections and takes no new ones.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::{Failure, lock};

/// How often a direction that is cut is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// What befalls a wire, shared with the threads of its connections.
#[derive(Default)]
struct State {
    /// From the node that opens the connections to the other one.
    there: AtomicBool,
    /// From the other one to the node that opens them.
    back: AtomicBool,
    refuses: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// The wire from one node to another.
pub struct Wire {
    port: u16,
    state: Arc<State>,
}

impl Wire {
    /// A sound wire: connections to its port go on to `target`, both on loopback.
    pub fn lay(target: u16) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                std::thread::spawn(move || connect(stream, target, &state));
            }
        });
        Ok(Self { port, state })
    }

    /// Where its first node connects to.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Holds back what goes in the direction of the connections, or mends it.
    pub fn cut_there(&self, cut: bool) {
        self.state.there.store(cut, Ordering::SeqCst);
    }

    /// Holds back what goes against the direction of the connections, or mends it.
    pub fn cut_back(&self, cut: bool) {
        self.state.back.store(cut, Ordering::SeqCst);
    }

    /// Breaks every connection and takes no new ones, or takes them again.
    pub fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::SeqCst);
        if refuses {
            for stream in lock(&self.state.open).drain(..) {
                reset(&stream);
            }
        }
    }
}

/// The other end sees the connection broken, not ended.
fn reset(stream: &TcpStream) {
    let _ = rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO));
    let _ = stream.shutdown(Shutdown::Both);
}

fn connect(near: TcpStream, target: u16, state: &Arc<State>) {
    while state.there.load(Ordering::SeqCst) || state.back.load(Ordering::SeqCst) {
        std::thread::sleep(LOOK);
    }
    let far = TcpStream::connect(("127.0.0.1", target));
    let (Ok(far), false) = (far, state.refuses.load(Ordering::SeqCst)) else { return reset(&near) };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else { return };
    {
        let mut open = lock(&state.open);
        // Those that have ended are not kept for ever.
        open.retain(|stream| stream.peer_addr().is_ok());
        open.extend([near.try_clone(), far.try_clone()].into_iter().flatten());
    }
    // A refusal that came meanwhile has not seen these two.
    if state.refuses.load(Ordering::SeqCst) {
        reset(&near);
        reset(&far);
    }
    let shared = Arc::clone(state);
    std::thread::spawn(move || pump(far_again, near_again, || shared.back.load(Ordering::SeqCst)));
    let shared = Arc::clone(state);
    pump(near, far, || shared.there.load(Ordering::SeqCst));
}

/// Carries bytes until either end is gone.
fn pump(mut from: TcpStream, mut to: TcpStream, is_cut: impl Fn() -> bool) {
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut piece);
        while is_cut() {
            std::thread::sleep(LOOK);
        }
        match read {
            Ok(length @ 1..) => {
                if to.write_all(piece.get(..length).unwrap_or_default()).is_err() {
                    let _ = from.shutdown(Shutdown::Both);
                    return;
                }
            }
            Ok(_) => {
                let _ = to.shutdown(Shutdown::Write);
                return;
            }
            Err(_) => return reset(&to),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// A wire to somebody who answers every byte with the next one.
    fn wire() -> Wire {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let target = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let mut byte = [0];
                    while stream.read_exact(&mut byte).is_ok() && stream.write_all(&[byte[0] + 1]).is_ok() {}
                });
            }
        });
        Wire::lay(target).unwrap()
    }

    fn connected(wire: &Wire) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", wire.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        stream
    }

    /// What comes back within a moment.
    fn heard(stream: &mut TcpStream) -> std::io::Result<u8> {
        let mut byte = [0];
        stream.read_exact(&mut byte).map(|()| byte[0])
    }

    fn soon(stream: &mut TcpStream) -> u8 {
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        heard(stream).unwrap()
    }

    #[test]
    fn a_cut_direction_holds_back_and_a_mended_one_delivers() {
        let wire = wire();
        let mut stream = connected(&wire);
        stream.write_all(&[1]).unwrap();
        assert_eq!(soon(&mut stream), 2);
        for cut in [Wire::cut_there, Wire::cut_back] {
            stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
            cut(&wire, true);
            stream.write_all(&[7]).unwrap();
            assert!(heard(&mut stream).is_err());
            let mut new = connected(&wire);
            new.write_all(&[9]).unwrap();
            assert!(heard(&mut new).is_err(), "a connection needs both directions");
            cut(&wire, false);
            assert_eq!((soon(&mut stream), soon(&mut new)), (8, 10));
        }
    }

    #[test]
    fn a_wire_that_refuses_breaks_connections_and_takes_none_until_it_is_mended() {
        let wire = wire();
        let mut stream = connected(&wire);
        stream.write_all(&[1]).unwrap();
        assert_eq!(soon(&mut stream), 2);
        wire.refuse(true);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)));
        let mut refused = connected(&wire);
        refused.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert!(matches!(refused.read(&mut [0]), Ok(0) | Err(_)));
        wire.refuse(false);
        let mut stream = connected(&wire);
        stream.write_all(&[1]).unwrap();
        assert_eq!(soon(&mut stream), 2);
    }
}
