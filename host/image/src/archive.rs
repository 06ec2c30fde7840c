//! Images in files: what `docker save`, `skopeo` and `buildah` write and `docker load` reads.
//!
//! - `members` is what an archive holds: the files of a tar or of a directory, by name, at any place.
//! - `load` finds the images in it, in the layout of OCI (`oci`) or of Docker (`docker`), and brings them into the store.
//! - `save` writes images as either.
//! - `build` makes a new image of a tar of files, alone (`import`) or upon another image (`commit`).
//!
//! An archive is never unpacked: its members are read where they lie, so that no name in it can lead anywhere.

mod build;
mod docker;
mod load;
mod members;
mod oci;
mod save;

use crate::manifest::ManifestError;
use crate::store::StoreError;
use std::io;
use std::path::PathBuf;

pub use build::{Recipe, build};
pub use load::{Loaded, load};
pub use members::Source;
pub use save::{Format, save, save_directory};

/// The file of an OCI layout that says what it is.
const LAYOUT_FILE: &str = "oci-layout";
/// The file of an OCI layout that lists the images.
const INDEX_FILE: &str = "index.json";
/// The file of a Docker archive that lists the images.
const DOCKER_FILE: &str = "manifest.json";
/// Annotation of an image in an index: its tag, or by older tools its name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation of an image in an index: its full name.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// Why an archive cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The system refused something.
    #[error("cannot {action} {}", .path.display())]
    Io {
        /// What was being done, as in "read".
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The stream of an archive broke off.
    #[error("cannot {action} the archive")]
    Stream {
        /// What was being done, as in "read".
        action: &'static str,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// It is no archive, or a damaged one.
    #[error("malformed archive: {0}")]
    Malformed(String),
    /// A tar, but not one of images.
    #[error(
        "the archive holds no images: neither {DOCKER_FILE} nor {INDEX_FILE} is in it; `hull import` makes an image of a tar of files"
    )]
    NoImages,
    /// A member that another one speaks of.
    #[error("{0:?} is missing from the archive")]
    Missing(String),
    /// A member that is larger than it may be.
    #[error("{name:?} in the archive has {size} bytes, and {limit} is the limit")]
    TooLarge {
        /// The member.
        name: String,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// A member's content is not what its name says.
    #[error("{name:?} in the archive has the digest {found}")]
    Digest {
        /// The member.
        name: String,
        /// What it has.
        found: String,
    },
    /// A document is malformed, or not an image that hull can use.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ArchiveError {
    fn json(name: &str, source: serde_json::Error) -> Self {
        ManifestError::Malformed { what: format!("{name:?} in the archive"), source }.into()
    }
}
