//! Puts the files of containers into the two window disks of a VM.

use super::vmm_link::{Vmm, VmmError};
use super::windows::{ImageUse, Images, Window, WindowError};
use crate::control::{Disk, Order};
use hull_platform::handle::Handle;
use hull_protocol::agent::{Extent, RootDisk};
use hull_virtio::device::block::CAPACITY;
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Why a container's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A file cannot be opened or looked at.
    #[error("cannot open {path}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file does not fit.
    #[error("cannot map {path}")]
    Window {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: WindowError,
    },
    /// The vmm did not map it.
    #[error("cannot map {path}")]
    Vmm {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: VmmError,
    },
}

/// The windows of one VM.
#[derive(Debug)]
pub struct Disks {
    images: Mutex<Images>,
    data: Mutex<Window>,
}

/// The files of one container, mapped.
#[derive(Debug)]
pub struct Mounted {
    image: PathBuf,
    data: Disk,
    /// Where they are.
    pub root: RootDisk,
}

impl Default for Disks {
    fn default() -> Self {
        Self { images: Mutex::new(Images::new(CAPACITY)), data: Mutex::new(Window::new(CAPACITY)) }
    }
}

impl Disks {
    /// Maps an image, if no other container has it mapped already, and a container's data, which goes when the container
    /// ends if it is `scratch`.
    ///
    /// # Errors
    /// See [`DiskError`]; then nothing stays mapped.
    pub fn mount(&self, vmm: &Vmm, image: &Path, data: &Path, scratch: bool) -> Result<Mounted, DiskError> {
        let image_extent = self.map_image(vmm, image)?;
        let disk = if scratch { Disk::Scratch } else { Disk::Data };
        match self.map_data(vmm, disk, data) {
            Ok(data) => {
                let root = RootDisk { image: image_extent, data };
                Ok(Mounted { image: image.to_owned(), data: disk, root })
            }
            Err(error) => {
                self.release_image(vmm, image);
                Err(error)
            }
        }
    }

    /// Takes them away again.
    pub fn unmount(&self, vmm: &Vmm, mounted: &Mounted) {
        self.release_data(vmm, mounted.data, mounted.root.data);
        self.release_image(vmm, &mounted.image);
    }

    fn map_image(&self, vmm: &Vmm, path: &Path) -> Result<Extent, DiskError> {
        let (file, length) = open(path, OpenOptions::new().read(true))?;
        // The lock is kept until the image is mapped: the next user of it must not be told before that it is.
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        match images.acquire(path, length).map_err(|source| DiskError::Window { path: path.to_owned(), source })? {
            ImageUse::Mapped(extent) => Ok(extent),
            ImageUse::MapAt(extent) => {
                let mapped = map(vmm, Disk::Images, extent, path, file);
                if mapped.is_err() {
                    images.release(path);
                }
                mapped.map(|()| extent)
            }
        }
    }

    fn map_data(&self, vmm: &Vmm, disk: Disk, path: &Path) -> Result<Extent, DiskError> {
        let (file, length) = open(path, OpenOptions::new().read(true).write(true))?;
        let extent = self.data().take(length).map_err(|source| DiskError::Window { path: path.to_owned(), source })?;
        map(vmm, disk, extent, path, file).inspect_err(|_| self.data().give_back(extent))?;
        Ok(extent)
    }

    fn data(&self) -> std::sync::MutexGuard<'_, Window> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release_data(&self, vmm: &Vmm, disk: Disk, extent: Extent) {
        // A range that may still be mapped is never given out again: two containers would share it.
        if unmap(vmm, disk, extent) {
            self.data().give_back(extent);
        }
    }

    fn release_image(&self, vmm: &Vmm, path: &Path) {
        let mut images = self.images.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(extent) = images.release(path) {
            unmap(vmm, Disk::Images, extent);
        }
    }
}

fn open(path: &Path, options: &OpenOptions) -> Result<(File, u64), DiskError> {
    let failed = |source| DiskError::Open { path: path.to_owned(), source };
    let file = options.open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    Ok((file, length))
}

fn map(vmm: &Vmm, disk: Disk, extent: Extent, path: &Path, file: File) -> Result<(), DiskError> {
    let mapped = vmm.order(&Order::Map { disk, extent }, &[&Handle::from(file)]);
    mapped.map_err(|source| DiskError::Vmm { path: path.to_owned(), source })
}

fn unmap(vmm: &Vmm, disk: Disk, extent: Extent) -> bool {
    match vmm.order(&Order::Unmap { disk, extent }, &[]) {
        Ok(()) => true,
        // With the VM everything is unmapped.
        Err(VmmError::Gone) => false,
        Err(error) => {
            log::error!("cannot unmap {extent:?} of {disk:?}: {}", crate::text::chain(&error));
            false
        }
    }
}
