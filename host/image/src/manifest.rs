//! Manifests and indexes, of OCI (image-spec 1.1) and of Docker (schema 2), which differ in their media types alone.

use crate::platform::Platform;
use oci_spec::image::{Descriptor, Digest, ImageConfiguration, ImageIndex, ImageManifest, MediaType};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Largest manifest or index that is read (the distribution specification's figure).
pub const MAX_MANIFEST: u64 = 4 << 20;
/// Largest configuration that is read. The largest in use, with long histories, have some hundred KiB.
pub const MAX_CONFIGURATION: u64 = 8 << 20;
/// Most layers of an image. Docker itself stops at 127.
pub const MAX_LAYERS: usize = 512;

/// Docker's name of a manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's name of an index.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_CONFIGURATION: &str = "application/vnd.docker.container.image.v1+json";
const OCI_CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";

/// What hull can read, for an `Accept` header.
pub const ACCEPTED: [&str; 4] = [OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, DOCKER_LIST];

/// Why a document is not one that hull can use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error("{what} is malformed")]
    Malformed {
        /// Which document.
        what: String,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// It is of a kind that hull does not run.
    #[error("{what} {reason}")]
    Unsupported {
        /// Which image.
        what: String,
        /// What it is.
        reason: String,
    },
    /// There is nothing in it for the platform.
    #[error("{what} is not available for {wanted}; it is for: {available}")]
    Platform {
        /// Which image.
        what: String,
        /// What was asked for.
        wanted: Platform,
        /// What there is.
        available: String,
    },
    /// Manifest and configuration do not belong together.
    #[error("{what} has {layers} layers, and its configuration speaks of {diff_ids}")]
    Layers {
        /// Which image.
        what: String,
        /// In the manifest.
        layers: usize,
        /// In the configuration.
        diff_ids: usize,
    },
}

/// A manifest or an index, read.
#[derive(Debug, Clone)]
pub enum Document {
    /// One image.
    Manifest(Box<ImageManifest>),
    /// Images for several platforms.
    Index(Box<ImageIndex>),
}

/// The digest of bytes.
pub fn digest_of(bytes: &[u8]) -> Digest {
    digest_from(Sha256::digest(bytes).as_ref())
}

/// The digest that the 32 bytes of a SHA-256 make.
pub fn digest_from(hash: &[u8]) -> Digest {
    let hex = hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("sha256:{hex}").parse().expect("a hash in hexadecimal digits is a digest")
}

impl Document {
    /// Reads a document. Its own media type counts; `media_type` is what it was delivered as.
    ///
    /// # Errors
    /// If it is malformed, or of a kind that hull does not run.
    pub fn parse(what: &str, bytes: &[u8], media_type: Option<&str>) -> Result<(Self, MediaType), ManifestError> {
        let malformed = |source| ManifestError::Malformed { what: what.to_owned(), source };
        let kind = media_type_of(bytes, media_type).map_err(malformed)?;
        let document = match kind.as_str() {
            OCI_MANIFEST | DOCKER_MANIFEST => {
                let manifest = serde_json::from_slice::<ImageManifest>(bytes).map_err(malformed)?;
                check_manifest(what, &manifest)?;
                Self::Manifest(Box::new(manifest))
            }
            OCI_INDEX | DOCKER_LIST => Self::Index(Box::new(serde_json::from_slice(bytes).map_err(malformed)?)),
            other => {
                let reason = if other.contains("manifest.v1") {
                    "has a manifest of Docker's schema 1, which is obsolete; push it again with a current tool"
                        .to_owned()
                } else {
                    format!("is of the kind {:?}, which is no image", other.chars().take(100).collect::<String>())
                };
                return Err(ManifestError::Unsupported { what: what.to_owned(), reason });
            }
        };
        Ok((document, MediaType::from(kind.as_str())))
    }
}

/// The kind of a document: what it says itself, else what it was delivered as, else what it looks like.
fn media_type_of(bytes: &[u8], delivered: Option<&str>) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Kind {
        schema_version: u32,
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
    }
    let kind = serde_json::from_slice::<Kind>(bytes)?;
    if kind.schema_version == 1 {
        return Ok("application/vnd.docker.distribution.manifest.v1+json".to_owned());
    }
    let delivered = delivered.map(|text| text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    // Some servers deliver everything as plain JSON.
    let delivered = delivered.filter(|text| ACCEPTED.contains(&text.as_str()));
    let looks = if kind.manifests.is_some() { OCI_INDEX } else { OCI_MANIFEST };
    Ok(kind.media_type.or(delivered).unwrap_or_else(|| looks.to_owned()))
}

fn check_manifest(what: &str, manifest: &ImageManifest) -> Result<(), ManifestError> {
    let unsupported = |reason: String| Err(ManifestError::Unsupported { what: what.to_owned(), reason });
    let configuration = manifest.config().media_type().to_string();
    if !matches!(configuration.as_str(), OCI_CONFIGURATION | DOCKER_CONFIGURATION) {
        return unsupported(format!("is no container image: its configuration is of the kind {configuration:?}"));
    }
    if manifest.layers().len() > MAX_LAYERS {
        return unsupported(format!("has {} layers, and {MAX_LAYERS} is the limit", manifest.layers().len()));
    }
    let odd = manifest.layers().iter().map(|layer| layer.media_type().to_string()).find(|kind| !is_layer(kind));
    match odd {
        Some(kind) => unsupported(format!("has a layer of the kind {kind:?}, which cannot be laid out")),
        None => Ok(()),
    }
}

/// Whether a media type is a tar archive's, compressed in a way that hull knows or not at all.
fn is_layer(media_type: &str) -> bool {
    let (kind, compression) = match media_type.rsplit_once(['+', '.']) {
        Some((kind, compression @ ("gzip" | "zstd"))) => (kind, compression),
        _ => (media_type, ""),
    };
    let oci = matches!(
        kind,
        "application/vnd.oci.image.layer.v1.tar" | "application/vnd.oci.image.layer.nondistributable.v1.tar"
    );
    let docker = matches!(
        kind,
        "application/vnd.docker.image.rootfs.diff.tar" | "application/vnd.docker.image.rootfs.foreign.diff.tar"
    );
    (oci || docker) && matches!(compression, "" | "gzip" | "zstd")
}

/// Reads a configuration and checks that it belongs to the manifest: a diff ID for each layer.
///
/// # Errors
/// If it is malformed or does not.
pub fn parse_configuration(
    what: &str,
    bytes: &[u8],
    layers: usize,
) -> Result<(ImageConfiguration, Vec<Digest>), ManifestError> {
    let malformed = |source| ManifestError::Malformed { what: format!("the configuration of {what}"), source };
    let configuration = serde_json::from_slice::<ImageConfiguration>(bytes).map_err(malformed)?;
    let diff_ids = configuration
        .rootfs()
        .diff_ids()
        .iter()
        .map(|text| text.parse::<Digest>())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed(serde::de::Error::custom(error)))?;
    if diff_ids.len() != layers {
        return Err(ManifestError::Layers { what: what.to_owned(), layers, diff_ids: diff_ids.len() });
    }
    Ok((configuration, diff_ids))
}

/// The entry of an index that is for a platform.
///
/// # Errors
/// If there is none.
pub fn choose<'a>(what: &str, index: &'a ImageIndex, platform: &Platform) -> Result<&'a Descriptor, ManifestError> {
    platform.choose(index.manifests()).ok_or_else(|| ManifestError::Platform {
        what: what.to_owned(),
        wanted: platform.clone(),
        available: Platform::list(index.manifests()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn manifest(kind: &str, config: &str, layer: &str) -> Value {
        json!({
            "schemaVersion": 2, "mediaType": kind,
            "config": {"mediaType": config, "size": 2, "digest": DIGEST},
            "layers": [{"mediaType": layer, "size": 3, "digest": DIGEST}]
        })
    }

    fn parse(value: &Value, delivered: Option<&str>) -> Result<(Document, MediaType), ManifestError> {
        Document::parse("x", &serde_json::to_vec(value).unwrap(), delivered)
    }

    #[test]
    fn both_families_are_read() {
        let docker =
            manifest(DOCKER_MANIFEST, DOCKER_CONFIGURATION, "application/vnd.docker.image.rootfs.diff.tar.gzip");
        let (document, kind) = parse(&docker, None).unwrap();
        assert!(matches!(document, Document::Manifest(_)));
        assert_eq!(kind.to_string(), DOCKER_MANIFEST);
        for layer in ["application/vnd.oci.image.layer.v1.tar", "application/vnd.oci.image.layer.v1.tar+zstd"] {
            parse(&manifest(OCI_MANIFEST, OCI_CONFIGURATION, layer), Some("text/plain")).unwrap();
        }
        let list = json!({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": []});
        assert!(matches!(parse(&list, None).unwrap().0, Document::Index(_)));
    }

    #[test]
    fn the_kind_may_come_from_outside() {
        let mut bare = manifest("", OCI_CONFIGURATION, "application/vnd.oci.image.layer.v1.tar+gzip");
        bare.as_object_mut().unwrap().remove("mediaType");
        assert_eq!(parse(&bare, None).unwrap().1, MediaType::ImageManifest);
        let index = json!({"schemaVersion": 2, "manifests": []});
        assert_eq!(parse(&index, None).unwrap().1, MediaType::ImageIndex);
        let delivered = format!("{OCI_INDEX}; charset=utf-8");
        assert_eq!(parse(&index, Some(&delivered)).unwrap().1, MediaType::ImageIndex);
        // A manifest that is delivered as an index is neither.
        assert!(parse(&bare, Some(OCI_INDEX)).is_err());
    }

    #[test]
    fn what_is_no_image_is_refused() {
        let layer = "application/vnd.oci.image.layer.v1.tar+gzip";
        let many = vec![json!({"mediaType": layer, "size": 3, "digest": DIGEST}); MAX_LAYERS + 1];
        let mut too_many = manifest(OCI_MANIFEST, OCI_CONFIGURATION, layer);
        too_many["layers"] = Value::from(many);
        let mut negative = manifest(OCI_MANIFEST, OCI_CONFIGURATION, layer);
        negative["layers"][0]["size"] = json!(-1);
        let mut bad_digest = manifest(OCI_MANIFEST, OCI_CONFIGURATION, layer);
        bad_digest["config"]["digest"] = json!("sha256:../../../etc/passwd");
        for value in [
            manifest("application/vnd.example+json", OCI_CONFIGURATION, layer),
            manifest(OCI_MANIFEST, "application/vnd.oci.empty.v1+json", layer),
            manifest(OCI_MANIFEST, OCI_CONFIGURATION, "application/vnd.in-toto+json"),
            manifest(OCI_MANIFEST, OCI_CONFIGURATION, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"),
            json!({"schemaVersion": 1, "fsLayers": []}),
            json!({}),
            json!([]),
            too_many,
            negative,
            bad_digest,
        ] {
            assert!(parse(&value, None).is_err(), "{value}");
        }
    }

    #[test]
    fn a_configuration_must_fit() {
        let value = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [DIGEST]}});
        let bytes = serde_json::to_vec(&value).unwrap();
        assert_eq!(parse_configuration("x", &bytes, 1).unwrap().1, [DIGEST.parse().unwrap()]);
        assert!(matches!(
            parse_configuration("x", &bytes, 2),
            Err(ManifestError::Layers { layers: 2, diff_ids: 1, .. })
        ));
        let bad = String::from_utf8(bytes).unwrap().replace("sha256:", "sha256:../");
        assert!(matches!(parse_configuration("x", bad.as_bytes(), 1), Err(ManifestError::Malformed { .. })));
    }

    #[test]
    fn the_digest_of_nothing_is_known() {
        assert_eq!(digest_of(b"").to_string(), DIGEST);
    }
}
