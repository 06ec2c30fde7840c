//! One record of a log file. All numbers are little-endian.
//!
//! ```text
//!  0  u32   n, bytes of payload, 1 to 64 KiB
//!  4  u8    stream: 1 stdout, 2 stderr
//!  5  3     zero
//!  8  i64   nanoseconds since the Unix epoch
//! 16  n     payload
//! 16+n u32  n again: a record without it is torn
//! ```

use super::{Entry, Stream};
use jiff::Timestamp;

/// The most bytes of payload in one record; longer writes become several.
pub(super) const MAX_PAYLOAD: usize = 64 << 10;

const HEADER: usize = 16;
const TRAILER: usize = 4;

/// The most bytes of one record.
pub(super) const MAX_RECORD: usize = HEADER + MAX_PAYLOAD + TRAILER;

/// What the beginning of some bytes is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Decoded<'a> {
    /// A record, and the bytes that it takes.
    Record { at: Timestamp, stream: Stream, payload: &'a [u8], length: usize },
    /// Perhaps a record, of which more bytes are needed.
    Incomplete,
    /// Not a record: the rest of the file is of no use.
    Damaged,
}

/// Appends a record; the payload has at most [`MAX_PAYLOAD`] bytes and is not empty.
pub(super) fn encode(into: &mut Vec<u8>, stream: Stream, at: Timestamp, payload: &[u8]) {
    let length = u32::try_from(payload.len()).expect("a payload is at most 64 KiB").to_le_bytes();
    // Times beyond the year 2262 do not fit; a wrong clock must not lose output.
    let nanoseconds = i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX);
    into.extend_from_slice(&length);
    into.extend_from_slice(&[stream_byte(stream), 0, 0, 0]);
    into.extend_from_slice(&nanoseconds.to_le_bytes());
    into.extend_from_slice(payload);
    into.extend_from_slice(&length);
}

pub(super) fn decode(bytes: &[u8]) -> Decoded<'_> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else { return Decoded::Incomplete };
    let [a, b, c, d, stream, 0, 0, 0, time @ ..] = header else { return Decoded::Damaged };
    let length = usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).unwrap_or(usize::MAX);
    let stream = match stream {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        _ => return Decoded::Damaged,
    };
    if length == 0 || length > MAX_PAYLOAD {
        return Decoded::Damaged;
    }
    let Some((payload, rest)) = rest.split_at_checked(length) else { return Decoded::Incomplete };
    let Some(trailer) = rest.first_chunk::<TRAILER>() else { return Decoded::Incomplete };
    let Ok(at) = Timestamp::from_nanosecond(i64::from_le_bytes(*time).into()) else { return Decoded::Damaged };
    if *trailer != [*a, *b, *c, *d] {
        return Decoded::Damaged;
    }
    Decoded::Record { at, stream, payload, length: HEADER + length + TRAILER }
}

/// The file's format, not the order in memory.
fn stream_byte(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    }
}

impl Decoded<'_> {
    /// The record as its own.
    pub(super) fn entry(&self) -> Option<(Entry, usize)> {
        match self {
            Self::Record { at, stream, payload, length } => {
                Some((Entry { at: *at, stream: *stream, bytes: payload.to_vec() }, *length))
            }
            _ => None,
        }
    }
}
