//! Extended attributes on the disk: behind an inode, or in an area that several inodes refer to.

use crate::tree::Xattr;
use std::collections::{BTreeMap, HashMap};

/// The header before an inode's attributes.
pub const HEADER_SIZE: usize = 12;

/// The most bytes that the attributes of one inode may take.
pub const MAX_BYTES: usize = 64 << 10;

/// The most attributes that one inode can take from the shared area.
const MAX_SHARED: usize = 255;

/// Prefixes of names and their numbers; the access control lists' names are nothing but a prefix.
const PREFIXES: [(&[u8], u8); 5] = [
    (b"user.", 1),
    (b"system.posix_acl_access", 2),
    (b"system.posix_acl_default", 3),
    (b"trusted.", 4),
    (b"security.", 6),
];

/// The prefix's number and the rest of a name; `None` for names that Linux knows no handler for.
fn split(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|(prefix, number)| {
        let rest = name.strip_prefix(*prefix)?;
        (rest.is_empty() != prefix.ends_with(b".") && rest.len() <= 255).then_some((*number, rest))
    })
}

/// Whether an attribute can be written.
pub fn is_storable(attribute: &Xattr) -> bool {
    split(&attribute.name).is_some() && u16::try_from(attribute.value.len()).is_ok()
}

/// One attribute's entry; empty for one that is not storable.
fn entry(attribute: &Xattr) -> Vec<u8> {
    let Some((prefix, rest)) = split(&attribute.name) else { return Vec::new() };
    let (Ok(name_length), Ok(value_length)) = (u8::try_from(rest.len()), u16::try_from(attribute.value.len())) else {
        return Vec::new();
    };
    let mut bytes = vec![name_length, prefix];
    bytes.extend_from_slice(&value_length.to_le_bytes());
    bytes.extend_from_slice(rest);
    bytes.extend_from_slice(&attribute.value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// The attributes of an inode as they follow it: nothing if it has none. Those in `shared` are referred to.
pub fn inline(attributes: &[Xattr], shared: &Shared) -> Vec<u8> {
    if attributes.is_empty() {
        return Vec::new();
    }
    let mut references = Vec::new();
    let mut entries = Vec::new();
    for attribute in attributes {
        match shared.places.get(attribute) {
            Some(place) if references.len() < MAX_SHARED => references.push(*place),
            _ => entries.extend(entry(attribute)),
        }
    }
    let mut bytes = vec![0; HEADER_SIZE];
    bytes[4] = u8::try_from(references.len()).expect("limited above");
    bytes.extend(references.iter().flat_map(|place| place.to_le_bytes()));
    bytes.extend(entries);
    bytes
}

/// The area of attributes that several inodes have.
#[derive(Debug, Default)]
pub struct Shared {
    places: HashMap<Xattr, u32>,
    bytes: Vec<u8>,
}

impl Shared {
    /// Gathers those that occur more than once.
    pub fn gather<'a>(sets: impl Iterator<Item = &'a [Xattr]>) -> Self {
        let mut counts = BTreeMap::<&Xattr, u32>::new();
        for attribute in sets.flatten() {
            *counts.entry(attribute).or_default() += 1;
        }
        let mut shared = Self::default();
        for (attribute, _) in counts.into_iter().filter(|(_, count)| *count > 1) {
            // Places count words of four bytes.
            if let Ok(place) = u32::try_from(shared.bytes.len() / 4) {
                shared.bytes.extend(entry(attribute));
                shared.places.insert(attribute.clone(), place);
            }
        }
        shared
    }

    /// The area's bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}
