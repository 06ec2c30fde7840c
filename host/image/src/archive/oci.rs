//! The layout of OCI (image-spec 1.1, "OCI Image Layout"): an index of manifests, and blobs under their digests.

use super::docker;
use super::load::{Found, read_checked};
use super::members::Members;
use super::{ArchiveError, IMAGE_NAME, INDEX_FILE, REF_NAME};
use crate::manifest::{Document, MAX_MANIFEST, ManifestError, choose};
use crate::platform::Platform;
use crate::reference::Reference;
use oci_spec::image::{Descriptor, Digest, DigestAlgorithm, ImageIndex, ImageManifest, MediaType};

/// How deep indexes may lie in indexes.
const MAX_DEPTH: usize = 4;
/// Most images of one archive.
const MAX_IMAGES: usize = 1000;

/// The images that the layout's index lists.
pub(super) fn find(members: &Members, platform: &Platform) -> Result<Vec<Found>, ArchiveError> {
    let bytes = members.read(INDEX_FILE, MAX_MANIFEST)?;
    let index = serde_json::from_slice::<ImageIndex>(&bytes).map_err(|error| ArchiveError::json(INDEX_FILE, error))?;
    let entries = wanted(&index, platform)?;
    let docker_names = docker::names(members)?;
    let mut images: Vec<Found> = Vec::new();
    for entry in entries {
        let (manifest, media_type, parsed) = resolve(members, entry, platform)?;
        let configuration = path(parsed.config().digest())?;
        let layers = parsed.layers().iter().map(|layer| path(layer.digest())).collect::<Result<Vec<_>, _>>()?;
        let mut names = names(entry);
        if names.is_empty() {
            let known = docker_names.iter().filter(|(name, _)| *name == configuration);
            names.extend(known.flat_map(|(_, names)| names.iter().cloned()));
        }
        // One image under several names is listed once for each.
        match images.iter_mut().find(|image| image.manifest == manifest) {
            Some(image) => image.names.extend(names),
            None => images.push(Found { manifest, media_type, parsed, configuration, layers, names }),
        }
    }
    Ok(images)
}

/// The entries to load: all that are for the platform or do not say; or the layout's only image, if none is.
fn wanted<'a>(index: &'a ImageIndex, platform: &Platform) -> Result<Vec<&'a Descriptor>, ArchiveError> {
    let entries = index.manifests();
    if entries.len() > MAX_IMAGES {
        return Err(ArchiveError::Malformed(format!("it lists more than {MAX_IMAGES} images")));
    }
    let fits =
        |entry: &&Descriptor| entry.platform().is_none() || platform.choose(std::slice::from_ref(*entry)).is_some();
    let wanted = entries.iter().filter(fits).collect::<Vec<_>>();
    if wanted.is_empty() && !entries.is_empty() {
        return Err(choose("the archive", index, platform).err().map_or(ArchiveError::NoImages, ArchiveError::from));
    }
    Ok(wanted)
}

/// Follows indexes to the manifest for the platform.
fn resolve(
    members: &Members,
    entry: &Descriptor,
    platform: &Platform,
) -> Result<(Vec<u8>, MediaType, ImageManifest), ArchiveError> {
    let mut descriptor = entry.clone();
    for _ in 0..MAX_DEPTH {
        let what = descriptor.digest().to_string();
        let bytes = read_checked(members, &path(descriptor.digest())?, descriptor.digest())?;
        match Document::parse(&what, &bytes, Some(descriptor.media_type().as_ref()))? {
            (Document::Manifest(manifest), media_type) => return Ok((bytes, media_type, *manifest)),
            (Document::Index(index), _) => descriptor = choose(&what, &index, platform)?.clone(),
        }
    }
    Err(ArchiveError::Malformed("its indexes lie too deep in each other".to_owned()))
}

/// Where a blob lies.
pub(super) fn path(digest: &Digest) -> Result<String, ArchiveError> {
    if *digest.algorithm() != DigestAlgorithm::Sha256 {
        let reason = "is no SHA-256 digest, the only kind that images have".to_owned();
        return Err(ManifestError::Unsupported { what: digest.to_string(), reason }.into());
    }
    Ok(format!("blobs/sha256/{}", digest.digest()))
}

/// What an entry is called. Of `ref.name`, which most tools use for a bare tag, only what is plainly a name counts.
fn names(entry: &Descriptor) -> Vec<Reference> {
    let Some(annotations) = entry.annotations() else { return Vec::new() };
    let full = annotations.get(IMAGE_NAME).and_then(|name| Reference::parse(name).ok());
    let short = || {
        let name = annotations.get(REF_NAME).filter(|name| name.contains([':', '/']))?;
        Reference::parse(name).ok()
    };
    full.or_else(short).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn entry(annotations: &[(&str, &str)]) -> Descriptor {
        let digest = crate::manifest::digest_of(b"x");
        let mut entry = Descriptor::new(MediaType::ImageManifest, 1, digest);
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        entry.set_annotations(Some(annotations.collect::<HashMap<_, _>>()));
        entry
    }

    #[test]
    fn names_come_from_annotations() {
        let named = |annotations: &[(&str, &str)]| names(&entry(annotations)).first().map(Reference::familiar);
        assert_eq!(named(&[(IMAGE_NAME, "docker.io/library/a:1"), (REF_NAME, "1")]).as_deref(), Some("a:1"));
        assert_eq!(named(&[(REF_NAME, "r.example/a:1")]).as_deref(), Some("r.example/a:1"));
        assert_eq!(named(&[(REF_NAME, "latest")]), None);
        assert_eq!(named(&[(IMAGE_NAME, "Not A Name")]), None);
        assert_eq!(named(&[]), None);
    }

    #[test]
    fn blobs_lie_under_their_digests() {
        let digest = crate::manifest::digest_of(b"");
        assert_eq!(path(&digest).unwrap(), format!("blobs/sha256/{}", digest.digest()));
        let other = format!("sha512:{}", "0".repeat(128)).parse().unwrap();
        assert!(path(&other).is_err());
    }
}
