//! Which ranges of the two window disks are taken.
//!
//! A window is a block device of a huge virtual size, in which files are mapped while the VM runs. Virtual space costs
//! nothing, so ranges are laid out generously: aligned to 1 MiB, found first-fit. The first MiB of a window is never
//! given out: it reads as zeros, for whoever probes a disk for a partition table.

use hull_protocol::agent::Extent;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Ranges begin at multiples of this.
const ALIGNMENT: u64 = 1 << 20;

/// Lengths are multiples of this, which is what device-mapper and the file systems want.
const BLOCK: u64 = 4096;

/// Why a range could not be taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Nothing to map, or a length that no file system image has.
    #[error("a length of {0} bytes is not a positive multiple of {BLOCK}")]
    Length(u64),
    /// The window has no gap of that size.
    #[error("no room for {0} bytes is left in the window")]
    Full(u64),
}

/// The taken ranges of one window.
#[derive(Debug)]
pub struct Window {
    size: u64,
    /// Offset to length, rounded up to [`ALIGNMENT`].
    taken: BTreeMap<u64, u64>,
}

impl Window {
    /// A window of this many bytes with nothing in it.
    pub fn new(size: u64) -> Self {
        Self { size, taken: BTreeMap::new() }
    }

    /// Takes a range of `length` bytes.
    ///
    /// # Errors
    /// See [`WindowError`].
    pub fn take(&mut self, length: u64) -> Result<Extent, WindowError> {
        if length == 0 || !length.is_multiple_of(BLOCK) {
            return Err(WindowError::Length(length));
        }
        let room = length.checked_next_multiple_of(ALIGNMENT).ok_or(WindowError::Full(length))?;
        let offset = self.gap(room).ok_or(WindowError::Full(length))?;
        self.taken.insert(offset, room);
        Ok(Extent { offset, length })
    }

    /// The first offset behind which `room` bytes are free.
    fn gap(&self, room: u64) -> Option<u64> {
        let mut free_from = ALIGNMENT;
        for (&offset, &length) in &self.taken {
            if offset - free_from >= room {
                return Some(free_from);
            }
            free_from = offset + length;
        }
        (self.size.saturating_sub(free_from) >= room).then_some(free_from)
    }

    /// Gives a range back.
    pub fn give_back(&mut self, extent: Extent) {
        self.taken.remove(&extent.offset);
    }
}

/// What an image needs to be usable in this VM.
#[derive(Debug, PartialEq, Eq)]
pub enum ImageUse {
    /// Another container maps it already.
    Mapped(Extent),
    /// It has a range, but the caller has to map it there.
    MapAt(Extent),
}

/// The `images` window: every image is mapped once, however many containers use it.
#[derive(Debug)]
pub struct Images {
    window: Window,
    used: BTreeMap<PathBuf, (Extent, usize)>,
}

impl Images {
    /// No image yet.
    pub fn new(size: u64) -> Self {
        Self { window: Window::new(size), used: BTreeMap::new() }
    }

    /// Counts one more user of the image in the file `path`, which is `length` bytes long.
    ///
    /// # Errors
    /// See [`WindowError`].
    pub fn acquire(&mut self, path: &Path, length: u64) -> Result<ImageUse, WindowError> {
        if let Some((extent, users)) = self.used.get_mut(path) {
            *users += 1;
            return Ok(ImageUse::Mapped(*extent));
        }
        let extent = self.window.take(length)?;
        self.used.insert(path.to_owned(), (extent, 1));
        Ok(ImageUse::MapAt(extent))
    }

    /// Counts one user less; the range to unmap if that was the last one.
    pub fn release(&mut self, path: &Path) -> Option<Extent> {
        let (extent, users) = self.used.get_mut(path)?;
        *users -= 1;
        if *users > 0 {
            return None;
        }
        let extent = *extent;
        self.used.remove(path);
        self.window.give_back(extent);
        Some(extent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_virtio::device::block::CAPACITY;

    const MIB: u64 = 1 << 20;

    #[test]
    fn the_first_mebibyte_is_never_given_out_and_gaps_are_used_again() {
        let mut window = Window::new(16 * MIB);
        let first = window.take(4096).unwrap();
        assert_eq!(first, Extent { offset: MIB, length: 4096 });
        let second = window.take(2 * MIB).unwrap();
        assert_eq!(second.offset, 2 * MIB);
        let third = window.take(MIB + 4096).unwrap();
        assert_eq!(third.offset, 4 * MIB);
        window.give_back(second);
        assert_eq!(window.take(3 * MIB).unwrap().offset, 6 * MIB, "does not fit into the gap");
        assert_eq!(window.take(MIB).unwrap().offset, 2 * MIB);
        assert_eq!(window.take(MIB).unwrap().offset, 3 * MIB);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut window = Window::new(4 * MIB);
        for length in [0, 1, 4095, 4097] {
            assert_eq!(window.take(length), Err(WindowError::Length(length)));
        }
        for length in [4 * MIB, u64::MAX - 4095] {
            assert_eq!(window.take(length), Err(WindowError::Full(length)));
        }
        window.take(3 * MIB).unwrap();
        assert_eq!(window.take(4096), Err(WindowError::Full(4096)));
        assert_eq!(Window::new(0).take(4096), Err(WindowError::Full(4096)));
    }

    #[test]
    fn ranges_never_overlap() {
        let mut window = Window::new(CAPACITY);
        let mut live: Vec<Extent> = Vec::new();
        for step in 0..500_u64 {
            if step % 3 == 2 {
                window.give_back(live.remove(usize::try_from(step).unwrap() * 7 % live.len()));
            } else {
                live.push(window.take((step * 37 % 900 + 1) * 4096).unwrap());
            }
            live.sort_by_key(|extent| extent.offset);
            assert!(live.iter().all(|extent| extent.offset >= MIB && extent.offset.is_multiple_of(MIB)));
            assert!(live.windows(2).all(|pair| pair[0].offset + pair[0].length <= pair[1].offset), "step {step}");
        }
    }

    #[test]
    fn an_image_is_mapped_once_and_unmapped_by_its_last_user() {
        let mut images = Images::new(CAPACITY);
        let (busybox, alpine) = (Path::new("/i/busybox"), Path::new("/i/alpine"));
        let ImageUse::MapAt(extent) = images.acquire(busybox, 8192).unwrap() else { panic!("not new") };
        assert_eq!(images.acquire(busybox, 8192), Ok(ImageUse::Mapped(extent)));
        assert!(matches!(images.acquire(alpine, 4096), Ok(ImageUse::MapAt(other)) if other.offset != extent.offset));
        assert_eq!(images.release(busybox), None);
        assert_eq!(images.release(busybox), Some(extent));
        assert_eq!(images.release(busybox), None, "nobody uses it");
        assert_eq!(images.acquire(busybox, 8192), Ok(ImageUse::MapAt(extent)));
    }
}
