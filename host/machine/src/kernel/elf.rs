//! Whether a kernel is an ELF file, and then whether it has the PVH entry, by which both QEMU and our own VMM start one:
//! a note of owner `Xen` and type 18 (`XEN_ELFNOTE_PHYS32_ENTRY`, <https://xenbits.xen.org/docs/unstable/misc/pvh.html>).

use std::io::{self, Read, Seek, SeekFrom};

/// What kind of file a kernel is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// A `vmlinux`: uncompressed.
    Elf {
        /// It has the PVH entry.
        pvh: bool,
    },
    /// A bzImage, which is compressed, or no kernel at all.
    Other,
}

const MAGIC: &[u8] = b"\x7fELF\x02\x01"; // 64 bits, little-endian
const PT_NOTE: u32 = 4;
const OWNER: &[u8] = b"Xen\0";
const PHYS32_ENTRY: u32 = 18;
/// Linux's are a few hundred bytes.
const MAX_NOTES: u64 = 64 << 10;

/// Looks at a file.
///
/// # Errors
/// Those of reading it; what ends too early has no entry.
pub fn look(file: &mut (impl Read + Seek)) -> io::Result<Image> {
    let mut header = [0; 64];
    match read_at(file, 0, &mut header) {
        Ok(()) if header.starts_with(MAGIC) => {}
        Ok(()) => return Ok(Image::Other),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Image::Other),
        Err(error) => return Err(error),
    }
    match has_entry(file, &header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Image::Elf { pvh: false }),
        found => Ok(Image::Elf { pvh: found? }),
    }
}

fn has_entry(file: &mut (impl Read + Seek), header: &[u8; 64]) -> io::Result<bool> {
    let (table, size, count) = (u64_at(header, 32), u16_at(header, 54), u16_at(header, 56));
    for index in 0..u64::from(count) {
        let mut segment = [0; 56];
        let offset = table.checked_add(index * u64::from(size)).ok_or(io::ErrorKind::UnexpectedEof)?;
        read_at(file, offset, &mut segment)?;
        if u32_at(&segment, 0) != PT_NOTE {
            continue;
        }
        let mut notes = Vec::new();
        file.seek(SeekFrom::Start(u64_at(&segment, 8)))?;
        file.take(u64_at(&segment, 32).min(MAX_NOTES)).read_to_end(&mut notes)?;
        if names_entry(&notes) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A note is the lengths of owner and description, its type, and both, each filled up to four bytes.
fn names_entry(mut notes: &[u8]) -> bool {
    while let Some((head, rest)) = notes.split_at_checked(12) {
        let [owner, description] = [0, 4].map(|at| u32_at(head, at) as usize);
        if u32_at(head, 8) == PHYS32_ENTRY && owner == OWNER.len() && rest.starts_with(OWNER) {
            return true;
        }
        let length = owner.next_multiple_of(4).saturating_add(description.next_multiple_of(4));
        notes = rest.get(length..).unwrap_or_default();
    }
    false
}

fn read_at(file: &mut (impl Read + Seek), offset: u64, into: &mut [u8]) -> io::Result<()> {
    file.seek(SeekFrom::Start(offset))?;
    file.read_exact(into)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    *field.expect("every offset is a constant within its structure")
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes_at(bytes, at))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes_at(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes_at(bytes, at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    fn note(owner: &[u8], kind: u32, description: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [u32::try_from(owner.len()).unwrap(), u32::try_from(description.len()).unwrap(), kind] {
            note.extend(word.to_le_bytes());
        }
        for part in [owner, description] {
            note.extend(part);
            note.resize(note.len().next_multiple_of(4), 0);
        }
        note
    }

    /// A file with one segment, which holds these notes.
    fn elf(notes: &[u8]) -> Vec<u8> {
        let mut file = vec![0; 120];
        file[..MAGIC.len()].copy_from_slice(MAGIC);
        file[32..40].copy_from_slice(&64_u64.to_le_bytes());
        file[54..58].copy_from_slice(&[56, 0, 1, 0]);
        file[64..68].copy_from_slice(&PT_NOTE.to_le_bytes());
        file[72..80].copy_from_slice(&120_u64.to_le_bytes());
        file[96..104].copy_from_slice(&(notes.len() as u64).to_le_bytes());
        file.extend(notes);
        file
    }

    fn image(file: &[u8]) -> Image {
        look(&mut Cursor::new(file)).unwrap()
    }

    #[test]
    fn the_entry_is_found_among_other_notes() {
        let others = [note(b"GNU\0", 3, &[7; 19]), note(b"Linux\0", 0x100, &[0])].concat();
        let with = [others.clone(), note(OWNER, PHYS32_ENTRY, &[0; 8])].concat();
        assert_eq!(image(&elf(&with)), Image::Elf { pvh: true });
        for without in [others, note(OWNER, 19, &[0; 8]), note(b"GNU\0", PHYS32_ENTRY, &[0; 8]), Vec::new()] {
            assert_eq!(image(&elf(&without)), Image::Elf { pvh: false });
        }
    }

    #[test]
    fn broken_files_have_no_entry() {
        let whole = elf(&note(OWNER, PHYS32_ENTRY, &[0; 8]));
        assert_eq!(image(b""), Image::Other);
        assert_eq!(image(&[b'x'; 200]), Image::Other);
        assert_eq!(image(&whole[..63]), Image::Other);
        assert_eq!(image(&whole[..70]), Image::Elf { pvh: false });
        let mut far = whole.clone();
        far[32..40].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(!matches!(look(&mut Cursor::new(&far)), Ok(Image::Elf { pvh: true })));
        let mut long = whole;
        long[120..128].fill(0xff);
        assert_eq!(image(&long), Image::Elf { pvh: false });
    }
}
