//! Images from and to registries and archives.

use crate::engine::Engine;
use crate::error::EngineError;
use crate::image::{ImageError, is_built_in};
use hull_image::archive::{self, Format, Loaded, Recipe, Source};
use hull_image::credentials::{self, Anonymous, Credential, CredentialError, DockerConfig, Keychain};
use hull_image::platform::Platform;
use hull_image::progress::Progress;
use hull_image::reference::DEFAULT_REGISTRY;
use hull_image::registry::{Client, Pushed, Settings, default_files};
use hull_image::{Reference, StoredImage};
use oci_spec::image::Digest;
use std::io::{Read, Write};
use std::sync::Arc;

/// What a pull brought.
#[derive(Debug)]
pub struct Downloaded {
    /// The image.
    pub image: StoredImage,
    /// What the name means at the registry.
    pub digest: Digest,
    /// The store had another image by that name, or none.
    pub newer: bool,
}

/// The registry of names that name none.
pub fn default_registry() -> &'static str {
    DEFAULT_REGISTRY
}

/// The registry that a person means by a name or an address.
///
/// # Errors
/// It cannot be one.
pub fn registry_called(text: &str) -> Result<&str, EngineError> {
    let named = credentials::registry_called(text);
    named.ok_or_else(|| EngineError::Invalid(format!("invalid registry {text:?}: expected a host, or host:port")))
}

fn client() -> Result<Client, EngineError> {
    let settings = Settings::load(&default_files())?;
    let keychain: Arc<dyn Keychain> = match DockerConfig::of_user() {
        Ok(config) => Arc::new(config),
        // Nobody's credentials: those of nobody.
        Err(CredentialError::NoHome) => Arc::new(Anonymous),
        Err(error) => return Err(error.into()),
    };
    Ok(Client::new(settings, keychain))
}

impl Engine {
    /// Brings an image from its registry into the store.
    ///
    /// # Errors
    /// The registry's and the store's; the image is built in.
    pub fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<Downloaded, EngineError> {
        let name = reference.to_string();
        if is_built_in(&name) {
            return Err(ImageError::BuiltIn(reference.familiar_name()).into());
        }
        let store = self.store()?;
        let before = store.resolve(&name).ok();
        let pulled = client()?.pull(store, reference, platform, progress)?;
        let same = before.is_some_and(|before| before.manifest.digest() == pulled.image.manifest.digest());
        Ok(Downloaded { image: pulled.image, digest: pulled.digest, newer: !same })
    }

    /// Puts an image into the registry that its name says.
    ///
    /// # Errors
    /// There is no image by that name; the registry's.
    pub fn push(&self, reference: &Reference, progress: &dyn Progress) -> Result<Pushed, EngineError> {
        let store = self.store()?;
        let absent = |_| EngineError::NoSuchImage(format!("{}, so that it cannot be pushed", reference.familiar()));
        let image = store.resolve(&reference.to_string()).map_err(absent)?;
        Ok(client()?.push(store, &image, reference, progress)?)
    }

    /// Brings the images of an archive into the store.
    ///
    /// # Errors
    /// It is no archive of images, or a damaged one.
    pub fn load_images(
        &self,
        source: Source<'_>,
        platform: &Platform,
        progress: &dyn Progress,
    ) -> Result<Vec<Loaded>, EngineError> {
        Ok(archive::load(self.store()?, source, platform, progress)?)
    }

    /// Writes images as an archive, under the names that they are called by. A repository without a tag means all of its
    /// images.
    ///
    /// # Errors
    /// One of them is not there, or its layers were not kept; the archive cannot be written.
    pub fn save_images(&self, references: &[String], output: impl Write) -> Result<(), EngineError> {
        let mut chosen = Vec::<(StoredImage, Vec<Reference>)>::new();
        for reference in references {
            for (image, name) in self.called(reference)? {
                match chosen.iter_mut().find(|(known, _)| known.manifest.digest() == image.manifest.digest()) {
                    Some((_, names)) => names.extend(name.filter(|name| !names.contains(name))),
                    None => chosen.push((image, name.into_iter().collect())),
                }
            }
        }
        let images = chosen.iter().map(|(image, names)| (image, names.clone())).collect::<Vec<_>>();
        Ok(archive::save(self.store()?, &images, Format::Docker, output)?)
    }

    /// The images that a reference means, each with the name that it is meant by, if it is by one.
    fn called(&self, text: &str) -> Result<Vec<(StoredImage, Option<Reference>)>, EngineError> {
        if let Ok(name) = Reference::parse_name(text)
            && name.tag().is_none()
            && name.digest().is_none()
        {
            let mut found = Vec::new();
            for image in self.store()?.images()? {
                let own = image.names.iter().filter(|known| known.tag().is_some() && known.name() == name.name());
                found.extend(own.map(|known| (image.clone(), Some(known.clone()))));
            }
            if !found.is_empty() {
                return Ok(found);
            }
        }
        let image = self.stored_image(text)?;
        let name = Reference::parse(text).ok().filter(|name| image.names.contains(name));
        Ok(vec![(image, name)])
    }

    /// Makes an image of a tar of files.
    ///
    /// # Errors
    /// The tar cannot be laid out.
    pub fn import_image(
        &self,
        source: impl Read,
        recipe: Recipe,
        name: Option<Reference>,
        progress: &dyn Progress,
    ) -> Result<StoredImage, EngineError> {
        let names: Vec<_> = name.into_iter().collect();
        Ok(archive::build(self.store()?, None, source, recipe, &names, progress)?)
    }

    /// Finds out whether a registry accepts a credential, and keeps it; true if it now stands in a file unencrypted.
    ///
    /// # Errors
    /// The registry does not accept it, or it cannot be kept.
    pub fn login(&self, registry: &str, credential: &Credential) -> Result<bool, EngineError> {
        client()?.login(registry, credential)?;
        Ok(DockerConfig::of_user()?.store(registry, credential)?)
    }

    /// The credential that is kept for a registry.
    ///
    /// # Errors
    /// Those that are kept cannot be read.
    pub fn kept_credential(&self, registry: &str) -> Result<Option<Credential>, EngineError> {
        Ok(DockerConfig::of_user()?.credential(registry)?)
    }

    /// Forgets the credential for a registry; false if there was none.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn logout(&self, registry: &str) -> Result<bool, EngineError> {
        Ok(DockerConfig::of_user()?.erase(registry)?)
    }
}
