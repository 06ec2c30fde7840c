//! The root of the state directory.

use crate::container::ContainerDir;
use crate::document;
use crate::record::{ContainerRecord, Lifetime, VmRecord};
use crate::shelf::{Durability, Shelf};
use crate::vm::VmDir;
use crate::{StateError, VERSION};
use hull_platform::lock::FileLock;
use hull_platform::{dirs, file};
use hull_protocol::{ContainerId, VmId};
use serde::Serialize;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

const VERSION_FILE: &str = "version";

/// An opened state directory.
#[derive(Debug, Clone)]
pub struct StateRoot {
    path: PathBuf,
}

impl StateRoot {
    /// Opens the state directory, and makes it on first use.
    ///
    /// # Errors
    /// It cannot be made, is not writable, or has another version.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let root = Self { path: path.to_owned() };
        let version = path.join(VERSION_FILE);
        match fs::read_to_string(&version) {
            Ok(found) if found.trim_end() == VERSION.to_string() => {}
            Ok(found) => {
                let found = found.trim_end().chars().take(40).collect();
                return Err(StateError::Version { path: version, found });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => root.make()?,
            Err(error) => return Err(StateError::io("read", &version)(error)),
        }
        if file::is_writable_dir(path) { Ok(root) } else { Err(StateError::NotWritable(path.to_owned())) }
    }

    /// The version comes last: where it is, all else is too. One command makes it at a time, so that what one that was
    /// killed on the way left behind can be told from what another is writing.
    fn make(&self) -> Result<(), StateError> {
        dirs::create_private_all(&self.path).map_err(|error| self.not_made(&self.path, error))?;
        let _making = FileLock::acquire(&self.path.join(".lock")).map_err(|error| self.not_made(&self.path, error))?;
        for shelf in [self.containers_shelf(), self.vms_shelf()] {
            shelf.make()?;
        }
        self.sweep_versions()?;
        let version = self.path.join(VERSION_FILE);
        match file::create_exclusive(&version, format!("{VERSION}\n").as_bytes()) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(self.not_made(&version, error)),
            _ => Ok(()),
        }
    }

    /// Deletes half-written version files.
    fn sweep_versions(&self) -> Result<(), StateError> {
        let failed = StateError::io("read", &self.path);
        let entries = fs::read_dir(&self.path).and_then(Iterator::collect::<io::Result<Vec<_>>>).map_err(failed)?;
        for entry in entries {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(&format!(".{VERSION_FILE}.")) && name.ends_with(".tmp") {
                fs::remove_file(entry.path()).map_err(StateError::io("delete", &entry.path()))?;
            }
        }
        Ok(())
    }

    fn not_made(&self, what: &Path, error: io::Error) -> StateError {
        match error.kind() {
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => StateError::NotWritable(self.path.clone()),
            _ => StateError::io("create", what)(error),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory of the store of images. Whoever keeps images makes it.
    pub fn images_path(&self) -> PathBuf {
        self.path.join("images")
    }

    pub(crate) fn containers_shelf(&self) -> Shelf {
        Shelf {
            what: "container",
            entries: self.path.join("containers"),
            names: self.path.join("names"),
            record: "record.json",
        }
    }

    pub(crate) fn vms_shelf(&self) -> Shelf {
        Shelf { what: "VM", entries: self.path.join("vms"), names: self.path.join("vm-names"), record: "vm.json" }
    }

    /// Makes a container: claims its name and publishes its directory. When this returns, it is on the disk, unless it
    /// is to be removed at its end.
    ///
    /// # Errors
    /// [`StateError::NameTaken`], [`StateError::InvalidName`], and those of the disk.
    pub fn create_container(&self, record: &ContainerRecord) -> Result<ContainerDir, StateError> {
        self.create_container_with(record, |_| Ok(()))
    }

    /// As [`StateRoot::create_container`], with more files, which `fill` puts into the directory that it is given before
    /// anybody sees it. Nothing is left if it fails.
    ///
    /// # Errors
    /// As for [`StateRoot::create_container`], and those of `fill`.
    pub fn create_container_with(
        &self,
        record: &ContainerRecord,
        fill: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<ContainerDir, StateError> {
        let shelf = self.containers_shelf();
        let draft = shelf.draft(Some(&record.name))?;
        fill(draft.path()).map_err(StateError::io("write the files of a container into", &shelf.entries))?;
        let bytes = document::encode(draft.path(), record)?;
        let durability = if record.config.auto_remove { Durability::Whole } else { Durability::Kept };
        let lock = draft.publish(record.id.as_str(), &bytes, durability)?;
        drop(lock);
        Ok(self.container(&record.id))
    }

    /// The container with this id, whether it exists or not.
    pub fn container(&self, id: &ContainerId) -> ContainerDir {
        ContainerDir::new(self.containers_shelf(), id.clone())
    }

    /// All containers, in no order. Clears away, in passing, what commands that died left half made or half removed.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub fn containers(&self) -> Result<Vec<ContainerDir>, StateError> {
        let ids = self.containers_shelf().list()?;
        Ok(ids.iter().filter_map(|id| Some(self.container(&id.parse().ok()?))).collect())
    }

    /// The container that the user calls `reference`: its whole id, its name, or the beginning of its id.
    ///
    /// # Errors
    /// [`StateError::NotFound`] and [`StateError::Ambiguous`].
    pub fn find_container(&self, reference: &str) -> Result<ContainerDir, StateError> {
        let is_id = |text: &str| text.parse::<ContainerId>().is_ok();
        let id = self.containers_shelf().find(reference, &is_id)?;
        self.known(id.parse().ok(), "container", reference).map(|id| self.container(&id))
    }

    /// Makes a VM: claims its name, if it has one, and publishes its directory. When this returns, a named VM is on the
    /// disk.
    ///
    /// # Errors
    /// [`StateError::NameTaken`], [`StateError::InvalidName`], and those of the disk.
    pub fn create_vm<P: Serialize>(&self, record: &VmRecord<P>) -> Result<VmDir, StateError> {
        self.create_vm_locked(record).map(|(vm, _)| vm)
    }

    /// As [`StateRoot::create_vm`], with the VM's lock, held from before anybody sees the VM. Handed over to the shim, it
    /// proves without a gap that the VM is alive.
    ///
    /// # Errors
    /// As for [`StateRoot::create_vm`].
    pub fn create_vm_locked<P: Serialize>(&self, record: &VmRecord<P>) -> Result<(VmDir, FileLock), StateError> {
        let shelf = self.vms_shelf();
        let draft = shelf.draft(record.name.as_deref())?;
        VmDir::write_socket_path(draft.path(), &record.id)?;
        let bytes = document::encode(draft.path(), record)?;
        let durability = match record.lifetime {
            Lifetime::WithContainer => Durability::Whole,
            Lifetime::Named => Durability::Kept,
        };
        let lock = draft.publish(record.id.as_str(), &bytes, durability)?;
        Ok((self.vm(&record.id), lock))
    }

    /// The VM with this id, whether it exists or not.
    pub fn vm(&self, id: &VmId) -> VmDir {
        VmDir::new(self.vms_shelf(), id.clone())
    }

    /// All VMs, in no order. Clears away, in passing, what commands that died left half made or half removed.
    ///
    /// # Errors
    /// Those of reading the directory.
    pub fn vms(&self) -> Result<Vec<VmDir>, StateError> {
        Ok(self.vms_shelf().list()?.iter().filter_map(|id| Some(self.vm(&id.parse().ok()?))).collect())
    }

    /// The VM that the user calls `reference`: its whole id, its name, or the beginning of its id.
    ///
    /// # Errors
    /// [`StateError::NotFound`] and [`StateError::Ambiguous`].
    pub fn find_vm(&self, reference: &str) -> Result<VmDir, StateError> {
        let id = self.vms_shelf().find(reference, &|text| text.parse::<VmId>().is_ok())?;
        self.known(id.parse().ok(), "VM", reference).map(|id| self.vm(&id))
    }

    /// The VM with exactly this name.
    ///
    /// # Errors
    /// [`StateError::NotFound`].
    pub fn find_vm_name(&self, name: &str) -> Result<VmDir, StateError> {
        let id = self.vms_shelf().find_name(name)?.and_then(|id| id.parse().ok());
        self.known(id, "VM", name).map(|id| self.vm(&id))
    }

    fn known<T>(&self, id: Option<T>, what: &'static str, reference: &str) -> Result<T, StateError> {
        id.ok_or_else(|| StateError::NotFound { what, reference: reference.to_owned() })
    }
}

#[cfg(test)]
mod tests;
