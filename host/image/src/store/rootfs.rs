//! Root file systems: what to map into a VM's window.

use super::import::Import;
use super::lease::Thing;
use super::{Store, StoreError, StoredImage, exists, hex};
use crate::erofs::{self, BLOCK, DataFiles, ErofsError};
use crate::layer::index::Index;
use crate::tree::Image;
use hull_platform::file;
use oci_spec::image::Digest;
use std::fs::{self, File};
use std::io::{self, BufWriter};
use std::path::PathBuf;

/// A file that is part of a root file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// The file. It never changes.
    pub path: PathBuf,
    /// Its length, a multiple of 4096.
    pub length: u64,
}

/// A root file system: an EROFS image in pieces, which are mapped one behind the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootFs {
    /// The metadata, then the layers' data.
    pub pieces: Vec<Piece>,
}

impl RootFs {
    /// The length of all pieces.
    pub fn length(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.length).sum()
    }
}

impl Store {
    /// The root file system of an image. Its metadata is there since the image was committed, and made anew if it was
    /// lost. The files stay as long as the image does, or a [`Store::hold`] of it.
    ///
    /// # Errors
    /// A layer is missing or damaged; those of the disk.
    pub fn rootfs(&self, image: &StoredImage) -> Result<RootFs, StoreError> {
        let metadata = self.rootfs_path(image.chain_id().digest());
        if !exists(&metadata) {
            let import = self.begin()?;
            import.lease.protect(&[Thing::RootFs(image.chain_id().digest().to_owned())])?;
            return self.rootfs_with(image, &import);
        }
        let mut pieces = vec![Piece { length: length_of(&metadata)?, path: metadata }];
        for layer in distinct(image) {
            let path = self.layer_path(hex(layer)?).join("data");
            let length = length_of(&path)?;
            if length > 0 {
                pieces.push(Piece { path, length });
            }
        }
        match pieces.iter().find(|piece| !piece.length.is_multiple_of(BLOCK as u64)) {
            Some(piece) => Err(StoreError::damaged(&piece.path, "its length is not a multiple of 4096")),
            None => Ok(RootFs { pieces }),
        }
    }

    /// As [`Store::rootfs`]; temporary files are the import's.
    pub(super) fn rootfs_with(&self, image: &StoredImage, import: &Import<'_>) -> Result<RootFs, StoreError> {
        let chain = image.chain_id();
        let path = self.rootfs_path(chain.digest());
        if !exists(&path) {
            let layers = distinct(image);
            let (tree, data) = self.merge(image, &layers)?;
            let draft = import.draft()?;
            let failed = |error| match error {
                ErofsError::Io(error) => StoreError::io("write", &draft.path, error),
                other => StoreError::damaged(&path, other),
            };
            let mut identity = [0; 16];
            for (byte, digits) in identity.iter_mut().zip(chain.digest().as_bytes().chunks(2)) {
                let digits = std::str::from_utf8(digits).ok();
                *byte = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()).unwrap_or_default();
            }
            erofs::write(&tree, &data, identity, BufWriter::with_capacity(1 << 20, &draft.file)).map_err(failed)?;
            draft.publish(&path)?;
        }
        self.rootfs(image)
    }

    /// The tree of an image, and the data files that it leads into.
    fn merge(&self, image: &StoredImage, distinct: &[&Digest]) -> Result<(Image, Data), StoreError> {
        let mut tree = Image::new(self.settings.limits.image_entries);
        let mut data = Data { files: Vec::new(), blocks: vec![0; distinct.len()] };
        for layer in distinct {
            let path = self.layer_path(hex(layer)?).join("data");
            data.files.push(File::open(&path).map_err(|error| StoreError::io("open", &path, error))?);
        }
        for layer in &image.layers {
            let path = self.layer_path(hex(&layer.diff_id)?).join("index");
            let index = Index::read(&path).map_err(|error| StoreError::damaged(&path, error))?;
            let number = distinct.iter().position(|known| **known == layer.diff_id).unwrap_or_default();
            let blocks = index.data_bytes / BLOCK as u64;
            data.blocks[number] = u32::try_from(blocks).map_err(|error| StoreError::damaged(&path, error))?;
            let number = u32::try_from(number).map_err(|error| StoreError::damaged(&path, error))?;
            tree.apply(index.tree, number).map_err(|source| StoreError::Merge { id: image.id.to_string(), source })?;
        }
        Ok((tree, data))
    }
}

/// The layers, each of them once: an image may have the same one several times.
fn distinct(image: &StoredImage) -> Vec<&Digest> {
    let mut layers = Vec::<&Digest>::new();
    for layer in &image.layers {
        if !layers.contains(&&layer.diff_id) {
            layers.push(&layer.diff_id);
        }
    }
    layers
}

fn length_of(path: &PathBuf) -> Result<u64, StoreError> {
    fs::metadata(path).map(|metadata| metadata.len()).map_err(|error| StoreError::io("look at", path, error))
}

struct Data {
    files: Vec<File>,
    blocks: Vec<u32>,
}

impl DataFiles for Data {
    fn blocks(&self) -> Vec<u32> {
        self.blocks.clone()
    }

    fn read(&self, data_file: u32, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let file = self.files.get(data_file as usize).ok_or(io::ErrorKind::NotFound)?;
        file::read_exact_at(file, buffer, offset)
    }
}
