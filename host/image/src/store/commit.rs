//! The end of an import, and the names of images.

use super::import::Import;
use super::index_file::Entry;
use super::lease::Thing;
use super::{Store, StoreError, StoredImage, exists, hex};
use crate::reference::Reference;
use oci_spec::image::Descriptor;

impl Import<'_> {
    /// Makes an image of what has been added, under these names. Whoever had one of the names before keeps its others, or
    /// goes on without a name. When this returns, image and names are on the disk; before, there is nothing of them.
    ///
    /// # Errors
    /// Something that the manifest names has not been added; the layers do not make a tree; those of the disk.
    pub fn commit(self, manifest: &Descriptor, names: &[Reference]) -> Result<StoredImage, StoreError> {
        let store = self.store;
        let image = store.load(manifest, &[])?;
        self.lease.protect(&store.things_of(&image)?)?;
        for layer in &image.layers {
            let path = store.layer_path(hex(&layer.diff_id)?);
            if !exists(&path.join(hex(layer.descriptor.digest())?)) {
                return Err(StoreError::Missing(format!("layer {}", layer.descriptor.digest())));
            }
        }
        self.lease.protect(&[Thing::RootFs(image.chain_id().digest().to_owned())])?;
        store.rootfs_with(&image, &self)?;
        let _guard = store.lock()?;
        let mut entries = store.read_index()?;
        give_names(&mut entries, manifest, names);
        store.write_index(&entries)?;
        store.load(manifest, &entries)
    }
}

/// Gives names to an image: from now on they are nobody else's.
fn give_names(entries: &mut Vec<Entry>, manifest: &Descriptor, names: &[Reference]) {
    for name in names {
        take_name(entries, name);
    }
    let known = entries.iter().any(|entry| entry.manifest.digest() == manifest.digest());
    // With a name, the entry that stands for none is not needed any more.
    if !names.is_empty() {
        entries.retain(|entry| entry.manifest.digest() != manifest.digest() || entry.name.is_some());
    } else if !known {
        entries.push(Entry { manifest: manifest.clone(), name: None });
    }
    entries.extend(names.iter().map(|name| Entry { manifest: manifest.clone(), name: Some(name.clone()) }));
}

/// Takes a name from who has it; an image that has no other stays as one without a name.
pub(super) fn take_name(entries: &mut Vec<Entry>, name: &Reference) -> Option<Descriptor> {
    let position = entries.iter().position(|entry| entry.name.as_ref() == Some(name))?;
    let manifest = entries[position].manifest.clone();
    if entries.iter().filter(|entry| entry.manifest.digest() == manifest.digest()).count() > 1 {
        entries.remove(position);
    } else {
        entries[position].name = None;
    }
    Some(manifest)
}

impl Store {
    /// Gives an image one more name, which is taken from whoever has it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the image is gone, and those of the disk.
    pub fn tag(&self, image: &StoredImage, name: &Reference) -> Result<(), StoreError> {
        let _guard = self.lock()?;
        let mut entries = self.read_index()?;
        if !entries.iter().any(|entry| entry.manifest.digest() == image.manifest.digest()) {
            return Err(StoreError::NotFound(image.id.to_string()));
        }
        give_names(&mut entries, &image.manifest, std::slice::from_ref(name));
        self.write_index(&entries)
    }

    /// Takes a name away; the image stays, if need be without one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if nothing is called so, and those of the disk.
    pub fn untag(&self, name: &Reference) -> Result<(), StoreError> {
        let _guard = self.lock()?;
        let mut entries = self.read_index()?;
        take_name(&mut entries, name).ok_or_else(|| StoreError::NotFound(name.familiar()))?;
        self.write_index(&entries)
    }
}
