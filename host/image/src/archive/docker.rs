//! The layout of Docker archives: `manifest.json` lists images by the names of their members. There is no manifest in the
//! sense of a registry, so that one is made; image and layers keep their identifiers.

use super::load::Found;
use super::members::Members;
use super::{ArchiveError, DOCKER_FILE};
use crate::manifest::{MAX_CONFIGURATION, MAX_LAYERS, MAX_MANIFEST, digest_from, digest_of, parse_configuration};
use crate::reference::Reference;
use oci_spec::image::{Descriptor, Digest, ImageManifest, ImageManifestBuilder, MediaType};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::io::Read;

/// An image in the list.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub config: String,
    #[serde(default)]
    pub repo_tags: Option<Vec<String>>,
    #[serde(default)]
    pub layers: Vec<String>,
}

/// The images that the list names.
pub(super) fn find(members: &Members) -> Result<Vec<Found>, ArchiveError> {
    list(members)?.into_iter().map(|listed| image(members, listed)).collect()
}

/// By a configuration's member: the names that the list, if there is one, has for its image.
pub(super) fn names(members: &Members) -> Result<Vec<(String, Vec<Reference>)>, ArchiveError> {
    if !members.has(DOCKER_FILE) {
        return Ok(Vec::new());
    }
    let name = |listed: Listed| Ok((listed.config.clone(), tags(&listed)?));
    list(members)?.into_iter().map(name).collect()
}

fn list(members: &Members) -> Result<Vec<Listed>, ArchiveError> {
    let bytes = members.read(DOCKER_FILE, MAX_MANIFEST)?;
    serde_json::from_slice(&bytes).map_err(|error| ArchiveError::json(DOCKER_FILE, error))
}

fn tags(listed: &Listed) -> Result<Vec<Reference>, ArchiveError> {
    let tags = listed.repo_tags.iter().flatten();
    tags.map(|tag| Reference::parse(tag))
        .collect::<Result<_, _>>()
        .map_err(|error| ArchiveError::Malformed(format!("in {DOCKER_FILE:?}: {error}")))
}

fn image(members: &Members, listed: Listed) -> Result<Found, ArchiveError> {
    let names = tags(&listed)?;
    if listed.layers.len() > MAX_LAYERS {
        return Err(ArchiveError::Malformed(format!("an image has more than {MAX_LAYERS} layers")));
    }
    let bytes = members.read(&listed.config, MAX_CONFIGURATION)?;
    let (_, diff_ids) = parse_configuration(&listed.config, &bytes, listed.layers.len())?;
    let size = u64::try_from(bytes.len()).map_err(|error| ArchiveError::Malformed(error.to_string()))?;
    let configuration = Descriptor::new(MediaType::ImageConfig, size, digest_of(&bytes));
    let layers = listed.layers.iter().zip(&diff_ids);
    let layers = layers.map(|(name, diff_id)| layer(members, name, diff_id)).collect::<Result<Vec<_>, _>>()?;
    let (manifest, parsed) = make_manifest(configuration, layers);
    Ok(Found {
        manifest,
        media_type: MediaType::ImageManifest,
        parsed,
        configuration: listed.config,
        layers: listed.layers,
        names,
    })
}

/// A manifest for what has none, and its bytes.
pub(super) fn make_manifest(configuration: Descriptor, layers: Vec<Descriptor>) -> (Vec<u8>, ImageManifest) {
    let manifest = ImageManifestBuilder::default()
        .schema_version(2_u32)
        .media_type(MediaType::ImageManifest)
        .config(configuration)
        .layers(layers)
        .build()
        .expect("a manifest with all that it must have");
    let bytes = serde_json::to_vec(&manifest).expect("a manifest is text, numbers and lists");
    (bytes, manifest)
}

/// What the manifest says of a layer. Docker's own archives have them uncompressed, and then the diff ID is the digest;
/// for a compressed one it has to be computed.
fn layer(members: &Members, name: &str, diff_id: &Digest) -> Result<Descriptor, ArchiveError> {
    let read = |source| ArchiveError::Stream { action: "read", source };
    let (mut section, size) = members.open_member(name)?;
    let mut start = Vec::new();
    section.by_ref().take(4).read_to_end(&mut start).map_err(read)?;
    let media_type = match start[..] {
        [0x1f, 0x8b, ..] => MediaType::ImageLayerGzip,
        [0x28, 0xb5, 0x2f, 0xfd] => MediaType::ImageLayerZstd,
        _ => return Ok(Descriptor::new(MediaType::ImageLayer, size, diff_id.clone())),
    };
    let mut hash = Sha256::new();
    hash.update(&start);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match section.read(&mut buffer).map_err(read)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(Descriptor::new(media_type, size, digest_from(&hash.finalize())))
}
