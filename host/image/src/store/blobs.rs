//! Blobs: bytes under the digest of what is in them.

use super::import::Import;
use super::lease::Thing;
use super::{Store, StoreError, exists, hex, sha256};
use hull_platform::{file, random};
use oci_spec::image::{Descriptor, Digest, MediaType};
use sha2::{Digest as _, Sha256};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// What is read and written at once.
const BUFFER: usize = 256 << 10;

impl Store {
    /// Opens a blob, and tells its length.
    ///
    /// # Errors
    /// [`StoreError::Dropped`] if it is a layer that was not kept, and [`StoreError::Missing`].
    pub fn open_blob(&self, digest: &Digest) -> Result<(File, u64), StoreError> {
        let path = self.blob_path(hex(digest)?);
        let opened = File::open(&path).and_then(|file| file.metadata().map(|metadata| (file, metadata.len())));
        opened.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound if self.layer_of_blob(digest.digest()) => StoreError::Dropped(digest.to_string()),
            io::ErrorKind::NotFound => StoreError::Missing(digest.to_string()),
            _ => StoreError::io("open", &path, error),
        })
    }

    /// Reads a blob of at most `limit` bytes, and checks its digest.
    ///
    /// # Errors
    /// As for [`Store::open_blob`]; [`StoreError::TooLarge`], and [`StoreError::Digest`] if the disk damaged it.
    pub fn read_blob(&self, digest: &Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let (file, length) = self.open_blob(digest)?;
        if length > limit {
            return Err(StoreError::TooLarge { digest: digest.to_string(), limit });
        }
        let mut bytes = Vec::new();
        let read = file.take(limit).read_to_end(&mut bytes);
        read.map_err(|error| StoreError::io("read", &self.blob_path(digest.digest()), error))?;
        check_digest("blob", digest, &sha256(Sha256::digest(&bytes).into()))?;
        Ok(bytes)
    }

    /// Whether a blob is there.
    ///
    /// # Errors
    /// [`StoreError::Algorithm`].
    pub fn has_blob(&self, digest: &Digest) -> Result<bool, StoreError> {
        Ok(exists(&self.blob_path(hex(digest)?)))
    }
}

/// Whether what came is what was promised.
pub(super) fn check_digest(what: &'static str, expected: &Digest, found: &Digest) -> Result<(), StoreError> {
    if expected == found {
        return Ok(());
    }
    Err(StoreError::Digest { what, expected: expected.to_string(), found: found.to_string() })
}

impl Import<'_> {
    /// Adds a blob: a manifest, a configuration, anything but a layer. `source` is called if it is not there yet.
    ///
    /// # Errors
    /// Its size or digest is not that of the descriptor; the source fails; the disk.
    pub fn blob<R: Read>(
        &self,
        descriptor: &Descriptor,
        source: impl FnOnce() -> io::Result<R>,
    ) -> Result<(), StoreError> {
        let digest = descriptor.digest();
        self.lease.protect(&[Thing::blob(digest)?])?;
        let _turn = self.turn(hex(digest)?)?;
        if self.store.has_blob(digest)? {
            return Ok(());
        }
        let failed = |source| StoreError::Transfer { digest: digest.to_string(), source };
        // One byte more than promised tells that there are more.
        let mut source = source().map_err(failed)?.take(descriptor.size().saturating_add(1));
        let mut draft = self.draft()?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
            };
            hash.update(&buffer[..length]);
            draft.write(&buffer[..length])?;
        }
        check_size(descriptor, draft.length)?;
        check_digest("blob", digest, &sha256(hash.finalize().into()))?;
        draft.publish_blob(self.store, digest)
    }

    /// Adds a blob that was made here, and describes it.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn put(&self, media_type: MediaType, bytes: &[u8]) -> Result<Descriptor, StoreError> {
        let digest = sha256(Sha256::digest(bytes).into());
        let descriptor = Descriptor::new(media_type, bytes.len() as u64, digest);
        self.blob(&descriptor, || Ok(bytes))?;
        Ok(descriptor)
    }

    /// A file without a name, for what has to be kept for the time of the import.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn scratch(&self) -> io::Result<File> {
        let path = self.lease.directory().join(temporary_name()?);
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        // Where open files cannot be removed it goes with the import.
        drop(fs::remove_file(&path));
        Ok(file)
    }

    pub(super) fn draft(&self) -> Result<Draft, StoreError> {
        let directory = self.lease.directory();
        let failed = |error| StoreError::io("create a file in", directory, error);
        let path = directory.join(temporary_name().map_err(failed)?);
        let file = File::options().read(true).write(true).create_new(true).open(&path).map_err(failed)?;
        Ok(Draft { path, file, length: 0 })
    }
}

pub(super) fn temporary_name() -> io::Result<String> {
    Ok(format!("{:016x}", u64::from_le_bytes(random::array()?)))
}

/// Whether as many bytes came as were promised.
pub(super) fn check_size(descriptor: &Descriptor, found: u64) -> Result<(), StoreError> {
    if descriptor.size() == found {
        return Ok(());
    }
    Err(StoreError::Size { digest: descriptor.digest().to_string(), expected: descriptor.size(), found })
}

/// A file that has no name in the store yet. It goes with its import.
#[derive(Debug)]
pub(super) struct Draft {
    pub path: PathBuf,
    pub file: File,
    pub length: u64,
}

impl Draft {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.length += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|error| StoreError::io("write", &self.path, error))
    }

    /// Gives a blob its name, once it is on the disk.
    pub fn publish_blob(self, store: &Store, digest: &Digest) -> Result<(), StoreError> {
        self.publish(&store.blob_path(hex(digest)?))
    }

    pub fn publish(self, path: &Path) -> Result<(), StoreError> {
        self.file.sync_all().map_err(|error| StoreError::io("write", &self.path, error))?;
        drop(self.file);
        fs::rename(&self.path, path).map_err(|error| StoreError::io("create", path, error))?;
        let directory = path.parent().unwrap_or(path);
        file::sync_dir(directory).map_err(|error| StoreError::io("write", directory, error))
    }
}
