//! Pulling: from a reference to an image in the store.

use super::blob::{BlobReader, Source};
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::transport::{Call, read_body};
use super::{Client, scope};
use crate::manifest::{self, ACCEPTED, Document, MAX_CONFIGURATION, MAX_MANIFEST, ManifestError};
use crate::parallel::for_each;
use crate::platform::Platform;
use crate::progress::{Phase, Progress, Step};
use crate::reference::Reference;
use crate::store::{Import, Store, StoreError, StoredImage};
use oci_spec::image::{Descriptor, Digest, DigestAlgorithm, ImageManifest, MediaType};
use std::collections::HashSet;
use std::io::Read;
use std::sync::atomic::AtomicBool;
use ureq::http::Method;
use ureq::http::header::{ACCEPT, CONTENT_TYPE};

/// How a registry tells a manifest's digest.
const DIGEST_HEADER: &str = "docker-content-digest";

/// What a pull brought.
#[derive(Debug)]
pub struct Pulled {
    /// The image.
    pub image: StoredImage,
    /// What the reference meant at the registry: the digest of a manifest, or of an index.
    pub digest: Digest,
}

/// A manifest or index as it came.
struct Fetched {
    bytes: Vec<u8>,
    document: Document,
    media_type: MediaType,
    digest: Digest,
}

impl Client {
    /// Brings an image into the store and gives it the reference's name. What is there already is not transferred; an
    /// index is kept, but of its images only the one for `platform` is brought.
    ///
    /// # Errors
    /// See [`RegistryError`]. Then the store is as it was, but for complete layers that a next try need not bring
    /// again, until they are collected.
    pub fn pull(
        &self,
        store: &Store,
        reference: &Reference,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<Pulled, RegistryError> {
        let (top, endpoints) = self.resolve(reference)?;
        let what = reference.familiar();
        let import = store.begin()?;
        let (fetched, digest) = match &top.document {
            Document::Manifest(_) => (None, top.digest.clone()),
            Document::Index(index) => {
                let entry = manifest::choose(&what, index, platform)?;
                import.put(top.media_type.clone(), &top.bytes)?;
                (Some(self.fetch_entry(reference, &endpoints, entry)?), top.digest.clone())
            }
        };
        let Fetched { bytes, document, media_type, .. } = fetched.unwrap_or(top);
        let Document::Manifest(manifest) = document else {
            let reason = "is an index of indexes".to_owned();
            return Err(ManifestError::Unsupported { what, reason }.into());
        };
        let transfer = Transfer { client: self, import: &import, endpoints: &endpoints, reference, progress };
        transfer.bring(&manifest, platform)?;
        let descriptor = import.put(media_type, &bytes)?;
        let names = match reference.tag() {
            Some(_) if reference.digest().is_none() => vec![reference.clone(), reference.with_digest(digest.clone())],
            _ => vec![reference.with_digest(digest.clone())],
        };
        Ok(Pulled { image: import.commit(&descriptor, &names)?, digest })
    }

    /// What a reference means at its registry now: the digest of a manifest or an index.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub fn digest(&self, reference: &Reference) -> Result<Digest, RegistryError> {
        self.resolve(reference).map(|(fetched, _)| fetched.digest)
    }

    /// Fetches what a reference means, from the first server that has it, and says which servers are left to ask for the
    /// rest, that one first.
    fn resolve(&self, reference: &Reference) -> Result<(Fetched, Vec<Endpoint>), RegistryError> {
        let mut endpoints = self.endpoints(reference);
        loop {
            let failed = match self.fetch(&endpoints[0], reference, reference.target(), reference.digest()) {
                Ok(fetched) => return Ok((fetched, endpoints)),
                Err(error) if endpoints.len() == 1 => return Err(error),
                Err(error) => error,
            };
            log::warn!("mirror {}: {failed}; asking the next server", endpoints[0].authority);
            endpoints.remove(0);
        }
    }

    fn fetch_entry(
        &self,
        reference: &Reference,
        endpoints: &[Endpoint],
        entry: &Descriptor,
    ) -> Result<Fetched, RegistryError> {
        let digest = entry.digest();
        let mut result = Err(RegistryError::Cancelled);
        for endpoint in endpoints {
            result = self.fetch(endpoint, reference, digest.as_ref(), Some(digest));
            match &result {
                Ok(_) => break,
                Err(error) => log::warn!("{}: {error}", endpoint.authority),
            }
        }
        result
    }

    fn fetch(
        &self,
        endpoint: &Endpoint,
        reference: &Reference,
        target: &str,
        expected: Option<&Digest>,
    ) -> Result<Fetched, RegistryError> {
        let what = format!("manifest of {}", reference.familiar());
        if let Some(digest) = expected.filter(|digest| *digest.algorithm() != DigestAlgorithm::Sha256) {
            let reason = format!("is named by {}, and hull knows SHA-256 only", digest.algorithm());
            return Err(ManifestError::Unsupported { what, reason }.into());
        }
        let repository = reference.repository();
        let session = self.session(endpoint, repository, scope(repository, "pull"))?;
        let url = session.url(&format!("manifests/{target}"))?;
        let mut call = Call::new(Method::GET, url).header(ACCEPT, ACCEPTED.join(", "));
        let answer = session.call(&what, &mut call)?;
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (kind, said) = (header(CONTENT_TYPE.as_str()), header(DIGEST_HEADER));
        let bytes = read_body(&what, answer, MAX_MANIFEST)?;
        let digest = manifest::digest_of(&bytes);
        // The registry's own word is held against it, but a digest of another algorithm says nothing.
        let said = said.filter(|said| said.starts_with("sha256:"));
        let expected = expected.map(ToString::to_string).or(said);
        if let Some(expected) = expected.filter(|expected| *expected != digest.to_string()) {
            return Err(RegistryError::Digest { what, expected, found: digest });
        }
        let (document, media_type) = Document::parse(&reference.familiar(), &bytes, kind.as_deref())?;
        Ok(Fetched { bytes, document, media_type, digest })
    }
}

/// One image on its way.
struct Transfer<'a> {
    client: &'a Client,
    import: &'a Import<'a>,
    endpoints: &'a [Endpoint],
    reference: &'a Reference,
    progress: &'a dyn Progress,
}

impl Transfer<'_> {
    /// Brings configuration and layers.
    fn bring(&self, manifest: &ImageManifest, platform: &Platform) -> Result<(), RegistryError> {
        let what = self.reference.familiar();
        let bytes = self.configuration(manifest.config())?;
        let (configuration, diff_ids) = manifest::parse_configuration(&what, &bytes, manifest.layers().len())?;
        let found = Platform::of_configuration(&configuration);
        if !platform.accepts(&found) {
            let (wanted, available) = (platform.clone(), found.to_string());
            return Err(ManifestError::Platform { what, wanted, available }.into());
        }
        self.import.blob(manifest.config(), || Ok(&bytes[..]))?;
        // A layer may occur twice, and is then brought once.
        let mut seen = HashSet::new();
        let layers = manifest.layers().iter().zip(&diff_ids).filter(|(layer, _)| seen.insert(layer.digest()));
        self.layers(&layers.collect::<Vec<_>>())
    }

    fn configuration(&self, descriptor: &Descriptor) -> Result<Vec<u8>, RegistryError> {
        let what = format!("configuration of {}", self.reference.familiar());
        if descriptor.size() > MAX_CONFIGURATION {
            return Err(RegistryError::TooLarge { what, limit: MAX_CONFIGURATION });
        }
        let (mut bytes, cancelled) = (Vec::new(), AtomicBool::new(false));
        let mut reader = BlobReader::open(self.source(descriptor, &cancelled, 0))?.take(MAX_CONFIGURATION);
        reader.read_to_end(&mut bytes).map_err(|error| unwrap(error, &what))?;
        let found = manifest::digest_of(&bytes);
        if found != *descriptor.digest() {
            return Err(RegistryError::Digest { what, expected: descriptor.digest().to_string(), found });
        }
        Ok(bytes)
    }

    fn source<'b>(&'b self, descriptor: &'b Descriptor, cancelled: &'b AtomicBool, skip: usize) -> Source<'b> {
        let repository = self.reference.repository();
        Source { client: self.client, endpoints: &self.endpoints[skip..], repository, descriptor, cancelled }
    }

    /// Brings the layers, several at once; the first failure ends them all.
    fn layers(&self, layers: &[(&Descriptor, &Digest)]) -> Result<(), RegistryError> {
        for (layer, _) in layers {
            let step = Step { phase: Phase::Waiting, done: 0, total: Some(layer.size()) };
            self.progress.step(layer.digest(), step);
        }
        let cancelled = AtomicBool::new(false);
        let parallel = self.client.settings().parallel;
        for_each(layers, parallel, &cancelled, |(layer, diff_id)| self.layer(layer, diff_id, &cancelled))
    }

    /// Brings a layer; from another server if what a mirror sends is not what it should be.
    fn layer(&self, layer: &Descriptor, diff_id: &Digest, cancelled: &AtomicBool) -> Result<(), RegistryError> {
        let mut skip = 0;
        loop {
            let source = self.source(layer, cancelled, skip);
            let open = || BlobReader::open(source).map_err(std::io::Error::other);
            match self.import.layer(layer, diff_id, open, self.progress) {
                Ok(_) => return Ok(()),
                Err(StoreError::Digest { .. }) if skip + 1 < self.endpoints.len() => skip += 1,
                Err(StoreError::Transfer { source, .. }) => {
                    return Err(unwrap(source, &format!("layer {}", layer.digest())));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The registry's error that travelled through a reader.
fn unwrap(error: std::io::Error, what: &str) -> RegistryError {
    error.downcast::<RegistryError>().unwrap_or_else(|source| RegistryError::Body { url: what.to_owned(), source })
}
