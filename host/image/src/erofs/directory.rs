//! Directories on the disk: blocks of entries, sorted by name within and across blocks, each with its names behind it.

use super::BLOCK;

/// The bytes of an entry, without its name.
const ENTRY_SIZE: usize = 12;

/// An entry as it will be written.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Where its inode lies, in units of 32 bytes.
    pub node: u64,
    /// Its file type.
    pub kind: u8,
}

/// Cuts names into the blocks that they fit in; gives for each block how many names it takes and their bytes.
fn cut<'a>(names: impl Iterator<Item = &'a [u8]>) -> Vec<(usize, usize)> {
    let mut blocks = vec![(0, 0)];
    for name in names {
        let bytes = ENTRY_SIZE + name.len();
        match blocks.last_mut() {
            Some((count, used)) if *used + bytes <= BLOCK => {
                *count += 1;
                *used += bytes;
            }
            _ => blocks.push((1, bytes)),
        }
    }
    blocks
}

/// The length of a directory with these names, which are sorted and contain `.` and `..`.
pub fn size<'a>(names: impl Iterator<Item = &'a [u8]>) -> u64 {
    let blocks = cut(names);
    let last = blocks.last().map_or(0, |(_, used)| *used);
    ((blocks.len() - 1) * BLOCK + last) as u64
}

/// A directory's content: as long as `size` says.
pub fn encode(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = entries;
    for (count, _) in cut(entries.iter().map(|entry| entry.name)) {
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        let (block, later) = rest.split_at(count);
        rest = later;
        let mut name_at = count * ENTRY_SIZE;
        for entry in block {
            bytes.extend_from_slice(&entry.node.to_le_bytes());
            bytes.extend_from_slice(&u16::try_from(name_at).expect("names lie within a block").to_le_bytes());
            bytes.extend_from_slice(&[entry.kind, 0]);
            name_at += entry.name.len();
        }
        for entry in block {
            bytes.extend_from_slice(entry.name);
        }
    }
    bytes
}

/// The names of a directory in their order, `.` and `..` among them.
pub fn sorted<'a, T: Copy>(
    children: impl Iterator<Item = (&'a [u8], T)>,
    own: T,
    parent: T,
) -> impl Iterator<Item = (&'a [u8], T)> {
    let mut dots = [(b".".as_slice(), own), (b"..".as_slice(), parent)].into_iter().peekable();
    let mut children = children.peekable();
    std::iter::from_fn(move || match (dots.peek(), children.peek()) {
        (Some(dot), Some(child)) if dot.0 < child.0 => dots.next(),
        (Some(_), None) => dots.next(),
        _ => children.next(),
    })
}
