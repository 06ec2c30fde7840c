//! The list of images.

use crate::engine::Engine;
use crate::error::EngineError;
use hull_image::{Reference, StoredImage};
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// An image in the list.
#[derive(Debug, Clone)]
pub struct ImageSummary {
    /// Its id: the digest of its configuration.
    pub id: String,
    /// Its names with a tag.
    pub tags: Vec<Reference>,
    /// Its names with a digest: where it was pulled from.
    pub digests: Vec<Reference>,
    /// When it was made, if it says so.
    pub created: Option<Timestamp>,
    /// The bytes of its layers, uncompressed.
    pub size: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How many containers have it.
    pub containers: usize,
}

impl Engine {
    /// All images of the store, the newest first. The built-in one is not among them.
    ///
    /// # Errors
    /// The store cannot be read.
    pub fn list_images(&self) -> Result<Vec<ImageSummary>, EngineError> {
        let store = self.store()?;
        let containers = self.list()?;
        let summary = |image: StoredImage| {
            let id = image.id.to_string();
            let (tags, digests) = image.names.iter().cloned().partition(|name| name.tag().is_some());
            Ok(ImageSummary {
                containers: containers.iter().filter(|entry| entry.record.image_id == id).count(),
                tags,
                digests,
                created: created(&image),
                size: store.size(&image)?,
                labels: labels(&image),
                id,
            })
        };
        let mut images = store.images()?.into_iter().map(summary).collect::<Result<Vec<_>, EngineError>>()?;
        images.sort_by_key(|image| Reverse(image.created));
        Ok(images)
    }
}

pub(super) fn created(image: &StoredImage) -> Option<Timestamp> {
    image.configuration.created().as_ref()?.parse().ok()
}

fn labels(image: &StoredImage) -> BTreeMap<String, String> {
    let labels = image.configuration.config().as_ref().and_then(|config| config.labels().clone());
    labels.unwrap_or_default().into_iter().collect()
}
