//! `index.json`: the manifests of the images, and their names. An image with several names is in it several times, one
//! without a name once, as other programs that keep images in OCI layouts do it.

use super::{Store, StoreError};
use crate::reference::Reference;
use hull_platform::file;
use oci_spec::image::{Descriptor, ImageIndex, MediaType};
use std::collections::HashMap;
use std::fs;

/// The annotation with an image's whole name; others use it too.
const NAME: &str = "io.containerd.image.name";
/// The specification's annotation, in which others look for the tag.
const TAG: &str = "org.opencontainers.image.ref.name";

/// An entry of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// The image's manifest.
    pub manifest: Descriptor,
    /// One of the image's names.
    pub name: Option<Reference>,
}

impl Store {
    /// All entries. What other programs wrote is taken as far as it can be read.
    pub(super) fn read_index(&self) -> Result<Vec<Entry>, StoreError> {
        let path = self.index_path();
        let bytes = fs::read(&path).map_err(|error| StoreError::io("read", &path, error))?;
        let index = serde_json::from_slice::<ImageIndex>(&bytes).map_err(|error| StoreError::damaged(&path, error))?;
        Ok(index.manifests().iter().map(Entry::read).collect())
    }

    /// Replaces all entries. For holders of the store's lock.
    pub(super) fn write_index(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let path = self.index_path();
        let mut index = ImageIndex::default();
        index.set_schema_version(oci_spec::image::SCHEMA_VERSION);
        index.set_media_type(Some(MediaType::ImageIndex));
        index.set_manifests(entries.iter().map(Entry::descriptor).collect());
        let bytes = serde_json::to_vec_pretty(&index).map_err(|error| StoreError::damaged(&path, error))?;
        file::write_atomic(&path, &bytes).map_err(|error| StoreError::io("write", &path, error))
    }
}

impl Entry {
    fn read(descriptor: &Descriptor) -> Self {
        let mut manifest = descriptor.clone();
        let annotations = descriptor.annotations().as_ref();
        let name = annotations.and_then(|annotations| Reference::parse(annotations.get(NAME)?).ok());
        let rest = annotations.map(|annotations| {
            let others = annotations.iter().filter(|(key, _)| *key != NAME && *key != TAG);
            others.map(|(key, value)| (key.clone(), value.clone())).collect::<HashMap<_, _>>()
        });
        manifest.set_annotations(rest.filter(|rest| !rest.is_empty()));
        Self { manifest, name }
    }

    fn descriptor(&self) -> Descriptor {
        let mut descriptor = self.manifest.clone();
        if let Some(name) = &self.name {
            let mut annotations = descriptor.annotations().clone().unwrap_or_default();
            annotations.insert(NAME.to_owned(), name.to_string());
            if let Some(tag) = name.tag() {
                annotations.insert(TAG.to_owned(), tag.to_owned());
            }
            descriptor.set_annotations(Some(annotations));
        }
        descriptor
    }
}
