//! Length-delimited JSON: four bytes of length, little-endian, then that many bytes of JSON.
//!
//! JSON because OCI documents leave fields out, which no positional format survives. A frame holds at most
//! [`MAX_FRAME`] bytes; a longer one is refused before anything is allocated for it.

use serde::{Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// The most bytes of JSON in one frame: an OCI document with a few thousand environment entries fits, and a peer can
/// make us hold no more than this.
pub const MAX_FRAME: usize = 1 << 20;

const HEADER: usize = 4;

/// Why a frame could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer announced, or we tried to send, more than [`MAX_FRAME`] bytes.
    #[error("frame of {0} bytes is over the limit of {MAX_FRAME}")]
    TooLarge(u64),
    /// The connection ended inside a frame.
    #[error("connection ended inside a frame")]
    Truncated,
    /// The bytes are not the JSON of the expected type.
    #[error("frame is malformed")]
    Malformed(#[source] serde_json::Error),
    /// The connection failed.
    #[error("connection failed")]
    Io(#[from] io::Error),
}

/// The bytes of one frame, header included.
///
/// # Errors
/// [`FrameError::TooLarge`] if the message does not fit in a frame.
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message).map_err(FrameError::Malformed)?;
    let length = bytes.len() - HEADER;
    let header = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME);
    let header = header.ok_or(FrameError::TooLarge(length as u64))?;
    bytes[..HEADER].copy_from_slice(&header.to_le_bytes());
    Ok(bytes)
}

/// Writes one frame with a single `write_all`.
///
/// # Errors
/// See [`FrameError`].
pub fn write<T: Serialize>(to: &mut impl Write, message: &T) -> Result<(), FrameError> {
    to.write_all(&encode(message)?)?;
    Ok(())
}

/// Reads one frame; `None` if the connection ended before one began.
///
/// # Errors
/// See [`FrameError`].
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> Result<Option<T>, FrameError> {
    let mut header = [0; HEADER];
    if from.read(&mut header[..1])? == 0 {
        return Ok(None);
    }
    read_exact(from, &mut header[1..])?;
    let mut body = vec![0; body_length(header)?];
    read_exact(from, &mut body)?;
    serde_json::from_slice(&body).map(Some).map_err(FrameError::Malformed)
}

fn read_exact(from: &mut impl Read, bytes: &mut [u8]) -> Result<(), FrameError> {
    from.read_exact(bytes).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => FrameError::Truncated,
        _ => FrameError::Io(error),
    })
}

fn body_length(header: [u8; HEADER]) -> Result<usize, FrameError> {
    let length = u32::from_le_bytes(header);
    match usize::try_from(length) {
        Ok(length) if length <= MAX_FRAME => Ok(length),
        _ => Err(FrameError::TooLarge(length.into())),
    }
}

/// Takes frames out of bytes that arrive in pieces, for a reader that may not block.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
}

impl Decoder {
    /// Adds received bytes. The caller takes every whole frame out with [`Decoder::take`] before it adds more, so that
    /// at most one frame is held.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole frame, `None` while it has not arrived.
    ///
    /// # Errors
    /// [`FrameError::TooLarge`] or [`FrameError::Malformed`]; the stream is then of no further use.
    pub fn take<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some((header, rest)) = self.pending.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = body_length(*header)?;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(body).map_err(FrameError::Malformed)?;
        self.pending.drain(..HEADER + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip() {
        let mut wire = Vec::new();
        write(&mut wire, &"one").unwrap();
        write(&mut wire, &"two").unwrap();
        let mut from = wire.as_slice();
        assert_eq!(read::<String>(&mut from).unwrap().as_deref(), Some("one"));
        assert_eq!(read::<String>(&mut from).unwrap().as_deref(), Some("two"));
        assert_eq!(read::<String>(&mut from).unwrap(), None);
    }

    #[test]
    fn decoder_yields_a_frame_only_when_it_is_whole() {
        let wire = encode(&vec![1, 2, 3]).unwrap();
        let mut decoder = Decoder::default();
        for (at, byte) in wire.iter().enumerate() {
            assert_eq!(decoder.take::<Vec<u8>>().unwrap(), None, "after {at} bytes");
            decoder.push(&[*byte]);
        }
        assert_eq!(decoder.take::<Vec<u8>>().unwrap(), Some(vec![1, 2, 3]));
        assert_eq!(decoder.take::<Vec<u8>>().unwrap(), None);
    }

    #[test]
    fn oversized_frames_are_refused_in_both_directions() {
        let announced = (u32::try_from(MAX_FRAME).unwrap() + 1).to_le_bytes();
        assert!(matches!(read::<String>(&mut announced.as_slice()), Err(FrameError::TooLarge(_))));
        let mut decoder = Decoder::default();
        decoder.push(&u32::MAX.to_le_bytes());
        assert!(matches!(decoder.take::<String>(), Err(FrameError::TooLarge(_))));
        assert!(matches!(encode(&"x".repeat(MAX_FRAME)), Err(FrameError::TooLarge(_))));
    }

    #[test]
    fn truncated_and_malformed_frames_are_errors() {
        let wire = encode(&"hello").unwrap();
        for cut in 1..wire.len() {
            assert!(matches!(read::<String>(&mut &wire[..cut]), Err(FrameError::Truncated)), "cut at {cut}");
        }
        assert!(matches!(read::<u32>(&mut wire.as_slice()), Err(FrameError::Malformed(_))));
    }
}
