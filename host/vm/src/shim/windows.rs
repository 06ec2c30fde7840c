//! Which ranges of the two window disks are taken.
//!
//! A window is a block device of a huge virtual size, in which files are mapped while the VM runs. Virtual space costs
//! nothing, so ranges are laid out generously: aligned to 1 MiB, found first-fit. The first MiB of a window is never
//! given out: it reads as zeros, for whoever probes a disk for a partition table.

use hull_protocol::agent::Extent;
use std::collections::BTreeMap;
use std::path::PathBuf;

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

/// The `images` window: every image is mapped once, however many containers use it. An image is files, one behind the other
/// in one range.
#[derive(Debug)]
pub struct Images {
    window: Window,
    used: BTreeMap<Vec<PathBuf>, Mapped>,
}

/// An image in the window.
#[derive(Debug)]
struct Mapped {
    whole: Extent,
    pieces: Vec<Extent>,
    users: usize,
}

impl Images {
    /// No image yet.
    pub fn new(size: u64) -> Self {
        Self { window: Window::new(size), used: BTreeMap::new() }
    }

    /// Counts one more user of the image that these files are, if it is mapped; where it is.
    pub fn join(&mut self, files: &[PathBuf]) -> Option<Extent> {
        let mapped = self.used.get_mut(files)?;
        mapped.users += 1;
        Some(mapped.whole)
    }

    /// Takes a range for an image that is not mapped; the caller has to map each file into its piece of it. It has one user.
    ///
    /// # Errors
    /// See [`WindowError`].
    pub fn take(&mut self, files: &[PathBuf], lengths: &[u64]) -> Result<(Extent, Vec<Extent>), WindowError> {
        if let Some(length) = lengths.iter().find(|length| **length == 0 || !length.is_multiple_of(BLOCK)) {
            return Err(WindowError::Length(*length));
        }
        let total = lengths.iter().try_fold(0_u64, |sum, length| sum.checked_add(*length));
        let whole = self.window.take(total.ok_or(WindowError::Full(u64::MAX))?)?;
        let mut offset = whole.offset;
        let mut pieces = Vec::with_capacity(lengths.len());
        for &length in lengths {
            pieces.push(Extent { offset, length });
            offset += length;
        }
        self.used.insert(files.to_owned(), Mapped { whole, pieces: pieces.clone(), users: 1 });
        Ok((whole, pieces))
    }

    /// Counts one user less; the pieces to unmap if that was the last one. Their range is still taken.
    pub fn leave(&mut self, files: &[PathBuf]) -> Option<Vec<Extent>> {
        let mapped = self.used.get_mut(files)?;
        mapped.users -= 1;
        if mapped.users > 0 {
            return None;
        }
        self.used.remove(files).map(|mapped| mapped.pieces)
    }

    /// Gives back the range of these pieces.
    pub fn give_back(&mut self, pieces: &[Extent]) {
        if let Some(first) = pieces.first() {
            self.window.give_back(*first);
        }
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
        let files = |names: &[&str]| names.iter().map(PathBuf::from).collect::<Vec<_>>();
        let (node, other) = (files(&["/i/node", "/l/base", "/l/node"]), files(&["/i/other", "/l/base"]));
        assert_eq!(images.join(&node), None);
        let (whole, pieces) = images.take(&node, &[8192, 3 * MIB, 4096]).unwrap();
        assert_eq!(whole, Extent { offset: MIB, length: 3 * MIB + 12288 });
        let expected = [(MIB, 8192), (MIB + 8192, 3 * MIB), (4 * MIB + 8192, 4096)];
        assert_eq!(pieces, expected.map(|(offset, length)| Extent { offset, length }));
        assert_eq!(images.join(&node), Some(whole));
        // The base is part of the other image too, and lies there once more.
        let (beside, _) = images.take(&other, &[4096, 3 * MIB]).unwrap();
        assert_eq!(beside.offset, 5 * MIB);
        assert_eq!(images.leave(&node), None);
        assert_eq!(images.leave(&node), Some(pieces.clone()));
        assert_eq!(images.leave(&node), None, "nobody uses it");
        assert_ne!(images.take(&node, &[4096; 3]).unwrap().0.offset, whole.offset, "it may still be mapped there");
        images.leave(&node).unwrap();
        images.give_back(&pieces);
        assert_eq!(images.take(&node, &[4096; 3]).unwrap().0.offset, whole.offset);
    }

    #[test]
    fn an_image_that_cannot_lie_there_is_refused() {
        let mut images = Images::new(8 * MIB);
        let files = [PathBuf::from("/i/a"), PathBuf::from("/l/b")];
        for lengths in [[4096, 0], [4095, 4096], [4097, 4095]] {
            assert!(matches!(images.take(&files, &lengths), Err(WindowError::Length(_))), "{lengths:?}");
        }
        assert_eq!(images.take(&[], &[]), Err(WindowError::Length(0)));
        for lengths in [[7 * MIB, MIB], [u64::MAX - 4095, u64::MAX - 4095]] {
            assert!(matches!(images.take(&files, &lengths), Err(WindowError::Full(_))), "{lengths:?}");
        }
        assert_eq!(images.join(&files), None);
    }
}
