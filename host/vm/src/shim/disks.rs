//! Puts the files of containers into the two window disks of a VM.

use super::vmm_link::{Vmm, VmmError};
use super::windows::{Images, Window, WindowError};
use crate::control::{Disk, Order};
use hull_platform::handle::Handle;
use hull_protocol::agent::{Extent, RootDisk};
use hull_virtio::device::block::CAPACITY;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

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
    image: Vec<PathBuf>,
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
    /// Maps the files of an image, if no other container has it mapped already, and a container's data, which goes when the container
    /// ends if it is `scratch`.
    ///
    /// # Errors
    /// See [`DiskError`]; then nothing stays mapped.
    pub fn mount(&self, vmm: &Vmm, image: &[PathBuf], data: &Path, scratch: bool) -> Result<Mounted, DiskError> {
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

    fn map_image(&self, vmm: &Vmm, files: &[PathBuf]) -> Result<Extent, DiskError> {
        // The lock is kept until the image is mapped: the next user of it must not be told before that it is.
        let mut images = self.images();
        if let Some(extent) = images.join(files) {
            return Ok(extent);
        }
        let lengths = files.iter().map(|path| length_of(path)).collect::<Result<Vec<_>, _>>()?;
        let (whole, pieces) = images
            .take(files, &lengths)
            .map_err(|source| DiskError::Window { path: files.first().cloned().unwrap_or_default(), source })?;
        for (index, (path, piece)) in files.iter().zip(&pieces).enumerate() {
            // Opened one by one: an image may have more layers than a process has descriptors.
            let mapped = open(path, OpenOptions::new().read(true))
                .and_then(|(file, _)| map(vmm, Disk::Images, *piece, path, file));
            if let Err(error) = mapped {
                images.leave(files);
                if unmap_all(vmm, &pieces[..index]) {
                    images.give_back(&pieces);
                }
                return Err(error);
            }
        }
        Ok(whole)
    }

    fn map_data(&self, vmm: &Vmm, disk: Disk, path: &Path) -> Result<Extent, DiskError> {
        let (file, length) = open(path, OpenOptions::new().read(true).write(true))?;
        let extent = self.data().take(length).map_err(|source| DiskError::Window { path: path.to_owned(), source })?;
        map(vmm, disk, extent, path, file).inspect_err(|_| self.data().give_back(extent))?;
        Ok(extent)
    }

    fn data(&self) -> MutexGuard<'_, Window> {
        self.data.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn images(&self) -> MutexGuard<'_, Images> {
        self.images.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn release_data(&self, vmm: &Vmm, disk: Disk, extent: Extent) {
        // A range that may still be mapped is never given out again: two containers would share it.
        if unmap(vmm, disk, extent) {
            self.data().give_back(extent);
        }
    }

    fn release_image(&self, vmm: &Vmm, files: &[PathBuf]) {
        let mut images = self.images();
        if let Some(pieces) = images.leave(files)
            && unmap_all(vmm, &pieces)
        {
            images.give_back(&pieces);
        }
    }
}

fn length_of(path: &Path) -> Result<u64, DiskError> {
    let length = fs::metadata(path).map(|metadata| metadata.len());
    length.map_err(|source| DiskError::Open { path: path.to_owned(), source })
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

/// Unmaps every piece, whatever becomes of the others; whether all of them are unmapped.
fn unmap_all(vmm: &Vmm, pieces: &[Extent]) -> bool {
    let left = pieces.iter().filter(|piece| !unmap(vmm, Disk::Images, **piece)).count();
    left == 0
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
