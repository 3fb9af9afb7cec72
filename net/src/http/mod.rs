//! The server's side of HTTP/1.1 and HTTP/2: one connection at a time over one stream. Which of both it is, its first bytes say.
//!
//! hyper parses and frames; this module adds what hyper leaves out: limits on time and size, whole bodies, the `Date`
//! header from the runtime's clock, and an adapter in which an error of a stream is an error, never an end of file.

mod body;
mod date;
mod framing;
mod io;
mod message;
mod preface;
mod server;
mod streams;
mod tls;
mod watch;

pub use body::Intake;
pub use hyper::{HeaderMap, Method};
pub use io::HyperIo;
pub use message::{Body, ChunkStream, Request, Response};
pub use server::{HttpError, Limits, Refusal, serve_connection};
pub use tls::{ServerTls, TlsError};
