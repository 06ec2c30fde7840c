//! The room that images and containers take, and getting it back.

use crate::engine::Engine;
use crate::error::EngineError;
use hull_image::Store;
use hull_image::store::Removed;
use hull_platform::file;
use hull_state::{ContainerDir, Status};
use std::fs;
use std::path::Path;

/// What one kind of thing takes on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// How many there are.
    pub total: usize,
    /// How many are in use.
    pub active: usize,
    /// The bytes on the disk, each counted once.
    pub size: u64,
    /// The bytes that those take that are not in use.
    pub reclaimable: u64,
}

/// What everything takes on the disk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskUsage {
    /// Images; in use are those that containers have.
    pub images: Share,
    /// Containers, with their writable layers and logs; in use are those that run.
    pub containers: Share,
}

/// What a prune took away.
#[derive(Debug, Clone, Default)]
pub struct Pruned {
    /// The ids of containers.
    pub containers: Vec<String>,
    /// The bytes that they took.
    pub container_bytes: u64,
    /// Images.
    pub images: Removed,
}

impl Engine {
    /// What everything takes on the disk.
    ///
    /// # Errors
    /// The state directory or the store cannot be read.
    pub fn disk_usage(&self) -> Result<DiskUsage, EngineError> {
        let mut containers = Share::default();
        for container in self.root.containers()? {
            let Ok(state) = container.state() else { continue };
            let size = allocated(container.path());
            containers.total += 1;
            containers.size += size;
            if state.status == Status::Running {
                containers.active += 1;
            } else {
                containers.reclaimable += size;
            }
        }
        Ok(DiskUsage { images: self.image_usage()?, containers })
    }

    fn image_usage(&self) -> Result<Share, EngineError> {
        if !Store::exists(&self.root.images_path()) {
            return Ok(Share::default());
        }
        let (store, users) = (self.store()?, self.image_users()?);
        let (usage, reclaimable) = (store.usage()?, store.reclaimable(&users)?);
        let active = usage.images.iter().filter(|image| users.contains(&image.id)).count();
        Ok(Share { total: usage.images.len(), active, size: usage.total(), reclaimable })
    }

    /// Removes the containers that do not run, then the images without a name, or with `all` those that no container has.
    ///
    /// # Errors
    /// The state directory or the store cannot be changed.
    pub fn prune(&self, all: bool) -> Result<Pruned, EngineError> {
        let mut pruned = Pruned::default();
        for container in self.root.containers()? {
            self.prune_container(container, &mut pruned)?;
        }
        if Store::exists(&self.root.images_path()) {
            pruned.images = self.prune_images(all, &|_| true)?;
        }
        Ok(pruned)
    }

    fn prune_container(&self, container: ContainerDir, pruned: &mut Pruned) -> Result<(), EngineError> {
        let (id, size) = (container.id().to_string(), allocated(container.path()));
        match self.remove(container, false) {
            Ok(()) => {
                pruned.containers.push(id);
                pruned.container_bytes += size;
                Ok(())
            }
            // It runs, or somebody else has removed it.
            Err(EngineError::RemoveRunning(_) | EngineError::NoSuchContainer(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// The room that the files of a directory take. What goes away meanwhile takes none.
fn allocated(directory: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => bytes += allocated(&entry.path()),
            _ => bytes += file::allocated_bytes(&entry.path()).unwrap_or_default(),
        }
    }
    bytes
}
