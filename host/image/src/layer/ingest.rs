//! A layer on its way in: three threads, so that reading, decompression and layout go on at the same time.
//!
//! ```text
//! calling thread   source -> digest of the compressed bytes -> kept as a blob -> pipe
//! "inflate"        pipe -> decompression -> pipe
//! "layout"         pipe -> diff ID -> tar -> data file, tree
//! ```

use super::decompress::{Compression, Decompressor};
use super::pipe::{Closed, PipeReader, PipeWriter, pipe};
use super::{LayerError, Limits, build};
use crate::tree::Tree;
use sha2::{Digest as _, Sha256};
use std::fs::File;
use std::io::{self, BufRead, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// What takes the compressed bytes as they come.
pub trait Sink {
    /// Takes the next ones; none at the end. An error ends the work.
    fn take(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// What a layer was found to be.
#[derive(Debug)]
pub struct Ingested {
    /// Its tree.
    pub tree: Tree,
    /// The length of its data file.
    pub data_bytes: u64,
    /// How it was compressed.
    pub compression: Compression,
    /// How many bytes came in.
    pub compressed_bytes: u64,
    /// Their digest.
    pub digest: [u8; 32],
    /// How many bytes the archive has.
    pub archive_bytes: u64,
    /// Their digest: the diff ID.
    pub diff_id: [u8; 32],
}

/// Why a layer did not come in.
#[derive(Debug)]
pub enum IngestError {
    /// The source failed.
    Source(io::Error),
    /// What takes the compressed bytes failed.
    Sink(io::Error),
    /// The layer is refused, or its data cannot be written.
    Layer {
        /// Why.
        error: LayerError,
        /// The digest of the compressed bytes, if all of them were read: it may tell that they were damaged on their way.
        digest: Option<[u8; 32]>,
    },
    /// A thread could not be started.
    Thread(io::Error),
    /// The other side has ended, and says why.
    Closed,
}

impl From<Closed> for IngestError {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<LayerError> for IngestError {
    fn from(error: LayerError) -> Self {
        Self::Layer { error, digest: None }
    }
}

/// Takes a layer in: its contents go to the empty file `data`. The digests are the caller's to check.
pub fn ingest(
    source: &mut dyn Read,
    data: &File,
    limits: &Limits,
    sink: &mut dyn Sink,
) -> Result<Ingested, IngestError> {
    let arrived = AtomicU64::new(0);
    let (to_inflate, compressed) = pipe(|_: &[u8]| {});
    let mut diff_hash = Sha256::new();
    let mut archive_bytes = 0;
    let (to_layout, archive) = pipe(|bytes: &[u8]| {
        diff_hash.update(bytes);
        archive_bytes += bytes.len() as u64;
    });
    let named = |name: &str| thread::Builder::new().name(name.to_owned());
    let (read, inflated, laid_out) = thread::scope(|scope| {
        let inflate = named("inflate").spawn_scoped(scope, || inflate(compressed, to_layout, &arrived, limits))?;
        let layout = named("layout").spawn_scoped(scope, || build::build(archive, data, limits))?;
        let read = read(source, to_inflate, &arrived, sink);
        let inflated = inflate.join().expect("a panic ends the process");
        let laid_out = layout.join().expect("a panic ends the process");
        Ok((read, inflated, laid_out))
    })
    .map_err(IngestError::Thread)?;
    // What came first in the stream's way is the cause: a stage whose neighbour ended says `Closed`, or that the archive
    // breaks off.
    let read = unless_closed(read)?;
    let digest = read.map(|(digest, _)| digest);
    let refused = |error| match error {
        IngestError::Layer { error, .. } => IngestError::Layer { error, digest },
        other => other,
    };
    let compression = unless_closed(inflated).map_err(refused)?;
    let (tree, data_bytes) = laid_out.map_err(|error| refused(error.into()))?;
    let (Some((digest, compressed_bytes)), Some(compression)) = (read, compression) else {
        return Err(IngestError::Closed);
    };
    let diff_id = diff_hash.finalize().into();
    Ok(Ingested { tree, data_bytes, compression, compressed_bytes, digest, archive_bytes, diff_id })
}

fn unless_closed<T>(result: Result<T, IngestError>) -> Result<Option<T>, IngestError> {
    match result {
        Err(IngestError::Closed) => Ok(None),
        other => other.map(Some),
    }
}

/// Reads the source to its end.
fn read(
    source: &mut dyn Read,
    mut to: PipeWriter,
    arrived: &AtomicU64,
    sink: &mut dyn Sink,
) -> Result<([u8; 32], u64), IngestError> {
    let mut hash = Sha256::new();
    let mut bytes = 0;
    let mut step = |buffer: &mut [u8]| {
        let length = loop {
            match source.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(IngestError::Source(error)),
                Ok(length) => break length,
            }
        };
        hash.update(&buffer[..length]);
        sink.take(&buffer[..length]).map_err(IngestError::Sink)?;
        bytes += length as u64;
        arrived.store(bytes, Ordering::Relaxed);
        Ok(length)
    };
    while to.send(&mut step)? {}
    Ok((hash.finalize().into(), bytes))
}

/// Decompresses all that comes, within the limits.
fn inflate<T: FnMut(&[u8])>(
    mut compressed: PipeReader<T>,
    mut to: PipeWriter,
    arrived: &AtomicU64,
    limits: &Limits,
) -> Result<Compression, IngestError> {
    // A source may give its first bytes one by one.
    let start = peek(&mut compressed);
    let compression = Compression::of(&start);
    let source = io::BufReader::with_capacity(start.len().max(1), io::Cursor::new(start)).chain(compressed);
    let mut stream = Decompressor::new(compression, source);
    let mut bytes = 0;
    let mut step = |buffer: &mut [u8]| {
        let length = stream.fill(buffer).map_err(LayerError::Decompress)?;
        bytes += length as u64;
        check(bytes, arrived.load(Ordering::Relaxed), limits)?;
        Ok::<_, IngestError>(length)
    };
    while to.send(&mut step)? {}
    Ok(compression)
}

/// The first four bytes, taken from the stream; fewer if it has fewer.
fn peek(stream: &mut impl BufRead) -> Vec<u8> {
    let mut start = Vec::new();
    // The pipe itself cannot fail.
    drop(stream.take(4).read_to_end(&mut start));
    start
}

fn check(bytes: u64, arrived: u64, limits: &Limits) -> Result<(), LayerError> {
    if bytes > limits.layer_bytes {
        return Err(LayerError::Limit { what: "bytes, uncompressed", limit: limits.layer_bytes });
    }
    if bytes > limits.unquestioned_bytes && bytes > arrived.saturating_mul(limits.ratio) {
        return Err(LayerError::Bomb { compressed: arrived, uncompressed: bytes, ratio: limits.ratio });
    }
    Ok(())
}
