//! An import: blobs and layers come in one by one, and become an image at the end, or nothing.

use super::lease::Lease;
use super::{Store, StoreError};
use crate::progress::{Phase, Progress, Step};
use hull_platform::lock::FileLock;
use oci_spec::image::{Descriptor, Digest};
use std::fs;
use std::path::PathBuf;

/// An import under way. It holds a lease: what it adds stays until [`Import::commit`] makes an image of it, or until it is
/// dropped or its process dies; then the next collection takes it away.
#[derive(Debug)]
pub struct Import<'a> {
    pub(super) store: &'a Store,
    pub(super) lease: Lease<'a>,
}

/// What became of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerState {
    /// It was there; its source was not asked.
    Existed,
    /// It was added.
    Added,
}

/// A layer whose digests were not known before.
#[derive(Debug, Clone)]
pub struct NewLayer {
    /// The blob, as it came.
    pub descriptor: Descriptor,
    /// The digest of its archive, uncompressed.
    pub diff_id: Digest,
}

impl Store {
    /// Starts an import.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn begin(&self) -> Result<Import<'_>, StoreError> {
        Ok(Import { store: self, lease: Lease::take(self)? })
    }
}

impl Import<'_> {
    /// Waits until nobody else, in whatever process, fetches what has this digest.
    pub(super) fn turn(&self, hex: &str) -> Result<Turn, StoreError> {
        let path = self.store.root.join("locks").join(hex);
        let lock = FileLock::acquire(&path).map_err(|error| StoreError::io("lock", &path, error))?;
        Ok(Turn { path, _lock: lock })
    }
}

/// The right to fetch something.
#[derive(Debug)]
pub(super) struct Turn {
    path: PathBuf,
    _lock: FileLock,
}

impl Drop for Turn {
    /// The file goes while the lock is held: whoever waits for it sees that, and makes another.
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

/// Tells of the bytes of a layer as they come, some hundred times in all.
pub(super) struct Reporter<'a> {
    progress: &'a dyn Progress,
    descriptor: &'a Descriptor,
    done: u64,
    told: u64,
}

impl<'a> Reporter<'a> {
    pub fn new(progress: &'a dyn Progress, descriptor: &'a Descriptor) -> Self {
        Self { progress, descriptor, done: 0, told: 0 }
    }

    pub fn phase(&self, phase: Phase) {
        let total = (self.descriptor.size() > 0).then(|| self.descriptor.size());
        self.progress.step(self.descriptor.digest(), Step { phase, done: self.done, total });
    }

    pub fn arrived(&mut self, bytes: usize) {
        self.done += bytes as u64;
        let step = (self.descriptor.size() / 256).max(256 << 10);
        if self.done - self.told >= step {
            self.told = self.done;
            self.phase(Phase::Downloading);
        }
    }

    /// How many bytes came.
    pub fn done(&self) -> u64 {
        self.done
    }
}
