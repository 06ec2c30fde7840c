//! The store: what images there are, on the disk.
//!
//! ```text
//! oci-layout, index.json     an OCI image layout: index.json names the images' manifests, and is the only root of all
//! blobs/sha256/<digest>      manifests, configurations and compressed layers, under the digest of what is in them
//! layers/<diff ID>/          a layer, laid out: `data` (contents), `index` (the tree), and an empty file by the digest of
//!                            each blob that was seen to decompress to it
//! rootfs/<chain ID>.erofs    what the layers come to, as EROFS metadata; images that differ in their configuration
//!                            alone have the same
//! imports/<random>/          a lease and its temporary files: see `lease`
//! locks/<digest>             held by whoever fetches it
//! lock                       held for the moment in which index.json changes, or what nobody needs is taken away
//! ```
//!
//! There is no daemon: any number of processes work here at once, and each may be killed at any instant. Nothing has its
//! final name before it is complete, checked and on the disk; names come last. So a store is whole at every instant, and
//! what a killed process left behind is in its import's directory, or reachable from nothing.

mod blobs;
mod collect;
mod commit;
mod error;
mod images;
mod import;
mod index_file;
mod layers;
mod lease;
mod rootfs;
mod usage;

pub use collect::{Conflicts, Prune, Removed, Users};
pub use error::StoreError;
pub use images::{StoredImage, StoredLayer};
pub use import::{Import, LayerState, NewLayer};
pub use lease::Hold;
pub use rootfs::{Piece, RootFs};
pub use usage::{ImageUsage, Usage};

use crate::layer::Limits;
use hull_platform::lock::FileLock;
use hull_platform::{dirs, file};
use oci_spec::image::{Digest, DigestAlgorithm};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How a store behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether compressed layers are kept beside the layers that were made of them. Without them an image takes less
    /// room, but cannot be pushed or saved under the digest that it was pulled by.
    pub keep_blobs: bool,
    /// What a layer may ask for.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        Self { keep_blobs: true, limits: Limits::default() }
    }
}

/// An opened store.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
    settings: Settings,
}

const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const DIRECTORIES: [&str; 5] = ["blobs/sha256", "layers", "rootfs", "imports", "locks"];

impl Store {
    /// Opens the store in a directory, and makes it on first use.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_with(root, Settings::default())
    }

    /// As [`Store::open`], with other settings.
    ///
    /// # Errors
    /// If it cannot be made.
    pub fn open_with(root: &Path, settings: Settings) -> Result<Self, StoreError> {
        let store = Self { root: root.to_owned(), settings };
        let layout = root.join("oci-layout");
        // It is written last: where it is, all else is too.
        if !layout.exists() {
            for directory in DIRECTORIES {
                let path = root.join(directory);
                dirs::create_private_all(&path)
                    .map_err(|error| StoreError::io("create", &path, io::Error::other(error)))?;
            }
            let _lock = store.lock()?;
            if !store.index_path().exists() {
                store.write_index(&[])?;
            }
            file::write_atomic(&layout, LAYOUT.as_bytes()).map_err(|error| StoreError::io("write", &layout, error))?;
        }
        Ok(store)
    }

    /// Where it is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether there is a store in a directory.
    pub fn exists(root: &Path) -> bool {
        root.join("oci-layout").exists()
    }

    fn lock(&self) -> Result<FileLock, StoreError> {
        let path = self.root.join("lock");
        FileLock::acquire(&path).map_err(|error| StoreError::io("lock", &path, error))
    }

    fn index_path(&self) -> PathBuf {
        self.root.join("index.json")
    }

    fn blob_path(&self, hex: &str) -> PathBuf {
        self.root.join("blobs/sha256").join(hex)
    }

    fn layer_path(&self, hex: &str) -> PathBuf {
        self.root.join("layers").join(hex)
    }

    fn rootfs_path(&self, hex: &str) -> PathBuf {
        self.root.join("rootfs").join(format!("{hex}.erofs"))
    }
}

/// The hexadecimal part of a digest, which is good as a file name: only SHA-256 is used for what is stored.
fn hex(digest: &Digest) -> Result<&str, StoreError> {
    match digest.algorithm() {
        DigestAlgorithm::Sha256 => Ok(digest.digest()),
        _ => Err(StoreError::Algorithm(digest.to_string())),
    }
}

/// The digest with these bytes.
fn sha256(bytes: [u8; 32]) -> Digest {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}").parse().expect("64 hexadecimal digits")
}

/// Whether a path is there; what hides behind an error is not.
fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[cfg(test)]
mod tests;
