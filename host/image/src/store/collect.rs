//! Taking away: images that are removed, and what nothing needs any more.

use super::commit::take_name;
use super::index_file::Entry;
use super::lease::Thing;
use super::{Store, StoreError, StoredImage};
use crate::reference::Reference;
use hull_platform::file;
use hull_platform::lock::FileLock;
use oci_spec::image::Digest;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Who else needs images: tells the ids of those that containers have. It is asked under the store's lock.
pub type Users<'a> = &'a dyn Fn() -> Result<HashSet<Digest>, StoreError>;

/// What happens to an image that has more names than the one given, or that a container has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflicts {
    /// It stays as it is, and that is an error.
    Refuse,
    /// It loses its names, and goes unless a container has it.
    Override,
}

/// What a prune takes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prune {
    /// Images without a name.
    Nameless,
    /// Images that no container has.
    Unused,
}

/// What was taken away.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names.
    pub untagged: Vec<Reference>,
    /// Images, by id.
    pub images: Vec<Digest>,
    /// The room that it gave back on the disk.
    pub bytes: u64,
}

impl Store {
    /// Removes what a user calls so: a name, and with its last name the image; or an image by id, with its name.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Ambiguous`], [`StoreError::Conflict`], and those of the disk.
    pub fn remove(&self, name_or_id: &str, conflicts: Conflicts, users: Users<'_>) -> Result<Removed, StoreError> {
        let guard = self.lock()?;
        let leased = self.leased()?;
        let image = self.resolve(name_or_id)?;
        let called = Reference::parse(name_or_id).ok().filter(|name| image.names.contains(name));
        let mut entries = self.read_index()?;
        let tags = |names: &[Reference]| names.iter().filter(|name| name.tag().is_some()).count();
        let mut removed = Removed::default();
        if let Some(name) = called
            && tags(&image.names) > 1
        {
            take_name(&mut entries, &name);
            removed.untagged.push(name);
        } else {
            // Whoever makes a container, or pulls the image again, holds a lease.
            let used = users()?.contains(&image.id) || leased.contains(&Thing::blob(image.manifest.digest())?);
            let reason = match conflicts {
                Conflicts::Override => None,
                Conflicts::Refuse if used => Some("a container has it, or is being made of it".to_owned()),
                Conflicts::Refuse if tags(&image.names) > 1 => Some("it has several names".to_owned()),
                Conflicts::Refuse => None,
            };
            if let Some(reason) = reason {
                return Err(StoreError::Conflict { image: name_or_id.to_owned(), reason });
            }
            forget(&mut entries, &image, used, &mut removed);
        }
        removed.bytes = self.keep_only(&entries, guard)?;
        Ok(removed)
    }

    /// Removes the images that nobody needs and `accept` agrees to, and what else nothing leads to.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn prune(
        &self,
        prune: Prune,
        accept: &dyn Fn(&StoredImage) -> bool,
        users: Users<'_>,
    ) -> Result<Removed, StoreError> {
        let guard = self.lock()?;
        // Leases first: a container's maker drops its lease after writing that the container has the image.
        let leased = self.leased()?;
        let users = users()?;
        let mut entries = self.read_index()?;
        let mut removed = Removed::default();
        for image in self.images()? {
            let nameless = !image.names.iter().any(|name| name.tag().is_some());
            let needed = users.contains(&image.id) || leased.contains(&Thing::blob(image.manifest.digest())?);
            if !needed && (nameless || prune == Prune::Unused) && accept(&image) {
                forget(&mut entries, &image, false, &mut removed);
            }
        }
        removed.bytes = self.keep_only(&entries, guard)?;
        Ok(removed)
    }

    /// Makes `entries` the index and takes away what nothing leads to any more; the room that it gives back. Others may go on
    /// as soon as it is out of their sight.
    fn keep_only(&self, entries: &[Entry], guard: FileLock) -> Result<u64, StoreError> {
        self.write_index(entries)?;
        let trash = self.sweep(entries)?;
        drop(guard);
        Ok(trash.empty())
    }

    /// Moves away what neither an image nor a lease needs. For holders of the store's lock.
    fn sweep(&self, entries: &[Entry]) -> Result<Trash, StoreError> {
        let mut needed = self.leased()?;
        for entry in entries {
            // What cannot be read is damaged, but it is what is left of an image.
            needed.insert(Thing::blob(entry.manifest.digest())?);
            if let Ok(image) = self.load(&entry.manifest, entries) {
                needed.extend(self.things_of(&image)?);
            }
        }
        let trash = Trash::new(self)?;
        self.sweep_directory(&trash, "blobs/sha256", |name| needed.contains(&Thing::Blob(name.to_owned())))?;
        self.sweep_directory(&trash, "layers", |name| needed.contains(&Thing::Layer(name.to_owned())))?;
        self.sweep_directory(&trash, "rootfs", |name| {
            name.strip_suffix(".erofs").is_some_and(|chain| needed.contains(&Thing::RootFs(chain.to_owned())))
        })?;
        Ok(trash)
    }

    fn sweep_directory(&self, trash: &Trash, name: &str, needed: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let directory = self.root.join(name);
        let failed = |error| StoreError::io("read", &directory, error);
        for entry in fs::read_dir(&directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !needed(&entry.file_name().to_string_lossy()) {
                trash.take(&entry.path())?;
            }
        }
        Ok(())
    }
}

/// Takes an image off the index; one that a container has stays, without a name.
fn forget(entries: &mut Vec<Entry>, image: &StoredImage, used: bool, removed: &mut Removed) {
    let own = |entry: &Entry| entry.manifest.digest() == image.manifest.digest();
    entries.retain(|entry| !own(entry));
    if used {
        entries.push(Entry { manifest: image.manifest.clone(), name: None });
    } else {
        removed.images.push(image.id.clone());
    }
    removed.untagged.extend(image.names.iter().cloned());
}

/// What has been moved away, and is deleted without anybody waiting for it. It lies among the imports, without a lock: whoever
/// finds it after this process has died deletes it.
struct Trash {
    directory: PathBuf,
}

impl Trash {
    fn new(store: &Store) -> Result<Self, StoreError> {
        let imports = store.root.join("imports");
        let name = super::blobs::temporary_name().map_err(|error| StoreError::io("create in", &imports, error))?;
        Ok(Self { directory: imports.join(name) })
    }

    fn take(&self, path: &Path) -> Result<(), StoreError> {
        let failed = |error| StoreError::io("remove", path, error);
        fs::create_dir_all(&self.directory).map_err(failed)?;
        let name = super::blobs::temporary_name().map_err(failed)?;
        fs::rename(path, self.directory.join(name)).map_err(failed)
    }

    /// Deletes it, and tells how much room that gave.
    fn empty(self) -> u64 {
        let bytes = allocated(&self.directory);
        drop(fs::remove_dir_all(&self.directory));
        bytes
    }
}

/// The room that a directory's files take.
pub(super) fn allocated(directory: &Path) -> u64 {
    let mut bytes = 0;
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                _ => bytes += file::allocated_bytes(&entry.path()).unwrap_or_default(),
            }
        }
    }
    bytes
}
