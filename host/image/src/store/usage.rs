//! How much room images take.

use super::collect::allocated;
use super::lease::Thing;
use super::{Store, StoreError, StoredImage, hex};
use crate::layer::index::Index;
use hull_platform::file;
use oci_spec::image::Digest;
use std::collections::{HashMap, HashSet};
use std::fs;

/// The room that the store takes on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The images, with their sizes.
    pub images: Vec<ImageUsage>,
    /// The layers, laid out, each counted once.
    pub layers: u64,
    /// The metadata of the images.
    pub metadata: u64,
    /// Manifests, configurations and compressed layers.
    pub blobs: u64,
}

impl Usage {
    /// All of it.
    pub fn total(&self) -> u64 {
        self.layers + self.metadata + self.blobs
    }
}

/// How large an image is: the sum of its layers, uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageUsage {
    /// The image.
    pub id: Digest,
    /// The bytes of its layers.
    pub size: u64,
    /// Those of layers that other images have too.
    pub shared: u64,
}

impl ImageUsage {
    /// The bytes of the layers that no other image has.
    pub fn unique(&self) -> u64 {
        self.size - self.shared
    }
}

impl Store {
    /// The size of an image: the sum of its layers' archives, uncompressed.
    ///
    /// # Errors
    /// A layer is missing or damaged.
    pub fn size(&self, image: &StoredImage) -> Result<u64, StoreError> {
        image.layers.iter().try_fold(0_u64, |sum, layer| Ok(sum.saturating_add(self.layer_size(&layer.diff_id)?)))
    }

    /// The length of a layer's archive, uncompressed.
    ///
    /// # Errors
    /// It is missing or damaged.
    pub fn layer_size(&self, diff_id: &Digest) -> Result<u64, StoreError> {
        let path = self.layer_path(hex(diff_id)?).join("index");
        let lengths = Index::lengths(&path).map_err(|error| StoreError::damaged(&path, error))?;
        Ok(lengths.1)
    }

    /// The room on the disk that would be free again without the images that are not in `used`: what images share counts
    /// only if none of those that have it is.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn reclaimable(&self, used: &HashSet<Digest>) -> Result<u64, StoreError> {
        let _guard = self.lock()?;
        let mut needed = self.leased()?;
        for image in self.images()?.iter().filter(|image| used.contains(&image.id)) {
            needed.extend(self.things_of(image)?);
        }
        let mut bytes = 0;
        for (directory, thing) in [("blobs/sha256", Thing::Blob as fn(String) -> Thing), ("layers", Thing::Layer)] {
            bytes += self.allocated_besides(directory, |name| needed.contains(&thing(name.to_owned())))?;
        }
        bytes += self.allocated_besides("rootfs", |name| {
            name.strip_suffix(".erofs").is_some_and(|chain| needed.contains(&Thing::RootFs(chain.to_owned())))
        })?;
        Ok(bytes)
    }

    fn allocated_besides(&self, name: &str, needed: impl Fn(&str) -> bool) -> Result<u64, StoreError> {
        let directory = self.root.join(name);
        let failed = |error| StoreError::io("read", &directory, error);
        let mut bytes = 0;
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if needed(&name) {
                continue;
            }
            bytes += if path.is_dir() { allocated(&path) } else { file::allocated_bytes(&path).unwrap_or_default() };
        }
        Ok(bytes)
    }

    /// The room that everything takes.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn usage(&self) -> Result<Usage, StoreError> {
        let images = self.images()?;
        let mut users = HashMap::<&Digest, usize>::new();
        for image in &images {
            let layers: HashSet<_> = image.layers.iter().map(|layer| &layer.diff_id).collect();
            for layer in layers {
                *users.entry(layer).or_default() += 1;
            }
        }
        let usage = |image: &StoredImage| {
            let (mut size, mut shared) = (0_u64, 0_u64);
            for layer in &image.layers {
                let bytes = self.layer_size(&layer.diff_id)?;
                size = size.saturating_add(bytes);
                if users.get(&layer.diff_id).is_some_and(|users| *users > 1) {
                    shared = shared.saturating_add(bytes);
                }
            }
            Ok(ImageUsage { id: image.id.clone(), size, shared })
        };
        let images = images.iter().map(usage).collect::<Result<_, StoreError>>()?;
        let [layers, metadata, blobs] =
            ["layers", "rootfs", "blobs"].map(|directory| allocated(&self.root.join(directory)));
        let index = file::allocated_bytes(&self.index_path()).unwrap_or_default();
        Ok(Usage { images, layers, metadata, blobs: blobs + index })
    }
}
