//! Images: finding them by what users call them.

use super::index_file::Entry;
use super::lease::Thing;
use super::{Store, StoreError, hex, sha256};
use crate::reference::Reference;
use oci_spec::image::{Descriptor, Digest, ImageConfiguration, ImageManifest};
use sha2::{Digest as _, Sha256};

/// The largest manifest: that of registries.
const MAX_MANIFEST: u64 = 4 << 20;
/// The largest configuration: it holds a line of history for each layer.
const MAX_CONFIGURATION: u64 = 8 << 20;

/// An image that is in the store.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// Its id: the digest of its configuration.
    pub id: Digest,
    /// Its manifest.
    pub manifest: Descriptor,
    /// Its configuration, as far as the specification knows it. [`Store::read_blob`] of the id gives all of it.
    pub configuration: ImageConfiguration,
    /// Its layers, the lowest first.
    pub layers: Vec<StoredLayer>,
    /// Its names; none if it has been replaced under all of them.
    pub names: Vec<Reference>,
}

/// A layer of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLayer {
    /// The blob, which may not have been kept.
    pub descriptor: Descriptor,
    /// The digest of the archive in it, which is also the name of what it was laid out as.
    pub diff_id: Digest,
}

impl StoredImage {
    /// What stands for all layers together, as the image specification has it.
    pub fn chain_id(&self) -> Digest {
        let mut chain: Option<Digest> = None;
        for layer in &self.layers {
            chain = Some(match chain {
                None => layer.diff_id.clone(),
                Some(below) => sha256(Sha256::digest(format!("{below} {}", layer.diff_id)).into()),
            });
        }
        chain.unwrap_or_else(|| sha256(Sha256::digest("").into()))
    }
}

impl Store {
    /// All images, those without a name last.
    ///
    /// # Errors
    /// Those of the disk. An image that is damaged is left out.
    pub fn images(&self) -> Result<Vec<StoredImage>, StoreError> {
        let entries = self.read_index()?;
        let mut images = Vec::<StoredImage>::new();
        for entry in &entries {
            if images.iter().any(|image| image.manifest.digest() == entry.manifest.digest()) {
                continue;
            }
            match self.load(&entry.manifest, &entries) {
                Ok(image) => images.push(image),
                Err(error) => log::warn!("image {}: {error}", entry.manifest.digest()),
            }
        }
        images.sort_by_cached_key(|image| (image.names.is_empty(), image.names.first().cloned()));
        Ok(images)
    }

    /// The image that a user calls so: by name, by id, by the beginning of an id, by `name@digest` where the digest is that
    /// of its manifest or of the index that it was pulled through.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Ambiguous`], and those of the disk.
    pub fn resolve(&self, name_or_id: &str) -> Result<StoredImage, StoreError> {
        let entries = self.read_index()?;
        let hex_part = name_or_id.strip_prefix("sha256:").unwrap_or(name_or_id);
        let is_hex = !hex_part.is_empty()
            && hex_part.len() <= 64
            && hex_part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let whole_id = is_hex && hex_part.len() == 64;
        if !whole_id
            && let Ok(reference) = Reference::parse(name_or_id)
            && let Some(entry) = entries.iter().find(|entry| entry.is_called(&reference))
        {
            return self.load(&entry.manifest, &entries);
        }
        if is_hex {
            return self.by_id(hex_part, &entries)?.ok_or_else(|| StoreError::NotFound(name_or_id.to_owned()));
        }
        Err(StoreError::NotFound(name_or_id.chars().take(300).collect()))
    }

    fn by_id(&self, prefix: &str, entries: &[Entry]) -> Result<Option<StoredImage>, StoreError> {
        let mut found: Option<StoredImage> = None;
        for entry in entries {
            let Ok(image) = self.load(&entry.manifest, entries) else { continue };
            if !image.id.digest().starts_with(prefix) {
                continue;
            }
            match &found {
                Some(other) if other.id != image.id => return Err(StoreError::Ambiguous(prefix.to_owned())),
                Some(_) => {}
                None => found = Some(image),
            }
        }
        Ok(found)
    }

    pub(super) fn image_by_manifest(&self, manifest: &Descriptor) -> Result<Option<StoredImage>, StoreError> {
        let entries = self.read_index()?;
        let known = entries.iter().find(|entry| entry.manifest.digest() == manifest.digest());
        known.map(|entry| self.load(&entry.manifest, &entries)).transpose()
    }

    /// Reads an image's documents.
    pub(super) fn load(&self, manifest: &Descriptor, entries: &[Entry]) -> Result<StoredImage, StoreError> {
        let document = self.manifest(manifest)?;
        let id = document.config().digest().clone();
        let bytes = self.read_blob(&id, MAX_CONFIGURATION)?;
        let configuration = serde_json::from_slice::<ImageConfiguration>(&bytes).map_err(|source| {
            StoreError::Document { digest: id.to_string(), what: "an image's configuration", source }
        })?;
        let (blobs, diff_ids) = (document.layers(), configuration.rootfs().diff_ids());
        if blobs.len() != diff_ids.len() {
            return Err(StoreError::LayerCount(id.to_string(), blobs.len(), diff_ids.len()));
        }
        let layer = |(descriptor, diff_id): (&Descriptor, &String)| {
            let diff_id = diff_id.parse::<Digest>().map_err(|_| StoreError::Algorithm(diff_id.clone()))?;
            hex(&diff_id)?;
            Ok(StoredLayer { descriptor: descriptor.clone(), diff_id })
        };
        let layers = blobs.iter().zip(diff_ids).map(layer).collect::<Result<_, StoreError>>()?;
        let own = entries.iter().filter(|entry| entry.manifest.digest() == manifest.digest());
        let mut names: Vec<_> = own.filter_map(|entry| entry.name.clone()).collect();
        names.sort_by_key(|name| (name.tag().is_none(), name.to_string()));
        Ok(StoredImage { id, manifest: manifest.clone(), configuration, layers, names })
    }

    /// The manifest of an image.
    ///
    /// # Errors
    /// It is not there, or is no image's manifest.
    pub fn manifest(&self, manifest: &Descriptor) -> Result<ImageManifest, StoreError> {
        let digest = manifest.digest();
        let bytes = self.read_blob(digest, MAX_MANIFEST)?;
        serde_json::from_slice(&bytes).map_err(|source| StoreError::Document {
            digest: digest.to_string(),
            what: "an image's manifest",
            source,
        })
    }

    /// Everything that an image needs.
    pub(super) fn things_of(&self, image: &StoredImage) -> Result<Vec<Thing>, StoreError> {
        let mut things = vec![Thing::blob(image.manifest.digest())?, Thing::blob(&image.id)?];
        for layer in &image.layers {
            things.push(Thing::blob(layer.descriptor.digest())?);
            things.push(Thing::layer(&layer.diff_id)?);
        }
        things.push(Thing::RootFs(image.chain_id().digest().to_owned()));
        // An index that it was pulled through.
        let digests = image.names.iter().filter_map(Reference::digest).filter(|digest| hex(digest).is_ok());
        things.extend(digests.map(|digest| Thing::Blob(digest.digest().to_owned())));
        Ok(things)
    }
}

impl Entry {
    fn is_called(&self, reference: &Reference) -> bool {
        let Some(name) = &self.name else { return false };
        if name.registry() != reference.registry() || name.repository() != reference.repository() {
            return false;
        }
        match reference.digest() {
            Some(digest) => name.digest() == Some(digest) || self.manifest.digest() == digest,
            None => name.tag() == reference.tag() && name.tag().is_some(),
        }
    }
}
