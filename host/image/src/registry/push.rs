//! Pushing: an image from the store to a registry, with only those bytes that the registry does not have.

use super::endpoint::{Endpoint, authority, resolve, with_query};
use super::error::RegistryError;
use super::retry::{Failure, with_retries};
use super::session::Session;
use super::transport::{Call, Payload};
use super::{Client, scope};
use crate::manifest::MAX_MANIFEST;
use crate::parallel::for_each;
use crate::progress::{Phase, Progress, Step};
use crate::reference::Reference;
use crate::store::{Store, StoredImage};
use oci_spec::image::{Descriptor, Digest};
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicBool, Ordering};
use ureq::http::header::{CONTENT_TYPE, LOCATION};
use ureq::http::{Method, Uri};

/// From how many other repositories blobs are mounted; each adds to what the token is asked for.
const MAX_MOUNTS: usize = 8;

/// What a push left at the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The manifest's digest.
    pub digest: Digest,
    /// The manifest's size.
    pub size: u64,
}

impl Client {
    /// Puts an image into a registry under a name. Blobs that are there are not sent; those that the registry has in
    /// another repository, as far as the store knows, are mounted from there.
    ///
    /// # Errors
    /// See [`RegistryError`]. Blobs that were sent stay at the registry until it collects them.
    pub fn push(
        &self,
        store: &Store,
        image: &StoredImage,
        reference: &Reference,
        progress: &dyn Progress,
    ) -> Result<Pushed, RegistryError> {
        let bytes = store.read_blob(image.manifest.digest(), MAX_MANIFEST)?;
        let manifest = store.manifest(&image.manifest)?;
        let mut seen = HashSet::new();
        let layers = manifest.layers().iter().filter(|layer| seen.insert(layer.digest())).collect::<Vec<_>>();
        let mounts = mounts(store, reference, &layers)?;
        let repository = reference.repository();
        let mut scopes = vec![scope(repository, "pull,push")];
        let others = mounts.values().collect::<HashSet<_>>();
        scopes.extend(others.into_iter().map(|other| scope(other, "pull")));
        scopes[1..].sort();
        let session = self.session(&Endpoint::of(reference.registry()), repository, scopes.join(" "))?;
        let upload = Upload { session: &session, store, mounts: &mounts, progress, cancelled: AtomicBool::new(false) };
        for_each(&layers, self.settings().parallel, &upload.cancelled, |layer| upload.blob(layer))?;
        upload.blob(manifest.config())?;
        let what = format!("manifest of {}", reference.familiar());
        let url = session.url(&format!("manifests/{}", reference.target()))?;
        let mut call = Call::new(Method::PUT, url).header(CONTENT_TYPE, image.manifest.media_type().to_string());
        call.payload = Payload::Bytes(&bytes);
        session.call(&what, &mut call)?;
        Ok(Pushed { digest: image.manifest.digest().clone(), size: image.manifest.size() })
    }
}

/// For each layer the other repository of the same registry that has it, if there is one.
fn mounts(
    store: &Store,
    reference: &Reference,
    layers: &[&Descriptor],
) -> Result<HashMap<Digest, String>, RegistryError> {
    let mut mounts = HashMap::new();
    let mut repositories = HashSet::new();
    for image in store.images()? {
        let other = image
            .names
            .iter()
            .find(|name| name.registry() == reference.registry() && name.repository() != reference.repository());
        let Some(other) = other.map(Reference::repository) else { continue };
        let Ok(manifest) = store.manifest(&image.manifest) else { continue };
        for layer in manifest.layers().iter().filter(|layer| layers.iter().any(|own| own.digest() == layer.digest())) {
            if repositories.contains(other) || repositories.len() < MAX_MOUNTS {
                repositories.insert(other.to_owned());
                mounts.entry(layer.digest().clone()).or_insert_with(|| other.to_owned());
            }
        }
    }
    Ok(mounts)
}

/// Blobs on their way.
struct Upload<'a> {
    session: &'a Session,
    store: &'a Store,
    mounts: &'a HashMap<Digest, String>,
    progress: &'a dyn Progress,
    cancelled: AtomicBool,
}

impl Upload<'_> {
    fn blob(&self, blob: &Descriptor) -> Result<(), RegistryError> {
        let phase = with_retries(&self.session.transport.settings, || self.try_blob(blob))?;
        self.step(blob, phase, blob.size());
        Ok(())
    }

    fn step(&self, blob: &Descriptor, phase: Phase, done: u64) {
        self.progress.step(blob.digest(), Step { phase, done, total: Some(blob.size()) });
    }

    fn try_blob(&self, blob: &Descriptor) -> Result<Phase, Failure> {
        self.step(blob, Phase::Waiting, 0);
        let what = format!("blob {}", blob.digest());
        let digest = blob.digest().to_string();
        let mut head = Call::new(Method::HEAD, self.session.url(&format!("blobs/{digest}"))?);
        match self.session.attempt(&what, &mut head) {
            Ok(_) => return Ok(Phase::Exists),
            // A registry need not allow reading where it allows writing; the upload will show.
            Err(failure) if matches!(*failure.error, RegistryError::NotFound { .. } | RegistryError::Denied { .. }) => {
            }
            Err(failure) => return Err(failure),
        }
        let uploads = self.session.url("blobs/uploads/")?;
        let mount = self.mounts.get(blob.digest());
        let opened = match mount {
            Some(from) => match self.start(&what, &with_query(&uploads, &[("mount", &digest), ("from", from)])) {
                // No wonder if we may not read there.
                Err(failure) if !failure.error.is_transient() => self.start(&what, &uploads.to_string())?,
                other => other?,
            },
            None => self.start(&what, &uploads.to_string())?,
        };
        let Some(location) = opened else { return Ok(Phase::Exists) };
        self.send(&what, blob, &location)?;
        Ok(Phase::Done)
    }

    /// Opens an upload and returns where the bytes go, or nothing if the registry has mounted the blob.
    fn start(&self, what: &str, url: &str) -> Result<Option<Uri>, Failure> {
        let protocol = |reason: &str| RegistryError::Protocol { what: what.to_owned(), reason: reason.to_owned() };
        let url = url.parse::<Uri>().map_err(|_| protocol("its address cannot be written"))?;
        let mut call = Call::new(Method::POST, url);
        call.payload = Payload::Bytes(&[]);
        let answer = self.session.attempt(what, &mut call)?;
        if answer.status().as_u16() == 201 {
            return Ok(None);
        }
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location =
            resolve(&call.url, location.ok_or_else(|| protocol("the registry does not say where to send it"))?)?;
        if location.scheme_str() == Some("http") {
            if call.url.scheme_str() == Some("https") {
                return Err(RegistryError::Plain { url: location.to_string() }.into());
            }
            if authority(&location) != authority(&call.url) {
                self.session.transport.settings.check_plain(authority(&location), &location.to_string())?;
            }
        }
        Ok(Some(location))
    }

    fn send(&self, what: &str, blob: &Descriptor, location: &Uri) -> Result<(), Failure> {
        let (file, length) = self.store.open_blob(blob.digest()).map_err(RegistryError::from)?;
        let url = with_query(location, &[("digest", blob.digest().as_ref())]);
        let url = url.parse::<Uri>().map_err(|_| RegistryError::Protocol {
            what: what.to_owned(),
            reason: "the registry does not say where to send it".to_owned(),
        })?;
        let mut source = Counted { inner: file.take(length), done: 0, told: 0, upload: self, blob };
        let mut call = Call::new(Method::PUT, url).header(CONTENT_TYPE, "application/octet-stream");
        call.payload = Payload::Stream(&mut source, length);
        self.session.attempt(what, &mut call).map(drop)
    }
}

/// Tells how far an upload has come, at every so many bytes.
struct Counted<'a, R> {
    inner: R,
    done: u64,
    told: u64,
    upload: &'a Upload<'a>,
    blob: &'a Descriptor,
}

/// Between two reports.
const REPORT_EVERY: u64 = 512 * 1024;

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.upload.cancelled.load(Ordering::Relaxed) {
            return Err(io::Error::other(RegistryError::Cancelled));
        }
        let count = self.inner.read(buffer)?;
        self.done += u64::try_from(count).map_err(io::Error::other)?;
        if self.done - self.told >= REPORT_EVERY || self.told == 0 {
            self.told = self.done;
            self.upload.step(self.blob, Phase::Downloading, self.done);
        }
        Ok(count)
    }
}
