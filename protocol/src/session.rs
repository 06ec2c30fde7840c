//! The multiplexed stream between an attached command line and the shim.
//!
//! After the shim has answered a request that attaches, the local socket carries chunks in both directions: one byte of
//! kind, four bytes of length (little-endian), the payload. A chunk holds at most [`MAX_CHUNK`] bytes.

use serde::{Deserialize, Serialize};
use std::io::{self, Read, Write};

/// The most payload bytes in one chunk.
pub const MAX_CHUNK: usize = 64 << 10;

/// What a chunk carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Bytes for the process's standard input; an empty chunk is its end. Client to shim.
    Stdin = 0,
    /// Bytes of standard output (of both, with a terminal). Shim to client.
    Stdout = 1,
    /// Bytes of standard error. Shim to client.
    Stderr = 2,
    /// An [`Ended`] as JSON, the last chunk. Shim to client.
    Ended = 3,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Stdin, Self::Stdout, Self::Stderr, Self::Ended].into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// How the process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Its exit status, 128 + signal number if a signal ended it.
    pub code: u8,
    /// Why, where the status alone does not tell (the VM died, the memory limit was reached).
    pub reason: Option<String>,
}

/// Writes one chunk; payloads over [`MAX_CHUNK`] are split (into at least one chunk).
///
/// # Errors
/// Those of the connection.
pub fn write(to: &mut impl Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let mut rest = payload;
    loop {
        let (chunk, after) = rest.split_at(rest.len().min(MAX_CHUNK));
        let length = u32::try_from(chunk.len()).map_err(io::Error::other)?;
        let mut header = [kind as u8; 5];
        header[1..].copy_from_slice(&length.to_le_bytes());
        to.write_all(&header)?;
        to.write_all(chunk)?;
        rest = after;
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// Reads one chunk into `payload`, whose old content goes; `None` at the end of the connection.
///
/// # Errors
/// Those of the connection, and `InvalidData` for an unknown kind or an oversized chunk.
pub fn read(from: &mut impl Read, payload: &mut Vec<u8>) -> io::Result<Option<Kind>> {
    let mut header = [0; 5];
    if from.read(&mut header[..1])? == 0 {
        return Ok(None);
    }
    from.read_exact(&mut header[1..])?;
    let [kind, length @ ..] = header;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let kind = Kind::from_byte(kind).ok_or_else(|| invalid(format!("unknown chunk kind {kind}")))?;
    if length > MAX_CHUNK {
        return Err(invalid(format!("chunk of {length} bytes is over the limit of {MAX_CHUNK}")));
    }
    payload.resize(length, 0);
    from.read_exact(payload)?;
    Ok(Some(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_round_trip_and_large_payloads_are_split() {
        let mut wire = Vec::new();
        write(&mut wire, Kind::Stdin, b"").unwrap();
        write(&mut wire, Kind::Stdout, &vec![7; MAX_CHUNK + 1]).unwrap();
        let (mut from, mut payload) = (wire.as_slice(), Vec::new());
        let mut lengths = Vec::new();
        while let Some(kind) = read(&mut from, &mut payload).unwrap() {
            lengths.push((kind, payload.len()));
        }
        assert_eq!(lengths, [(Kind::Stdin, 0), (Kind::Stdout, MAX_CHUNK), (Kind::Stdout, 1)]);
    }

    #[test]
    fn unknown_kinds_oversized_and_truncated_chunks_are_errors() {
        let mut payload = Vec::new();
        assert!(read(&mut [9, 0, 0, 0, 0].as_slice(), &mut payload).is_err());
        assert!(read(&mut [1, 0xff, 0xff, 0xff, 0xff].as_slice(), &mut payload).is_err());
        assert!(read(&mut [1, 2, 0, 0, 0, 5].as_slice(), &mut payload).is_err());
    }
}
