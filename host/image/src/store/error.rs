//! What can go wrong with the store.

use crate::layer::LayerError;
use crate::tree::MergeError;
use std::io;
use std::path::{Path, PathBuf};

/// What can go wrong with the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A source of bytes failed: a registry, an archive.
    #[error("cannot read {digest}")]
    Transfer {
        /// What was being read.
        digest: String,
        /// What the source said.
        #[source]
        source: io::Error,
    },
    /// Bytes are not those that their digest promised.
    #[error("{what} {expected} has other content: its digest is {found}")]
    Digest {
        /// A blob, or a layer's diff ID.
        what: &'static str,
        /// What was promised.
        expected: String,
        /// What came.
        found: String,
    },
    /// There are more or fewer bytes than promised.
    #[error("{digest} has {found} bytes, not {expected}")]
    Size {
        /// Which blob.
        digest: String,
        /// What was promised.
        expected: u64,
        /// What came; one more than promised if there were more.
        found: u64,
    },
    /// A digest of a kind that is not used for images.
    #[error("{0} is not a SHA-256 digest, the only kind that images have")]
    Algorithm(String),
    /// A layer is refused.
    #[error("layer {digest} is refused")]
    Layer {
        /// Which one.
        digest: String,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// Layers do not make an image.
    #[error("image {id} is refused")]
    Merge {
        /// Which one.
        id: String,
        /// Why.
        #[source]
        source: MergeError,
    },
    /// A document is not what it should be.
    #[error("{digest} is not {what}")]
    Document {
        /// Which blob.
        digest: String,
        /// What it should be.
        what: &'static str,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// Manifest and configuration contradict each other.
    #[error("image {0}: its manifest has {1} layers, and its configuration {2}")]
    LayerCount(String, usize, usize),
    /// Something that an image needs is not there.
    #[error("{0} is not in the store")]
    Missing(String),
    /// A compressed layer was not kept.
    #[error(
        "the compressed layer {0} was not kept (setting), so that the image cannot be pushed or saved: pull it again"
    )]
    Dropped(String),
    /// No image is called so.
    #[error("No such image: {0}")]
    NotFound(String),
    /// More than one image could be meant.
    #[error("{0:?} is the beginning of more than one image's id")]
    Ambiguous(String),
    /// The image cannot be removed as things are.
    #[error("image {image} cannot be removed without force: {reason}")]
    Conflict {
        /// Which one.
        image: String,
        /// Why.
        reason: String,
    },
    /// A blob that is read into memory is too large.
    #[error("{digest} has more than {limit} bytes")]
    TooLarge {
        /// Which one.
        digest: String,
        /// The limit.
        limit: u64,
    },
    /// It cannot be told which images are in use, so that none may go.
    #[error("cannot tell which images containers have")]
    Users(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A file of the store is damaged.
    #[error("{} is damaged", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// In what way.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl StoreError {
    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }

    pub(super) fn damaged(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Damaged { path: path.to_owned(), source: source.into() }
    }
}
