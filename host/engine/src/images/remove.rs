//! Names of images, and taking images away.

use crate::engine::Engine;
use crate::error::EngineError;
use hull_image::store::{Conflicts, Prune, Removed};
use hull_image::{Reference, StoreError, StoredImage};
use hull_state::StateError;
use oci_spec::image::Digest;
use std::collections::HashSet;

impl Engine {
    /// Gives an image one more name.
    ///
    /// # Errors
    /// There is no such image; the name is none, or has a digest.
    pub fn tag_image(&self, source: &str, target: &str) -> Result<(), EngineError> {
        let name = Reference::parse(target)?;
        if name.digest().is_some() {
            return Err(EngineError::Invalid(format!("{target} has a digest, which nobody can choose: give a tag")));
        }
        Ok(self.store()?.tag(&self.stored_image(source)?, &name)?)
    }

    /// Removes a name, and with its last name the image. With `force`, all its names; it stays without any while a
    /// container has it.
    ///
    /// # Errors
    /// There is no such image; a container has it; it is called by its id and has several names.
    pub fn remove_image(&self, reference: &str, force: bool) -> Result<Removed, EngineError> {
        let image = self.stored_image(reference)?;
        let conflicts = if force { Conflicts::Override } else { Conflicts::Refuse };
        match self.store()?.remove(reference, conflicts, &|| self.image_users()) {
            Err(StoreError::Conflict { .. }) => Err(self.conflict(reference, &image)?),
            other => Ok(other?),
        }
    }

    /// Why an image is not removed, in Docker's words.
    fn conflict(&self, reference: &str, image: &StoredImage) -> Result<EngineError, EngineError> {
        let id = image.id.to_string();
        let user = self.list()?.into_iter().find(|entry| entry.record.image_id == id);
        let short = image.id.digest().get(..12).unwrap_or_default();
        let by_name = Reference::parse(reference).is_ok_and(|name| image.names.contains(&name));
        let what = if by_name {
            format!("unable to remove repository reference \"{reference}\" (must force)")
        } else {
            format!("unable to delete {short} (must be forced)")
        };
        let why = match user {
            Some(entry) => {
                format!("container {} is using its referenced image {short}", entry.record.id.short())
            }
            None if image.names.len() > 1 && !by_name => "image is referenced in multiple repositories".to_owned(),
            None => "a container is being made of it, or it is being pulled".to_owned(),
        };
        Ok(EngineError::Invalid(format!("conflict: {what} - {why}")))
    }

    /// Removes the images without a name, or with `all` those that no container has, which `accept` agrees to.
    ///
    /// # Errors
    /// The store's.
    pub fn prune_images(&self, all: bool, accept: &dyn Fn(&StoredImage) -> bool) -> Result<Removed, EngineError> {
        let prune = if all { Prune::Unused } else { Prune::Nameless };
        Ok(self.store()?.prune(prune, accept, &|| self.image_users())?)
    }

    /// The images that containers have. If one cannot be read, none may go.
    pub(super) fn image_users(&self) -> Result<HashSet<Digest>, StoreError> {
        let failed = |error: StateError| StoreError::Users(Box::new(error));
        let mut users = HashSet::new();
        for container in self.root.containers().map_err(failed)? {
            match container.record() {
                // What is no digest is no image of the store.
                Ok(record) => users.extend(record.image_id.parse::<Digest>().ok()),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(users)
    }
}
