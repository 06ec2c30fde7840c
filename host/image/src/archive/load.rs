//! Loading: the images of an archive become images of the store.

use super::members::{Members, Source};
use super::{ArchiveError, DOCKER_FILE, INDEX_FILE, LAYOUT_FILE, docker, oci};
use crate::manifest::{MAX_CONFIGURATION, MAX_MANIFEST, digest_of, parse_configuration};
use crate::parallel::for_each;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::store::{Store, StoreError, StoredImage};
use oci_spec::image::{Descriptor, Digest, ImageManifest, MediaType};
use std::collections::HashSet;
use std::sync::atomic::AtomicBool;

/// How many layers are laid out at once. The stages of one layer run in parallel already.
const PARALLEL: usize = 2;

/// An image that an archive held.
#[derive(Debug)]
pub struct Loaded {
    /// The image.
    pub image: StoredImage,
    /// What the archive calls it. Empty if it has no name there.
    pub names: Vec<Reference>,
}

/// An image found in an archive.
pub(super) struct Found {
    /// The manifest's bytes: those in the archive, or made for an archive without one.
    pub manifest: Vec<u8>,
    pub media_type: MediaType,
    pub parsed: ImageManifest,
    /// Where configuration and layers are, in the manifest's order.
    pub configuration: String,
    pub layers: Vec<String>,
    pub names: Vec<Reference>,
}

/// Brings the images of an archive into the store. Of an image for several platforms, the one for `platform` is taken.
///
/// # Errors
/// If the archive is no archive of images, or an image in it cannot be used; images before that one are then loaded.
pub fn load(
    store: &Store,
    source: Source<'_>,
    platform: &Platform,
    progress: &dyn Progress,
) -> Result<Vec<Loaded>, ArchiveError> {
    let import = store.begin()?;
    let members = Members::open(source, || import.scratch().map_err(std::io::Error::other))?;
    let found = find(&members, platform)?;
    drop(import);
    found.into_iter().map(|found| bring(store, &members, found, progress)).collect()
}

fn find(members: &Members, platform: &Platform) -> Result<Vec<Found>, ArchiveError> {
    // Docker writes both lists since version 25; that of OCI has the digests.
    let found = if members.has(LAYOUT_FILE) && members.has(INDEX_FILE) {
        oci::find(members, platform)?
    } else if members.has(DOCKER_FILE) {
        docker::find(members)?
    } else {
        Vec::new()
    };
    if found.is_empty() { Err(ArchiveError::NoImages) } else { Ok(found) }
}

fn bring(store: &Store, members: &Members, found: Found, progress: &dyn Progress) -> Result<Loaded, ArchiveError> {
    let what = match found.names.first() {
        Some(name) => name.familiar(),
        None => format!("image {}", found.parsed.config().digest()),
    };
    let configuration = members.read(&found.configuration, MAX_CONFIGURATION)?;
    let actual = digest_of(&configuration);
    if actual != *found.parsed.config().digest() {
        return Err(ArchiveError::Digest { name: found.configuration, found: actual.to_string() });
    }
    let (_, diff_ids) = parse_configuration(&what, &configuration, found.layers.len())?;
    let import = store.begin()?;
    import.blob(found.parsed.config(), || Ok(&configuration[..]))?;
    let mut seen = HashSet::new();
    let layers = found.parsed.layers().iter().zip(&diff_ids).zip(&found.layers);
    let layers: Vec<Layer<'_>> = layers
        .filter(|((descriptor, _), _)| seen.insert(descriptor.digest()))
        .map(|((descriptor, diff_id), name)| Layer { descriptor, diff_id, name })
        .collect();
    for_each(&layers, PARALLEL, &AtomicBool::new(false), |layer| {
        let open = || members.open_member(layer.name).map(|(section, _)| section).map_err(std::io::Error::other);
        match import.layer(layer.descriptor, layer.diff_id, open, progress) {
            Ok(_) => Ok(()),
            Err(StoreError::Transfer { source, digest }) => Err(source
                .downcast::<ArchiveError>()
                .unwrap_or_else(|source| StoreError::Transfer { digest, source }.into())),
            Err(error) => Err(ArchiveError::from(error)),
        }
    })?;
    let descriptor = import.put(found.media_type, &found.manifest)?;
    let image = import.commit(&descriptor, &found.names)?;
    Ok(Loaded { image, names: found.names })
}

struct Layer<'a> {
    descriptor: &'a Descriptor,
    diff_id: &'a Digest,
    name: &'a str,
}

/// A document of an archive, whose digest must be right.
pub(super) fn read_checked(members: &Members, name: &str, digest: &Digest) -> Result<Vec<u8>, ArchiveError> {
    let bytes = members.read(name, MAX_MANIFEST)?;
    let found = digest_of(&bytes);
    if found == *digest {
        Ok(bytes)
    } else {
        Err(ArchiveError::Digest { name: name.to_owned(), found: found.to_string() })
    }
}
