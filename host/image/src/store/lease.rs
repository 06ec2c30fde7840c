//! Leases: what is being worked with is not taken away.
//!
//! A lease is a directory with a locked file, and a list of what it protects. A lock that can be taken belongs to a
//! process that died: then the directory goes, with the temporary files in it. Entries are added, and what nobody needs is
//! taken away, under the store's lock: so what is on a list before somebody looks whether it exists, stays.

use super::{Store, StoreError, StoredImage, hex};
use hull_platform::lock::FileLock;
use hull_platform::random;
use oci_spec::image::Digest;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A thing in the store that can be taken away.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Thing {
    /// A blob, by its digest.
    Blob(String),
    /// A layer that is laid out, by its diff ID.
    Layer(String),
    /// An image's metadata, by its chain ID.
    RootFs(String),
}

impl Thing {
    pub fn blob(digest: &Digest) -> Result<Self, StoreError> {
        Ok(Self::Blob(hex(digest)?.to_owned()))
    }

    pub fn layer(diff_id: &Digest) -> Result<Self, StoreError> {
        Ok(Self::Layer(hex(diff_id)?.to_owned()))
    }

    fn line(&self) -> String {
        match self {
            Self::Blob(hex) => format!("blob {hex}\n"),
            Self::Layer(hex) => format!("layer {hex}\n"),
            Self::RootFs(hex) => format!("rootfs {hex}\n"),
        }
    }

    /// A line that was cut when its writer died says nothing that is needed.
    fn read(line: &str) -> Option<Self> {
        let (kind, hex) = line.split_once(' ')?;
        let hex = hex.to_owned();
        match kind {
            "blob" => Some(Self::Blob(hex)),
            "layer" => Some(Self::Layer(hex)),
            "rootfs" => Some(Self::RootFs(hex)),
            _ => None,
        }
    }
}

const LOCK: &str = "lock";
const LIST: &str = "things";

/// A lease. What it protects may be taken away once it is dropped, unless an image has it by then.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    store: &'a Store,
    directory: PathBuf,
    list: Mutex<File>,
    _lock: FileLock,
}

impl<'a> Lease<'a> {
    /// Takes a lease that protects nothing yet.
    pub fn take(store: &'a Store) -> Result<Self, StoreError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |error| StoreError::io("create", &path, error)
        };
        let imports = store.root.join("imports");
        let name = random::array::<8>().map_err(failed(&imports))?;
        let directory = imports.join(format!("{:016x}", u64::from_le_bytes(name)));
        let _guard = store.lock()?;
        fs::create_dir(&directory).map_err(failed(&directory))?;
        let lock = FileLock::acquire(&directory.join(LOCK)).map_err(failed(&directory))?;
        let list = File::create_new(directory.join(LIST)).map_err(failed(&directory))?;
        Ok(Self { store, directory, list: Mutex::new(list), _lock: lock })
    }

    /// Protects things, whether they exist or not.
    pub fn protect(&self, things: &[Thing]) -> Result<(), StoreError> {
        let lines: String = things.iter().map(Thing::line).collect();
        let mut list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        let _guard = self.store.lock()?;
        list.write_all(lines.as_bytes()).map_err(|error| StoreError::io("write", &self.directory.join(LIST), error))
    }

    /// A directory for temporary files, which goes with the lease.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for Lease<'_> {
    /// What cannot be removed now goes with the next sweep, as after a death.
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.directory));
    }
}

/// Keeps an image's files where they are while somebody opens them, or writes down that they are needed.
#[derive(Debug)]
pub struct Hold<'a> {
    _lease: Lease<'a>,
}

impl Store {
    /// Protects an image from being taken away, until the hold is dropped. Whoever makes a container takes one before, and
    /// drops it when the container is among those that [`super::Users`] tells of.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if the image is gone already.
    pub fn hold(&self, image: &StoredImage) -> Result<Hold<'_>, StoreError> {
        let lease = Lease::take(self)?;
        lease.protect(&self.things_of(image)?)?;
        match self.image_by_manifest(&image.manifest)? {
            Some(_) => Ok(Hold { _lease: lease }),
            None => Err(StoreError::NotFound(image.id.to_string())),
        }
    }

    /// What living leases protect; the directories of dead ones are removed. For holders of the store's lock.
    pub(super) fn leased(&self) -> Result<HashSet<Thing>, StoreError> {
        let imports = self.root.join("imports");
        let failed = |error| StoreError::io("read", &imports, error);
        let mut things = HashSet::new();
        for entry in fs::read_dir(&imports).map_err(failed)? {
            let directory = entry.map_err(failed)?.path();
            match FileLock::try_acquire(&directory.join(LOCK)) {
                Ok(Some(_dead)) => drop(fs::remove_dir_all(&directory)),
                Ok(None) => {
                    let list = fs::read_to_string(directory.join(LIST)).unwrap_or_default();
                    things.extend(list.lines().filter_map(Thing::read));
                }
                // It has just been dropped.
                Err(_) => {}
            }
        }
        Ok(things)
    }
}
