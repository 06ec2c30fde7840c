//! Images: from a reference to a root file system that a VM can mount.
//!
//! - [`reference`]: what users call an image.
//! - [`registry`]: pulling and pushing; [`credentials`]: who the user is there.
//! - [`archive`]: images in files: loading, saving, importing.
//! - [`manifest`], [`platform`]: what both of them read and choose by.
//! - [`store`]: what is on the disk: blobs under their digests, layers laid out, names; who may delete what.
//! - [`layer`]: a layer's tar stream becomes a data file and an index, in one pass.
//! - [`tree`]: the layers of an image, one upon the other.
//! - [`erofs`]: that tree as an EROFS image whose files' contents are the layers' data files.
//! - [`progress`]: what a pull tells whoever draws it.
//!
//! Everything that a registry or an archive says is hostile: sizes and digests are checked before anything becomes
//! visible, arithmetic is checked, and what is refused leaves no trace.

pub mod archive;
pub mod credentials;
pub mod erofs;
mod foreign;
pub mod layer;
pub mod manifest;
mod parallel;
pub mod platform;
pub mod progress;
pub mod reference;
pub mod registry;
pub mod store;
pub mod tree;

pub use oci_spec;
pub use reference::Reference;
pub use store::{Import, Store, StoreError, StoredImage};
