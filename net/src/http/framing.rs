//! Where in a stream of HTTP/1.1 requests a connection stands, as far as its time limits ask: within a head or not.
//!
//! hyper reads ahead and does not say what it has of a request beyond the one at hand. This counts along with the bytes on their way to
//! it and decides nothing else: a stream that is read otherwise here only has another time limit.

/// Characters of a line that are looked at: as many as any line has that matters.
const LINE_BYTES: usize = 64;

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// A head; its first line is still to come.
    #[default]
    Start,
    /// A head, behind its first line.
    Head,
    /// A body of which so many bytes are still to come.
    Body(u64),
    /// The line with the size of a chunk.
    ChunkSize,
    /// A chunk with the end of its line, of which so many bytes are still to come.
    Chunk(u64),
    /// The lines behind the last chunk.
    Trailers,
}

/// What the head at hand says of its body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Announced {
    #[default]
    Nothing,
    Length(u64),
    Chunks,
}

/// Follows a stream of requests.
#[derive(Debug, Default)]
pub(crate) struct Framing {
    place: Place,
    announced: Announced,
    /// What came of the line at hand, at most [`LINE_BYTES`].
    line: Vec<u8>,
}

impl Framing {
    /// Whether some of a head has come and its end has not.
    pub(crate) fn is_within_head(&self) -> bool {
        match self.place {
            Place::Start => self.line.iter().any(|byte| *byte != b'\r'),
            Place::Head => true,
            Place::Body(_) | Place::ChunkSize | Place::Chunk(_) | Place::Trailers => false,
        }
    }

    /// More bytes of the stream.
    pub(crate) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = match self.place {
                Place::Body(left) => {
                    let taken = skipped(left, bytes);
                    let left = left.saturating_sub(taken as u64);
                    self.place = if left == 0 { Place::Start } else { Place::Body(left) };
                    taken
                }
                Place::Chunk(left) => {
                    let taken = skipped(left, bytes);
                    let left = left.saturating_sub(taken as u64);
                    self.place = if left == 0 { Place::ChunkSize } else { Place::Chunk(left) };
                    taken
                }
                Place::Start | Place::Head | Place::ChunkSize | Place::Trailers => self.line(bytes),
            };
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// Takes bytes up to the end of a line, and says how many.
    fn line(&mut self, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let piece = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let room = LINE_BYTES.saturating_sub(self.line.len());
        self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
        let Some(end) = end else { return bytes.len() };
        let line = std::mem::take(&mut self.line);
        self.ended(line.strip_suffix(b"\r").unwrap_or(&line));
        end + 1
    }

    /// A line has ended.
    fn ended(&mut self, line: &[u8]) {
        self.place = match self.place {
            Place::Start if line.is_empty() => Place::Start,
            Place::Start => {
                self.announced = Announced::Nothing;
                Place::Head
            }
            Place::Head if line.is_empty() => match self.announced {
                Announced::Nothing | Announced::Length(0) => Place::Start,
                Announced::Length(length) => Place::Body(length),
                Announced::Chunks => Place::ChunkSize,
            },
            Place::Head => {
                self.header(line);
                Place::Head
            }
            Place::ChunkSize => match chunk_size(line) {
                Some(size) if size > 0 => Place::Chunk(size.saturating_add(2)),
                Some(_) | None => Place::Trailers,
            },
            Place::Trailers if line.is_empty() => Place::Start,
            Place::Trailers => Place::Trailers,
            other @ (Place::Body(_) | Place::Chunk(_)) => other,
        };
    }

    fn header(&mut self, line: &[u8]) {
        let Some((name, value)) = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':')) else { return };
        let value = value.trim();
        if name.eq_ignore_ascii_case("transfer-encoding") {
            self.announced = Announced::Chunks;
        } else if name.eq_ignore_ascii_case("content-length") && self.announced != Announced::Chunks {
            self.announced = value.parse().map_or(Announced::Nothing, Announced::Length);
        }
    }
}

fn skipped(left: u64, bytes: &[u8]) -> usize {
    usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(line).ok()?;
    u64::from_str_radix(text.split(';').next()?.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    const REQUESTS: &[&str] = &[
        "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "GET / HTTP/1.1\nhost: x\n\n",
        "\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n",
        "POST / HTTP/1.1\r\nhost: x\r\nContent-Length: 5\r\n\r\nG\r\n\r\n",
        "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nGET /\r\n0\r\na: b\r\n\r\n",
    ];

    #[test]
    fn a_head_is_known_as_long_as_it_is_not_whole_however_the_bytes_come() {
        for first in REQUESTS {
            for second in REQUESTS {
                let text = format!("{first}{second}");
                for pieces in [1, 2, 7, 1000] {
                    let mut framing = Framing::default();
                    text.as_bytes().chunks(pieces).for_each(|piece| framing.read(piece));
                    assert!(!framing.is_within_head(), "{text:?} by {pieces}");
                }
                let mut framing = Framing::default();
                framing.read(first.as_bytes());
                let whole = second.trim_start().split("\n\r\n").next().unwrap().split("\n\n").next().unwrap();
                for byte in second.trim_start()[..whole.len()].bytes() {
                    framing.read(&[byte]);
                    assert!(framing.is_within_head(), "{first:?} and a part of {second:?}");
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic_or_keep_more_than_a_line() {
        quickcheck::quickcheck(no_bytes as fn(Vec<Vec<u8>>) -> bool);

        fn no_bytes(pieces: Vec<Vec<u8>>) -> bool {
            let mut framing = Framing::default();
            framing.read(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n");
            pieces.iter().all(|piece| {
                framing.read(piece);
                framing.line.len() <= LINE_BYTES
            })
        }
    }
}
