//! Pings: that a node lives, in which life, how far it is and what its clock says. An answered ping proves the node alive and
//! nothing about any group: a group's term is proven by a message of that group only.
//!
//! ```text
//! ping   0..8 number, 8..16 incarnation of the sender, 16..24 its wall clock in microseconds since 1970, i64
//! pong   0..8 number of the ping, 8..16 incarnation of the sender, 16..24 its wall clock
//! ```

use bytes::{BufMut as _, Bytes, BytesMut};

use super::fields::{Fields, Malformed};
use super::ids::Incarnation;

/// A sign of life, answered by the same with the receiver's life and clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Rises with every ping of a connection.
    pub number: u64,
    /// The sender's life.
    pub incarnation: Incarnation,
    /// The sender's wall clock, in microseconds since 1970.
    pub wall_micros: i64,
}

/// The answer to a [`Ping`], with the answering side's life and clock.
pub type Pong = Ping;

impl Ping {
    /// Appends it.
    pub fn encode(&self, out: &mut BytesMut) {
        out.put_u64_le(self.number);
        out.put_u64_le(self.incarnation.0);
        out.put_i64_le(self.wall_micros);
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(payload: &Bytes) -> Result<Self, Malformed> {
        let mut fields = Fields::of(payload);
        let ping = Self {
            number: fields.u64("the ping's number")?,
            incarnation: Incarnation(fields.u64("the incarnation")?),
            wall_micros: fields.i64("the wall clock")?,
        };
        fields.end()?;
        Ok(ping)
    }
}
